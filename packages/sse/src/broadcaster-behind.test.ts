import assert from 'node:assert/strict'
import { test } from 'node:test'

import { bytesOf, collect, connect, mockClock, turn } from '../fixtures/fake-client.ts'
import type { FakeClient } from '../fixtures/fake-client.ts'
import { Broadcaster, SseEvent, SubscriberTooSlowError } from './index.ts'
import type { BroadcasterOptions } from './index.ts'

// ---------------------------------------------------------------------------------- slow clients

test('[broadcast 3.1] a slow client is left alone, and catches up from the history in large writes', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const slow = connect(broadcaster, { hasRoom: false })
  const fast = connect(broadcaster)
  const data = 'x'.repeat(1000)
  for (let count = 0; count < 500; count++) {
    broadcaster.publish(data)
    await turn()
  }
  assert.equal(fast.writes.length, 501)
  assert.equal(slow.writes.length, 1)

  slow.hasRoom = true
  slow.drain()
  assert.equal(slow.text, fast.text)
  // 504,000 bytes in runs of at least 64 KiB, each less than one event longer.
  const sizes = slow.writes.slice(1).map((chunk) => bytesOf(chunk).length)
  assert.equal(sizes.length, 8)
  for (const size of sizes.slice(0, -1)) assert(size >= 65_536 && size < 65_536 + 1008, `${size}`)
})

test('[broadcast 3.1] a client that catches up stops where there is no more room, and goes on from there', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const slow = connect(broadcaster, { hasRoom: false })
  const fast = connect(broadcaster)
  for (let count = 0; count < 200; count++) broadcaster.publish(`${count}:${'x'.repeat(1000)}`)
  await turn()
  let drains = 0
  while (slow.text !== fast.text) {
    const before = slow.writes.length
    slow.drain(false)
    drains++
    assert.equal(slow.writes.length, before + 1)
  }
  assert.equal(drains, 4)
  slow.drain(false)
  assert.equal(slow.text, fast.text)
})

test('[broadcast 1.1] slow clients at the same place share their large writes', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const slow = Array.from({ length: 3 }, () => connect(broadcaster, { hasRoom: false }))
  for (let count = 0; count < 300; count++) broadcaster.publish(`${count}:${'x'.repeat(1000)}`)
  await turn()
  for (let round = 1; round <= 5; round++) {
    for (const client of slow) client.drain(false)
    for (const client of slow) {
      assert.equal(client.writes.length, 1 + round)
      assert.equal(client.writes[round], slow[0]!.writes[round])
    }
  }
})

test('a client gets all that is there in one write, even if another got less from the same place', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const [earlier, later] = [1, 2].map(() => connect(broadcaster, { hasRoom: false }))
  broadcaster.publish('a')
  broadcaster.publish('b')
  await turn()
  earlier!.drain(false)
  broadcaster.publish('c')
  await turn()
  later!.drain(false)
  assert.equal(earlier!.text, ':\ndata: a\n\ndata: b\n\n')
  assert.equal(later!.text, ':\ndata: a\n\ndata: b\n\ndata: c\n\n')
  assert.equal(later!.writes.length, 2)
})

test('a shared write is not taken for that of another place, nor for a longer one', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const [first, second] = [connect(broadcaster), connect(broadcaster, { hasRoom: false })]
  const third = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('a')
  broadcaster.publish('b')
  await turn()
  second.drain(false)
  broadcaster.publish('c')
  await turn()
  broadcaster.publish('d')
  await turn()
  second.drain(false)
  third.drain(false)
  const all = ':\ndata: a\n\ndata: b\n\ndata: c\n\ndata: d\n\n'
  assert.deepEqual([first.text, second.text, third.text], [all, all, all])
})

test('[broadcast 3.3] a client that falls off the history is cut, while others get everything', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyEvents: 3 })
  const stuck = connect(broadcaster, { hasRoom: false })
  const fast = connect(broadcaster)
  let expected = ':\n'
  for (let count = 0; count < 10; count++) {
    broadcaster.publish(String(count))
    expected += `data: ${count}\n\n`
    await turn()
    // At once, not when it has read what it was sent, which may be never.
    assert.equal(stuck.state, count < 3 ? 'open' : 'cut')
  }
  assert.equal(stuck.text, ':\n')
  assert.equal(broadcaster.subscriberCount, 1)
  assert.equal(fast.text, expected)
  assert.equal(fast.state, 'open')
  stuck.drain()
  broadcaster.publish('more')
  await turn()
  assert.equal(fast.text, `${expected}data: more\n\n`)
  assert.equal(stuck.text, ':\n')
})

test('[broadcast 3.3] a client that is as far behind as the history reaches loses nothing', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyEvents: 3 })
  const slow = connect(broadcaster, { hasRoom: false })
  for (const data of ['a', 'b', 'c']) broadcaster.publish(data)
  await turn()
  slow.hasRoom = true
  slow.drain()
  assert.equal(slow.state, 'open')
  assert.equal(slow.text, ':\ndata: a\n\ndata: b\n\ndata: c\n\n')
})

test('a client that has no room when it comes, and falls off, is cut also while a stop waits for it', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyEvents: 1 })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('a')
  client.source.stop()
  broadcaster.publish('b')
  await turn()
  assert.equal(client.state, 'cut') // no whole end: it has lost something
})

test('[broadcast 3.1] a slow client of topics gets all that is for it, in order and once', async () => {
  const broadcaster = new Broadcaster()
  const slow = connect(broadcaster.subscribe({ topics: ['even'] }), { hasRoom: false })
  for (let count = 0; count < 400; count++) {
    broadcaster.publish('t', `${count}:${'x'.repeat(1000)}`, {
      topic: count % 2 === 0 ? 'even' : 'odd',
    })
    if (count % 7 === 0) await turn()
    if (count % 90 === 50) slow.drain(false)
  }
  await turn()
  slow.drain()
  assert.deepEqual(
    slow.events.map(({ data }) => Number.parseInt(data)),
    Array.from({ length: 200 }, (_, at) => 2 * at),
  )
})

test('[broadcast 3.2] a slow client makes no difference to others: the same writes at the same time', async () => {
  for (const whenBehind of ['disconnect', 'drop-oldest'] as const) {
    const [alone, together] = [0, 1].map((slowCount) => {
      const broadcaster = new Broadcaster({ replay: false, historyEvents: 5, whenBehind })
      const slow = Array.from({ length: slowCount }, () => connect(broadcaster, { hasRoom: false }))
      return { broadcaster, slow, client: connect(broadcaster) }
    })
    for (let count = 0; count < 30; count++) {
      for (const { broadcaster } of [alone!, together!]) broadcaster.publish(`${count}`)
      if (count % 4 !== 0) continue
      await turn()
      assert.deepEqual(together!.client.writes, alone!.client.writes)
    }
    await turn()
    assert.deepEqual(together!.client.writes, alone!.client.writes)
    assert.equal(together!.client.heard.length, 30)
  }
})

test('[broadcast 3.3] the reason of a client that is cut is slow, and all it has not got counts as dropped', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  const client = connect(broadcaster, { hasRoom: false })
  for (const data of ['a', 'b', 'c', 'd']) broadcaster.publish(data)
  await turn()
  assert.equal(client.state, 'cut')
  const { reason, sent, dropped } = client.ends[0]!
  assert.deepEqual({ reason, sent, dropped }, { reason: 'slow', sent: 0, dropped: 4 })
  assert.equal(broadcaster.stats().ended.slow, 1)
  assert.equal(broadcaster.stats().dropped, 4)
})

test('[broadcast 3.3] a client falls off also by the bytes of the history, and by its age', (t) => {
  const clock = mockClock(t)
  const options: BroadcasterOptions[] = [{ historyBytes: 100 }, { historyMs: 1000 }]
  for (const each of options) {
    clock.now = 0
    const broadcaster = new Broadcaster(each)
    const client = connect(broadcaster, { hasRoom: false })
    broadcaster.publish('first')
    clock.now = 1001
    broadcaster.publish('x'.repeat(90))
    broadcaster.publish('y')
    assert.equal(client.state, 'cut')
  }
})

test('[broadcast 3.3] a client that has room again after its events are too old is cut, not told of them', async (t) => {
  const clock = mockClock(t)
  const broadcaster = new Broadcaster({ historyMs: 1000, replay: false })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('old')
  await turn()
  clock.now = 1001
  client.drain()
  assert.equal(client.state, 'cut')
  assert.equal(client.text, ':\n')
})

test('[broadcast 3.3] a loop that reads on after its events are too old throws', async (t) => {
  const clock = mockClock(t)
  const broadcaster = new Broadcaster({ historyMs: 1000 })
  const loop = broadcaster[Symbol.asyncIterator]()
  broadcaster.publish('old')
  broadcaster.publish('as old')
  clock.now = 1001
  await assert.rejects(loop.next(), { name: 'SubscriberTooSlowError', lost: 2 })
})

test('[broadcast 3.4] drop-oldest goes on with the oldest event that is kept, after a gap', async () => {
  const broadcaster = new Broadcaster({
    replay: false,
    historyEvents: 3,
    whenBehind: 'drop-oldest',
  })
  const slow = connect(broadcaster, { hasRoom: false })
  for (let count = 0; count < 10; count++) {
    broadcaster.publish(`${count}`)
    await turn()
  }
  assert.equal(slow.text, ':\n')
  slow.drain()
  assert.equal(slow.text, ':\nevent: gap\ndata: {"missed":7}\n\ndata: 7\n\ndata: 8\n\ndata: 9\n\n')
  broadcaster.publish('10')
  await turn()
  assert.deepEqual(slow.heard.slice(-2), ['9', '10'])
  slow.leave()
  const { reason, sent, dropped } = slow.ends[0]!
  assert.deepEqual({ reason, sent, dropped }, { reason: 'client', sent: 4, dropped: 7 })
})

test('[broadcast 3.4] a client that has room for the gap alone goes on from there, and may get another', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2, whenBehind: 'drop-oldest' })
  const slow = connect(broadcaster, { hasRoom: false })
  const publish = async (...texts: string[]): Promise<void> => {
    for (const text of texts) broadcaster.publish(text)
    await turn()
  }
  await publish('a', 'b', 'c')
  slow.drain(false)
  assert.deepEqual(slow.heard, ['gap {"missed":1}'])
  await publish('d', 'e', 'f')
  slow.drain(false)
  assert.deepEqual(slow.heard, ['gap {"missed":1}', 'gap {"missed":3}'])
  slow.drain(false)
  await publish('g')
  assert.deepEqual(slow.heard.slice(2), ['e', 'f'])
  slow.drain()
  assert.deepEqual(slow.heard.slice(2), ['e', 'f', 'g'])
  assert.equal(broadcaster.stats().gaps, 2)
  assert.equal(broadcaster.stats().dropped, 4)
})

test('[broadcast 3.4] a slow client in the middle of a burst larger than the history gets its end', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind: 'drop-oldest' })
  const [slow, fast] = [connect(broadcaster, { hasRoom: false }), connect(broadcaster)]
  for (let count = 0; count < 20; count++) {
    broadcaster.publish(`${count}`)
    if (count === 11) slow.drain(false) // in the middle of the turn: the gap
  }
  slow.drain()
  assert.deepEqual(slow.heard, ['gap {"missed":9}', 'gap {"missed":8}', '17', '18', '19'])
  await turn()
  assert.equal(slow.heard.length, 5)
  assert.deepEqual(
    fast.heard,
    Array.from({ length: 20 }, (_, count) => `${count}`),
  )
})

test('[broadcast 3.4] a client whose events have all become too old is told so when it reads', async (t) => {
  const clock = mockClock(t)
  const broadcaster = new Broadcaster({ historyMs: 1000, whenBehind: 'drop-oldest' })
  const slow = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('a')
  broadcaster.publish('b')
  await turn()
  clock.now = 1001
  slow.drain()
  assert.deepEqual(slow.heard, ['gap {"missed":2}'])
  broadcaster.publish('c')
  await turn()
  assert.deepEqual(slow.heard, ['gap {"missed":2}', 'c'])
})

test('[broadcast 3.5] coalesce leaves out what a newer event of its type replaces, for who is behind alone', async () => {
  const broadcaster = prices({ price: true })
  const [slow, fast] = [connect(broadcaster, { hasRoom: false }), connect(broadcaster)]
  const texts = ['a 1', 'b 1', 'a 2', 'b 2', 'a 3']
  for (const text of texts) broadcaster.publish('price', text)
  broadcaster.publish('other', 'x')
  broadcaster.publish('other', 'x')
  await turn()
  slow.drain()
  assert.deepEqual(fast.heard, [...texts.map((text) => `price ${text}`), 'other x', 'other x'])
  assert.deepEqual(slow.heard, ['price a 3', 'other x', 'other x'])
  // From when it has caught up it gets every event again.
  for (const text of texts) broadcaster.publish('price', text)
  await turn()
  assert.deepEqual(slow.heard.slice(3), fast.heard.slice(7))
})

test('[broadcast 3.5] with a function there is an event for each key, and keys of two types are two', async () => {
  const key = (data: string): string => data.split(' ')[0]!
  const broadcaster = prices({ price: key, 'price a': key })
  const slow = connect(broadcaster, { hasRoom: false })
  const fast = connect(broadcaster)
  for (const text of ['a 1', 'b 1', 'a 2', 'c 1', 'a 3']) broadcaster.publish('price', text)
  broadcaster.publish('price a', 'b 2') // its key and type, put together, are those of `price`
  broadcaster.publish('price', 'a b')
  await turn()
  slow.drain()
  assert.deepEqual(slow.heard, ['price b 1', 'price c 1', 'price a b 2', 'price a b'])
  assert.equal(fast.heard.length, 7)
})

test('[broadcast 3.5] messages are coalesced by the type message; what has no data is none', async () => {
  const broadcaster = prices({ message: true })
  const slow = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('one')
  broadcaster.publish('message', 'two')
  broadcaster.publish(SseEvent.comment('no message'))
  broadcaster.publish({ id: '7' })
  await turn()
  slow.drain()
  assert.deepEqual(slow.heard, ['two'])
})

test('[broadcast 3.5] an event replaces those of the same topics alone: nobody loses its newest', async () => {
  const broadcaster = prices({ price: true })
  const subscribe = (...topics: string[]): FakeClient =>
    connect(broadcaster.subscribe({ topics }), { hasRoom: false })
  const [a, b, both] = [subscribe('a'), subscribe('b'), subscribe('a', 'b')]
  broadcaster.publish('price', '1', { topic: 'a' })
  broadcaster.publish('price', '2', { topic: ['a', 'b'] })
  broadcaster.publish('price', '3', { topic: 'b' })
  broadcaster.publish('price', '4', { topic: ['b', 'a'] })
  broadcaster.publish('price', '5', { topic: 'b' })
  await turn()
  for (const client of [a, b, both]) client.drain()
  assert.deepEqual(a.heard, ['price 1', 'price 4'])
  assert.deepEqual(b.heard, ['price 4', 'price 5'])
  assert.deepEqual(both.heard, ['price 1', 'price 4', 'price 5'])
})

test('[broadcast 3.5] what has left the history and was replaced is no gap', async () => {
  const broadcaster = prices({ price: true }, 3)
  const slow = connect(broadcaster, { hasRoom: false })
  for (let count = 0; count < 10; count++) broadcaster.publish('price', `${count}`)
  await turn()
  slow.drain()
  assert.deepEqual(slow.heard, ['price 9'])
  slow.leave()
  assert.deepEqual([slow.ends[0]!.sent, slow.ends[0]!.dropped], [1, 9])
})

test('[broadcast 3.6] a gap counts what no newer event takes the place of', async () => {
  const broadcaster = prices({ price: true }, 3)
  const slow = connect(broadcaster, { hasRoom: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  for (const type of ['price', 'other', 'price', 'other', 'price', 'other', 'price'])
    broadcaster.publish(type, 'x')
  await turn()
  slow.drain()
  assert.deepEqual(slow.heard, ['gap {"missed":2}', 'other x', 'price x'])
  const read = [await loop.next(), await loop.next(), await loop.next()]
  assert.deepEqual(
    read.map(({ value }) => `${value!.type} ${value!.data}`),
    slow.heard,
  )
})

test('[broadcast 3.6] a loop gets the gap before the next event, too, and goes on', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2, whenBehind: 'drop-oldest' })
  const loop = broadcaster[Symbol.asyncIterator]()
  const ids = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((data) => broadcaster.publish(data)))
  broadcaster.close()
  const events = await collect(loop)
  assert.deepEqual(
    events.map(({ type, data, id }) => [type, data, id]),
    [
      ['gap', '{"missed":3}', ids[2]],
      [undefined, 'd', ids[3]],
      [undefined, 'e', ids[4]],
    ],
  )
})

test('[broadcast 3.6] what a subscriber begins too late for is a gap to it: null where nobody knows', async () => {
  for (const [whenBehind, options, gap] of [
    ['drop-oldest', {}, 'gap {"missed":3}'],
    ['drop-oldest', { topics: ['none'] }, 'gap {"missed":null}'],
    ['disconnect', {}, 'gap {"missed":3}'],
    ['disconnect', { allow: () => true }, 'gap {"missed":null}'],
  ] as const) {
    const broadcaster = new Broadcaster({ historyEvents: 2, whenBehind })
    const subscription = broadcaster.subscribe(options)
    for (const data of ['a', 'b', 'c', 'd', 'e']) broadcaster.publish(data)
    assert.deepEqual(connect(subscription).heard, [gap, 'd', 'e'])
    const loop = subscription[Symbol.asyncIterator]()
    if (whenBehind === 'disconnect' && !('allow' in options)) {
      await assert.rejects(loop.next(), SubscriberTooSlowError)
    } else {
      const { value } = await loop.next()
      assert.equal(`${value!.type} ${value!.data}`, gap)
    }
  }
})

test('[broadcast 3.7] dropped is what a subscriber has not got: too slow, coalesced, left, or ended before', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const ways: Record<string, [(client: FakeClient, it: Broadcaster) => void, dropped: number]> = {
    leaves: [(client) => client.leave(), 3],
    'is revoked': [(_, it) => void it.disconnect(() => true), 3],
    'is stopped and does not read': [
      (client) => (client.source.stop(), t.mock.timers.tick(1000)),
      3,
    ],
    'is stopped and reads': [(client) => (client.source.stop(), client.drain()), 0],
    'catches up': [(client) => (client.drain(), client.leave()), 0],
  }
  for (const [way, [end, dropped]] of Object.entries(ways)) {
    const broadcaster = new Broadcaster()
    const client = connect(broadcaster, { hasRoom: false })
    for (const data of ['a', 'b', 'c']) broadcaster.publish(data)
    await turn()
    end(client, broadcaster)
    assert.equal(client.ends[0]!.dropped, dropped, way)
    assert.equal(client.ends[0]!.sent, 3 - dropped, way)
    assert.deepEqual(
      [broadcaster.stats().dropped, broadcaster.stats().sent],
      [dropped, 3 - dropped],
    )
  }
})

test('[broadcast 3.7] a loop that ends with events unread has them counted as dropped, those for it', async () => {
  const broadcaster = new Broadcaster()
  const loop = broadcaster.subscribe({ topics: ['a'] })[Symbol.asyncIterator]()
  for (const topic of ['a', 'b', 'a', 'b', 'a']) broadcaster.publish('t', topic, { topic })
  await loop.next()
  await loop.return!()
  await loop.return!()
  const { sent, dropped } = broadcaster.stats()
  assert.deepEqual({ sent, dropped }, { sent: 1, dropped: 2 })
})

// --------------------------------------------------------------------------------------- tools

function prices(
  coalesce: NonNullable<BroadcasterOptions['coalesce']>,
  historyEvents = 100,
): Broadcaster {
  return new Broadcaster({ replay: false, whenBehind: 'coalesce', coalesce, historyEvents })
}
