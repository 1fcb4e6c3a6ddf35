import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Epochs, newEpoch } from './epochs.ts'

test('an id has the epoch in which its event was added', () => {
  const epochs = new Epochs([['a', 0]])
  epochs.see('a', 3)
  epochs.see('b', 5)
  epochs.see('c', 8)
  assert.deepEqual(
    [0, 1, 5, 6, 8, 9].map((count) => epochs.idOf(count)),
    ['a-0', 'a-1', 'a-5', 'b-6', 'b-8', 'c-9'],
  )
  for (const count of [0, 1, 5, 6, 8, 9, 100])
    assert.equal(epochs.countOf(epochs.idOf(count)), count)
})

test('an id beyond the end of its epoch, or from before its beginning, is of no event', () => {
  const epochs = new Epochs([
    ['a', 0],
    ['b', 5],
  ])
  for (const id of [
    'a-6',
    'b-5',
    'b-0',
    'c-1',
    'a-',
    '-1',
    'a-01',
    'a--1',
    'A-1',
    'a-1 ',
    ' a-1',
    'a-1e1',
    'a',
    '',
  ])
    assert.equal(epochs.countOf(id), undefined, id)
})

test('of very many epochs the newest thousand are known, and the oldest of these is good for what was before', () => {
  const epochs = new Epochs([['e0', 0]])
  for (let epoch = 1; epoch <= 1_500; epoch++) epochs.see(`e${epoch}`, 10 * epoch)
  assert.equal(epochs.entries.length, 1_000)
  assert.equal(epochs.countOf('e500-5001'), undefined)
  assert.equal(epochs.countOf('e501-5011'), 5_011)
  assert.equal(epochs.idOf(7), 'e501-7')
  assert.equal(epochs.countOf('e501-7'), 7)
})

test('the names of epochs are of eight letters and digits, and differ', () => {
  const names = Array.from({ length: 1_000 }, newEpoch)
  assert.equal(new Set(names).size, 1_000)
  for (const name of names) assert.match(name, /^[0-9a-z]{8}$/)
})
