import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'

import { collectData, connect, turn } from '../fixtures/fake-client.ts'
import type { Connecting, FakeClient } from '../fixtures/fake-client.ts'
import { Broadcaster, sse } from './index.ts'
import type { SubscribeOptions } from './index.ts'
import { advance, testStream } from './testing.ts'

// -------------------------------------------------------------------------------------- topics

test('[broadcast 5.1] an event reaches those of one of its topics once, those of all, and nobody else', async () => {
  const broadcaster = new Broadcaster()
  const [a, b, both, all, none] = [['a'], ['b'], ['a', 'b', 'a'], undefined, []].map((topics) =>
    connect(broadcaster.subscribe(topics === undefined ? {} : { topics })),
  )
  const published: [data: string, topic?: string | string[]][] = [
    ['to a', 'a'],
    ['to b', ['b']],
    ['to both', ['a', 'b', 'a']],
    ['to c', 'c'],
    ['to everyone'],
    ['to __proto__', '__proto__'],
    ['to the empty one', ''],
  ]
  for (const isOneTurn of [true, false]) {
    for (const [data, topic] of published) {
      broadcaster.publish('t', data, topic === undefined ? {} : { topic })
      if (!isOneTurn) await turn()
    }
    await turn()
  }
  const heard = (client: FakeClient | undefined): string[] =>
    client!.events.map(({ data }) => data.slice(3))
  assert.deepEqual(heard(a), twice('a', 'both', 'everyone'))
  assert.deepEqual(heard(b), twice('b', 'both', 'everyone'))
  assert.deepEqual(heard(both), twice('a', 'b', 'both', 'everyone'))
  assert.deepEqual(heard(none), twice('everyone'))
  assert.deepEqual(
    heard(all),
    twice('a', 'b', 'both', 'c', 'everyone', '__proto__', 'the empty one'),
  )
})

test('[broadcast 5.1] loops are subscribed to topics likewise, and so are clients that come back', async () => {
  const broadcaster = new Broadcaster()
  const loop = broadcaster.subscribe({ topics: ['a'] })
  const [first, rest] = [loop[Symbol.asyncIterator](), collectData(loop)]
  const next = first.next()
  const before = await broadcaster.publish('t', 'x', { topic: 'b' })
  for (const topic of ['a', 'b', 'a']) broadcaster.publish('t', topic, { topic })
  broadcaster.publish('all')
  const again = connect(broadcaster.subscribe({ topics: ['b'] }), { lastEventId: before })
  assert.deepEqual(again.heard, ['t b', 'all'])
  broadcaster.close()
  assert.equal((await next).value?.data, 'a')
  assert.deepEqual(await rest, ['a', 'a', 'all'])
})

test('[broadcast 1.1] clients of the same topics share their bytes, in whatever order they named them', async () => {
  const broadcaster = new Broadcaster()
  const subscribe = (...topics: string[]): FakeClient => connect(broadcaster.subscribe({ topics }))
  const same = [subscribe('a', 'b'), subscribe('b', 'a'), subscribe('a', 'b', 'b')]
  const [a, all] = [subscribe('a'), connect(broadcaster)]
  for (const topic of ['a', 'b', 'c']) broadcaster.publish('t', topic, { topic })
  await turn()
  for (const client of [...same, a, all]) assert.equal(client.writes.length, 2)
  for (const client of same) {
    assert.deepEqual(client.heard, ['t a', 't b'])
    assert.equal(client.writes[1], same[0]!.writes[1])
  }
  assert.deepEqual([a.heard, all.heard], [['t a'], ['t a', 't b', 't c']])
  // One event is the same bytes for all.
  broadcaster.publish('t', 'd', { topic: 'a' })
  await turn()
  for (const client of [...same, a, all]) assert.equal(client.writes[2], all.writes[2])
})

test('[broadcast 5.1] a client that has long heard nothing gets the next event of its topics, and no other', async () => {
  for (const hasRoom of [true, false]) {
    const broadcaster = new Broadcaster({ historyEvents: 4 })
    const client = connect(broadcaster.subscribe({ topics: ['a'] }))
    client.hasRoom = hasRoom
    broadcaster.publish('t', 'first', { topic: 'a' })
    await turn()
    for (let count = 0; count < 100; count++) {
      broadcaster.publish('t', `${count}`, { topic: 'b' })
      if (count % 3 === 0) await turn()
    }
    await turn()
    broadcaster.publish('t', 'not yet', { topic: 'a' }) // nobody has been woken for it
    client.drain()
    assert.deepEqual(client.heard.slice(0, 1), ['t first'])
    await turn()
    broadcaster.publish('t', 'last', { topic: 'a' })
    await turn()
    assert.deepEqual(client.heard, ['t first', 't not yet', 't last'])
    client.leave()
    assert.deepEqual([client.ends[0]!.sent, client.ends[0]!.dropped], [3, 0])
  }
})

test('[broadcast 5.1] topics that are no strings are refused', () => {
  for (const topics of [[5], [undefined], [null], [['a']], Array(1), 5]) {
    assert.throws(
      () => new Broadcaster().subscribe({ topics: topics as string[] }),
      /^TypeError: Cannot subscribe to the topic .*: it must be a string$/,
    )
  }
  assert.throws(
    () => new Broadcaster().subscribe(null as never),
    /^TypeError: Cannot subscribe with null/,
  )
  assert.throws(
    () => new Broadcaster().subscribe({ allow: 'a' as never }),
    /^TypeError: Cannot subscribe with allow "a": it must be a function$/,
  )
})

// --------------------------------------------------------------------------------------- allow

test('[broadcast 5.2] allow is asked of each topic of a subscriber, and of no event without topics', async () => {
  const asked: string[] = []
  const broadcaster = new Broadcaster()
  const client = connect(
    broadcaster.subscribe({
      topics: ['a', 'b', 'c'],
      allow: (topic) => (asked.push(topic), topic === 'b'),
    }),
  )
  broadcaster.publish('to everyone')
  broadcaster.publish('t', '1', { topic: 'a' })
  broadcaster.publish('t', '2', { topic: 'x' })
  broadcaster.publish('t', '3', { topic: ['x', 'a', 'b', 'c'] }) // one is enough
  await turn()
  assert.deepEqual(asked, ['a', 'a', 'b'])
  assert.deepEqual(client.heard, ['to everyone', 't 3'])
})

test('[broadcast 5.2] what allow says counts when an event is read: live, behind, replayed, in a loop', async () => {
  const rights = new Set(['a', 'b'])
  const allow = (topic: string): boolean => rights.has(topic)
  const broadcaster = new Broadcaster()
  const first = await broadcaster.publish('t', '0', { topic: 'a' })
  const live = connect(broadcaster.subscribe({ allow }))
  const slow = connect(broadcaster.subscribe({ allow }), { hasRoom: false })
  const loop = broadcaster.subscribe({ allow })[Symbol.asyncIterator]()
  const publish = async (data: string, topic: string): Promise<void> => {
    broadcaster.publish('t', data, { topic })
    await turn()
  }
  await publish('1', 'a')
  await publish('2', 'b')
  rights.delete('a')
  await publish('3', 'a')
  await publish('4', 'b')
  slow.drain()
  const again = connect(broadcaster.subscribe({ allow }), { lastEventId: first })
  assert.deepEqual(live.heard, ['t 1', 't 2', 't 4'])
  assert.deepEqual(slow.heard, ['t 2', 't 4'])
  assert.deepEqual(again.heard, ['t 2', 't 4'])
  assert.equal((await loop.next()).value?.data, '2')
  rights.add('a').delete('b')
  assert.equal((await loop.next()).value?.data, '3')
  await publish('5', 'b')
  await publish('6', 'a')
  for (const client of [live, slow, again]) assert.deepEqual(client.heard.slice(-2), ['t 4', 't 6'])
  assert.equal((await loop.next()).value?.data, '6')
})

test('[broadcast 5.2] what allow says of one client changes nothing of what others get', async () => {
  const broadcaster = new Broadcaster()
  const clients = [['a'], ['b'], ['a', 'b'], []].map((rights) =>
    connect(
      broadcaster.subscribe({ topics: ['a', 'b'], allow: (topic) => rights.includes(topic) }),
    ),
  )
  for (const topic of ['a', 'b', 'a']) broadcaster.publish('t', topic, { topic })
  await turn()
  assert.deepEqual(
    clients.map(({ heard }) => heard.join()),
    ['t a,t a', 't b', 't a,t b,t a', ''],
  )
})

// --------------------------------------------------------------------------------- what is missed

test('[broadcast 5.3] what is not for a client has it neither cut nor miss anything', async () => {
  for (const [whenBehind, expected] of [
    ['disconnect', ['t mine']],
    ['drop-oldest', ['t mine']],
  ] as const) {
    const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind })
    const filters: SubscribeOptions[] = [{ topics: ['a'] }, { allow: (topic) => topic === 'a' }]
    for (const filter of filters) {
      const slow = connect(broadcaster.subscribe(filter), { hasRoom: false })
      const loop = broadcaster.subscribe(filter)[Symbol.asyncIterator]()
      for (let count = 0; count < 10; count++) {
        broadcaster.publish('t', `${count}`, { topic: 'b' })
        if (count === 5) await turn()
      }
      await turn()
      assert.deepEqual(
        broadcaster.subscribers().map(({ behind, dropped }) => [behind, dropped]),
        [
          [0, 0],
          [0, 0],
        ],
      )
      assert.equal(broadcaster.stats().behind, 0)
      broadcaster.publish('t', 'mine', { topic: 'a' })
      broadcaster.publish('t', 'not mine', { topic: 'b' })
      await turn()
      assert.deepEqual(
        broadcaster.subscribers().map(({ behind }) => behind),
        [1, 1],
      )
      slow.drain()
      assert.deepEqual(slow.heard, expected)
      assert.equal((await loop.next()).value?.data, 'mine')
      slow.leave()
      assert.deepEqual(slow.ends[0]!.dropped, 0)
      void loop.return!()
    }
  }
})

test('[broadcast 5.3] with an event for it among those that go, a client misses that one, and is cut for it', async () => {
  for (const whenBehind of ['disconnect', 'drop-oldest'] as const) {
    const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind })
    const slow = connect(broadcaster.subscribe({ topics: ['a'] }), { hasRoom: false })
    const loop = broadcaster.subscribe({ topics: ['a'] })[Symbol.asyncIterator]()
    const topics = ['b', 'a', 'b', 'b', 'b', 'a']
    for (const topic of topics) {
      broadcaster.publish('t', topic, { topic })
      await turn()
    }
    slow.drain()
    if (whenBehind === 'disconnect') {
      assert.equal(slow.state, 'cut')
      assert.equal(slow.ends[0]!.dropped, 1) // it was gone before the last one came
      await assert.rejects(loop.next(), { lost: 1 })
    } else {
      assert.deepEqual(slow.heard, ['gap {"missed":1}', 't a'])
      assert.equal((await loop.next()).value?.data, '{"missed":1}')
      assert.equal((await loop.next()).value?.data, 'a')
    }
  }
})

test('[broadcast 5.3] a loop of topics that begins after the history has moved on is not too slow for that', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const subscription = broadcaster.subscribe({ topics: ['a'] })
  for (let count = 0; count < 5; count++) broadcaster.publish('t', `${count}`, { topic: 'b' })
  broadcaster.publish('t', 'mine', { topic: 'a' })
  broadcaster.close()
  assert.deepEqual(await collectData(subscription), ['{"missed":null}', 'mine'])
})

// -------------------------------------------------------------------------------- allow that throws

test('[broadcast 5.4] an allow that throws ends its stream as failed, and nobody else notices', async () => {
  const boom = new Error('boom')
  const allow = (topic: string): boolean => {
    if (topic === 'bad') throw boom
    return true
  }
  const broadcaster = new Broadcaster()
  const subscribe = (options: SubscribeOptions, more?: Connecting): FakeClient =>
    connect(broadcaster.subscribe(options), more)
  const before = subscribe({})
  const failing = subscribe({ allow })
  const mapped = subscribe({ allow }, { mapError: () => 'sorry' })
  const after = subscribe({ topics: ['good', 'bad'] })
  const other = subscribe({ topics: ['good'], allow })
  broadcaster.publish('t', '1', { topic: 'good' })
  await turn()
  broadcaster.publish('t', '2', { topic: 'bad' })
  broadcaster.publish('t', '3', { topic: 'good' })
  await turn()
  assert.deepEqual([failing.state, failing.error], ['aborted', boom])
  const { reason, error, sent, dropped } = failing.ends[0]!
  assert.deepEqual(
    { reason, error, sent, dropped },
    { reason: 'error', error: boom, sent: 1, dropped: 1 },
  )
  assert.deepEqual([mapped.state, mapped.heard], ['ended', ['t 1', 'sorry']])
  for (const { heard } of [before, after]) assert.deepEqual(heard, ['t 1', 't 2', 't 3'])
  assert.deepEqual(other.heard, ['t 1', 't 3'])
  assert.equal(broadcaster.stats().ended.error, 2)
  assert.equal(broadcaster.subscriberCount, 3)
})

test('[broadcast 5.4] an allow that throws of an event that leaves fails the stream and the loop, not publish', async () => {
  const boom = new Error('boom')
  for (const whenBehind of ['disconnect', 'drop-oldest'] as const) {
    let isBad = false
    const broadcaster = new Broadcaster({ historyEvents: 2, whenBehind })
    const allow = (): boolean => {
      if (isBad) throw boom
      return true
    }
    const slow = connect(broadcaster.subscribe({ allow }), { hasRoom: false })
    const loop = broadcaster.subscribe({ allow })[Symbol.asyncIterator]()
    const other = connect(broadcaster)
    for (const data of ['1', '2']) broadcaster.publish('t', data, { topic: 'a' })
    await turn()
    isBad = true
    for (const data of ['3', '4']) broadcaster.publish('t', data, { topic: 'a' })
    await turn()
    assert.deepEqual([slow.state, slow.error], ['aborted', boom])
    assert.deepEqual(other.heard, ['t 1', 't 2', 't 3', 't 4'])
    assert.equal(broadcaster.stats().subscribers, 2)
    await assert.rejects(loop.next(), boom)
    assert.deepEqual(await loop.next(), { done: true, value: undefined })
    assert.equal(broadcaster.subscriberCount, 1)
  }
})

test('[broadcast 5.4] an allow that throws while nothing is read but counted ends nothing', async () => {
  let isBad = false
  const broadcaster = new Broadcaster()
  const allow = (): boolean => {
    if (isBad) throw new Error('boom')
    return true
  }
  const slow = connect(broadcaster.subscribe({ allow }), { hasRoom: false })
  for (const data of ['1', '2']) broadcaster.publish('t', data, { topic: 'a' })
  await turn()
  assert.equal(broadcaster.stats().mostBehind, 2)
  isBad = true
  assert.equal(broadcaster.subscribers().length, 1)
  assert.equal(broadcaster.stats().mostBehind, 0)
  isBad = false
  slow.drain()
  assert.deepEqual(slow.heard, ['t 1', 't 2'])
})

test('[broadcast 5.4] a loop whose allow throws rejects, and is done', async () => {
  const broadcaster = new Broadcaster()
  const allow = (topic: string): boolean => {
    if (topic === 'bad') throw new Error('boom')
    return true
  }
  const loop = broadcaster.subscribe({ allow })[Symbol.asyncIterator]()
  const asked = [loop.next(), loop.next(), loop.next()]
  broadcaster.publish('t', '1', { topic: 'good' })
  broadcaster.publish('t', '2', { topic: 'bad' })
  assert.equal((await asked[0])?.value?.data, '1')
  await assert.rejects(asked[1]!, /boom/)
  assert.equal((await asked[2])?.done, true)
  assert.equal(broadcaster.subscriberCount, 0)
})

// --------------------------------------------------------------------------------------- tools

function twice(...items: string[]): string[] {
  return [...items, ...items]
}

// ------------------------------------------------------------------------------- quiet topics

test('[broadcast 4.9] a client of a quiet topic is told by heartbeats where it stands, and comes back without a gap', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 4 })
  const app = testApp(sse(() => broadcaster.subscribe({ topics: ['quiet'] })))
  const stream = await testStream(app, '/')
  for (let count = 0; count < 20; count++)
    await broadcaster.publish('busy', String(count), { topic: 'busy' })
  await advance(15_000)
  assert.equal(stream.lastEventId, broadcaster.lastEventId)
  const textOf = (): string => Buffer.from(stream.response.bytes).toString()
  const { length } = textOf()
  await advance(15_000)
  assert.equal(textOf().slice(length), ':\n') // it knows
  stream.leave()

  void broadcaster.publish('quiet', 'missed', { topic: 'quiet' })
  const again = await testStream(app, '/', { lastEventId: stream.lastEventId })
  assert.equal((await again.next()).data, 'missed')
  assert.equal(again.events.length, 1)
  again.leave()
})

test('[broadcast 4.9] a client of a quiet topic is told where it stands before a whole end', async () => {
  for (const end of ['maxAge', 'stop'] as const) {
    const broadcaster = new Broadcaster({ historyEvents: 4 })
    const app = testApp(
      sse(() => broadcaster.subscribe({ allow: (topic) => topic === 'quiet' }), {
        heartbeatMs: 0,
        maxAgeMs: 10_000,
      }),
    )
    const stream = await testStream(app, '/')
    for (let count = 0; count < 20; count++)
      await broadcaster.publish('busy', String(count), { topic: 'busy' })
    if (end === 'stop') await app.shutDown()
    else await advance(10_000)
    assert.equal((await stream.ended).reason, end === 'stop' ? 'shutdown' : 'max-age')
    assert.equal(stream.lastEventId, broadcaster.lastEventId)
    assert.match(Buffer.from(stream.response.bytes).toString(), /\nid: \w+-20\n\nretry: \d+\n$/)
  }
})

test('[broadcast 5.1] undefined as topic or topics is refused, and so is what publish does not know', () => {
  const broadcaster = new Broadcaster()
  const topic = undefined as unknown as string
  assert.throws(
    () => broadcaster.publish('t', 'x', { topic }),
    /^TypeError: Cannot publish to the topic undefined/,
  )
  assert.throws(
    () => broadcaster.subscribe({ topics: topic as unknown as string[] }),
    /^TypeError: Cannot subscribe to the topic undefined/,
  )
  assert.throws(
    () => broadcaster.publish('t', 'x', { topics: ['a'] } as never),
    /^TypeError: Cannot publish with "topics": expected topic or id/,
  )
  assert.equal(broadcaster.stats().published, 0)
})

test('[broadcast 4.9] notes, and events for others in the same turn, do not hide that a client has to be told', async () => {
  for (const between of [
    (b: Broadcaster) => b.publish({ comment: 'still here' }),
    (b: Broadcaster) => b.publish('a', 'x', { topic: 'a' }),
  ]) {
    const broadcaster = new Broadcaster({ historyEvents: 10 })
    const app = testApp(sse(() => broadcaster.subscribe({ topics: ['a'] })))
    const stream = await testStream(app, '/')
    void between(broadcaster)
    for (let count = 0; count < 9; count++) void broadcaster.publish('b', 'x', { topic: 'b' })
    await turn()
    await advance(17_000)
    assert.equal(stream.lastEventId, broadcaster.lastEventId)
    stream.leave()
  }
})

test('[broadcast 4.9] where the app gives ids, they are what says where a client stands', async () => {
  const broadcaster = new Broadcaster()
  void broadcaster.publish('t', 'x', { topic: 'b', id: 'row-41' })
  const app = testApp(sse(() => broadcaster.subscribe({ topics: ['a'] })))
  const stream = await testStream(app, '/')
  assert.equal(stream.lastEventId, 'row-41')
  void broadcaster.publish('t', 'x', { topic: 'b', id: 'row-42' })
  await turn()
  await advance(15_000)
  assert.equal(stream.lastEventId, 'row-42')
  assert.equal(broadcaster.lastEventId, 'row-42')
  stream.leave()
})

test('[broadcast 5.2] nothing but true lets an event through, and a slip of subscribe() is refused', async () => {
  const broadcaster = new Broadcaster()
  for (const answer of [undefined, null, 0, 1, 'yes', Promise.resolve(true)]) {
    const client = connect(broadcaster.subscribe({ allow: (() => answer) as never }))
    void broadcaster.publish('t', 'secret', { topic: 'a' })
    await turn()
    assert.ok(!client.text.includes('secret'))
    client.leave()
  }
  assert.throws(
    () => broadcaster.subscribe({ allow: undefined as never }),
    /^TypeError: Cannot subscribe with allow undefined: it must be a function/,
  )
  assert.throws(
    () => broadcaster.subscribe({ topic: 'a' } as never),
    /^TypeError: Cannot subscribe with "topic": expected topics, allow/,
  )
})

test('an allow that ends its own stream ends it whole, and nothing is counted twice', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(
    broadcaster.subscribe({ allow: () => broadcaster.disconnect(() => true) > 0 }),
  )
  void broadcaster.publish('t', 'x', { topic: 'a' })
  await turn()
  assert.equal(client.state, 'ended')
  assert.ok(!client.text.includes('data:'))
  const { sent, dropped } = broadcaster.stats()
  assert.deepEqual({ sent, dropped }, { sent: 0, dropped: 0 }) // it was allowed nothing
})
