import assert from 'node:assert/strict'
import { test } from 'node:test'

import { lastRetry } from './last-retry.ts'

test('every integer of the range has an equal share of the draws', (t) => {
  const drawn = new Map<string, number>()
  let random = 0
  t.mock.method(Math, 'random', () => random)
  for (random = 1 / 800; random < 1; random += 1 / 400) {
    const text = retryOf([3, 6])
    drawn.set(text, (drawn.get(text) ?? 0) + 1)
  }
  assert.deepEqual(
    [...drawn],
    [
      ['retry: 3\n', 100],
      ['retry: 4\n', 100],
      ['retry: 5\n', 100],
      ['retry: 6\n', 100],
    ],
  )
})

test('the greatest draw gives the upper end and no more, however wide the range', (t) => {
  t.mock.method(Math, 'random', () => 1 - 2 ** -53)
  for (const max of [1, 2, 3, 5000, 2 ** 31, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER])
    for (const min of [0, 1, max])
      assert.equal(retryOf([min, max]), `retry: ${max}\n`, `${min} to ${max}`)
})

function retryOf(range: readonly [number, number]): string {
  return new TextDecoder().decode(lastRetry(range))
}
