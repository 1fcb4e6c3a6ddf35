import assert from 'node:assert/strict'
import { ServerResponse } from 'node:http'
import { test } from 'node:test'

import { HeaderMap } from '@wakerobin/core'
import type { Conn } from '@wakerobin/core'

import { onSocketWrite, start, turns, until, withoutDate } from '../fixtures/harness.ts'
import { keepAliveFieldsOf } from './head.ts'

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
