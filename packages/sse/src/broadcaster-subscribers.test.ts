import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'

import { collectData, connect, countTimers, turn } from '../fixtures/fake-client.ts'
import type { FakeClient } from '../fixtures/fake-client.ts'
import { Broadcaster, sse } from './index.ts'
import type { BroadcasterOptions } from './index.ts'
import { advance, testStream } from './testing.ts'
import { ticker } from './ticker.ts'

// ------------------------------------------------------------------------------- clients that leave

test('a client that leaves is forgotten, and gets nothing more', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const [leaving, staying] = [connect(broadcaster), connect(broadcaster)]
  broadcaster.publish('a')
  leaving.leave()
  assert.equal(broadcaster.subscriberCount, 1)
  await turn()
  leaving.drain()
  assert.equal(leaving.text, ':\n')
  assert.equal(leaving.state, 'gone')
  assert.equal(staying.text, ':\ndata: a\n\n')
})

test('[broadcast 6.5] a client that leaves during a write does not disturb the others', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const clients = Array.from({ length: 3 }, () => connect(broadcaster))
  clients[1]!.onWrite = () => clients[1]!.leave()
  broadcaster.publish('a')
  await turn()
  broadcaster.publish('b')
  await turn()
  assert.deepEqual(
    clients.map(({ text }) => text),
    [':\ndata: a\n\ndata: b\n\n', ':\ndata: a\n\n', ':\ndata: a\n\ndata: b\n\n'],
  )
  assert.equal(broadcaster.subscriberCount, 2)
})

test('[broadcast 6.4] 10,000 subscribers come and go, and none is left', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const clients = Array.from({ length: 5_000 }, () => connect(broadcaster))
  const loops = Array.from({ length: 5_000 }, () => broadcaster[Symbol.asyncIterator]())
  const waiting = loops.map((loop) => loop.next())
  assert.equal(broadcaster.subscriberCount, 10_000)
  broadcaster.publish('hello')
  for (const result of await Promise.all(waiting)) assert.equal(result.value?.data, 'hello')
  for (const { text } of clients) assert.equal(text, ':\ndata: hello\n\n')
  for (const { source } of clients) source.closed('client')
  for (const loop of loops) void loop.return!()
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 6.4] what a stop, a wait and a reconnection have set up is gone when all have left', async (t) => {
  const timers = countTimers(t)
  const ticking = ticker.size // of other tests
  const broadcaster = new Broadcaster()
  let lastEventId: string | undefined
  for (let round = 0; round < 50; round++) {
    const topics = [`topic ${round}`]
    const clients = [
      connect(broadcaster, { lastEventId }),
      connect(broadcaster.subscribe({ topics }), { hasRoom: false }),
      connect(broadcaster.subscribe({ allow: () => true }), { hasRoom: false }),
    ]
    const loops = [broadcaster, broadcaster.subscribe({ topics })].map((it) =>
      it[Symbol.asyncIterator](),
    )
    broadcaster.publish('t', 'x', { topic: topics[0]! })
    await turn()
    clients[1]!.source.stop()
    lastEventId = clients[0]!.lastEventId
    for (const client of clients) client.leave()
    for (const loop of loops) void loop.return!()
  }
  assert.equal(timers.size, 0)
  assert.equal(ticker.size, ticking)
  const { subscribers, behind, opened, ended } = broadcaster.stats()
  assert.deepEqual([subscribers, behind, opened], [0, 0, 250])
  assert.deepEqual([ended.client, ended.shutdown], [100, 50])
})

test('[broadcast 6.4] a stream leaves no listener on the signal of its request, however it ends', async () => {
  const broadcaster = new Broadcaster()
  const signals: AbortSignal[] = []
  const app = testApp(sse((_conn, { signal }) => (signals.push(signal), broadcaster)))
  for (let round = 0; round < 3; round++) {
    const stream = await testStream(app, '/')
    stream.leave()
    await stream.ended
  }
  for (const signal of signals) assert.equal(getEventListeners(signal, 'abort').length, 0)
  assert.equal(broadcaster.subscriberCount, 0)
})

// ------------------------------------------------------------------------------------ who is there

test('[broadcast 6.1] subscribers() tells of each its conn, its topics, and how it is doing', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind: 'drop-oldest' })
  const fast = connect(broadcaster)
  const slow = connect(broadcaster, { hasRoom: false })
  const topical = connect(broadcaster.subscribe({ topics: ['b', 'a', 'b'] }))
  const loop = broadcaster.subscribe({ topics: ['a'] })[Symbol.asyncIterator]()
  for (const topic of ['a', 'b', 'c', 'a', 'b']) broadcaster.publish('t', topic, { topic })
  await turn()
  assert.deepEqual(broadcaster.subscribers(), [
    { conn: fast.conn, topics: undefined, sent: 5, dropped: 0, behind: 0 },
    { conn: slow.conn, topics: undefined, sent: 0, dropped: 2, behind: 3 },
    { conn: topical.conn, topics: ['b', 'a'], sent: 4, dropped: 0, behind: 0 },
    { conn: undefined, topics: ['a'], sent: 0, dropped: 1, behind: 1 },
  ])
  slow.drain()
  await loop.next() // the gap
  await loop.next()
  assert.deepEqual(
    broadcaster.subscribers().map(({ sent, behind }) => [sent, behind]),
    [
      [5, 0],
      [3, 0],
      [4, 0],
      [1, 0],
    ],
  )
})

test('[broadcast 6.1] who has not begun is no subscriber, and who has left is none', () => {
  const broadcaster = new Broadcaster()
  void broadcaster.subscribe()
  assert.deepEqual(broadcaster.subscribers(), [])
  const client = connect(broadcaster)
  assert.equal(broadcaster.subscribers().length, 1)
  client.leave()
  assert.deepEqual(broadcaster.subscribers(), [])
})

// ------------------------------------------------------------------------------------ disconnect

test('[broadcast 6.2] disconnect ends the chosen streams whole, at once, and no others', async () => {
  const broadcaster = new Broadcaster()
  const clients = Array.from({ length: 6 }, () => connect(broadcaster))
  broadcaster.publish('before')
  await turn()
  broadcaster.publish('of this turn')
  const chosen = new Set([1, 3, 4].map((at) => clients[at]!.conn))
  assert.equal(
    broadcaster.disconnect(({ conn }) => chosen.has(conn!)),
    3,
  )
  assert.equal(broadcaster.subscriberCount, 3)
  broadcaster.publish('after')
  await turn()
  for (const client of clients) {
    const isChosen = chosen.has(client.conn)
    assert.equal(client.state, isChosen ? 'ended' : 'open')
    assert.deepEqual(client.heard, isChosen ? ['before'] : ['before', 'of this turn', 'after'])
    if (!isChosen) continue
    const { reason, sent, dropped } = client.ends[0]!
    assert.deepEqual({ reason, sent, dropped }, { reason: 'revoked', sent: 1, dropped: 1 })
    assert.doesNotMatch(client.text, /retry/)
  }
  assert.equal(
    broadcaster.disconnect(() => false),
    0,
  )
  assert.equal(broadcaster.stats().ended.revoked, 3)
})

test('[broadcast 6.2] a reason that is given is what onEnd is told, and what is counted', () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  broadcaster.disconnect(() => true, 'max-age')
  assert.equal(client.ends[0]!.reason, 'max-age')
  assert.equal(broadcaster.stats().ended['max-age'], 1)
})

test('[broadcast 6.2] a client that has no room is ended as well, with nothing of what it has not read', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster.subscribe({ topics: ['a'] }), { hasRoom: false })
  for (const topic of ['a', 'b']) broadcaster.publish('t', 'x', { topic })
  await turn()
  assert.equal(
    broadcaster.disconnect(({ topics }) => topics!.includes('a')),
    1,
  )
  assert.deepEqual([client.state, client.text, client.ends[0]!.dropped], ['ended', ':\n', 1])
})

test('[broadcast 6.2] a loop ends, with what it waits for, and with what it has not read', async () => {
  const broadcaster = new Broadcaster()
  const [waiting, behind] = [collectData(broadcaster), broadcaster[Symbol.asyncIterator]()]
  broadcaster.publish('a')
  assert.equal((await behind.next()).value?.data, 'a')
  broadcaster.publish('b')
  assert.equal(
    broadcaster.disconnect(({ conn }) => conn === undefined),
    2,
  )
  assert.deepEqual(await waiting, ['a'])
  assert.deepEqual(await behind.next(), { done: true, value: undefined })
})

test('[broadcast 6.2] a predicate that throws ends nobody', () => {
  const broadcaster = new Broadcaster()
  const clients = [connect(broadcaster), connect(broadcaster)]
  let count = 0
  assert.throws(
    () =>
      broadcaster.disconnect(() => {
        if (count++ > 0) throw new Error('boom')
        return true
      }),
    /boom/,
  )
  for (const client of clients) assert.equal(client.state, 'open')
})

// ----------------------------------------------------------------------------------------- stats

test('[broadcast 6.3] stats() counts what its docs say', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind: 'drop-oldest' })
  const none = { client: 0, done: 0, shutdown: 0, slow: 0, 'max-age': 0, revoked: 0, error: 0 }
  const zero = {
    subscribers: 0,
    behind: 0,
    mostBehind: 0,
    historyEvents: 0,
    historyBytes: 0,
    published: 0,
  }
  const counts = { opened: 0, sent: 0, dropped: 0, replayed: 0, gaps: 0 }
  assert.deepEqual(broadcaster.stats(), { ...zero, ...counts, ended: none })

  const fast = connect(broadcaster)
  const slow = connect(broadcaster, { hasRoom: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  const ids = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((text) => broadcaster.publish(text)))
  await turn()
  const { historyBytes, ...stats } = broadcaster.stats()
  assert.equal(historyBytes, 3 * `id: ${ids[0]}\ndata: a\n\n`.length)
  assert.deepEqual(stats, {
    subscribers: 3,
    behind: 2,
    mostBehind: 3,
    historyEvents: 3,
    published: 5,
    opened: 3,
    sent: 5,
    dropped: 4,
    replayed: 0,
    gaps: 0,
    ended: none,
  })
  slow.drain()
  for (let count = 0; count < 4; count++) await loop.next()
  fast.leave()
  connect(broadcaster, { lastEventId: ids[3] })
  const { subscribers, behind, opened, sent, dropped, replayed, gaps, ended } = broadcaster.stats()
  assert.deepEqual([subscribers, behind, opened], [3, 0, 4])
  assert.deepEqual([sent, dropped, replayed, gaps], [12, 4, 1, 2])
  assert.deepEqual(ended, { ...none, client: 1 })
})

test('[broadcast 6.3] stats() counts each end by the reason that onEnd is told', async () => {
  const reasons = ['client', 'done', 'shutdown', 'slow', 'max-age', 'revoked', 'error'] as const
  for (const reason of reasons) {
    const broadcaster = new Broadcaster()
    const allow = (): boolean => assert.fail('no')
    const to = reason === 'error' ? broadcaster.subscribe({ allow }) : broadcaster
    const client = connect(to, { maxAgeMs: 100_000, hasRoom: reason !== 'slow' })
    if (reason === 'client') client.leave()
    if (reason === 'shutdown') client.source.stop()
    if (reason === 'slow' || reason === 'error') broadcaster.publish('t', 'x', { topic: 'a' })
    await turn()
    if (reason === 'done') broadcaster.close()
    if (reason === 'revoked') broadcaster.disconnect(() => true)
    if (reason === 'slow') await advance(62_000) // it stalls
    if (reason === 'max-age') await advance(100_000)
    assert.equal(client.ends[0]?.reason, reason)
    const counted = Object.entries(broadcaster.stats().ended).filter(([, count]) => count > 0)
    assert.deepEqual(counted, [[reason, 1]])
  }
})

test('[broadcast 6.3] what stats() gave does not change later', () => {
  const broadcaster = new Broadcaster()
  const before = broadcaster.stats()
  connect(broadcaster).leave()
  assert.equal(before.opened, 0)
  assert.equal(before.ended.client, 0)
})

// ------------------------------------------------------------------ ends in the middle of things

test('[broadcast 6.5] an app may do anything from within an end in the middle of a turn', async () => {
  const broadcaster = new Broadcaster()
  const boom = (): boolean => assert.fail('boom')
  const joined: ReturnType<typeof connect>[] = []
  const clients = Array.from({ length: 7 }, (_, at) =>
    connect(broadcaster.subscribe(at === 3 ? { allow: boom } : {}), {
      onEnd: () => {
        if (at !== 3) return
        broadcaster.publish('from within')
        broadcaster.disconnect(({ conn }) => conn === clients[1]!.conn || conn === clients[5]!.conn)
        joined.push(connect(broadcaster))
      },
    }),
  )
  broadcaster.publish('t', 'one', { topic: 'a' })
  broadcaster.publish('t', 'two', { topic: 'a' })
  await turn()
  assert.deepEqual(
    clients.map(({ state }) => state),
    ['open', 'ended', 'open', 'aborted', 'open', 'ended', 'open'],
  )
  for (const at of [0, 2, 4, 6])
    assert.deepEqual(clients[at]!.heard, ['t one', 't two', 'from within'])
  for (const at of [1, 5]) assert.deepEqual(clients[at]!.heard, ['t one', 't two'])
  broadcaster.publish('after')
  await turn()
  assert.deepEqual(joined[0]!.heard, ['after'])
})

test('[broadcast 6.5] a client that cannot be written to fails alone', async () => {
  for (const subscribe of [{}, { topics: ['a'] }]) {
    const broadcaster = new Broadcaster()
    const clients = Array.from({ length: 3 }, () => connect(broadcaster.subscribe(subscribe)))
    broadcaster.publish('first') // from then on they are written to together
    await turn()
    const broken = new Error('broken')
    clients[1]!.onWrite = () => {
      throw broken
    }
    broadcaster.publish('second')
    await turn()
    broadcaster.publish('third')
    await turn()
    assert.deepEqual(
      clients.map(({ state }) => state),
      ['open', 'aborted', 'open'],
    )
    assert.equal(clients[1]!.error, broken)
    for (const at of [0, 2]) assert.deepEqual(clients[at]!.heard, ['first', 'second', 'third'])
    assert.equal(broadcaster.stats().subscribers, 2)
  }
})

/** Three clients that are written to together; while they are, the first breaks, and the app does something. */
async function breaking(
  options: BroadcasterOptions,
  does: (broadcaster: Broadcaster, clients: readonly FakeClient[]) => void,
): Promise<{ broadcaster: Broadcaster; clients: readonly FakeClient[] }> {
  const broadcaster = new Broadcaster(options)
  const clients: FakeClient[] = Array.from({ length: 3 }, (_, at) =>
    connect(broadcaster, at === 0 ? { onEnd: () => does(broadcaster, clients) } : {}),
  )
  broadcaster.publish('first')
  await turn()
  clients[0]!.onWrite = () => assert.fail('broken')
  broadcaster.publish('second')
  await turn()
  return { broadcaster, clients }
}

test('[broadcast 6.5] an app that closes from within a failed write ends the others whole', async () => {
  const { clients } = await breaking({}, (broadcaster) => broadcaster.close())
  for (const client of clients.slice(1)) {
    assert.deepEqual([client.state, client.heard], ['ended', ['first', 'second']])
    assert.deepEqual(
      client.ends.map(({ sent, dropped }) => [sent, dropped]),
      [[2, 0]],
    )
  }
})

test('[broadcast 6.5] an app that publishes more than is kept from within a failed write loses nobody anything', async () => {
  for (const burst of [1, 2, 3, 4, 10]) {
    const more = Array.from({ length: burst }, (_, at) => `more ${at}`)
    const { broadcaster, clients } = await breaking({ historyEvents: 2 }, (broadcaster) => {
      for (const text of more) broadcaster.publish(text)
    })
    for (const client of clients.slice(1))
      assert.deepEqual(client.heard, ['first', 'second', ...more])
    assert.equal(broadcaster.stats().dropped, 0)
  }
})

test('[broadcast 6.2] who is disconnected from within a failed write does not get what is being written', async () => {
  const { broadcaster, clients } = await breaking({}, (broadcaster, clients) =>
    broadcaster.disconnect(({ conn }) => conn === clients[2]!.conn),
  )
  assert.deepEqual(clients[1]!.heard, ['first', 'second'])
  assert.deepEqual([clients[2]!.state, clients[2]!.heard], ['ended', ['first']])
  assert.deepEqual(
    clients[2]!.ends.map(({ reason, sent, dropped }) => [reason, sent, dropped]),
    [['revoked', 1, 1]],
  )
  assert.equal(broadcaster.stats().sent, 5)
})

test('[broadcast 6.5] a client that leaves from within a failed write is written to no more', async () => {
  const { broadcaster, clients } = await breaking({}, (_, clients) => clients[1]!.leave())
  broadcaster.publish('third')
  await turn()
  assert.deepEqual([clients[1]!.state, clients[1]!.heard], ['gone', ['first']])
  assert.deepEqual(clients[2]!.heard, ['first', 'second', 'third'])
  const { subscribers, sent } = broadcaster.stats()
  assert.deepEqual([subscribers, sent], [1, 3 + 2 + 1])
})

test('[broadcast 6.5] a client that cannot be told why it fails, fails alone', async () => {
  const broadcaster = new Broadcaster()
  const broken = new Error('broken')
  const clients = Array.from({ length: 3 }, () => connect(broadcaster, { mapError: () => 'sorry' }))
  clients[0]!.onWrite = () => {
    throw broken
  }
  broadcaster.publish('first')
  await turn()
  assert.deepEqual([clients[0]!.state, clients[0]!.error], ['aborted', broken])
  for (const client of clients.slice(1)) assert.deepEqual(client.heard, ['first'])
})

test('[broadcast 6.5] streams of topics do not look for what others alone were sent, and is gone', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const clients = Array.from({ length: 3 }, (_, at) =>
    connect(broadcaster.subscribe({ topics: ['a'] }), {
      onEnd: () => {
        if (at > 0) return
        for (let count = 0; count < 5; count++) broadcaster.publish('t', 'x', { topic: 'x' })
      },
    }),
  )
  broadcaster.publish('t', 'first', { topic: 'a' })
  await turn()
  clients[0]!.onWrite = () => assert.fail('broken')
  broadcaster.publish('t', 'second', { topic: 'a' })
  await turn()
  broadcaster.publish('t', 'third', { topic: 'a' })
  await turn()
  for (const client of clients.slice(1))
    assert.deepEqual(client.heard, ['t first', 't second', 't third'])
})

test('[broadcast 6.5] an end that publishes more than is kept, while clients are written to, loses nobody anything', async () => {
  for (const burst of [1, 2, 3, 4, 10]) {
    const broadcaster = new Broadcaster({ historyEvents: 2 })
    const boom = (): boolean => assert.fail('boom')
    const more = Array.from({ length: burst }, (_, at) => `more ${at}`)
    const onEnd = (): void => {
      for (const text of more) broadcaster.publish('t', text, { topic: 'more' })
    }
    const early = connect(broadcaster)
    const topical = connect(broadcaster.subscribe({ topics: ['a'] }))
    connect(broadcaster.subscribe({ allow: boom }), { onEnd })
    const late = connect(broadcaster)
    const lateTopical = connect(broadcaster.subscribe({ topics: ['a', 'c'] }))
    const other = connect(broadcaster.subscribe({ topics: ['b'] }))
    broadcaster.publish('t', '1', { topic: 'a' })
    await turn()
    for (const data of ['2', '3', '4', '5', '6']) {
      broadcaster.publish('t', data, { topic: data === '5' ? 'b' : 'a' })
    }
    await turn()
    const expected = ['t 1', ...more.map((text) => `t ${text}`), 't 2', 't 3', 't 4', 't 5', 't 6']
    for (const client of [early, late]) assert.deepEqual(client.heard, expected)
    for (const client of [topical, lateTopical])
      assert.deepEqual(client.heard, ['t 1', 't 2', 't 3', 't 4', 't 6'])
    assert.deepEqual(other.heard, ['t 5'])
  }
})

test('[broadcast 6.5] ends that publish more and more from within each other lose nobody anything', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const clients = [0, 1, 2, 3].flatMap((at) => {
    const onEnd = (): void => {
      for (let count = 0; count < 5; count++) broadcaster.publish(`${at}.${count}`)
    }
    const allow = (topic: string): boolean => assert.fail(topic)
    return [connect(broadcaster), connect(broadcaster.subscribe({ allow }), { onEnd })]
  })
  const quiet = connect(broadcaster.subscribe({ topics: ['quiet'] }))
  broadcaster.publish('t', 'x', { topic: 'a' })
  await turn()
  broadcaster.publish('t', 'y', { topic: 'quiet' })
  await turn()
  const [first, ...others] = clients.filter(({ state }) => state === 'open')
  assert.equal(others.length, 3)
  assert.equal(first!.heard.length, 1 + 4 * 5 + 1)
  for (const { heard } of others) assert.deepEqual(heard, first!.heard)
  assert.deepEqual(
    quiet.heard,
    first!.heard.filter((text) => /^\d|y$/.test(text)),
  )
})

test('[broadcast 6.5] a cut in an eviction whose end publishes evicts no event that others have not got', async () => {
  for (const whenBehind of ['disconnect', 'drop-oldest'] as const) {
    for (const burst of [1, 2, 3, 7]) {
      const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind })
      const onEnd = (): void => {
        for (let count = 0; count < burst; count++) broadcaster.publish(`more ${count}`)
      }
      const isSafe = { is: true }
      const allow = (): boolean => isSafe.is || assert.fail('boom')
      connect(broadcaster.subscribe({ allow }), { hasRoom: false, onEnd })
      const fast = connect(broadcaster)
      const slow = connect(broadcaster, { hasRoom: false })
      for (const data of ['a', 'b', 'c']) broadcaster.publish('t', data, { topic: 'x' })
      await turn()
      if (whenBehind === 'drop-oldest') isSafe.is = false
      broadcaster.publish('t', 'd', { topic: 'x' }) // the first of them goes
      broadcaster.publish('t', 'e', { topic: 'x' })
      await turn()
      const more = Array.from({ length: burst }, (_, at) => `more ${at}`)
      assert.deepEqual(fast.heard, ['t a', 't b', 't c', 't d', ...more, 't e'])
      assert.equal(broadcaster.stats().historyEvents, 3)
      if (whenBehind === 'disconnect') {
        assert.equal(slow.state, 'cut')
        continue
      }
      slow.drain()
      const missed = fast.heard.length - 3
      assert.deepEqual(slow.heard, [`gap {"missed":${missed}}`, ...fast.heard.slice(-3)])
    }
  }
})

test('[broadcast 6.5] an end may close the broadcaster: everybody else ends whole', async () => {
  const broadcaster = new Broadcaster()
  const allow = (): boolean => assert.fail('boom')
  const before = connect(broadcaster)
  connect(broadcaster.subscribe({ allow }), { onEnd: () => broadcaster.close() })
  const after = connect(broadcaster)
  const loop = collectData(broadcaster)
  broadcaster.publish('t', 'x', { topic: 'a' })
  broadcaster.publish('y')
  await turn()
  for (const client of [before, after])
    assert.deepEqual([client.heard, client.state], [['t x', 'y'], 'ended'])
  assert.deepEqual(await loop, ['x', 'y'])
  assert.equal(broadcaster.subscriberCount, 0)
})

// ------------------------------------------------------------------------------- ends by a signal

test('[broadcast 6.6] a signal ends a loop that waits, and is forgotten by one that has ended', async () => {
  const broadcaster = new Broadcaster()
  const controller = new AbortController()
  const { signal } = controller
  const loop = broadcaster.subscribe({ signal })[Symbol.asyncIterator]()
  const waiting = loop.next()
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  const other = broadcaster.subscribe({ signal })[Symbol.asyncIterator]()
  await other.return!()
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  controller.abort()
  assert.deepEqual(await waiting, { done: true, value: undefined })
  assert.equal(broadcaster.subscriberCount, 0)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('[broadcast 6.6] thousands of loops on one signal are one listener, and all of them end', async (t) => {
  const warnings: string[] = []
  const onWarning = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  const broadcaster = new Broadcaster()
  const controller = new AbortController()
  const { signal } = controller
  const loops = Array.from({ length: 2000 }, () =>
    broadcaster.subscribe({ signal })[Symbol.asyncIterator](),
  )
  const results = loops.map((loop) => loop.next())
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  controller.abort()
  for (const result of await Promise.all(results)) assert.equal(result.done, true)
  assert.equal(broadcaster.subscriberCount, 0)
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(warnings, [])
})

test('[broadcast 6.6] a signal that has aborted before lets nothing begin', async () => {
  const broadcaster = new Broadcaster()
  const { lastEventId } = broadcaster
  void broadcaster.publish('zero one')
  const subscription = broadcaster.subscribe({ signal: AbortSignal.abort(), lastEventId })
  for await (const event of subscription) assert.fail(`got ${event.data}`)
  const client = connect(subscription)
  void broadcaster.publish('one')
  await turn()
  assert.equal(client.state, 'ended')
  assert.ok(!client.text.includes('one'))
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 6.6] a signal ends a stream whole, which is done', async () => {
  const broadcaster = new Broadcaster()
  const controller = new AbortController()
  const client = connect(broadcaster.subscribe({ signal: controller.signal }))
  void broadcaster.publish('one')
  await turn()
  controller.abort()
  assert.equal(client.state, 'ended')
  assert.ok(client.text.includes('one'))
  assert.equal(broadcaster.stats().ended.done, 1)
})

test('a generator around a subscription with the signal of its stream ends with its client', async () => {
  const broadcaster = new Broadcaster()
  const app = testApp(
    sse((_conn, { signal }) =>
      (async function* () {
        for await (const { data } of broadcaster.subscribe({ signal })) yield `${data}!`
      })(),
    ),
  )
  const stream = await testStream(app, '/')
  await turn()
  assert.equal(broadcaster.subscriberCount, 1)
  void broadcaster.publish('one')
  assert.equal((await stream.next()).data, 'one!')
  stream.leave()
  await stream.ended
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 6.2] a predicate that is none, and a reason that onEnd does not know, are refused', () => {
  const broadcaster = new Broadcaster()
  assert.throws(
    () => broadcaster.disconnect('alice' as never, 'because' as never),
    /^TypeError: Cannot disconnect "alice": expected a function of the subscriber, which says whether it is meant$/,
  )
  assert.throws(
    () => broadcaster.disconnect(() => true, 'because' as never),
    /^RangeError: Cannot disconnect for "because": expected one of client, done, .* or error$/,
  )
})

test('a signal that is none is refused', () => {
  assert.throws(
    () => new Broadcaster().subscribe({ signal: {} as never }),
    /^TypeError: Cannot subscribe with signal .*: expected an AbortSignal/,
  )
})
