import assert from 'node:assert/strict'
import { test } from 'node:test'

import { handlers } from '@wakerobin/core'
import type { Conn } from '@wakerobin/core'
import { testApp, type TestApp, type TestRequest, type TestResponse } from '@wakerobin/core/testing'

import { Broadcaster, sse, sseLimits } from './index.ts'
import type { SseLimits } from './index.ts'
import { ticker } from './ticker.ts'

// ------------------------------------------------------------------------------------ refusals

test('beyond the total an EventSource gets a stream that says when to come back, and ends', async (t) => {
  const { app, open } = limited({ total: 2 })
  await open()
  await open()
  for (const [random, retry] of [
    [0, 5000],
    [0.5, 10_000],
    [1 - 2 ** -53, 15_000],
  ] as const) {
    t.mock.method(Math, 'random', () => random)
    const { status, headers, body, isCut } = await app.get('/', eventSource)
    assert.equal(status, 200)
    assert.equal(headers.get('Content-Type'), 'text/event-stream')
    assert.equal(body, `:\nretry: ${retry}\n`)
    assert(!isCut)
  }
  await app.shutDown()
})

test('others get a 503 with Retry-After, in whole seconds, and nothing else', async (t) => {
  const { app, open } = limited({ total: 1 })
  await open()
  for (const [random, seconds] of [
    [0, '5'],
    [0.43, '10'],
    [1 - 2 ** -53, '15'],
  ] as const) {
    t.mock.method(Math, 'random', () => random)
    for (const response of [
      await app.get('/'),
      await app.get('/', { headers: { Accept: '*/*' } }),
      await app.get('/', { headers: { Accept: 'text/*' } }),
      // Not an EventSource, which sends nothing but GET.
      await app.post('/', eventSource),
      await app.post('/', { headers: { Accept: 'application/json, text/event-stream' } }),
    ]) {
      assert.equal(response.status, 503)
      assert.equal(response.headers.get('Retry-After'), seconds)
      assert.equal(response.body, '')
      assert(!response.headers.has('Content-Type'))
    }
  }
  await app.shutDown()
})

test('retryMs is the range of the time to come back', async (t) => {
  const { app } = limited({ total: 0, retryMs: [0, 1] })
  t.mock.method(Math, 'random', () => 0)
  assert.equal((await app.get('/', eventSource)).body, ':\nretry: 0\n')
  assert.equal((await app.get('/')).headers.get('Retry-After'), '0')
  t.mock.method(Math, 'random', () => 1 - 2 ** -53)
  assert.equal((await app.get('/', eventSource)).body, ':\nretry: 1\n')
  assert.equal((await app.get('/')).headers.get('Retry-After'), '1')
})

test('what makes no stream is neither counted nor refused: HEAD, other answers, clients that want something else', async () => {
  const app = testApp(
    handlers(
      sseLimits({ total: 0 }),
      sse((conn) => (conn.path === '/events' ? ['x'] : undefined)),
      (conn) => conn.ok('page'),
    ),
  )
  assert.equal((await app.head('/events', eventSource)).status, 200)
  assert.equal((await app.get('/page')).body, 'page')
  assert.equal((await app.post('/page', { headers: { Accept: '*/*' } })).body, 'page')
  const json = { headers: { Accept: 'application/json' } }
  assert.equal((await app.get('/events', json)).body, 'page')
  assert.equal((await app.get('/events')).status, 503)
})

test('a stream that a handler makes by itself is limited too, whatever its client accepts', async () => {
  let cancelled = 0
  const silent = (): ReadableStream<string> =>
    new ReadableStream({ cancel: () => void cancelled++ })
  const app = testApp(handlers(sseLimits({ total: 1 }), (conn) => conn.withSseStream(silent())))
  const json = { headers: { Accept: 'application/json' } }
  const first = app.post('/', json)
  while (app.openRequests[0]?.isStream !== true) await Promise.resolve()
  assert.equal((await app.post('/', json)).status, 503)
  assert.equal(cancelled, 1, 'the stream of the refused one is let go')
  await app.shutDown()
  assert.match((await first).body, /^:\nretry: /)
})

test('a stream that is open is never ended for another', async () => {
  const { app, open, broadcaster } = limited({ total: 2 })
  const [first] = [await open(), await open()]
  for (let request = 0; request < 10; request++) await app.get('/', eventSource)
  assert.equal(broadcaster.subscriberCount, 2)
  broadcaster.publish('still here')
  broadcaster.close()
  assert.equal((await first.response).body, ':\nretry: 3000\ndata: still here\n\n')
})

test('onStart is told of those that are let in, and of no other, whenever they are refused', async () => {
  const names: string[] = []
  let isOpen = Promise.resolve()
  const broadcaster = new Broadcaster()
  const app = testApp(
    handlers(
      sseLimits({ total: 1 }),
      sse(async () => (await isOpen, broadcaster), {
        onStart: (conn) => {
          const name = conn.query.get('name') ?? ''
          names.push(`${name} is here`)
          conn.afterSend(() => names.push(`${name} is gone`))
        },
      }),
    ),
  )
  let letIn = (): void => {}
  isOpen = new Promise((resolve) => (letIn = resolve))
  // Both are asked for their stream, and the second finds the place taken.
  const [first, second] = [app.get('/?name=Fern', eventSource), app.get('/?name=Moss', eventSource)]
  await Promise.resolve()
  letIn()
  assert.match((await second).body, /^:\nretry: /)
  assert.equal((await app.get('/?name=Clover', eventSource)).status, 200)
  assert.equal((await app.post('/?name=Ivy', eventSource)).status, 503)
  assert.equal((await app.head('/?name=Sage', eventSource)).status, 200)
  assert.deepEqual(names, ['Fern is here'])
  broadcaster.close()
  await first
  assert.deepEqual(names, ['Fern is here', 'Fern is gone'])
})

// ------------------------------------------------------------------------------------ per key

test('each key has a limit of its own, and the total counts all', async () => {
  const per = { key: (conn: Conn) => conn.query.get('user') ?? undefined, max: 2 }
  const { app, open } = limited({ total: 5, per })
  await open('/?user=alice')
  const leaver = await open('/?user=alice')
  assert.equal(await statusOf(app, '/?user=alice'), 503)
  await open('/?user=bob')
  leaver.leave()
  await app.get('/', { headers: { Accept: 'application/json' } })
  await open('/?user=alice')
  assert.equal(await statusOf(app, '/?user=alice'), 503)
  await open('/?user=bob')
  await open('/?user=carol')
  assert.equal(await statusOf(app, '/?user=dave'), 503) // the total
  await app.shutDown()
})

test('a request without a key counts for the total alone', async () => {
  const { app, open } = limited({ total: 4, per: { key: () => undefined, max: 1 } })
  for (let request = 0; request < 4; request++) await open()
  assert.equal(await statusOf(app, '/'), 503)
  await app.shutDown()
})

test('with limits that are Infinity nobody is refused', async () => {
  for (const limits of [{ total: Infinity }, { per: { key: () => 'all', max: Infinity } }]) {
    const { app, open } = limited(limits)
    for (let request = 0; request < 20; request++) await open()
    await app.shutDown()
  }
})

test('a key that throws is a 500, and takes no place', async () => {
  const { app } = limited({
    total: 1,
    per: {
      key: (conn) => {
        if (conn.path === '/bad') throw new Error('no session')
        return 'x'
      },
      max: 1,
    },
  })
  for (let request = 0; request < 3; request++)
    assert.equal((await app.get('/bad', eventSource)).status, 500)
  assert.equal((await app.get('/once', eventSource)).body, ':\nretry: 3000\ndata: once\n\n')
})

// ------------------------------------------------------------------------------- what is released

test('a place is free again however a request ends', async () => {
  const ways: Record<string, (app: TestApp) => Promise<unknown>> = {
    'the stream is done': (app) => app.get('/once', eventSource),
    'the source fails': (app) => app.get('/failing', eventSource),
    'the source fails before the first byte': (app) => app.get('/bad-source', eventSource),
    'connect throws': (app) => app.get('/throws', eventSource),
    'connect passes on': (app) => app.get('/passes', eventSource),
    'connect answers otherwise': (app) => app.get('/forbidden', eventSource),
    'it is HEAD': (app) => app.head('/', eventSource),
    'the stream is too old': async (app) => {
      const old = app.get('/aging', eventSource)
      await turn()
      ticker.advance(10_000)
      await old
    },
    'the client leaves': async (app) => {
      const client = new AbortController()
      const response = app.get('/', { ...eventSource, signal: client.signal })
      await turn()
      client.abort()
      await response
    },
    'the client leaves while connect waits': async (app) => {
      const client = new AbortController()
      const response = app.get('/slow', { ...eventSource, signal: client.signal })
      await turn()
      client.abort()
      await assert.rejects(response)
      await app.idle()
    },
    'the client was gone before': async (app) => {
      const signal = AbortSignal.abort()
      await assert.rejects(app.get('/', { ...eventSource, signal }))
    },
  }
  for (const [way, run] of Object.entries(ways)) {
    const { app, open } = limited({ total: 1, per: { key: () => 'all', max: 1 } })
    for (let time = 0; time < 3; time++) await run(app)
    const opened = await open() // fails where it is refused
    assert.equal(await statusOf(app, '/'), 503, way)
    opened.leave()
    await opened.response
  }
  assert.equal(ticker.size, 0)
})

test('a refusal takes no place', async () => {
  const { app, open } = limited({ total: 1 })
  const holder = await open()
  for (let request = 0; request < 5; request++) {
    await app.get('/', eventSource)
    await app.get('/')
  }
  holder.leave()
  await holder.response
  await open()
  await app.shutDown()
})

// -------------------------------------------------------------------------------- bad limits

test('limits that are none are refused, with the value and what would be right', () => {
  const key = (): string => 'x'
  const whole = 'it must be a whole number from 0'
  const range = 'it must be [min, max], two whole numbers of milliseconds from 0, the lesser first'
  const none = 'Cannot limit streams without a limit: expected total or per, as { total: 10_000 }'
  const cases: [unknown, string][] = [
    [{ total: -1 }, `RangeError: Cannot limit streams with total -1: ${whole}`],
    [{ total: 1.5 }, `RangeError: Cannot limit streams with total 1.5: ${whole}`],
    [{ total: NaN }, `RangeError: Cannot limit streams with total NaN: ${whole}`],
    [{ total: '10' }, `RangeError: Cannot limit streams with total "10": ${whole}`],
    [{ total: null }, `RangeError: Cannot limit streams with total null: ${whole}`],
    [{ per: { key, max: -1 } }, `RangeError: Cannot limit streams with per.max -1: ${whole}`],
    [{ per: { key } }, `RangeError: Cannot limit streams with per.max undefined: ${whole}`],
    [
      { per: { key: 'ip', max: 1 } },
      'TypeError: Cannot limit streams with per.key "ip": expected a function',
    ],
    [
      { per: null },
      'TypeError: Cannot limit streams with per null: expected an object such as { key: (conn) => conn.peerIp, max: 6 }',
    ],
    [
      { per: 6 },
      'TypeError: Cannot limit streams with per 6: expected an object such as { key: (conn) => conn.peerIp, max: 6 }',
    ],
    [{ retryMs: [5, 1] }, `RangeError: Cannot limit streams with retryMs an array of 2: ${range}`],
    [{ retryMs: [-1, 1] }, `RangeError: Cannot limit streams with retryMs an array of 2: ${range}`],
    [
      { retryMs: [0, 1.5] },
      `RangeError: Cannot limit streams with retryMs an array of 2: ${range}`,
    ],
    [{ retryMs: 5 }, `RangeError: Cannot limit streams with retryMs 5: ${range}`],
    [{}, `TypeError: ${none}`],
    [{ total: undefined, retryMs: [1, 2] }, `TypeError: ${none}`],
    [
      undefined,
      'TypeError: Cannot limit streams with undefined: expected an object such as { total: 10_000 }',
    ],
    [
      { totl: 5 },
      'TypeError: Cannot limit streams with totl: there is no such option; there are total, per and retryMs',
    ],
    [
      { per: { key, max: 1, kye: key } },
      'TypeError: Cannot limit streams with per.kye: there is no such option; there are key and max',
    ],
  ]
  for (const [limits, message] of cases) {
    assert.throws(
      () => sseLimits(limits as SseLimits),
      (error) => (assert.equal(String(error), message), true),
    )
  }
})

// --------------------------------------------------------------------------------------- tools

const eventSource: TestRequest = { headers: { Accept: 'text/event-stream' } }

interface Opened {
  readonly response: Promise<TestResponse>
  leave(): void
}

function limited(limits: SseLimits): {
  app: TestApp
  broadcaster: Broadcaster
  open: (target?: string) => Promise<Opened>
} {
  const broadcaster = new Broadcaster({ replay: false })
  const app = testApp([
    sseLimits(limits),
    sse(
      (conn) => {
        switch (conn.path) {
          case '/once':
            return ['once']
          case '/failing':
            return (function* () {
              yield 'one'
              throw new Error('boom')
            })()
          case '/bad-source':
            return () => 'no stream' as never
          case '/throws':
            throw new Error('boom')
          case '/passes':
            return null
          case '/forbidden':
            return conn.withStatus(403).halt()
          case '/slow':
            return turn().then(() => broadcaster)
          default:
            return broadcaster
        }
      },
      { maxAgeMs: 10_000, heartbeatMs: 0, writeTimeoutMs: Infinity },
    ),
    (conn) => conn.json('snapshot'),
  ])
  return {
    app,
    broadcaster,
    async open(target = '/') {
      const count = broadcaster.subscriberCount
      const client = new AbortController()
      const response = app.get(target, { ...eventSource, signal: client.signal })
      for (let turns = 0; broadcaster.subscriberCount === count; turns++) {
        assert(turns < 100, `${target} is refused`)
        await turn()
      }
      return { response, leave: () => client.abort() }
    },
  }
}

async function statusOf(app: TestApp, target: string): Promise<number> {
  return (await app.get(target)).status
}

/** Resolves when every promise that can be settled without the outside world is. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
