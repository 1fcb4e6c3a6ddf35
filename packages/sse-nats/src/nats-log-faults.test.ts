import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { jetstreamManager, type JetStreamManager, type StreamConfig } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { Broadcaster, type EventLog, type LogEvent } from '@wakerobin/sse'

import { Follower } from '../fixtures/follower.ts'
import { NatsServer, skip, until } from '../fixtures/nats-server.ts'
import { Proxy } from '../fixtures/proxy.ts'
import { natsLog } from './nats-log.ts'
import type { NatsLogOptions } from './options.ts'

const event = (number: number): LogEvent => ({ text: `data: ${number}\n\n` })
const texts = (count: number): string[] => Array.from({ length: count }, (_, n) => event(n).text)

function open(url: string, options: NatsLogOptions = {}): EventLog & AsyncDisposable {
  const log = natsLog('faults', { connection: { servers: url, timeout: 1_000 }, ...options })
  return Object.assign(log, { [Symbol.asyncDispose]: () => log.close() })
}

/** What an administrator does. */
async function administer<T>(url: string, work: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
  const connection = await connect({ servers: url })
  try {
    return await work(await jetstreamManager(connection, { checkAPI: false }))
  } finally {
    await connection.close()
  }
}

async function everything(log: EventLog): Promise<string[]> {
  const all: string[] = []
  for (let at = ''; ;) {
    const { records, next } = await log.read(at, 500)
    if (records.length === 0) return all
    all.push(...records.map(({ text }) => text))
    at = next
  }
}

describe('a log on NATS JetStream, when something fails', { skip }, () => {
  test('a server that is not there yet is waited for', async () => {
    await using server = await NatsServer.make()
    await using log = open(server.url)
    await assert.rejects(log.bounds(), /^Error: Cannot read the log in the stream "faults": connection refused$/) // prettier-ignore
    await assert.rejects(log.read('', 1), /^Error: Cannot read the log/)
    await assert.rejects(async () => {
      await log.tail('', new AbortController().signal)[Symbol.asyncIterator]().next()
    }, /^Error: Cannot follow the log in the stream "faults": connection refused$/)
    const adding = Promise.all([0, 1, 2].map((number) => log.append(event(number))))
    await server.start()
    const ids = await adding
    assert.equal((await log.bounds()).last, ids[2])
    assert.deepEqual(await everything(log), texts(3))
  })

  test('a publisher is told that a server has not been there in time', async () => {
    await using server = await NatsServer.make()
    await using log = open(server.url, { appendTimeoutMs: 200 })
    await assert.rejects(
      log.append(event(0)),
      /^NatsAppendError: Cannot add to the log in the stream "faults": NATS has not taken it within 200 ms \(connection refused\)$/,
    )
  })

  test('a server without JetStream is told', async () => {
    await using server = await NatsServer.start({ jetStream: false })
    await using log = open(server.url, { appendTimeoutMs: 200 })
    const why = /jetstream is not enabled/
    await assert.rejects(log.bounds(), why)
    await assert.rejects(log.append(event(0)), why)
  })

  for (const signal of ['SIGTERM', 'SIGKILL'] as const)
    test(`a server that is ended by ${signal} and started again loses and doubles nothing`, async () => {
      await using server = await NatsServer.start()
      await using log = open(server.url)
      const { last } = await log.bounds()
      await using follower = new Follower(log, last)
      const adding: Promise<string>[] = []
      const publish = (): void => void adding.push(log.append(event(adding.length)))
      // One in 5 ms, and once in a while many in a turn.
      const timer = setInterval(() => {
        publish()
        if (adding.length % 50 === 0) for (let n = 0; n < 100; n++) publish()
      }, 5)
      for (let round = 0; round < 2; round++) {
        const { length } = adding
        await until('some more are published', () => adding.length > length + 100)
        await server.end(signal)
        await sleep(300) // it is away for so long
        await server.start()
      }
      await until('some more are published', () => adding.length > 800)
      clearInterval(timer)
      const ids = await Promise.all(adding)
      await follower.has(ids.length)
      assert.deepEqual(follower.texts, texts(ids.length))
      assert.deepEqual(follower.ids, ids)
      assert.deepEqual(follower.missed, [])
      assert.ok(follower.errors.length > 0)
      assert.deepEqual(await everything(log), texts(ids.length))
    })

  test('an event whose answer was lost is not added twice', async () => {
    await using server = await NatsServer.start()
    await using proxy = await Proxy.start(server.port)
    await using direct = open(server.url)
    await using log = open(proxy.url)
    await log.append(event(0))
    proxy.mute()
    const adding = Promise.all([1, 2, 3].map((number) => log.append(event(number))))
    await using follower = new Follower(direct, '')
    await follower.has(4)
    proxy.cut()
    assert.deepEqual(await adding, follower.ids.slice(1))
    await log.append(event(4))
    await follower.has(5)
    assert.deepEqual(await everything(log), texts(5))
  })

  test('a connection on which nothing comes back is given up within the time of an append', async () => {
    await using server = await NatsServer.start()
    await using proxy = await Proxy.start(server.port)
    await using log = open(proxy.url, { appendTimeoutMs: 2_000 })
    await log.append(event(0))
    proxy.freeze()
    await Promise.all([1, 2, 3].map((number) => log.append(event(number))))
    assert.deepEqual(await everything(log), texts(4))
  })

  test('a connection that is silent for too long is given up, though nothing is published', async () => {
    await using server = await NatsServer.start()
    await using proxy = await Proxy.start(server.port)
    await using direct = open(server.url)
    await using log = open(proxy.url, {
      connection: { servers: proxy.url, pingInterval: 100, maxPingOut: 1 },
    })
    await using follower = new Follower(log, (await log.bounds()).last)
    await direct.append(event(0))
    await follower.has(1)
    proxy.freeze()
    await direct.append(event(1))
    await follower.has(2)
    assert.deepEqual(follower.texts, texts(2))
    assert.deepEqual(follower.missed, [])
    assert.match(String(follower.errors[0]), /Cannot follow the log in the stream "faults"/)
  })

  test('a slow server is waited for, and connections that break are made anew', async () => {
    await using server = await NatsServer.start()
    await using proxy = await Proxy.start(server.port)
    await using log = open(proxy.url)
    proxy.delayMs = 20
    const { last } = await log.bounds()
    await using follower = new Follower(log, last)
    const adding: Promise<string>[] = []
    for (let cuts = 0; cuts < 10; cuts++) {
      for (let n = 0; n < 20; n++) {
        adding.push(log.append(event(adding.length)))
        await sleep(3)
      }
      proxy.cut()
    }
    const ids = await Promise.all(adding)
    await follower.has(200)
    assert.deepEqual(follower.texts, texts(200))
    assert.deepEqual(follower.ids, ids)
  })

  test('what a full stream refuses is told, and it takes more when there is room', async () => {
    await using server = await NatsServer.start()
    const config = { name: 'faults', subjects: ['faults'], discard: 'new', max_bytes: 20_000 }
    await administer(server.url, (jsm) => jsm.streams.add(config as StreamConfig))
    await using log = open(server.url)
    const large = { text: `data: ${'x'.repeat(5_000)}\n\n` }
    const added = [await log.append(large), await log.append(large), await log.append(large)]
    const full =
      /^NatsAppendError: Cannot add to the log in the stream "faults": maximum bytes exceeded$/
    await assert.rejects(log.append(large), full)
    await assert.rejects(log.append(large), full)
    assert.equal((await log.bounds()).last, added[2])
    await administer(server.url, (jsm) => jsm.streams.purge('faults', { keep: 1 }))
    added.push(await log.append(large))
    const { records, missed } = await log.read(added[0]!, 10)
    assert.deepEqual(records.map(({ id }) => id), added.slice(2)) // prettier-ignore
    assert.equal(missed, 1)
  })

  test('what a server without room refuses is told, and it takes more when there is room', async () => {
    await using server = await NatsServer.start({
      config: 'jetstream { max_file_store: 100KB }',
    })
    await using log = open(server.url)
    const large = { text: `data: ${'x'.repeat(10_000)}\n\n` }
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => log.append(large)))
    const refused = outcomes.filter(({ status }) => status === 'rejected')
    assert.ok(refused.length > 5 && refused.length < 15, `${refused.length} are refused`)
    for (const { reason } of refused as PromiseRejectedResult[])
      assert.match(String(reason), /Cannot add to the log in the stream "faults": .*resources/)
    await administer(server.url, (jsm) => jsm.streams.purge('faults'))
    const id = await log.append(large)
    assert.deepEqual(await log.bounds(), { first: id, last: id })
  })

  test('what may not be published is told', async () => {
    await using server = await NatsServer.start({
      config: `no_auth_user: a, authorization { users: [{
        user: a, password: a, permissions: { publish: { deny: "faults" } } }] }`,
    })
    await using log = open(server.url)
    await assert.rejects(
      log.append(event(0)),
      /^NatsAppendError: Cannot add to the log in the stream "faults": .*Permissions Violation/i,
    )
    assert.equal((await log.bounds()).first, undefined)
  })

  test('a log that is closed while it connects leaves no connection', async () => {
    await using server = await NatsServer.start()
    await using proxy = await Proxy.start(server.port)
    proxy.delayMs = 20
    const log = open(proxy.url)
    const asking = log.bounds()
    await log.close()
    await assert.rejects(asking, /Cannot read the log in the stream "faults"/)
    await until('the connection is closed', () => proxy.count === 0)
  })

  test('an event that is too large for the server is refused, and those after it are taken', async () => {
    await using server = await NatsServer.start()
    await using log = open(server.url)
    const outcomes = await Promise.allSettled([
      log.append(event(0)),
      log.append({ text: `data: ${'x'.repeat(2 ** 21)}\n\n` }),
      log.append(event(1)),
    ])
    assert.deepEqual(outcomes.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled']) // prettier-ignore
    assert.match(String((outcomes[1] as PromiseRejectedResult).reason), /max_payload size exceeded/)
    assert.deepEqual(await everything(log), texts(2))
  })

  test('a client that reads while the oldest go is told of every event that it has not got', async () => {
    await using server = await NatsServer.start()
    await using log = open(server.url, { maxEvents: 200 })
    const { last } = await log.bounds()
    let isAdding = true
    const adding = (async () => {
      for (let n = 0; n < 100; n++)
        await Promise.all(Array.from({ length: 50 }, (_, i) => log.append(event(n * 50 + i))))
      isAdding = false
    })()
    let count = 0
    let gaps = 0
    for (let at = last; ;) {
      const { records, missed, next } = await log.read(at, 20)
      assert.ok(missed !== null)
      // What there is comes without a hole, in its place.
      for (const { text } of records) assert.equal(text, event(missed + count++).text)
      count += missed
      if (missed > 0) gaps++
      at = next
      if (records.length === 0 && missed === 0 && !isAdding && next === (await log.bounds()).last)
        break
    }
    await adding
    assert.equal(count, 5_000)
    assert.ok(gaps > 0)
  })

  test('a stream that is purged is told to who reads it and who follows it', async () => {
    await using server = await NatsServer.start()
    await using log = open(server.url)
    const { last } = await log.bounds()
    const slow = log.tail(last, AbortSignal.timeout(60_000))[Symbol.asyncIterator]()
    const first = slow.next()
    const ids = await Promise.all(texts(10_000).map((text) => log.append({ text })))
    let { next: at, records } = (await first).value!
    let count = records.length
    await administer(server.url, (jsm) => jsm.streams.purge('faults'))

    assert.deepEqual(await log.bounds(), { first: undefined, last: ids.at(-1) })
    assert.deepEqual(await log.read(ids[9]!, 10), { records: [], missed: 9_990, next: ids.at(-1) })
    assert.deepEqual(await log.read('', 10), { records: [], missed: 0, next: ids.at(-1) })

    // The tail has what was on its way; then it is told, though nothing new has come.
    while (at !== ids.at(-1)) {
      const { value } = await slow.next()
      count += value!.records.length + value!.missed!
      at = value!.next
    }
    assert.equal(count, 10_000)
    const id = await log.append(event(1))
    assert.deepEqual((await slow.next()).value, {
      records: [{ id, text: event(1).text, topics: undefined, key: undefined }],
      missed: 0,
      next: id,
    })
    await slow.return!()
  })

  test('a stream that is deleted is made anew, and is another', async () => {
    await using server = await NatsServer.start()
    await using log = open(server.url)
    const { last } = await log.bounds()
    await using follower = new Follower(log, last)
    const old = [await log.append(event(0)), await log.append(event(1))]
    await follower.has(2)
    await administer(server.url, (jsm) => jsm.streams.delete('faults'))
    const added = await log.append(event(2))
    assert.notEqual(added.split('-')[0], old[0]!.split('-')[0])
    await until('the follower is told', () => follower.missed.length > 0)
    assert.deepEqual(follower.missed, [null])
    const later = await log.append(event(3))
    await until('the follower goes on', () => follower.ids.includes(later))
    for (const id of old)
      assert.deepEqual(await log.read(id, 10), { records: [], missed: null, next: later })
    assert.deepEqual((await log.read('', 10)).records.map(({ id }) => id), [added, later]) // prettier-ignore
  })

  test('a stream that another has deleted and made again gives the ids of the new one', async () => {
    await using server = await NatsServer.start()
    await using log = open(server.url)
    const old = [await log.append(event(0)), await log.append(event(1))]
    await administer(server.url, async (jsm) => {
      await jsm.streams.delete('faults')
      await jsm.streams.add({ name: 'faults', subjects: ['faults'] })
    })
    const id = await log.append(event(2))
    assert.deepEqual(await log.bounds(), { first: id, last: id })
    assert.ok(!old.includes(id))
  })

  test('a broadcaster goes on where the server was away', async () => {
    await using server = await NatsServer.start()
    await using log = open(server.url)
    const errors: unknown[] = []
    const news = new Broadcaster({ log, onLogError: (error) => void errors.push(error) })
    await news.publish('0')
    const got: (string | undefined)[] = []
    const reading = (async () => {
      for await (const { data } of news.subscribe({ lastEventId: '' })) {
        got.push(data)
        if (data === '2') return
      }
    })()
    await news.publish('1')
    await until('it is sent', () => got.includes('1'))
    await server.end()
    await until('it is told', () => errors.length === 1)
    const publishing = news.publish('2')
    await server.start()
    await publishing
    await reading
    assert.deepEqual(got.slice(-2), ['1', '2'])
    await news.close()
  })
})
