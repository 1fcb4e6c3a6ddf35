import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'

import { connOf } from '../fixtures/conn-of.ts'
import { deferred } from '../fixtures/promises.ts'
import {
  Conn,
  forwardConn,
  hasAfterSend,
  packConn,
  rawResponseHeaders,
  settleConn,
} from './conn.ts'
import type { Halted } from './conn.ts'
import { testApp } from './testing.ts'

test('ok() sets status 200 and the body, halts, and sets no content type', async () => {
  const app = testApp([(conn) => conn.ok('hello'), (conn) => conn.withBody('too late')])
  const response = await app.get('/')
  assert.equal(response.status, 200)
  assert.equal(response.body, 'hello')
  assert.deepEqual([...response.headers], [['Content-Length', '5']])
  assert.equal(response.conn.isHalted, true)
})

test('json() keeps a status that is set, whichever comes first', async () => {
  const value = { error: 'no such todo' }
  for (const app of [
    testApp((conn) => conn.withStatus(404).json(value)),
    testApp((conn) => conn.json(value).withStatus(404)),
  ]) {
    const response = await app.get('/')
    assert.equal(response.status, 404)
    assert.deepEqual(response.json(), value)
  }
})

test('json() sets status 200, the JSON content type and the body, and halts', async () => {
  const response = await testApp([
    (conn) => conn.json({ name: 'Fern', leaves: [1, null] }),
    'too late',
  ]).get('/')
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'application/json')
  assert.equal(response.body, '{"name":"Fern","leaves":[1,null]}')
  assert.deepEqual(response.json(), { name: 'Fern', leaves: [1, null] })
})

test('json() refuses what has no JSON form and changes nothing', () => {
  const conn = connOf()
  for (const [value, text] of [
    [undefined, 'undefined'],
    [(() => () => {})(), 'a function'],
    [Symbol('x'), 'Symbol(x)'],
  ] as const) {
    assert.throws(() => conn.json(value), {
      name: 'TypeError',
      message: `Cannot send ${text} as JSON: it has no JSON form`,
    })
  }
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  assert.throws(() => conn.json(cycle), TypeError)
  assert.throws(() => conn.json(1n), TypeError)
  assert.equal(conn.status, undefined)
  assert.equal(conn.responseBody, undefined)
  assert.equal(conn.isHalted, false)
  assert.deepEqual(rawResponseHeaders(conn), [])
})

test('halt() sets no status, so that a conn halted by itself is a 404', async () => {
  const response = await testApp([(conn) => conn.halt(), 'too late']).get('/')
  assert.equal(response.status, 404)
  assert.equal(response.body, '')
  assert.equal(response.headers.get('content-length'), '0')
})

test('withStatus() and withBody() neither halt nor set anything else', async () => {
  const seen: unknown[] = []
  const app = testApp([
    (conn) => conn.withStatus(201),
    (conn) => conn.withBody('made'),
    (conn) => void seen.push(conn.status, conn.responseBody, conn.isHalted),
  ])
  const response = await app.get('/')
  assert.deepEqual(seen, [201, 'made', false])
  assert.equal(response.status, 201)
  assert.equal(response.body, 'made')
  assert.deepEqual([...response.headers], [['Content-Length', '4']])
})

test('a body without a status is a 404 with that body', async () => {
  const response = await testApp((conn) => conn.withBody('nothing here')).get('/')
  assert.equal(response.status, 404)
  assert.equal(response.body, 'nothing here')
})

test('the status is undefined until one is set', () => {
  const conn = connOf()
  assert.equal(conn.status, undefined)
  assert.equal(conn.withStatus(299).status, 299)
})

test('withStatus() refuses everything but 101 and integers from 200 to 599 and keeps the status', () => {
  const conn = connOf().withStatus(202)
  for (const status of [
    0,
    100,
    102,
    199,
    600,
    999,
    -200,
    200.5,
    Number.NaN,
    Infinity,
    '200' as unknown as number,
  ]) {
    assert.throws(() => conn.withStatus(status), {
      name: 'RangeError',
      message: /^Cannot set the status .*: it must be an integer from 200 to 599, or 101$/,
    })
  }
  assert.equal(conn.status, 202)
  assert.equal(conn.withStatus(200).status, 200)
  assert.equal(conn.withStatus(599).status, 599)
  assert.equal(conn.withStatus(101).status, 101)
})

test('withResponseHeader() replaces a header, responseHeaders.append() adds a line', async () => {
  const response = await testApp((conn) => {
    conn.withResponseHeader('X-One', 'a').withResponseHeader('x-one', 'b')
    conn.responseHeaders.append('X-Two', 'a').append('X-Two', 'b')
  }).get('/')
  assert.deepEqual(response.headers.getAll('x-one'), ['b'])
  assert.deepEqual(response.headers.getAll('x-two'), ['a', 'b'])
})

test('what sets something returns the conn it is called on', () => {
  const conn: unknown = connOf()
  const same = conn as Conn
  assert.equal(same.withStatus(200), conn)
  assert.equal(same.withBody('x'), conn)
  assert.equal(same.withResponseHeader('x', 'y'), conn)
  assert.equal(same.withState(new URL('http://x/')), conn)
  assert.equal(same.pushPath('/x'), conn)
  assert.equal(
    same.afterSend(() => {}),
    conn,
  )
  assert.equal(same.halt(), conn)
  assert.equal(same.ok('x'), conn)
})

test('a conn without response headers makes no header map', () => {
  const conn = connOf()
  assert.equal(rawResponseHeaders(conn), rawResponseHeaders(connOf()))
  conn.withResponseHeader('X', 'y')
  assert.deepEqual(rawResponseHeaders(conn), ['X', 'y'])
})

test('responseLength is the length in bytes, 0 without a body and undefined where it is not known', () => {
  const conn = connOf()
  assert.equal(conn.responseLength, 0)
  assert.equal(conn.withBody('Fern').responseLength, 4)
  assert.equal(conn.withBody('Fårö €').responseLength, 10)
  assert.equal(conn.withBody(new Uint8Array(7)).responseLength, 7)
  assert.equal(conn.withBody((async function* () {})()).responseLength, undefined)
  const source = { start() {}, drained() {}, stop() {}, closed() {} }
  assert.equal(conn.withBody(source).responseLength, undefined)
  assert.equal(conn.withBody({ ...source, length: 12 }).responseLength, 12)
})

test('takeResponseBody() removes the body and returns it', async () => {
  const response = await testApp([
    {
      beforeSend(conn) {
        const body = conn.takeResponseBody()
        assert.equal(conn.responseBody, undefined)
        conn.withBody(`<${String(body)}>`)
      },
    },
    'inner',
  ]).get('/')
  assert.equal(response.body, '<inner>')
  assert.equal(connOf().takeResponseBody(), undefined)
})

// ------------------------------------------------------------------------------- the request

test('path, querystring and pathAndQuery split the target at its first question mark', () => {
  for (const [target, path, querystring, pathAndQuery] of [
    ['/', '/', '', '/'],
    ['/a/b', '/a/b', '', '/a/b'],
    ['/a?', '/a', '', '/a?'],
    ['/a?b=1&c=2', '/a', 'b=1&c=2', '/a?b=1&c=2'],
    ['/a?b=?&c=/d?', '/a', 'b=?&c=/d?', '/a?b=?&c=/d?'],
    ['/%2e%2E/%00', '/%2e%2E/%00', '', '/%2e%2E/%00'],
    ['//host/path', '//host/path', '', '//host/path'],
    ['*', '*', '', '*'],
    ['example.com:443', 'example.com:443', '', 'example.com:443'],
    ['http://host', '/', '', '/'],
    ['http://host/', '/', '', '/'],
    ['http://host:80/a?b', '/a', 'b', '/a?b'],
    ['HTTPS://user@host?x=1', '/', 'x=1', '/?x=1'],
    ['http://host/a?u=http://other/b', '/a', 'u=http://other/b', '/a?u=http://other/b'],
  ] as const) {
    const conn = connOf({ target })
    assert.deepEqual(
      [conn.path, conn.querystring, conn.pathAndQuery],
      [path, querystring, pathAndQuery],
      target,
    )
  }
})

test('query is parsed anew at each call, so that changing it changes nothing', () => {
  const conn = connOf({ target: '/?name=F%C3%A5r%C3%B6&tag=a+b&tag=c&empty' })
  assert.equal(conn.query.get('name'), 'Fårö')
  assert.deepEqual(conn.query.getAll('tag'), ['a b', 'c'])
  assert.equal(conn.query.get('empty'), '')
  conn.query.set('name', 'changed')
  assert.equal(conn.query.get('name'), 'Fårö')
})

test('pushPath() makes the path what it is given until popPath(), and leaves query and pathAndQuery', () => {
  const conn = connOf({ target: '/outer/inner?x=1' })
  assert.equal(conn.popPath(), undefined)
  conn.pushPath('/inner').pushPath('')
  assert.equal(conn.path, '')
  assert.equal(conn.popPath(), '')
  assert.equal(conn.path, '/inner')
  assert.equal(conn.querystring, 'x=1')
  assert.equal(conn.pathAndQuery, '/outer/inner?x=1')
  assert.equal(conn.popPath(), '/inner')
  assert.equal(conn.path, '/outer/inner')
  assert.equal(conn.popPath(), undefined)
})

test('a conn tells what the server knows of its request', async () => {
  const before = performance.now()
  const app = testApp((conn) =>
    conn.json([
      conn.method,
      conn.httpVersion,
      conn.peerIp,
      conn.isSecure,
      conn.host,
      conn.isDisconnected,
    ]),
  )
  const response = await app.request('PUT', '/', {
    httpVersion: '1.0',
    peerIp: '::1',
    isSecure: true,
    headers: { Host: 'fern.test' },
  })
  assert.deepEqual(response.json(), ['PUT', '1.0', '::1', true, 'fern.test', false])
  assert.ok(response.conn.startTime >= before && response.conn.startTime <= performance.now())
  assert.equal(response.conn.swansong, app.swansong)
})

test('a conn tells which of the listeners it came in on, where there are any', async () => {
  const tcp = { kind: 'tcp', host: '127.0.0.1', port: 443, isSecure: true } as const
  const unix = { kind: 'unix', path: '/run/app.sock', isSecure: false } as const
  const app = testApp(() => {}, { listeners: [tcp, unix] })
  const { conn } = await app.get('/')
  assert.deepEqual([conn.listener, conn.isSecure], [tcp, true])
  const other = await app.get('/', { listener: unix })
  assert.deepEqual([other.conn.listener, other.conn.isSecure], [unix, false])
  const proxied = await app.get('/', { listener: unix, isSecure: true })
  assert.equal(proxied.conn.isSecure, true)
  const bare = await testApp(() => {}).get('/')
  assert.deepEqual([bare.conn.listener, bare.conn.isSecure], [undefined, false])
})

test('the host is that of the target where no header names one', () => {
  assert.equal(connOf({ target: 'http://a.test:80/b' }).host, 'a.test:80')
  assert.equal(connOf({ target: 'http://user:secret@a.test?b@c' }).host, 'a.test')
  const both = connOf({ target: 'http://b.test/', rawHeaders: ['Host', 'a.test'] })
  assert.equal(both.host, 'a.test')
})

test('the host is undefined where the request has none or several', () => {
  assert.equal(connOf({ rawHeaders: ['Host', 'a.test'] }).host, 'a.test')
  assert.equal(connOf({ rawHeaders: [] }).host, undefined)
  assert.equal(connOf({ target: '*' }).host, undefined)
  assert.equal(connOf({ rawHeaders: ['Host', 'a.test', 'host', 'b.test'] }).host, undefined)
})

test('request headers may be changed without changing what the server gave', () => {
  const rawHeaders = Object.freeze(['X-A', '1'])
  const conn = connOf({ rawHeaders })
  conn.requestHeaders.set('x-a', '2').append('x-b', '3')
  assert.deepEqual(
    [...conn.requestHeaders],
    [
      ['X-A', '2'],
      ['x-b', '3'],
    ],
  )
  assert.deepEqual(rawHeaders, ['X-A', '1'])
})

test('a conn gives the same header maps and the same request body at each call', () => {
  const conn = connOf()
  assert.equal(conn.requestHeaders, conn.requestHeaders)
  assert.equal(conn.responseHeaders, conn.responseHeaders)
  assert.equal(conn.requestBody, conn.requestBody)
})

test('conn.signal aborts when the client leaves, and is one signal', () => {
  const callbacks: (() => void)[] = []
  const conn = connOf({ onDisconnect: (callback) => void callbacks.push(callback) })
  const { signal } = conn
  assert.equal(conn.signal, signal)
  assert.equal(callbacks.length, 1)
  assert.equal(signal.aborted, false)
  callbacks[0]?.()
  assert.equal(signal.aborted, true)
})

test('conn.signal is aborted from the start when the client has left before', () => {
  const conn = connOf({
    isDisconnected: true,
    onDisconnect: () => assert.fail('nobody calls back any more'),
  })
  assert.equal(conn.isDisconnected, true)
  assert.equal(conn.signal.aborted, true)
})

test('a conn that nobody asks for its signal registers no callback', () => {
  let registrations = 0
  const conn = connOf({ onDisconnect: () => void registrations++ })
  conn.ok('x')
  assert.equal(registrations, 0)
  assert.equal(conn.signal.aborted, false)
  assert.equal(registrations, 1)
})

/** A conn whose client can leave. */
function leavable(): { conn: Conn; leave: () => void } {
  let leave = (): void => {}
  const conn = connOf({ onDisconnect: (callback) => (leave = callback) })
  void conn.signal // registers
  return { conn, leave: () => leave() }
}

test('cancelOnDisconnect() gives what the work returns, and throws what it throws', async () => {
  const { conn } = leavable()
  assert.equal(await conn.cancelOnDisconnect(async () => 'done'), 'done')
  assert.equal(await conn.cancelOnDisconnect(() => 'at once'), 'at once')
  const failure = new Error('no ferns')
  await assert.rejects(
    conn.cancelOnDisconnect(() => Promise.reject(failure)),
    failure,
  )
  await assert.rejects(
    conn.cancelOnDisconnect(() => {
      throw failure
    }),
    failure,
  )
  assert.equal(getEventListeners(conn.signal, 'abort').length, 0)
})

test('cancelOnDisconnect() ends when the client leaves, whatever the work does then', async () => {
  for (const react of [
    () => new Promise(() => {}), // nothing
    (signal: AbortSignal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve('too late'))),
    (signal: AbortSignal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  ]) {
    const { conn, leave } = leavable()
    const result = conn.cancelOnDisconnect(react)
    leave()
    assert.equal(await result, undefined)
  }
})

test('cancelOnDisconnect() gives what was done when the client left', async () => {
  const { conn, leave } = leavable()
  const work = deferred<string>()
  const result = conn.cancelOnDisconnect(() => work.promise)
  work.resolve('just in time')
  leave()
  assert.equal(await result, 'just in time')
})

test('cancelOnDisconnect() calls nothing for a client that has left', async () => {
  const conn = connOf({ isDisconnected: true })
  assert.equal(await conn.cancelOnDisconnect(() => assert.fail('called')), undefined)
})

test('a stop aborts conn.swansong.signal and leaves conn.signal alone', async () => {
  const app = testApp(async (conn) => {
    const signals = [conn.signal, conn.swansong.signal]
    await conn.swansong.shutDown()
    return conn.json(signals.map((signal) => signal.aborted))
  })
  assert.deepEqual((await app.get('/')).json(), [false, true])
})

// --------------------------------------------------------------------------------- afterSend

test('afterSend callbacks run once, in order of registration, after the response', async () => {
  const events: string[] = []
  async function* body(): AsyncGenerator<string> {
    events.push('the body')
    yield 'x'
  }
  const app = testApp([
    (conn) => conn.afterSend((isSent) => events.push(`first ${isSent}`)),
    { beforeSend: (conn) => conn.afterSend((isSent) => events.push(`third ${isSent}`)) },
    (conn) => conn.afterSend((isSent) => events.push(`second ${isSent}`)).ok(body()),
  ])
  const { conn } = await app.get('/')
  assert.deepEqual(events, ['the body', 'first true', 'second true', 'third true'])
  assert.equal(hasAfterSend(conn), false)
  settleConn(conn, false, () => assert.fail('nothing is called again'))
  assert.equal(events.length, 4)
})

test('afterSend is told when the body broke off', async () => {
  const told: boolean[] = []
  async function* body(): AsyncGenerator<string> {
    yield 'x'
    throw new Error('the source failed')
  }
  const response = await testApp((conn) =>
    conn.afterSend((isSent) => told.push(isSent)).ok(body()),
  ).get('/')
  assert.equal(response.isCut, true)
  assert.deepEqual(told, [false])
})

test('an afterSend callback that throws is reported and stops no other', async () => {
  const events: string[] = []
  const app = testApp((conn) => {
    conn.afterSend(() => {
      throw new Error('boom')
    })
    conn.afterSend(() => events.push('second'))
  })
  await app.get('/')
  assert.deepEqual(events, ['second'])
  assert.deepEqual(
    app.errors.map(({ error, place }) => [String(error), place]),
    [['Error: boom', 'afterSend']],
  )
})

test('hasAfterSend tells whether anybody wants to know how the response ended', () => {
  const conn = connOf()
  assert.equal(hasAfterSend(conn), false)
  assert.equal(hasAfterSend(conn.afterSend(() => {})), true)
})

// --------------------------------------------------------------------------------- extension

declare module './conn.ts' {
  interface ConnExtensions {
    teapotForTest(): Halted
  }
}

test('a method added to Conn.prototype is there on every conn', async () => {
  Conn.prototype.teapotForTest = function (this: Conn): Halted {
    return this.withStatus(418).halt()
  }
  const response = await testApp([(conn) => conn.teapotForTest(), 'too late']).get('/')
  assert.equal(response.status, 418)
  assert.equal(response.body, '')
})

test('withBody() lets go of the stream it replaces, but not of one that was taken', async () => {
  const released: string[] = []
  const stream = (name: string): ReadableStream<string> =>
    new ReadableStream({ cancel: () => void released.push(name) })
  await testApp((conn) => conn.withBody(stream('replaced')).ok('text')).get('/')
  assert.deepEqual(released, ['replaced'])

  const taken = stream('taken')
  await testApp((conn) => {
    conn.withBody(taken).takeResponseBody()
    return conn.ok('text')
  }).get('/')
  const same = stream('same')
  const kept = await testApp((conn) => void conn.withStatus(204).withBody(same).withBody(same)).get(
    '/',
  )
  assert.equal(kept.status, 204)
  assert.deepEqual(released, ['replaced', 'same']) // the last by 204, once
})

test('an afterSend that is registered by an afterSend runs, too', async () => {
  const calls: string[] = []
  await testApp((conn) => {
    conn.afterSend(() => {
      calls.push('first')
      conn.afterSend(() => calls.push('registered by the first'))
    })
    return conn.afterSend(() => calls.push('second')).ok('')
  }).get('/')
  assert.deepEqual(calls, ['first', 'second', 'registered by the first'])
})

test('the rejection of an async afterSend is reported', async () => {
  const error = new Error('boom')
  const app = testApp((conn) => conn.afterSend(async () => Promise.reject(error)).ok(''))
  await app.get('/')
  await new Promise(setImmediate)
  assert.deepEqual(app.errors, [{ error, place: 'afterSend' }])
})

test('json() keeps a content type that is set', async () => {
  const app = testApp((conn) =>
    conn.withResponseHeader('Content-Type', 'application/problem+json').json({}),
  )
  assert.equal((await app.get('/')).headers.get('content-type'), 'application/problem+json')
})

test('a conn says of its client what a trusted proxy has said, and its headers stay what they were', () => {
  const rawHeaders = ['Host', 'inner:8080', 'X-Forwarded-For', '203.0.113.7']
  const conn = connOf({ rawHeaders, peerIp: '10.0.0.1' })
  assert.deepEqual([conn.peerIp, conn.isSecure, conn.host], ['10.0.0.1', false, 'inner:8080'])
  forwardConn(conn, { peerIp: '203.0.113.7', isSecure: true, host: 'example.com' })
  assert.deepEqual([conn.peerIp, conn.isSecure, conn.host], ['203.0.113.7', true, 'example.com'])
  assert.equal(conn.requestHeaders.get('host'), 'inner:8080')
  packConn(conn)
  assert.deepEqual([conn.peerIp, conn.isSecure, conn.host], ['203.0.113.7', true, 'example.com'])
  assert.deepEqual(conn.requestHeaders.toRawHeaders(), rawHeaders)
})

test('what a trusted proxy does not know of its client is undefined, not what the connection says', () => {
  const conn = connOf({ rawHeaders: ['Host', 'inner'], peerIp: '10.0.0.1', isSecure: true })
  forwardConn(conn, { peerIp: undefined, isSecure: false, host: undefined })
  assert.deepEqual([conn.peerIp, conn.isSecure, conn.host], [undefined, false, undefined])
})
