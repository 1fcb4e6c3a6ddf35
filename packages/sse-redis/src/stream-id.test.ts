import assert from 'node:assert/strict'
import { test } from 'node:test'

import { compareIds, isStreamId } from './stream-id.ts'

test('ids are two numbers of 64 bits, as Redis writes them', () => {
  for (const id of ['0-0', '1-0', '1700000000000-12', '18446744073709551615-18446744073709551615'])
    assert.equal(isStreamId(id), true, id)
  const others =
    ' 1 1- -1 1-* * $ + - (1-1 1-1-1 01-0 1-00 1-x 1.5-0 1e3-0 18446744073709551616-0 0-18446744073709551616 100000000000000000000-0'
  for (const id of [...others.split(' '), ' 1-0', '1-0\n']) assert.equal(isStreamId(id), false, id)
})

test('ids are compared as numbers, also those that are too large for one', () => {
  const ids = [
    '0-0',
    '0-1',
    '0-10',
    '2-0',
    '10-0',
    '10-9',
    '10-10',
    '9007199254740993-0',
    '9007199254740994-0',
    '18446744073709551615-9',
    '18446744073709551615-10',
  ]
  assert.deepEqual(ids.toReversed().toSorted(compareIds), ids)
  assert.equal(compareIds('5-5', '5-5'), 0)
})
