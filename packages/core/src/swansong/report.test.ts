import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { runInThisContext } from 'node:vm'

import { lineHere, stuck } from '../../fixtures/promises.ts'
import { Swansong } from '../swansong.ts'
import type { Guard } from './guard.ts'
import { GuardReport } from './report.ts'
import type { GuardEntry } from './report.ts'

test('[swansong 7.1] guards of one label and one place are one entry', () => {
  const swansong = new Swansong()
  assert.deepEqual([...swansong.report()], [])
  const three = Array.from({ length: 3 }, () => swansong.guard('many'))
  const other = swansong.guard('single')
  const report = swansong.report()
  assert.deepEqual([report.total, report.isEmpty], [4, false])
  assert.deepEqual(
    [...report].map(({ label, count }) => ({ label, count })),
    [
      { label: 'many', count: 3 },
      { label: 'single', count: 1 },
    ],
  )
  for (const guard of three) guard.release()
  assert.deepEqual(
    swansong.report().entries.map(({ label }) => label),
    ['single'],
  )
  other.release()
  assert.deepEqual([swansong.report().total, swansong.report().isEmpty], [0, true])
})

test('[swansong 7.1] what differs in path, label or place is not one entry', () => {
  const swansong = new Swansong({ name: 'app' })
  const take = (where: Swansong, label?: string): unknown => where.guard(label)
  take(swansong, 'a')
  take(swansong, 'b')
  take(swansong.child('jobs'), 'a')
  take(swansong.child('jobs'), 'a') // another child of the same name
  swansong.guard('a')
  take(swansong)
  assert.deepEqual(
    swansong
      .report()
      .entries.map(({ path, label, count }) => `${path} ${label} ${count}`)
      .toSorted(),
    ['app a 1', 'app a 1', 'app b 1', 'app undefined 1', 'app/jobs a 2'],
  )
})

test('[swansong 7.1] an entry has the age of its oldest, and the oldest entry comes first', (t) => {
  const swansong = new Swansong({ sites: false })
  const clock = t.mock.method(performance, 'now')
  const takeAt = (ms: number, label: string): void => {
    clock.mock.mockImplementation(() => ms)
    swansong.guard(label)
  }
  takeAt(30, 'young')
  takeAt(20, 'old')
  takeAt(10, 'oldest')
  takeAt(40, 'old')
  takeAt(50, 'oldest')
  clock.mock.mockImplementation(() => 100)
  assert.deepEqual(
    swansong.report().entries.map(({ label, count, oldestMs }) => ({ label, count, oldestMs })),
    [
      { label: 'oldest', count: 2, oldestMs: 90 },
      { label: 'old', count: 2, oldestMs: 80 },
      { label: 'young', count: 1, oldestMs: 70 },
    ],
  )
})

test('[swansong 7.2] the place is the line that called guard, guarded or interrupt', () => {
  const swansong = new Swansong()
  const stream = (): AsyncIterable<number> => stuck(() => {})
  const promise = new Promise<void>(() => {})
  const options = { guard: true }
  const calls: (() => [unknown, string])[] = [
    () => [swansong.guard(), lineHere()],
    () => [swansong.guarded(promise), lineHere()],
    () => [swansong.guarded(() => promise), lineHere()],
    () => [swansong.guarded(stream()), lineHere()],
    () => [swansong.interrupt(promise, options), lineHere()],
    () => [swansong.interrupt(() => promise, options), lineHere()],
    () => [swansong.interrupt(stream(), options), lineHere()],
    () => [swansong.interrupt(new ReadableStream(), options), lineHere()],
  ]
  const lines = calls.map((call) => call()[1])
  assert.equal(new Set(lines).size, calls.length)
  const sites = swansong.report().entries.map(({ site }) => String(site))
  assert.ok(sites.every((site) => /report\.test\.ts:\d+:\d+$/.test(site)))
  assert.deepEqual(sites.map((site) => site.replace(/:\d+$/, '')).toSorted(), lines.toSorted())
})

test('[swansong 7.2] a path may have spaces', () => {
  const swansong = new Swansong()
  const path = '/a folder/with spaces/app.js'
  const take = runInThisContext('(swansong) => swansong.guard()', path) as (from: Swansong) => Guard
  take(swansong)
  assert.match(
    String(swansong.report().entries[0]?.site),
    /^\/a folder\/with spaces\/app\.js:\d+:\d+$/,
  )
})

test('[swansong 7.2] taking a site leaves the length of stacks as it was', () => {
  const before = Error.stackTraceLimit
  new Swansong().guard()
  assert.equal(Error.stackTraceLimit, before)
})

test('[swansong 7.2] with sites: false no place is taken, nor in children', () => {
  const swansong = new Swansong({ sites: false })
  swansong.guard('a')
  swansong.child().guard('b')
  void swansong.guarded(new Promise(() => {}), 'c')
  assert.deepEqual(
    swansong.report().entries.map(({ site }) => site),
    [undefined, undefined, undefined],
  )
})

test('[swansong 7.3] without guards the text says so', () => {
  assert.equal(String(new Swansong().report()), 'no outstanding guards')
})

test('[swansong 7.3] the text has a line for people and one for each entry', (t) => {
  const clock = t.mock.method(performance, 'now', () => 0)
  const swansong = new Swansong()
  const jobs = swansong.child('jobs')
  const take = (): unknown => jobs.guard('nightly')
  take()
  const site = swansong.report().entries[0]!.site!
  clock.mock.mockImplementation(() => 9750)
  assert.equal(
    String(swansong.report()),
    `1 outstanding guard:\n1 × jobs: nightly ${site} (oldest 9.8s)`,
  )
  take()
  clock.mock.mockImplementation(() => 9850)
  assert.equal(
    String(swansong.report()),
    `2 outstanding guards:\n2 × jobs: nightly ${site} (oldest 9.8s)`,
  )
})

test('[swansong 7.3] what is not known of an entry is left out', () => {
  const entry: GuardEntry = { label: undefined, site: undefined, path: '', count: 1, oldestMs: 10 }
  assert.equal(GuardReport.lineOf(entry), '1 × a guard (oldest 10.0ms)')
  assert.equal(
    GuardReport.lineOf({ ...entry, site: 'app.ts:1:2' }),
    '1 × app.ts:1:2 (oldest 10.0ms)',
  )
  assert.equal(GuardReport.lineOf({ ...entry, label: 'x', count: 3 }), '3 × x (oldest 10.0ms)')
  assert.equal(GuardReport.lineOf({ ...entry, path: 'a/b' }), '1 × a/b: (oldest 10.0ms)')
  assert.equal(GuardReport.lineOf({ ...entry, oldestMs: 1000 }), '1 × a guard (oldest 1.0s)')
})

test('[swansong 7.4] a late release is reported, and one before the stop is not', () => {
  const entries: GuardEntry[] = []
  const swansong = new Swansong({ name: 'app', onLateRelease: (entry) => entries.push(entry) })
  swansong.guard('early').release()
  const late = swansong.child('jobs').guard('late')
  void swansong.shutDown()
  assert.deepEqual(entries, [])
  late.release()
  late.release()
  swansong.guard('after').release()
  assert.deepEqual(
    entries.map(({ path, label, count }) => ({ path, label, count })),
    [
      { path: 'app/jobs', label: 'late', count: 1 },
      { path: 'app', label: 'after', count: 1 },
    ],
  )
  assert.ok(entries.every(({ site }) => /report\.test\.ts:\d+:\d+$/.test(String(site))))
})

test('[swansong 7.4] the guard of an interrupt is reported as well', async () => {
  const onLateRelease = mock.fn<(entry: GuardEntry) => void>()
  const swansong = new Swansong({ onLateRelease })
  void swansong.shutDown()
  const stream = swansong.interrupt(
    stuck(() => {}),
    { guard: true },
  )
  await stream.next()
  assert.equal(onLateRelease.mock.callCount(), 1)
  assert.match(String(onLateRelease.mock.calls[0]?.arguments[0].site), /report\.test\.ts:\d+:\d+$/)
})

test('[swansong 7.4] an onLateRelease that throws is uncaught, and the stop completes all the same', async (t) => {
  const uncaught: (() => void)[] = []
  t.mock.method(globalThis, 'queueMicrotask', (task: () => void) => uncaught.push(task))
  const swansong = new Swansong({
    onLateRelease: () => {
      throw new Error('boom')
    },
  })
  const guard = swansong.guard()
  const stopped = swansong.shutDown()
  guard.release()
  assert.equal(swansong.state, 'complete')
  await stopped
  assert.throws(uncaught[0]!, /boom/)
})
