import assert from 'node:assert/strict'
import { mock, test } from 'node:test'

import { encodeText } from './body.ts'
import type { BodySink } from './body.ts'
import { HeaderMap } from './header-map.ts'
import { Init } from './info.ts'
import { PullSource } from './pull-source.ts'
import { State } from './state.ts'
import { Swansong } from './swansong.ts'
import { testApp } from './testing.ts'

test('an app is a tuple, a single handler, a string, or an array built at run time', async () => {
  const list = [new HeaderMap({ a: '1' })]
  assert.equal((await testApp('hello').get('/')).body, 'hello')
  assert.equal((await testApp((conn) => conn.ok('hello')).get('/')).body, 'hello')
  assert.equal((await testApp(['hello']).get('/')).body, 'hello')
  assert.equal((await testApp(list).get('/')).headers.get('a'), '1')
  assert.equal((await testApp(undefined).get('/')).status, 404)
})

test('a request has a Host, and with a body a Content-Length or a Transfer-Encoding', async () => {
  const app = testApp((conn) => conn.json(conn.requestHeaders))
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield encodeText('x')
  }
  assert.deepEqual((await app.get('/')).json(), { host: 'wakerobin.test' })
  assert.deepEqual((await app.get('/', { headers: { HOST: 'a.test', b: ['1', '2'] } })).json(), {
    host: 'a.test',
    b: ['1', '2'],
  })
  assert.deepEqual((await app.post('/', { body: 'Fårö' })).json(), {
    host: 'wakerobin.test',
    'content-length': '6',
  })
  assert.deepEqual((await app.post('/', { body: new Uint8Array() })).json(), {
    host: 'wakerobin.test',
    'content-length': '0',
  })
  assert.deepEqual((await app.post('/', { body: chunks() })).json(), {
    host: 'wakerobin.test',
    'transfer-encoding': 'chunked',
  })
})

test('get(), post() and request() send their method', async () => {
  const app = testApp((conn) => conn.ok(`${conn.method} ${conn.pathAndQuery}`))
  assert.equal((await app.get('/a?b')).body, 'GET /a?b')
  assert.equal((await app.post('/a')).body, 'POST /a')
  assert.equal((await app.request('DELETE', '/a')).body, 'DELETE /a')
})

test('a response has the status, the headers, the body, the state and the conn', async () => {
  class Fern {
    readonly #brand = true
    isGreen(): boolean {
      return this.#brand
    }
  }
  const response = await testApp([State.new(new Fern()), (conn) => conn.json([1])]).get('/')
  assert.equal(response.status, 200)
  assert.deepEqual(
    [...response.headers],
    [
      ['Content-Type', 'application/json'],
      ['Content-Length', '3'],
    ],
  )
  assert.deepEqual(response.bytes, encodeText('[1]'))
  assert.equal(response.body, '[1]')
  assert.deepEqual(response.json(), [1])
  assert.equal(response.isCut, false)
  assert.equal(response.state(Fern)?.isGreen(), true)
  assert.equal(response.conn.status, 200)
})

test('the headers of a response are a copy: changing them does not change the conn', async () => {
  const response = await testApp((conn) => conn.withResponseHeader('a', '1').ok('x')).get('/')
  response.headers.set('a', '2')
  assert.deepEqual(response.conn.responseHeaders.getAll('a'), ['1'])
  assert.equal(response.conn.responseHeaders.has('content-length'), false)
})

test('init() runs every init, once; a request does it by itself', async () => {
  const init = mock.fn()
  const app = testApp([Init.new(init), 'x'])
  assert.equal(init.mock.callCount(), 0)
  await app.init()
  await app.init()
  await app.get('/')
  assert.equal(init.mock.callCount(), 1)
})

test('errors are kept in the order in which they happened', async () => {
  const app = testApp([
    (conn) =>
      void conn.afterSend(() => {
        throw new Error('third')
      }),
    {
      name: 'last',
      beforeSend() {
        throw new Error('second')
      },
    },
    function early() {
      throw new Error('first')
    },
  ])
  await app.get('/')
  assert.deepEqual(
    app.errors.map(({ error, place }) => `${(error as Error).message}: ${place}`),
    ['first: app[2] "early"', 'second: beforeSend of app[1] "last"', 'third: afterSend'],
  )
})

test('shutDown() ends endless bodies, whole, and leaves finite ones to their own end', async () => {
  async function* ticks(): AsyncGenerator<string> {
    yield 'tick '
    await new Promise(() => {})
  }
  let release!: () => void
  const released = new Promise<void>((resolve) => (release = resolve))
  async function* report(): AsyncGenerator<string> {
    yield 'first '
    await released
    yield 'last'
  }
  const started = { count: 0, all: () => {} }
  const both = new Promise<void>((resolve) => (started.all = resolve))
  const app = testApp((conn) => {
    if (++started.count === 2) started.all()
    return conn.ok(
      conn.path === '/endless'
        ? new PullSource(ticks(), encodeText, { isEndless: true })
        : report(),
    )
  })
  const [endless, finite] = [app.get('/endless'), app.get('/finite')]
  await both
  await new Promise((resolve) => setImmediate(resolve))
  await app.shutDown()
  assert.deepEqual(((response) => [response.body, response.isCut])(await endless), ['tick ', false])
  release()
  assert.deepEqual(((response) => [response.body, response.isCut])(await finite), [
    'first last',
    false,
  ])
})

test('an endless body that begins after the stop is stopped at once', async () => {
  const swansong = new Swansong()
  const app = testApp((conn) => conn.ok(new PullSource([], encodeText, { isEndless: true })), {
    swansong,
  })
  assert.equal(app.swansong, swansong)
  const stopped = mock.fn()
  const endless = testApp(
    (conn) => {
      let sink: BodySink | undefined
      const stop = (): void => {
        stopped()
        sink?.end()
      }
      return conn.ok({
        start: (given: BodySink) => void (sink = given),
        drained() {},
        stop,
        closed() {},
      })
    },
    { swansong },
  )
  await swansong.shutDown()
  assert.equal((await app.get('/')).isCut, false)
  assert.equal((await endless.get('/')).isCut, false)
  assert.equal(stopped.mock.callCount(), 1)
})

test('an app that is no handler is refused at once', () => {
  assert.throws(() => testApp(1 as never), {
    name: 'TypeError',
    message: /^Cannot use 1 as a handler at app: /,
  })
})

test('a source that always has more leaves the test a turn, to stop it', async () => {
  const test = { isStopped: false }
  function* endless(): Generator<Uint8Array> {
    const bytes = new Uint8Array(64 * 1024)
    while (!test.isStopped) yield bytes
  }
  const app = testApp((conn) => conn.ok(new PullSource(endless(), (bytes) => bytes)))
  const pending = app.get('/')
  setImmediate(() => {
    test.isStopped = true
  })
  const response = await pending
  assert.equal(response.isCut, false)
  assert.equal(response.bytes.length % (1024 * 1024), 0)
})

test('every method has a function, and a JSON body its content type', async () => {
  const app = testApp(async (conn) =>
    conn.json([
      conn.method,
      conn.requestHeaders.get('content-type') ?? null,
      await conn.requestBody.text(),
    ]),
  )
  const request = { json: { text: 'hi' } }
  for (const method of ['get', 'post', 'put', 'patch', 'delete'] as const) {
    const sent = await app[method]('/', request)
    assert.deepEqual(sent.json(), [method.toUpperCase(), 'application/json', '{"text":"hi"}'])
  }
  assert.equal((await app.head('/', request)).headers.get('content-length'), '47')
  const typed = await app.post('/', { json: null, headers: { 'content-type': 'text/x' } })
  assert.deepEqual(typed.json(), ['POST', 'text/x', 'null'])
})

test('a body that is not as long as it promised is cut, as on a server', async () => {
  const body = {
    length: 3,
    start: (sink: BodySink) => (sink.write(encodeText('12345')), sink.end()),
    drained() {},
    stop() {},
    closed() {},
  }
  const app = testApp((conn) => conn.ok(body))
  assert.equal((await app.get('/')).isCut, true)
  assert.match(String(app.errors[0]?.error), /^RangeError: Cannot send a body of 5 bytes/)
})
