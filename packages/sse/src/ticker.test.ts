import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Ticker, tickFor } from './ticker.ts'
import type { Ticking, Timers } from './ticker.ts'

test('everybody who is registered is asked, with the time that has passed for all', () => {
  const ticker = new Ticker()
  const [one, two] = [new Recorder(), new Recorder()]
  ticker.add(one)
  ticker.advance(300)
  ticker.add(two)
  ticker.advance(700)
  assert.equal(ticker.size, 2)
  ticker.delete(one)
  ticker.advance(1000)
  ticker.delete(two)
  ticker.advance(1000)
  assert.deepEqual(one.times, [300, 1000])
  assert.deepEqual(two.times, [1000, 2000])
  assert.equal(ticker.size, 0)
})

test('who leaves while all are asked is asked no more, and the others are', () => {
  const ticker = new Ticker()
  const later = new Recorder()
  const leaver = new Recorder(1000, () => {
    ticker.delete(leaver)
    ticker.delete(later)
  })
  const last = new Recorder()
  for (const each of [leaver, later, last]) ticker.add(each)
  ticker.advance(1)
  ticker.advance(1)
  ticker.delete(last)
  assert.deepEqual([leaver.times, later.times, last.times], [[1], [], [1, 2]])
})

test('there is one timer, of the shortest time that is asked for, and it keeps no process alive', () => {
  const timers = new FakeTimers()
  const ticker = new Ticker(timers)
  const recorders = [1000, 1000, 250, 500].map((tickMs) => new Recorder(tickMs))
  const set: number[][] = []
  for (const recorder of recorders) {
    ticker.add(recorder)
    set.push(timers.open.map(({ ms }) => ms))
  }
  assert.deepEqual(set, [[1000], [1000], [250], [250]])
  assert(timers.all.every(({ isUnref }) => isUnref))
  timers.open[0]!.callback()
  for (const { times } of recorders) assert.deepEqual(times, [250])
})

test('without anybody there is no timer, and who comes then has one again', () => {
  const timers = new FakeTimers()
  const ticker = new Ticker(timers)
  const [quick, slow] = [new Recorder(10), new Recorder(1000)]
  ticker.delete(quick) // was never there
  ticker.add(quick)
  ticker.add(slow)
  ticker.delete(quick)
  assert.equal(timers.open.length, 1)
  ticker.delete(slow)
  ticker.delete(slow)
  assert.deepEqual(timers.open, [])
  ticker.add(slow)
  assert.deepEqual(
    timers.open.map(({ ms }) => ms),
    [1000],
  )
  ticker.delete(slow)
})

test('where timers are numbers and no methods, as outside of Node, it ticks all the same', () => {
  let callback = (): void => {}
  const ticker = new Ticker({
    setInterval(this: unknown, given) {
      assert.equal(this, undefined)
      callback = given
      return 7
    },
    clearInterval(this: unknown) {
      assert.equal(this, undefined)
    },
  })
  const recorder = new Recorder(5)
  ticker.add(recorder)
  callback()
  assert.deepEqual(recorder.times, [5])
})

test('a clock that a test puts in place of the timers for a while stops nobody', async (t) => {
  const ticker = new Ticker()
  const [first, second] = [new Recorder(1), new Recorder(1)]
  t.mock.timers.enable({ apis: ['setInterval'] })
  ticker.add(first)
  t.mock.timers.tick(1000)
  assert.deepEqual(first.times, [])
  t.mock.timers.reset()
  ticker.add(second)
  while (second.times.length === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(first.times, second.times)
  ticker.delete(first)
  ticker.delete(second)
})

test('times are exact to a tenth of the shortest, and to a second at the least', () => {
  const cases: [number[], number][] = [
    [[15_000, Infinity, 60_000], 1000],
    [[Infinity], 1000],
    [[10_000], 1000],
    [[9_999, 60_000], 999],
    [[1000, 500], 50],
    [[10], 1],
    [[1], 1],
    [[0.5], 1],
  ]
  for (const [times, tick] of cases) assert.equal(tickFor(times), tick, String(times))
})

class Recorder implements Ticking {
  readonly tickMs: number
  readonly times: number[] = []
  readonly #onTick: () => void

  constructor(tickMs = 1000, onTick: () => void = () => {}) {
    this.tickMs = tickMs
    this.#onTick = onTick
  }

  tick(now: number): void {
    this.times.push(now)
    this.#onTick()
  }
}

interface FakeInterval {
  readonly ms: number
  readonly callback: () => void
  isUnref: boolean
  unref(): void
}

/** In place of the intervals of the platform. */
class FakeTimers implements Timers {
  readonly all: FakeInterval[] = []
  open: FakeInterval[] = []

  readonly setInterval = (callback: () => void, ms: number): FakeInterval => {
    const interval: FakeInterval = {
      ms,
      callback,
      isUnref: false,
      unref() {
        this.isUnref = true
      },
    }
    this.all.push(interval)
    this.open.push(interval)
    return interval
  }

  readonly clearInterval = (interval: FakeInterval | undefined): void => {
    this.open = this.open.filter((each) => each !== interval)
  }
}

test('when the most exact has gone, the others are asked as often as they want it', () => {
  const ticker = new Ticker()
  const [exact, second, third] = [1, 1000, 1000].map((tickMs) => ({ tickMs, tick() {} }))
  for (const each of [second!, exact!, exact!, third!]) ticker.add(each)
  assert.equal(ticker.tickMs, 1)
  ticker.delete(exact!)
  assert.equal(ticker.tickMs, 1000)
  ticker.delete(second!)
  assert.equal(ticker.tickMs, 1000)
  ticker.delete(third!)
  ticker.delete(third!)
  assert.deepEqual([ticker.tickMs, ticker.size], [Infinity, 0])
})

test('a timer that is late has let more time pass; a process that stood still for long has not', (t) => {
  const timers = new FakeTimers()
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const ticker = new Ticker(timers)
  const seen: number[] = []
  const each = { tickMs: 100, tick: (time: number) => seen.push(time) }
  ticker.add(each)
  for (const passed of [100, 140, 100, 600_000]) {
    now += passed
    timers.open[0]!.callback()
  }
  ticker.delete(each)
  assert.deepEqual(seen, [100, 240, 340, 10_340])
})
