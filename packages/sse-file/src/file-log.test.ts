import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { segmentsOf, tempFolder } from '../fixtures/folder.ts'
import { startProgram } from '../fixtures/program.ts'
import { add, pagesOf, readAll } from '../fixtures/read-all.ts'
import { fileLog } from './file-log.ts'
import type { FileLogOptions } from './options.ts'

test('options that cannot be used are refused', (t) => {
  const path = tempFolder(t)
  const wrong: [options: object, error: string, message: RegExp][] = [
    [{ maxBytes: 0 }, 'RangeError', /with maxBytes 0: it must be an integer from 1, or Infinity$/],
    [{ maxBytes: 1.5 }, 'RangeError', /maxBytes 1\.5/],
    [{ maxAgeMs: '5' }, 'TypeError', /maxAgeMs "5"/],
    [{ maxAgeMs: NaN }, 'RangeError', /maxAgeMs NaN/],
    [{ maxEvents: -1 }, 'RangeError', /maxEvents -1/],
    [
      { fsync: 'always' },
      'RangeError',
      /fsync "always": it must be 'never', 'interval' or 'each'$/,
    ],
    [
      { maxBytse: 5 },
      'TypeError',
      /with maxBytse: there is no such option; there are maxBytes, .* and onError$/,
    ],
    [{ fsync: true }, 'TypeError', /fsync true/],
    [
      { fsyncIntervalMs: 0 },
      'RangeError',
      /fsyncIntervalMs 0: it must be an integer of milliseconds/,
    ],
    [{ fsyncIntervalMs: 2 ** 31 }, 'RangeError', /fsyncIntervalMs 2147483648/],
    [{ onRecovery: 'log' }, 'TypeError', /onRecovery "log": it must be a function$/],
    [{ onError: {} }, 'TypeError', /onError a plain object/],
  ]
  for (const [options, name, message] of wrong)
    assert.throws(() => fileLog(path, options as FileLogOptions), { name, message })
  for (const options of [null, [], 5])
    assert.throws(() => fileLog(path, options as never), /as options: expected an object/)
  for (const folder of ['', undefined, 7])
    assert.throws(() => fileLog(folder as string), /: expected the path of a folder$/)
  assert.deepEqual(segmentsOf(path), [])
})

test('a folder that cannot be made or written is refused with its path', (t) => {
  const folder = tempFolder(t)
  const file = join(folder, 'file')
  writeFileSync(file, '')
  for (const path of [file, join(file, 'below')])
    assert.throws(() => fileLog(path), {
      message: new RegExp(`^Cannot open the event log ${path}: E`),
    })
})

test('the folder is made, with those above it', async (t) => {
  const path = join(tempFolder(t), 'a/b')
  const log = fileLog(path)
  await add(log, 1)
  await log.close()
  assert.equal(segmentsOf(path).length, 1)
})

test('what is added in one turn is one write, and is forced to the disk once', async (t) => {
  const log = fileLog(tempFolder(t), { fsync: 'each' })
  const writes = t.mock.method(fs, 'write')
  const syncs = t.mock.method(fs, 'fdatasync')
  const ids = await add(log, 1_000)
  assert.equal(writes.mock.callCount(), 1)
  assert.equal(syncs.mock.callCount(), 1)
  assert.equal(new Set(ids).size, 1_000)
  await log.close()
})

test('with each, what comes while others are forced to the disk is forced there together', async (t) => {
  const log = fileLog(tempFolder(t), { fsync: 'each' })
  const syncs = t.mock.method(fs, 'fdatasync')
  const first = add(log, 1)
  const others: Promise<string[]>[] = []
  while (syncs.mock.callCount() === 0) await new Promise((resolve) => setImmediate(resolve))
  for (let at = 1; at <= 50; at++) others.push(add(log, 1, at))
  await Promise.all([first, ...others])
  assert.ok(syncs.mock.callCount() <= 3, `${syncs.mock.callCount()} times`)
  await log.close()
})

test('with each, nobody reads an event before it is on the disk', async (t) => {
  const log = fileLog(tempFolder(t), { fsync: 'each' })
  const { last } = await log.bounds()
  const calls: ((error: null) => void)[] = []
  t.mock.method(fs, 'fdatasync', (_: number, done: (error: null) => void) => calls.push(done))
  const added = add(log, 1)
  while (calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual((await log.read(last, 1)).records, [])
  assert.equal((await log.bounds()).last, last)
  calls[0]!(null)
  const [id] = await added
  assert.equal((await log.read(last, 1)).records[0]!.id, id)
  t.mock.restoreAll()
  await log.close()
})

test('with interval, what was added is forced to the disk once in a time, and when the log is closed', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const log = fileLog(tempFolder(t), { fsync: 'interval', fsyncIntervalMs: 50 })
  const syncs = t.mock.method(fs, 'fdatasync', (_: number, done: (error: null) => void) => {
    done(null)
  })
  await add(log, 1)
  t.mock.timers.tick(49)
  await add(log, 1)
  assert.equal(syncs.mock.callCount(), 0)
  t.mock.timers.tick(1)
  assert.equal(syncs.mock.callCount(), 1)
  t.mock.timers.tick(1_000)
  assert.equal(syncs.mock.callCount(), 1) // nothing was added
  await add(log, 1)
  t.mock.timers.tick(50)
  assert.equal(syncs.mock.callCount(), 2)
  await add(log, 1)
  await log.close()
  assert.equal(syncs.mock.callCount(), 3)
})

test('a file is forced to the disk before the next takes its place, and so is that the next is there', async (t) => {
  const log = fileLog(tempFolder(t), {
    fsync: 'interval',
    fsyncIntervalMs: 60_000,
    maxBytes: 16_000,
  })
  const syncs = t.mock.method(fs, 'fdatasync')
  const folders = t.mock.method(fs, 'fsync')
  await log.append({ text: `data: ${'x'.repeat(1_000)}\n\n` }) // more than a file is to have
  assert.equal(syncs.mock.callCount(), 0)
  await add(log, 1)
  assert.equal(syncs.mock.callCount(), 1)
  assert.equal(folders.mock.callCount(), 1)
  await log.close()
  assert.equal(syncs.mock.callCount(), 2)
})

test('with never, nothing is forced to the disk', async (t) => {
  const syncs = t.mock.method(fs, 'fdatasync')
  const folders = t.mock.method(fs, 'fsync')
  const log = fileLog(tempFolder(t), { fsync: 'never', maxBytes: 10_000 })
  for (let times = 0; times < 20; times++) await add(log, 20)
  await log.close()
  assert.equal(syncs.mock.callCount() + folders.mock.callCount(), 0)
})

test('a tail at the end has what is added without a look at the files', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder)
  const { last } = await log.bounds()
  const pages = pagesOf(log, last, 1)
  rmSync(segmentsOf(folder)[0]!) // it is written to all the same
  const ids = await add(log, 100)
  const [page] = await pages
  assert.deepEqual(
    page!.records.map(({ id }) => id),
    ids,
  )
  await log.close()
})

test('what was read long ago is read from its place in the files, not from their beginning', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never' })
  const ids = await add(log, 40_000)
  const { size } = statSync(segmentsOf(folder)[0]!)
  assert.ok(size > 2_000_000)
  const allocated = t.mock.method(Buffer, 'allocUnsafeSlow')
  const { records } = await log.read(ids[20_000]!, 10)
  assert.deepEqual(
    records.map(({ id }) => id),
    ids.slice(20_001, 20_011),
  )
  const bytes = allocated.mock.calls.reduce((sum, call) => sum + call.arguments[0]!, 0)
  assert.ok(bytes > 0 && bytes <= 3 * 64 * 1024, `${bytes} bytes were read`)
  await log.close()
})

test('a page of long events has fewer of them', async (t) => {
  const log = fileLog(tempFolder(t), { fsync: 'never' })
  const text = `data: ${'x'.repeat(300_000)}\n\n`
  for (let times = 0; times < 20; times++) await log.append({ text })
  const { records } = await log.read('', 1_000)
  assert.ok(records.length >= 1 && records.length < 6, `${records.length} events`)
  assert.equal((await readAll(log)).records.length, 20)
  await log.close()
})

test('what becomes of an event after it was added does not matter', async (t) => {
  const log = fileLog(tempFolder(t))
  const topics = ['a']
  const event = { text: 'data: 1\n\n', topics }
  const added = log.append(event)
  topics.push('b')
  event.text = 'data: 2\n\n'
  await added
  const { records } = await log.read('', 1)
  assert.deepEqual([records[0]!.text, records[0]!.topics], ['data: 1\n\n', ['a']])
  await log.close()
})

test('half a surrogate pair and characters that end lines come back as they were', async (t) => {
  const folder = tempFolder(t)
  const text = 'data: \ud83c \u2028 \u0000 "\\n" \x7f\n\n'
  const log = fileLog(folder)
  await log.append({ text, topics: ['\udf31'], key: '\ud83c' })
  await log.close()
  const again = fileLog(folder)
  const { records } = await again.read('', 1)
  const [{ text: sameText, topics, key } = assert.fail()] = records
  assert.deepEqual([sameText, topics, key], [text, ['\udf31'], '\ud83c'])
  await again.close()
})

test('an event without a text is refused', async (t) => {
  const log = fileLog(tempFolder(t))
  await assert.rejects(log.append({ data: 'x' } as never), /expected an event with a text/)
  await log.close()
})

test('a line of the file is a checksum, the id, the time, and the event as JSON', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder)
  const before = Date.now()
  const id = await log.append({ text: 'data: hello\n\n', topics: ['plants'] })
  await log.close()
  const [, line] = readFileSync(segmentsOf(folder)[0]!, 'utf8').split('\n')
  const [, found, time, json] = /^[0-9a-f]{8} (\S+) (\d+) (.*)$/.exec(line!)!
  assert.equal(found, id)
  assert.ok(Number(time) >= before && Number(time) <= Date.now())
  assert.deepEqual(JSON.parse(json!), ['data: hello\n\n', ['plants']])
})

test('an open log, also one that is followed, does not keep the process alive', async (t) => {
  const program = startProgram(t, 'leaves-it-open.ts', [tempFolder(t)])
  assert.equal(await program.closed, 0, program.errors())
  assert.equal(program.printed(), 'added\n')
})
