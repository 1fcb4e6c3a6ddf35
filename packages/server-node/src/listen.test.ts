import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { Init, Swansong } from '@wakerobin/core'
import type { Handler, Info, Listener } from '@wakerobin/core'

import { first } from '../fixtures/certificates.ts'
import { Gate, RawClient, turns, until } from '../fixtures/harness.ts'
import { bindAll, urlOf } from './listen.ts'
import { serve } from './serve.ts'
import type { ServeOptions } from './serve.ts'

const atOnce = { lingerMs: 0, deadlineMs: 0 }
const host = '127.0.0.1'
const tls = { cert: first.cert, key: first.key }

/** A server of node:net that listens. */
async function listening(
  t: TestContext,
  where: { port: number } | { path: string },
): Promise<Server> {
  const server = createNetServer().listen({ host, ...where })
  t.after(() => server.close())
  await until('it listens', () => server.listening)
  return server
}

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return folder
}

async function assertClosed(t: TestContext, port: number): Promise<void> {
  await assert.rejects(RawClient.connect(t, { host, port }), { code: 'ECONNREFUSED' })
}

const tcp = (host: string, port: number): Listener => ({ kind: 'tcp', host, port, isSecure: false })

test('the url is localhost only where that leads to the server', () => {
  assert.equal(urlOf([tcp('127.0.0.1', 8080), tcp('::1', 8080)]), 'http://localhost:8080/')
  assert.equal(urlOf([tcp('0.0.0.0', 80)]), 'http://localhost/')
  assert.equal(urlOf([tcp('::', 8080)]), 'http://localhost:8080/')
  assert.equal(urlOf([tcp('127.0.0.1', 8080)]), 'http://127.0.0.1:8080/')
  assert.equal(urlOf([tcp('::1', 8080)]), 'http://[::1]:8080/')
  assert.equal(urlOf([{ kind: 'unix', path: '/run/app', isSecure: false }]), undefined)
  assert.equal(urlOf([]), undefined)
})

test('the url is that of the first port, with its scheme, and without the port of that scheme', () => {
  const unix: Listener = { kind: 'unix', path: '/run/app', isSecure: true }
  const secure = { ...tcp('0.0.0.0', 443), isSecure: true }
  assert.equal(urlOf([unix, secure, tcp('0.0.0.0', 80)]), 'https://localhost/')
  assert.equal(urlOf([{ ...secure, port: 80 } as Listener]), 'https://localhost:80/')
  assert.equal(urlOf([tcp('0.0.0.0', 443), secure]), 'http://localhost:443/')
  assert.equal(urlOf([tcp('127.0.0.1', 1), tcp('127.0.0.1', 2)]), 'http://127.0.0.1:1/')
  assert.equal(urlOf([tcp('127.0.0.1', 1), tcp('::1', 2)]), 'http://127.0.0.1:1/')
  assert.equal(urlOf([tcp('10.0.0.1', 1), tcp('127.0.0.1', 1)]), 'http://10.0.0.1:1/')
})

test('a second host that the machine has not is left out, a first one is a StartError', async () => {
  const missing = '192.0.2.1' // RFC 5737: nobody's
  const bound = await bindAll([{ hosts: ['127.0.0.1', missing], port: 0 }], () => createServer())
  for (const one of bound) one.finish()
  assert.equal(bound.length, 1)
  await assert.rejects(
    bindAll(
      [
        { hosts: ['127.0.0.1'], port: 0 },
        { hosts: [missing], port: 0 },
      ],
      () => createServer(),
    ),
    { name: 'StartError', message: /^Cannot listen on 192\.0\.2\.1:\d+: this machine has no such/ },
  )
})

test('what cannot be bound for another reason has that of the system in its message', async () => {
  const path = '/dev/null/app.sock' // below what is no folder
  await assert.rejects(
    bindAll([{ path }], () => createServer()),
    { name: 'StartError', message: /^Cannot listen on \/dev\/null\/app\.sock: listen ENOTDIR/ },
  )
})

test('[stopping 10.5] one app is served on several sockets until the stop closes all of them, and each conn knows which one it came in on', async (t) => {
  const path = join(folderOf(t), 'app.sock')
  const given = await listening(t, { port: 0 })
  let info: Info | undefined
  const init = Init.new((each) => void (info = each))
  const tell: Handler = (conn) =>
    conn.json([info!.listeners.indexOf(conn.listener!), conn.isSecure])
  const server = await serve([init, tell], {
    listen: [{ path }, { host, port: 0 }, { host, port: 0, tls }, { server: given }],
    shutdown: atOnce,
  })
  t.after(() => server.shutDown())
  const { listeners } = server
  assert.deepEqual(info!.listeners, listeners)
  const ports = listeners.map((listener) => (listener.kind === 'tcp' ? listener.port : 0))
  assert.deepEqual(listeners, [
    { kind: 'unix', path, isSecure: false },
    { kind: 'tcp', host, port: ports[1], isSecure: false },
    { kind: 'tcp', host, port: ports[2], isSecure: true },
    { kind: 'tcp', host, port: (given.address() as AddressInfo).port, isSecure: false },
  ])
  assert.equal(new Set(ports).size, 4)
  assert.equal(server.url, `http://${host}:${ports[1]}/`)
  assert.equal(info!.url, server.url)
  for (const [at, listener] of listeners.entries()) {
    const where = listener.kind === 'tcp' ? { host, port: listener.port } : { path }
    const client = await RawClient.connect(
      t,
      where,
      listener.isSecure ? { ca: first.cert } : undefined,
    )
    assert.equal((await client.get('/').response()).body, JSON.stringify([at, listener.isSecure]))
    client.socket.destroy()
  }
  await server.shutDown()
  for (const port of ports.slice(1)) await assertClosed(t, port)
  assert.equal(existsSync(path), false)
  assert.equal(given.listening, false)
})

test('a socket that cannot be bound closes those before it, and removes what was made', async (t) => {
  const path = join(folderOf(t), 'app.sock')
  const given = await listening(t, { port: 0 })
  const later = await listening(t, { port: 0 })
  const taken = await listening(t, { port: 0 })
  const { port } = taken.address() as AddressInfo
  const swansong = new Swansong()
  const listen = [
    { path },
    { host, port: 0, tls: { certFile: first.certFile, keyFile: first.keyFile } },
    { server: given },
    { host, port },
    { server: later },
  ]
  await assert.rejects(serve('hello', { listen, swansong }), {
    name: 'StartError',
    message: `Cannot listen on ${host}:${port}: it is in use; stop the other process, or choose another port`,
  })
  assert.equal(existsSync(path), false)
  assert.deepEqual([given.listening, later.listening, taken.listening], [false, false, true])
  assert.equal(swansong.guardCount, 0)
  const open = process.getActiveResourcesInfo().filter((name) => /ServerWrap/.test(name))
  assert.equal(open.length, 1, 'only the one that had the port')
})

test('an init that fails closes every kind of socket', async (t) => {
  const path = join(folderOf(t), 'app.sock')
  const given = await listening(t, { port: 0 })
  const failing = Init.new(() => Promise.reject(new Error('no database')))
  const listen = [{ path }, { host, port: 0, tls }, { server: given }]
  await assert.rejects(serve([failing], { listen }), /no database$/)
  assert.equal(existsSync(path), false)
  assert.equal(given.listening, false)
})

test('a server that is given to one that does not start is closed', async (t) => {
  const swansong = new Swansong()
  await swansong.shutDown()
  const given = await listening(t, { port: 0 })
  await assert.rejects(serve('x', { listen: [{ server: given }], swansong }), {
    name: 'StartError',
  })
  assert.equal(given.listening, false)
})

test('a server that is given to one whose options are wrong is closed', async (t) => {
  const wrong: ServeOptions[] = [{ limits: { headMs: 0 } }, { port: 1 }, { onError: 5 as never }]
  for (const options of wrong) {
    const given = await listening(t, { port: 0 })
    await assert.rejects(serve('x', { listen: [null as never, { server: given }], ...options }))
    assert.equal(given.listening, false)
  }
})

test('a start that is refused leaves the sockets of the parent process to the next one', async (t) => {
  process.env.LISTEN_FDS = '1'
  t.after(() => delete process.env.LISTEN_FDS)
  await assert.rejects(serve('x', { limits: { headMs: 0 } }), RangeError)
  await assert.rejects(serve([42 as never], {}), TypeError)
  assert.equal(process.env.LISTEN_FDS, '1')
})

test('a server that is given serves as if it were ours: half-closed clients, half heads at the stop, TLS', async (t) => {
  const gate = new Gate()
  const app: Handler = async (conn) => {
    await gate.pass()
    return conn.ok('hello')
  }
  const given = await listening(t, { port: 0 })
  const path = join(folderOf(t), 'app.sock')
  const local = await listening(t, { path })
  const options: ServeOptions = {
    listen: [{ server: given, tls }, { server: local }],
    shutdown: { lingerMs: 0, headTimeoutMs: 0, deadlineMs: 20_000 },
  }
  const server = await serve(app, options)
  t.after(() => server.shutDown())
  assert.deepEqual(server.listeners[1], { kind: 'unix', path, isSecure: false })
  const { port } = given.address() as AddressInfo
  const clients = [
    await RawClient.connect(t, { host, port }, { ca: first.cert }),
    await RawClient.connect(t, { path }),
  ]
  for (const client of clients) client.get('/').socket.end()
  const half = await RawClient.connect(t, { path })
  half.send('GET / HTTP/1.1\r\nHost')
  await gate.reached(2)
  await turns()
  const stopped = server.shutDown()
  gate.open()
  for (const client of clients) assert.equal((await client.response()).body, 'hello')
  assert.equal((await half.response()).status, 408)
  half.socket.end()
  assert.equal((await stopped).outcome, 'clean')
  assert.equal(existsSync(path), false)
})

test('errors of a server that is given do not end the process', async (t) => {
  const given = await listening(t, { port: 0 })
  const server = await serve('hello', { listen: [{ server: given }], shutdown: atOnce })
  t.after(() => server.shutDown())
  const printed = t.mock.method(console, 'error', () => {})
  given.emit('error', new Error('EMFILE, say'))
  assert.match(String(printed.mock.calls[0]!.arguments), /cannot accept a connection.*EMFILE, say/)
})

test('a file descriptor that cannot be listened on is a StartError that says why', async (t) => {
  const file = openSync('/dev/null', 'r')
  const own = await listening(t, { port: 0 })
  // oxlint-disable-next-line no-underscore-dangle -- a file descriptor has no public name
  const { fd } = (own as Server & { _handle: { fd: number } })._handle
  const cases: [number, RegExp][] = [
    [54_321, /: it is not open$|: it is no socket that can be listened on$/],
    [file, /: it is no socket that can be listened on$/],
    [fd, /: this process listens on it already$/],
  ]
  for (const [given, message] of cases) {
    await assert.rejects(serve('x', { listen: [{ fd: given }] }), (error: Error) => {
      assert.equal(error.name, 'StartError')
      assert.match(error.message, new RegExp(`^Cannot listen on file descriptor ${given}: `))
      assert.match(error.message, message)
      return true
    })
  }
  assert.equal(own.listening, true)
})
