import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'

import { handlers } from '@wakerobin/core'
import type { Conn } from '@wakerobin/core'
import { sse, sseLimits } from '@wakerobin/sse'
import type { StreamEnd } from '@wakerobin/sse'

import { start, turns, until } from '../fixtures/harness.ts'
import type { TestServer } from '../fixtures/harness.ts'
import { watchTimers } from '../fixtures/timers.ts'
import { setting } from '../hostile/settings.ts'

const timers = watchTimers()
const never = new Promise<never>(() => {})

// ------------------------------------------------------------------- clients that leave, by phase

const clientsAtOnce = 100
// WAKEROBIN_ABORTS=2000 npm test -- event-streams.test       CI does, on one version of Node
const clientsPerPhase =
  Math.ceil(setting('WAKEROBIN_ABORTS', 200, 1, 100_000) / clientsAtOnce) * clientsAtOnce

/** Where a stream is when its client leaves. */
interface Phase {
  /** Whether connect is still waiting then. */
  readonly isConnecting?: boolean
  /** What the client has received by then. */
  readonly text?: string
  /** Whether a write is stalled then. */
  readonly isStalled?: boolean
  /** What a source gives: its first item, or a later one. */
  readonly event: (isFirst: boolean) => string | Promise<never>
}

const big = 'x'.repeat(128 * 1024)

const phases: Record<string, Phase> = {
  'before the head, while connect waits': { isConnecting: true, event: () => never },
  'as soon as the head is out': { text: '\r\n\r\n', event: () => never },
  'while the source waits': { text: 'data: one', event: (first) => (first ? 'one' : never) },
  'while a write is stalled': { isStalled: true, event: () => big },
}

for (const [name, phase] of Object.entries(phases)) {
  test(`of ${clientsPerPhase} clients that leave ${name}, nothing is left`, async (t) => {
    const { server, tally, sockets } = await startPhase(t, phase)
    const listeners = getEventListeners(server.handle.swansong.signal, 'abort').length
    for (let left = clientsPerPhase; left > 0; left -= clientsAtOnce) {
      const clients = await Promise.all(
        Array.from({ length: clientsAtOnce }, () => openSocket(server)),
      )
      const connects = tally.connects + clientsAtOnce
      await Promise.all(clients.map((socket) => askFor(socket, phase.text)))
      await until('all are connected', () => tally.connects === connects)
      if (phase.isStalled === true)
        await until('all are stalled', () => sockets.open.filter(isFull).length === clientsAtOnce)
      for (const [index, socket] of clients.entries()) leave(socket, index)
      await until('all signals have aborted', () => tally.aborts === connects)
      for (const open of tally.gates.splice(0)) open()
      await until('all are over', () => tally.ends.length === connects)
      for (const socket of clients) socket.destroy()
    }
    await until('no connection is left', () => sockets.open.length === 0)
    await turns()

    assert.equal(tally.connects, clientsPerPhase)
    assert.equal(tally.aborts, clientsPerPhase)
    // Where connect was still waiting there was no stream yet: what it gave was never opened.
    assert.equal(tally.opens, phase.isConnecting === true ? 0 : clientsPerPhase)
    assert.equal(tally.returns, tally.opens)
    assert.equal(tally.ends.length, clientsPerPhase)
    assert.deepEqual([...new Set(tally.ends.map(({ reason }) => reason))], ['client'])
    assert.deepEqual(server.errors, [])
    assert.deepEqual([...timers.values()], [])
    assert.equal(server.handle.swansong.guardCount, 1) // the server's own
    assert.equal(getEventListeners(server.handle.swansong.signal, 'abort').length, listeners)
  })
}

test('a client that leaves an event stream with its request body unread is noticed at once', async (t) => {
  const { server, tally, sockets } = await startPhase(t, { event: () => never })
  const body = 'x'.repeat(4 * 1024 * 1024)
  const ways = [
    [body.length, 'end'],
    [body.length, 'destroy'],
    [body.length, 'resetAndDestroy'],
    [body.length / 2, 'end'],
    [body.length / 2, 'destroy'],
  ] as const
  // Side by side: the second after which what is unread is dropped passes once.
  const leaving = ways.map(async ([sent, how]) => {
    const client = await server.connect()
    client.request('POST', '/', `Content-Length: ${body.length}`, 'Accept: text/event-stream')
    client.send(body.slice(0, sent))
    await client.received(':\n')
    client.socket[how]()
  })
  await Promise.all(leaving)
  await until('all are noticed', () => tally.ends.length === ways.length)
  await until('no connection is left', () => sockets.open.length === 0)
  assert.equal(tally.returns, 5)
  assert.deepEqual([...timers.values()], [])
})

test('500 HEADs of an event stream start none, and leave nothing on their connection', async (t) => {
  const { server, tally, sockets } = await startPhase(t, {
    event: () => assert.fail('it is read'),
  })
  const client = await server.connect()
  let listeners: unknown
  for (let count = 0; count < 500; count++) {
    const response = await client.request('HEAD', '/').response({ isHead: true })
    assert.equal(response.status, 200)
    assert.equal(response.field('content-type'), 'text/event-stream')
    if (count === 10) listeners = listenersOf(sockets.open[0]!)
  }
  await turns()
  assert.equal(client.text, '')
  assert.equal(tally.opens, 0)
  assert.equal(tally.aborts, 500)
  assert.equal(tally.ends.length, 500)
  assert.deepEqual([...new Set(tally.ends.map(({ reason, ms }) => `${reason} ${ms}`))], ['done 0'])
  assert.deepEqual(listenersOf(sockets.open[0]!), listeners)
  assert.deepEqual([...timers.values()], [])
})

test('the source of a stream whose head node refuses is let go, and the client gets a 500', async (t) => {
  for (const event of ['one', never]) {
    const { server, tally, sockets } = await startPhase(t, { event: () => event }, (conn) => {
      conn.withResponseHeader('Trailer', 'Digest') // none without chunks, which HTTP/1.0 does not have
    })
    const client = await server.connect()
    client.send(request.replace('1.1', '1.0'))
    assert.equal((await client.response()).status, 500)
    await until('the source is let go', () => tally.returns === 1)
    assert.equal(tally.aborts, 1)
    assert.equal(server.errors.length, 1)
    assert.deepEqual(
      tally.ends.map(({ reason, error }) => [reason, error]),
      [['error', server.errors[0]!.error]],
    )
    await client.closed()
    await until('no connection is left', () => sockets.open.length === 0)
    assert.deepEqual([...timers.values()], [])
  }
})

test('a client that never reads the end of its stream is cut, and its place is free again', async (t) => {
  const clock = { now: Date.now() }
  t.mock.method(Date, 'now', () => clock.now)
  let pass: (() => void) | undefined
  const { setTimeout: later } = globalThis
  t.mock.method(globalThis, 'setTimeout', (callback: () => void, ms: number) => {
    if (ms === 60_000) pass = callback
    return later(callback, ms)
  })
  const sockets = watchSockets(t)
  const ends: string[] = []
  const stream = sse(() => repeat(big), {
    until: () => new Date(clock.now + 1_000_000),
    heartbeatMs: 50, // it is looked after every 5 ms
    onEnd: (_conn, { reason }) => ends.push(reason),
  })
  const server = await start(t, handlers(sseLimits({ total: 1 }), stream), { host: socketPath(t) })
  const client = (await openSocket(server)).pause()
  void askFor(client, undefined)
  await until('the write is stalled', () => sockets.open.some(isFull))
  clock.now += 1_000_000
  await until('the stream has ended', () => pass !== undefined)
  await turns()
  assert.deepEqual(ends, [])
  pass!()
  await until('it is over', () => sockets.open.length === 0)
  assert.deepEqual(ends, ['revoked'])

  const next = await openSocket(server)
  await askFor(next, big.slice(0, 100))
  next.destroy()
  await until('no connection is left', () => sockets.open.length === 0)
})

test('a connection goes on without a timeout of its stream, and closes when it is idle', async (t) => {
  const sockets = watchSockets(t)
  const server = await start(
    t,
    sse(() => ['x']),
  )
  const client = await server.connect()
  for (let count = 0; count < 3; count++) {
    const response = await client.get('/').response()
    assert.equal(response.body, ':\ndata: x\n\n')
    const [socket] = sockets.open
    await until('the next request is waited for', () => (socket!.timeout ?? 0) > 0)
    assert(socket!.timeout! < 10_000, `${socket!.timeout}`)
  }
})

// --------------------------------------------------------------------------------------- tools

const request = 'GET / HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n'

/** What has become of the streams. */
class Tally {
  connects = 0
  opens = 0
  returns = 0
  aborts = 0
  readonly ends: StreamEnd[] = []
  /** Let connect go on. */
  readonly gates: (() => void)[] = []
}

interface Started {
  readonly server: TestServer
  readonly tally: Tally
  readonly sockets: { readonly open: readonly Socket[] }
}

async function startPhase(
  t: TestContext,
  phase: Phase,
  prepare: (conn: Conn) => void = () => {},
): Promise<Started> {
  const tally = new Tally()
  const app = sse(
    async (conn, { signal }) => {
      prepare(conn)
      tally.connects++
      signal.addEventListener('abort', () => tally.aborts++)
      if (phase.isConnecting === true)
        await new Promise<void>((resolve) => tally.gates.push(resolve))
      return {
        [Symbol.asyncIterator]() {
          tally.opens++
          let isFirst = true
          return {
            async next() {
              const event = phase.event(isFirst)
              isFirst = false
              return { done: false as const, value: await event }
            },
            async return() {
              tally.returns++
              return { done: true as const, value: undefined }
            },
          }
        },
      }
    },
    { onEnd: (_conn, end) => void tally.ends.push(end) },
  )
  const sockets = watchSockets(t)
  // A Unix socket is full sooner: 2,000 times as much as loopback takes would be gigabytes.
  const server = await start(t, app, phase.isStalled === true ? { host: socketPath(t) } : {})
  return { server, tally, sockets }
}

function socketPath(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(dir, { recursive: true }))
  return join(dir, 'socket')
}

/** The sockets of the servers of this process that are open. */
function watchSockets(t: TestContext): { readonly open: readonly Socket[] } {
  const open = new Set<Socket>()
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket }
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }
  subscribe('net.server.socket', onSocket)
  t.after(() => unsubscribe('net.server.socket', onSocket))
  return {
    get open() {
      return [...open]
    },
  }
}

async function openSocket({ handle, port }: TestServer): Promise<Socket> {
  const [listener] = handle.listeners
  const where = listener?.kind === 'unix' ? { path: listener.path } : { host: '127.0.0.1', port }
  const socket = connect({ ...where, allowHalfOpen: true })
  await once(socket, 'connect')
  return socket.on('error', () => {}) // it is reset when the server has had enough
}

/** Sends the request, and resolves when there is this much of the response; without a text nothing is read. */
function askFor(socket: Socket, text: string | undefined): Promise<void> | void {
  socket.write(request)
  if (text === undefined) return
  return new Promise((resolve) => {
    let all = ''
    socket.on('data', (chunk: Buffer) => {
      all += chunk.toString('latin1')
      if (all.includes(text)) resolve()
    })
  })
}

/** In good order, at once, or with a reset. */
function leave(socket: Socket, index: number): void {
  if (index % 3 === 0) socket.end()
  else if (index % 3 === 1 || socket.remoteAddress === undefined) socket.destroy()
  else socket.resetAndDestroy()
}

function* repeat(event: string): Generator<string> {
  for (;;) yield event
}

function isFull(socket: Socket): boolean {
  return socket.writableNeedDrain
}

function listenersOf(socket: Socket): Record<string, number> {
  const names = socket.eventNames().map(String).toSorted()
  return Object.fromEntries(names.map((name) => [name, socket.listenerCount(name)]))
}

test('what a request said can be read for as long as its stream is open, and when it is over', async (t) => {
  const seen: unknown[] = []
  const note = (conn: Conn): void => {
    seen.push([conn.requestHeaders.get('x-word'), conn.requestHeaders.get('X-BYTES'), conn.path])
  }
  const server = await start(t, (conn) => {
    if (conn.path === '/changed') conn.requestHeaders.set('x-word', 'changed')
    note(conn)
    return conn.withSseStream(
      async function* () {
        yield 'first'
        await turns()
        note(conn)
      },
      { onEnd: (ended) => note(ended) },
    )
  })
  const client = await server.connect()
  for (const [path, word] of [
    ['/plain', 'word'],
    ['/changed', 'changed'],
  ] as const) {
    client.send(
      Buffer.from(`GET ${path} HTTP/1.1\r\nHost: test\r\nX-Word: word\r\nX-Bytes: grün\r\n\r\n`),
    )
    await client.response()
    await until('onEnd was told', () => seen.length === 3)
    for (const each of seen.splice(0)) assert.deepEqual(each, [word, 'grün', path])
  }
})

test('a source that fails because conn.signal has aborted is no error to report', async (t) => {
  let failed = (): void => {}
  const server = await start(t, (conn) => {
    const failing = new Promise<never>((_, reject) => {
      conn.signal.addEventListener('abort', () => {
        reject(conn.signal.reason as Error)
        failed()
      })
    })
    return conn.ok(
      (async function* () {
        yield 'first'
        await failing
      })(),
    )
  })
  const client = await server.connect()
  await client.get('/').received('first')
  const hasFailed = new Promise<void>((resolve) => (failed = resolve))
  client.socket.end()
  await hasFailed
  await client.closed()
  assert.deepEqual(server.errors, [])
})

test('events that were written before a source fails arrive, and then the stream is cut', async (t) => {
  const sources: Record<string, () => Iterable<string> | AsyncIterable<string>> = {
    '/sync': function* () {
      yield 'a'
      yield 'b'
      throw new Error('out of ideas')
    },
    '/async': async function* () {
      yield 'a'
      yield 'b'
      throw new Error('out of ideas')
    },
  }
  const server = await start(t, (conn) => conn.withSseStream(sources[conn.path]!))
  for (const path of Object.keys(sources)) {
    const client = await server.connect()
    await client.get(path).closed()
    assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.match(client.text, /data: a\n\n\r\n.*data: b\n\n\r\n$/s)
  }
  assert.equal(server.errors.length, 2)
})

test('a source can read the body of its request, and is told when that was dropped', async (t) => {
  let go = (): void => {}
  const server = await start(t, (conn) =>
    conn.withSseStream(
      async function* () {
        yield 'ready'
        if (conn.path === '/late') await new Promise<void>((resolve) => (go = resolve))
        yield await conn.requestBody.text()
      },
      { mapError: (error) => String((error as Error).cause) },
    ),
  )
  const soon = await server.connect()
  soon.request('POST', '/soon', 'Content-Length: 11').send('hello ')
  await soon.received('ready')
  soon.send('world')
  await soon.received('data: hello world\n\n')

  let pass: (() => void) | undefined
  const { setTimeout: later } = globalThis
  t.mock.method(globalThis, 'setTimeout', (callback: () => void, ms: number) => {
    if (ms === 1000) pass = callback
    return later(callback, ms)
  })
  const late = await server.connect()
  await late.request('POST', '/late', 'Content-Length: 11').send('hello ').received('ready')
  pass!()
  go()
  await late.received('TypeError: Cannot read the request body any more')
})

test('a request without a field has none when its stream is open', async (t) => {
  let fields: unknown
  const server = await start(t, (conn) => {
    conn.afterSend(() => (fields = [...conn.requestHeaders]))
    return conn.withSseStream(['x'])
  })
  const client = await server.connect()
  client.send('GET / HTTP/1.0\r\n\r\n')
  await client.ended()
  await until('it is over', () => fields !== undefined)
  assert.deepEqual(fields, [])
})

test('a handler that fails because its client has left is no error to report', async (t) => {
  let isReached = false
  const server = await start(
    t,
    sse(async (conn) => {
      isReached = true
      await new Promise((_, reject) => {
        conn.signal.addEventListener('abort', () => reject(conn.signal.reason as Error))
      })
      return ['x']
    }),
  )
  const client = await server.connect()
  client.get('/')
  await until('it connects', () => isReached)
  client.socket.resetAndDestroy()
  await turns(100)
  assert.deepEqual(server.errors, [])
})
