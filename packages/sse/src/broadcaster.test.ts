import assert from 'node:assert/strict'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { test } from 'node:test'

import { Chunk } from '@wakerobin/core/adapter'

import { bytesOf, connect, mockClock, turn } from '../fixtures/fake-client.ts'
import { Broadcaster, SseEvent } from './index.ts'
import type { BroadcasterOptions } from './index.ts'

// ----------------------------------------------------------------------------------- publishing

test('[broadcast 1.3] publish takes a string, a type and a string, fields, and an event', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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

test('[broadcast 1.4] publish refuses what may not be sent, and nothing of it is sent', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster)
  const bad: unknown[][] = [
    [5],
    [null],
    [undefined],
    [],
    [{}],
    [{ type: 't' }],
    [5, 'x'],
    [undefined, 'x'],
    [null, 'x'],
    [SseEvent.new('x'), 'x'],
    ['t\ndata: owned', 'x'],
    ['t', 'x', { id: 'a\nb' }],
    ['t', 'x', { id: 'x'.repeat(1025) }],
    ['t', 'x', { id: 5 }],
    ['t', '\n'.repeat(131_072)],
    [new Uint8Array(2)],
    ['\n'.repeat(131_072)],
    [SseEvent.new('\n'.repeat(131_072))],
  ]
  for (const args of bad) {
    const publish = broadcaster.publish as (...args: unknown[]) => void
    assert.throws(
      () => publish.apply(broadcaster, args),
      /^(Type|Range)Error: Cannot (send|publish) /,
    )
  }
  assert.equal(broadcaster.stats().published, 0)
  broadcaster.publish('good')
  await turn()
  assert.equal(client.text, ':\ndata: good\n\n')
})

test('[broadcast 1.6] a broadcaster without subscribers takes events, and later ones do not get them', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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

test('[broadcast 1.3] text is sent as it is, and everything else as JSON', async () => {
  const broadcaster = new Broadcaster<Record<string, unknown>>({ replay: false })
  const client = connect(broadcaster)
  const cases: [data: unknown, text: string][] = [
    ['text', 'text'],
    ['{"a":1}', '{"a":1}'],
    ['', ''],
    [{ a: [1, null], b: undefined }, '{"a":[1,null]}'],
    [0, '0'],
    [false, 'false'],
    [null, 'null'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
    [{ toJSON: () => 'x' }, '"x"'],
    ['a\nb', 'a\nb'],
  ]
  for (const [data] of cases) broadcaster.publish('t', data)
  await turn()
  assert.deepEqual(
    client.events.map(({ type, data }) => [type, data]),
    cases.map(([, text]) => ['t', text]),
  )
})

test('[broadcast 1.3] a message has no type on the wire, whichever way it was published', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster)
  broadcaster.publish('one')
  broadcaster.publish('message', 'two')
  broadcaster.publish({ type: 'message', data: 'as it is' })
  await turn()
  assert.equal(client.text, ':\ndata: one\n\ndata: two\n\nevent: message\ndata: as it is\n\n')
})

test('[broadcast 1.3] serialize makes the text, of the data and the type, but not of whole events', async () => {
  const broadcaster = new Broadcaster<Record<string, unknown>>({
    replay: false,
    serialize: (data, type) => `${type}=${String(data)}`,
  })
  const client = connect(broadcaster)
  broadcaster.publish('n', 5)
  broadcaster.publish('message', 'x')
  broadcaster.publish('whole')
  broadcaster.publish(SseEvent.new('whole').withType('n'))
  await turn()
  assert.deepEqual(client.heard, ['n n=5', 'message=x', 'whole', 'n whole'])
})

test('[broadcast 1.4] what has no serialized form is refused, and nothing of it is kept', () => {
  const circular: Record<string, unknown> = {}
  circular['it'] = circular
  const cases: [data: unknown, options?: BroadcasterOptions<Record<string, unknown>>][] = [
    [undefined],
    [() => 'x'],
    [Symbol('x')],
    [5n],
    [circular],
    ['x', { serialize: () => undefined as never }],
    ['x', { serialize: () => 5 as never }],
    ['x', { whenBehind: 'coalesce', coalesce: { t: () => 5 as never } }],
    [null, { whenBehind: 'coalesce', coalesce: { t: (data) => (data as { id: string }).id } }],
  ]
  for (const [data, options] of cases) {
    const broadcaster = new Broadcaster<Record<string, unknown>>(options)
    const client = connect(broadcaster)
    assert.throws(() => broadcaster.publish('t', data), TypeError)
    const { published, historyBytes } = broadcaster.stats()
    assert.deepEqual([published, historyBytes, client.heard], [0, 0, []])
  }
  assert.throws(
    () => new Broadcaster<{ t: unknown }>().publish('t', undefined),
    /^TypeError: Cannot publish undefined as "t": its serialized form is undefined, not a string$/,
  )
})

test('[broadcast 1.4] a topic that is no string is refused, and nothing is kept', () => {
  const broadcaster = new Broadcaster()
  for (const topic of [5, null, ['a', 5], ['a', undefined], [['a']], {}]) {
    assert.throws(
      () => broadcaster.publish('t', 'x', { topic: topic as string }),
      /^TypeError: Cannot publish to the topic .*: it must be a string$/,
    )
  }
  assert.equal(broadcaster.stats().published, 0)
})

test('[broadcast 1.5] publish resolves to the id: the one that is given, that of the event, or a new one', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  const ids = await Promise.all([
    broadcaster.publish('a'),
    broadcaster.publish('t', 'b', { id: 'mine' }),
    broadcaster.publish({ data: 'c', id: 'its own' }),
    broadcaster.publish(SseEvent.new('d').withId('')),
    broadcaster.publish('e'),
  ])
  assert.deepEqual(ids.slice(1, 4), ['mine', 'its own', ''])
  await turn()
  assert.deepEqual(client.heard, ['a', 't b', 'c', 'd', 'e'])
  assert.deepEqual(
    client.events.map(({ id }) => id),
    ids,
  )
})

test('[broadcast 1.6] what is published without subscribers is there for who comes back', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  const [first] = await Promise.all(['a', 'b', 'c', 'd'].map((data) => broadcaster.publish(data)))
  assert.deepEqual(connect(broadcaster, { lastEventId: first }).heard, ['b', 'c', 'd'])
})

test('options that cannot be used are refused by their name, and say what would be right', () => {
  const wrong: [options: unknown, message: RegExp][] = [
    [null, /^TypeError: .* the options null: it must be an object/],
    [{ historyMs: 0 }, /^RangeError: .* historyMs 0: it must be a number of milliseconds above 0/],
    [{ historyMs: NaN }, /^RangeError: .* historyMs NaN/],
    [
      { whenBehind: 'drop' },
      /^RangeError: .* whenBehind "drop": it must be "disconnect", "drop-oldest" or "coalesce"$/,
    ],
    [
      { historyEvent: 5 },
      /^TypeError: Cannot make a Broadcaster with historyEvent: there is no such option; there are historyEvents, .* and onLogError$/,
    ],
    [{ replay: 1 }, /^TypeError: .* replay 1: it must be true or false/],
    [{ serialize: 'json' }, /^TypeError: .* serialize "json": it must be a function/],
    [{ whenBehind: 'coalesce' }, /^TypeError: .* whenBehind 'coalesce' alone: it needs coalesce/],
    [
      { coalesce: { price: true } },
      /^TypeError: .* coalesce and whenBehind "disconnect": it needs whenBehind: 'coalesce'/,
    ],
    [{ whenBehind: 'coalesce', coalesce: null }, /^TypeError: .* coalesce null/],
    [
      { whenBehind: 'coalesce', coalesce: { price: 'id' } },
      /^TypeError: .* coalesce.price "id": it must be true or a function/,
    ],
  ]
  for (const [options, message] of wrong)
    assert.throws(() => new Broadcaster(options as BroadcasterOptions), message)
})

// --------------------------------------------------------------------- one encoding, many clients

test('[broadcast 1.1] one event is one chunk, the same object for every client', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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
  const [first, second] = [
    connect(new Broadcaster({ replay: false })),
    connect(new Broadcaster({ replay: false })),
  ]
  assert(first.writes[0] instanceof Chunk)
  assert.equal(first.writes[0], second.writes[0])
})

test('[broadcast 1.2] the events of one turn are one write, the same chunk for every client', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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

test('[broadcast 1.2] events of different turns are different writes', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster)
  for (const data of ['a', 'b']) {
    broadcaster.publish(data)
    await turn()
  }
  assert.equal(client.writes.length, 3)
})

test('[broadcast 1.1] the frame around the bytes is made once, too', async () => {
  const broadcaster = new Broadcaster()
  const clients = Array.from({ length: 3 }, () => connect(broadcaster))
  broadcaster.publish('a')
  broadcaster.publish('b')
  await turn()
  let frames = 0
  const framed = clients.map(({ writes }) =>
    (writes.at(-1) as Chunk).framed((bytes) => (frames++, bytes)),
  )
  assert.equal(frames, 1)
  for (const each of framed) assert.equal(each, framed[0])
})

test('[broadcast 1.2] more than 64 KiB in one turn are several writes, the same for every client', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const clients = Array.from({ length: 3 }, () => connect(broadcaster))
  const data = 'x'.repeat(1015) // 1 KiB with `data: `, one digit and line breaks
  for (let count = 0; count < 160; count++) broadcaster.publish(`${count % 10}${data}`)
  await turn()
  for (const { writes } of clients) {
    assert.deepEqual(
      writes.slice(1).map((chunk) => bytesOf(chunk).length),
      [65_536, 65_536, 32_768],
    )
    for (const [at, chunk] of writes.entries()) assert.equal(chunk, clients[0]!.writes[at])
  }
  assert.deepEqual(
    clients[0]!.events.map((event) => event.data),
    Array.from({ length: 160 }, (_, count) => `${count % 10}${data}`),
  )
})

test('[broadcast 1.8] a burst larger than the history reaches clients and loops that keep up, whole', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyEvents: 3 })
  const client = connect(broadcaster)
  const stuck = connect(broadcaster, { hasRoom: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  const results = [loop.next(), loop.next(), loop.next(), loop.next(), loop.next()]
  for (let count = 0; count < 10; count++) broadcaster.publish(String(count))
  await turn()
  assert.equal(client.text, `:\n${Array.from({ length: 10 }, (_, n) => `data: ${n}\n\n`).join('')}`)
  assert.equal(client.writes.length, 1 + 3) // four events, four more, and the rest
  assert.equal(client.state, 'open')
  assert.equal(stuck.state, 'cut')
  const read = await Promise.all(results)
  assert.deepEqual(
    read.map(({ value }) => value?.data),
    ['0', '1', '2', '3', '4'],
  )
})

// ----------------------------------------------------------------------------------- the history

test('[broadcast 2.1] an event larger than the history and any write is sent whole', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyBytes: 10 })
  const client = connect(broadcaster)
  const data = 'x'.repeat(200_000)
  broadcaster.publish(data)
  await turn()
  assert.equal(client.text, `:\ndata: ${data}\n\n`)
  assert.equal(client.writes.length, 2)
})

test('[broadcast 2.1] the history is bounded by events and by bytes, whichever is met first', () => {
  const byEvents = new Broadcaster({ replay: false, historyEvents: 5 })
  for (let count = 0; count < 100; count++) byEvents.publish('x')
  assert.deepEqual(kept(byEvents), [95, 100])

  const event = 'x'.repeat(92) // 100 bytes with `data: ` and two newlines
  const byBytes = new Broadcaster({ replay: false, historyBytes: 1000 })
  for (let count = 0; count < 100; count++) byBytes.publish(event)
  assert.deepEqual(kept(byBytes), [90, 100])
  byBytes.publish('x'.repeat(892)) // 900 bytes: room for one other
  assert.deepEqual(kept(byBytes), [99, 101])
  byBytes.publish('x'.repeat(5000)) // more than the limit: kept alone
  assert.deepEqual(kept(byBytes), [101, 102])
  byBytes.publish(event)
  assert.deepEqual(kept(byBytes), [102, 103])
})

test('[broadcast 2.1] the history is 1,024 events and 4 MiB unless set', () => {
  const byEvents = new Broadcaster({ replay: false })
  for (let count = 0; count < 1025; count++) byEvents.publish('')
  assert.deepEqual(kept(byEvents), [1, 1025])
  const byBytes = new Broadcaster({ replay: false })
  const data = 'x'.repeat(1024 * 1024 - 8)
  for (let count = 0; count < 5; count++) byBytes.publish(data)
  assert.deepEqual(kept(byBytes), [1, 5])
})

test('[broadcast 2.2] a hundred stuck clients keep no event beyond the history alive, nor themselves', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyEvents: 2 })
  const clients = Array.from({ length: 100 }, () => connect(broadcaster, { hasRoom: false }))
  for (let count = 0; count < 50; count++) {
    broadcaster.publish('x'.repeat(10_000))
    await turn()
  }
  assert.equal(broadcaster.stats().historyEvents, 2)
  for (const client of clients) assert.deepEqual([client.writes.length, client.state], [1, 'cut'])
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 1.8] a burst larger than the history reaches clients of topics that keep up, whole', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const [all, one, other] = [undefined, ['one'], ['other']].map((topics) =>
    connect(broadcaster.subscribe(topics === undefined ? {} : { topics })),
  )
  for (let count = 0; count < 9; count++)
    broadcaster.publish('t', `${count}`, { topic: count % 3 === 0 ? 'one' : 'none' })
  broadcaster.publish('t', '9', { topic: 'other' })
  await turn()
  assert.equal(all!.heard.length, 10)
  assert.deepEqual(one!.heard, ['t 0', 't 3', 't 6'])
  assert.deepEqual(other!.heard, ['t 9'])
})

test('[broadcast 2.1] events older than historyMs go, the newest of them too', (t) => {
  const clock = mockClock(t)
  const broadcaster = new Broadcaster({ historyMs: 1000 })
  broadcaster.publish('a')
  clock.now = 600
  broadcaster.publish('b')
  clock.now = 1000
  assert.deepEqual(kept(broadcaster), [0, 2])
  clock.now = 1001
  assert.deepEqual(kept(broadcaster), [1, 2])
  clock.now = 5000
  assert.deepEqual(kept(broadcaster), [2, 2])
  assert.equal(broadcaster.stats().historyBytes, 0)
  broadcaster.publish('c')
  assert.deepEqual(kept(broadcaster), [2, 3])
})

test('[broadcast 2.1] what was published is kept in order while the history grows and goes round', () => {
  const broadcaster = new Broadcaster({ historyEvents: 100 })
  for (let count = 0; count < 1000; count++) {
    void broadcaster.publish('t', String(count), { id: `own ${count}` })
    const from = Math.max(0, count - 99)
    const lastEventId = `own ${from}`
    if (count % 37 !== 0 || count === 0) continue
    const { heard } = connect(broadcaster, { lastEventId })
    assert.deepEqual(heard[0], `t ${from + 1}`)
    assert.equal(heard.length, count - from)
  }
})

test('[broadcast 2.2] what has left the history is kept nowhere, though clients had it written together', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const broadcaster = new Broadcaster({ historyEvents: 2 })
  const slow = connect(broadcaster, { hasRoom: false, writeTimeoutMs: Infinity })
  const client = connect(broadcaster)
  client.hasRoom = false // after the first write
  for (const data of ['a', 'b']) broadcaster.publish(data)
  await turn()
  const written = new WeakRef(client.writes.pop() as Chunk)
  assert(written.deref() instanceof Chunk)
  for (const data of ['c', 'd', 'e', 'f']) {
    broadcaster.publish(data)
    await turn()
  }
  assert.equal(slow.state, 'cut')
  client.writes.length = 0
  await turn()
  collectGarbage()
  assert.equal(written.deref(), undefined)
})

// --------------------------------------------------------------------------------------- tools

/** The positions that are kept: of the oldest event, and after the newest. */
function kept(broadcaster: Broadcaster): [start: number, end: number] {
  const { published, historyEvents } = broadcaster.stats()
  return [published - historyEvents, published]
}

test('[broadcast 1.7] an event of type gap is refused, in every form', () => {
  const broadcaster = new Broadcaster()
  const wrong = /^TypeError: Cannot publish an event of type "gap": it tells a client/
  assert.throws(() => broadcaster.publish('gap', 'x'), wrong)
  assert.throws(() => broadcaster.publish({ type: 'gap', data: 'x' }), wrong)
  assert.throws(() => broadcaster.publish(SseEvent.new('x').withType('gap')), wrong)
})

test('an event that is given whole may have topics and an id, as one of a type and data', async () => {
  const broadcaster = new Broadcaster()
  const a = broadcaster.subscribe({ topics: ['a'] })[Symbol.asyncIterator]()
  const b = broadcaster.subscribe({ topics: ['b'] })[Symbol.asyncIterator]()
  const id = await broadcaster.publish(SseEvent.comment('for a'), { topic: 'a', id: 'own' })
  assert.equal(id, 'own')
  void broadcaster.publish(SseEvent.new('for b'), { topic: 'b' })
  assert.equal((await a.next()).value!.comment, 'for a')
  assert.equal((await b.next()).value!.data, 'for b')
  assert.throws(
    () => broadcaster.publish(SseEvent.new('x'), 'a' as never),
    /^TypeError: Cannot publish with "a": expected an object such as/,
  )
  assert.throws(
    () => broadcaster.publish('x', 'y', { topic: [] }),
    /^TypeError: Cannot publish to no topic/,
  )
})
