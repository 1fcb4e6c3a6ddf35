import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  collectData,
  connect,
  FakeClient,
  mockClock,
  newConn,
  turn,
} from '../fixtures/fake-client.ts'
import { Broadcaster, SseEvent } from './index.ts'
import type { BroadcasterOptions } from './index.ts'

// ------------------------------------------------------------------------------------------ ids

test('[broadcast 4.1] every event with data has an id: an epoch and a number that counts from 1', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  const ids = await publish(broadcaster, 'a', 'b', 'c')
  const [epoch] = ids[0]!.split('-')
  assert.match(epoch!, /^[0-9a-z]+$/)
  assert.deepEqual(ids, [`${epoch}-1`, `${epoch}-2`, `${epoch}-3`])
  assert.deepEqual(
    client.events.map(({ id }) => id),
    ids,
  )
  assert.notEqual((await publish(new Broadcaster(), 'a'))[0], ids[0])
})

test('[broadcast 4.1] an event keeps the id that the app has given it, and one without data has none', async () => {
  const broadcaster = new Broadcaster()
  const client = connect(broadcaster)
  client.take()
  await broadcaster.publish('t', 'a', { id: 'mine' })
  await broadcaster.publish({ data: 'b', id: '' })
  await broadcaster.publish(SseEvent.comment('c'))
  await broadcaster.publish({ retry: 5 })
  await turn()
  assert.equal(client.text, 'event: t\nid: mine\ndata: a\n\nid:\ndata: b\n\n: c\nretry: 5\n')
})

test('[broadcast 4.1] replay: false leaves ids out, but not those of the app, and goes on after none', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const client = connect(broadcaster)
  broadcaster.publish('a')
  const id = await broadcaster.publish('t', 'b', { id: 'mine' })
  await turn()
  assert.equal(client.text, ':\ndata: a\n\nevent: t\nid: mine\ndata: b\n\n')
  for (const lastEventId of [id, 'unknown']) {
    const again = connect(broadcaster, { lastEventId })
    broadcaster.publish('c')
    await turn()
    assert.equal(again.text, ':\ndata: c\n\n')
    again.leave()
  }
})

// ------------------------------------------------------------------------------------- going on

test('[broadcast 4.2] a client that says the id of an event gets those after it, and then what is new', async () => {
  const broadcaster = new Broadcaster()
  const ids = await publish(broadcaster, 'a', 'b', 'c', 'd')
  const epoch = ids[0]!.slice(0, -2)
  const cases: [lastEventId: string, heard: string[]][] = [
    [`${epoch}-0`, ['a', 'b', 'c', 'd']], // before the first
    [ids[0]!, ['b', 'c', 'd']],
    [ids[2]!, ['d']],
    [ids[3]!, []], // the newest
  ]
  const clients = cases.map(([lastEventId]) => connect(broadcaster, { lastEventId }))
  for (const [at, { heard }] of clients.entries()) assert.deepEqual(heard, cases[at]![1])
  await publish(broadcaster, 'e', 'f')
  for (const [at, { heard }] of clients.entries())
    assert.deepEqual(heard, [...cases[at]![1], 'e', 'f'])
})

test('[broadcast 4.2] who has got the last event before the oldest that is kept has missed nothing', async () => {
  for (const id of [undefined, 'own']) {
    const broadcaster = new Broadcaster({ historyEvents: 2 })
    const before = await broadcaster.publish({ data: 'before', id })
    await publish(broadcaster, 'a', 'b')
    assert.deepEqual(connect(broadcaster, { lastEventId: before }).heard, ['a', 'b'])
  }
})

test('[broadcast 4.2] own ids are gone on from as well; of one that was given twice, from the later event', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  for (const [data, id] of [
    ['a', 'x'],
    ['b', 'y'],
    ['c', 'x'],
    ['d', 'z'],
  ])
    await broadcaster.publish({ data: data!, id })
  assert.deepEqual(connect(broadcaster, { lastEventId: 'x' }).heard, ['d'])
  assert.deepEqual(connect(broadcaster, { lastEventId: 'y' }).heard, ['c', 'd'])
  await broadcaster.publish({ data: 'e', id: 'y' })
  assert.deepEqual(connect(broadcaster, { lastEventId: 'y' }).heard, [])
  await publish(broadcaster, 'f')
  assert.deepEqual(connect(broadcaster, { lastEventId: 'x' }).heard, ['d', 'e', 'f'])
})

test('[broadcast 4.2] an own id in the form of an id of the broadcaster stands for the event that has it', async () => {
  const broadcaster = new Broadcaster()
  const [first] = await publish(broadcaster, 'a', 'b')
  await broadcaster.publish({ data: 'c', id: first })
  await publish(broadcaster, 'd')
  assert.deepEqual(connect(broadcaster, { lastEventId: first }).heard, ['d'])
})

test('[broadcast 4.2] what is published while the stream opens comes once, in order', async () => {
  const broadcaster = new Broadcaster()
  const [first] = await publish(broadcaster, 'a', 'b')
  broadcaster.publish('c') // of this turn: nobody has been woken for it
  const client = new FakeClient(broadcaster, {}, newConn(first))
  broadcaster.publish('d')
  client.onWrite = () => {
    client.onWrite = undefined
    broadcaster.publish('e') // with the opening
  }
  client.start()
  broadcaster.publish('f')
  await turn()
  broadcaster.publish('g')
  await turn()
  assert.deepEqual(client.heard, ['b', 'c', 'd', 'e', 'f', 'g'])
})

test('[broadcast 4.2] what is published between subscribe() and the start of the stream is not lost', async () => {
  const broadcaster = new Broadcaster()
  broadcaster.publish('before')
  const subscription = broadcaster.subscribe()
  broadcaster.publish('a')
  await turn()
  broadcaster.publish('b')
  const client = connect(subscription)
  broadcaster.publish('c')
  await turn()
  assert.deepEqual(client.heard, ['a', 'b', 'c'])
})

test('[broadcast 4.2] a slow client that goes on gets all of it, in runs, and what is new after that', async () => {
  const broadcaster = new Broadcaster()
  const texts = Array.from({ length: 300 }, (_, at) => `${at}:${'x'.repeat(1000)}`)
  const ids = await publish(broadcaster, ...texts)
  const client = connect(broadcaster, { lastEventId: ids[9], hasRoom: false })
  broadcaster.publish('new')
  await turn()
  for (let count = 0; count < 10; count++) client.drain(false)
  assert.deepEqual(client.heard, [...texts.slice(10), 'new'])
  assert.equal(broadcaster.stats().replayed, 290)
})

test('[broadcast 4.2] a client that comes back again and again has got everything once', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 10 })
  const heard: string[] = []
  let lastEventId: string | undefined
  for (let count = 0; count < 60; count++) {
    const client = connect(broadcaster, { lastEventId })
    if (count % 3 !== 0) await publish(broadcaster, `${count} a`, `${count} b`)
    heard.push(...client.heard)
    lastEventId = client.lastEventId
    client.leave()
    if (count % 2 === 0) await publish(broadcaster, `${count} c`)
  }
  const expected = Array.from({ length: 60 }, (_, count) => [
    ...(count % 3 === 0 ? [] : [`${count} a`, `${count} b`]),
    ...(count % 2 === 0 ? [`${count} c`] : []),
  ])
  assert.deepEqual(heard, expected.flat())
})

test('[broadcast 4.2] a client that goes on is behind: with coalesce it gets the newest alone', async () => {
  const broadcaster = new Broadcaster({ whenBehind: 'coalesce', coalesce: { price: true } })
  const [first] = await publish(broadcaster, 'a')
  for (const price of ['1', '2', '3']) broadcaster.publish('price', price)
  broadcaster.publish('z')
  const client = connect(broadcaster, { lastEventId: first })
  assert.deepEqual(client.heard, ['price 3', 'z'])
  const loop = broadcaster.subscribe({ lastEventId: first! })
  const events = collectData(loop)
  broadcaster.close()
  assert.deepEqual(await events, ['3', 'z'])
})

// ------------------------------------------------------------------------------------- the gap

test('[broadcast 4.3] where events have left the history, their number comes first, and then what is kept', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  const ids = await publish(broadcaster, 'a', 'b', 'c', 'd', 'e', 'f')
  const client = connect(broadcaster, { lastEventId: ids[0] })
  assert.deepEqual(client.heard, ['gap {"missed":2}', 'd', 'e', 'f'])
  const epoch = ids[0]!.slice(0, -2)
  const first = connect(broadcaster, { lastEventId: `${epoch}-0` })
  assert.deepEqual(first.heard, ['gap {"missed":3}', 'd', 'e', 'f'])
  assert.equal(broadcaster.stats().gaps, 2)
})

test('[broadcast 4.3] the number is null where nobody knows: topics, allow, coalesce', async () => {
  const coalesce: BroadcasterOptions = { whenBehind: 'coalesce', coalesce: { price: true } }
  for (const [options, subscribe] of [
    [{}, { topics: ['t'] }],
    [{}, { allow: () => true }],
    [coalesce, {}],
  ] as const) {
    const broadcaster = new Broadcaster({ historyEvents: 2, ...options })
    const ids = await publish(broadcaster, 'a', 'b', 'c', 'd')
    const of = (lastEventId: string): string[] =>
      connect(broadcaster.subscribe(subscribe), { lastEventId }).heard
    assert.deepEqual(of(ids[0]!), ['gap {"missed":null}', 'c', 'd'])
    assert.deepEqual(of(ids[1]!), ['c', 'd'])
  }
})

test('[broadcast 4.3] the policy does not matter: who comes back too late goes on, also where others are cut', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 1 })
  const [first] = await publish(broadcaster, 'a', 'b', 'c')
  const loop = broadcaster.subscribe({ lastEventId: first! })[Symbol.asyncIterator]()
  assert.equal((await loop.next()).value?.data, '{"missed":1}')
  assert.equal((await loop.next()).value?.data, 'c')
  await publish(broadcaster, 'd', 'e')
  await assert.rejects(loop.next(), { lost: 1 }) // told once, not for ever
})

test('[broadcast 4.4] an id that nobody knows is answered with a gap of null, and then what is new', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3 })
  await broadcaster.publish({ data: 'a', id: 'gone' })
  const ids = await publish(broadcaster, 'b', 'c', 'd', 'e')
  const epoch = ids[0]!.slice(0, -2)
  const other = (await publish(new Broadcaster(), 'x'))[0]!
  for (const lastEventId of [
    other,
    'gone',
    'nonsense',
    '5',
    epoch,
    `${epoch}-`,
    `${epoch}-6`, // not given yet
    `${epoch}-999999999999999999999`,
    `${epoch}-05`, // 5 is the newest
    `${epoch}-+5`,
    `${epoch}-5.0`,
    `${epoch}-0x5`,
    `${epoch}-5 x`,
    `${epoch}--1`,
    `-${epoch}-5`,
    `${epoch.slice(1)}-5`,
  ]) {
    const client = connect(broadcaster, { lastEventId })
    assert.deepEqual(client.heard, ['gap {"missed":null}'], lastEventId)
    assert.equal(client.lastEventId, ids[3])
    client.leave()
  }
  const client = connect(broadcaster, { lastEventId: 'unknown' })
  await publish(broadcaster, 'f')
  assert.deepEqual(client.heard, ['gap {"missed":null}', 'f'])
})

test('[broadcast 4.5] the id of a gap is where the client stands', async () => {
  for (const lastId of ['known', 'unknown']) {
    const broadcaster = new Broadcaster({ historyEvents: 3 })
    const ids = await publish(broadcaster, 'a', 'b', 'c', 'd', 'e')
    const lastEventId = lastId === 'known' ? ids[0] : lastId
    const client = connect(broadcaster, { lastEventId, hasRoom: false })
    client.drain(false) // room for the gap, and no more
    const before = client.lastEventId
    assert.equal(client.heard.length, 1)
    client.leave()
    const again = connect(broadcaster, { lastEventId: before })
    assert.deepEqual(again.heard, lastId === 'known' ? ['c', 'd', 'e'] : [])
    await publish(broadcaster, 'f')
    assert.deepEqual(again.heard.at(-1), 'f')
  }
})

test('[broadcast 4.5] a client that was told of a gap while it was slow comes back from there', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 3, whenBehind: 'drop-oldest' })
  const client = connect(broadcaster, { hasRoom: false })
  await publish(broadcaster, 'a', 'b', 'c', 'd', 'e')
  client.drain(false)
  assert.deepEqual(client.heard, ['gap {"missed":2}'])
  const { lastEventId } = client
  client.leave()
  assert.deepEqual(connect(broadcaster, { lastEventId }).heard, ['c', 'd', 'e'])
})

// -------------------------------------------------------------------------- the beginning

test('[broadcast 4.6] a stream begins with the id of where it stands, and misses nothing from there', async () => {
  const broadcaster = new Broadcaster()
  const early = connect(broadcaster)
  assert.match(early.text, /^:\nid: [0-9a-z]+-0\n\n$/)
  const ids = await publish(broadcaster, 'a', 'b')
  const late = connect(broadcaster)
  assert.equal(late.text, `:\nid: ${ids[1]}\n\n`)
  assert.deepEqual(late.events, [])
  assert.equal(late.lastEventId, ids[1])
  late.leave()
  await publish(broadcaster, 'c')
  assert.deepEqual(connect(broadcaster, { lastEventId: late.lastEventId }).heard, ['c'])
})

test('[broadcast 4.6] it stands where it has subscribed, before what came until its stream began', async () => {
  const broadcaster = new Broadcaster()
  const [first] = await publish(broadcaster, 'a')
  const subscription = broadcaster.subscribe()
  const [second] = await publish(broadcaster, 'b')
  assert.equal(connect(subscription).text, `:\nid: ${first}\n\nid: ${second}\ndata: b\n\n`)
})

test('[broadcast 4.6] a stream that goes on, or begins with a gap, has no other id before', async () => {
  const broadcaster = new Broadcaster({ historyEvents: 1 })
  const ids = await publish(broadcaster, 'a', 'b')
  assert.equal(connect(broadcaster, { lastEventId: ids[1] }).text, ':\n')
  const gap = `event: gap\nid: ${ids[1]}\ndata: {"missed":null}\n\n`
  assert.equal(connect(broadcaster, { lastEventId: 'x' }).text, `:\n${gap}`)
})

test('[broadcast 4.6] clients that begin at one place share its bytes, and others get theirs', async () => {
  const broadcaster = new Broadcaster()
  const [first, second] = [connect(broadcaster), connect(broadcaster)]
  assert.equal(first.writes[1], second.writes[1])
  const [id] = await publish(broadcaster, 'a')
  assert.equal(connect(broadcaster).lastEventId, id)
})

test('[broadcast 4.7] subscribe({ lastEventId }) says it in place of the request, and an empty one is none', async () => {
  const broadcaster = new Broadcaster()
  const ids = await publish(broadcaster, 'a', 'b', 'c')
  const heard = (said: string | undefined, lastEventId: string | undefined): string[] =>
    connect(broadcaster.subscribe(said === undefined ? {} : { lastEventId: said }), { lastEventId })
      .heard
  assert.deepEqual(heard(ids[1], ids[0]), ['c'])
  assert.deepEqual(heard(ids[1], undefined), ['c'])
  assert.deepEqual(heard('', ids[0]), [])
  assert.deepEqual(heard(undefined, ids[0]), ['b', 'c'])
  assert.deepEqual(heard(undefined, ''), [])
  assert.deepEqual(heard('unknown', ids[0]), ['gap {"missed":null}'])

  const subscription = broadcaster.subscribe({ lastEventId: ids[0]! })
  broadcaster.close()
  assert.deepEqual(await collectData(subscription), ['b', 'c'])
  assert.deepEqual(await collectData(subscription), ['b', 'c']) // each reading begins there
})

test('[broadcast 4.7] a lastEventId that is no string is refused', () => {
  for (const lastEventId of [5, null, ['x']]) {
    assert.throws(
      () => new Broadcaster().subscribe({ lastEventId: lastEventId as never }),
      /^TypeError: Cannot subscribe with lastEventId .*: it must be a string$/,
    )
  }
})

test('[broadcast 4.10] events older than historyMs are not replayed, but counted', async (t) => {
  const clock = mockClock(t)
  const broadcaster = new Broadcaster({ historyMs: 1000 })
  const ids = await publish(broadcaster, 'a', 'b')
  clock.now = 500
  await publish(broadcaster, 'c')
  clock.now = 1000
  assert.deepEqual(connect(broadcaster, { lastEventId: ids[0] }).heard, ['b', 'c'])
  clock.now = 1200
  assert.deepEqual(connect(broadcaster, { lastEventId: ids[0] }).heard, ['gap {"missed":1}', 'c'])
  assert.deepEqual(connect(broadcaster, { lastEventId: ids[1] }).heard, ['c'])
  const opened = new FakeClient(broadcaster, {}, newConn(ids[1]))
  clock.now = 9000
  opened.start() // too late by now
  assert.deepEqual(opened.heard, ['gap {"missed":1}'])
  assert.deepEqual(connect(broadcaster, { lastEventId: ids[0] }).heard, ['gap {"missed":2}'])
  const [last] = await publish(broadcaster, 'd')
  assert.equal(last!.split('-')[1], '4') // numbers go on
})

// --------------------------------------------------------------------------------------- tools

/** Publishes in one turn, and gives the ids. */
async function publish(broadcaster: Broadcaster, ...texts: string[]): Promise<string[]> {
  const ids = await Promise.all(texts.map((text) => broadcaster.publish(text)))
  await turn()
  return ids
}

test('[broadcast 4.8] lastEventId is where the broadcaster stands, for who subscribes later', async () => {
  const broadcaster = new Broadcaster()
  const first = broadcaster.lastEventId
  void broadcaster.publish('one', 'a', { id: 'own' })
  const second = broadcaster.lastEventId
  void broadcaster.publish('two', 'b')
  const third = await broadcaster.publish('three', 'c')
  assert.equal(broadcaster.lastEventId, third)
  for (const [lastEventId, data] of [
    [first, ['a', 'b', 'c']],
    [second, ['b', 'c']],
  ] as const) {
    const got: (string | undefined)[] = []
    for await (const event of broadcaster.subscribe({ lastEventId })) {
      got.push(event.data)
      if (got.length === data.length) break
    }
    assert.deepEqual(got, data)
  }
})
