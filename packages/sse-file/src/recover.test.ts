import assert from 'node:assert/strict'
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import type { EventLog } from '@wakerobin/sse'

import { segmentsOf, tempFolder } from '../fixtures/folder.ts'
import { add, readAll } from '../fixtures/read-all.ts'
import type { Damage } from './damage.ts'
import { fileLog } from './file-log.ts'
import type { FileLogOptions } from './options.ts'

/** A log that notes what was found damaged. */
function open(folder: string, options: FileLogOptions = {}): { log: EventLog; damages: Damage[] } {
  const damages: Damage[] = []
  const log = fileLog(folder, {
    fsync: 'never',
    ...options,
    onRecovery: (one) => damages.push(one),
  })
  return { log, damages }
}

/** A folder with a log of so many events, which is closed. */
async function filled(
  t: TestContext,
  count: number,
  options: FileLogOptions = {},
): Promise<{ folder: string; ids: string[]; files: string[]; start: string }> {
  const folder = tempFolder(t)
  const { log } = open(folder, options)
  const start = (await log.bounds()).last
  const ids: string[] = []
  // Few at a time, so that there are as many files as there may be.
  while (ids.length < count)
    ids.push(...(await add(log, Math.min(10, count - ids.length), ids.length)))
  await log.close()
  return { folder, ids, files: segmentsOf(folder), start }
}

function idsOf(records: readonly { id: string }[]): string[] {
  return records.map(({ id }) => id)
}

test('an end that is torn at any byte is cut after the last whole event, and that is told', async (t) => {
  const { folder, ids, files } = await filled(t, 5)
  const whole = readFileSync(files[0]!)
  const beginOfLast = whole.lastIndexOf(10, -2) + 1
  for (let length = beginOfLast; length <= whole.length; length++) {
    writeFileSync(files[0]!, whole.subarray(0, length))
    const { log, damages } = open(folder)
    const isTorn = length > beginOfLast && length < whole.length
    const kept = length === whole.length ? 5 : 4
    assert.deepEqual(
      damages.map((damage) => ({ ...damage, message: undefined })),
      isTorn
        ? [
            {
              kind: 'torn',
              path: files[0],
              offset: beginOfLast,
              bytes: length - beginOfLast,
              events: null,
              after: ids[3],
              message: undefined,
            },
          ]
        : [],
    )
    assert.deepEqual(await log.bounds(), { first: ids[0], last: ids[kept - 1] })
    const [id] = await add(log, 1, 5)
    assert.match(id!, new RegExp(`-${kept + 1}$`))
    const { records, gaps } = await readAll(log)
    assert.deepEqual(idsOf(records), [...ids.slice(0, kept), id])
    assert.deepEqual(gaps, [])
    await log.close()
  }
})

test('an event that was lost from the end is not mistaken for the one that came in its place', async (t) => {
  const { folder, ids, files } = await filled(t, 3)
  truncateSync(files[0]!, statSync(files[0]!).size - 10)
  const { log } = open(folder)
  const end = { records: [], missed: null, next: ids[1] }
  assert.deepEqual(await log.read(ids[2]!, 10), end) // a client has it
  const [third] = await add(log, 2)
  assert.notEqual(third, ids[2])
  assert.equal((await log.read(ids[2]!, 10)).missed, null)
  assert.deepEqual(idsOf((await log.read(ids[1]!, 1)).records), [third])
  await log.close()
  const { log: again } = open(folder)
  assert.equal((await again.read(ids[2]!, 10)).missed, null)
  assert.deepEqual(idsOf((await again.read(ids[1]!, 1)).records), [third])
  await again.close()
})

test('the ids of a log that has lost all its events are not given again', async (t) => {
  const { folder, ids, files } = await filled(t, 1)
  const header = readFileSync(files[0]!).indexOf(10) + 1
  truncateSync(files[0]!, header)
  const { log } = open(folder)
  const [id] = await add(log, 1)
  assert.notEqual(id, ids[0])
  assert.equal((await log.read(ids[0]!, 1)).missed, null)
  await log.close()
})

test('a torn end is told on console.warn by default', async (t) => {
  const { folder, ids, files } = await filled(t, 2)
  appendFileSync(files[0]!, 'half of an ev')
  const warned = t.mock.method(console, 'warn', () => {})
  await fileLog(folder).close()
  assert.deepEqual(
    warned.mock.calls.map((call) => call.arguments),
    [
      [
        `Event log ${files[0]}: cut a torn end of 13 bytes at byte ${statSync(files[0]!).size}, after the event ${ids[1]}`,
      ],
    ],
  )
})

test('an end of zeros, as a loss of power leaves it, is cut', async (t) => {
  const { folder, ids, files } = await filled(t, 2)
  appendFileSync(files[0]!, Buffer.alloc(5_000))
  const { log, damages } = open(folder)
  assert.deepEqual(
    damages.map(({ kind, bytes }) => [kind, bytes]),
    [['torn', 5_000]],
  )
  assert.equal((await log.bounds()).last, ids[1])
  await log.close()
})

test('a flipped bit anywhere costs its event alone, or two where it was between them, and is told', async (t) => {
  const { folder, ids, files, start } = await filled(t, 6)
  const whole = readFileSync(files[0]!)
  const header = whole.indexOf(10) + 1
  const lines = whole.subarray(header).toString('latin1').split('\n').slice(0, -1)
  for (let at = header, line = 0; line < 4; at++) {
    const flipped = Buffer.from(whole)
    flipped[at]! ^= 1 << (at % 8)
    writeFileSync(files[0]!, flipped)
    const { log, damages } = open(folder)
    const isBreak = whole[at] === 10
    const lost = isBreak ? 2 : 1
    assert.deepEqual(
      damages.map(({ kind, events }) => [kind, events]),
      [['corrupt', lost]],
      `byte ${at}`,
    )
    assert.equal(damages[0]!.after, ids[line - 1] ?? start)
    const { records, gaps } = await readAll(log, start)
    assert.deepEqual(idsOf(records), [...ids.slice(0, line), ...ids.slice(line + lost)])
    assert.deepEqual(gaps, [[lost, ids[line + lost]]])
    assert.equal(damages.length, 1) // told once
    // Who was in the middle of it goes on.
    assert.deepEqual(await log.read(ids[line]!, 1), {
      records: [
        {
          id: ids[line + lost],
          text: `data: ${line + lost}\n\n`,
          topics: undefined,
          key: undefined,
        },
      ],
      missed: lost - 1,
      next: ids[line + lost],
    })
    await log.close()
    if (isBreak) line++
  }
  assert.equal(lines.length, 6)
})

test('what is corrupt in an older file is told when it is read, once, and what follows is read', async (t) => {
  const { folder, ids, files } = await filled(t, 500, { maxBytes: 64_000 })
  assert.ok(files.length > 3)
  const text = readFileSync(files[1]!, 'latin1')
  const lines = text.split('\n').slice(1, -1)
  const first = Number.parseInt(files[1]!.split('/').at(-1)!, 10)
  const [offset, end] = [text.indexOf(lines[5]!), text.indexOf(lines[9]!)]
  writeFileSync(
    files[1]!,
    text.slice(0, offset) + 'x'.repeat(end - offset - 1) + text.slice(end - 1),
  )
  const { log, damages } = open(folder, { maxBytes: 64_000 })
  assert.deepEqual(damages, [])
  const lost = ids.slice(first - 1 + 5, first - 1 + 9)
  for (let times = 0; times < 2; times++) {
    const { records, gaps } = await readAll(log)
    assert.deepEqual(
      idsOf(records),
      ids.filter((id) => !lost.includes(id)),
    )
    assert.deepEqual(gaps, [[4, ids[first - 1 + 9]]])
  }
  assert.deepEqual(damages, [
    {
      kind: 'corrupt',
      path: files[1],
      offset,
      bytes: end - offset,
      events: 4,
      after: ids[first - 1 + 4],
      message: `Event log ${files[1]}: passing over ${end - offset} corrupt bytes at byte ${offset}: 4 events are lost after the event ${ids[first - 1 + 4]}`,
    },
  ])
  await log.close()
})

test('the end of an older file that is gone is told, and reading goes on in the next', async (t) => {
  const { folder, ids, files } = await filled(t, 300, { maxBytes: 64_000 })
  const lines = readFileSync(files[0]!, 'latin1').split('\n').slice(0, -1)
  const kept = lines.slice(0, -3)
  writeFileSync(files[0]!, kept.map((line) => `${line}\n`).join('') + lines.at(-3)!.slice(0, 20))
  const { log, damages } = open(folder, { maxBytes: 64_000 })
  const { records, gaps } = await readAll(log)
  const gone = kept.length - 1 // beside the header
  assert.deepEqual(idsOf(records), [...ids.slice(0, gone), ...ids.slice(gone + 3)])
  assert.deepEqual(gaps, [[3, ids[gone + 3]]])
  assert.deepEqual(
    damages.map(({ kind, events, after }) => [kind, events, after]),
    [['corrupt', 3, ids[gone - 1]]],
  )
  await log.close()
})

test('a file that is gone from the middle is told, and reading goes on behind it', async (t) => {
  const { folder, ids, files } = await filled(t, 500, { maxBytes: 64_000 })
  const [from, to] = [files[1]!, files[2]!].map((path) =>
    Number.parseInt(path.split('/').at(-1)!, 10),
  )
  rmSync(files[1]!)
  const { log, damages } = open(folder, { maxBytes: 64_000 })
  const { records, gaps } = await readAll(log)
  assert.deepEqual(idsOf(records), [...ids.slice(0, from! - 1), ...ids.slice(to! - 1)])
  assert.deepEqual(gaps, [[to! - from!, ids[to! - 1]]])
  assert.deepEqual(
    damages.map(({ kind, path, bytes, events }) => [kind, path, bytes, events]),
    [['missing', files[0], 0, to! - from!]],
  )
  assert.match(damages[0]!.message, /events are missing behind it, after the event /)
  await log.close()
})

test('a file that is removed while the log is open makes reads reject, not go astray', async (t) => {
  const { folder, ids, files } = await filled(t, 500, { maxBytes: 64_000 })
  const { log } = open(folder, { maxBytes: 64_000 })
  renameSync(files[0]!, `${files[0]!}.away`)
  await assert.rejects(log.read('', 10), {
    message: new RegExp(`^Cannot read the event log ${folder}: ENOENT`),
  })
  renameSync(`${files[0]!}.away`, files[0]!)
  assert.equal((await log.read('', 10)).records[0]!.id, ids[0])
  await log.close()
})

test('a file that is cut while the log is open has what is missing told, at the end of the log too', async (t) => {
  const { folder, ids, files } = await filled(t, 4)
  const { log, damages } = open(folder)
  truncateSync(files[0]!, statSync(files[0]!).size - 10)
  const { records, gaps } = await readAll(log)
  assert.deepEqual(idsOf(records), ids.slice(0, 3))
  assert.deepEqual(gaps, [[1, undefined]])
  assert.equal((await log.read(ids[2]!, 10)).next, ids[3])
  assert.deepEqual(
    damages.map(({ events, after }) => [events, after]),
    [[1, ids[2]]],
  )
  await log.close()
})

test('a file without a whole header is told, and its events are there under their ids', async (t) => {
  const { folder, ids, files } = await filled(t, 500, { maxBytes: 64_000 })
  for (const path of [files[1]!, files.at(-1)!]) {
    const text = readFileSync(path)
    text[20]! ^= 1
    writeFileSync(path, text)
  }
  const { log, damages } = open(folder, { maxBytes: 64_000 })
  assert.deepEqual(
    damages.map(({ kind, path, offset, events }) => [kind, path, offset, events]),
    [
      ['corrupt', files[1], 0, 0],
      ['corrupt', files.at(-1), 0, 0],
    ],
  )
  assert.match(damages[0]!.message, /: no events are lost after the event /)
  const { records, gaps } = await readAll(log)
  assert.deepEqual([idsOf(records), gaps], [ids, []])
  const [id] = await add(log, 1, 500)
  await log.close()
  const { log: again } = open(folder, { maxBytes: 64_000 })
  assert.deepEqual(idsOf((await readAll(again)).records).at(-1), id)
  await again.close()
})

test('a log without any whole header is read, and ids from before are foreign', async (t) => {
  const { folder, ids, files } = await filled(t, 3)
  const text = readFileSync(files[0]!)
  text[20]! ^= 1
  writeFileSync(files[0]!, text)
  const { log } = open(folder)
  const { records } = await readAll(log)
  assert.deepEqual(
    records.map(({ text }) => text),
    ['data: 0\n\n', 'data: 1\n\n', 'data: 2\n\n'],
  )
  const [id] = await add(log, 1)
  assert.equal((await log.read(ids[2]!, 1)).records[0]!.id, id)
  await log.close()
})

test('a file that was being made when the process died is removed', async (t) => {
  const { folder, ids, files } = await filled(t, 3)
  for (const begun of ['', '0a0b0c0d {"log":"wakerob']) {
    const path = join(folder, '0000000000000004.log')
    writeFileSync(path, begun)
    const { log, damages } = open(folder)
    assert.deepEqual(
      damages.map(({ kind, bytes }) => [kind, bytes]),
      begun === '' ? [] : [['torn', 24]],
    )
    assert.deepEqual(segmentsOf(folder), files)
    assert.equal((await log.bounds()).last, ids[2])
    await log.close()
  }
})

test('a first file that was being made is made anew', async (t) => {
  const folder = tempFolder(t)
  writeFileSync(join(folder, '0000000000000001.log'), '0a0b0c0d {"log"')
  const { log, damages } = open(folder)
  assert.deepEqual(
    damages.map(({ kind }) => kind),
    ['torn'],
  )
  const ids = await add(log, 2)
  assert.deepEqual(idsOf((await readAll(log)).records), ids)
  await log.close()
})

test('a log of a later release is refused, and left as it is', async (t) => {
  const { folder, files } = await filled(t, 1)
  const text = readFileSync(files[0]!, 'utf8')
  const changed = text.replace('"version":1', '"version":2')
  const { crc32 } = await import('node:zlib')
  const [header] = changed.split('\n')
  const sum = crc32(header!.slice(9)).toString(16).padStart(8, '0')
  writeFileSync(files[0]!, sum + changed.slice(8))
  for (let times = 0; times < 2; times++)
    assert.throws(() => open(folder), {
      message: /^Cannot open the event log .*: Cannot read an event log of version 2/,
    })
  assert.equal(readFileSync(files[0]!, 'utf8'), sum + changed.slice(8))
})

test('what is not of the log is left alone in its folder', async (t) => {
  const folder = tempFolder(t)
  for (const name of ['notes.txt', 'x.log', '1.log'])
    copyFileSync(import.meta.filename, join(folder, name))
  const { log } = open(folder)
  const ids = await add(log, 3)
  assert.deepEqual(idsOf((await readAll(log)).records), ids)
  await log.close()
  assert.equal(statSync(join(folder, '1.log')).size, statSync(import.meta.filename).size)
})

test('ids stay valid over many restarts, and those of other logs are foreign', async (t) => {
  const folder = tempFolder(t)
  const ids: string[] = []
  for (let times = 0; times < 5; times++) {
    const { log } = open(folder)
    ids.push(...(await add(log, 3, ids.length)))
    for (const [at, id] of ids.entries()) {
      const { records, gaps } = await readAll(log, id)
      assert.deepEqual([idsOf(records), gaps], [ids.slice(at + 1), []])
    }
    await log.close()
  }
  assert.equal(new Set(ids.map((id) => id.split('-')[0])).size, 5)
  const other = await filled(t, 15)
  const { log } = open(folder)
  for (const id of other.ids)
    assert.deepEqual(await log.read(id, 5), { records: [], missed: null, next: ids.at(-1) })
  await log.close()
})
