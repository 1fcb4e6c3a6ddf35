import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { SseOptions } from './index.ts'
import { checkOptions } from './options.ts'

const defaults = { stopRetryMs: [1000, 5000], finish: false }

test('what is not said has its default', () => {
  for (const options of [undefined, {}, { stopRetryMs: undefined, finish: undefined }])
    assert.deepEqual(checkOptions(options as SseOptions), defaults)
})

test('options that can be used are taken as they are', () => {
  for (const options of [
    { stopRetryMs: [0, 0] },
    { stopRetryMs: [0, Number.MAX_SAFE_INTEGER] },
    { stopRetryMs: Object.freeze([250, 750]) },
    { finish: true },
    { finish: false },
  ])
    assert.deepEqual(checkOptions(options as SseOptions), { ...defaults, ...options })
})

test('an option is read once, and who gave a range cannot change it later', () => {
  const range: [number, number] = [1, 2]
  let reads = 0
  const checked = checkOptions({
    get stopRetryMs() {
      reads++
      return range
    },
  })
  range[0] = 9
  assert.deepEqual(checked.stopRetryMs, [1, 2])
  assert.equal(reads, 1)
})

test('a range that is none is refused, with its value and what would be right', () => {
  const cases: [unknown, 'TypeError' | 'RangeError', string][] = [
    [[-1, 5], 'RangeError', '[-1, 5]'],
    [[0, -5], 'RangeError', '[0, -5]'],
    [[5, 1], 'RangeError', '[5, 1]'],
    [[0.5, 1], 'RangeError', '[0.5, 1]'],
    [[1, 1.5], 'RangeError', '[1, 1.5]'],
    [[NaN, 1], 'RangeError', '[NaN, 1]'],
    [[0, Infinity], 'RangeError', '[0, Infinity]'],
    [[0, 2 ** 53], 'RangeError', '[0, 9007199254740992]'],
    [['0', 1], 'TypeError', '["0", 1]'],
    [[0, '1'], 'TypeError', '[0, "1"]'],
    [[0, undefined], 'TypeError', '[0, undefined]'],
    [[0n, 1n], 'TypeError', '[0n, 1n]'],
    [[], 'TypeError', 'an array of 0'],
    [[1000], 'TypeError', 'an array of 1'],
    [[1, 2, 3], 'TypeError', 'an array of 3'],
    [1000, 'TypeError', '1000'],
    ['12', 'TypeError', '"12"'],
    [null, 'TypeError', 'null'],
    [false, 'TypeError', 'false'],
    [{ min: 0, max: 1 }, 'TypeError', 'a plain object'],
  ]
  for (const [stopRetryMs, name, described] of cases) {
    assert.throws(() => checkOptions({ stopRetryMs } as SseOptions), {
      name,
      message: `Cannot stream with stopRetryMs ${described}: it must be [min, max], two whole numbers of milliseconds from 0, the lesser first`,
    })
  }
})

test('finish is true or false, and nothing like it', () => {
  for (const [finish, described] of [
    [1, '1'],
    [0, '0'],
    ['true', '"true"'],
    ['', '""'],
    [null, 'null'],
    [{}, 'a plain object'],
  ]) {
    assert.throws(() => checkOptions({ finish } as SseOptions), {
      name: 'TypeError',
      message: `Cannot stream with finish ${String(described)}: it must be true or false`,
    })
  }
})

test('options are an object', () => {
  for (const [options, described] of [
    [null, 'null'],
    [true, 'true'],
    [5, '5'],
    ['finish', '"finish"'],
    [[1000, 5000], 'an array of 2'],
    [() => ({}), 'a function'],
  ]) {
    assert.throws(() => checkOptions(options as SseOptions), {
      name: 'TypeError',
      message: `Cannot stream with ${String(described)} as options: expected an object with stopRetryMs or finish`,
    })
  }
})
