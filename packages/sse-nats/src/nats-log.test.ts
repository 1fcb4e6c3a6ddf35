import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { connect, headers } from '@nats-io/transport-node'
import { natsLog, type NatsLogOptions } from '@wakerobin/sse-nats'
import { eventLogConformance } from '@wakerobin/sse/testing'

import { NatsServer, skip } from '../fixtures/nats-server.ts'

describe('a log on NATS JetStream', { skip }, () => {
  let server: NatsServer
  let count = 0
  const open = (options: NatsLogOptions = {}) =>
    natsLog(`log-${count}`, { ...options, connection: { servers: server.url } })

  before(async () => (server = await NatsServer.start()))
  after(() => server[Symbol.asyncDispose]())

  const make = {
    open() {
      count++
      return open()
    },
    reopen: () => open(),
    share: () => open(),
    openBounded(maxEvents: number) {
      count++
      return open({ maxEvents })
    },
  }
  for (const { name, run } of eventLogConformance(make)) test(name, run)

  /** What an administrator does. */
  async function administer<T>(work: (jsm: JetStreamManager) => Promise<T>): Promise<T> {
    const connection = await connect({ servers: server.url })
    try {
      return await work(await jetstreamManager(connection, { checkAPI: false }))
    } finally {
      await connection.close()
    }
  }

  test('a stream is made as the options say', async () => {
    const log = natsLog('made', {
      connection: { servers: server.url },
      subject: 'shop.made',
      maxEvents: 10,
      maxBytes: 1_000_000,
      maxAgeMs: 60_000,
      storage: 'memory',
      replicas: 1,
    })
    await log.bounds()
    const { config } = await administer((jsm) => jsm.streams.info('made'))
    assert.deepEqual(config.subjects, ['shop.made'])
    assert.equal(config.max_msgs, 10)
    assert.equal(config.max_bytes, 1_000_000)
    assert.equal(config.max_age, 60_000_000_000)
    assert.equal(config.duplicate_window, 60_000_000_000)
    assert.equal(config.storage, 'memory')
    assert.equal(config.discard, 'old')
    const id = await log.append({ text: 'data: 1\n\n' })
    assert.equal((await log.bounds()).last, id)
    await log.close()
  })

  test('a stream that is there is taken as it is, and what the options say otherwise is told', async () => {
    const config = {
      name: 'kept',
      subjects: ['a.*', 'b.>', 'c'],
      max_msgs: 5,
      storage: 'memory' as const,
      duplicate_window: 30_000_000_000,
    }
    const { config: before } = await administer((jsm) => jsm.streams.add(config))
    const stream = (options: NatsLogOptions) =>
      natsLog('kept', { connection: { servers: server.url }, subject: 'b.x.y', ...options })

    for (const options of [
      {},
      { subject: 'a.x' },
      { subject: 'c' },
      { maxEvents: 5, maxBytes: Infinity, maxAgeMs: Infinity, storage: 'memory', replicas: 1 },
      { appendTimeoutMs: 15_000 },
    ] as const) {
      const log = stream(options)
      await log.append({ text: 'data: 1\n\n' })
      await log.close()
    }
    const wrong: [options: NatsLogOptions, why: string][] = [
      [
        { maxEvents: 6 },
        'maxEvents is 6, and the stream is there with 5; edit the stream, or leave out the option to take it as it is',
      ],
      [{ maxEvents: Infinity }, 'maxEvents is Infinity, and the stream is there with 5'],
      [{ maxBytes: 1_000 }, 'maxBytes is 1000, and the stream is there with Infinity'],
      [{ maxAgeMs: 60_000 }, 'maxAgeMs is 60000, and the stream is there with Infinity'],
      [{ storage: 'file' }, 'storage is file, and the stream is there with memory'],
      [{ replicas: 2 }, 'replicas is 2, and the stream is there with 1'],
      [{ subject: 'a.x.y' }, 'it has the subjects ["a.*","b.>","c"], and not the subject "a.x.y"'],
      [{ subject: 'b' }, 'it has the subjects'],
      [
        { appendTimeoutMs: 15_001 },
        'its duplicate_window of 30000 ms is less than twice appendTimeoutMs, 15001 ms',
      ],
    ]
    for (const [options, why] of wrong) {
      const log = stream(options)
      // At once: no second attempt would make it better.
      await assert.rejects(log.append({ text: 'data: 1\n\n' }), (error: Error) =>
        error.message.startsWith(`Cannot add to the log in the stream "kept": ${why}`),
      )
      await assert.rejects(log.bounds(), (error: Error) =>
        error.message.startsWith(`Cannot read the log in the stream "kept": ${why}`),
      )
      await log.close()
    }
    const { config: after } = await administer((jsm) => jsm.streams.info('kept'))
    assert.deepEqual(after, before)
  })

  test('a stream that does not keep events until its bounds is refused', async () => {
    for (const [config, why] of [
      [{ retention: 'workqueue' }, /its retention is workqueue, by which events go/],
      [{ no_ack: true }, /it has no_ack, and never says that it has an event/],
    ] as const) {
      count++
      const name = `log-${count}`
      await administer((jsm) => jsm.streams.add({ name, subjects: [name], ...config }))
      const log = open()
      await assert.rejects(log.bounds(), why)
      await log.close()
    }
  })

  test('a subject of another stream is told', async () => {
    await administer((jsm) => jsm.streams.add({ name: 'other', subjects: ['taken'] }))
    const log = natsLog('mine', { connection: { servers: server.url }, subject: 'taken' })
    await assert.rejects(log.bounds(), /Cannot read the log in the stream "mine": subjects overlap/)
    await log.close()
  })

  test('logs that are opened at the same time make one stream, and who wants it otherwise is told', async () => {
    count++
    const logs = [10, 20, 10, 20, 10, 20].map((maxEvents) => open({ maxEvents }))
    const outcomes = await Promise.allSettled(logs.map((log) => log.bounds()))
    const { config } = await administer((jsm) => jsm.streams.info(`log-${count}`))
    for (const [index, outcome] of outcomes.entries()) {
      const isRight = config.max_msgs === (index % 2 === 0 ? 10 : 20)
      assert.equal(outcome.status, isRight ? 'fulfilled' : 'rejected')
      if (outcome.status === 'rejected') assert.match(String(outcome.reason), /maxEvents is/)
    }
    await Promise.all(logs.map((log) => log.close()))
  })

  test('what others publish on the subject is the data of an event, whatever it is', async () => {
    count++
    const log = open()
    const { last } = await log.bounds()
    const connection = await connect({ servers: server.url })
    const wrong = headers()
    wrong.set('Wakerobin-Event', 'no JSON')
    connection.publish(`log-${count}`, 'hello\nid: 7\n\nthere')
    connection.publish(`log-${count}`, '\n'.repeat(200_000))
    connection.publish(`log-${count}`, 'data: 1\n\n', { headers: wrong })
    await connection.drain()
    const id = await log.append({ text: 'data: 1\n\n' })
    const { records, next } = await log.read(last, 10)
    assert.deepEqual(
      records.map(({ text }) => text),
      [
        'data: hello\ndata: id: 7\ndata:\ndata: there\n\n',
        ': a message that is no event\n',
        ': a message that is no event\n',
        'data: 1\n\n',
      ],
    )
    assert.equal(next, id)
    await log.close()
  })

  test('topics and keys may be any text', async () => {
    count++
    const log = open()
    const { last } = await log.bounds()
    const event = {
      text: 'data: 1\n\n',
      topics: ['🌱 \u2028', '日本\r\nInjected: 1', '\x7f\0', '\ud800', ' '],
      key: 'é',
    }
    const id = await log.append(event)
    assert.deepEqual((await log.read(last, 1)).records, [{ id, ...event }])
    await log.close()
  })

  test('events that were deleted one by one are missed where they were', async () => {
    count++
    const name = `log-${count}`
    const log = open()
    const { last } = await log.bounds()
    const ids = await Promise.all(
      [0, 1, 2, 3, 4, 5].map((n) => log.append({ text: `data: ${n}\n\n` })),
    )
    await administer(async (jsm) => {
      for (const sequence of [3, 4]) await jsm.streams.deleteMessage(name, sequence)
    })
    const pages = [await log.read(last, 10)]
    pages.push(await log.read(pages[0]!.next, 10))
    const followed: typeof pages = []
    for await (const page of log.tail(last, AbortSignal.timeout(10_000))) {
      followed.push(page)
      if (page.next === ids[5]) break
    }
    for (const [first, second] of [pages, followed] as const) {
      assert.deepEqual([first!.missed, second!.missed], [0, 2])
      assert.deepEqual(
        [first!, second!].map(({ records }) => records.map(({ id }) => id)),
        [ids.slice(0, 2), ids.slice(4)],
      )
    }
    await log.close()
  })

  test('a tail that nobody goes on reading holds up nothing, and has it all', async () => {
    count++
    const log = open()
    const { last } = await log.bounds()
    const slow = log.tail(last, AbortSignal.timeout(20_000))[Symbol.asyncIterator]()
    const first = slow.next()
    await Promise.all(Array.from({ length: 5_000 }, () => log.append({ text: 'data: 1\n\n' })))
    let got = (await first).value!.records.length
    while (got < 5_000) {
      const { value } = await slow.next()
      assert.equal(value!.missed, 0)
      got += value!.records.length
    }
    assert.equal(got, 5_000)
    await slow.return!()
    await log.close()
  })
})
