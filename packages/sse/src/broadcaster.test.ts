import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import type { Conn } from '@wakerobin/core'
import { Chunk, type BodySink, type BodySource } from '@wakerobin/core/adapter'

import { BroadcastSource } from './broadcast-source.ts'
import { EventStream, type EventCount } from './event-stream.ts'
import { openingOf } from './opening.ts'
import { Broadcaster, SseEvent, SubscriberTooSlowError } from './index.ts'
import type { SseOptions, Subscription } from './index.ts'
import { checkOptions } from './options.ts'

// ----------------------------------------------------------------------------------- publishing

test('publish takes a string, a type and a string, fields, and an event', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  broadcaster.publish('one')
  broadcaster.publish('greeting', 'two')
  broadcaster.publish({ data: 'three', id: '3', retry: 0 })
  broadcaster.publish(SseEvent.comment('four'))
  broadcaster.publish('', '')
  await turn()
  assert.equal(
    client.text,
    ':\ndata: one\n\nevent: greeting\ndata: two\n\nid: 3\nretry: 0\ndata: three\n\n: four\nevent:\ndata:\n\n',
  )
})

test('publish refuses what may not be sent, and nothing of it is sent', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  const bad: unknown[][] = [
    [5],
    [null],
    [undefined],
    [],
    [{}],
    [{ type: 't' }],
    ['t', undefined],
    ['t', 5],
    ['t', { user: 'alice' }],
    [5, 'x'],
    [SseEvent.new('x'), 'x'],
    ['t\ndata: owned', 'x'],
    [new Uint8Array(2)],
    ['\n'.repeat(131_072)],
    [SseEvent.new('\n'.repeat(131_072))],
  ]
  for (const args of bad) {
    const publish = broadcaster.publish as (...args: unknown[]) => void
    assert.throws(() => publish.apply(broadcaster, args), /^(Type|Range)Error: Cannot send /)
  }
  broadcaster.publish('good')
  await turn()
  assert.equal(client.text, ':\ndata: good\n\n')
})

test('a broadcaster without subscribers takes events, and later ones do not get them', async () => {
  const broadcaster = new Broadcaster()
  broadcaster.publish('before')
  const client = connect(broadcaster)
  await turn()
  assert.equal(client.text, ':\n')
  broadcaster.publish('after')
  await turn()
  assert.equal(client.text, ':\ndata: after\n\n')
})

test('limits that are no integers from 1 are refused by their name', () => {
  for (const value of [0, -1, 1.5, NaN, Infinity, '5']) {
    for (const option of ['historyEvents', 'historyBytes']) {
      assert.throws(
        () => new Broadcaster({ [option]: value }),
        new RegExp(
          `^RangeError: Cannot make a Broadcaster with ${option} .*: it must be an integer`,
        ),
      )
    }
  }
})

// --------------------------------------------------------------------- one encoding, many clients

test('one event is one chunk, the same object for every client', async () => {
  const broadcaster = new Broadcaster()
  const clients = Array.from({ length: 100 }, () => connect(broadcaster))
  broadcaster.publish('hello')
  await turn()
  const chunk = clients[0]!.writes[1]
  assert(chunk instanceof Chunk)
  for (const client of clients) {
    assert.equal(client.writes.length, 2)
    assert.equal(client.writes[1], chunk)
  }
})

test('the opening comment, too, is the same chunk for every client', () => {
  const [first, second] = [connect(new Broadcaster()), connect(new Broadcaster())]
  assert(first.writes[0] instanceof Chunk)
  assert.equal(first.writes[0], second.writes[0])
})

test('the events of one turn are one write, the same chunk for every client', async () => {
  const broadcaster = new Broadcaster()
  const clients = Array.from({ length: 3 }, () => connect(broadcaster))
  for (let count = 1; count <= 40; count++) broadcaster.publish(String(count))
  for (const client of clients) assert.equal(client.writes.length, 1) // not before the turn is over
  await turn()
  const expected = Array.from({ length: 40 }, (_, at) => `data: ${at + 1}\n\n`).join('')
  for (const client of clients) {
    assert.equal(client.writes.length, 2)
    assert.equal(client.writes[1], clients[0]!.writes[1])
    assert.equal(client.text, `:\n${expected}`)
  }
})

test('events of different turns are different writes', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  for (const data of ['a', 'b']) {
    broadcaster.publish(data)
    await turn()
  }
  assert.equal(client.writes.length, 3)
})

// ---------------------------------------------------------------------------------- slow clients

test('a slow client is left alone, and catches up from the history in large writes', async () => {
  const broadcaster = new Broadcaster()
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
  const sizes = slow.writes.slice(1).map(sizeOf)
  assert.equal(sizes.length, 8)
  for (const size of sizes.slice(0, -1)) assert(size >= 65_536 && size < 65_536 + 1008, `${size}`)
})

test('a client that catches up stops where there is no more room, and goes on from there', async () => {
  const broadcaster = new Broadcaster()
  const slow = connect(broadcaster, { hasRoom: false })
  const fast = connect(broadcaster)
  for (let count = 0; count < 200; count++) broadcaster.publish(`${count}:${'x'.repeat(1000)}`)
  await turn()
  let drains = 0
  while (slow.text !== fast.text) {
    const before = slow.writes.length
    slow.drain()
    drains++
    assert.equal(slow.writes.length, before + 1)
  }
  assert.equal(drains, 4)
  slow.drain()
  assert.equal(slow.text, fast.text)
})

test('slow clients at the same place share their large writes', async () => {
  const broadcaster = new Broadcaster()
  const slow = Array.from({ length: 3 }, () => connect(broadcaster, { hasRoom: false }))
  for (let count = 0; count < 300; count++) broadcaster.publish(`${count}:${'x'.repeat(1000)}`)
  await turn()
  for (let round = 1; round <= 5; round++) {
    for (const client of slow) client.drain()
    for (const client of slow) {
      assert.equal(client.writes.length, 1 + round)
      assert.equal(client.writes[round], slow[0]!.writes[round])
    }
  }
})

test('a client gets all that is there in one write, even if another got less from the same place', async () => {
  const broadcaster = new Broadcaster()
  const [earlier, later] = [1, 2].map(() => connect(broadcaster, { hasRoom: false }))
  broadcaster.publish('a')
  broadcaster.publish('b')
  await turn()
  earlier!.drain()
  broadcaster.publish('c')
  await turn()
  later!.drain()
  assert.equal(earlier!.text, ':\ndata: a\n\ndata: b\n\n')
  assert.equal(later!.text, ':\ndata: a\n\ndata: b\n\ndata: c\n\n')
  assert.equal(later!.writes.length, 2)
})

test('a shared write is not taken for that of another place, nor for a longer one', async () => {
  const broadcaster = new Broadcaster()
  const [first, second] = [connect(broadcaster), connect(broadcaster, { hasRoom: false })]
  const third = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('a')
  broadcaster.publish('b')
  await turn()
  second.drain()
  broadcaster.publish('c')
  await turn()
  broadcaster.publish('d')
  await turn()
  second.drain()
  third.drain()
  const all = ':\ndata: a\n\ndata: b\n\ndata: c\n\ndata: d\n\n'
  assert.deepEqual([first.text, second.text, third.text], [all, all, all])
})

test('an event larger than the history and any write is sent whole', async () => {
  const broadcaster = new Broadcaster({ historyBytes: 10 })
  const client = connect(broadcaster)
  const data = 'x'.repeat(200_000)
  broadcaster.publish(data)
  await turn()
  assert.equal(client.text, `:\ndata: ${data}\n\n`)
  assert.equal(client.writes.length, 2)
})

test('a client that falls off the history is cut, while others get everything', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  const stuck = connect(broadcaster, { hasRoom: false })
  const fast = connect(broadcaster)
  let expected = ':\n'
  for (let count = 0; count < 10; count++) {
    broadcaster.publish(String(count))
    expected += `data: ${count}\n\n`
    await turn()
    // At once, not when it has read what it was sent, which may be never.
    assert.equal(stuck.cuts, count < 3 ? 0 : 1)
  }
  assert.equal(stuck.ends, 0)
  assert.equal(stuck.text, ':\n')
  assert.equal(broadcaster.subscriberCount, 1)
  assert.equal(fast.text, expected)
  assert.equal(fast.cuts, 0)
  stuck.drain()
  broadcaster.publish('more')
  await turn()
  assert.equal(fast.text, `${expected}data: more\n\n`)
  assert.equal(stuck.text, ':\n')
})

test('a client that is as far behind as the history reaches loses nothing', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  const slow = connect(broadcaster, { hasRoom: false })
  for (const data of ['a', 'b', 'c']) broadcaster.publish(data)
  await turn()
  slow.hasRoom = true
  slow.drain()
  assert.equal(slow.cuts, 0)
  assert.equal(slow.text, ':\ndata: a\n\ndata: b\n\ndata: c\n\n')
})

test('the history is bounded by events and by bytes, whichever is met first', () => {
  const byEvents = new Broadcaster({ historyEvents: 5 })
  for (let count = 0; count < 100; count++) byEvents.publish('x')
  assert.deepEqual([byEvents.start, byEvents.end], [95, 100])

  const event = 'x'.repeat(92) // 100 bytes with `data: ` and two newlines
  const byBytes = new Broadcaster({ historyBytes: 1000 })
  for (let count = 0; count < 100; count++) byBytes.publish(event)
  assert.deepEqual([byBytes.start, byBytes.end], [90, 100])
  byBytes.publish('x'.repeat(892)) // 900 bytes: room for one other
  assert.deepEqual([byBytes.start, byBytes.end], [99, 101])
  byBytes.publish('x'.repeat(5000)) // more than the limit: kept alone
  assert.deepEqual([byBytes.start, byBytes.end], [101, 102])
  byBytes.publish(event)
  assert.deepEqual([byBytes.start, byBytes.end], [102, 103])
})

test('the history is 1,024 events and 4 MiB unless set', () => {
  const byEvents = new Broadcaster()
  for (let count = 0; count < 1025; count++) byEvents.publish('')
  assert.deepEqual([byEvents.start, byEvents.end], [1, 1025])
  const byBytes = new Broadcaster()
  const data = 'x'.repeat(1024 * 1024 - 8)
  for (let count = 0; count < 5; count++) byBytes.publish(data)
  assert.deepEqual([byBytes.start, byBytes.end], [1, 5])
})

test('a hundred stuck clients keep no event beyond the history alive, nor themselves', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const clients = Array.from({ length: 100 }, () => connect(broadcaster, { hasRoom: false }))
  for (let count = 0; count < 50; count++) {
    broadcaster.publish('x'.repeat(10_000))
    await turn()
  }
  assert.equal(broadcaster.end - broadcaster.start, 2)
  for (const client of clients) assert.deepEqual([client.writes.length, client.cuts], [1, 1])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a client that has no room when it comes, and falls off, is cut also while a stop waits for it', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 1 })
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('a')
  client.source.stop()
  broadcaster.publish('b')
  await turn()
  assert.deepEqual([client.ends, client.cuts], [0, 1]) // no whole end: it has lost something
})

// ------------------------------------------------------------------------------- clients that leave

test('a client that leaves is forgotten, and gets nothing more', async () => {
  const broadcaster = new Broadcaster()
  const [leaving, staying] = [connect(broadcaster), connect(broadcaster)]
  broadcaster.publish('a')
  leaving.source.closed('client')
  assert.equal(broadcaster.subscriberCount, 1)
  await turn()
  leaving.drain()
  assert.equal(leaving.text, ':\n')
  assert.deepEqual([leaving.ends, leaving.cuts], [0, 0])
  assert.equal(staying.text, ':\ndata: a\n\n')
})

test('a client that leaves during a write does not disturb the others', async () => {
  const broadcaster = new Broadcaster()
  const clients = Array.from({ length: 3 }, () => connect(broadcaster))
  clients[1]!.onWrite = () => clients[1]!.source.closed('client')
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

test('10,000 subscribers come and go, and none is left', async () => {
  const broadcaster = new Broadcaster()
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

// --------------------------------------------------------------------------------- for await loops

test('for await gives every event that is published from its beginning on', async () => {
  const broadcaster = new Broadcaster()
  broadcaster.publish('before')
  const read = collect(broadcaster)
  broadcaster.publish('one')
  broadcaster.publish('greeting', 'two')
  await turn()
  broadcaster.publish({ data: 'three' })
  broadcaster.close()
  const events = await read
  assert(events.every((event) => event instanceof SseEvent))
  assert.deepEqual(
    events.map(({ type, data }) => [type, data]),
    [
      [undefined, 'one'],
      ['greeting', 'two'],
      [undefined, 'three'],
    ],
  )
})

test('an event is the same object for every loop, and that which was published', async () => {
  const broadcaster = new Broadcaster()
  const reads = [collect(broadcaster), collect(broadcaster)]
  const event = SseEvent.new('x')
  broadcaster.publish(event)
  broadcaster.close()
  for (const read of reads) assert.equal((await read)[0], event)
})

test('subscribe() marks the place: what follows is read even if the loop begins later', async () => {
  const broadcaster = new Broadcaster()
  broadcaster.publish('before')
  const subscription = broadcaster.subscribe()
  assert.equal(broadcaster.subscriberCount, 0)
  broadcaster.publish('since')
  broadcaster.close()
  assert.deepEqual(await collectData(subscription), ['since'])
})

test('several loops read at their own pace', async () => {
  const broadcaster = new Broadcaster()
  const fast = collectData(broadcaster)
  const slow = broadcaster[Symbol.asyncIterator]()
  for (const data of ['a', 'b', 'c']) broadcaster.publish(data)
  assert.equal((await slow.next()).value?.data, 'a')
  broadcaster.close()
  assert.deepEqual(await fast, ['a', 'b', 'c'])
  assert.equal((await slow.next()).value?.data, 'b')
  assert.equal((await slow.next()).value?.data, 'c')
  assert.deepEqual(await slow.next(), { done: true, value: undefined })
  assert.equal(broadcaster.subscriberCount, 0)
})

test('several next() at once are answered in order', async () => {
  const broadcaster = new Broadcaster()
  const loop = broadcaster[Symbol.asyncIterator]()
  const results = [loop.next(), loop.next(), loop.next()]
  broadcaster.publish('a')
  broadcaster.publish('b')
  broadcaster.close()
  const values = (await Promise.all(results)).map(({ value }) => value?.data)
  assert.deepEqual(values, ['a', 'b', undefined])
})

test('an iterator is its own iterable, so a loop can go on where another stopped asking', async () => {
  const broadcaster = new Broadcaster()
  const loop = broadcaster[Symbol.asyncIterator]()
  broadcaster.publish('a')
  broadcaster.publish('b')
  broadcaster.close()
  assert.equal((await loop.next()).value?.data, 'a')
  assert.deepEqual(await collectData(loop), ['b'])
})

test('a break leaves the broadcaster', async () => {
  const broadcaster = new Broadcaster()
  const subscription = broadcaster.subscribe()
  broadcaster.publish('a')
  for await (const event of subscription) {
    assert.equal(event.data, 'a')
    assert.equal(broadcaster.subscriberCount, 1)
    break
  }
  assert.equal(broadcaster.subscriberCount, 0)
})

test('return() leaves at once, also while next() is waiting, which is then done', async () => {
  const broadcaster = new Broadcaster()
  const loop = broadcaster[Symbol.asyncIterator]()
  const waiting = [loop.next(), loop.next()]
  assert.equal(broadcaster.subscriberCount, 1)
  const returned = loop.return!()
  assert.equal(broadcaster.subscriberCount, 0)
  broadcaster.publish('too late')
  for (const result of [...waiting, returned, loop.next(), loop.return!()])
    assert.deepEqual(await result, { done: true, value: undefined })
})

test('a loop that falls off the history gets an error that says how much it lost, and is done', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const loop = broadcaster[Symbol.asyncIterator]()
  for (let count = 0; count < 7; count++) broadcaster.publish(String(count))
  await assert.rejects(loop.next(), (error: unknown) => {
    assert(error instanceof SubscriberTooSlowError)
    assert.equal(error.name, 'SubscriberTooSlowError')
    assert.equal(error.lost, 5)
    assert.match(error.message, /^Cannot read on: 5 events were dropped/)
    return true
  })
  assert.equal(broadcaster.subscriberCount, 0)
  assert.deepEqual(await loop.next(), { done: true, value: undefined })
})

test('a burst larger than the history reaches clients and loops that keep up, whole', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  const client = connect(broadcaster)
  const stuck = connect(broadcaster, { hasRoom: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  const results = [loop.next(), loop.next(), loop.next(), loop.next(), loop.next()]
  for (let count = 0; count < 10; count++) broadcaster.publish(String(count))
  await turn()
  assert.equal(client.text, `:\n${Array.from({ length: 10 }, (_, n) => `data: ${n}\n\n`).join('')}`)
  assert.equal(client.writes.length, 1 + 3) // four events, four more, and the rest
  assert.equal(client.cuts, 0)
  assert.equal(stuck.cuts, 1)
  const read = await Promise.all(results)
  assert.deepEqual(
    read.map(({ value }) => value?.data),
    ['0', '1', '2', '3', '4'],
  )
})

test('a loop that publishes while it reads gets what it published', async () => {
  const broadcaster = new Broadcaster()
  const subscription = broadcaster.subscribe()
  broadcaster.publish('1')
  const seen: string[] = []
  for await (const { data } of subscription) {
    seen.push(data!)
    if (seen.length === 5) break
    broadcaster.publish(String(Number(data) + 1))
  }
  assert.deepEqual(seen, ['1', '2', '3', '4', '5'])
})

// -------------------------------------------------------------------------------------- the end

test('close() ends clients whole after what was published before, and loops too', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  const loop = collectData(broadcaster)
  broadcaster.publish('last')
  assert(!broadcaster.isClosed)
  broadcaster.close()
  broadcaster.close()
  assert(broadcaster.isClosed)
  assert.equal(client.text, ':\ndata: last\n\n')
  assert.deepEqual([client.ends, client.cuts], [1, 0])
  assert.deepEqual(await loop, ['last'])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a closed broadcaster refuses to publish, and says what', () => {
  const broadcaster = new Broadcaster()
  broadcaster.close()
  assert.throws(
    () => broadcaster.publish('hello'),
    /^TypeError: Cannot publish "hello": the broadcaster is closed$/,
  )
  assert.throws(() => broadcaster.publish('t', 'hello'), /closed/)
})

test('a subscription to a closed broadcaster ends at once', async () => {
  const broadcaster = new Broadcaster()
  broadcaster.publish('before')
  broadcaster.close()
  const client = connect(broadcaster)
  assert.equal(client.text, ':\n')
  assert.equal(client.ends, 1)
  assert.deepEqual(await collectData(broadcaster), [])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a stop sends what was published before it, then a retry, then ends', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  broadcaster.publish('last words')
  client.source.stop()
  assert.equal(client.text, ':\ndata: last words\n\nretry: 1000\n')
  assert.equal(client.ends, 1)
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a stop waits for a client that has no room, and ends it once it has read', (t) => {
  const random = t.mock.method(Math, 'random', () => 0)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  client.source.stop()
  client.source.stop()
  broadcaster.close() // changes nothing any more
  t.mock.timers.tick(999)
  assert.equal(client.text, ':\n')
  assert.equal(client.ends, 0)
  client.drain()
  assert.equal(client.text, ':\ndata: last words\n\nretry: 1000\n')
  assert.equal(client.ends, 1)
  assert.equal(random.mock.callCount(), 1)
  t.mock.timers.tick(10_000)
  assert.equal(client.ends, 1)
})

test('a stop waits no longer than a second, and cuts what has not got everything', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  client.source.stop()
  t.mock.timers.tick(999)
  assert.equal(client.cuts, 0)
  t.mock.timers.tick(1)
  assert.equal(client.cuts, 1)
  assert.equal(client.ends, 0)
  assert.equal(broadcaster.subscriberCount, 0)
  client.drain()
  assert.equal(client.text, ':\n')
})

test('a slow client of a broadcaster that was closed before it came waits no longer either', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const broadcaster = new Broadcaster()
  const subscription = broadcaster.subscribe()
  broadcaster.publish('a')
  broadcaster.close()
  const client = connect(subscription, { hasRoom: false })
  assert.equal(client.ends, 0)
  client.source.stop()
  t.mock.timers.tick(1000)
  assert.equal(client.cuts, 1)
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a client that leaves while a stop waits for it leaves no timer', (t) => {
  const timers = countTimers(t)
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  client.source.stop()
  client.source.stop()
  broadcaster.close()
  assert.equal(timers.size, 1)
  client.source.closed('client')
  assert.equal(timers.size, 0)
  assert.equal(client.ends, 0)
})

test('a stop says a retry also to a client that a closed broadcaster waits for', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster, { hasRoom: false })
  broadcaster.publish('last words')
  broadcaster.close()
  client.source.stop()
  client.drain()
  assert.equal(client.text, ':\ndata: last words\n\nretry: 1000\n')
  assert.equal(client.ends, 1)
})

test('a stop before the start lets the stream begin and end', (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster()
  const source = sourceOf(broadcaster.subscribe())
  broadcaster.publish('meanwhile')
  source.stop()
  const client = new FakeClient(source)
  source.start(client)
  assert.equal(client.text, ':\ndata: meanwhile\n\nretry: 1000\n')
  assert.equal(client.ends, 1)
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a source that is let go without being started leaves nothing', () => {
  const broadcaster = new Broadcaster()
  sourceOf(broadcaster.subscribe()).closed('client')
  assert.equal(broadcaster.subscriberCount, 0)
})

test('with finish, a stop leaves no trace: no retry, no timer', (t) => {
  const timers = countTimers(t)
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster, { hasRoom: false, finish: true })
  broadcaster.publish('a')
  client.source.stop()
  assert.equal(timers.size, 0)
  client.drain()
  assert.equal(client.text, ':\ndata: a\n\n')
  assert.equal(client.ends, 0)
  broadcaster.close()
  assert.equal(client.text, ':\ndata: a\n\n')
  assert.equal(client.ends, 1)
  assert.equal(timers.size, 0)
})

test('a stop of one client leaves the others running', async (t) => {
  t.mock.method(Math, 'random', () => 0)
  const broadcaster = new Broadcaster()
  const [stopped, running] = [connect(broadcaster), connect(broadcaster)]
  stopped.source.stop()
  broadcaster.publish('on and on')
  await turn()
  assert.equal(stopped.text, ':\nretry: 1000\n')
  assert.equal(running.text, ':\ndata: on and on\n\n')
})

// --------------------------------------------------------------------------------------- tools

/** A client as its server sees it. */
class FakeClient implements BodySink {
  readonly source: BodySource
  readonly writes: (Chunk | Uint8Array)[] = []
  hasRoom = true
  ends = 0
  cuts = 0
  onWrite: (() => void) | undefined

  constructor(source: BodySource) {
    this.source = source
  }

  get text(): string {
    return Buffer.concat(this.writes.map(bytesOf)).toString()
  }

  write(chunk: Chunk | Uint8Array): boolean {
    assert.equal(this.ends + this.cuts, 0, 'a write after the end')
    this.writes.push(chunk)
    this.onWrite?.()
    return this.hasRoom
  }

  end(): void {
    this.ends++
  }

  cut(): void {
    this.cuts++
  }

  abort(error: unknown): void {
    throw error
  }

  /** There is room again, for one write if `hasRoom` is false. */
  drain(): void {
    this.source.drained()
  }
}

function connect(
  to: Broadcaster | Subscription,
  { hasRoom = true, ...options }: { hasRoom?: boolean } & SseOptions = {},
): FakeClient {
  const subscription = to instanceof Broadcaster ? to.subscribe() : to
  const client = new FakeClient(sourceOf(subscription, options))
  client.hasRoom = hasRoom
  client.source.start(client)
  return client
}

function sourceOf(subscription: Subscription, options?: SseOptions): BodySource {
  const open = (count: EventCount): BodySource =>
    new BroadcastSource(subscription, openingOf(undefined), count)
  return new EventStream({} as Conn, checkOptions(options), open)
}

function bytesOf(chunk: Chunk | Uint8Array): Uint8Array {
  return chunk instanceof Chunk ? chunk.bytes : chunk
}

function sizeOf(chunk: Chunk | Uint8Array): number {
  return bytesOf(chunk).length
}

async function collect(events: AsyncIterable<SseEvent>): Promise<SseEvent[]> {
  const collected: SseEvent[] = []
  for await (const event of events) collected.push(event)
  return collected
}

async function collectData(events: AsyncIterable<SseEvent>): Promise<(string | undefined)[]> {
  return (await collect(events)).map(({ data }) => data)
}

/** Resolves when the turn's microtasks are done. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** The timers that are set and neither cleared nor fired, from now until the test ends. */
function countTimers(t: TestContext): ReadonlySet<unknown> {
  const open = new Set<unknown>()
  const { setTimeout: set, clearTimeout: clear } = globalThis
  t.mock.method(globalThis, 'setTimeout', (callback: () => void, ms: number) => {
    const timer = set(() => (open.delete(timer), callback()), ms)
    open.add(timer)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', (timer: never) => {
    open.delete(timer)
    clear(timer)
  })
  return open
}
