import assert from 'node:assert/strict'
import { EventEmitter, getEventListeners, on } from 'node:events'
import { Readable } from 'node:stream'
import { test } from 'node:test'

import { handlers, State } from '@wakerobin/core'
import type { Conn } from '@wakerobin/core'
import { testApp, type TestApp } from '@wakerobin/core/testing'

import { Broadcaster, sse, SseEvent } from './index.ts'
import type { Eventable, SseAnswer, SseConnect, SseOptions, SseSource } from './index.ts'
import { ticker } from './ticker.ts'

// ---------------------------------------------------------------------------------- the handler

test('sse answers with an event stream, and halts', async () => {
  const app = testApp([sse(() => ['x']), () => assert.fail('a later handler runs')])
  const { status, headers, body } = await app.get('/')
  assert.equal(status, 200)
  assert.equal(headers.get('Content-Type'), 'text/event-stream')
  assert.equal(body, ':\ndata: x\n\n')
})

test('one path serves the stream to those who accept it and a snapshot to others', async () => {
  const app = testApp([sse(() => ['x']), (conn) => conn.json({ latest: 42 })])
  for (const accept of ['text/event-stream', '*/*', 'application/json, text/event-stream'])
    assert.equal((await app.get('/', { headers: { Accept: accept } })).body, ':\ndata: x\n\n')
  for (const accept of ['application/json', 'application/json, text/plain, */*', 'text/html'])
    assert.equal((await app.get('/', { headers: { Accept: accept } })).body, '{"latest":42}')
})

test('where an event stream is not accepted, connect is not called', async () => {
  const app = testApp(sse(() => assert.fail('it is called')))
  assert.equal((await app.get('/', { headers: { Accept: 'text/html' } })).status, 404)
  assert.deepEqual(app.errors, [])
})

test('sse streams over POST too, and connect may read the body before', async () => {
  const app = testApp(sse(async (conn) => (await conn.requestBody.text()).split(' ')))
  const response = await app.post('/', {
    headers: { Accept: 'text/event-stream' },
    body: 'one two',
  })
  assert.equal(response.body, ':\ndata: one\n\ndata: two\n\n')
})

test('sse is named for its connect, as errors have it', async () => {
  async function orders(): Promise<never> {
    throw new Error('boom')
  }
  assert.equal(sse(orders).name, 'sse(orders)')
  assert.equal(sse(() => []).name, 'sse')
  const app = testApp(sse(orders))
  await app.get('/')
  assert.match(app.errors[0]!.place, /sse\(orders\)/)
})

test('what is no function, and options that cannot be used, are refused when the app is made', () => {
  for (const [connect, described] of [
    [undefined, 'undefined'],
    [['x'], 'an array of 1'],
    [new Broadcaster(), 'an instance of Broadcaster'],
  ] as const) {
    assert.throws(() => sse(connect as never), {
      name: 'TypeError',
      message: `Cannot connect with ${described}: expected a function of the conn`,
    })
  }
  assert.throws(() => sse(() => [], { retryMs: -1 }), /^RangeError: Cannot stream with retryMs -1/)
  assert.throws(
    () => sse(() => [], { retry: 5 } as never),
    /^TypeError: Cannot stream with retry: there is no such option; there are heartbeatMs, .* and mapError$/,
  )
  assert.throws(() => sse(() => [], null as never), /^TypeError: Cannot stream with null/)
})

test('the options of sse are those of the stream', async () => {
  const app = testApp(sse(() => ['x'], { retryMs: 250 }))
  assert.equal((await app.get('/')).body, ':\nretry: 250\ndata: x\n\n')
})

test('connect has what the handlers before it have put into the state', async () => {
  class Name {
    readonly text = 'Fern'
  }
  const app = handlers(
    State.new(new Name()),
    sse((conn) => [conn.state(Name).text]),
  )
  assert.equal((await testApp(app).get('/')).body, ':\ndata: Fern\n\n')
})

// ----------------------------------------------------------------------------- what connect does

/** Each way in which connect may answer. */
const forms: Record<string, (answer: () => SseAnswer) => SseConnect<never>> = {
  'at once': (answer) => () => answer(),
  later: (answer) => async () => {
    await turn()
    return answer()
  },
  'by a thenable': (answer) => () => ({
    // oxlint-disable-next-line unicorn/no-thenable -- that is what is tested
    then(resolve?: ((value: SseAnswer) => any) | null, reject?: ((error: unknown) => any) | null) {
      setImmediate(() => {
        try {
          resolve!(answer())
        } catch (error) {
          reject!(error)
        }
      })
      return undefined as never
    },
  }),
}

for (const [when, form] of Object.entries(forms)) {
  test(`connect may answer ${when}: with a stream`, async () => {
    const { app, signals } = watch(form(() => ['x']))
    assert.equal((await app.get('/')).body, ':\ndata: x\n\n')
    assert.deepEqual(signals, ['aborted'])
  })

  for (const nothing of [null, undefined]) {
    test(`connect may answer ${when}: with ${nothing}, and the conn is passed on`, async () => {
      const { app, signals } = watch(
        form(() => nothing),
        (conn) => conn.ok('next'),
      )
      const { body, headers } = await app.get('/')
      assert.equal(body, 'next')
      assert(!headers.has('Content-Type'))
      assert.deepEqual(signals, ['aborted'])
    })
  }

  test(`connect may answer ${when}: with an error, which is a 500 and reported`, async () => {
    const boom = new Error('SECRET')
    const { app, signals } = watch(
      form(() => {
        throw boom
      }),
    )
    const { status, body, headers } = await app.get('/')
    assert.equal(status, 500)
    assert.equal(body, '')
    assert(!headers.has('Content-Type'))
    assert.deepEqual(
      app.errors.map(({ error }) => error),
      [boom],
    )
    assert.deepEqual(signals, ['aborted'])
  })

  test(`connect may answer ${when}: with what is no stream, which is a 500 and says so`, async () => {
    for (const given of ['text', 5, true, {}, new Uint8Array(1), SseEvent.new('x')]) {
      const { app, signals } = watch(form(() => given as never))
      assert.equal((await app.get('/')).status, 500)
      assert.match(String(app.errors[0]?.error), /^TypeError: Cannot stream /)
      assert.deepEqual(signals, ['aborted'])
    }
  })
}

test('connect may answer otherwise, and its signal aborts when that answer is over', async () => {
  const answers: [(conn: Conn) => Conn, number, string][] = [
    [(conn) => conn.withStatus(403).withBody('no').halt(), 403, 'no'],
    [(conn) => conn.json({ a: 1 }), 200, '{"a":1}'],
    [(conn) => conn.sseDone(), 204, ''],
  ]
  for (const isAsync of [false, true]) {
    for (const [answer, status, body] of answers) {
      const log: string[] = []
      const app = testApp([
        {
          beforeSend: () => void log.push('beforeSend'),
        },
        sse((conn, { signal }) => {
          signal.addEventListener('abort', () => log.push('aborted'))
          const answered = answer(conn)
          return isAsync ? Promise.resolve(answered) : answered
        }),
        () => assert.fail('a later handler runs'),
      ])
      const response = await app.get('/')
      assert.equal(response.status, status)
      assert.equal(response.body, body)
      assert.deepEqual(log, ['beforeSend', 'aborted'])
    }
  }
})

test('connect may answer with a stream of options of its own, which has the signal', async () => {
  const log: string[] = []
  const app = testApp(
    sse((conn, { signal }) =>
      conn.withSseStream(
        (async function* () {
          await turn()
          yield String(signal.aborted)
        })(),
        { retryMs: 7, onEnd: (_conn, { reason }) => void log.push(`${reason} ${signal.aborted}`) },
      ),
    ),
  )
  assert.equal((await app.get('/')).body, ':\nretry: 7\ndata: false\n\n')
  assert.deepEqual(log, ['done false'])
})

test('a conn that connect returns as it was is passed on', async () => {
  const { app, signals } = watch(
    (conn) => conn,
    (conn) => conn.ok('next'),
  )
  assert.equal((await app.get('/')).body, 'next')
  assert.deepEqual(signals, ['aborted'])
})

test('what connect sets on the conn is in the head, and nothing is sent before it has resolved', async () => {
  const gate = deferred()
  let isOpen = false
  const app = testApp(
    sse(async (conn) => {
      await gate.promise
      conn.withResponseHeader('X-Cursor', '17').withResponseHeader('Cache-Control', 'public')
      return () => {
        isOpen = true
        return ['x']
      }
    }),
  )
  const pending = app.get('/')
  await turn()
  assert(!isOpen)
  assert.equal(app.openRequests[0]!.isStream, false)
  gate.resolve()
  const { headers, body } = await pending
  assert.equal(headers.get('X-Cursor'), '17')
  assert.equal(headers.get('Cache-Control'), 'no-cache, no-transform')
  assert.equal(body, ':\ndata: x\n\n')
})

test('connect is told the id of the last event, where the client says one', async () => {
  const app = testApp(sse((_conn, { lastEventId }) => [String(lastEventId)]))
  assert.equal((await app.get('/')).body, ':\ndata: undefined\n\n')
  const again = await app.get('/', { headers: { 'Last-Event-ID': '7' } })
  assert.equal(again.body, ':\ndata: 7\n\n')
})

test('HEAD calls connect, has the headers of the stream, and never opens it', async () => {
  let isCancelled = false
  const ends: unknown[] = []
  const sources: (() => SseSource)[] = [
    () => () => assert.fail('it is opened'),
    () => new Broadcaster(),
    () => new ReadableStream<Eventable>({ cancel: () => void (isCancelled = true) }),
  ]
  for (const source of sources) {
    const { app, signals } = watch(() => source(), undefined, {
      onEnd: (_conn, end) => ends.push(end),
    })
    const { status, headers, body } = await app.head('/')
    assert.equal(status, 200)
    assert.equal(headers.get('Content-Type'), 'text/event-stream')
    assert.equal(body, '')
    assert.deepEqual(signals, ['aborted'])
    assert.deepEqual(ends.splice(0), [{ reason: 'done', sent: 0, dropped: 0, ms: 0 }])
  }
  assert(isCancelled)
  assert.equal(ticker.size, 0)
})

// ---------------------------------------------------------------------------------- the signal

test('the signal aborts once for each way in which a stream ends', async (t) => {
  const clock = { now: 0 }
  t.mock.method(Date, 'now', () => clock.now)
  const ways: Record<string, (app: TestApp, leave: () => void) => unknown> = {
    client: (_app, leave) => leave(),
    shutdown: (app) => app.shutDown(),
    'max-age': () => ticker.advance(50_000),
    revoked: () => {
      clock.now = 99_000
      ticker.advance(1000)
    },
    error: () => fail(new Error('boom')),
    done: () => finish(),
  }
  let fail: (error: Error) => void = () => {}
  let finish = (): void => {}
  for (const [reason, endIt] of Object.entries(ways)) {
    clock.now = 0
    const ends: string[] = []
    const { app, signals } = watch(
      () =>
        new ReadableStream<Eventable>({
          start(controller) {
            fail = (error) => controller.error(error)
            finish = () => controller.close()
          },
        }),
      undefined,
      {
        maxAgeMs: 50_000,
        until: new Date(99_000),
        onEnd: (_conn, end) => ends.push(end.reason),
      },
    )
    const client = new AbortController()
    const response = app.get('/', { signal: client.signal })
    await turn()
    assert.deepEqual(signals, [])
    await endIt(app, () => client.abort())
    await response
    assert.deepEqual(signals, ['aborted'], reason)
    assert.deepEqual(ends, [reason])
    assert.equal(ticker.size, 0)
  }
})

test('the signal aborts when the client leaves while connect waits, and the stream is never opened', async () => {
  const gate = deferred()
  let isCancelled = false
  const ends: string[] = []
  const { app, signals } = watch(
    async () => {
      await gate.promise
      return new ReadableStream<Eventable>({ cancel: () => void (isCancelled = true) })
    },
    undefined,
    { onEnd: (_conn, { reason }) => ends.push(reason) },
  )
  const client = new AbortController()
  const response = app.get('/', { signal: client.signal })
  await turn()
  client.abort()
  await assert.rejects(response)
  assert.deepEqual(signals, ['aborted'])
  gate.resolve()
  await app.idle()
  assert(isCancelled)
  assert.deepEqual(signals, ['aborted'])
  assert.deepEqual(ends, ['client'])
  assert.deepEqual(app.errors, [])
})

test('a signal that is asked for when all is over, or when the client has left, is aborted', async () => {
  let asked: (() => AbortSignal) | undefined
  const gate = deferred()
  const app = testApp(
    sse(async (_conn, context) => {
      asked = () => context.signal
      await gate.promise
      return ['x']
    }),
  )
  const client = new AbortController()
  const left = app.get('/', { signal: client.signal })
  await turn()
  client.abort()
  await assert.rejects(left)
  assert.equal(asked!().aborted, true)
  gate.resolve()
  await app.get('/')
  assert.equal(asked!().aborted, true)
})

test('the signal is one, and leaves no listener on that of the conn', async () => {
  const listeners: number[] = []
  let signal: AbortSignal | undefined
  const app = testApp(
    sse((conn, context) => {
      signal = context.signal
      assert.equal(context.signal, signal)
      listeners.push(getEventListeners(conn.signal, 'abort').length)
      conn.afterSend(() => listeners.push(getEventListeners(conn.signal, 'abort').length))
      return ['x']
    }),
  )
  await app.get('/')
  assert.equal(signal!.aborted, true)
  assert.deepEqual(listeners, [1, 0])
})

// ----------------------------------------------------------------------------- kinds of source

test('every kind of source is streamed', async () => {
  const subscribed = new Broadcaster({ replay: false })
  const subscription = subscribed.subscribe()
  for (const text of ['a', 'b']) subscribed.publish(text)
  subscribed.close()
  const items = async function* (): AsyncGenerator<string> {
    yield 'a'
    await turn()
    yield 'b'
  }
  const kinds: Record<string, SseConnect<never>> = {
    array: () => ['a', 'b'],
    map: () => new Map([['k', 'a']]).values(),
    generator: function* () {
      yield 'a'
      yield 'b'
    },
    'async generator': items,
    'function of a signal': () => (signal) => {
      assert(signal instanceof AbortSignal)
      return items()
    },
    'promise of an async generator': async () => items(),
    ReadableStream: () => Readable.toWeb(Readable.from(items())) as ReadableStream<string>,
    'Node Readable': () => Readable.from(items()),
    subscription: () => subscription,
  }
  for (const [kind, connect] of Object.entries(kinds)) {
    const response = await testApp(sse(connect)).get('/')
    const expected = kind === 'map' ? ':\ndata: a\n\n' : ':\ndata: a\n\ndata: b\n\n'
    assert.equal(response.body, expected, kind)
  }
})

test('an EventEmitter is a source by events.on, and is let go of when the client leaves', async () => {
  const emitter = new EventEmitter()
  const app = testApp(
    sse(async function* (_conn, { signal }) {
      for await (const [news] of on(emitter, 'news', { signal })) yield news as string
    }),
  )
  const { response, leave } = open(app)
  await until(() => emitter.listenerCount('news') === 1)
  emitter.emit('news', 'one')
  emitter.emit('news', 'two')
  await turn()
  leave()
  assert.equal((await response).body, ':\ndata: one\n\ndata: two\n\n')
  await until(() => emitter.listenerCount('news') === 0)
  assert.deepEqual(emitter.eventNames(), [])
  assert.deepEqual(app.errors, [])
})

test('an EventTarget is a source by a ReadableStream, and is let go of when the stop begins', async (t) => {
  t.mock.method(Math, 'random', () => 0)
  const target = new EventTarget()
  const app = testApp(
    sse(
      (_conn, { signal }) =>
        new ReadableStream<string>({
          start(stream) {
            target.addEventListener('news', (event) => stream.enqueue((event as News).text), {
              signal,
            })
          },
        }),
    ),
  )
  const { response } = open(app)
  await until(() => getEventListeners(target, 'news').length === 1)
  target.dispatchEvent(new News('one'))
  await turn()
  await app.shutDown()
  assert.equal((await response).body, ':\ndata: one\n\nretry: 1000\n')
  assert.equal(getEventListeners(target, 'news').length, 0)
})

test('a Broadcaster is a source for many', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp(sse(() => broadcaster))
  const clients = [open(app), open(app), open(app)]
  await until(() => broadcaster.subscriberCount === 3)
  broadcaster.publish('one')
  await turn()
  clients[0]!.leave()
  assert.equal(broadcaster.subscriberCount, 2)
  broadcaster.publish('two')
  broadcaster.close()
  const bodies = await Promise.all(clients.map(async ({ response }) => (await response).body))
  const both = ':\ndata: one\n\ndata: two\n\n'
  assert.deepEqual(bodies, [':\ndata: one\n\n', both, both])
})

// --------------------------------------------------------------------------------------- tools

class News extends Event {
  readonly text: string

  constructor(text: string) {
    super('news')
    this.text = text
  }
}

/** An app of `sse(connect)` that notes how often its signal aborts. */
function watch(
  connect: SseConnect<never>,
  next: (conn: Conn) => Conn = (conn) => conn,
  options?: SseOptions,
): { app: TestApp; signals: string[] } {
  const signals: string[] = []
  const watched: SseConnect<never> = (conn, context) => {
    context.signal.addEventListener('abort', () => signals.push('aborted'))
    return connect(conn, context)
  }
  return { app: testApp([sse(watched, options), next]), signals }
}

function open(app: TestApp): { response: ReturnType<TestApp['get']>; leave: () => void } {
  const client = new AbortController()
  const response = app.get('/', { signal: client.signal })
  return { response, leave: () => client.abort() }
}

async function until(isReached: () => boolean): Promise<void> {
  while (!isReached()) await turn()
}

/** Resolves when every promise that can be settled without the outside world is. */
function turn(): Promise<void> {
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

test('a connect that answers with a stream and returns nothing keeps its signal until that is over', async () => {
  let given: AbortSignal | undefined
  const broadcaster = new Broadcaster()
  const app = testApp(
    sse((conn, { signal }) => {
      given = signal
      conn.withSseStream(broadcaster)
    }),
  )
  const response = app.get('/')
  while (broadcaster.subscriberCount === 0) await Promise.resolve()
  assert.equal(given?.aborted, false)
  broadcaster.close()
  assert.equal((await response).status, 200)
  await app.idle()
  assert.equal(given.aborted, true)
})

test('promises where none belong are refused, and leave no unhandled rejection', async () => {
  const late = (): Promise<never> => Promise.reject(new Error('late'))
  const wrong = [() => late() as never, [late() as never]]
  for (const source of wrong) {
    const app = testApp(sse(() => source))
    await app.get('/')
    assert.match(
      String(app.errors[0]?.error),
      /^TypeError: Cannot (stream|send) an instance of Promise/,
    )
  }
  await new Promise((resolve) => setTimeout(resolve)) // a rejection would fail this file
})
