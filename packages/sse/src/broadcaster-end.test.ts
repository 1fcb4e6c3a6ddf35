import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toFetch } from '@wakerobin/core/fetch'

import {
  collectData,
  connect,
  countTimers,
  FakeClient,
  mockClock,
  turn,
} from '../fixtures/fake-client.ts'
import { Broadcaster, sse } from './index.ts'
import type { StreamEnd } from './index.ts'

// -------------------------------------------------------------------------------------- the end

test('[broadcast 7.1] close() ends clients whole after what was published before, and loops too', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster)
  const loop = collectData(broadcaster)
  broadcaster.publish('last')
  assert(!broadcaster.isClosed)
  broadcaster.close()
  broadcaster.close()
  assert(broadcaster.isClosed)
  assert.equal(client.text, ':\ndata: last\n\n')
  assert.equal(client.state, 'ended')
  assert.deepEqual(await loop, ['last'])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 3.7] onEnd counts what a client has got that leaves a web stream', async () => {
  const broadcaster = new Broadcaster()
  const ends: StreamEnd[] = []
  const fetch = toFetch(sse(() => broadcaster, { onEnd: (_conn, end) => void ends.push(end) }))
  const response = await fetch(
    new Request('http://localhost/', { headers: { accept: 'text/event-stream' } }),
  )
  const reader = response.body!.getReader()
  await reader.read()
  for (const text of ['one', 'two', 'three']) {
    broadcaster.publish(text)
    await turn()
  }
  broadcaster.publish('of this turn')
  await reader.cancel()
  assert.deepEqual(
    ends.map(({ reason, sent, dropped }) => [reason, sent, dropped]),
    [['client', 3, 1]],
  )
})

test('[broadcast 7.1] a closed broadcaster refuses to publish, and says what', () => {
  const broadcaster = new Broadcaster({ replay: false })
  broadcaster.close()
  assert.throws(
    () => broadcaster.publish('hello'),
    /^TypeError: Cannot publish "hello": the broadcaster is closed$/,
  )
  assert.throws(() => broadcaster.publish('t', 'hello'), /closed/)
})

test('[broadcast 7.1] a subscription to a closed broadcaster ends at once', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  broadcaster.publish('before')
  broadcaster.close()
  const client = connect(broadcaster)
  assert.equal(client.text, ':\n')
  assert.equal(client.state, 'ended')
  assert.deepEqual(await collectData(broadcaster), [])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 7.2] a stop sends what was published before it, then a retry, then ends', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster)
  broadcaster.publish('last words')
  client.source.stop()
  assert.equal(client.text, ':\ndata: last words\n\nretry: 1000\n')
  assert.equal(client.state, 'ended')
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 7.2] a stop waits for a client that has no room, and ends it once it has read', (t) => {
  const broadcaster = new Broadcaster({ replay: false })
  const random = t.mock.method(Math, 'random', () => 0)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  client.source.stop()
  client.source.stop()
  broadcaster.close() // changes nothing any more
  t.mock.timers.tick(999)
  assert.equal(client.text, ':\n')
  assert.equal(client.state, 'open')
  client.drain(false)
  assert.equal(client.text, ':\ndata: last words\n\nretry: 1000\n')
  assert.equal(client.state, 'ended')
  assert.equal(random.mock.callCount(), 1)
  t.mock.timers.tick(10_000)
  assert.equal(client.state, 'ended')
})

test('[broadcast 7.2] a stop waits no longer than a second, and cuts what has not got everything', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  client.source.stop()
  t.mock.timers.tick(999)
  assert.equal(client.state, 'open')
  t.mock.timers.tick(1)
  assert.equal(client.state, 'cut')
  assert.equal(broadcaster.subscriberCount, 0)
  client.drain()
  assert.equal(client.text, ':\n')
})

test('[broadcast 7.2] a slow client of a broadcaster that was closed before it came waits no longer either', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const broadcaster = new Broadcaster({ replay: false })
  const subscription = broadcaster.subscribe()
  broadcaster.publish('a')
  broadcaster.close()
  const client = connect(subscription, { hasRoom: false })
  assert.equal(client.state, 'open')
  client.source.stop()
  t.mock.timers.tick(1000)
  assert.equal(client.state, 'cut')
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 6.4] a client that leaves while a stop waits for it leaves no timer', (t) => {
  const timers = countTimers(t)
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  client.source.stop()
  client.source.stop()
  broadcaster.close()
  assert.equal(timers.size, 1)
  client.leave()
  assert.equal(timers.size, 0)
  assert.equal(client.state, 'gone')
})

test('a stop says a retry also to a client that a closed broadcaster waits for', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  broadcaster.close()
  client.source.stop()
  client.drain(false)
  assert.equal(client.text, ':\ndata: last words\n\nretry: 1000\n')
  assert.equal(client.state, 'ended')
})

test('[broadcast 7.2] a stop before the start lets the stream begin and end', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ replay: false })
  const client = new FakeClient(broadcaster.subscribe())
  broadcaster.publish('meanwhile')
  client.source.stop()
  client.start()
  assert.equal(client.text, ':\ndata: meanwhile\n\nretry: 1000\n')
  assert.equal(client.state, 'ended')
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 6.4] a source that is let go without being started leaves nothing', () => {
  const broadcaster = new Broadcaster({ replay: false })
  new FakeClient(broadcaster.subscribe()).leave()
  assert.equal(broadcaster.subscriberCount, 0)
})

test('with finish, a stop leaves no trace: no retry, no timer', (t) => {
  const timers = countTimers(t)
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster, { hasRoom: false, finish: true })
  broadcaster.publish('a')
  client.source.stop()
  assert.equal(timers.size, 0)
  client.drain(false)
  assert.equal(client.text, ':\ndata: a\n\n')
  assert.equal(client.state, 'open')
  broadcaster.close()
  assert.equal(client.text, ':\ndata: a\n\n')
  assert.equal(client.state, 'ended')
  assert.equal(timers.size, 0)
})

test('a stop of one client leaves the others running', async (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ replay: false })
  const [stopped, running] = [connect(broadcaster), connect(broadcaster)]
  stopped.source.stop()
  broadcaster.publish('on and on')
  await turn()
  assert.equal(stopped.text, ':\nretry: 1000\n')
  assert.equal(running.text, ':\ndata: on and on\n\n')
})

// ---------------------------------------------------------------------------------- the last words

test('[broadcast 7.1] close() ends a client that is behind when it has read all, however long that takes', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const timers = countTimers(t)
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster, { hasRoom: false })
  for (let count = 0; count < 100; count++) broadcaster.publish(`${count}:${'x'.repeat(1000)}`)
  broadcaster.close()
  assert.equal(timers.size, 0)
  assert.equal(client.state, 'open')
  client.drain(false)
  assert.equal(client.state, 'open')
  client.drain(false)
  assert.equal(client.state, 'ended')
  assert.equal(client.heard.length, 100)
  assert.deepEqual([client.ends[0]!.reason, client.ends[0]!.dropped], ['done', 0])
})

test('[broadcast 7.1] close() ends whole those who have nothing unread: of topics, with allow, and silent ones', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const clients = [{}, { topics: ['a'] }, { topics: ['b'] }, { allow: () => false }].map(
    (options) => connect(broadcaster.subscribe(options)),
  )
  for (let count = 0; count < 5; count++) {
    broadcaster.publish('t', `${count}`, { topic: 'a' })
    await turn()
  }
  broadcaster.publish('t', 'last', { topic: 'b' })
  broadcaster.publish('t', 'very last', { topic: 'b' })
  broadcaster.close()
  for (const client of clients) assert.equal(client.state, 'ended')
  assert.deepEqual(
    clients.map(({ heard }) => [heard.length, heard.at(-1)]),
    [
      [7, 't very last'],
      [5, 't 4'],
      [2, 't very last'],
      [0, undefined],
    ],
  )
})

test('[broadcast 7.1] who comes after close() gets what it has missed, and the end', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const ids = await Promise.all(['a', 'b', 'c', 'd'].map((data) => broadcaster.publish(data)))
  broadcaster.close()
  for (const [lastEventId, heard] of [
    [undefined, []],
    [ids[3], []],
    [ids[2], ['d']],
    [ids[0], ['gap {"missed":1}', 'c', 'd']],
    ['unknown', ['gap {"missed":null}']],
  ] as const) {
    const client = connect(broadcaster, { lastEventId })
    assert.deepEqual([client.heard, client.state], [heard, 'ended'])
    const slow = connect(broadcaster, { lastEventId, hasRoom: false })
    for (let drains = 0; slow.state === 'open' && drains < 3; drains++) slow.drain(false)
    assert.deepEqual([slow.heard, slow.state], [heard, 'ended'])
  }
  assert.deepEqual(await collectData(broadcaster.subscribe({ lastEventId: ids[2]! })), ['d'])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 7.1] a loop that is behind reads on to the end of what was published', async () => {
  const broadcaster = new Broadcaster()
  const loop = broadcaster[Symbol.asyncIterator]()
  for (const data of ['a', 'b']) broadcaster.publish(data)
  broadcaster.close()
  assert.deepEqual(await collectData(loop), ['a', 'b'])
})

test('[broadcast 7.2] a client that is stopped before it begins, and does not read, is cut after a second', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const broadcaster = new Broadcaster()
  const subscription = broadcaster.subscribe()
  broadcaster.publish('meanwhile')
  const client = new FakeClient(subscription)
  client.hasRoom = false
  client.source.stop()
  client.start()
  t.mock.timers.tick(999)
  assert.equal(client.state, 'open')
  t.mock.timers.tick(1)
  assert.equal(client.state, 'cut')
  assert.deepEqual([client.ends[0]!.reason, client.ends[0]!.dropped], ['shutdown', 1])
})

test('[broadcast 7.2] a stop gives a client of topics what is for it, and ends it also if that is nothing', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster({ historyEvents: 2, replay: false })
  const [a, b] = ['a', 'b'].map((topic) => connect(broadcaster.subscribe({ topics: [topic] })))
  for (let count = 0; count < 6; count++) broadcaster.publish('t', `${count}`, { topic: 'a' })
  a!.source.stop()
  b!.source.stop()
  assert.equal(a!.heard.length, 6)
  assert.equal(b!.text, ':\nretry: 1000\n')
  for (const client of [a!, b!]) assert.equal(client.state, 'ended')
})

test('[broadcast 7.2] a client without room has its end at once where nothing of what was published last is for it', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const timers = countTimers(t)
  for (const options of [{ topics: ['b'] }, { allow: () => false }]) {
    for (const replay of [true, false]) {
      const broadcaster = new Broadcaster({ replay })
      const stopped = connect(broadcaster.subscribe(options), { hasRoom: false })
      const closed = connect(broadcaster.subscribe(options), { hasRoom: false })
      broadcaster.publish('t', 'for others', { topic: 'a' })
      stopped.source.stop()
      broadcaster.close()
      for (const [client, reason] of [
        [stopped, 'shutdown'],
        [closed, 'done'],
      ] as const) {
        assert.equal(client.state, 'ended')
        assert.deepEqual([client.ends[0]!.reason, client.ends[0]!.dropped], [reason, 0])
      }
      assert.equal(broadcaster.subscriberCount, 0)
    }
  }
  assert.equal(timers.size, 0)
})

test('[broadcast 7.1] a client that waits for room after close() ends when what it waited for has gone, and is not for it any more', (t) => {
  const clock = mockClock(t)
  const broadcaster = new Broadcaster({ historyMs: 1000 })
  let isAllowed = true
  const allow = (topic: string) => topic === 'a' && isAllowed
  const client = connect(broadcaster.subscribe({ allow }), { hasRoom: false })
  broadcaster.publish('t', 'secret', { topic: 'a' })
  clock.now = 500
  broadcaster.publish('t', 'for others', { topic: 'b' })
  broadcaster.close()
  assert.equal(client.state, 'open')
  isAllowed = false
  clock.now = 1001
  broadcaster.stats() // looks at the clock
  assert.equal(client.state, 'ended')
  assert.deepEqual([client.ends[0]!.reason, client.ends[0]!.dropped], ['done', 0])
})

test('[broadcast 5.4] a client without room whose allow throws fails when it is to end: nobody takes it for the whole', () => {
  const failure = new Error('no rights')
  const allow = (): never => {
    throw failure
  }
  for (const end of ['stop', 'close'] as const) {
    const broadcaster = new Broadcaster()
    const client = connect(broadcaster.subscribe({ allow }), { hasRoom: false })
    broadcaster.publish('t', 'who knows for whom', { topic: 'a' })
    if (end === 'stop') client.source.stop()
    else broadcaster.close()
    assert.deepEqual([client.state, client.error], ['aborted', failure])
  }
})

test('[broadcast 7.1] a client that is to be told of a gap at its end gets what is for it when it has room', () => {
  for (const end of ['stop', 'close'] as const) {
    const broadcaster = new Broadcaster({ historyEvents: 1, whenBehind: 'drop-oldest' })
    const rights = new Set(['a'])
    const allow = (topic: string) => rights.has(topic)
    const client = connect(broadcaster.subscribe({ allow }), { hasRoom: false })
    broadcaster.publish('t', '1', { topic: 'a' })
    broadcaster.publish('t', '2', { topic: 'b' })
    if (end === 'stop') client.source.stop()
    else broadcaster.close()
    rights.add('b')
    client.drain()
    assert.deepEqual(client.heard, ['gap {"missed":1}', 't 2'])
    assert.equal(client.state, 'ended')
  }
})
