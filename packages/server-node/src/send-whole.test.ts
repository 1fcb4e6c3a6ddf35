import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { execFile } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { ServerResponse } from 'node:http'
import { PerformanceObserver } from 'node:perf_hooks'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { HeaderMap } from '@wakerobin/core'
import type { Conn } from '@wakerobin/core'

import { Gate, onSocketWrite, start, turns, until, withoutDate } from '../fixtures/harness.ts'
import type { RawClient } from '../fixtures/harness.ts'
import { isPlain, keepAliveFieldsOf } from './head.ts'
import type { LimitOptions } from './limits.ts'

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`

test('the answers to pipelined requests go out together, in their order', async (t) => {
  const server = await start(t, (conn) => conn.ok(conn.path))
  const client = await server.connect()
  let writes = 0
  t.after(onSocketWrite(client.socket, () => writes++))
  const paths = Array.from({ length: 40 }, (_, at) => `/${at}`)
  client.send(paths.map(get).join(''))
  for (const path of paths) assert.equal((await client.response()).body, path)
  assert.ok(writes <= 4, `${writes} writes, one of them the client's`)
})

test('answers of every kind keep the order of pipelined requests', async (t) => {
  const long = 'x'.repeat(100_000)
  const answers: Record<string, (conn: Conn) => unknown> = {
    '/text': (conn) => conn.ok('text'),
    '/utf8': (conn) => conn.ok('grün'),
    '/bytes': (conn) => conn.ok(Buffer.from('bytes')),
    '/none': (conn) => void conn.withStatus(204),
    '/long': (conn) => conn.ok(long),
    '/later': async (conn) => {
      await new Promise((resolve) => setImmediate(resolve))
      conn.ok('later')
    },
    '/soon': async (conn) => void conn.ok('soon'),
    '/stream': (conn) =>
      conn.ok(
        (async function* () {
          yield 'str'
          yield 'eam'
        })(),
      ),
  }
  const bodies: Record<string, string> = {
    '/text': 'text',
    '/utf8': 'grün',
    '/bytes': 'bytes',
    '/none': '',
    '/long': long,
    '/later': 'later',
    '/soon': 'soon',
    '/stream': 'stream',
  }
  const kinds = Object.keys(answers)
  // Every kind behind every other.
  const paths = kinds.flatMap((one) => kinds.flatMap((other) => [one, other]))
  const server = await start(t, (conn) => answers[conn.path]!(conn) as Conn)
  const client = await server.connect()
  client.send(paths.map(get).join(''))
  for (const [at, path] of paths.entries())
    assert.equal((await client.response()).body, bodies[path], `${path}, number ${at}`)
  await turns()
  assert.equal(client.text, '')
  assert.deepEqual(server.errors, [])
})

test('a client that pipelines and does not read is not read on, and gets every answer when it reads', async (t) => {
  const body = 'x'.repeat(8_000)
  let handled = 0
  const server = await start(t, (conn) => {
    handled++
    return conn.ok(body)
  })
  const client = await server.connect()
  client.socket.pause()
  const count = 3_000
  client.send(get('/').repeat(count))
  let before = -1
  // Until the server has come to rest.
  await until('the server waits', () => {
    const isAtRest = handled > 0 && handled === before
    before = handled
    return isAtRest
  })
  await turns()
  assert.ok(handled < count, `${handled} handled while nothing was read`)
  client.socket.resume()
  const pieces: Buffer[] = []
  await until('every request is answered', () => {
    pieces.push(client.take())
    return handled === count && pieces.at(-1)!.length === 0
  })
  const heads = Buffer.concat(pieces).toString('latin1').split(body)
  assert.equal(heads.pop(), '')
  assert.equal(heads.length, count)
  for (const head of heads) assert.match(head, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n$/)
})

test('an answer before the end of an upload leaves the connection as it was', async (t) => {
  const server = await start(t, (conn) => conn.ok(conn.path))
  const client = await server.connect()
  client.send('POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n0123456789')
  assert.equal((await client.response()).body, '/early')
  client.send(`0123456789${get('/next')}`)
  assert.equal((await client.response()).body, '/next')
  client.send(`POST /whole HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc${get('/last')}`)
  assert.equal((await client.response()).body, '/whole')
  assert.equal((await client.response()).body, '/last')
})

test('what a handler says of the connection counts', async (t) => {
  const server = await start(t, (conn) => conn.withResponseHeader('Connection', 'close').ok('bye'))
  const client = await server.connect()
  const response = await client.get('/').response()
  assert.deepEqual(
    response.fields.filter(([name]) => /connection|keep-alive/i.test(name)),
    [['Connection', 'close']],
  )
  await client.ended()
})

test('a Date of the past is not sent when the clock goes on, or back', async (t) => {
  const server = await start(t, (conn) => conn.ok('now'))
  const client = await server.connect()
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2030, 0, 1, 0, 0, 0, 999) })
  const date = async (): Promise<string | undefined> =>
    (await client.get('/').response()).field('date')
  assert.equal(await date(), 'Tue, 01 Jan 2030 00:00:00 GMT')
  t.mock.timers.setTime(Date.UTC(2030, 0, 1, 0, 0, 1, 0))
  assert.equal(await date(), 'Tue, 01 Jan 2030 00:00:01 GMT')
  t.mock.timers.setTime(Date.UTC(2029, 11, 31, 23, 59, 59, 0))
  assert.equal(await date(), 'Mon, 31 Dec 2029 23:59:59 GMT')
})

test("methods of node's response that somebody has wrapped are called", async (t) => {
  const server = await start(t, (conn) => conn.ok('seen'))
  const client = await server.connect()
  const plain = await client.get('/').response()
  const seen: number[] = []
  const { end } = ServerResponse.prototype
  t.after(() => (ServerResponse.prototype.end = end))
  ServerResponse.prototype.end = function (this: ServerResponse, ...args: unknown[]) {
    seen.push(this.statusCode)
    return end.apply(this, args as never) as never
  } as typeof end
  const watched = await client.get('/').response()
  assert.deepEqual(seen, [200])
  assert.equal(withoutDate(`${watched.head}\r\n`), withoutDate(`${plain.head}\r\n`))
})

test('fields that were received are not sent on where no response may have them', async (t) => {
  const received = ['a\r\nSet-Cookie: b=c', 'a\u010d\u010aSet-Cookie: b=c']
  const server = await start(t, (conn) => {
    const value = received[Number(conn.path.slice(1))]!
    conn.responseHeaders.appendAll(HeaderMap.fromRawHeaders(['X', value]))
    return conn.ok('')
  })
  const client = await server.connect()
  for (const at of received.keys()) {
    const response = await client.get(`/${at}`).response()
    assert.equal(response.status, 500)
    assert.equal(response.field('set-cookie'), undefined)
    assert.match(String(server.errors[at]?.error), /character U\+0[01]0D at position 1/)
  }
})

test('the time a connection is kept is said in whole seconds, and not at all where it has no limit', () => {
  assert.equal(keepAliveFieldsOf(5500), 'Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n')
  assert.equal(keepAliveFieldsOf(Infinity), 'Connection: keep-alive\r\n\r\n')
})

// ------------------------------------------------------------------------ those who look on

test("node's own methods are known as such: else every response would be written by them", () => {
  assert.equal(isPlain, true)
})

test('methods that a tool has wrapped before it was loaded are called', async () => {
  const patch = `data:text/javascript,${encodeURIComponent(`
    import { ServerResponse } from 'node:http'
    const { end } = ServerResponse.prototype
    ServerResponse.prototype.end = function (...args) {
      console.log('seen', this.req.url)
      return end.apply(this, args)
    }
  `)}`
  const program = `
    import { serve } from ${JSON.stringify(new URL('serve.ts', import.meta.url).href)}
    const server = await serve((conn) => conn.ok('small'), { port: 0, host: '127.0.0.1' })
    await (await fetch(server.url + 'small')).text()
    await server.shutDown()
  `
  const flags = process.execArgv.filter((flag) => !flag.startsWith('--test'))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', patch, ...flags, '--input-type=module', '--eval', program],
    { env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
  )
  assert.equal(stdout, 'seen /small\n')
})

test("fields that a subscriber of node's channel sets are sent", async (t) => {
  const onStart = (message: unknown): void =>
    void (message as { response: ServerResponse }).response.setHeader('Server-Timing', 'cache')
  subscribe('http.server.request.start', onStart)
  t.after(() => unsubscribe('http.server.request.start', onStart))
  const server = await start(t, (conn: Conn) =>
    conn.path === '/stream' ? conn.ok(streamOf('x')) : conn.ok('x'),
  )
  const client = await server.connect()
  for (const path of ['/', '/stream'])
    assert.equal((await client.get(path).response()).field('server-timing'), 'cache', path)
})

test('a PerformanceObserver sees every request', async (t) => {
  const seen: unknown[] = []
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      seen.push((entry as unknown as { detail: { req: { url: string } } }).detail.req.url)
  })
  observer.observe({ entryTypes: ['http'] })
  t.after(() => observer.disconnect())
  const server = await start(t, (conn) => conn.ok('x'))
  const client = await server.connect()
  await client.get('/small').response()
  await until('it is seen', () => seen.length > 0)
  assert.deepEqual(seen, ['/small'])
})

// --------------------------------------------------------------------------- contexts, slow clients

test('what belongs to a request runs in its own async context, also where it was pipelined', async (t) => {
  const storage = new AsyncLocalStorage<string>()
  const seen: string[] = []
  const gate = new Gate()
  const server = await start(t, async (conn) => {
    storage.enterWith(conn.path)
    conn.afterSend(() => seen.push(`${conn.path} is over in ${storage.getStore()}`))
    if (conn.path === '/one') await gate.pass()
    if (conn.path !== '/two') return conn.ok('text')
    return conn.ok(streamOf('text', () => seen.push(`/two is read in ${storage.getStore()}`)))
  })
  const client = await server.connect()
  client.send(['/one', '/two', '/three', '/four'].map(get).join(''))
  await gate.reached()
  await turns()
  gate.open()
  for (let at = 0; at < 4; at++) assert.equal((await client.response()).body, 'text')
  await until('all are over', () => seen.length === 5)
  assert.deepEqual(seen.sort(), [
    '/four is over in /four',
    '/one is over in /one',
    '/three is over in /three',
    '/two is over in /two',
    '/two is read in /two',
  ])
})

test('a client that is still reading short answers is not taken for idle', async (t) => {
  const limits = { keepAliveMs: 100, writeStallMs: 60_000 }
  const body = 'x'.repeat(15_000)
  let sent = 0
  const server = await start(t, (conn) => conn.afterSend(() => sent++).ok(body), { limits })
  const client = await server.connect()
  client.socket.pause()
  client.send(get('/').repeat(2_000))
  await until('the server waits for its client', () => sent > 0 && sent < 2_000)
  await turns()
  await sleep(2_500) // node looks at its idle sockets each second, and gives them one more
  assert.equal(client.isClosed, false)
  assert.equal(server.handle.report().connections, 1)
})

for (const [what, writeStallMs] of [
  ['long', 60_000],
  ['for ever', Infinity],
] as const) {
  test(`a client that may take ${what} to read is idle when it has read all`, async (t) => {
    const { client } = await startStalled(t, { keepAliveMs: 100, writeStallMs })
    client.socket.resume()
    await client.ended()
  })
}

test('a request behind an answer that had to wait for its client takes its time', async (t) => {
  const { client, gate } = await startStalled(t, { writeStallMs: 500 })
  client.send(get('/') + get('/slow'))
  await gate.reached()
  await turns()
  client.socket.resume()
  await sleep(1_000)
  gate.open()
  await client.received('at last')
})

/** A server, and a client that has not read all of its answers: the last of them waits, and is short. */
async function startStalled(
  t: TestContext,
  limits: LimitOptions,
): Promise<{ client: RawClient; gate: Gate }> {
  const gate = new Gate()
  let sent = 0
  const body = 'x'.repeat(15_000)
  const app = async (conn: Conn): Promise<Conn> => {
    if (conn.path !== '/slow') return conn.afterSend(() => sent++).ok(body)
    await gate.pass()
    return conn.ok('at last')
  }
  const server = await start(t, app, { limits })
  const client = await server.connect()
  client.socket.pause()
  for (let asked = 1; ; asked++) {
    client.send(get('/'))
    for (let wait = 0; wait < 25; wait++) {
      if (sent === asked) break
      await sleep(2)
    }
    if (sent < asked) return { client, gate }
  }
}

async function* streamOf(text: string, onRead?: () => void): AsyncGenerator<string> {
  onRead?.()
  yield text
}
