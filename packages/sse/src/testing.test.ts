import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { BodySource, Handler } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'
import type { TestApp } from '@wakerobin/core/testing'

import { Broadcaster, sse } from './index.ts'
import type { SseOptions, SseSource, StreamEnd } from './index.ts'
import { advance, testStream } from './testing.ts'
import { ticker } from './ticker.ts'

test('next() is the next event, whether it has come or will come', async () => {
  const { broadcaster, app } = broadcasting()
  const stream = await testStream(app, '/')
  assert.equal(stream.response.status, 200)
  assert.equal(stream.response.headers.get('content-type'), 'text/event-stream')
  const id = await broadcaster.publish('one')
  broadcaster.publish('two')
  assert.deepEqual(await stream.next(), { type: 'message', data: 'one', id })
  assert.equal((await stream.next()).data, 'two')
  const later = [stream.next(), stream.next()]
  broadcaster.publish({ type: 'created', data: '{"id":3}', id: '3' })
  const last = await broadcaster.publish('four')
  const [three, four] = await Promise.all(later)
  assert.deepEqual(three?.json(), { id: 3 })
  assert.equal(four?.data, 'four')
  assert.deepEqual([three?.id, four?.id, stream.lastEventId], ['3', last, last])
  assert.deepEqual(
    stream.events.map(({ data }) => data),
    ['one', 'two', '{"id":3}', 'four'],
  )
  stream.leave()
})

test('next(type) goes past the events of other types, which are kept', async () => {
  const { broadcaster, app } = broadcasting()
  const stream = await testStream(app, '/')
  const created = stream.next('created')
  const any = stream.next()
  broadcaster.publish('x')
  broadcaster.publish('created', 'a')
  broadcaster.publish('created', 'b')
  assert.equal((await created).data, 'a')
  assert.equal((await any).data, 'b')
  assert.equal(stream.events.length, 3)
  stream.leave()
})

test('what comes with the head has been read when the stream is there', async () => {
  const stream = await testStream(streaming(['one'], { retryMs: 3000 }), '/')
  assert.deepEqual(stream.comments, [''])
  assert.equal(stream.retryMs, 3000)
  assert.equal(stream.events.length, 1)
})

test('a stream is found in a body that wraps it, as the one of a logger does', async () => {
  const wrap: Handler = {
    beforeSend(conn) {
      const inner = conn.takeResponseBody() as BodySource
      const body: BodySource = {
        isEndless: true,
        inner,
        start: (sink) => inner.start(sink),
        drained: () => inner.drained(),
        stop: () => inner.stop(),
        closed: (cause, error) => inner.closed(cause, error),
      }
      conn.withBody(body)
    },
  }
  const broadcaster = new Broadcaster()
  const app = testApp([wrap, (conn) => conn.withSseStream(broadcaster)])
  const stream = await testStream(app, '/')
  broadcaster.publish('one')
  assert.equal((await stream.next()).data, 'one')
  stream.leave()
  assert.equal((await stream.ended).reason, 'client')
})

test('a stream may be asked for with another method and a body', async () => {
  const app = testApp(async (conn) => conn.withSseStream([await conn.requestBody.text()]))
  const stream = await testStream(app, '/', { method: 'POST', json: { a: 1 } })
  assert.deepEqual((await stream.next()).json(), { a: 1 })
})

test('the client accepts event streams unless the headers say otherwise, and says what it has got', async () => {
  const app = testApp((conn) => {
    const { requestHeaders } = conn
    const said = ['accept', 'last-event-id'].map((name) => requestHeaders.get(name) ?? null)
    return conn.withSseStream([JSON.stringify(said)])
  })
  const plain = await testStream(app, '/')
  assert.deepEqual((await plain.next()).json(), ['text/event-stream', null])
  const other = await testStream(app, '/', { headers: { accept: '*/*' }, lastEventId: 'é 7' })
  assert.deepEqual((await other.next()).json(), ['*/*', 'é 7'])
  assert.equal(other.lastEventId, 'é 7')
})

test('an answer that is no event stream is refused, and says which it is', async () => {
  const app = testApp([
    sse((conn) =>
      conn.path === '/gone' ? conn.withStatus(404).withBody('no order').halt() : null,
    ),
    function answer(conn) {
      if (conn.path === '/fails') throw new Error('boom')
      if (conn.path === '/own') conn.withResponseHeader('Content-Type', 'text/event-stream')
      return conn.ok(endless())
    },
  ])
  const expected = {
    '/gone?a': 'status 200, but got 404 with the body "no order"',
    '/fails': 'status 200, but got 500: app[1] "answer" has failed: Error: boom',
    '/other': 'the header Content-Type "text/event-stream", but got none',
    '/own': 'a stream of @wakerobin/sse, but its body was made otherwise',
  }
  for (const [target, message] of Object.entries(expected))
    await assert.rejects(testStream(app, target), {
      message: `Expected GET ${target} to answer with ${message}`,
    })
  await app.idle() // also of those that had begun
})

test('ended tells how the stream went, as onEnd is told', async () => {
  const told: StreamEnd[] = []
  for (const options of [{}, { onEnd: (_: unknown, end: StreamEnd) => void told.push(end) }]) {
    const stream = await testStream(streaming(['one', 'two'], options), '/')
    const { ms, ...end } = await stream.ended
    assert.deepEqual(end, { reason: 'done', sent: 2, dropped: 0 })
    assert.ok(ms >= 0)
  }
  assert.deepEqual(
    told.map(({ reason, sent }) => [reason, sent]),
    [['done', 2]],
  )
})

test('a stream ends because of the client, the stop, or an error', async () => {
  const { broadcaster, app } = broadcasting()
  const left = await testStream(app, '/')
  left.leave()
  assert.equal((await left.ended).reason, 'client')
  assert.equal(broadcaster.subscriberCount, 0)

  const stopped = await testStream(app, '/')
  broadcaster.publish('last')
  await app.shutDown()
  assert.equal((await stopped.ended).reason, 'shutdown')
  assert.equal((await stopped.next()).data, 'last')
  assert.ok(stopped.retryMs! >= 1000 && stopped.retryMs! <= 5000)
  assert.equal((await stopped.response.ended).isCut, false)

  const boom = new Error('boom')
  const failed = await testStream(
    streaming(async function* () {
      yield 'one'
      throw boom
    }),
    '/',
  )
  const { reason, error } = await failed.ended
  assert.deepEqual([reason, error], ['error', boom])
})

test('next() rejects when the stream ends first, and says what has come', async () => {
  const stream = await testStream(streaming(['one', { type: 'joined', data: 'Fern' }]), '/a?b')
  await assert.rejects(stream.next('created'), {
    message:
      'Expected GET /a?b to send an event of type "created", but the stream ended (done) after message "one", joined "Fern"',
  })
  assert.equal((await stream.next('joined')).data, 'Fern', 'nothing was taken')
  await assert.rejects(stream.next(), /to send an event, but the stream ended \(done\) after /)

  const empty = await testStream(streaming([]), '/')
  await assert.rejects(empty.next(), /but the stream ended \(done\) after no event$/)

  const long = await testStream(streaming(Array.from({ length: 12 }, (_, at) => `${at}`)), '/')
  await long.ended
  await assert.rejects(long.next('x'), /after …, message "2", message "3", .*, message "11"$/)
})

test('next() rejects when nothing comes in time, and whoever asked later waits on', async () => {
  const { broadcaster, app } = broadcasting()
  const stream = await testStream(app, '/', { timeoutMs: 20 })
  await assert.rejects(stream.next('created'), (error: Error) => {
    assert.equal(
      error.message,
      'Expected GET / to send an event of type "created" within 20 ms, but the stream was silent after no event',
    )
    return error.stack!.includes('testing.test.ts') // where it was asked for
  })
  broadcaster.publish('one')
  assert.equal((await stream.next()).data, 'one')
  stream.leave()

  const patient = await testStream(app, '/', { timeoutMs: Infinity })
  const pending = patient.next()
  broadcaster.publish('two')
  assert.equal((await pending).data, 'two')
  patient.leave()
})

test('next() waits by real time, also while the test has mocked its timers', async (t) => {
  const stream = await testStream(broadcasting().app, '/', { timeoutMs: 10 })
  t.mock.timers.enable({ apis: ['setTimeout'] })
  await assert.rejects(stream.next(), /within 10 ms/)
  stream.leave()
})

// ------------------------------------------------------------------------------------ the clock

test('advance() sends the heartbeats that are due, each in its time', async () => {
  const { broadcaster, app } = broadcasting()
  const stream = await testStream(app, '/')
  await advance(14_000)
  assert.deepEqual(stream.comments, [''])
  await advance(1000)
  assert.deepEqual(stream.comments, ['', ''])
  await advance(45_000)
  assert.equal(stream.comments.length, 5)
  broadcaster.publish('one')
  await advance(14_000)
  assert.equal(stream.comments.length, 5)
  assert.equal(stream.events.length, 1)
  stream.leave()
  await stream.ended
  assert.equal(ticker.size, 0)
  await advance(1000) // nobody is there
})

test('advance() refuses what is no time that can pass', async () => {
  const wrong: [unknown, string, string][] = [
    [Infinity, 'RangeError', 'Infinity'],
    [NaN, 'RangeError', 'NaN'],
    [-1, 'RangeError', '-1'],
    ['1000', 'TypeError', '"1000"'],
    [undefined, 'TypeError', 'undefined'],
  ]
  for (const [ms, name, described] of wrong)
    await assert.rejects(advance(ms as number), {
      name,
      message: `Cannot advance by ${described}: it must be a finite number of milliseconds from 0`,
    })
})

test('advance() ends streams that are too old, or revoked', async () => {
  const old = await testStream(streaming(new Broadcaster(), { maxAgeMs: 60_000 }), '/')
  const until = new Date(Date.now() + 60_000)
  const revoked = await testStream(streaming(new Broadcaster(), { until }), '/')
  await advance(59_000)
  assert.equal(ticker.size, 2)
  await advance(1000)
  assert.equal((await old.ended).reason, 'max-age')
  assert.ok(old.retryMs! <= 1000)
  assert.equal((await revoked.ended).reason, 'revoked')
})

test('a client that stalls gets what was kept for it when it reads on', async () => {
  const { broadcaster, app } = broadcasting()
  const stream = await testStream(app, '/')
  stream.stall()
  for (const data of ['one', 'two', 'three']) {
    broadcaster.publish(data)
    await advance(1000)
  }
  assert.deepEqual(stream.events, [])
  stream.resume()
  assert.equal((await stream.next()).data, 'one')
  assert.equal((await stream.next()).data, 'two')
  assert.equal((await stream.next()).data, 'three')
  stream.leave()
  assert.equal((await stream.ended).sent, 3)
})

test('a client that stalls for too long is cut', async () => {
  const { broadcaster, app } = broadcasting()
  const stream = await testStream(app, '/')
  stream.stall()
  broadcaster.publish('one')
  broadcaster.publish('two')
  await advance(1000)
  broadcaster.publish('three')
  await advance(58_000)
  assert.equal(broadcaster.subscriberCount, 1)
  await advance(3000)
  const { reason, sent, dropped } = await stream.ended
  assert.deepEqual([reason, sent, dropped], ['slow', 2, 1])
  assert.equal((await stream.response.ended).isCut, true)
  assert.deepEqual(stream.events, [])
})

test('a stop ends the stream of a client that stalls, which can still read to the end', async () => {
  const { broadcaster, app: broadcasts } = broadcasting()
  const pulls = streaming(async function* () {
    yield 'one'
    await new Promise(() => {})
  })
  for (const app of [broadcasts, pulls]) {
    const stream = await testStream(app, '/')
    if (app === broadcasts) broadcaster.publish('one')
    await stream.next()
    stream.stall()
    if (app === broadcasts) broadcaster.publish('two')
    await app.shutDown()
    const { reason, sent } = await stream.ended
    assert.deepEqual([reason, sent], ['shutdown', app === broadcasts ? 2 : 1])
    assert.equal(app.openRequests.length, 1)
    stream.resume()
    if (app === broadcasts) assert.equal((await stream.next()).data, 'two')
    await assert.rejects(stream.next(), /but the stream ended \(shutdown\)/)
    assert.ok(stream.retryMs! >= 1000)
    assert.equal((await stream.response.ended).isCut, false)
  }
})

test('a stop waits for a client that stalls as long as its broadcast does', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for (const isReading of [true, false]) {
    const { broadcaster, app } = broadcasting()
    const stream = await testStream(app, '/', { timeoutMs: Infinity })
    stream.stall()
    broadcaster.publish('one')
    await advance(0) // a turn of its own
    broadcaster.publish('two')
    await app.shutDown()
    if (isReading) stream.resume()
    t.mock.timers.tick(1000)
    const { reason, sent, dropped } = await stream.ended
    assert.deepEqual([reason, sent, dropped], ['shutdown', ...(isReading ? [2, 0] : [1, 1])])
    assert.equal((await stream.response.ended).isCut, !isReading)
  }
})

test('a stream that ends by itself while its client stalls has ended', async () => {
  const told: string[] = []
  const options: SseOptions = { maxAgeMs: 60_000, onEnd: (_, { reason }) => void told.push(reason) }
  const stream = await testStream(streaming(new Broadcaster(), options), '/')
  stream.stall()
  await advance(60_000)
  assert.equal((await stream.ended).reason, 'max-age')
  assert.deepEqual(told, [])
  stream.leave()
  await stream.response.ended
  assert.deepEqual(told, ['max-age'])
})

test('the headers of the request are there when the stream is over', async () => {
  const seen: (string | undefined)[] = []
  const app = streaming(new Broadcaster(), {
    onEnd: ({ requestHeaders }) => void seen.push(requestHeaders.get('last-event-id')),
  })
  const stream = await testStream(app, '/', { lastEventId: 'é 7' })
  stream.leave()
  await stream.ended
  assert.deepEqual(seen, ['é 7'])
})

function streaming(source: SseSource, options?: SseOptions): TestApp {
  return testApp((conn) => conn.withSseStream(source, options))
}

function broadcasting(options?: SseOptions): { broadcaster: Broadcaster; app: TestApp } {
  const broadcaster = new Broadcaster()
  return { broadcaster, app: streaming(broadcaster, options) }
}

async function* endless(): AsyncGenerator<string> {
  yield 'more'
  await new Promise(() => {})
}
