import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import type { EventLog } from '@wakerobin/sse'

import { segmentsOf, tempFolder } from '../fixtures/folder.ts'
import { startProgram } from '../fixtures/program.ts'
import { add, readAll } from '../fixtures/read-all.ts'
import { fileLog } from './file-log.ts'

/** Has writes stop after so many bytes, as on a full disk; undefined for no end. */
function limitDisk(t: TestContext): (bytes: number | undefined) => void {
  const { write } = fs
  let room: number | undefined
  t.mock.method(fs, 'write', ((file, buffer, offset, length, position, done) => {
    if (room === undefined) return write(file, buffer, offset, length, position, done)
    if (room === 0) return process.nextTick(done, noSpace())
    const some = Math.min(room, length as number)
    room -= some
    return write(file, buffer, offset, some, position, done)
  }) as (...args: any[]) => void)
  return (bytes) => (room = bytes)
}

function noSpace(): Error {
  return Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
}

async function settled(
  log: EventLog,
  texts: readonly string[],
): Promise<PromiseSettledResult<string>[]> {
  return Promise.allSettled(texts.map((text) => log.append({ text })))
}

const texts = ['one', 'two', 'three', 'four'].map((text) => `data: ${text}\n\n`)

for (const fsync of ['never', 'interval', 'each'] as const)
  test(`a disk that is full rejects what was not taken, and that alone (${fsync})`, async (t) => {
    const setRoom = limitDisk(t)
    const folder = tempFolder(t)
    // How long the events are as lines.
    const probe = fileLog(join(folder, 'probe'))
    await settled(probe, texts)
    await probe.close()
    const [, ...lines] = readFileSync(segmentsOf(join(folder, 'probe'))[0]!, 'utf8').split('\n')
    const lengths = lines.slice(0, 4).map((line) => line.length + 1)
    const all = lengths.reduce((sum, length) => sum + length, 0)

    for (let room = 0; room <= all; room += 7) {
      const log = fileLog(join(folder, String(room)), { fsync })
      const before = await log.append({ text: 'data: zero\n\n' })
      setRoom(room)
      const results = await settled(log, texts)
      let left = room
      const fits = lengths.findIndex((length) => (left -= length) < 0)
      const taken = fits === -1 ? 4 : fits
      assert.deepEqual(
        results.map(({ status }) => status),
        texts.map((_, at) => (at < taken ? 'fulfilled' : 'rejected')),
        `room for ${room} bytes`,
      )
      for (const result of results)
        if (result.status === 'rejected') {
          const { message, cause } = result.reason as Error
          assert.match(message, /^Cannot add to the event log .*: ENOSPC: no space left on device/)
          assert.equal((cause as NodeJS.ErrnoException).code, 'ENOSPC')
        }
      // The file ends with what was taken.
      const ids = [
        before,
        ...results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])),
      ]
      assert.equal((await log.bounds()).last, ids.at(-1))
      const lineCount =
        readFileSync(segmentsOf(join(folder, String(room)))[0]!, 'utf8').split('\n').length - 1
      assert.equal(lineCount, 1 + ids.length)
      // And when there is room again, it goes on.
      setRoom(undefined)
      ids.push(await log.append({ text: 'data: later\n\n' }))
      assert.deepEqual(
        (await readAll(log)).records.map(({ id }) => id),
        ids,
      )
      await log.close()
      const again = fileLog(join(folder, String(room)), {
        onRecovery: () => assert.fail('damaged'),
      })
      assert.deepEqual(
        (await readAll(again)).records.map(({ id }) => id),
        ids,
      )
      await again.close()
    }
  })

test('a file that cannot be cut after a failed write is cut before anything else is written', async (t) => {
  const setRoom = limitDisk(t)
  const folder = tempFolder(t)
  const errors: unknown[] = []
  const log = fileLog(folder, { onError: (error) => errors.push(error) })
  const [first] = await add(log, 1)
  const cuts = t.mock.method(
    fs,
    'ftruncate',
    (_file: number, _length: number, done: (error: Error) => void) =>
      done(new Error('EIO: i/o error, ftruncate')),
  )
  setRoom(100)
  const results = await settled(log, texts)
  const taken = results.filter(({ status }) => status === 'fulfilled').length
  assert.ok(taken < 4)
  setRoom(undefined)
  assert.equal(errors.length, 1)
  await assert.rejects(add(log, 1), /^Error: Cannot add to the event log .*: EIO/)
  cuts.mock.restore()
  const [last] = await add(log, 1)
  const { records } = await readAll(log)
  assert.equal(records.length, 1 + taken + 1)
  assert.deepEqual([records[0]!.id, records.at(-1)!.id], [first, last])
  await log.close()
  const again = fileLog(folder, { onRecovery: () => assert.fail('damaged') })
  assert.equal((await readAll(again)).records.length, records.length)
  await again.close()
})

test('with each, what cannot be forced to the disk is not in the log', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'each' })
  const [first] = await add(log, 1)
  const { size } = statSync(segmentsOf(folder)[0]!)
  const sync = t.mock.method(fs, 'fdatasync', (_: number, done: (error: Error) => void) =>
    done(new Error('EIO: i/o error, fdatasync')),
  )
  await assert.rejects(add(log, 3), /^Error: Cannot add to the event log .*: EIO/)
  assert.equal(statSync(segmentsOf(folder)[0]!).size, size)
  assert.deepEqual(
    (await readAll(log)).records.map(({ id }) => id),
    [first],
  )
  sync.mock.restore()
  const [second] = await add(log, 1)
  assert.deepEqual(
    (await readAll(log)).records.map(({ id }) => id),
    [first, second],
  )
  await log.close()
})

test('with interval, what cannot be forced to the disk is told, and tried again', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const errors: Error[] = []
  const log = fileLog(tempFolder(t), {
    fsyncIntervalMs: 50,
    onError: (error) => errors.push(error as Error),
  })
  let isBroken = true
  const sync = t.mock.method(fs, 'fdatasync', (_: number, done: (error: Error | null) => void) =>
    done(isBroken ? new Error('EIO: i/o error, fdatasync') : null),
  )
  await add(log, 1)
  t.mock.timers.tick(50)
  while (errors.length < 1) await new Promise((resolve) => setImmediate(resolve))
  assert.match(errors[0]!.message, /^Cannot force to the disk the event log .*: EIO/)
  t.mock.timers.tick(50)
  while (errors.length < 2) await new Promise((resolve) => setImmediate(resolve))
  isBroken = false
  t.mock.timers.tick(50)
  assert.equal(sync.mock.callCount(), 3)
  await new Promise((resolve) => setImmediate(resolve))
  t.mock.timers.tick(1_000)
  assert.equal(sync.mock.callCount(), 3)
  isBroken = true
  await add(log, 1)
  await assert.rejects(log.close(), /^Error: Cannot close the event log .*: EIO/)
})

test('a new file that cannot be made rejects what was to be in it, and leaves the others whole', async (t) => {
  const setRoom = limitDisk(t)
  const folder = tempFolder(t)
  const log = fileLog(folder, { fsync: 'never', maxBytes: 8_000 })
  const ids: string[] = []
  while (segmentsOf(folder).length < 3) ids.push(...(await add(log, 1)))
  const files = segmentsOf(folder)
  while (statSync(files.at(-1)!).size < 500) ids.push(...(await add(log, 1)))
  setRoom(20) // for a part of the header
  await assert.rejects(add(log, 3), /ENOSPC/)
  assert.deepEqual(segmentsOf(folder), files)
  setRoom(undefined)
  t.mock.method(fs, 'open', (_path: string, _flags: string, done: (error: Error) => void) =>
    done(new Error('EMFILE: too many open files, open')),
  )
  await assert.rejects(add(log, 3), /EMFILE/)
  t.mock.restoreAll()
  ids.push(...(await add(log, 3)))
  assert.equal(segmentsOf(folder).length, files.length + 1)
  assert.deepEqual(
    (await readAll(log)).records.map(({ id }) => id),
    ids,
  )
  await log.close()
})

test('an old file that cannot be removed is told, and the log goes on', async (t) => {
  const folder = tempFolder(t)
  const errors: Error[] = []
  const log = fileLog(folder, {
    fsync: 'never',
    maxBytes: 8_000,
    onError: (error) => errors.push(error as Error),
  })
  await add(log, 1)
  const [oldest] = segmentsOf(folder)
  rmSync(oldest!)
  for (let times = 0; errors.length === 0; times++) {
    assert.ok(times < 1_000)
    await add(log, 1)
  }
  assert.match(errors[0]!.message, /^Cannot remove old events from the event log .*: ENOENT/)
  await add(log, 1)
  await log.close()
})

test('a callback that throws does not stop the log', async (t) => {
  const folder = tempFolder(t)
  writeFileSync(join(folder, '0000000000000001.log'), 'torn')
  const thrown: (() => void)[] = []
  t.mock.method(globalThis, 'queueMicrotask', (callback: () => void) => thrown.push(callback))
  const log = fileLog(folder, {
    onRecovery: () => {
      throw new Error('of the app')
    },
  })
  await add(log, 1)
  await log.close()
  assert.throws(() => thrown[0]!(), /of the app/) // uncaught, as from an event listener
})

test('a limit of the system for files rejects what does not fit, and the log is whole behind it', async (t) => {
  const folder = tempFolder(t)
  // 64 KiB: bash counts in 1024 bytes.
  const program = startProgram(
    t,
    'until-full.ts',
    [folder],
    ['bash', '-c', 'ulimit -f 64; exec "$@"', 'bash'],
  )
  assert.equal(await program.closed, 0, program.errors())
  const { taken, code } = JSON.parse(program.printed()) as { taken: string[]; code: string }
  assert.equal(code, 'EFBIG')
  const log = fileLog(folder, { onRecovery: () => assert.fail('damaged') })
  assert.deepEqual(
    (await readAll(log)).records.map(({ id }) => id),
    taken,
  )
  await log.close()
})

const noMount = mountable() ? false : 'cannot mount a small disk here: not root'

test(
  'a disk that is really full rejects what does not fit, and takes more when there is room',
  { skip: noMount },
  async (t) => {
    const folder = tempFolder(t)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'none', folder])
    try {
      await fillDisk(folder)
    } finally {
      execFileSync('umount', ['--lazy', folder])
    }
  },
)

async function fillDisk(folder: string): Promise<void> {
  const ballast = join(folder, 'ballast')
  writeFileSync(ballast, Buffer.alloc(64 * 1024))
  const log = fileLog(join(folder, 'log'), { fsync: 'each' })
  const text = `data: ${'x'.repeat(3_000)}\n\n`
  const results = await settled(log, new Array<string>(100).fill(text))
  const ids = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  assert.ok(ids.length > 20 && ids.length < 100, `${ids.length} were taken`)
  const refused = results.find((result) => result.status === 'rejected')
  assert.match(String(refused!.reason), /ENOSPC/)
  await assert.rejects(log.append({ text: text.repeat(10) }), /ENOSPC/)
  rmSync(ballast)
  ids.push(await log.append({ text }))
  assert.deepEqual(
    (await readAll(log)).records.map(({ id }) => id),
    ids,
  )
  await log.close()
  const again = fileLog(join(folder, 'log'), { onRecovery: () => assert.fail('damaged') })
  assert.deepEqual(
    (await readAll(again)).records.map(({ id }) => id),
    ids,
  )
  await again.close()
}

function mountable(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== 'linux') return false
  // In a namespace of its own: nothing is left of it.
  return spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0
}
