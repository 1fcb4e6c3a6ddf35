import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { RawClient, until } from '../fixtures/harness.ts'
import { serve } from './serve.ts'
import type { ServeOptions, ServerHandle } from './serve.ts'
import { SocketFile } from './socket-file.ts'

const inUse = 'a server listens on it; stop that one, or choose another path'

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Makes the file of a socket whose server has died. */
async function leaveDead(path: string): Promise<void> {
  const server = createServer().listen(`${path}.own`)
  await until('it listens', () => server.listening)
  linkSync(`${path}.own`, path)
  await new Promise((resolve) => server.close(resolve)) // takes the other name with it
}

async function startAt(t: TestContext, path: string, mode?: number): Promise<ServerHandle> {
  const server = await serve(path, {
    listen: [{ path, ...(mode !== undefined && { mode }) }],
    shutdown: { lingerMs: 0, deadlineMs: 0 },
  })
  t.after(() => server.shutDown())
  return server
}

function refused(path: string, why: string | RegExp, options: ServeOptions = {}): Promise<void> {
  const message = typeof why === 'string' ? `Cannot listen on ${path}: ${why}` : why
  return assert.rejects(serve('x', { listen: [{ path }], ...options }), {
    name: 'StartError',
    message,
  })
}

async function assertAnswers(t: TestContext, path: string): Promise<void> {
  const client = await RawClient.connect(t, { path })
  assert.equal((await client.get('/').response()).body, path)
  client.socket.destroy()
}

test('[stopping 10.3] the file of a socket is alone in its folder, has its mode, and is removed by the stop', async (t) => {
  const folder = folderOf(t)
  const umask = process.umask(0o022)
  t.after(() => process.umask(umask))
  for (const [mode, expected] of [
    [undefined, 0o755],
    [0o660, 0o660],
    [0o777, 0o777],
    [0, 0],
  ] as const) {
    const path = join(folder, 'app.sock')
    const server = await startAt(t, path, mode)
    assert.deepEqual(readdirSync(folder), ['app.sock'])
    assert.equal(lstatSync(path).mode & 0o777, expected)
    if (mode !== 0) await assertAnswers(t, path)
    await server.shutDown()
    assert.deepEqual(readdirSync(folder), [])
  }
})

test('the socket of a dead server is replaced', async (t) => {
  const path = join(folderOf(t), 'app.sock')
  await leaveDead(path)
  const server = await startAt(t, path)
  await assertAnswers(t, path)
  await server.shutDown()
  assert.equal(existsSync(path), false)
})

test('the socket of a server that lives is left alone, ours or not', async (t) => {
  const folder = folderOf(t)
  const path = join(folder, 'app.sock')
  const server = await startAt(t, path)
  await refused(path, inUse)
  await assertAnswers(t, path)
  await server.shutDown()

  const other = createServer().listen(path)
  t.after(() => other.close())
  await until('it listens', () => other.listening)
  await refused(path, inUse)
  assert.deepEqual(readdirSync(folder), ['app.sock'])
})

test('what is no socket is never removed', async (t) => {
  const folder = folderOf(t)
  const file = join(folder, 'file')
  writeFileSync(file, 'precious')
  const dead = join(folder, 'dead')
  await leaveDead(dead)
  const link = join(folder, 'link')
  symlinkSync(dead, link)
  const below = join(folder, 'below')
  mkdirSync(below)
  const before = readdirSync(folder)
  for (const path of [file, link, below])
    await refused(path, 'something is there that is no socket')
  assert.equal(readFileSync(file, 'utf8'), 'precious')
  assert.deepEqual(readdirSync(folder), before)
})

test('of servers that start at once on a path one gets it, whether a dead one was there or not', async (t) => {
  for (const isDead of [true, false]) {
    const folder = folderOf(t)
    const path = join(folder, 'app.sock')
    if (isDead) await leaveDead(path)
    const starts = Array.from({ length: 8 }, () => startAt(t, path))
    const results = await Promise.allSettled(starts)
    const winners = results.flatMap((each) => (each.status === 'fulfilled' ? each.value : []))
    assert.equal(winners.length, 1)
    for (const each of results) {
      if (each.status === 'rejected')
        assert.equal(each.reason.message, `Cannot listen on ${path}: ${inUse}`)
    }
    await assertAnswers(t, path)
    assert.deepEqual(readdirSync(folder), ['app.sock'])
    await winners[0]!.shutDown()
    assert.deepEqual(readdirSync(folder), [])
  }
})

test('[stopping 10.3] the stop removes no file but its own', async (t) => {
  const path = join(folderOf(t), 'app.sock')
  const server = await startAt(t, path)
  rmSync(path)
  const next = await startAt(t, path)
  await server.shutDown()
  await assertAnswers(t, path)
  await next.shutDown()
  assert.equal(existsSync(path), false)
})

test('a file that cannot be removed at the stop is reported, and the stop goes on', async (t) => {
  const folder = folderOf(t)
  const server = await startAt(t, join(folder, 'app.sock'))
  rmSync(folder, { recursive: true })
  writeFileSync(folder, 'a file now')
  const printed = t.mock.method(console, 'error', () => {})
  await server.shutDown()
  assert.match(String(printed.mock.calls[0]!.arguments), /cannot remove the socket .*ENOTDIR/)
})

test('a path that cannot be made is a StartError that says why, and leaves nothing', async (t) => {
  const folder = folderOf(t)
  await refused(join(folder, 'none', 'app.sock'), 'there is no such folder')
  await refused(join(folder, 'x'.repeat(110)), /: a path of a socket has 10[37] bytes at most$/)
  assert.deepEqual(readdirSync(folder), [])
  // Short enough itself, and not the name under which it is made.
  const deep = join(folder, 'x'.repeat(96 - Buffer.byteLength(folder)))
  mkdirSync(deep)
  await refused(
    join(deep, 'a'),
    /: a path of a socket has 10[37] bytes at most, and at first it is made as .+\/\.[\da-f]{10}$/,
  )
  assert.deepEqual([readdirSync(deep), readdirSync(folder).length], [[], 1])
  rmSync(deep, { recursive: true })
  chmodSync(folder, 0o555)
  if (process.getuid?.() === 0) process.seteuid!(65_534) // a mode does not keep root out
  try {
    await refused(join(folder, 'app.sock'), 'there is no permission for it')
  } finally {
    if (process.getuid?.() === 0) process.seteuid!(0)
    chmodSync(folder, 0o755)
  }
})

test('what has failed is said also where the file of the socket was taken away meanwhile', async (t) => {
  const folder = folderOf(t)
  const path = join(folder, 'app.sock')
  const binding = SocketFile.bind(path, undefined, async () => {})
  await assert.rejects(binding, { code: 'ENOENT', syscall: 'link' })
})

test('the dead socket of somebody else that may not be connected to, or removed, is left alone', async (t) => {
  if (process.getuid?.() !== 0) return t.skip('only root can make files of others')
  const folder = folderOf(t)
  const path = join(folder, 'app.sock')
  await leaveDead(path)
  chmodSync(folder, 0o1777) // as that of temporary files
  for (const mode of [0o600, 0o777]) {
    chmodSync(path, mode)
    process.seteuid!(65_534)
    try {
      await refused(path, 'there is no permission for it')
    } finally {
      process.seteuid!(0)
    }
  }
  assert.deepEqual(readdirSync(folder), ['app.sock'])
})

test('a dead socket that somebody else removes meanwhile is no hindrance', async (t) => {
  const path = join(folderOf(t), 'app.sock')
  await leaveDead(path)
  const starting = startAt(t, path)
  const removing = until('it is gone', () => {
    rmSync(path, { force: true })
    return true
  })
  await Promise.all([starting, removing])
  assert.ok(statSync(path).isSocket())
})
