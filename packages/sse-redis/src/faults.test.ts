import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { testApp } from '@wakerobin/core/testing'
import { Broadcaster, sse } from '@wakerobin/sse'
import type { BroadcasterOptions, EventLog, LogPage, TextEvents } from '@wakerobin/sse'
import { testStream } from '@wakerobin/sse/testing'
import { createClient } from 'redis'

import { until } from '../fixtures/patience.ts'
import { Proxy } from '../fixtures/proxy.ts'
import { RedisServer, skipReason } from '../fixtures/redis-server.ts'
import { redisLog, type RedisLogOptions } from './redis-log.ts'

const isRefused = { name: 'RedisAppendError', mayBeInLog: false }
const isUnknown = { name: 'RedisAppendError', mayBeInLog: true }

describe('a log on Redis', { skip: skipReason, concurrency: 4 }, () => {
  test('publishing waits for a Redis that is not there yet, and so do streams', async (t) => {
    const server = await RedisServer.create(t)
    const { chat, log } = broadcast(t, server)
    const stream = await testStream(testApp(sse(() => chat)), '/', { timeoutMs: 20_000 })
    const published = [chat.publish('one'), chat.publish('two')]
    await server.start()
    const ids = await Promise.all(published)
    const { records } = await log.read('', 10)
    assert.deepEqual(records.map(({ id }) => id), ids) // prettier-ignore
    for (const [index, data] of ['one', 'two'].entries())
      assert.deepEqual(await stream.next(), { type: 'message', data, id: ids[index] })
  })

  test('an append gives up after its time while Redis is not there, and is not in the log later', async (t) => {
    const server = await RedisServer.create(t)
    const log = open(t, server, { appendTimeoutMs: 1_000 })
    await assert.rejects(log.append(event('late')), {
      ...isRefused,
      message:
        /^Cannot add to the log "orders": it could not be sent to Redis for 1000 ms \(.*ECONNREFUSED.*\), and is not in the log$/,
    })
    await server.start()
    await until('it is connected', async () => (await log.bounds().catch(() => 0)) !== 0)
    await log.append(event('in time'))
    assert.deepEqual(await textsOf(log), ['in time'])
  })

  test('reading fails while Redis is not there, and says why', async (t) => {
    const server = await RedisServer.start(t)
    const log = open(t, server)
    await log.append(event('one'))
    await server.end('SIGKILL')
    await assert.rejects(log.read('', 10), {
      message: /^Cannot read the log "orders": .*(closed|ECONN)/,
    })
  })

  test('an append that Redis has no memory for rejects with its words, and works again afterwards', async (t) => {
    const server = await RedisServer.start(t)
    const { chat, log } = broadcast(t, server)
    await chat.publish('one')
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    await server.command('CONFIG', 'SET', 'maxmemory', '1')
    await assert.rejects(chat.publish('two'), {
      ...isRefused,
      message:
        /^Cannot add to the log "orders": Redis says "OOM command not allowed when used memory > 'maxmemory'\."$/,
    })
    assert.deepEqual(await textsOf(log), ['one'], 'it can be read')
    await server.command('CONFIG', 'SET', 'maxmemory', '0')
    await chat.publish('three')
    assert.deepEqual(await textsOf(log), ['one', 'three'])
  })

  test('a key that is no stream is told by its name', async (t) => {
    const server = await RedisServer.start(t)
    await server.command('SET', 'orders', 'x')
    const log = open(t, server)
    await assert.rejects(log.append(event('one')), { ...isRefused, message: /"WRONGTYPE / })
    await assert.rejects(log.read('', 1), /^Error: Cannot read the log "orders": WRONGTYPE /)
    const tail = log.tail('0-0', new AbortController().signal)[Symbol.asyncIterator]()
    await assert.rejects(tail.next(), /^Error: Cannot follow the log "orders": WRONGTYPE /)
  })

  test('appends go on when a Redis that was a replica is none any more, in their order', async (t) => {
    const server = await RedisServer.start(t)
    const log = open(t, server)
    await log.append(event('0'))
    await server.command('REPLICAOF', '127.0.0.1', '1')
    const appends = numbers(1, 50).map((data) => log.append(event(data)))
    await until(
      'it has been refused',
      async () =>
        /failed_calls=[1-9]/.test(
          String(/cmdstat_xadd:.*/.exec(String(await server.command('INFO', 'commandstats')))),
        ) ||
        /rejected_calls=[1-9]/.test(
          String(/cmdstat_xadd:.*/.exec(String(await server.command('INFO', 'commandstats')))),
        ),
    )
    await server.command('REPLICAOF', 'NO', 'ONE')
    await Promise.all(appends)
    assert.deepEqual(await textsOf(log), numbers(0, 50))
  })

  test('appends wait while Redis reads what it has kept', async (t) => {
    const server = await RedisServer.start(t, 'everySecond')
    const log = open(t, server, { maxEvents: 100_000 })
    await Promise.all(numbers(0, 3_999).map((data) => log.append(event(data))))
    await server.end()
    // A millisecond for each that it has kept; it answers that it is loading now and then.
    const started = server.start('--key-load-delay', '250')
    const appends = numbers(4_000, 4_009).map((data) => log.append(event(data)))
    await started
    await Promise.all(appends)
    assert.deepEqual(await textsOf(log), numbers(0, 4_009))
  })

  test('an append whose answer was cut is not doubled', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    const adding = new Set<unknown>()
    let cuts = 0
    const isCutting = (): boolean => cuts < 6
    proxy.onRequest = (bytes, wire) => {
      if (bytes.includes('XADD')) adding.add(wire)
      wire.redis.write(bytes)
    }
    proxy.onAnswer = (bytes, wire) => {
      if (!adding.has(wire)) return void wire.client.write(bytes)
      // A part of the answers arrives.
      wire.client.write(bytes.subarray(0, Math.floor(Math.random() * bytes.length)), () =>
        wire.cut(),
      )
      if (++cuts === 6) proxy.onAnswer = (more, { client }) => void client.write(more)
    }
    const log = open(t, proxy, { appendTimeoutMs: 60_000 })
    const ids: Promise<string>[] = []
    for (let turn = 0; isCutting(); turn++) {
      for (const data of numbers(10 * turn, 10 * turn + 9)) ids.push(log.append(event(data)))
      await Promise.race(ids.slice(-1))
    }
    const { records } = await log.read('', 10_000)
    assert.deepEqual(records.map(({ id }) => id), await Promise.all(ids)) // prettier-ignore
    assert.deepEqual(await textsOf(log), numbers(0, ids.length - 1))
  })

  test('a request that a slow network has kept does not arrive after it was looked up', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    const log = open(t, proxy)
    await log.append(event('0'))
    const arrivals: Promise<void>[] = []
    proxy.onRequest = (bytes, wire) => {
      if (!bytes.includes('XADD')) return void wire.redis.write(bytes)
      proxy.onRequest = (more, { redis }) => void redis.write(more)
      // Lost to the client, and on its way to Redis for longer than that takes to come back.
      wire.client.resetAndDestroy()
      arrivals.push(sleep(500).then(() => void wire.redis.write(bytes)))
    }
    await Promise.all(numbers(1, 3).map((data) => log.append(event(data))))
    await Promise.all(arrivals)
    await log.append(event('4'))
    await server.command('PING')
    assert.deepEqual(await textsOf(log), numbers(0, 4))
  })

  test('a network that is slow delays appends and tails, and doubles nothing', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    const delayed = async (write: () => void): Promise<void> => {
      await sleep(30)
      write()
    }
    proxy.onRequest = (bytes, { redis }) => void delayed(() => redis.write(bytes))
    proxy.onAnswer = (bytes, { client }) => void delayed(() => client.write(bytes))
    const log = open(t, proxy)
    const tail = follow(t, log, '0-0')
    for (const turn of [0, 1, 2])
      await Promise.all(numbers(100 * turn, 100 * turn + 99).map((data) => log.append(event(data))))
    await until('all have come', () => tail.texts.length >= 300)
    assert.deepEqual(tail.texts, numbers(0, 299))
    assert.deepEqual(tail.missed, [])
  })

  test('an append that was sent and is not answered in time may be in the log, and is there at most once', async (t) => {
    const server = await RedisServer.start(t)
    const log = open(t, server, { appendTimeoutMs: 1_000 })
    await log.append(event('one'))
    server.pause()
    t.after(async () => server.proceed())
    await assert.rejects(log.append(event('two')), {
      ...isUnknown,
      message:
        'Cannot add to the log "orders": Redis has not answered in 1000 ms; the event may be in the log or not, and is not tried again',
    })
    server.proceed()
    await log.append(event('three'))
    assert.deepEqual(await textsOf(log), ['one', 'two', 'three'])
  })

  test('where it cannot be known whether an append has arrived, it is not tried again', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    const log = open(t, proxy)
    await log.append(event('one'))
    proxy.onAnswer = (_, wire) => {
      proxy.onAnswer = (bytes, { client }) => void client.write(bytes)
      // It has been added, and is trimmed away before it is looked up.
      void server.command('XTRIM', 'orders', 'MAXLEN', '0').then(() => wire.cut())
    }
    await assert.rejects(log.append(event('two')), {
      ...isUnknown,
      message:
        /broke before the answer; the event may be in the log or not, and is not tried again$/,
    })
    await log.append(event('three'))
    assert.deepEqual(await textsOf(log), ['three'])
  })

  test('a user who may do nothing but add and read has a log, too', async (t) => {
    const server = await RedisServer.start(t)
    const rules = ['on', '>secret', '~orders', '+xadd', '+xrange', '+xread', '+xinfo|stream']
    await server.command('ACL', 'SETUSER', 'app', ...rules)
    const proxy = await Proxy.start(t, server.port)
    const url = proxy.url.replace('//', '//app:secret@')
    const log = open(t, { url })
    const tail = follow(t, log, '0-0')
    await log.append(event('0'))
    for (const wire of proxy.wires) wire.cut()
    await log.append(event('1'))
    await until('both have come', () => tail.texts.length >= 2)
    assert.deepEqual(tail.texts, numbers(0, 1))
    await server.command('ACL', 'SETUSER', 'app', '-xread')
    const other = log.tail(await log.append(event('2')), new AbortController().signal)
    await assert.rejects(other[Symbol.asyncIterator]().next(), {
      message: /^Cannot follow the log "orders": NOPERM .*xread/,
    })
  })

  test('what was trimmed while somebody reads is told, and reading goes on', async (t) => {
    const server = await RedisServer.start(t)
    const { chat, log } = broadcast(t, server, { maxEvents: 50, exact: true }, { historyEvents: 5 })
    const [first] = await Promise.all(numbers(0, 49).map((data) => log.append(event(data))))
    const page = await log.read(first!, 10)
    assert.deepEqual(page.records.map(textOf), numbers(1, 10))
    await Promise.all(numbers(50, 99).map((data) => log.append(event(data))))
    const next = await log.read(page.next, 1_000)
    assert.equal(next.missed, null)
    assert.deepEqual(next.records.map(textOf), numbers(50, 99))

    await chat.ready
    const app = testApp(sse(() => chat))
    const stream = await testStream(app, '/', { lastEventId: page.next })
    assert.equal((await stream.next('gap')).data, '{"missed":null}')
    for (const data of numbers(50, 99)) assert.equal((await stream.next()).data, data)
    await chat.publish('live')
    assert.equal((await stream.next()).data, 'live')
  })

  test('a tail goes on where no connection may wait for it', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    proxy.onRequest = (bytes, wire) => {
      if (bytes.includes('XREAD')) wire.cut()
      else wire.redis.write(bytes)
    }
    const log = open(t, proxy)
    const tail = follow(t, log, '0-0')
    for (const data of numbers(0, 4)) {
      await log.append(event(data))
      await until('it has come', () => tail.texts.at(-1) === data)
    }
    assert.deepEqual(tail.texts, numbers(0, 4))
  })

  test('ids go on when the clock of Redis is set back', async (t) => {
    const server = await RedisServer.start(t)
    const log = open(t, server)
    // As if it had run fast before: the year 2128.
    await server.command('XADD', 'orders', '5000000000000-7', 'text', 'data: before\n\n')
    const tail = follow(t, log, '5000000000000-7')
    assert.equal(await log.append(event('one')), '5000000000000-8')
    assert.equal(await log.append(event('two')), '5000000000000-9')
    await until('both have come', () => tail.texts.length >= 2)
    assert.deepEqual(tail.texts, ['one', 'two'])
    assert.equal((await log.read('5000000000000-8', 10)).missed, 0)
  })

  for (const [how, loss] of Object.entries({
    DEL: ['DEL', 'orders'],
    FLUSHALL: ['FLUSHALL'],
  }))
    test(`a stream that was lost by ${how} is told to who follows it, and to who reads it`, async (t) => {
      const server = await RedisServer.start(t)
      const log = open(t, server)
      const old = await log.append(event('old'))
      const tail = follow(t, log, old)
      await until('it waits', async () =>
        /cmd=xread/.test(String(await server.command('CLIENT', 'LIST'))),
      )
      await server.command(...loss)
      const page = await log.read(old, 10)
      assert.deepEqual(page, { records: [], missed: null, next: '0-0' })
      await log.append(event('new'))
      await until('it has come', () => tail.texts.length > 0)
      assert.deepEqual([tail.missed, tail.texts], [[null], ['new']])
      assert.equal((await log.read(old, 10)).missed, null)
    })

  test('a stream that was lost is told also where its new ids are lower', async (t) => {
    const server = await RedisServer.start(t)
    const log = open(t, server)
    await server.command('XADD', 'orders', '5000000000000-0', 'text', 'data: old\n\n')
    const tail = follow(t, log, '5000000000000-0')
    await until('it waits', async () =>
      /cmd=xread/.test(String(await server.command('CLIENT', 'LIST'))),
    )
    await server.command('DEL', 'orders')
    const first = await log.append(event('new'))
    assert.match(first, /^1/)
    assert.deepEqual(await log.read('5000000000000-0', 10), {
      records: [],
      missed: null,
      next: first,
    })
    await until('it is told', () => tail.missed.length > 0)
    const second = await log.append(event('newer'))
    await until('it has come', () => tail.texts.includes('newer'))
    assert.deepEqual([tail.missed, tail.texts], [[null], ['newer']])
    // In the old one, this was before what is there now, and in the new one it never was.
    const page = await log.read(`${second.split('-')[0]}-99`, 10)
    assert.equal(page.missed, null)
  })

  test('a Redis that keeps nothing has lost the stream when it is started anew', async (t) => {
    const server = await RedisServer.start(t)
    const log = open(t, server)
    const old = await log.append(event('old'))
    const tail = follow(t, log, old)
    await server.end('SIGKILL')
    const added = log.append(event('new'))
    await server.start()
    const id = await added
    await until('it has come', () => tail.texts.length > 0)
    assert.deepEqual([tail.missed, tail.texts], [[null], ['new']])
    assert.deepEqual(await log.bounds(), { first: id, last: id })
  })

  test('an append is tried again when Redis was set back to before it', async (t) => {
    const server = await RedisServer.start(t)
    const proxy = await Proxy.start(t, server.port)
    const log = open(t, proxy, { maxEvents: 5, exact: true })
    await Promise.all(numbers(0, 19).map((data) => log.append(event(data))))
    await server.command('COPY', 'orders', 'before')
    await log.append(event('20'))
    proxy.onAnswer = (_, wire) => {
      proxy.onAnswer = (bytes, { client }) => void client.write(bytes)
      // As one that is killed, and has not written down the last two.
      void server.command('RENAME', 'before', 'orders').then(() => wire.cut())
    }
    await log.append(event('21'))
    assert.deepEqual((await textsOf(log)).slice(-2), ['19', '21'])
  })

  test('closing waits for what is being added, and no longer than that has', async (t) => {
    const server = await RedisServer.create(t)
    const log = open(t, server, { appendTimeoutMs: 300 })
    const tail = log.tail('0-0', new AbortController().signal)[Symbol.asyncIterator]()
    const page = tail.next()
    const append = assert.rejects(log.append(event('one')), isRefused)
    const closing = log.close()
    assert.equal((await page).done, true)
    await closing
    await append
    assert.equal(log.close(), closing)
  })
})

// ----------------------------------------------------------------------------------------- help

function open(
  t: TestContext,
  { url }: { url: string },
  options?: Partial<RedisLogOptions>,
): EventLog {
  const log = redisLog(createClient({ url }), { key: 'orders', ...options })
  t.after(() => log.close())
  return log
}

function broadcast(
  t: TestContext,
  server: { url: string },
  options: Partial<RedisLogOptions> = {},
  more: BroadcasterOptions<TextEvents> = {},
): { chat: Broadcaster; log: EventLog } {
  const log = redisLog(createClient({ url: server.url }), { key: 'orders', ...options })
  const chat = new Broadcaster({ log, onLogError: () => {}, ...more })
  t.after(async () => {
    await chat.close()
    await log.close()
  })
  return { chat, log }
}

function event(data: string): { text: string } {
  return { text: `data: ${data}\n\n` }
}

function textOf({ text }: { text: string }): string {
  return text.slice('data: '.length, -2)
}

async function textsOf(log: EventLog): Promise<string[]> {
  return (await log.read('', 100_000)).records.map(textOf)
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => String(from + index))
}

interface Followed {
  readonly texts: string[]
  readonly missed: (number | null)[]
}

/** Follows it as a broadcaster does: from where it was, when it fails. */
function follow(t: TestContext, log: EventLog, after: string): Followed {
  const followed: Followed = { texts: [], missed: [] }
  const ending = new AbortController()
  t.after(async () => ending.abort())
  let at = after
  const take = ({ records, missed, next }: LogPage): void => {
    if (missed !== 0) followed.missed.push(missed)
    followed.texts.push(...records.map(textOf))
    at = next
  }
  const read = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      try {
        for await (const page of log.tail(at, ending.signal)) take(page)
        return
      } catch {
        await sleep(20)
      }
    }
  }
  void read()
  return followed
}
