import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mock, test } from 'node:test'

import { encodeText } from './body.ts'
import type { BodySink, BodySource } from './body.ts'
import type { Conn } from './conn.ts'
import { HeaderMap } from './header-map.ts'
import { Init } from './info.ts'
import { PullSource } from './pull-source.ts'
import { State } from './state.ts'
import { Swansong } from './swansong.ts'
import { testApp } from './testing.ts'
import type { TestRequest } from './testing.ts'

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

test('a body that is not as long as it promised is cut, or a 500 where nothing was out, as on a server', async () => {
  const causes: unknown[] = []
  const bodyOf = (...writes: string[]): BodySource => ({
    length: 3,
    start(sink) {
      for (const text of writes) sink.write(encodeText(text))
      sink.end()
    },
    drained() {},
    stop() {},
    closed: (cause) => causes.push(cause),
  })
  const bodies = [bodyOf('12345'), bodyOf('12', '345'), bodyOf('12'), bodyOf('123')]
  const app = testApp((conn) => conn.ok(bodies.shift()!))
  assert.equal((await app.get('/')).status, 500)
  assert.equal((await app.get('/')).isCut, true)
  assert.equal((await app.get('/')).isCut, true)
  assert.equal((await app.get('/')).body, '123')
  assert.deepEqual(
    app.errors.map(({ error }) => String(error)),
    [5, 5, 2].map(
      (length) => `RangeError: Cannot send a body of ${length} bytes: its length promised 3`,
    ),
  )
  assert.deepEqual(causes, ['failure', 'failure']) // the third knows that it has ended
})

test('a response whose framing is not true is a 500, and reported', async () => {
  const app = testApp((conn) => conn.withResponseHeader('Content-Length', 1).ok('four'))
  const response = await app.get('/')
  assert.equal(response.status, 500)
  assert.equal(response.body, '')
  assert.deepEqual(
    app.errors.map(({ place }) => place),
    ['the response'],
  )
})

test('what a source throws is reported, and cuts its body or makes it a 500, as on a server', async () => {
  const throwing = (message: string) => (): never => {
    throw new Error(message)
  }
  const start = new HandSource()
  start.start = throwing('start')
  const stop = new HandSource()
  stop.stop = throwing('stop')
  const closed = new HandSource()
  closed.closed = throwing('closed')
  const sources = [start, stop, closed]
  const log: unknown[] = []
  const app = testApp((conn) => conn.afterSend((isSent) => log.push(isSent)).ok(sources.shift()!))
  const failed = await app.get('/') // nothing of it was out
  assert.deepEqual([failed.status, failed.body, failed.isCut], [500, '', false])
  assert.equal(failed.headers.get('content-length'), '0')
  assert.deepEqual(log, [true])

  const stopped = app.get('/')
  await stop.started
  const client = new AbortController()
  const left = app.get('/', { signal: client.signal })
  await closed.started
  client.abort()
  assert.equal((await left).isCut, true)
  void app.shutDown()
  assert.equal((await stopped).isCut, true)
  assert.equal((await stopped).status, 200)
  assert.deepEqual(
    app.errors.map(({ error, place }) => `${(error as Error).message}: ${place}`),
    ['start: the response body', 'closed: the response body', 'stop: the response body'],
  )
})

test('a body that fails before anything of it is out is a 500, one that is cut is not', async () => {
  const source = new HandSource((sink) => sink.abort(new Error('no')))
  const later = new HandSource()
  const cut = new HandSource((sink) => sink.cut())
  const app = testApp((conn) => conn.ok({ '/': source, '/later': later, '/cut': cut }[conn.path]!))
  assert.equal((await app.open('/')).status, 500)
  const response = await app.open('/later')
  const sink = await later.started
  sink.abort(new Error('no'))
  assert.equal((await response.ended).isCut, true)
  assert.equal((await (await app.open('/cut')).ended).isCut, true)
  assert.equal(app.errors.length, 2)
})

test('sharedState() has what an init has put there', async () => {
  class Fern {
    readonly isGreen = true
  }
  const app = testApp([Init.new((info) => void info.insertSharedState(new Fern())), 'x'])
  assert.equal(app.sharedState(Fern), undefined)
  await app.init()
  assert.equal(app.sharedState(Fern)?.isGreen, true)
})

// ------------------------------------------------------------------------ responses on their way

test('open() resolves when the head is out, and gives the bytes as they come', async () => {
  const source = new HandSource()
  const app = testApp((conn) => conn.withResponseHeader('a', '1').ok(source))
  const response = await app.open('/')
  const sink = await source.started
  assert.equal(response.status, 200)
  response.assertOk().assertHeader('a', '1')
  assert.equal(response.conn.path, '/')
  assert.equal(response.body, '')

  const texts: string[] = []
  const reading = (async () => {
    for await (const bytes of response) texts.push(new TextDecoder().decode(bytes))
  })()
  sink.write(encodeText('one '))
  sink.write(new Uint8Array())
  sink.write(encodeText('two '))
  assert.equal(response.body, 'one two ')
  await turn()
  sink.write(encodeText('three'))
  sink.end()
  await reading
  assert.deepEqual(texts, ['one ', 'two ', 'three'])
  const parts = response[Symbol.asyncIterator]()
  assert.deepEqual(await parts.next(), { done: false, value: encodeText('one ') })
  const whole = await response.ended
  assert.deepEqual([whole.body, whole.isCut], ['one two three', false])
  response.leave()
  assert.deepEqual(source.calls, ['start'])
})

test('open() of a response in memory has all of it, with any method', async () => {
  const app = testApp((conn) => conn.ok(conn.path === '/bytes' ? encodeText('b') : conn.method))
  const text = await app.open('/', { method: 'PUT' })
  assert.equal(text.body, 'PUT')
  assert.equal((await text.ended).body, 'PUT')
  assert.equal((await app.open('/bytes')).body, 'b')
  assert.equal((await app.open('/', { method: 'HEAD' })).body, '')
  assert.equal((await testApp([]).open('/')).assertStatus(404).body, '')
})

test('a client of open() that leaves is seen by the app, by leave() or by its signal', async () => {
  const sources = [new HandSource(), new HandSource()]
  const log: unknown[] = []
  const app = testApp((conn) => {
    const source = sources[Number(conn.path.slice(1))]!
    return conn.afterSend((isSent) => log.push(isSent)).ok(source)
  })
  const first = await app.open('/0')
  first.leave()
  const client = new AbortController()
  const second = await app.open('/1', { signal: client.signal })
  client.abort()
  for (const response of [first, second]) assert.equal((await response.ended).isCut, true)
  for (const { calls } of sources) assert.deepEqual(calls, ['start', 'closed'])
  assert.deepEqual(log, [false, false])

  await assert.rejects(app.open('/0', { signal: client.signal }), { name: 'AbortError' })
  await assert.rejects(testApp([Init.new(() => Promise.reject(new Error('no')))]).open('/'), /init/)
})

test('a client that stalls is written to in vain, and gets it when it reads on', async () => {
  const source = new HandSource()
  const app = testApp((conn) => conn.ok(source))
  const response = await app.open('/')
  const sink = await source.started
  response.resume() // it did not stall
  response.stall()
  assert.equal(sink.write(encodeText('one ')), false)
  assert.equal(sink.write(encodeText('two ')), false)
  assert.equal(response.body, '')
  assert.deepEqual(source.calls, ['start'])
  response.resume()
  assert.equal(response.body, 'one two ')
  assert.deepEqual(source.calls, ['start', 'drained'])
  assert.equal(sink.write(encodeText('three ')), true)

  response.stall()
  sink.write(encodeText('four'))
  sink.end()
  assert.equal(app.openRequests[0]?.isStream, false)
  await turn()
  assert.equal(app.openRequests.length, 1, 'it has not got the end')
  response.resume()
  assert.equal((await response.ended).body, 'one two three four')
  assert.deepEqual(source.calls, ['start', 'drained'])
})

test('a client that stalls and leaves has not got what was kept for it', async () => {
  const source = new HandSource()
  const app = testApp((conn) => conn.ok(source))
  const response = await app.open('/')
  const sink = await source.started
  sink.write(encodeText('one '))
  response.stall()
  sink.write(encodeText('two'))
  sink.end()
  response.leave()
  const { body, isCut } = await response.ended
  assert.deepEqual([body, isCut], ['one ', true])
  assert.deepEqual(source.calls, ['start'], 'it had ended, and is not told')
  response.resume()
  assert.equal(response.body, 'one ')
})

test('endedUnread tells of a body that ends while its client stalls', async () => {
  const log: string[] = []
  for (const isStalled of [true, false]) {
    const source = new HandSource()
    const app = testApp((conn) => conn.afterSend((isSent) => log.push(`sent ${isSent}`)).ok(source))
    const response = await app.open('/')
    void response.endedUnread.then(() => log.push('ended unread'))
    const sink = await source.started
    if (isStalled) response.stall()
    sink.end()
    await turn()
    response.resume()
    await app.idle()
  }
  assert.deepEqual(log, ['ended unread', 'sent true', 'sent true'])
})

test('while an endless body flows its request is packed, as on a server', async () => {
  for (const isEndless of [true, false]) {
    const source = new HandSource()
    source.isEndless = isEndless
    const seen: unknown[] = []
    const app = testApp((conn) => {
      const received = conn.requestHeaders
      conn.afterSend(() => {
        const { requestHeaders, path } = conn
        seen.push(requestHeaders !== received, path, [...requestHeaders])
      })
      return conn.ok(source)
    })
    const headers: [string, string][] = [
      ['Host', 'fern.test'],
      ['X-Empty', ''],
      ['X-Name', 'é'],
      ['X-Name', 'b'],
    ]
    const response = await app.open('/a?b', { headers })
    response.leave()
    await app.idle()
    assert.deepEqual(seen, [isEndless, '/a', headers])
  }
})

test('a source is told of room once, whatever there was none for', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const source = new HandSource()
  const app = testApp((conn) => conn.ok(source))
  const response = await app.open('/')
  const sink = await source.started
  assert.equal(sink.write(new Uint8Array(1024 * 1024)), false)
  response.stall()
  t.mock.timers.tick(1)
  assert.deepEqual(source.calls, ['start'])
  response.resume()
  t.mock.timers.tick(1)
  assert.deepEqual(source.calls, ['start', 'drained'])
  response.leave()
})

// ----------------------------------------------------------------------------- clients that leave

test('a client that leaves before it is answered has the reason, and the handlers go on to no avail', async () => {
  for (const answer of [new HandSource(), 'text']) {
    const client = new AbortController()
    const [reached, go] = [deferred(), deferred()]
    const log: unknown[] = []
    const app = testApp(async (conn) => {
      conn.afterSend((isSent) => log.push(isSent))
      conn.signal.addEventListener('abort', () => log.push('conn.signal'))
      reached.resolve()
      await go.promise
      log.push(conn.isDisconnected)
      return conn.ok(answer)
    })
    const response = app.get('/', { signal: client.signal })
    await reached.promise
    client.abort('bored')
    assert.deepEqual(log, ['conn.signal'])
    await assert.rejects(response, (reason) => reason === 'bored')
    assert.equal(app.openRequests.length, 1, 'its handlers are at work')
    go.resolve()
    await app.idle()
    assert.deepEqual(log, ['conn.signal', true, false])
    if (answer instanceof HandSource) assert.deepEqual(answer.calls, ['closed'])
    assert.deepEqual(app.errors, [])
  }
})

test('a client that leaves while a body flows has what had come until then', async () => {
  const client = new AbortController()
  const source = new HandSource()
  const log: unknown[] = source.calls
  const app = testApp((conn) => {
    conn.signal.addEventListener('abort', () => log.push('conn.signal'))
    return conn
      .afterSend((isSent) => log.push(isSent))
      .withResponseHeader('a', '1')
      .ok(source)
  })
  const pending = app.get('/', { signal: client.signal })
  const sink = await source.started
  assert.equal(sink.write(encodeText('one ')), true)
  assert.equal(sink.write(encodeText('two')), true)
  client.abort()
  assert.deepEqual(log, ['start', 'conn.signal', 'closed'])
  assert.equal(sink.write(encodeText(' three')), false)
  sink.end()
  sink.abort(new Error('nobody hears this'))
  sink.cut()
  await app.shutDown()

  const response = await pending
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('a'), '1')
  assert.equal(response.body, 'one two')
  assert.equal(response.isCut, true)
  assert.equal(response.conn.isDisconnected, true)
  assert.deepEqual(log, ['start', 'conn.signal', 'closed', false])
  assert.deepEqual(app.errors, [])
})

test('an iterable is closed when the client leaves, whatever it waits for', async () => {
  const client = new AbortController()
  const [waiting, closed] = [deferred(), deferred()]
  const body: AsyncIterableIterator<string> = {
    [Symbol.asyncIterator]: () => body,
    next: mock.fn(
      () => (waiting.resolve(), new Promise<never>(() => {})),
      async () => ({ done: false, value: 'tick' }) as const,
      { times: 1 },
    ),
    async return() {
      closed.resolve()
      return { done: true, value: undefined }
    },
  }
  const app = testApp((conn) => conn.ok(body))
  const response = app.get('/', { signal: client.signal })
  await waiting.promise
  client.abort()
  await closed.promise
  assert.equal((await response).body, 'tick')
})

test('a client that leaves is not seen by a source from within a call of its own', async () => {
  const client = new AbortController()
  const source = new HandSource((sink) => {
    sink.write(encodeText('one'))
    client.abort()
    assert.equal(sink.write(encodeText('two')), false)
    source.calls.push('started')
  })
  const app = testApp((conn) => conn.ok(source))
  const response = await app.get('/', { signal: client.signal })
  assert.equal(response.body, 'one')
  assert.deepEqual(source.calls, ['start', 'started', 'closed'])
})

test('a source that waits for room is not called when the client has left', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const client = new AbortController()
  const source = new HandSource()
  const app = testApp((conn) => conn.ok(source))
  const response = app.get('/', { signal: client.signal })
  const sink = await source.started
  assert.equal(sink.write(new Uint8Array(1024 * 1024)), false)
  t.mock.timers.tick(0)
  assert.equal(sink.write(new Uint8Array(1024 * 1024)), false)
  client.abort()
  t.mock.timers.tick(0)
  assert.deepEqual(source.calls, ['start', 'drained', 'closed'])
  assert.equal((await response).bytes.length, 2 * 1024 * 1024)
})

test('a client that leaves when all was sent changes nothing', async () => {
  const log: unknown[] = []
  const client = { controller: new AbortController() }
  const source = new HandSource((sink) => {
    sink.end()
    client.controller.abort()
  })
  const app = testApp((conn) => {
    conn.signal.addEventListener('abort', () => log.push('conn.signal'))
    conn.afterSend((isSent) => {
      log.push(isSent)
      client.controller.abort()
    })
    return conn.ok(conn.path === '/text' ? 'text' : source)
  })
  for (const path of ['/text', '/source']) {
    client.controller = new AbortController()
    const response = await app.get(path, { signal: client.controller.signal })
    assert.equal(response.isCut, false)
    assert.equal(response.conn.isDisconnected, false)
  }
  assert.deepEqual(log, [true, true])
  assert.deepEqual(source.calls, ['start'])
})

test('a signal that has aborted already refuses at once, and nothing runs', async () => {
  const run = mock.fn()
  const app = testApp([Init.new(run), run])
  const closed = mock.fn()
  const body = new ReadableStream<Uint8Array>({ cancel: closed })
  const response = app.post('/', { body, signal: AbortSignal.abort('gone') })
  assert.deepEqual(app.openRequests, [])
  await assert.rejects(response, (reason) => reason === 'gone')
  assert.equal(run.mock.callCount(), 0)
  assert.equal(closed.mock.callCount(), 1)
})

test('a client that leaves while an init runs is gone when its handlers run', async () => {
  const client = new AbortController()
  const ready = deferred()
  const seen: boolean[] = []
  const app = testApp([
    Init.new(() => ready.promise),
    (conn: Conn) => void seen.push(conn.isDisconnected, conn.signal.aborted),
  ])
  const response = app.get('/', { signal: client.signal })
  client.abort()
  await assert.rejects(response, { name: 'AbortError' })
  assert.deepEqual(seen, [])
  ready.resolve()
  await app.idle()
  assert.deepEqual(seen, [true, true])
})

test('no listener is left on a signal, however the request ends', async () => {
  const { signal } = new AbortController()
  const listeners = (): number => getEventListeners(signal, 'abort').length
  const fail = (): never => {
    throw new Error('no')
  }
  const app = testApp((conn) => (conn.path === '/cut' ? conn.ok(failing()) : conn.ok('whole')))
  async function* failing(): AsyncGenerator<string> {
    yield 'one'
    fail()
  }
  const whole = app.get('/', { signal })
  assert.equal(listeners(), 1)
  assert.equal((await whole).isCut, false)
  assert.equal(listeners(), 0)
  assert.equal((await app.get('/cut', { signal })).isCut, true)
  await assert.rejects(testApp([Init.new(fail)]).get('/', { signal }), /init of app\[0\]/)
  await assert.rejects(app.get('/', { signal, headers: { 'not a name': '1' } }), TypeError)
  assert.equal(listeners(), 0)

  const client = new AbortController()
  const never = testApp(() => new Promise<void>(() => {})).get('/', client)
  client.abort()
  await assert.rejects(never, { name: 'AbortError' })
  assert.equal(getEventListeners(client.signal, 'abort').length, 0)
})

test('a handler that waits for a request body gets a BodyAbortedError when the client leaves', async () => {
  const client = new AbortController()
  const body = new HandBody()
  const errors: Error[] = []
  const app = testApp(async (conn) => {
    try {
      await conn.requestBody.bytes()
    } catch (error) {
      errors.push(error as Error)
      throw error
    }
  })
  const response = app.post('/', { body, signal: client.signal })
  await body.give('half')
  await body.isWaiting
  client.abort()
  await assert.rejects(response, { name: 'AbortError' })
  await app.idle()
  assert.deepEqual(
    errors.map(({ name, cause }) => [name, (cause as NodeJS.ErrnoException).code]),
    [['BodyAbortedError', 'ECONNRESET']],
  )
  assert.equal(body.closings, 1)
  assert.deepEqual(app.errors, [])
})

test('a request body that nobody is waiting for is closed when the client leaves', async () => {
  for (const isBegun of [false, true]) {
    const client = new AbortController()
    const [reached, go] = [deferred(), deferred()]
    const body = new HandBody()
    const log: string[] = []
    const app = testApp(async (conn) => {
      const parts = conn.requestBody[Symbol.asyncIterator]()
      if (isBegun) log.push(String((await parts.next()).value))
      reached.resolve()
      await go.promise
      await parts.next().catch((error: Error) => log.push(error.name))
    })
    const response = app.post('/', { body, signal: client.signal })
    if (isBegun) await body.give('a')
    await reached.promise
    client.abort()
    assert.equal(body.closings, 1)
    await assert.rejects(response)
    go.resolve()
    await app.idle()
    assert.equal(body.closings, 1)
    assert.deepEqual(log, [...(isBegun ? ['97'] : []), 'BodyAbortedError'])
  }
})

test('a request body that was sent whole can be read when the client has left', async () => {
  const read: unknown[] = []
  const requests: TestRequest[] = [{}, { body: 'text' }, { json: 1 }]
  for (const request of requests) {
    const client = new AbortController()
    const app = testApp(async (conn) => {
      client.abort()
      read.push(await conn.requestBody.text())
    })
    await assert.rejects(app.post('/', { ...request, signal: client.signal }))
    await app.idle()
  }
  assert.deepEqual(read, ['', 'text', '1'])
})

test('a request body in parts is closed by a handler that stops reading, and closes itself at its end', async () => {
  const body = new HandBody()
  const app = testApp(async (conn) => {
    const parts: number[] = []
    for await (const part of conn.requestBody) {
      parts.push(part.length)
      if (conn.path === '/some') break
    }
    return conn.json(parts)
  })
  const some = app.post('/some', { body })
  await body.give('one')
  assert.deepEqual((await some).json(), [3])
  assert.equal(body.closings, 1)

  const all = app.post('/all', { body })
  await body.give('one')
  await body.give('three')
  await body.give(undefined)
  assert.deepEqual((await all).json(), [3, 5])
  assert.equal(body.closings, 1)
  const none = { headers: { 'transfer-encoding': 'chunked' } }
  assert.deepEqual((await app.post('/none', none)).json(), [])
})

// ----------------------------------------------------------------------------- open requests

test('openRequests has the requests that are not over, oldest first', async () => {
  const go = deferred()
  const reached = deferred()
  const sources = [new HandSource(), new HandSource()] as const
  sources[1].isEndless = true
  const app = testApp(async (conn) => {
    if (conn.path === '/finite') return conn.ok(sources[0])
    if (conn.path === '/endless') return conn.ok(sources[1])
    conn.pushPath('/inner')
    reached.resolve()
    await go.promise
    return conn.ok('done')
  })
  const open = (): string[] =>
    app.openRequests.map(({ method, path, isStream }) => `${method} ${path} ${isStream}`)
  const before = performance.now()
  const slow = app.post('/slow?a=1')
  assert.deepEqual(open(), ['POST /slow false'])
  assert.ok(app.openRequests[0]!.startTime >= before)
  const finite = app.get('/finite')
  const endless = app.get('/endless')
  assert.deepEqual(open(), ['POST /slow false', 'GET /finite false', 'GET /endless false'])
  const [finiteSink] = await Promise.all([sources[0].started, sources[1].started, reached.promise])
  assert.deepEqual(open(), ['POST /slow false', 'GET /finite false', 'GET /endless true'])
  finiteSink.end()
  await finite
  assert.deepEqual(open(), ['POST /slow false', 'GET /endless true'])
  void app.shutDown()
  assert.deepEqual(open(), ['POST /slow false', 'GET /endless false'], 'it has said its last word')
  await endless
  go.resolve()
  assert.equal((await slow).conn.startTime <= performance.now(), true)
  assert.deepEqual(open(), [])
})

test('idle() resolves when no request is open, after those who waited for a response', async () => {
  const log: string[] = []
  const [first, second] = [deferred(), deferred()]
  const app = testApp(async (conn) => {
    await (conn.path === '/1' ? first : second).promise
    return conn.afterSend(() => log.push(`afterSend ${conn.path}`)).ok('x')
  })
  await app.idle()
  const responses = ['/1', '/2'].map((path) => app.get(path).then(() => log.push(path)))
  const idle = [app.idle(), app.idle()].map((promise) => promise.then(() => log.push('idle')))
  first.resolve()
  await responses[0]
  assert.deepEqual(log, ['afterSend /1', '/1'])
  second.resolve()
  await Promise.all(idle)
  assert.deepEqual(log, ['afterSend /1', '/1', 'afterSend /2', '/2', 'idle', 'idle'])
})

/** A source that shows what became of it. */
class HandSource implements BodySource {
  readonly calls: unknown[] = []
  isEndless = false
  #sink: BodySink | undefined
  readonly #started = deferred<BodySink>()
  readonly #onStart: (sink: BodySink) => void

  constructor(onStart: (sink: BodySink) => void = () => {}) {
    this.#onStart = onStart
  }

  /** Resolves, with the sink, when the body begins. */
  get started(): Promise<BodySink> {
    return this.#started.promise
  }

  start(sink: BodySink): void {
    this.calls.push('start')
    this.#sink = sink
    this.#started.resolve(sink)
    this.#onStart(sink)
  }

  drained(): void {
    this.calls.push('drained')
  }

  stop(): void {
    this.calls.push('stop')
    if (this.isEndless) this.#sink!.end()
  }

  closed(): void {
    this.calls.push('closed')
  }
}

/** A request body that is sent by hand. */
class HandBody implements AsyncIterableIterator<Uint8Array> {
  closings = 0
  #asked = deferred<(result: IteratorResult<Uint8Array, undefined>) => void>()

  /** Resolves when somebody waits for the next part. */
  get isWaiting(): Promise<unknown> {
    return this.#asked.promise
  }

  /** Gives the next part to whoever asks for it; undefined is the end. */
  async give(text: string | undefined): Promise<void> {
    const answer = await this.#asked.promise
    this.#asked = deferred()
    answer(
      text === undefined
        ? { done: true, value: undefined }
        : { done: false, value: encodeText(text) },
    )
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    return new Promise((resolve) => this.#asked.resolve(resolve))
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.closings++
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
}

/** Lets happen what happens by itself. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function deferred<T = void>(): Deferred<T> {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => (resolve = settle))
  return { promise, resolve }
}

test('what an onStop does comes before the end of the streams, whoever begins the stop', async () => {
  for (const begin of ['app', 'swansong'] as const) {
    const log: string[] = []
    const app = testApp((conn) => conn.ok(endless(() => log.push('stop'))))
    const response = app.get('/')
    await app.init()
    app.swansong.onStop(() => log.push('onStop'))
    while (app.openRequests[0]?.isStream !== true) await Promise.resolve()
    void (begin === 'app' ? app.shutDown() : app.swansong.shutDown())
    assert.equal((await response).status, 200)
    assert.deepEqual(log, ['onStop', 'stop'])
  }
})

function endless(onStop: () => void): BodySource {
  let sink: BodySink
  return {
    isEndless: true,
    start: (given) => (sink = given),
    drained() {},
    stop() {
      onStop()
      sink.end()
    },
    closed() {},
  }
}

test('a hasUpgrade that throws is a 500, and recorded, as on a server', async () => {
  const app = testApp([
    (conn) => conn.withStatus(101).halt(),
    { name: 'bad', hasUpgrade: () => assert.fail('boom'), upgrade() {} },
  ])
  assert.equal((await app.get('/')).status, 500)
  assert.equal(app.errors[0]!.place, 'hasUpgrade of app[1] "bad"')
})
