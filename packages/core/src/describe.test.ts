import assert from 'node:assert/strict'
import { test } from 'node:test'

import { describe } from './describe.ts'

test('a value is described in a few words, on one line', () => {
  class Fern {}
  for (const [value, text] of [
    [undefined, 'undefined'],
    [null, 'null'],
    [true, 'true'],
    [1.5, '1.5'],
    [Number.NaN, 'NaN'],
    [10n, '10n'],
    [Symbol('x'), 'Symbol(x)'],
    ['a "b"\n', '"a \\"b\\"\\n"'],
    ['x'.repeat(60), JSON.stringify('x'.repeat(60))],
    ['x'.repeat(61), JSON.stringify(`${'x'.repeat(57)}...`)],
    [(() => () => {})(), 'a function'],
    [function named() {}, 'the function named'],
    [Fern, 'the function Fern'],
    [[1, 2], 'an array of 2'],
    [{}, 'a plain object'],
    [Object.create(null), 'a plain object'],
    [new Fern(), 'an instance of Fern'],
    [new Map(), 'an instance of Map'],
    [new (class {})(), 'an object'],
    [Object.create({ constructor: undefined }), 'an object'],
  ] as const) {
    assert.equal(describe(value), text)
  }
})
