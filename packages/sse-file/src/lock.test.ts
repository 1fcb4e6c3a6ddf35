import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { tempFolder } from '../fixtures/folder.ts'
import { startProgram } from '../fixtures/program.ts'
import { add, readAll } from '../fixtures/read-all.ts'
import { fileLog } from './file-log.ts'
import { LogInUseError } from './lock.ts'

const noProc = existsSync('/proc/self/stat') ? false : 'no /proc here'

/** Who has the lock of a folder, as the file says it. */
function ownerIn(folder: string): Record<string, unknown> {
  return JSON.parse(readFileSync(join(folder, 'lock'), 'utf8')) as Record<string, unknown>
}

test('a second process is refused with the id of the first, and gets the log when that is killed', async (t) => {
  const folder = tempFolder(t)
  const holder = startProgram(t, 'holder.ts', [folder])
  await once(holder.process.stdout!, 'data')
  const { pid } = holder.process
  for (let times = 0; times < 2; times++)
    assert.throws(
      () => fileLog(folder),
      (error: unknown) => {
        assert.ok(error instanceof LogInUseError)
        assert.equal(error.pid, pid)
        assert.equal(error.path, folder)
        assert.equal(
          error.message,
          `Cannot open the event log ${folder}: process ${pid} has it open, and a log has one writer`,
        )
        return true
      },
    )
  holder.process.kill('SIGKILL')
  await holder.closed
  const log = fileLog(folder)
  assert.equal(ownerIn(folder)['pid'], process.pid)
  await add(log, 1)
  await log.close()
  assert.equal(existsSync(join(folder, 'lock')), false)
})

test(
  'a killed process that its parent has not waited for yet has no lock any more',
  { skip: noProc },
  async (t) => {
    const folder = tempFolder(t)
    // The shell becomes a sleep that never asks what became of its child.
    const program = startProgram(
      t,
      'holder.ts',
      [folder],
      ['bash', '-c', '"$@" & exec sleep 60', 'bash'],
    )
    await once(program.process.stdout!, 'data')
    const pid = ownerIn(folder)['pid'] as number
    assert.throws(() => fileLog(folder), { name: 'LogInUseError', pid })
    process.kill(pid, 'SIGKILL')
    while (!/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1')))
      await new Promise((resolve) => setImmediate(resolve))
    await fileLog(folder).close()
    program.process.kill('SIGKILL')
    await program.closed
  },
)

test('a second log in the same folder and process is refused', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder)
  assert.throws(() => fileLog(folder), {
    name: 'LogInUseError',
    message: /: process \d+, this one, has it open/,
  })
  await log.close()
  await fileLog(folder).close()
  assert.deepEqual(
    readdirSync(folder).filter((name) => !name.endsWith('.log')),
    [],
  )
})

test(
  'the lock of a process whose id another has now is taken over',
  { skip: noProc },
  async (t) => {
    const folder = tempFolder(t)
    const log = fileLog(folder)
    const owner = ownerIn(folder)
    await log.close()
    writeFileSync(join(folder, 'lock'), JSON.stringify({ ...owner, token: 'x', started: '1' }))
    await fileLog(folder).close()
  },
)

test('where the system tells no start of a process, its id counts', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder)
  const owner = { ...ownerIn(folder), token: 'x', started: null }
  await log.close()
  const holder = startProgram(t, 'holder.ts', [tempFolder(t)])
  await once(holder.process.stdout!, 'data')
  writeFileSync(join(folder, 'lock'), JSON.stringify({ ...owner, pid: holder.process.pid }))
  assert.throws(() => fileLog(folder), { name: 'LogInUseError', pid: holder.process.pid })
  holder.process.kill('SIGKILL')
  await holder.closed
  await fileLog(folder).close()
})

test('the lock of another machine or container counts as long as it is touched', async (t) => {
  const folder = tempFolder(t)
  await fileLog(folder).close()
  const lock = join(folder, 'lock')
  const elsewhere = { token: 'x', pid: 7, started: '5', boot: 'another', space: 'another' }
  writeFileSync(lock, JSON.stringify(elsewhere))
  assert.throws(() => fileLog(folder), {
    name: 'LogInUseError',
    message: /: process 7 of another machine or container has it open/,
  })
  const long = new Date(Date.now() - 16_000)
  utimesSync(lock, long, long)
  await fileLog(folder).close()
  assert.equal(existsSync(lock), false)
})

test('an open log touches its lock, so that it is seen elsewhere', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const folder = tempFolder(t)
  const log = fileLog(folder)
  const lock = join(folder, 'lock')
  const fs = (await import('node:fs')).default
  const long = new Date(Date.now() - 60_000)
  utimesSync(lock, long, long)
  t.mock.timers.tick(3_000)
  while (fs.statSync(lock).mtimeMs < Date.now() - 30_000)
    await new Promise((resolve) => setImmediate(resolve))
  await log.close()
})

test('a lock of which a loss of power has left nothing is taken over', async (t) => {
  const folder = tempFolder(t)
  await fileLog(folder).close()
  for (const left of ['', '{"token":"ab']) {
    writeFileSync(join(folder, 'lock'), left)
    await fileLog(folder).close()
  }
})

test('what died while it took a lock over is taken over, too', async (t) => {
  const folder = tempFolder(t)
  await fileLog(folder).close()
  const dead = { pid: 2 ** 22 + 1, started: '1', boot: 'b', space: 's' }
  const long = new Date(Date.now() - 60_000)
  const leave = (name: string, token: string): void => {
    const path = join(folder, name)
    rmSync(path, { force: true })
    writeFileSync(path, JSON.stringify({ ...dead, token }))
    utimesSync(path, long, long)
  }
  // The second has claimed the lock of the first, and the third that claim, when they died; one before it was done.
  for (const done of ['one', 'two', 'three']) {
    leave('lock', done)
    leave('claim-one', 'two')
    leave('claim-two', 'three')
    leave('lock-three', 'three')
    const log = fileLog(folder)
    assert.equal(ownerIn(folder)['pid'], process.pid)
    await log.close()
    assert.deepEqual(
      readdirSync(folder).filter((name) => !name.endsWith('.log')),
      [],
      done,
    )
  }
})

test('who claims a dead lock and lives is the one that others are refused for', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder)
  const owner = ownerIn(folder)
  await log.close()
  writeFileSync(join(folder, 'lock'), JSON.stringify({ ...owner, token: 'dead', pid: 0 }))
  writeFileSync(join(folder, 'claim-dead'), JSON.stringify({ ...owner, token: 'other' }))
  assert.throws(() => fileLog(folder), { name: 'LogInUseError', pid: process.pid })
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('lock-')),
    [],
  )
})

test('of many processes that find a dead lock at once, one gets the log', async (t) => {
  for (let times = 0; times < 2; times++) {
    const folder = tempFolder(t)
    await fileLog(folder).close()
    writeFileSync(join(folder, 'lock'), '{"token":"dead","pid":0}')
    const programs = Array.from({ length: 5 }, () => startProgram(t, 'holder.ts', [folder]))
    const ends = programs.map(async (program) => {
      const how = await Promise.race([once(program.process.stdout!, 'data'), program.closed])
      return Array.isArray(how) ? 'open' : program.errors()
    })
    const all = await Promise.all(ends)
    assert.equal(all.filter((end) => end === 'open').length, 1, all.join('\n'))
    for (const end of all) if (end !== 'open') assert.match(end, /LogInUseError: .* has it open/)
    for (const program of programs) {
      program.process.kill('SIGKILL')
      await program.closed
    }
  }
})

test('a log whose lock was removed takes nothing any more, says so, and leaves the new lock alone', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const folder = tempFolder(t)
  const errors: Error[] = []
  const log = fileLog(folder, { onError: (error) => errors.push(error as Error) })
  const ids = await add(log, 3)
  const lock = join(folder, 'lock')
  rmSync(lock)
  const other = fileLog(join(folder, 'other'))
  linkSync(join(folder, 'other', 'lock'), lock)
  t.mock.timers.tick(3_000)
  assert.deepEqual(
    errors.map(({ message }) => message),
    [
      `Cannot write any more to the event log ${folder}: its lock was taken by process ${process.pid}`,
    ],
  )
  await assert.rejects(add(log, 1), /^Error: Cannot add to the event log .* its lock was taken/)
  assert.equal((await readAll(log)).records.length, ids.length)
  await log.close()
  assert.equal(existsSync(lock), true)
  await other.close()
})

test('a lock that is gone is told, too', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const folder = tempFolder(t)
  const printed = t.mock.method(console, 'error', () => {})
  const log = fileLog(folder)
  rmSync(join(folder, 'lock'))
  t.mock.timers.tick(3_000)
  assert.match(
    String(printed.mock.calls[0]!.arguments[0]),
    /^Error: Cannot write any more to the event log .*: its lock was removed$/,
  )
  await log.close()
})

test('a process that was held up for long looks for its lock before it writes', async (t) => {
  const folder = tempFolder(t)
  const log = fileLog(folder, { onError: () => {} })
  await add(log, 1)
  rmSync(join(folder, 'lock'))
  const other = fileLog(folder)
  const now = Date.now()
  t.mock.method(Date, 'now', () => now + 20_000)
  await assert.rejects(add(log, 1), /: its lock was taken by process \d+$/)
  await add(other, 1)
  await log.close()
  assert.equal((await readAll(other)).records.length, 2)
  await other.close()
})

test('a lock that cannot be read is refused when a log is opened, and waited for when one is open', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const folder = tempFolder(t)
  const log = fileLog(folder, { onError: (error) => assert.fail(String(error)) })
  const lock = join(folder, 'lock')
  renameSync(lock, `${lock}.away`)
  mkdirSync(lock) // a folder, of which there is nothing to read
  t.mock.timers.tick(3_000)
  assert.throws(() => fileLog(folder), { message: /^Cannot open the event log .*: EISDIR/ })
  rmdirSync(lock)
  renameSync(`${lock}.away`, lock)
  t.mock.timers.tick(3_000)
  await add(log, 1)
  await log.close()
  assert.equal(existsSync(lock), false)
})
