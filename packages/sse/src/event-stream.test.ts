import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import type { BodySource, Conn } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { FakeClient as Client, newConn, turn } from '../fixtures/fake-client.ts'
import { Broadcaster, SseEvent, withSseStream } from './index.ts'
import type { EndReason, Eventable, SseOptions, SseSource } from './index.ts'
import { ticker } from './ticker.ts'

// ------------------------------------------------------------------------------- the one truth

/** How each reason comes about, from the client's side or the server's. */
const ways: Record<EndReason, (client: Client, source: HandSource) => void | Promise<void>> = {
  client: (client) => client.leave(),
  done: (_client, source) => source.finish(),
  shutdown: (client) => client.source.stop(),
  slow: async (client, source) => {
    client.hasRoom = false
    await source.give('too much')
    ticker.advance(1000)
    ticker.advance(60_000)
  },
  'max-age': () => ticker.advance(100_000),
  revoked: () => {
    expire()
    ticker.advance(1000)
  },
  error: (_client, source) => source.fail(new Error('boom')),
}

let expire = (): void => {}

for (const [reason, endIt] of Object.entries(ways) as [EndReason, (typeof ways)['done']][]) {
  test(`a stream that ends by ${reason} closes its source, aborts its signal, and is told once`, async (t) => {
    const clock = mockDate(t, 0)
    expire = () => (clock.now = 90_000)
    const source = new HandSource()
    const client = new Client(source.open, { maxAgeMs: 100_000, until: new Date(90_000) })
    client.start()
    await source.give('one')
    assert.equal(client.ends.length, 0)
    assert.equal(source.signal!.aborted, false)
    assert.equal(ticker.size, 1)

    await endIt(client, source)
    await turn()
    assert.equal(client.ends.length, 1)
    assert.equal(client.ends[0]!.reason, reason)
    assert.equal(source.signal!.aborted, true)
    assert.equal(source.aborts, 1)
    // What has ended by itself needs no return().
    assert.equal(source.returns, reason === 'done' ? 0 : 1)
    assert.equal(ticker.size, 0)

    client.source.stop()
    ticker.advance(1_000_000)
    await source.give('too late')
    assert.equal(client.ends.length, 1)
    assert(!client.text.includes('late'))
  })

  if (reason === 'error') continue
  test(`a broadcast that ends by ${reason} is told once, and the broadcaster forgets it`, async (t) => {
    const clock = mockDate(t, 0)
    expire = () => (clock.now = 90_000)
    const broadcaster = new Broadcaster()
    const client = new Client(broadcaster, { maxAgeMs: 100_000, until: new Date(90_000) })
    client.start()
    const source = {
      finish: () => broadcaster.close(),
      give: async (event: Eventable) => {
        broadcaster.publish(event)
        await turn()
      },
    }
    await source.give('one')
    assert.equal(broadcaster.subscriberCount, 1)
    await endIt(client, source as unknown as HandSource)
    assert.deepEqual(
      client.ends.map((end) => end.reason),
      [reason],
    )
    assert.equal(broadcaster.subscriberCount, 0)
    assert.equal(ticker.size, 0)
  })
}

test('a stream whose source throws at once and one whose source is over at once leave nothing', () => {
  for (const source of [[], () => assert.fail('boom')] as SseSource[]) {
    const client = new Client(source)
    client.start()
    assert.equal(ticker.size, 0)
    assert.equal(client.ends.length, 1)
  }
})

// --------------------------------------------------------------------------------------- onEnd

test('onEnd is told how many events were written, and how long the stream was open', async (t) => {
  let now = 1000
  t.mock.method(performance, 'now', () => now)
  const source = new HandSource()
  const client = new Client(source.open)
  now = 2000
  client.start()
  await source.give('one')
  await source.give({ data: 'two', id: '2' })
  await source.give(SseEvent.comment('three'))
  now = 3500
  client.leave()
  assert.deepEqual(client.ends, [{ reason: 'client', sent: 3, dropped: 0, ms: 1500 }])
})

test('onEnd is told how many events of a broadcaster the client did not get', async () => {
  const broadcaster = new Broadcaster()
  const client = new Client(broadcaster)
  client.hasRoom = false
  client.start()
  for (const text of ['one', 'two', 'three']) broadcaster.publish(text)
  await turn()
  client.drain(false)
  broadcaster.publish('four')
  broadcaster.publish('five')
  await turn()
  client.leave()
  const { sent, dropped } = client.ends[0]!
  assert.deepEqual({ sent, dropped }, { sent: 3, dropped: 2 })
})

test('a client that the history has left behind is told of as slow, with what it lost', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const client = new Client(broadcaster)
  client.hasRoom = false
  client.start()
  for (let event = 0; event < 5; event++) {
    broadcaster.publish('x')
    await turn()
  }
  assert.equal(client.state, 'cut')
  const { reason, sent, dropped } = client.ends[0]!
  assert.deepEqual({ reason, sent, dropped }, { reason: 'slow', sent: 0, dropped: 3 })
})

test('of a stream that was never begun onEnd is told, too: HEAD, a replaced body, a client that is gone', () => {
  for (const source of [new Broadcaster(), () => assert.fail('it is opened')] as SseSource[]) {
    for (const [isSent, reason] of [
      [true, 'done'],
      [false, 'client'],
    ] as const) {
      const client = new Client(source)
      client.source.closed('unsent')
      client.settle(isSent)
      assert.deepEqual(client.ends, [{ reason, sent: 0, dropped: 0, ms: 0 }])
      assert.equal(ticker.size, 0)
    }
  }
})

test('onEnd is told of each of two streams where one has replaced the other', () => {
  const ends: string[] = []
  const conn = newConn()
  withSseStream(conn, ['a'], { onEnd: (given, { reason }) => ends.push(`first ${reason}`) })
  withSseStream(conn, ['b'], {
    onEnd: (given, { reason }) => {
      assert.equal(given, conn)
      ends.push(`second ${reason}`)
    },
  })
  const client = new Client(conn.takeResponseBody() as BodySource, {}, conn)
  client.start()
  assert.deepEqual(ends, ['first done', 'second done'])
  assert.equal(client.text, ':\ndata: b\n\n')
})

test('an onEnd that throws, or rejects, is reported, and stops nothing', async () => {
  const boom = new Error('boom')
  for (const onEnd of [
    () => {
      throw boom
    },
    async () => {
      await Promise.resolve()
      throw boom
    },
  ]) {
    const conn = newConn()
    withSseStream(conn, ['x'], { onEnd })
    let isNextCalled = false
    conn.afterSend(() => (isNextCalled = true))
    const client = new Client(conn.takeResponseBody() as BodySource, {}, conn)
    client.start()
    await turn()
    assert.deepEqual(client.errors, [boom])
    assert(isNextCalled)
  }
})

// ------------------------------------------------------------------------------------- onStart

test('onStart is told once, when the client is subscribed and the opening is out', async () => {
  const broadcaster = new Broadcaster()
  const told: unknown[] = []
  const conn = newConn()
  const onStart = (given: Conn): void => {
    const [subscriber] = broadcaster.subscribers()
    told.push(given === conn, subscriber?.conn === conn, client.text)
    broadcaster.publish('somebody is here')
  }
  withSseStream(conn, broadcaster, { onStart })
  const client = new Client(conn.takeResponseBody() as BodySource, {}, conn)
  assert.deepEqual(told, [])
  client.start()
  await turn()
  assert.deepEqual(told.slice(0, 2), [true, true])
  assert.match(String(told[2]), /^:\n/)
  assert.equal(told.length, 3)
  assert.match(client.text, /\ndata: somebody is here\n\n$/)
  client.leave()
})

test('onStart is told of a stream that ends at once, and not of one that never begins, has failed, or whose time is over', async () => {
  let told = 0
  const onStart = (): void => void told++
  const begin = (source: SseSource, options: SseOptions = {}): Client => {
    const conn = newConn()
    withSseStream(conn, source, { onStart, ...options })
    return new Client(conn.takeResponseBody() as BodySource, {}, conn)
  }
  begin(['x']).start()
  assert.equal(told, 1)
  begin(['x']).source.closed('unsent')
  begin(() => assert.fail('boom')).start()
  begin(new Broadcaster(), { until: new Date(0) }).start()
  assert.equal(told, 1)
})

test('an onStart that throws, or rejects, is reported, and the stream goes on', async () => {
  const boom = new Error('boom')
  for (const onStart of [
    () => {
      throw boom
    },
    async () => {
      await Promise.resolve()
      throw boom
    },
  ]) {
    const app = testApp((conn) => withSseStream(conn, ['x'], { onStart }))
    assert.equal((await app.get('/')).body, ':\ndata: x\n\n')
    await turn()
    assert.deepEqual(app.errors, [{ error: boom, place: 'onStart' }])
  }
})

// -------------------------------------------------------------------------------------- errors

test('an error before the first byte is a 500, which mapError is not asked for', (t) => {
  const boom = new Error('boom')
  t.mock.method(performance, 'now', () => 5)
  const client = new Client(
    () => {
      throw boom
    },
    { mapError: () => assert.fail('it is asked') },
  )
  client.start()
  assert.equal(client.state, 'aborted')
  assert.equal(client.error, boom)
  assert.equal(client.text, '')
  assert.deepEqual(client.ends, [{ reason: 'error', error: boom, sent: 0, dropped: 0, ms: 0 }])
})

test('an error after the first byte cuts the stream, and nothing of it is on the wire', async () => {
  for (const mapError of [undefined, () => undefined]) {
    const client = await failing(new Error('SECRET'), mapError === undefined ? {} : { mapError })
    assert.equal(client.state, 'aborted')
    assert.equal(client.text, ':\ndata: one\n\n')
    assert.equal((client.error as Error).message, 'SECRET')
    const { reason, error, sent } = client.ends[0]!
    assert.deepEqual({ reason, error, sent }, { reason: 'error', error: client.error, sent: 1 })
  }
})

test('mapError turns an error into a last event, and the stream ends whole', async () => {
  const boom = new Error('SECRET')
  const asked: unknown[] = []
  const mapped: [Eventable, string][] = [
    [{ type: 'failure', data: 'sorry' }, 'event: failure\ndata: sorry\n\n'],
    ['sorry', 'data: sorry\n\n'],
    ['', 'data:\n\n'],
    [SseEvent.comment('nothing to say'), ': nothing to say\n'],
  ]
  for (const [event, text] of mapped) {
    const client = await failing(boom, { mapError: (error) => (asked.push(error), event) })
    assert.equal(client.state, 'ended')
    assert.equal(client.text, `:\ndata: one\n\n${text}`)
    const { reason, error, sent } = client.ends[0]!
    assert.deepEqual({ reason, error, sent }, { reason: 'error', error: boom, sent: 2 })
  }
  assert.deepEqual(asked, [boom, boom, boom, boom])
})

test('mapError is asked also about an event that cannot be sent', async () => {
  const source = new HandSource()
  let asked: unknown
  const client = new Client(source.open, { mapError: (error) => ((asked = error), 'sorry') })
  client.start()
  await source.give(5 as never)
  assert.match(String(asked), /^TypeError: Cannot send 5 as an event/)
  assert.equal(client.text, ':\ndata: sorry\n\n')
  assert.equal(source.returns, 1)
})

test('a mapError that throws, or makes what cannot be sent, is reported with the error it was given', async () => {
  const boom = new Error('SECRET')
  const bug = new Error('bug')
  const cases: [() => unknown, RegExp][] = [
    [() => assert.fail(bug), /^Error: bug$/],
    [() => null, /^TypeError: Cannot send null/],
    [() => 5, /^TypeError: Cannot send 5/],
    [
      () => ({ type: 'failure' }),
      /^TypeError: Cannot send an event of type "failure" without data/,
    ],
    [
      () => Promise.reject(new Error('late')),
      /^TypeError: Cannot send a promise as an event: mapError must not be async$/,
    ],
  ]
  for (const [mapError, expected] of cases) {
    const client = await failing(boom, { mapError: mapError as () => undefined })
    assert.equal(client.state, 'aborted')
    assert.equal(client.text, ':\ndata: one\n\n')
    assert(client.error instanceof AggregateError)
    assert.equal(client.error.errors[0], boom)
    assert.match(String(client.error.errors[1]), expected)
    assert.equal(client.ends[0]!.error, client.error)
  }
})

// ---------------------------------------------------------------------------------- heartbeats

test('a comment follows 15 s of silence, and each 15 s of it that come after', async () => {
  const source = new HandSource()
  const client = new Client(source.open)
  client.start()
  ticker.advance(14_999)
  assert.equal(client.text, ':\n')
  ticker.advance(1)
  assert.equal(client.take(), ':\n:\n')
  ticker.advance(14_999)
  assert.equal(client.take(), '')
  ticker.advance(1)
  assert.equal(client.take(), ':\n')
  client.leave()
})

test('silence is measured from the last event, and a busy stream has no heartbeats', async () => {
  const source = new HandSource()
  const client = new Client(source.open)
  client.start()
  client.take()
  for (let event = 0; event < 20; event++) {
    await source.give('tick')
    ticker.advance(1000)
    ticker.advance(13_000)
    assert.equal(client.take(), 'data: tick\n\n')
  }
  await source.give('last')
  ticker.advance(1000) // noticed with the next tick
  assert.equal(client.take(), 'data: last\n\n')
  ticker.advance(14_999)
  assert.equal(client.take(), '')
  ticker.advance(1)
  assert.equal(client.take(), ':\n')
  client.leave()
})

test('heartbeatMs says how long; 0 and Infinity are none', async () => {
  for (const [heartbeatMs, text] of [
    [20_000, ':\n'],
    [0, ''],
    [Infinity, ''],
  ] as const) {
    const client = new Client(new HandSource().open, { heartbeatMs })
    client.start()
    client.take()
    ticker.advance(19_999)
    assert.equal(client.take(), '')
    ticker.advance(1)
    assert.equal(client.take(), text)
    client.leave()
  }
})

test('a stream that is stalled has no heartbeats, and its last event counts also when the client reads on', async () => {
  const source = new HandSource()
  const client = new Client(source.open)
  client.start()
  ticker.advance(14_000)
  client.hasRoom = false
  await source.give('filled')
  client.take()
  ticker.advance(1000)
  ticker.advance(14_000)
  assert.equal(client.take(), '')
  client.drain()
  ticker.advance(999)
  assert.equal(client.take(), '')
  ticker.advance(1)
  assert.equal(client.take(), ':\n')
  client.leave()
})

test('a heartbeat that fills the client does not make the source give more than was asked for', async () => {
  const source = new HandSource()
  const client = new Client(source.open)
  client.start()
  assert.equal(source.nexts, 1)
  client.hasRoom = false
  ticker.advance(15_000)
  assert.equal(client.text, ':\n:\n')
  client.drain()
  assert.equal(source.nexts, 1)
  await source.give('one')
  assert.equal(source.nexts, 2)
  assert.equal(client.text, ':\n:\ndata: one\n\n')
  client.leave()
})

test('an event that comes while a heartbeat fills the client is the last one until there is room', async () => {
  const source = new HandSource()
  const client = new Client(source.open)
  client.start()
  client.hasRoom = false
  ticker.advance(15_000)
  await source.give('one')
  assert.equal(source.nexts, 1)
  client.drain()
  assert.equal(source.nexts, 2)
  client.drain()
  assert.equal(source.nexts, 2)
  client.leave()
})

test('silence is measured from the last event of a broadcast, also where its subscribers were asked about', async () => {
  for (const isAskedAbout of [false, true]) {
    const broadcaster = new Broadcaster({ replay: false })
    const client = new Client(broadcaster)
    client.start()
    client.take()
    for (let event = 0; event < 20; event++) {
      broadcaster.publish('tick')
      await turn()
      if (isAskedAbout) assert.equal(broadcaster.subscribers()[0]!.sent, event + 1)
      ticker.advance(1000)
      ticker.advance(13_000)
      assert.equal(client.take(), 'data: tick\n\n')
    }
    ticker.advance(1999)
    assert.equal(client.take(), '')
    ticker.advance(1)
    assert.equal(client.take(), ':\n')
    client.leave()
  }
})

test('a heartbeat that fills the client does not keep a broadcast from it', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = new Client(broadcaster)
  client.start()
  client.hasRoom = false
  ticker.advance(15_000)
  client.drain()
  broadcaster.publish('one')
  await turn()
  assert.equal(client.text, ':\n:\ndata: one\n\n')
  client.leave()
})

// -------------------------------------------------------------------------------------- stalls

test('a client that leaves what it was sent unread for 60 s is cut', async () => {
  for (const [options, ms] of [
    [{}, 60_000],
    [{ writeTimeoutMs: 20_000 }, 20_000],
  ] as const) {
    const source = new HandSource()
    const client = new Client(source.open, options)
    client.start()
    client.hasRoom = false
    await source.give('one')
    ticker.advance(1000) // noticed
    ticker.advance(ms - 1)
    assert.equal(client.state, 'open')
    ticker.advance(1)
    assert.equal(client.state, 'cut')
    const { reason, sent } = client.ends[0]!
    assert.deepEqual({ reason, sent }, { reason: 'slow', sent: 1 })
  }
})

test('a heartbeat that is left unread is a stall, too', () => {
  const client = new Client(new HandSource().open)
  client.start()
  client.hasRoom = false
  ticker.advance(15_000)
  ticker.advance(1000)
  ticker.advance(60_000)
  assert.equal(client.state, 'cut')
})

test('a client that is slow but reads is not cut, though it is full whenever one looks', async () => {
  const source = new HandSource()
  const client = new Client(source.open)
  client.start()
  client.hasRoom = false
  await source.give('first')
  for (let second = 0; second < 300; second += 20) {
    ticker.advance(20_000)
    client.drain(false)
    await source.give('more')
  }
  assert.equal(client.state, 'open')
  ticker.advance(1000)
  ticker.advance(60_000)
  assert.equal(client.state, 'cut')
})

test('with writeTimeoutMs Infinity a client may stall for ever', async () => {
  const source = new HandSource()
  const client = new Client(source.open, { writeTimeoutMs: Infinity })
  client.start()
  client.hasRoom = false
  await source.give('one')
  for (let hour = 0; hour < 100; hour++) ticker.advance(3_600_000)
  assert.equal(client.state, 'open')
  client.leave()
})

test('a broadcast that stalls is cut with its time, and what was not sent is counted', async () => {
  const broadcaster = new Broadcaster()
  const client = new Client(broadcaster, { writeTimeoutMs: 5000 })
  client.hasRoom = false
  client.start()
  broadcaster.publish('one')
  broadcaster.publish('two')
  ticker.advance(1000)
  ticker.advance(5000)
  assert.equal(client.state, 'cut')
  const { reason, sent, dropped } = client.ends[0]!
  assert.deepEqual({ reason, sent, dropped }, { reason: 'slow', sent: 0, dropped: 2 })
})

// --------------------------------------------------------------------------------- age and expiry

test('a stream ends whole at its age, with a retry of at most a second', async (t) => {
  for (const [random, retry] of [
    [0, 0],
    [0.5, 500],
    [1 - 2 ** -53, 1000],
  ]) {
    t.mock.method(Math, 'random', () => random)
    const client = new Client(new HandSource().open, { maxAgeMs: 10_000, heartbeatMs: 0 })
    client.start()
    assert.equal(client.take(), ':\nretry: 3000\n')
    ticker.advance(9_999)
    assert.equal(client.state, 'open')
    ticker.advance(1)
    assert.equal(client.state, 'ended')
    assert.equal(client.text, `retry: ${retry}\n`)
  }
})

test('an age is drawn from its range, for each stream', (t) => {
  for (const [random, age] of [
    [0, 10_000],
    [0.25, 12_500],
    [1 - 2 ** -53, 20_000],
  ] as const) {
    t.mock.method(Math, 'random', () => random)
    const options = { maxAgeMs: [10_000, 20_000], heartbeatMs: 0 } as const
    const client = new Client(new HandSource().open, options)
    client.start()
    ticker.advance(age - 1)
    assert.equal(client.state, 'open', String(age))
    ticker.advance(1)
    assert.equal(client.state, 'ended')
  }
})

test('without maxAgeMs a stream has no age', () => {
  for (const options of [{}, { maxAgeMs: Infinity }]) {
    const client = new Client(new HandSource().open, { ...options, heartbeatMs: 0 })
    client.start()
    assert.equal(client.text, ':\n')
    for (let year = 0; year < 10; year++) ticker.advance(365 * 24 * 3_600_000)
    assert.equal(client.state, 'open')
    client.leave()
  }
})

test('a broadcast that is too old says first what was published before', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ replay: false })
  const client = new Client(broadcaster, { maxAgeMs: 10_000, retryMs: 1500 })
  client.start()
  broadcaster.publish('one')
  ticker.advance(10_000)
  assert.equal(client.text, ':\nretry: 1500\ndata: one\n\nretry: 0\n')
  assert.equal(client.state, 'ended')
})

test('a broadcast that is too old waits a second for a client that is full, and then cuts it', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ replay: false })
  for (const isReading of [true, false]) {
    const client = new Client(broadcaster, { maxAgeMs: 10_000, retryMs: 1500 })
    client.hasRoom = false
    client.start()
    broadcaster.publish('one')
    ticker.advance(10_000)
    ticker.advance(1000)
    assert.equal(client.state, 'open')
    if (isReading) client.drain()
    t.mock.timers.tick(1000)
    assert.equal(client.state, isReading ? 'ended' : 'cut')
    // What came first is the reason, whatever came of it.
    assert.equal(client.ends[0]!.reason, 'max-age')
    assert.equal(client.ends[0]!.dropped, isReading ? 0 : 1)
    assert.equal(ticker.size, 0)
  }
})

test('a stream ends whole when its time has come, on the clock of the world', (t) => {
  const clock = mockDate(t, 1000)
  for (const until of [new Date(9000), () => new Date(9000)]) {
    clock.now = 1000
    const source = new HandSource()
    const client = new Client(source.open, { until })
    client.start()
    clock.now = 8999
    ticker.advance(1000)
    assert.equal(client.state, 'open')
    clock.now = 9000
    ticker.advance(1000)
    assert.equal(client.state, 'ended')
    assert.equal(client.text, ':\n')
    assert.equal(client.ends[0]!.reason, 'revoked')
    assert.equal(source.returns, 1)
  }
})

test('until is asked once, of the conn', () => {
  const asked: unknown[] = []
  const client = new Client(['x'], {
    until: (conn) => {
      asked.push(conn)
      return undefined
    },
  })
  assert.deepEqual(asked, [client.conn])
  client.start()
  ticker.advance(1000)
  assert.equal(asked.length, 1)
  assert.equal(client.ends[0]!.reason, 'done')
})

test('of a stream whose time has come before it begins no event is sent', async (t) => {
  mockDate(t, 9000)
  for (const until of [new Date(9000), () => new Date(1)]) {
    const pulled = new Client(() => assert.fail('it is opened'), { until })
    pulled.start()
    const broadcaster = new Broadcaster({ replay: false })
    const subscription = broadcaster.subscribe()
    broadcaster.publish('too late')
    const broadcast = new Client(subscription, { until })
    broadcast.start()
    assert.equal(broadcaster.subscriberCount, 0)
    for (const client of [pulled, broadcast]) {
      assert.equal(client.text, ':\n')
      assert.equal(client.state, 'ended')
      assert.equal(client.ends[0]!.reason, 'revoked')
    }
    assert.equal(ticker.size, 0)
  }
})

test('an until that gives no date is refused, and the source is let go', async () => {
  for (const [given, message] of [
    [new Date(NaN), /^RangeError: Cannot stream until an invalid Date$/],
    [null, /^TypeError: Cannot stream with until null: it must be a Date$/],
    [1_900_000_000, /^TypeError: Cannot stream with until 1900000000: it must be a Date$/],
  ] as const) {
    let isCancelled = false
    const web = new ReadableStream<Eventable>({ cancel: () => void (isCancelled = true) })
    assert.throws(() => new Client(web, { until: () => given as unknown as Date }), message)
    assert(isCancelled)
  }
  assert.equal(ticker.size, 0)
})

// ------------------------------------------------------------------------------------ the stop

test('a stream that finishes ends by the deadline of the stop, which is a shutdown, or by its client', async () => {
  for (const [cause, reason] of [
    ['stop', 'shutdown'],
    ['client', 'client'],
  ] as const) {
    const source = new HandSource()
    const client = new Client(source.open, { finish: true })
    client.start()
    client.source.stop()
    await source.give('one')
    assert.equal(client.state, 'open')
    client.leave(cause)
    assert.equal(client.ends[0]!.reason, reason)
  }
})

test('what could not be sent is an error, which onEnd is told', () => {
  const client = new Client(new HandSource().open)
  client.start()
  const error = new Error('more bytes than were promised')
  client.leave('failure', error)
  assert.equal(client.ends[0]!.reason, 'error')
  assert.equal(client.ends[0]!.error, error)
})

test('a stream that finishes still has heartbeats, an age and an expiry after the stop', () => {
  const client = new Client(new HandSource().open, { finish: true, maxAgeMs: 20_000 })
  client.start()
  client.source.stop()
  client.take()
  ticker.advance(15_000)
  assert.equal(client.text, ':\n')
  ticker.advance(5_000)
  assert.equal(client.ends[0]!.reason, 'max-age')
})

test('what comes first is the reason: a client that leaves a broadcast while it is stopped', () => {
  const broadcaster = new Broadcaster()
  const client = new Client(broadcaster)
  client.hasRoom = false
  client.start()
  broadcaster.publish('one')
  client.source.stop()
  ticker.advance(1000)
  client.leave()
  const { reason, dropped } = client.ends[0]!
  assert.deepEqual({ reason, dropped }, { reason: 'shutdown', dropped: 1 })
})

test('retryMs is said when the stream opens', () => {
  for (const [options, text] of [
    [{}, ':\n'],
    [{ retryMs: 0 }, ':\nretry: 0\n'],
    [{ retryMs: 250 }, ':\nretry: 250\n'],
  ] as const) {
    for (const source of [[], broadcastOfNothing()]) {
      const client = new Client(source, options)
      client.start()
      assert.equal(client.text, text)
    }
  }
})

// --------------------------------------------------------------------------------------- tools

/** A source whose every step is the test's. */
class HandSource {
  signal: AbortSignal | undefined
  aborts = 0
  nexts = 0
  returns = 0
  #waiting: { resolve: (step: IteratorResult<Eventable>) => void; reject: (e: Error) => void }[] =
    []

  readonly open = (signal: AbortSignal): AsyncIterable<Eventable> => {
    this.signal = signal
    signal.addEventListener('abort', () => this.aborts++)
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          this.nexts++
          return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
        },
        return: () => {
          this.returns++
          return Promise.resolve({ done: true, value: undefined })
        },
      }),
    }
  }

  async give(event: Eventable): Promise<void> {
    this.#waiting.shift()?.resolve({ done: false, value: event })
    await turn()
  }

  async finish(): Promise<void> {
    this.#waiting.shift()!.resolve({ done: true, value: undefined })
    await turn()
  }

  async fail(error: Error): Promise<void> {
    this.#waiting.shift()!.reject(error)
    await turn()
  }
}

/** A stream that has failed after one event. */
async function failing(error: Error, options: SseOptions): Promise<Client> {
  const source = new HandSource()
  const client = new Client(source.open, options)
  client.start()
  await source.give('one')
  await source.fail(error)
  assert.equal(client.ends.length, 1)
  assert.equal(source.signal!.aborted, true)
  return client
}

function broadcastOfNothing(): Broadcaster {
  const broadcaster = new Broadcaster({ replay: false })
  broadcaster.close()
  return broadcaster
}

/** Time as the world has it, until the test ends. */
function mockDate(t: TestContext, now: number): { now: number } {
  const clock = { now }
  t.mock.method(Date, 'now', () => clock.now)
  return clock
}
