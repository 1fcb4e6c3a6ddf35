import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'

import { Conn, State } from '@wakerobin/core'
import type { Handler } from '@wakerobin/core'
import { isBodySource } from '@wakerobin/core/adapter'
import { testApp, type TestApp, type TestResponse } from '@wakerobin/core/testing'
import { createParser } from 'eventsource-parser'

import { Broadcaster, SseEvent, withSseStream } from './index.ts'
import type { Eventable, SseOptions, SseSource } from './index.ts'

// ------------------------------------------------------------------------------------ the head

test('[event-stream 5.1] withSseStream sets status 200 and the headers of an event stream', async () => {
  const response = await get(['x'])
  assert.equal(response.status, 200)
  assert.deepEqual(
    [...response.headers],
    [
      ['Content-Type', 'text/event-stream'],
      ['Cache-Control', 'no-cache, no-transform'],
      ['X-Accel-Buffering', 'no'],
    ],
  )
})

test('[event-stream 5.1] withSseStream replaces these headers and the status, and leaves others alone', async () => {
  const app = testApp((conn) =>
    conn
      .withStatus(404)
      .withResponseHeader('content-type', 'text/plain')
      .withResponseHeader('Cache-Control', 'public')
      .withResponseHeader('X-Request-Id', '7')
      .withSseStream(['x']),
  )
  const { status, headers } = await app.get('/')
  assert.equal(status, 200)
  assert.deepEqual(headers.getAll('Content-Type'), ['text/event-stream'])
  assert.deepEqual(headers.getAll('Cache-Control'), ['no-cache, no-transform'])
  assert.equal(headers.get('X-Request-Id'), '7')
})

test('withSseStream halts: no later handler runs', async () => {
  const app = testApp([
    (conn) => conn.withSseStream(['x']),
    (conn) => conn.withResponseHeader('Later', 'yes'),
  ])
  const response = await app.get('/')
  assert(response.conn.isHalted)
  assert(!response.headers.has('Later'))
  assert.equal(response.body, ':\ndata: x\n\n')
})

test('a beforeSend still reaches the head of a stream', async () => {
  const app = testApp([
    { beforeSend: (conn) => void conn.withResponseHeader('Early', 'yes') },
    (conn) => conn.withSseStream(['x']),
  ])
  assert.equal((await app.get('/')).headers.get('Early'), 'yes')
})

test('the function withSseStream(conn, events) is the method', async () => {
  const app = testApp((conn) => withSseStream(conn, ['x']))
  const response = await app.get('/')
  assert.equal(response.headers.get('Content-Type'), 'text/event-stream')
  assert.equal(response.body, ':\ndata: x\n\n')
  assert(response.conn.isHalted)
})

// ----------------------------------------------------------------------------- kinds of source

test('[event-stream 5.2] every stream begins with a comment, also one of no events', async () => {
  assert.equal((await get([])).body, ':\n')
})

test('strings, SseEvents and plain fields may stand in one stream', async () => {
  const events: Eventable[] = [
    'one',
    SseEvent.new('two').withType('number').withId('2'),
    { data: 'three', retry: 0 },
    { comment: 'note' },
    '',
  ]
  assert.equal(
    (await get(events)).body,
    ':\ndata: one\n\nevent: number\nid: 2\ndata: two\n\nretry: 0\ndata: three\n\n: note\ndata:\n\n',
  )
})

test('every kind of source is streamed', async () => {
  const kinds: Record<string, () => SseSource> = {
    array: () => ['a', 'b'],
    set: () => new Set(['a', 'b']),
    generator: () =>
      (function* () {
        yield 'a'
        yield 'b'
      })(),
    'async generator': () =>
      (async function* () {
        yield 'a'
        await Promise.resolve()
        yield 'b'
      })(),
    'async iterable without return()': () => ({
      [Symbol.asyncIterator]() {
        const items = ['a', 'b']
        return {
          next: () =>
            Promise.resolve({ done: items.length === 0, value: items.shift() }) as Promise<
              IteratorResult<string>
            >,
        }
      },
    }),
    'ReadableStream that pushes': () => webStream(['a', 'b']),
    'ReadableStream that is pulled': () => {
      const items = ['a', 'b']
      return new ReadableStream<Eventable>({
        pull(controller) {
          const item = items.shift()
          if (item === undefined) controller.close()
          else controller.enqueue(item)
        },
      })
    },
    'Node Readable': () => Readable.from(['a', SseEvent.new('b')]),
    'function that returns an array': () => () => ['a', 'b'],
    'generator function': () =>
      function* () {
        yield 'a'
        yield 'b'
      },
    'async generator function': () =>
      async function* () {
        yield 'a'
        yield 'b'
      },
    'function that returns a ReadableStream': () => () => webStream(['a', 'b']),
  }
  for (const [kind, make] of Object.entries(kinds))
    assert.equal((await get(make())).body, ':\ndata: a\n\ndata: b\n\n', kind)
})

test('a broadcaster, its subscription and a function that returns it are streamed', async () => {
  const sources: ((broadcaster: Broadcaster) => SseSource)[] = [
    (broadcaster) => broadcaster,
    (broadcaster) => broadcaster.subscribe(),
    (broadcaster) => () => broadcaster,
  ]
  for (const sourceOf of sources) {
    const broadcaster = new Broadcaster({ replay: false })
    const source = sourceOf(broadcaster)
    const app = testApp((conn) => conn.withSseStream(source))
    const response = app.get('/')
    await until(() => broadcaster.subscriberCount === 1)
    broadcaster.publish('a')
    broadcaster.publish('greeting', 'b')
    broadcaster.close()
    assert.equal((await response).body, ':\ndata: a\n\nevent: greeting\ndata: b\n\n')
    assert.equal(broadcaster.subscriberCount, 0)
  }
})

test('a subscription sends what was published since subscribe(), before the request', async (t) => {
  draw(t, 0)
  const broadcaster = new Broadcaster({ replay: false })
  broadcaster.publish('before')
  const subscription = broadcaster.subscribe()
  broadcaster.publish('since')
  const app = testApp((conn) => conn.withSseStream(subscription))
  const response = app.get('/')
  await until(() => broadcaster.subscriberCount === 1)
  await app.shutDown()
  assert.equal((await response).body, ':\ndata: since\n\nretry: 1000\n')
})

test('what is published between the handler and the head is not lost', async (t) => {
  draw(t, 0)
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp([
    { beforeSend: () => void broadcaster.publish('meanwhile') },
    (conn) => conn.withSseStream(broadcaster),
  ])
  const response = app.get('/')
  await until(() => broadcaster.subscriberCount === 1)
  await app.shutDown()
  assert.equal((await response).body, ':\ndata: meanwhile\n\nretry: 1000\n')
})

test('a stream of a broadcaster ends whole when the broadcaster closes', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp((conn) => conn.withSseStream(broadcaster))
  const response = app.get('/')
  await until(() => broadcaster.subscriberCount === 1)
  broadcaster.publish('last')
  broadcaster.close()
  const { body, isCut } = await response
  assert.equal(body, ':\ndata: last\n\n')
  assert(!isCut)
  assert.equal((await app.get('/')).body, ':\n')
})

// ------------------------------------------------------------------------------------ refusals

test('what is no stream is a TypeError that says what one is, and the answer is a plain 500', async () => {
  const cases: [unknown, string][] = [
    ['text', '"text"'],
    ['', '""'],
    [undefined, 'undefined'],
    [null, 'null'],
    [5, '5'],
    [true, 'true'],
    [SseEvent.new('x'), 'an instance of SseEvent'],
    [{ data: 'x' }, 'a plain object'],
    [Promise.resolve(['x']), 'an instance of Promise'],
  ]
  for (const [value, described] of cases) {
    const app = testApp((conn) => conn.withSseStream(value as SseSource))
    const response = await app.get('/')
    assert.equal(response.status, 500)
    assert.equal(response.body, '')
    assert(!response.headers.has('Content-Type'))
    const error = app.errors[0]?.error
    assert(error instanceof TypeError)
    assert.equal(
      error.message,
      `Cannot stream ${described}: expected an iterable, an async iterable, a ReadableStream, a Broadcaster, or a function that returns one`,
    )
  }
})

test('a refused stream leaves the conn as it was', async () => {
  const app = testApp((conn) => {
    assert.throws(() => conn.withSseStream('text' as never), TypeError)
    assert(!conn.isHalted)
    assert.equal(conn.status, undefined)
    assert.deepEqual([...conn.responseHeaders], [])
    return conn.ok('still here')
  })
  assert.equal((await app.get('/')).body, 'still here')
})

test('[event-stream 4.10] an event that may not be sent cuts the stream, is reported, and closes the source', async () => {
  const bad: unknown[] = [5, null, undefined, {}, { type: 'a\nb', data: 'x' }, new Uint8Array(2)]
  for (const event of bad) {
    let isClosed = false
    const { app, response } = await fail(function* () {
      try {
        yield 'good'
        yield event as Eventable
        yield 'never'
      } finally {
        isClosed = true
      }
    })
    assert.equal(response.status, 200)
    assert.equal(response.body, ':\ndata: good\n\n')
    assert(response.isCut)
    assert(isClosed)
    assert.match(String(app.errors[0]?.error), /^TypeError: Cannot send /)
    assert.equal(app.errors[0]?.place, 'the response body')
    assert.equal(app.errors.length, 1)
  }
})

test('[event-stream 5.7] a source that throws or rejects cuts the stream and is reported', async () => {
  const boom = new Error('boom')
  const sources: SseSource[] = [
    function* () {
      yield 'good'
      throw boom
    },
    async function* () {
      yield 'good'
      throw boom
    },
    failingStream('good', boom),
  ]
  for (const source of sources) {
    const { app, response } = await fail(source)
    assert.equal(response.body, ':\ndata: good\n\n')
    assert(response.isCut)
    assert.deepEqual(app.errors, [{ error: boom, place: 'the response body' }])
  }
})

test('a function that throws, or returns no stream, is a 500: nothing is out by then', async () => {
  const boom = new Error('boom')
  const throwing = await fail(() => {
    throw boom
  })
  assert.equal(throwing.response.status, 500)
  assert.equal(throwing.response.body, '')
  assert.deepEqual(throwing.app.errors, [{ error: boom, place: 'the response body' }])

  for (const returned of ['text', 5, undefined, Promise.resolve(['x'])]) {
    const { app, response } = await fail((() => returned) as unknown as SseSource)
    assert.equal(response.status, 500)
    assert.equal(response.body, '')
    assert.match(String(app.errors[0]?.error), /^TypeError: Cannot stream /)
  }
})

// ------------------------------------------------------------------------------------ the stop

test('[event-stream 5.5] a stop ends a stream whole while its generator is stuck in an await', async (t) => {
  draw(t, 0)
  const { app, response } = await begin(async function* (signal) {
    yield 'one'
    await new Promise(() => signal.throwIfAborted())
    yield 'never'
  })
  await app.shutDown()
  const { body, isCut } = await response
  assert.equal(body, ':\ndata: one\n\nretry: 1000\n')
  assert(!isCut)
  assert.deepEqual(app.errors, [])
})

test('a stop drops an item that is ready, and calls return() of the source once', async (t) => {
  draw(t, 0)
  let give!: (result: IteratorResult<string>) => void
  let returns = 0
  const asked = deferred()
  const app = testApp((conn) =>
    conn.withSseStream({
      [Symbol.asyncIterator]: () => ({
        next: () =>
          new Promise<IteratorResult<string>>((resolve) => {
            give = resolve
            asked.resolve()
          }),
        return() {
          returns++
          return Promise.resolve({ done: true, value: undefined } as const)
        },
      }),
    }),
  )
  const response = app.get('/')
  await asked.promise
  give({ done: false, value: 'ready' })
  await app.shutDown()
  const { body, isCut } = await response
  assert.equal(body, ':\nretry: 1000\n')
  assert(!isCut)
  assert.equal(returns, 1)
})

test('a stop aborts the signal that a function was given, and only the stop does', async (t) => {
  draw(t, 0)
  let given: AbortSignal | undefined
  const { app, response } = await begin(async function* (signal) {
    given = signal
    yield 'one'
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
  })
  assert.equal(given?.aborted, false)
  await app.shutDown()
  assert.equal(given?.aborted, true)
  assert.equal((await response).body, ':\ndata: one\n\nretry: 1000\n')
})

test('the signal aborts when the stream ends by itself and when it fails', async () => {
  const signals: AbortSignal[] = []
  await get((signal) => (signals.push(signal), ['x']))
  await fail((signal) => (signals.push(signal), [5 as never]))
  assert.deepEqual(
    signals.map((signal) => signal.aborted),
    [true, true],
  )
})

test('a stop cancels a ReadableStream and destroys a Node Readable', async (t) => {
  draw(t, 0)
  const cancelled = deferred()
  const web = new ReadableStream<Eventable>({
    start: (controller) => controller.enqueue('one'),
    cancel: () => cancelled.resolve(),
  })
  const node = new Readable({ objectMode: true, read() {} })
  node.push('one')
  for (const source of [web, node]) {
    const { app, response } = await begin(() => source)
    await app.shutDown()
    assert.equal((await response).body, ':\ndata: one\n\nretry: 1000\n')
    assert(!(await response).isCut)
  }
  await cancelled.promise
  assert(node.destroyed)
})

test('[event-stream 5.5] what was published to a broadcaster before the stop arrives', async (t) => {
  draw(t, 0)
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp((conn) => conn.withSseStream(broadcaster))
  const response = app.get('/')
  await until(() => broadcaster.subscriberCount === 1)
  broadcaster.publish('one')
  broadcaster.publish('two')
  void app.shutDown()
  broadcaster.publish('too late')
  const { body, isCut } = await response
  assert.equal(body, ':\ndata: one\n\ndata: two\n\nretry: 1000\n')
  assert(!isCut)
  assert.equal(broadcaster.subscriberCount, 0)
})

test('streams that begin after the stop end at once, whole', async (t) => {
  draw(t, 0)
  const broadcaster = new Broadcaster({ replay: false })
  const sources: SseSource[] = [
    broadcaster,
    () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }),
    new ReadableStream<Eventable>(),
  ]
  for (const source of sources) {
    const app = testApp((conn) => conn.withSseStream(source))
    await app.init()
    await app.shutDown()
    const { status, body, isCut } = await app.get('/')
    assert.equal(status, 200)
    assert.equal(body, ':\nretry: 1000\n')
    assert(!isCut)
  }
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[event-stream 5.5] the last retry is drawn from 1000 to 5000 milliseconds, both ends included', async (t) => {
  for (const [random, retry] of [
    [0, 1000],
    [0.5, 3000],
    [1 - 2 ** -53, 5000],
  ] as const) {
    draw(t, random)
    for (const source of endlessSources())
      assert.equal(await stopped(source), `:\nretry: ${retry}\n`)
  }
})

test('[event-stream 5.5] stopRetryMs is the range of the last retry', async (t) => {
  for (const [random, range, retry] of [
    [0, [0, 9], 0],
    [1 - 2 ** -53, [0, 9], 9],
    [0.5, [250, 250], 250],
    [1 - 2 ** -53, [0, Number.MAX_SAFE_INTEGER], Number.MAX_SAFE_INTEGER],
    [1 - 2 ** -53, undefined, 5000],
  ] as const) {
    draw(t, random)
    const options = { stopRetryMs: range } as SseOptions
    for (const source of endlessSources())
      assert.equal(await stopped(source, options), `:\nretry: ${retry}\n`)
  }
})

test('each stream draws its retry for itself, and not before the stop', async (t) => {
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp((conn) =>
    conn.path === '/' ? conn.withSseStream(broadcaster) : conn.withSseStream(() => silence()),
  )
  const draws = [0, 0.25, 0.5, 0.75]
  const random = t.mock.method(Math, 'random', () => draws.shift()!)
  const responses = ['/', '/pulled', '/', '/pulled'].map((path) => app.get(path))
  await settled()
  assert.equal(random.mock.callCount(), 0)
  await app.shutDown()
  const bodies = (await Promise.all(responses)).map(({ body }) => body)
  assert.deepEqual(bodies.toSorted(), [
    ':\nretry: 1000\n',
    ':\nretry: 2000\n',
    ':\nretry: 3000\n',
    ':\nretry: 4000\n',
  ])
})

test('[event-stream 5.7] without a stop there is no last retry: at the end, after an error, after close()', async (t) => {
  const broadcaster = new Broadcaster({ replay: false })
  const random = draw(t, 0)
  assert.equal((await get(['x'])).body, ':\ndata: x\n\n')

  const { response } = await fail(function* () {
    yield 'x'
    throw new Error('boom')
  })
  assert.equal(response.body, ':\ndata: x\n\n')

  const app = testApp((conn) => conn.withSseStream(broadcaster))
  const closed = app.get('/')
  await settled()
  broadcaster.close()
  await app.shutDown() // too late to say anything
  assert.equal((await closed).body, ':\n')
  assert.equal(random.mock.callCount(), 0)
})

test('[event-stream 5.5] a request that the stop overtakes gets its opening, a retry and an end', async (t) => {
  draw(t, 0)
  for (const source of endlessSources()) {
    const app = testApp((conn) => conn.withSseStream(source))
    const response = app.get('/')
    void app.shutDown()
    const { status, body, isCut } = await response
    assert.equal(status, 200)
    assert.equal(body, ':\nretry: 1000\n')
    assert(!isCut)
  }
})

test('a stream that begins after the stop and has an end of its own by then has no last retry', async () => {
  const app = testApp((conn) => conn.withSseStream(['one', 'two']))
  await app.init()
  await app.shutDown()
  assert.equal((await app.get('/')).body, ':\ndata: one\n\ndata: two\n\n')
})

test('[event-stream 5.5] an independent parser reads the last retry, also after a comment, and no event is made of it', async (t) => {
  draw(t, 0.5)
  const { app, response } = await begin(async function* () {
    yield 'one'
    yield SseEvent.comment('note')
    yield* silence()
  })
  await app.shutDown()
  const events: string[] = []
  const retries: number[] = []
  const parser = createParser({
    onEvent: ({ data }) => events.push(data),
    onRetry: (retry) => retries.push(retry),
    onError: assert.fail,
  })
  parser.feed((await response).body)
  assert.deepEqual(events, ['one'])
  assert.deepEqual(retries, [3000])
})

test('[event-stream 5.7] with finish, a stop leaves a pulled stream running to its own end', async (t) => {
  const random = draw(t, 0)
  const next = deferred()
  let given: AbortSignal | undefined
  const app = testApp((conn) =>
    conn.withSseStream(
      async function* (signal) {
        given = signal
        yield 'one'
        await next.promise
        yield 'two'
      },
      { finish: true },
    ),
  )
  const response = app.get('/')
  await settled()
  await app.shutDown()
  assert.equal(given?.aborted, false)
  next.resolve()
  const { body, isCut } = await response
  assert.equal(body, ':\ndata: one\n\ndata: two\n\n')
  assert(!isCut)
  assert.equal(given.aborted, true)
  assert.equal(random.mock.callCount(), 0)
})

test('with finish, a stop leaves a broadcast running until the app closes it', async (t) => {
  for (const sourceOf of [(it: Broadcaster) => it, (it: Broadcaster) => it.subscribe()]) {
    const broadcaster = new Broadcaster({ replay: false })
    const random = draw(t, 0)
    const source = sourceOf(broadcaster)
    const app = testApp((conn) => conn.withSseStream(source, { finish: true }))
    const response = app.get('/')
    await until(() => broadcaster.subscriberCount === 1)
    broadcaster.publish('before')
    await app.shutDown()
    broadcaster.publish('after')
    await settled()
    assert.equal(broadcaster.subscriberCount, 1)
    broadcaster.close()
    const { body, isCut } = await response
    assert.equal(body, ':\ndata: before\n\ndata: after\n\n')
    assert(!isCut)
    assert.equal(random.mock.callCount(), 0)
  }
})

test('a stream that finishes is endless all the same: a client that half-closes has left', async () => {
  for (const source of endlessSources()) {
    for (const finish of [true, false]) {
      const app = testApp((conn) => {
        conn.withSseStream(source, { finish })
        const body = conn.takeResponseBody()
        assert(isBodySource(body))
        assert.equal(body.isEndless, true)
        body.closed('client')
        return conn.ok('seen')
      })
      assert.equal((await app.get('/')).body, 'seen')
      assert.deepEqual(app.errors, [])
    }
  }
})

// ------------------------------------------------------------------------------------ options

test('options that cannot be used are refused by the method and by the function, and the conn is as it was', async () => {
  const bad: [unknown, RegExp][] = [
    [{ stopRetryMs: [5, 1] }, /^RangeError: Cannot stream with stopRetryMs \[5, 1\]: /],
    [{ stopRetryMs: 5 }, /^TypeError: Cannot stream with stopRetryMs 5: /],
    [{ finish: 'yes' }, /^TypeError: Cannot stream with finish "yes": /],
    [null, /^TypeError: Cannot stream with null as options: /],
  ]
  const app = testApp((conn) => {
    for (const [options, expected] of bad) {
      for (const source of [['x'], new Broadcaster({ replay: false })]) {
        assert.throws(() => conn.withSseStream(source, options as SseOptions), expected)
        assert.throws(() => withSseStream(conn, source, options as SseOptions), expected)
      }
    }
    assert(!conn.isHalted)
    assert.equal(conn.status, undefined)
    assert.deepEqual([...conn.responseHeaders], [])
    return conn.ok('still here')
  })
  assert.equal((await app.get('/')).body, 'still here')
  assert.deepEqual(app.errors, [])
})

test('the function withSseStream(conn, events, options) takes the options of the method', async (t) => {
  draw(t, 0)
  const app = testApp((conn) => withSseStream(conn, () => silence(), { stopRetryMs: [7, 8] }))
  const response = app.get('/')
  await settled()
  await app.shutDown()
  assert.equal((await response).body, ':\nretry: 7\n')
})

// -------------------------------------------------------------------------- streams not started

test('[event-stream 5.8] HEAD has the headers of the stream, and the source is let go without being read', async () => {
  let isCalled = false
  let isCancelled = false
  let isReturned = false
  const broadcaster = new Broadcaster({ replay: false })
  const node = new Readable({ objectMode: true, read: () => assert.fail('it is read') })
  const sources: SseSource[] = [
    broadcaster,
    node,
    () => {
      isCalled = true
      return ['x']
    },
    new ReadableStream<Eventable>({ cancel: () => void (isCancelled = true) }),
    {
      [Symbol.asyncIterator]: () => assert.fail('it is opened'),
      next: () => assert.fail('it is read'),
      return: () => void (isReturned = true),
    } as unknown as SseSource,
    // Not an iterator of its own, so it may be somebody else's: it is left alone.
    {
      [Symbol.asyncIterator]: () => assert.fail('it is opened'),
      return: () => assert.fail('it is closed'),
      destroy: () => assert.fail('it is destroyed'),
    } as SseSource,
  ]
  for (const source of sources) {
    const response = await testApp((conn) => conn.withSseStream(source)).request('HEAD', '/')
    assert.equal(response.headers.get('Content-Type'), 'text/event-stream')
    assert.equal(response.body, '')
  }
  assert(!isCalled)
  assert(isCancelled)
  assert(isReturned)
  assert(node.destroyed)
  assert.equal(broadcaster.subscriberCount, 0)
})

// ---------------------------------------------------------------------------- the seed programs

test('a broadcaster is shared through the state', async (t) => {
  draw(t, 0)
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp([
    State.new(broadcaster),
    ((conn) => conn.withSseStream(conn.state(Broadcaster)!)) satisfies Handler,
  ])
  const responses = [app.get('/'), app.get('/')]
  await until(() => broadcaster.subscriberCount === 2)
  broadcaster.publish('hello')
  await app.shutDown()
  for (const response of responses)
    assert.equal((await response).body, ':\ndata: hello\n\nretry: 1000\n')
})

test('importing the package gives every conn the method', () => {
  assert.equal(typeof Conn.prototype.withSseStream, 'function')
})

// --------------------------------------------------------------------------------------- tools

/** Streams to its end, which must be a whole one. */
async function get(source: SseSource): Promise<TestResponse> {
  const app = testApp((conn) => conn.withSseStream(source))
  const response = await app.get('/')
  assert.deepEqual(app.errors, [])
  assert(!response.isCut)
  return response
}

async function fail(source: SseSource): Promise<{ app: TestApp; response: TestResponse }> {
  const app = testApp((conn) => conn.withSseStream(source))
  return { app, response: await app.get('/') }
}

/** Begins a stream, and waits until it has asked its source for more than it has. */
async function begin(
  source: (signal: AbortSignal) => AsyncIterable<Eventable> | ReadableStream<Eventable>,
): Promise<{ app: TestApp; response: Promise<TestResponse> }> {
  const app = testApp((conn) => conn.withSseStream(source))
  const response = app.get('/')
  await settled()
  return { app, response }
}

/** The body of a stream that is stopped. */
async function stopped(source: SseSource, options?: SseOptions): Promise<string> {
  const app = testApp((conn) => conn.withSseStream(source, options))
  const response = app.get('/')
  await settled()
  await app.shutDown()
  const { body, isCut } = await response
  assert(!isCut)
  return body
}

/** One of each kind, none of which has an event. */
function endlessSources(): SseSource[] {
  const broadcaster = new Broadcaster({ replay: false })
  return [broadcaster, broadcaster.subscribe(), () => broadcaster, silence(), new ReadableStream()]
}

/** Waits for ever. */
async function* silence(): AsyncGenerator<Eventable> {
  await new Promise(() => {})
}

/** Lets every draw be this one, from 0 to just below 1. */
function draw(t: TestContext, random: number): ReturnType<typeof t.mock.method<Math, 'random'>> {
  return t.mock.method(Math, 'random', () => random)
}

function webStream(events: readonly Eventable[]): ReadableStream<Eventable> {
  return new ReadableStream({
    start(controller) {
      for (const event of events) controller.enqueue(event)
      controller.close()
    },
  })
}

/** A stream that errors once its one event is read. */
function failingStream(event: Eventable, error: Error): ReadableStream<Eventable> {
  let isGiven = false
  return new ReadableStream(
    {
      pull(controller) {
        if (isGiven) controller.error(error)
        else controller.enqueue(event)
        isGiven = true
      },
    },
    { highWaterMark: 0 },
  )
}

async function until(isReached: () => boolean): Promise<void> {
  while (!isReached()) await settled()
}

/** Resolves when every promise that can be settled without the outside world is. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

test('a shared source that can be destroyed is not: only its iterator is closed', async () => {
  let closed = 0
  class Bus {
    destroy(): void {
      assert.fail('it is destroyed')
    }
    async *[Symbol.asyncIterator](): AsyncGenerator<string> {
      try {
        yield 'x'
        await new Promise(setImmediate)
        yield 'y'
      } finally {
        closed++
      }
    }
  }
  const app = testApp((conn) => conn.withSseStream(new Bus()))
  assert.equal((await app.get('/')).body, ':\ndata: x\n\ndata: y\n\n')
  assert.equal(closed, 1)
})

test('bytes are refused as a stream, as a string is', async () => {
  const app = testApp((conn) => conn.withSseStream(new Uint8Array(2) as never))
  assert.equal((await app.get('/')).status, 500)
  assert.match(String(app.errors[0]?.error), /^TypeError: Cannot stream an instance of Uint8Array/)
})
