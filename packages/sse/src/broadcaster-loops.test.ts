import assert from 'node:assert/strict'
import { test } from 'node:test'

import { collect, collectData, turn } from '../fixtures/fake-client.ts'
import { Broadcaster, SseEvent, SubscriberTooSlowError } from './index.ts'

// --------------------------------------------------------------------------------- for await loops

test('for await gives every event that is published from its beginning on', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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

test('an event of a loop is what a client would have of it: with its id, and LF for every line break', async () => {
  const broadcaster = new Broadcaster()
  const reads = [collect(broadcaster), collect(broadcaster)]
  const given = [
    SseEvent.new('a\r\nb\rc').withType('t').withRetry(5).withComment('note'),
    SseEvent.new('own').withId('7'),
    SseEvent.comment('no data, no id'),
  ]
  const ids = await Promise.all(given.map((event) => broadcaster.publish(event)))
  broadcaster.close()
  const expected = [given[0]!.withData('a\nb\nc').withId(ids[0]!), given[1], given[2]]
  for (const read of reads) {
    const events = await read
    assert(events.every((event) => SseEvent.is(event) && Object.isFrozen(event)))
    assert.deepEqual(events, expected)
  }
})

test('subscribe() marks the place: what follows is read even if the loop begins later', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  broadcaster.publish('before')
  const subscription = broadcaster.subscribe()
  assert.equal(broadcaster.subscriberCount, 0)
  broadcaster.publish('since')
  broadcaster.close()
  assert.deepEqual(await collectData(subscription), ['since'])
})

test('several loops read at their own pace', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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
  const broadcaster = new Broadcaster({ replay: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  const results = [loop.next(), loop.next(), loop.next()]
  broadcaster.publish('a')
  broadcaster.publish('b')
  broadcaster.close()
  const values = (await Promise.all(results)).map(({ value }) => value?.data)
  assert.deepEqual(values, ['a', 'b', undefined])
})

test('an iterator is its own iterable, so a loop can go on where another stopped asking', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  broadcaster.publish('a')
  broadcaster.publish('b')
  broadcaster.close()
  assert.equal((await loop.next()).value?.data, 'a')
  assert.deepEqual(await collectData(loop), ['b'])
})

test('a break leaves the broadcaster', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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
  const broadcaster = new Broadcaster({ replay: false })
  const loop = broadcaster[Symbol.asyncIterator]()
  const waiting = [loop.next(), loop.next()]
  assert.equal(broadcaster.subscriberCount, 1)
  const returned = loop.return!()
  assert.equal(broadcaster.subscriberCount, 0)
  broadcaster.publish('too late')
  for (const result of [...waiting, returned, loop.next(), loop.return!()])
    assert.deepEqual(await result, { done: true, value: undefined })
})

test('[broadcast 3.3] a loop that falls off the history gets an error that says how much it lost, and is done', async () => {
  const broadcaster = new Broadcaster({ replay: false, historyEvents: 2 })
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

test('a loop that publishes while it reads gets what it published', async () => {
  const broadcaster = new Broadcaster({ replay: false })
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
