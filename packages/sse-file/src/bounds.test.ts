import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { test, type TestContext } from 'node:test'

import type { EventLog } from '@wakerobin/sse'

import { segmentsOf, tempFolder } from '../fixtures/folder.ts'
import { add, pagesOf, readAll } from '../fixtures/read-all.ts'
import { fileLog } from './file-log.ts'

const hourMs = 60 * 60 * 1000

/** Has the test own the time: that which somebody may set, and that which goes on. */
function takeTime(
  t: TestContext,
  now = Date.UTC(2026, 10, 30),
): { pass(ms: number): void; set(to: number): void } {
  let [date, running] = [now, 0]
  t.mock.method(Date, 'now', () => date)
  t.mock.method(performance, 'now', () => running)
  t.mock.timers.enable({ apis: ['setInterval'] })
  return {
    pass(ms) {
      date += ms
      running += ms
      t.mock.timers.tick(ms)
    },
    set: (to) => void (date = to),
  }
}

function sizeOf(folder: string): number {
  return segmentsOf(folder).reduce((sum, path) => sum + statSync(path).size, 0)
}

/** Waits for what a log does by itself. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setImmediate(resolve))
}

async function idsIn(log: EventLog): Promise<string[]> {
  return (await readAll(log)).records.map(({ id }) => id)
}

test('files are never more than maxBytes, and never much less where there is more', async (t) => {
  const folder = tempFolder(t)
  const maxBytes = 100_000
  const log = fileLog(folder, { fsync: 'never', maxBytes })
  const ids: string[] = []
  let most = 0
  for (let times = 0; times < 400; times++) {
    ids.push(...(await add(log, 10, ids.length)))
    most = Math.max(most, sizeOf(folder))
    assert.ok(most <= maxBytes, `${most} bytes after ${ids.length} events`)
  }
  assert.ok(sizeOf(folder) > 0.85 * maxBytes, `${sizeOf(folder)} bytes`)
  assert.deepEqual(await idsIn(log), ids.slice(-(await idsIn(log)).length))
  await log.close()
})

test('what is published at once goes to as many files as it needs, and the next event drops no more than one', async (t) => {
  const folder = tempFolder(t)
  const maxBytes = 100_000
  for (const data of ['x'.repeat(1_000), 'é'.repeat(500), 'x']) {
    const log = fileLog(folder, { fsync: 'never', maxBytes })
    const text = `data: ${data}\n\n`
    const count = Math.ceil((3 * maxBytes) / data.length)
    await Promise.all(Array.from({ length: Math.min(count, 20_000) }, () => log.append({ text })))
    const size = sizeOf(folder)
    assert.ok(size <= maxBytes && size > 0.7 * maxBytes, `${size} bytes`)
    await log.append({ text })
    assert.ok(sizeOf(folder) > 0.7 * maxBytes, `${sizeOf(folder)} bytes after one more`)
    await log.close()
  }
})

test('an event that is longer than maxBytes is kept until the next comes', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxBytes: 1_000 })
  await add(log, 3)
  const id = await log.append({ text: `data: ${'x'.repeat(5_000)}\n\n` })
  assert.deepEqual(await idsIn(log), [id])
  const [next] = await add(log, 1)
  assert.deepEqual(await idsIn(log), [next])
  await log.close()
})

test('exactly maxEvents are kept, also after a restart with another limit', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxEvents: 3 })
  const ids: string[] = []
  for (let times = 0; times < 20; times++) {
    ids.push(...(await add(log, 1)))
    assert.deepEqual(await idsIn(log), ids.slice(-3))
    assert.equal((await log.bounds()).first, ids.slice(-3)[0])
  }
  assert.equal((await log.read(ids[0]!, 10)).missed, 16)
  await log.close()
  const again = fileLog(folder, { fsync: 'never', maxEvents: 5 })
  assert.deepEqual(await idsIn(again), ids.slice(-5))
  await again.close()
})

test('events of more than maxAgeMs go, also where nothing is added', async (t) => {
  const time = takeTime(t)
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxAgeMs: 16 * hourMs })
  const early = await add(log, 10)
  time.pass(8 * hourMs)
  const late = await add(log, 10)
  time.pass(7 * hourMs)
  await until(() => segmentsOf(folder).length > 1)
  assert.deepEqual(await idsIn(log), [...early, ...late])
  for (let hours = 0; hours < 5; hours++) time.pass(hourMs)
  await until(async () => (await idsIn(log)).length === 10)
  assert.deepEqual(await idsIn(log), late)
  const missed = await log.read(early[2]!, 100)
  assert.equal(missed.missed, 7)
  for (let hours = 0; hours < 9; hours++) time.pass(hourMs)
  await until(async () => (await log.bounds()).first === undefined)
  // Its place is known though it is empty.
  assert.deepEqual(await log.bounds(), { first: undefined, last: late.at(-1) })
  assert.deepEqual(await log.read(late[3]!, 5), { records: [], missed: 6, next: late.at(-1) })
  await log.close()
  const again = fileLog(folder, { fsync: 'never', maxAgeMs: 16 * hourMs })
  assert.deepEqual(await again.bounds(), { first: undefined, last: late.at(-1) })
  const [next] = await add(again, 1)
  assert.deepEqual(await readAll(again, late.at(-1)), {
    records: [{ id: next, text: 'data: 0\n\n', topics: undefined, key: undefined }],
    gaps: [],
  })
  await again.close()
})

test('what has become too old while no process had the log open goes when one opens it', async (t) => {
  const time = takeTime(t)
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxAgeMs: hourMs })
  const ids = await add(log, 10)
  await log.close()
  time.pass(2 * hourMs)
  const again = fileLog(folder, { fsync: 'never', maxAgeMs: hourMs })
  await until(async () => (await again.bounds()).first === undefined)
  assert.equal((await again.bounds()).last, ids.at(-1))
  await again.close()
})

test('a clock that is set back ages nothing and loses nothing: time goes on from where it was', async (t) => {
  const time = takeTime(t)
  const folder = tempFolder(t)
  const options = { fsync: 'never', maxAgeMs: 16 * hourMs } as const
  const log = fileLog(folder, options)
  const ids = await add(log, 5)
  time.set(Date.UTC(2001, 0, 1))
  ids.push(...(await add(log, 5)))
  time.pass(10 * hourMs)
  ids.push(...(await add(log, 5)))
  assert.deepEqual(await idsIn(log), ids)
  for (let hours = 0; hours < 7; hours++) time.pass(hourMs)
  await until(async () => (await idsIn(log)).length === 5) // those of 17 hours ago are gone
  assert.deepEqual(await idsIn(log), ids.slice(10))
  await log.close()
  // Also for the next process, whose clock is behind what is in the files.
  const again = fileLog(folder, options)
  assert.deepEqual(await idsIn(again), ids.slice(10))
  ids.push(...(await add(again, 1)))
  for (let hours = 0; hours < 15; hours++) time.pass(hourMs)
  assert.deepEqual(await idsIn(again), ids.slice(10))
  for (let hours = 0; hours < 3; hours++) time.pass(hourMs)
  await until(async () => (await again.bounds()).first === undefined)
  await again.close()
})

test('a client that reads while the bounds overtake it is told how many it has missed, once, and goes on', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxBytes: 50_000 })
  const ids: string[] = []
  for (let times = 0; times < 60; times++) ids.push(...(await add(log, 10, ids.length)))
  const { first } = await log.bounds()
  const start = ids.indexOf(first!)
  const { records, next } = await log.read(first!, 20)
  assert.deepEqual(
    records.map(({ id }) => id),
    ids.slice(start + 1, start + 21),
  )
  for (let times = 0; times < 60; times++) ids.push(...(await add(log, 10, ids.length)))
  const kept = ids.indexOf((await log.bounds()).first!)
  assert.ok(kept > start + 21)
  const { records: rest, gaps } = await readAll(log, next)
  assert.deepEqual(gaps, [[kept - (start + 21), ids[kept]]])
  assert.deepEqual(
    rest.map(({ id }) => id),
    ids.slice(kept),
  )
  await log.close()
})

test('a file that goes while it is being read is no error', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxBytes: 20_000 })
  const ids = await add(log, 100)
  const over = new AbortController()
  const reading = (async () => {
    while (!over.signal.aborted) {
      await new Promise((resolve) => setImmediate(resolve))
      const { records, missed } = await log.read(ids[0]!, 50)
      const at = ids.indexOf(records[0]!.id)
      assert.equal(missed, at - 1)
      assert.deepEqual(
        records.map(({ id }) => id),
        ids.slice(at, at + records.length),
      )
    }
  })()
  for (let times = 0; times < 300; times++) {
    // Added here before anybody can read it.
    const from = ids.length
    await Promise.all(
      Array.from({ length: 10 }, (_, at) =>
        log.append({ text: `data: ${at}\n\n` }).then((id) => (ids[from + at] = id)),
      ),
    )
  }
  over.abort()
  await reading
  await log.close()
})

test('a tail that falls behind what is in memory reads the rest from the files', async (t) => {
  const log = fileLog(tempFolder(t), { fsync: 'never' })
  const ids = await add(log, 10)
  const after = pagesOf(log, ids.at(-1)!, 4)
  const more = await add(log, 3_500)
  const pages = await after
  assert.deepEqual(
    pages.flatMap(({ records }) => records.map(({ id }) => id)),
    more,
  )
  await log.close()
})
