import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { EventLog } from '@wakerobin/sse'
import { createClient } from 'redis'

import { until } from '../fixtures/patience.ts'
import { Proxy, type Wire } from '../fixtures/proxy.ts'
import { RedisServer, skipReason } from '../fixtures/redis-server.ts'
import { redisLog } from './redis-log.ts'

/** How long events are added. CI takes longer. */
const seconds = Number(process.env.WAKEROBIN_REDIS_SECONDS ?? 3)

test(
  'nothing is lost or doubled, and the order is kept, on a network that is slow and cuts requests and answers, while Redis is killed',
  { skip: skipReason, timeout: (seconds + 60) * 1_000 },
  async (t) => {
    const server = await RedisServer.start(t, 'always')
    const proxy = await Proxy.start(t, server.port)
    const network = disturb(proxy)
    const logs = [1, 2].map(() =>
      redisLog(createClient({ url: proxy.url }), {
        key: 'orders',
        maxEvents: 1_000_000,
        appendTimeoutMs: 60_000,
      }),
    )
    t.after(async () => {
      for (const log of logs) await log.close()
    })
    const followed = follow(logs[0]!)
    t.after(() => followed.end())

    const added: Promise<string>[][] = [[], []]
    let kills = 0
    for (let rest = seconds * 1_000; rest > 0;) {
      const nextKill = Math.min(rest, 1_500)
      rest -= nextKill
      const end = performance.now() + nextKill
      while (performance.now() < end) {
        for (const [writer, ids] of added.entries())
          for (let count = Math.random() * 8; count > 0; count--)
            ids.push(logs[writer]!.append({ text: textOf(writer, ids.length) }))
        await sleep(5)
      }
      await server.end('SIGKILL')
      kills++
      await server.start()
    }
    network.heal()

    const expected = new Map<string, string>()
    for (const [writer, ids] of added.entries())
      for (const [index, id] of (await Promise.all(ids)).entries())
        expected.set(id, textOf(writer, index))
    const { records } = await logs[1]!.read('', 1_000_000)
    assert.equal(records.length, added.flat().length)
    for (const { id, text } of records) assert.equal(text, expected.get(id))
    for (const writer of [0, 1]) {
      const texts = records.map(({ text }) => text).filter((text) => text.startsWith(`data: ${writer} `)) // prettier-ignore
      assert.deepEqual(texts, added[writer]!.map((_, index) => textOf(writer, index))) // prettier-ignore
    }
    await until('all have come', () => followed.ids.length >= records.length)
    assert.deepEqual(followed.ids, records.map(({ id }) => id)) // prettier-ignore
    assert.equal(followed.gaps, 0)
    t.diagnostic(`${records.length} events, ${network.cuts} cuts, ${kills} kills`)
  },
)

function textOf(writer: number, index: number): string {
  return `data: ${writer} ${index}\n\n`
}

/** Delays one piece of five, and cuts connections in the middle of requests and answers: what there was of a request arrives
 * all the same. */
function disturb(proxy: Proxy): { readonly cuts: number; heal(): void } {
  const lines = new WeakMap<object, Promise<void>>()
  const inLine = (line: object, write: () => void): void => {
    const pause = Math.random() < 0.2 ? 60 * Math.random() : 0
    const before = lines.get(line) ?? Promise.resolve()
    lines.set(line, before.then(() => (pause > 0 ? sleep(pause) : undefined)).then(write))
  }
  const cutting = new WeakSet<Wire>()
  const network = {
    cuts: 0,
    heal(): void {
      proxy.onRequest = (bytes, { redis }) => inLine(redis, () => redis.write(bytes))
      proxy.onAnswer = (bytes, { client }) => inLine(client, () => client.write(bytes))
    },
  }
  const isCut = (wire: Wire, chance: number): boolean => {
    if (Math.random() > chance) return false
    cutting.add(wire)
    network.cuts++
    return true
  }
  proxy.onRequest = (bytes, wire) => {
    if (cutting.has(wire)) return
    const { client, redis } = wire
    if (!bytes.includes('XADD') || !isCut(wire, 0.03))
      return inLine(redis, () => redis.write(bytes))
    client.resetAndDestroy()
    inLine(redis, () => redis.write(part(bytes)))
    void sleep(300 * Math.random()).then(() => redis.end())
  }
  proxy.onAnswer = (bytes, wire) => {
    if (cutting.has(wire)) return
    const { client } = wire
    if (!isCut(wire, 0.02)) return inLine(client, () => client.write(bytes))
    inLine(client, () => client.write(part(bytes), () => wire.cut()))
  }
  return network
}

function part(bytes: Buffer): Buffer {
  return bytes.subarray(0, Math.floor(Math.random() * bytes.length))
}

/** Follows it as a broadcaster does: from where it was, when it fails. */
function follow(log: EventLog): { readonly ids: string[]; gaps: number; end(): Promise<void> } {
  const ending = new AbortController()
  const followed = {
    ids: [] as string[],
    gaps: 0,
    async end(): Promise<void> {
      ending.abort()
      await reading
    },
  }
  const read = async (): Promise<void> => {
    for (let at = '0-0'; !ending.signal.aborted;) {
      try {
        for await (const page of log.tail(at, ending.signal)) {
          if (page.missed !== 0) followed.gaps++
          followed.ids.push(...page.records.map(({ id }) => id))
          at = page.next
        }
      } catch {
        await sleep(10) // it is followed anew
      }
    }
  }
  const reading = read()
  return followed
}
