import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Appender } from './appender.ts'
import type { Connection } from './connection.ts'

/** How long it takes to send so many events that have waited, to a Redis that answers at once; in milliseconds. */
async function timeOf(count: number): Promise<number> {
  const appender = new Appender({
    stream: { key: 'k', maxEvents: 10 },
    exact: false,
    appendTimeoutMs: 1_000_000,
    reason: () => new Error('Redis is away'),
  })
  const ids = Array.from({ length: count }, () => appender.add({ text: 'data: a\n\n' }))
  let sent = 0
  const start = performance.now()
  appender.use({
    command: async () => `${++sent}-0`,
    end() {},
  } as Partial<Connection> as Connection)
  assert.equal((await Promise.all(ids)).at(-1), `${count}-0`)
  return performance.now() - start
}

test('events that have waited are sent in a time that grows as their number does', async () => {
  await timeOf(8_000) // what is compiled on the way
  const [few, many] = [await timeOf(8_000), await timeOf(160_000)]
  // 20 times as many: about 35 times as long, and 250 where each moves all that wait behind it.
  assert.ok(
    many < 100 * few,
    `${few.toFixed(0)} ms for 8,000, and ${many.toFixed(0)} ms for 160,000`,
  )
})
