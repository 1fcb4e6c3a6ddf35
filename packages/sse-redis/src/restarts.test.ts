import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Broadcaster } from '@wakerobin/sse'
import { createClient } from 'redis'

import { until } from '../fixtures/patience.ts'
import { RedisServer, skipReason } from '../fixtures/redis-server.ts'
import { redisLog } from './redis-log.ts'

describe('a Redis that keeps what it has', { skip: skipReason, concurrency: 2 }, () => {
  test('loses and doubles nothing while it is restarted, under 100 events a second', async (t) => {
    const server = await RedisServer.start(t, 'everySecond')
    const { publish, ends } = await watched(t, server)
    const publishing = publish(10, 1)
    for (let round = 0; round < 2; round++) {
      await sleep(400)
      await server.end('SIGTERM')
      await sleep(300)
      await server.start()
    }
    await publishing.for(400)
    await ends()
  })

  test('loses and doubles nothing when it is killed, where each append is synced, under bursts', async (t) => {
    const server = await RedisServer.start(t, 'always')
    const { publish, ends } = await watched(t, server)
    const publishing = publish(5, 40)
    for (let round = 0; round < 4; round++) {
      await sleep(150 + 20 * round)
      await server.end('SIGKILL')
      await server.start()
    }
    await publishing.for(200)
    await ends()
  })
})

interface Watched {
  /** Publishes numbers, some at a time, until `for` has passed. */
  publish(everyMs: number, atOnce: number): { for(ms: number): Promise<void> }
  /** Everything has come, once, in order, with the id that the publisher was told; and so it is in the log. */
  ends(): Promise<void>
}

/** One process publishes, and another listens. */
async function watched(t: TestContext, server: RedisServer): Promise<Watched> {
  const logs = ['publisher', 'listener'].map((name) =>
    redisLog(createClient({ url: server.url, name }), { key: 'orders', maxEvents: 1_000_000 }),
  )
  const [here, there] = logs.map((log) => new Broadcaster({ log, onLogError: () => {} }))
  t.after(async () => {
    here!.close()
    there!.close()
    for (const log of logs) await log.close()
  })
  const ids: Promise<string>[] = []
  const come: [data: string, id: string][] = []
  const listen = async (): Promise<void> => {
    for await (const { data, id } of there!) come.push([data!, id!])
  }
  await there!.ready
  void listen()
  return {
    publish(everyMs, atOnce) {
      const start = performance.now()
      // By the clock: timers are late on a machine that is busy.
      const timer = setInterval(() => {
        const due = Math.ceil((performance.now() - start) / everyMs) * atOnce
        while (ids.length < due) ids.push(here!.publish(String(ids.length).padEnd(100, '.')))
      }, everyMs)
      t.after(async () => clearInterval(timer))
      return {
        async for(ms) {
          await sleep(ms)
          clearInterval(timer)
        },
      }
    },
    async ends() {
      const expected = (await Promise.all(ids)).map((id, index) => [
        String(index).padEnd(100, '.'),
        id,
      ])
      await until('all have come', () => come.length >= expected.length)
      assert.deepEqual(come, expected)
      const { records } = await logs[0]!.read('', 1_000_000)
      assert.deepEqual(
        records.map(({ text, id }) => [text.slice('data: '.length, -2), id]),
        expected,
      )
      t.diagnostic(`${expected.length} events`)
    },
  }
}
