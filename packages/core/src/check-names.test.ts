import assert from 'node:assert/strict'
import { test } from 'node:test'

import { checkNames, unknownName } from './check-names.ts'
import { listed } from './listed.ts'

test('an option of a name that there is not is refused, with those that there are', () => {
  const names = ['headBytes', 'headMs', 'requestMs']
  checkNames('Cannot serve with limits.', {}, names)
  checkNames('Cannot serve with limits.', { headMs: 1, headByts: undefined }, names)
  assert.throws(() => checkNames('Cannot serve with limits.', { headMs: 1, headByts: 2 }, names), {
    name: 'TypeError',
    message:
      'Cannot serve with limits.headByts: there is no such option; there are headBytes, headMs and requestMs',
  })
  assert.throws(() => checkNames('Cannot show metrics with ', { paht: '/' }, ['path']), {
    message: 'Cannot show metrics with paht: there is no such option; there is path',
  })
  assert.equal(unknownName({ headMs: 1 }, names), undefined)
})

test('words are listed as people do', () => {
  const words = ['a', 'b', 'c', 'd']
  const lists = [0, 1, 2, 3, 4].map((length) => listed(words.slice(0, length), 'or'))
  assert.deepEqual(lists, ['', 'a', 'a or b', 'a, b or c', 'a, b, c or d'])
  assert.equal(listed(words, 'and'), 'a, b, c and d')
})
