import assert from 'node:assert/strict'
import { test } from 'node:test'

import { memoryLog } from './memory-log.ts'
import { eventLogConformance } from './testing.ts'
import type { EventLog } from './event-log.ts'

let last: EventLog

for (const { name, run } of eventLogConformance({
  open: () => (last = memoryLog()),
  // Another process cannot have it; another broadcaster can.
  share: () => ({
    append: (event) => last.append(event),
    read: (after, limit) => last.read(after, limit),
    tail: (after, signal) => last.tail(after, signal),
    bounds: () => last.bounds(),
    close: async () => {},
  }),
  openBounded: (maxEvents) => memoryLog({ maxEvents }),
}))
  test(`a log in memory: ${name}`, run)

test('a log in memory keeps exactly as many events as it is told', async () => {
  const log = memoryLog({ maxEvents: 3 })
  for (let count = 1; count <= 20; count++) {
    await log.append({ text: `data: ${count}\n\n` })
    const { records } = await log.read('', 100)
    assert.equal(records.length, Math.min(count, 3))
    assert.equal(records.at(-1)!.text, `data: ${count}\n\n`)
  }
})

test('a log in memory of no events is refused', () => {
  for (const maxEvents of [0, -1, 1.5, Infinity, '5'])
    assert.throws(() => memoryLog({ maxEvents: maxEvents as number }), {
      name: 'RangeError',
      message: /expected an integer from 1/,
    })
  assert.throws(() => memoryLog({ events: 5 } as never), {
    name: 'TypeError',
    message: 'Cannot make a log in memory with events: there is no such option; there is maxEvents',
  })
})
