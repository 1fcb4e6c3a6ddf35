import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { collectData, connect, FakeClient, newConn, turn } from '../fixtures/fake-client.ts'
import { TestedLog } from '../fixtures/tested-log.ts'
import { Broadcaster, memoryLog } from './index.ts'
import type { BroadcasterOptions, EventLog } from './index.ts'

test('[broadcast 8.1] what is published has the id of the log, and comes from there to everyone', async (t) => {
  const log = memoryLog()
  const here = await opened(t, { log })
  const there = await opened(t, { log })
  const clients = [connect(here), connect(there)]
  const loop = collectData(there)
  const id = await here.publish('a')
  await there.publish('t', 'b', { topic: 'x' })
  await turns()
  for (const client of clients) assert.deepEqual(client.heard, ['a', 't b'])
  assert.equal(clients[1]!.events[0]!.id, id)
  assert.equal((await log.bounds()).first, id)
  there.close()
  assert.deepEqual(await loop, ['a', 'b'])
})

test('[broadcast 8.1] many who publish at once are heard in one order', async (t) => {
  const log = memoryLog()
  const broadcasters = await Promise.all([opened(t, { log }), opened(t, { log })])
  const clients = broadcasters.map((broadcaster) => connect(broadcaster))
  const ids = await Promise.all(
    Array.from({ length: 100 }, (_, index) => broadcasters[index % 2]!.publish(String(index))),
  )
  assert.equal(new Set(ids).size, 100)
  await turns()
  assert.equal(clients[0]!.heard.length, 100)
  assert.deepEqual(clients[0]!.heard, clients[1]!.heard)
})

test('[broadcast 8.1] an event without data is sent without an id, and one with an own id is refused', async (t) => {
  const log = memoryLog()
  const broadcaster = await opened(t, { log })
  const client = connect(broadcaster)
  client.take()
  await broadcaster.publish({ comment: 'a note' })
  await turns()
  assert.equal(client.text, ': a note\n')
  for (const publish of [
    () => broadcaster.publish('t', 'a', { id: 'mine' }),
    () => broadcaster.publish({ data: 'a', id: 'mine' }),
  ])
    assert.throws(publish, {
      name: 'TypeError',
      message: 'Cannot publish with the id "mine": events of a log have its own ids',
    })
})

test('[broadcast 8.1] what others have added without its end does not run into the next event', async (t) => {
  const log = memoryLog()
  const broadcaster = await opened(t, { log })
  const client = connect(broadcaster)
  const ids: string[] = []
  const expected = []
  for (const text of ['data: a', 'data: a\n', 'event: t\ndata: a', 'event: t\n', ': note', '']) {
    const id = await log.append({ text })
    if (text.includes('data')) {
      ids.push(id)
      expected.push(text.includes('event') ? 't a' : 'a')
    }
    ids.push(await broadcaster.publish('mine'))
    expected.push('mine')
  }
  await turns()
  assert.deepEqual(client.heard, expected)
  assert.deepEqual(
    client.events.map((event) => event.id),
    ids,
  )
})

test('[broadcast 8.2] publish rejects where the log has not taken the event, and nobody else hears of it', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log })
  const client = connect(broadcaster)
  log.before = (what) => {
    if (what === 'append') throw new Error('the disk is full')
  }
  void broadcaster.publish('not awaited') // its rejection is nobody's: it must not end the process
  await assert.rejects(broadcaster.publish('a'), { message: 'the disk is full' })
  log.before = () => {}
  await broadcaster.publish('b')
  await turns()
  assert.deepEqual(client.heard, ['b'])
})

test('[broadcast 8.3] whom the history cannot serve gets the rest from the log, in order, and then what is new', async (t) => {
  const log = memoryLog()
  const broadcaster = await opened(t, { log, historyEvents: 3 })
  const ids = await publish(broadcaster, 1, 1000)
  await turns()
  assert.equal(broadcaster.stats().historyEvents, 3)
  const clients = [0, 1, 499, 995, 996, 997, 999].map(
    (at) => [at, connect(broadcaster, { lastEventId: ids[at] })] as const,
  )
  const loop = collectData(broadcaster.subscribe({ lastEventId: ids[499]! }))
  await turns()
  await publish(broadcaster, 1001, 1003)
  await turns()
  for (const [at, client] of clients) assert.deepEqual(client.heard, numbers(at + 2, 1003))
  broadcaster.close()
  assert.deepEqual(await loop, numbers(501, 1003))
  assert.equal(broadcaster.stats().gaps, 0)
})

test('[broadcast 8.3] who comes to another process, or after a restart, misses nothing', async (t) => {
  const log = memoryLog()
  const before = await opened(t, { log })
  const client = connect(before)
  await publish(before, 1, 5)
  await turns()
  before.close()
  const after = await opened(t, { log })
  await publish(after, 6, 8)
  const again = connect(after, { lastEventId: client.lastEventId })
  await turns()
  assert.deepEqual([...client.heard, ...again.heard], numbers(1, 8))
})

test('[broadcast 8.3] who comes back before its first event misses nothing, also in another process', async (t) => {
  const log = memoryLog()
  await log.append({ text: 'data: old\n\n' })
  const here = await opened(t, { log })
  const client = connect(here)
  assert.equal(client.lastEventId, (await log.bounds()).last)
  assert.equal(client.lastEventId, here.lastEventId)
  client.leave()
  const there = await opened(t, { log })
  await publish(there, 1, 2)
  const again = connect(there, { lastEventId: client.lastEventId })
  await turns()
  assert.deepEqual(again.heard, numbers(1, 2))
})

test('[broadcast 8.3] random clients of two broadcasters with a slow log get each event once and in order', async (t) => {
  const random = mulberry32(Number(process.env.WAKEROBIN_LOG_SEED) || Date.now() % 1e6)
  t.diagnostic(`WAKEROBIN_LOG_SEED=${random.seed}`)
  // A log that fails is read again by a timer that holds no process. Here nothing else does, as a server would.
  const held = setInterval(() => {}, 1000)
  t.after(() => clearInterval(held))
  const shared = memoryLog()
  const broadcasters = await Promise.all(
    [1, 4].map((historyEvents) => {
      const log = new TestedLog(shared)
      log.before = async () => {
        for (let left = random.below(4); left > 0; left--) await turn()
        if (random.below(50) === 0) throw new Error('for once')
      }
      return opened(t, { log, historyEvents, onLogError() {} })
    }),
  )
  const clients = Array.from({ length: 40 }, () => new Wanderer())
  let published = 0
  for (let step = 0; step < 1500; step++) {
    const broadcaster = broadcasters[random.below(2)]!
    const client = clients[random.below(clients.length)]!
    if (random.below(3) === 0) {
      // One after the other, as the order is known then; what failed is published anew.
      const data = String(published + 1)
      await broadcaster.publish(data).then(
        () => published++,
        () => {},
      )
    } else if (client.client === undefined) client.come(broadcaster)
    else if (random.below(4) === 0) client.leave()
    else client.client.drain(random.below(3) > 0)
    if (random.below(3) === 0) await turn()
  }
  for (const client of clients) {
    client.leave()
    client.come(broadcasters[0]!)
  }
  await until(() => {
    for (const { client } of clients) if (!client!.hasRoom) client!.drain()
    return clients.every(({ heard }) => heard.at(-1) === String(published))
  })
  assert(published > 100, `only ${published} were published`)
  for (const client of clients)
    assert.deepEqual(client.heard, numbers(Number(client.heard[0]), published))
})

test('[broadcast 8.3] who comes from the log while the history moves on has no gap', async (t) => {
  // At each of the moments between the last piece that is read and the place in the history.
  for (let moment = 0; moment < 20; moment++) {
    const inner = memoryLog()
    const log = new TestedLog(inner)
    const broadcaster = await opened(t, { log, historyEvents: 2 })
    const [first] = await publish(broadcaster, 1, 4)
    await turns()
    const client = connect(broadcaster, { lastEventId: first })
    const loop = broadcaster.subscribe({ lastEventId: first! })[Symbol.asyncIterator]()
    const next = loop.next()
    while (log.reads === 0) await undefined
    for (let left = moment; left > 0; left--) await undefined
    for (const data of numbers(5, 9)) void inner.append({ text: `data: ${data}\n\n` })
    await turns()
    assert.deepEqual(client.heard, numbers(2, 9), `at moment ${moment}`)
    const heard = [(await next).value!.data]
    while (heard.length < 8) heard.push((await loop.next()).value!.data)
    assert.deepEqual(heard, numbers(2, 9), `at moment ${moment}`)
    broadcaster.close()
  }
})

test('[broadcast 8.5] who came before the log could be read has no gap, however late there is room', async (t) => {
  const log = new TestedLog(memoryLog())
  let open = (): void => {}
  const isOpen = new Promise<void>((resolve) => (open = resolve))
  log.before = () => isOpen
  const broadcaster = new Broadcaster({ log, historyEvents: 2 })
  t.after(() => broadcaster.close())
  const client = connect(broadcaster, { hasRoom: false })
  open()
  await broadcaster.ready
  await publish(broadcaster, 1, 9)
  await turns()
  client.drain()
  await turns()
  assert.deepEqual(client.heard, numbers(1, 9))
})

test('[broadcast 8.3] who is answered after the history has moved on past its id gets the rest from the log', async (t) => {
  const broadcaster = await opened(t, { log: memoryLog(), historyEvents: 2 })
  const [first] = await publish(broadcaster, 1, 3)
  await turns()
  const client = new FakeClient(broadcaster, {}, newConn(first))
  await publish(broadcaster, 4, 9)
  await turns()
  client.start()
  await turns()
  assert.deepEqual(client.heard, numbers(2, 9))
})

test('[broadcast 8.4] an id from before the log begins has a gap with what is known, and then what the log has', async (t) => {
  const log = memoryLog({ maxEvents: 5 })
  const broadcaster = await opened(t, { log, historyEvents: 1 })
  const ids = await publish(broadcaster, 1, 20)
  await turns()
  const client = connect(broadcaster, { lastEventId: ids[9] })
  const ofTopics = connect(broadcaster.subscribe({ topics: ['x'] }), { lastEventId: ids[9] })
  const loop = broadcaster.subscribe({ lastEventId: ids[9]! })[Symbol.asyncIterator]()
  await turns()
  assert.deepEqual(client.heard, ['gap {"missed":5}', ...numbers(16, 20)])
  assert.deepEqual(ofTopics.heard, ['gap {"missed":null}', ...numbers(16, 20)])
  const heard = []
  for (let count = 0; count < 6; count++) heard.push((await loop.next()).value!.data)
  assert.deepEqual(heard, ['{"missed":5}', ...numbers(16, 20)])
  assert.equal(broadcaster.stats().gaps, 3)
})

test('[broadcast 8.4] an id that is not of the log has a gap, the id of where it stands, and then what is new', async (t) => {
  const log = memoryLog()
  const broadcaster = await opened(t, { log })
  const [, last] = await publish(broadcaster, 1, 2)
  const client = connect(broadcaster, { lastEventId: 'k3f0x9q-7' })
  await turns()
  assert.deepEqual(client.heard, ['gap {"missed":null}'])
  assert.equal(client.lastEventId, last)
  await publish(broadcaster, 3, 3)
  await turns()
  assert.deepEqual(client.heard, ['gap {"missed":null}', '3'])
})

test('[broadcast 8.4] what the log itself has lost is told to everyone', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const inner = memoryLog({ maxEvents: 5 })
  const log = new TestedLog(inner)
  const broadcaster = await opened(t, { log, onLogError() {} })
  const client = connect(broadcaster)
  await publish(broadcaster, 1, 1)
  await turns()
  log.before = () => {
    throw new Error('the connection is gone')
  }
  for (let count = 2; count <= 20; count++) await inner.append({ text: `data: ${count}\n\n` })
  await turns()
  log.before = () => {}
  t.mock.timers.tick(100)
  await turns()
  assert.deepEqual(client.heard, ['1', 'gap {"missed":14}', ...numbers(16, 20)])
})

test('[broadcast 8.5] a broadcaster whose log cannot be read yet has streams wait, and begins when it can', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const errors: unknown[] = []
  const inner = memoryLog()
  const ids = [
    await inner.append({ text: 'data: 1\n\n' }),
    await inner.append({ text: 'data: 2\n\n' }),
  ]
  const log = new TestedLog(inner)
  let fails = 3
  log.before = () => {
    if (fails > 0) throw new Error(`down ${fails--}`)
  }
  const broadcaster = new Broadcaster({ log, onLogError: (error) => errors.push(error) })
  t.after(() => broadcaster.close())
  let isReady = false
  void broadcaster.ready.then(() => (isReady = true))
  const client = connect(broadcaster)
  const again = connect(broadcaster, { lastEventId: ids[0] })
  const loop = broadcaster.subscribe()[Symbol.asyncIterator]().next()
  await turns()
  assert.equal(client.text, ':\n')
  assert.equal(broadcaster.lastEventId, '')
  assert.equal(broadcaster.subscriberCount, 3)
  for (const ms of [100, 200, 400]) {
    assert.equal(isReady, false)
    t.mock.timers.tick(ms)
    await turns()
  }
  assert.equal(isReady, true)
  assert.equal(client.text, `:\nid: ${ids[1]}\n\n`)
  assert.deepEqual(again.heard, ['2'])
  await broadcaster.publish('3')
  await turns()
  assert.deepEqual(client.heard, ['3'])
  assert.deepEqual(again.heard, ['2', '3'])
  assert.equal((await loop).value!.data, '3')
  assert.deepEqual(errors.map(String), ['Error: down 3'])
})

test('[broadcast 8.5] a log that fails is read again, ever more rarely, and told of once', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(Math, 'random', () => 1)
  const errors: unknown[] = []
  const inner = memoryLog()
  const log = new TestedLog(inner)
  const broadcaster = await opened(t, { log, onLogError: (error) => errors.push(error) })
  const client = connect(broadcaster)
  for (const outage of [1, 2]) {
    let tries = 0
    log.before = (what) => {
      if (what !== 'tail') return
      tries++
      throw new Error(`outage ${outage}`)
    }
    const data = `after ${outage}`
    await inner.append({ text: `data: ${data}\n\n` })
    for (const pauseMs of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
      await turns()
      const before = tries
      t.mock.timers.tick(pauseMs - 1)
      await turns()
      assert.equal(tries, before)
      t.mock.timers.tick(1)
      await turns()
      assert.equal(tries, before + 1)
    }
    log.before = () => {}
    t.mock.timers.tick(5000)
    await turns()
    assert.equal(client.heard.at(-1), data)
  }
  assert.deepEqual(errors.map(String), ['Error: outage 1', 'Error: outage 2'])
})

test('[broadcast 8.5] by default a log that fails is a line on stderr', async (t) => {
  const lines: unknown[][] = []
  t.mock.method(console, 'error', (...line: unknown[]) => lines.push(line))
  const log = new TestedLog(memoryLog())
  log.before = () => {
    throw new Error('down')
  }
  const broadcaster = new Broadcaster({ log })
  await turns()
  broadcaster.close()
  assert.equal(lines.length, 1)
  assert.match(String(lines[0]![0]), /event log of a Broadcaster cannot be read/)
  assert.equal(String(lines[0]![1]), 'Error: down')
})

test('[broadcast 8.6] a client that does not read has no more of the log read for it', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log, historyEvents: 1 })
  const [first] = await publish(broadcaster, 1, 2000)
  await turns()
  const client = connect(broadcaster, { lastEventId: first, hasRoom: false })
  await turns()
  assert.equal(log.reads, 0)
  client.drain(false)
  await turns()
  assert.equal(log.reads, 1)
  const { length } = client.heard
  assert(length > 0 && length < 300, `${length} were written`)
  client.drain(false)
  await turns()
  assert.equal(log.reads, 2)
  client.drain()
  await turns()
  assert.deepEqual(client.heard, numbers(2, 2000))
})

test('[broadcast 8.6] clients that come back together have the log read once', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log, historyEvents: 1 })
  const ids = await publish(broadcaster, 1, 200)
  await turns()
  const same = Array.from({ length: 50 }, () => connect(broadcaster, { lastEventId: ids[0] }))
  await turns()
  assert.equal(log.reads, 1)
  for (const client of same) assert.deepEqual(client.heard, numbers(2, 200))
  // Different ones: a few at a time.
  let reading = 0
  let most = 0
  log.before = async (what) => {
    if (what !== 'read') return
    most = Math.max(most, ++reading)
    await turn()
    reading--
  }
  const others = ids.slice(0, 100).map((lastEventId) => connect(broadcaster, { lastEventId }))
  await turns(100)
  for (const [at, client] of others.entries()) assert.deepEqual(client.heard, numbers(at + 2, 200))
  assert.equal(most, 16)
})

test('[broadcast 8.5] a place that cannot be read keeps nobody from others, and is told of once', async (t) => {
  const inner = memoryLog()
  const log = new TestedLog(inner)
  const errors: unknown[] = []
  const broadcaster = await opened(t, {
    log,
    historyEvents: 1,
    onLogError: (error) => errors.push(error),
  })
  const ids = await publish(broadcaster, 1, 40)
  await turns()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let reads = 0
  log.read = async (after, limit) => {
    reads++
    if (ids.indexOf(after) < 20) throw new Error('bad sector')
    return inner.read(after, limit)
  }
  const waiting = ids.slice(0, 20).map((lastEventId) => connect(broadcaster, { lastEventId }))
  const client = connect(broadcaster, { lastEventId: ids[29] })
  await turns()
  assert.deepEqual(client.heard, numbers(31, 40))
  for (let number = 41; number <= 45; number++) {
    await broadcaster.publish(String(number)) // so that the log works, in between
    await turns()
    t.mock.timers.tick(5000)
    await turns()
  }
  assert.deepEqual(client.heard, numbers(31, 45))
  assert(reads < 150, `it was read ${reads} times`)
  assert(errors.length <= 20, `it was told of ${errors.length} times`)
  log.read = (after, limit) => inner.read(after, limit)
  t.mock.timers.tick(5000)
  await turns()
  for (const [at, { heard }] of waiting.entries()) assert.deepEqual(heard, numbers(at + 2, 45))
})

test('[broadcast 8.5] a log that fails goes on though onLogError throws', async (t) => {
  // In a microtask of its own, as of every callback that throws.
  const thrown: unknown[] = []
  t.mock.method(globalThis, 'queueMicrotask', (callback: () => void) =>
    process.nextTick(() => {
      try {
        callback()
      } catch (error) {
        thrown.push(error)
      }
    }),
  )
  const log = new TestedLog(memoryLog())
  let isDown = true
  log.before = () => {
    if (isDown) throw new Error('down')
  }
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const error = new Error('of onLogError')
  const broadcaster = new Broadcaster({
    log,
    onLogError() {
      throw error
    },
  })
  t.after(() => broadcaster.close())
  let isReady = false
  void broadcaster.ready.then(() => (isReady = true))
  await turns()
  isDown = false
  t.mock.timers.tick(5000)
  await turns()
  assert.equal(isReady, true)
  assert.deepEqual(thrown, [error])
})

test('[broadcast 8.6] nothing is read for clients that have left', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log, historyEvents: 1, onLogError() {} })
  const ids = await publish(broadcaster, 1, 100)
  await turns()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let isDown = true
  log.before = (what) => {
    if (what === 'read' && isDown) throw new Error('down')
  }
  const leaving = ids.slice(0, 90).map((lastEventId) => connect(broadcaster, { lastEventId }))
  const controller = new AbortController()
  const loop = collectData(
    broadcaster.subscribe({ lastEventId: ids[95]!, signal: controller.signal }),
  )
  const client = connect(broadcaster, { lastEventId: ids[97] })
  await turns()
  for (const each of leaving) each.leave()
  controller.abort()
  assert.deepEqual(await loop, [])
  log.reads = 0
  isDown = false
  t.mock.timers.tick(5000)
  await turns()
  assert.deepEqual(client.heard, numbers(99, 100))
  assert.equal(log.reads, 1)
})

test('[broadcast 8.6] topics and allow hold for what comes from the log, and an allow that throws ends that stream', async (t) => {
  const log = memoryLog()
  const broadcaster = await opened(t, { log, historyEvents: 1 })
  const [first] = await publish(broadcaster, 1, 1)
  for (const [data, topic] of ['xa', 'yb', 'xc', 'yd'].map((text) => [text[1]!, text[0]!] as const))
    await broadcaster.publish('message', data, { topic })
  await publish(broadcaster, 2, 2)
  await turns()
  const lastEventId = first!
  const ofX = connect(broadcaster.subscribe({ topics: ['x'] }), { lastEventId })
  const allowed = connect(broadcaster.subscribe({ allow: (topic) => topic === 'y' }), {
    lastEventId,
  })
  const failing = connect(
    broadcaster.subscribe({
      allow: () => {
        throw new Error('no rights today')
      },
    }),
    { lastEventId },
  )
  const loop = collectData(broadcaster.subscribe({ topics: ['y'], lastEventId }))
  await turns()
  assert.deepEqual(ofX.heard, ['a', 'c', '2'])
  assert.deepEqual(allowed.heard, ['b', 'd', '2'])
  assert.equal(failing.state, 'aborted')
  assert.equal(String(failing.error), 'Error: no rights today')
  broadcaster.close()
  assert.deepEqual(await loop, ['b', 'd', '2'])
})

test('[broadcast 8.7] a stream that ends while it reads the log does so at once, and comes back to the rest', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log, historyEvents: 1 })
  const [first, second] = await publish(broadcaster, 1, 600)
  await turns()
  log.before = (what) => (what === 'read' ? new Promise<void>(() => {}) : undefined)
  const ends: [string, (client: FakeClient) => void][] = [
    ['ended', ({ source }) => source.stop()],
    ['gone', (client) => client.leave()],
    ['ended', ({ conn }) => broadcaster.disconnect((subscriber) => subscriber.conn === conn)],
  ]
  for (const [state, end] of ends) {
    const client = connect(broadcaster, { lastEventId: first })
    await turns()
    end(client)
    assert.equal(client.state, state)
    assert.deepEqual(client.heard, [])
  }
  const stopped = new FakeClient(broadcaster, {}, newConn(first))
  stopped.source.stop()
  stopped.start()
  assert.equal(stopped.state, 'ended')
  assert.equal(broadcaster.subscriberCount, 0)
  const { dropped } = broadcaster.stats()
  assert.equal(dropped, 0, 'what the log has is not lost')

  log.before = () => {}
  const client = connect(broadcaster, { lastEventId: second, hasRoom: false })
  client.drain(false)
  await turns()
  assert(client.heard.length > 0)
  client.source.stop()
  assert.equal(client.state, 'ended')
  const again = connect(broadcaster, { lastEventId: client.lastEventId })
  await turns()
  assert.deepEqual([...client.heard, ...again.heard], numbers(3, 600))
})

test('[broadcast 8.7] a loop that ends while it reads the log ends at once', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log, historyEvents: 1 })
  const [first] = await publish(broadcaster, 1, 10)
  await turns()
  log.before = (what) => (what === 'read' ? new Promise<void>(() => {}) : undefined)
  const controller = new AbortController()
  const lastEventId = first!
  const loops = [
    broadcaster.subscribe({ lastEventId, signal: controller.signal })[Symbol.asyncIterator](),
    broadcaster.subscribe({ lastEventId })[Symbol.asyncIterator](),
    broadcaster.subscribe({ lastEventId })[Symbol.asyncIterator](),
  ]
  const waiting = loops.map((loop) => loop.next())
  await turns()
  controller.abort()
  await loops[1]!.return!()
  broadcaster.close()
  for (const next of waiting) assert.deepEqual(await next, { done: true, value: undefined })
  assert.equal(broadcaster.subscriberCount, 0)
})

test('[broadcast 8.7] closing a broadcaster ends its tail, and leaves the log to others', async (t) => {
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log })
  await turns()
  assert.equal(log.tails, 1)
  broadcaster.close()
  await turns()
  assert.equal(log.tails, 0)
  assert.throws(() => broadcaster.publish('late'), { message: /the broadcaster is closed/ })
  const other = await opened(t, { log })
  const client = connect(other)
  await other.publish('a')
  await turns()
  assert.deepEqual(client.heard, ['a'])
})

test('[broadcast 8.7] a log that is closed first is no failure', async (t) => {
  const errors: unknown[] = []
  const log = new TestedLog(memoryLog())
  const broadcaster = await opened(t, { log, onLogError: (error) => errors.push(error) })
  const client = connect(broadcaster)
  await turns()
  await log.close()
  await turns()
  assert.equal(log.tails, 0)
  await assert.rejects(broadcaster.publish('late'), { message: /it is closed/ })
  client.source.stop()
  assert.equal(client.state, 'ended')
  assert.deepEqual(errors, [])
})

test('a broadcaster refuses a log that is none, and one that it may not replay', () => {
  const refused: [BroadcasterOptions, string][] = [
    [
      { log: 'redis' as never },
      'Cannot make a Broadcaster with log "redis": it must be an EventLog',
    ],
    [{ log: { append() {} } as never }, 'it must be an EventLog, such as memoryLog() makes'],
    [{ log: null as never }, 'with log null'],
    [{ log: memoryLog(), replay: false }, 'with a log and replay false'],
    [
      { log: memoryLog(), onLogError: 'print' as never },
      'with onLogError "print": it must be a function',
    ],
  ]
  for (const [options, message] of refused)
    assert.throws(
      () => new Broadcaster(options),
      (error: Error) => error.message.includes(message),
    )
})

// ----------------------------------------------------------------------------------------- help

/** A client that comes and goes, and remembers what it has heard. */
class Wanderer {
  client: FakeClient | undefined
  readonly #heard: string[] = []
  #lastEventId: string | undefined

  get heard(): string[] {
    return [...this.#heard, ...(this.client?.heard ?? [])]
  }

  come(broadcaster: Broadcaster): void {
    this.client = connect(broadcaster, { lastEventId: this.#lastEventId })
  }

  leave(): void {
    if (this.client === undefined) return
    this.#heard.push(...this.client.heard)
    this.#lastEventId = this.client.lastEventId || undefined
    if (this.client.state === 'open') this.client.leave()
    this.client = undefined
  }
}

async function opened(
  t: TestContext,
  options: BroadcasterOptions & { log: EventLog },
): Promise<Broadcaster> {
  const broadcaster = new Broadcaster(options)
  t.after(() => broadcaster.close())
  await broadcaster.ready
  return broadcaster
}

function publish(broadcaster: Broadcaster, from: number, to: number): Promise<string[]> {
  return Promise.all(numbers(from, to).map((data) => broadcaster.publish(data)))
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => String(from + index))
}

async function turns(count = 20): Promise<void> {
  for (; count > 0; count--) await turn()
}

async function until(isDone: () => boolean): Promise<void> {
  for (let left = 20_000; !isDone(); left--) {
    assert(left > 0, 'it does not come to an end')
    await turn()
  }
}

function mulberry32(seed: number): { seed: number; below(limit: number): number } {
  let state = seed
  return {
    seed,
    below(limit) {
      state = (state + 0x6d2b79f5) | 0
      let t = Math.imul(state ^ (state >>> 15), 1 | state)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit)
    },
  }
}
