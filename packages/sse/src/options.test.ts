import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { SseOptions } from './index.ts'
import { checkOptions as checked } from './options.ts'

const defaults = {
  heartbeatMs: 15_000,
  retryMs: undefined,
  stopRetryMs: [1000, 5000],
  finish: false,
  maxAgeMs: [Infinity, Infinity],
  until: undefined,
  writeTimeoutMs: 60_000,
  onStart: undefined,
  onEnd: undefined,
  mapError: undefined,
}
/** What was given and its defaults, without what follows from them. */
function checkOptions(options: SseOptions | undefined): Omit<ReturnType<typeof checked>, 'tickMs'> {
  const { tickMs, ...rest } = checked(options)
  assert.ok(tickMs > 0)
  return rest
}
const noop = (): undefined => undefined

test('what is not said has its default', () => {
  const undefineds = Object.fromEntries(Object.keys(defaults).map((name) => [name, undefined]))
  for (const options of [undefined, {}, undefineds])
    assert.deepEqual(checkOptions(options as SseOptions), defaults)
})

test('options that can be used are taken as they are', () => {
  for (const options of [
    { stopRetryMs: [0, 0] },
    { stopRetryMs: [0, Number.MAX_SAFE_INTEGER] },
    { stopRetryMs: Object.freeze([250, 750]) },
    { finish: true },
    { finish: false },
    { heartbeatMs: 0.5 },
    { heartbeatMs: Infinity },
    { retryMs: 0 },
    { retryMs: Number.MAX_SAFE_INTEGER },
    { maxAgeMs: [1, 1], retryMs: 7 },
    { maxAgeMs: [1.5, 2 ** 60], retryMs: 7 },
    { maxAgeMs: [Infinity, Infinity] },
    { until: new Date(0) },
    { until: noop },
    { writeTimeoutMs: 1 },
    { writeTimeoutMs: Infinity },
    { onEnd: noop },
    { mapError: noop },
  ])
    assert.deepEqual(checkOptions(options as SseOptions), { ...defaults, ...options })
})

test('heartbeatMs 0 is none', () => {
  assert.equal(checkOptions({ heartbeatMs: 0 }).heartbeatMs, Infinity)
})

test('one number as maxAgeMs is a range of itself', () => {
  assert.deepEqual(checkOptions({ maxAgeMs: 500 }).maxAgeMs, [500, 500])
  assert.deepEqual(checkOptions({ maxAgeMs: Infinity }), defaults)
})

test('with maxAgeMs a retryMs is said, so that the short one of the end does not stay', () => {
  assert.equal(checkOptions({ maxAgeMs: 500 }).retryMs, 3000)
  assert.equal(checkOptions({ maxAgeMs: [500, 600] }).retryMs, 3000)
  assert.equal(checkOptions({ maxAgeMs: 500, retryMs: 0 }).retryMs, 0)
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
  const ages: [number, number] = [1, 2]
  const { maxAgeMs } = checkOptions({ maxAgeMs: ages })
  ages[1] = 9
  assert.deepEqual(maxAgeMs, [1, 2])
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

test('a time that is none is refused, with its value and what would be right', () => {
  const times = (least: number): string => `a number of milliseconds from ${least}`
  const whole = 'a whole number of milliseconds from 0'
  const range = '[min, max], milliseconds from 1, the lesser first'
  const cases: [keyof SseOptions, unknown, 'TypeError' | 'RangeError', string, string][] = [
    ['heartbeatMs', -1, 'RangeError', '-1', times(0)],
    ['heartbeatMs', NaN, 'RangeError', 'NaN', times(0)],
    ['heartbeatMs', '15000', 'TypeError', '"15000"', times(0)],
    ['heartbeatMs', null, 'TypeError', 'null', times(0)],
    ['heartbeatMs', false, 'TypeError', 'false', times(0)],
    ['retryMs', -1, 'RangeError', '-1', whole],
    ['retryMs', 1.5, 'RangeError', '1.5', whole],
    ['retryMs', Infinity, 'RangeError', 'Infinity', whole],
    ['retryMs', 2 ** 53, 'RangeError', '9007199254740992', whole],
    ['retryMs', '5', 'TypeError', '"5"', whole],
    ['retryMs', null, 'TypeError', 'null', whole],
    ['maxAgeMs', 0, 'RangeError', '0', times(1)],
    ['maxAgeMs', -1, 'RangeError', '-1', times(1)],
    ['maxAgeMs', NaN, 'RangeError', 'NaN', times(1)],
    ['maxAgeMs', '10m', 'TypeError', '"10m"', times(1)],
    ['maxAgeMs', null, 'TypeError', 'null', times(1)],
    ['maxAgeMs', [0, 5], 'RangeError', '[0, 5]', range],
    ['maxAgeMs', [5, 1], 'RangeError', '[5, 1]', range],
    ['maxAgeMs', [5, Infinity], 'RangeError', '[5, Infinity]', range],
    ['maxAgeMs', [NaN, 5], 'RangeError', '[NaN, 5]', range],
    ['maxAgeMs', ['1', 5], 'TypeError', '["1", 5]', range],
    ['maxAgeMs', [5], 'TypeError', 'an array of 1', range],
    ['writeTimeoutMs', 0, 'RangeError', '0', times(1)],
    ['writeTimeoutMs', NaN, 'RangeError', 'NaN', times(1)],
    ['writeTimeoutMs', '30s', 'TypeError', '"30s"', times(1)],
    ['writeTimeoutMs', null, 'TypeError', 'null', times(1)],
  ]
  for (const [option, value, name, described, right] of cases) {
    assert.throws(() => checkOptions({ [option]: value } as SseOptions), {
      name,
      message: `Cannot stream with ${option} ${described}: it must be ${right}`,
    })
  }
})

test('until is a Date that is one, or a function', () => {
  for (const [until, described] of [
    [Date.now(), /^\d+$/],
    ['2030-01-01', '"2030-01-01"'],
    [null, 'null'],
  ] as const) {
    assert.throws(
      () => checkOptions({ until } as unknown as SseOptions),
      (error: Error) => {
        assert.equal(error.name, 'TypeError')
        const [, shown] = /^Cannot stream with until (.*): it must be a Date$/.exec(error.message)!
        if (typeof described === 'string') assert.equal(shown, described)
        else assert.match(shown!, described)
        return true
      },
    )
  }
})

test('an invalid Date is refused as such', () => {
  assert.throws(
    () => checkOptions({ until: new Date(NaN) }),
    /^RangeError: Cannot stream until an invalid Date$/,
  )
})

test('onEnd and mapError are functions', () => {
  for (const option of ['onEnd', 'mapError']) {
    for (const [value, described] of [
      [null, 'null'],
      ['log', '"log"'],
      [{}, 'a plain object'],
    ]) {
      assert.throws(() => checkOptions({ [option]: value }), {
        name: 'TypeError',
        message: `Cannot stream with ${option} ${String(described)}: it must be a function`,
      })
    }
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
      message: `Cannot stream with ${String(described)} as options: expected an object such as { heartbeatMs: 15_000 }`,
    })
  }
})
