import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Queue } from './queue.ts'

test('a queue gives what it was given, first in, first out', () => {
  const queue = new Queue([0, 1])
  let [given, taken] = [2, 0]
  for (let round = 1; round <= 100; round++) {
    for (let left = 7 * round; left > 0; left--) queue.push(given++)
    for (let left = 6 * round; left > 0; left--) {
      assert.equal(queue.first, taken)
      assert.equal(queue.shift(), taken++)
    }
    assert.equal(queue.rest()[0], taken)
    assert.equal(queue.rest().length, given - taken)
  }
  while (taken < given) assert.equal(queue.shift(), taken++)
  assert.equal(queue.first, undefined)
  assert.equal(queue.shift(), undefined)
  queue.push(given)
  assert.equal(queue.shift(), given)
})
