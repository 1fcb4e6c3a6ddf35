import assert from 'node:assert/strict'
import { test } from 'node:test'

import { epochOf, idOf, sequenceOf } from './log-id.ts'

test('an epoch is the time at which a stream was made, to the nanosecond', () => {
  const time = 1_796_025_273_123_456_789n
  assert.equal(epochOf('2026-11-30T07:54:33.123456789Z'), time.toString(36))
  assert.equal(epochOf('2026-11-30T07:54:33.12Z'), (time - 3_456_789n).toString(36))
  assert.equal(epochOf('2026-11-30T07:54:33Z'), (time - 123_456_789n).toString(36))
})

test('an id has a place in its own stream, up to its end', () => {
  const state = { epoch: 'e', first: 3, last: 5 }
  const places: [id: string, sequence: number | undefined][] = [
    ['', 2],
    [idOf('e', 0), 0],
    [idOf('e', 4), 4],
    [idOf('e', 5), 5],
    [idOf('e', 6), undefined],
    [idOf('f', 4), undefined],
    ['e-', undefined],
    ['e-04', undefined],
    ['e-4.0', undefined],
    ['e4', undefined],
  ]
  for (const [id, sequence] of places) assert.equal(sequenceOf(id, state), sequence, id)
})
