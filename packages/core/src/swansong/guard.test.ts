import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { mock, test } from 'node:test'

import {
  collect,
  collectGarbage,
  collectUntil,
  deferred,
  items,
  lineHere,
  settled,
  stuck,
  watch,
} from '../../fixtures/promises.ts'
import { Swansong } from '../swansong.ts'
import type { Guard } from './guard.ts'
import type { GuardEntry } from './report.ts'

test('[swansong 3.1] a guard may be taken in every state, and does not delay the stop', () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  const callback = mock.fn()
  swansong.onStop(callback)
  void swansong.shutDown()
  assert.equal(callback.mock.callCount(), 1)
  const second = swansong.guard()
  assert.equal(swansong.guardCount, 2)
  first.release()
  second.release()
  assert.equal(swansong.state, 'complete')
  const third = swansong.guard()
  assert.deepEqual([swansong.state, swansong.guardCount], ['shutting-down', 1])
  third.release()
  assert.equal(swansong.state, 'complete')
})

test('[swansong 3.1] a guard has the label that it was given', () => {
  const swansong = new Swansong()
  using labelled = swansong.guard('writing the report')
  using plain = swansong.guard()
  assert.deepEqual([labelled.label, plain.label], ['writing the report', undefined])
})

test('[swansong 3.2] a guard is released once, however often it is released or disposed', () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  using other = swansong.guard()
  assert.equal(guard.isReleased, false)
  guard.release()
  guard.release()
  guard[Symbol.dispose]()
  assert.equal(guard.isReleased, true)
  assert.equal(swansong.guardCount, 1)
})

test('[swansong 3.2] a guard in a using block is released at its end, also when that throws', () => {
  const swansong = new Swansong()
  assert.throws(() => {
    using guard = swansong.guard()
    assert.equal(guard.isReleased, false)
    assert.equal(swansong.guardCount, 1)
    throw new Error('boom')
  }, /boom/)
  assert.equal(swansong.guardCount, 0)
})

test('[swansong 3.3] a clone is a guard of its own, with the label and the site of the first', () => {
  const swansong = new Swansong()
  const first = swansong.guard('a job')
  const second = first.clone()
  const third = second.clone()
  assert.equal(third.label, 'a job')
  assert.equal(swansong.report().entries.length, 1)
  assert.equal(swansong.guardCount, 3)
  first.release()
  assert.deepEqual([second.isReleased, swansong.guardCount], [false, 2])
  second.release()
  third.release()
  assert.equal(swansong.guardCount, 0)
})

test('[swansong 3.3] a clone has an age of its own', (t) => {
  const clock = t.mock.method(performance, 'now', () => 1000)
  const swansong = new Swansong()
  const first = swansong.guard()
  clock.mock.mockImplementation(() => 4000)
  const second = first.clone()
  clock.mock.mockImplementation(() => 5000)
  assert.equal(swansong.report().entries[0]?.oldestMs, 4000)
  first.release()
  assert.equal(swansong.report().entries[0]?.oldestMs, 1000)
  second.release()
})

test('[swansong 3.3] a guard that was released can be cloned', () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  first.release()
  const second = first.clone()
  assert.deepEqual([second.isReleased, swansong.guardCount], [false, 1])
  second.release()
  assert.equal(swansong.guardCount, 0)
})

test('[swansong 3.4] a guarded promise holds a guard until it settles, and passes on how', async () => {
  const swansong = new Swansong()
  const [fine, failed] = [deferred<string>(), deferred<string>()]
  const works = [swansong.guarded(fine.promise, 'fine'), swansong.guarded(failed.promise)] as const
  assert.equal(swansong.guardCount, 2)
  const stopped = watch(swansong.shutDown())
  fine.resolve('value')
  assert.equal(await works[0], 'value')
  assert.deepEqual([swansong.guardCount, stopped.isDone], [1, false])
  const error = new Error('boom')
  failed.reject(error)
  await assert.rejects(works[1], error)
  await settled()
  assert.deepEqual([swansong.guardCount, stopped.isDone], [0, true])
})

test('[swansong 3.4] a thenable that fails at once leaves no guard', async () => {
  const swansong = new Swansong()
  const thenable = {
    then: () => {
      throw new Error('boom')
    },
  } as unknown as PromiseLike<void>
  await assert.rejects(swansong.guarded(thenable), /boom/)
  assert.equal(swansong.guardCount, 0)
})

test('[swansong 3.5] a guarded function is called at once, within its guard', async () => {
  const swansong = new Swansong()
  const counts: number[] = []
  const work = swansong.guarded(async () => {
    counts.push(swansong.guardCount)
    await settled()
    counts.push(swansong.guardCount)
    return 'value'
  })
  assert.deepEqual(counts, [1])
  assert.equal(await work, 'value')
  assert.deepEqual(counts, [1, 1])
  assert.equal(swansong.guardCount, 0)
  assert.equal(await swansong.guarded(() => 'at once'), 'at once')
  assert.equal(swansong.guardCount, 0)
})

test('[swansong 3.5] a guarded function that throws releases its guard, and rejects', async () => {
  const swansong = new Swansong()
  const work = swansong.guarded(() => {
    throw new Error('boom')
  })
  assert.equal(swansong.guardCount, 0)
  await assert.rejects(work, /boom/)
})

test('[swansong 3.5] a guard that outlives an interrupt lets the rest of a task run', async () => {
  const swansong = new Swansong()
  let finished = 0
  for (let at = 0; at < 5; at++) {
    void swansong.guarded(async () => {
      await swansong.interrupt(new Promise(() => {}))
      for await (const item of swansong.interrupt(items(Infinity)))
        if (item % 2 === 0) await settled()
      for (let turns = 0; turns < at; turns++) await settled()
      finished++
    })
  }
  await swansong.shutDown()
  assert.equal(finished, 5)
})

test('[swansong 3.6] a guarded stream is guarded at once, and until it ends', async () => {
  const swansong = new Swansong()
  const open = mock.fn(() => items(2))
  const stream = swansong.guarded({ [Symbol.asyncIterator]: open }, 'numbers')
  assert.deepEqual([swansong.guardCount, open.mock.callCount()], [1, 0])
  const stopped = watch(swansong.shutDown())
  assert.deepEqual(await stream.next(), { done: false, value: 0 })
  assert.deepEqual(await stream.next(), { done: false, value: 1 })
  assert.deepEqual([swansong.guardCount, stopped.isDone], [1, false])
  const done = { done: true, value: undefined }
  assert.deepEqual([await stream.next(), await stream.next()], [done, done])
  await settled()
  assert.deepEqual([swansong.guardCount, stopped.isDone], [0, true])
})

test('[swansong 3.6] a guarded stream is released when it fails, when next() throws, and when it does not open', async () => {
  const fail = (): never => {
    throw new Error('boom')
  }
  const sources = [{ next: () => Promise.reject(new Error('boom')) }, { next: fail }].map(
    (iterator) => ({ [Symbol.asyncIterator]: () => iterator }),
  )
  for (const source of [...sources, { [Symbol.asyncIterator]: fail }]) {
    const swansong = new Swansong()
    const stream = swansong.guarded(source as unknown as AsyncIterable<number>)
    await assert.rejects(stream.next(), /boom/)
    assert.equal(swansong.guardCount, 0)
    assert.deepEqual(await stream.next(), { done: true, value: undefined })
  }
})

test('[swansong 3.6] a guarded stream is released when its loop is left, and closes its source once', async () => {
  const swansong = new Swansong()
  const close = mock.fn()
  async function* generator(): AsyncGenerator<number> {
    try {
      for (let at = 0; ; at += 10) yield at
    } finally {
      close()
    }
  }
  const stream = swansong.guarded(generator())
  let sum = 0
  for await (const item of stream) {
    sum += item
    if (item === 40) break
  }
  await stream.return?.()
  assert.equal(sum, 100)
  assert.deepEqual([swansong.guardCount, close.mock.callCount()], [0, 1])
})

test('[swansong 3.6] a guarded stream that was never read lets go of its source when it is closed', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const node = Readable.from(['a'])
  await swansong.guarded(new ReadableStream<string>({ cancel })).return?.()
  await swansong.guarded(node).return?.()
  assert.deepEqual([cancel.mock.callCount(), node.destroyed, swansong.guardCount], [1, true, 0])
})

test('[swansong 3.6] return() while next() waits releases the guard, and does not wait for the source', async () => {
  const swansong = new Swansong()
  const close = mock.fn(() => new Promise<never>(() => {}))
  const stream = swansong.guarded(stuck(close))
  void stream.next()
  assert.deepEqual(await stream.return?.(), { done: true, value: undefined })
  assert.deepEqual([swansong.guardCount, close.mock.callCount()], [0, 1])
  assert.deepEqual(await stream.next(), { done: true, value: undefined })
})

test('[swansong 3.6] return() while next() waits on a ReadableStream ends the wait', async () => {
  const swansong = new Swansong()
  const stream = swansong.guarded(new ReadableStream<string>())
  const next = stream.next()
  await stream.return?.()
  assert.deepEqual(await next, { done: true, value: undefined })
})

test('[swansong 3.6] several calls of next() at a time are answered in order, and the guard is released once', async () => {
  const swansong = new Swansong()
  using other = swansong.guard()
  const stream = swansong.guarded(items(2))
  const results = await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()])
  assert.deepEqual(
    results.map(({ value }) => value),
    [0, 1, undefined, undefined],
  )
  assert.equal(swansong.guardCount, 1)
})

test('[swansong 3.6] a guarded stream is not interrupted', async () => {
  const swansong = new Swansong()
  const stream = swansong.guarded(items(3))
  void swansong.shutDown()
  assert.deepEqual(await collect(stream), [0, 1, 2])
  assert.equal(swansong.state, 'complete')
})

test('what cannot be guarded is refused, and holds no guard', () => {
  const swansong = new Swansong()
  for (const work of [undefined, null, 1, 'text', {}, [1]]) {
    assert.throws(() => swansong.guarded(work as unknown as Promise<void>), {
      name: 'TypeError',
      message: /^Cannot guard .*: expected a promise, a function or an async iterable$/,
    })
  }
  assert.equal(swansong.guardCount, 0)
})

// -------------------------------------------------------------------------------- lost guards

class Job {
  readonly guard: Guard

  constructor(swansong: Swansong) {
    this.guard = swansong.guard('a job')
  }
}

test('[swansong 3.7] a guard that was lost is reported with its site, and released', async () => {
  const leaks: GuardEntry[] = []
  const swansong = new Swansong({ name: 'app', onLeak: (entry) => leaks.push(entry) })
  const kept = swansong.guard('kept')
  let line = ''
  const lose = (): void => {
    line = lineHere()
    swansong.guard('lost')
  }
  lose()
  const stopped = watch(swansong.shutDown())
  await collectUntil(() => leaks.length > 0)
  assert.equal(leaks.length, 1)
  const { label, site, path, count } = leaks[0]!
  assert.deepEqual({ label, path, count }, { label: 'lost', path: 'app', count: 1 })
  const [file, at] = [line.replace(/:\d+$/, ''), Number(/\d+$/.exec(line)?.[0])]
  assert.ok(site?.startsWith(`${file}:${at + 1}:`), `${site} is not the line after ${line}`)
  assert.deepEqual([swansong.guardCount, stopped.isDone], [1, false])
  kept.release()
  await settled()
  assert.equal(stopped.isDone, true)
})

test('[swansong 3.7] a guard is found that was lost with the object that took it', async () => {
  // The stack of a capture, as long as nobody has read it, would keep the object alive.
  const onLeak = mock.fn()
  const swansong = new Swansong({ onLeak })
  const lose = (): void => void new Job(swansong)
  lose()
  await collectUntil(() => swansong.guardCount === 0)
  assert.deepEqual([onLeak.mock.callCount(), swansong.guardCount], [1, 0])
})

test('[swansong 3.7] clones, guarded streams and guards of children are found, too', async () => {
  const leaks: string[] = []
  const swansong = new Swansong({ onLeak: ({ path, label }) => leaks.push(`${path} ${label}`) })
  const original = swansong.guard('original')
  const lose = (): void => {
    original.clone()
    swansong.guarded(
      stuck(() => {}),
      'stream',
    )
    swansong.child('child').guard('guard')
  }
  lose()
  await collectUntil(() => leaks.length === 3)
  assert.deepEqual(leaks.toSorted(), [' original', ' stream', 'child guard'])
  assert.equal(swansong.guardCount, 1)
  original.release()
})

test('[swansong 3.7] a guard that was released is not reported when it is collected', async () => {
  const onLeak = mock.fn()
  const swansong = new Swansong({ onLeak })
  let isCollected = false
  const registry = new FinalizationRegistry(() => (isCollected = true))
  const use = (): void => {
    const guard = swansong.guard()
    registry.register(guard, undefined)
    guard.release()
  }
  use()
  await collectUntil(() => isCollected)
  collectGarbage()
  await settled()
  assert.equal(isCollected, true)
  assert.equal(onLeak.mock.callCount(), 0)
})

test('[swansong 3.7] an onLeak that throws is uncaught, and the guard is released all the same', async (t) => {
  const uncaught: (() => void)[] = []
  const swansong = new Swansong({
    onLeak: () => {
      throw new Error('boom')
    },
  })
  const lose = (): void => void swansong.guard()
  lose()
  t.mock.method(globalThis, 'queueMicrotask', (task: () => void) => uncaught.push(task))
  await collectUntil(() => uncaught.length > 0)
  assert.equal(swansong.guardCount, 0)
  assert.throws(uncaught[0]!, /boom/)
})

test('[swansong 3.7] without onLeak the console says where the guard was taken', async (t) => {
  const warn = t.mock.method(console, 'warn', () => {})
  const swansong = new Swansong()
  const lose = (): void => void swansong.guard('unheard')
  lose()
  await collectUntil(() => swansong.guardCount === 0)
  const [message] = warn.mock.calls.find(({ arguments: [text] }) => /unheard/.test(text))!.arguments
  assert.match(
    String(message),
    /^A guard was lost before it was released: 1 × unheard \S+guard\.test\.ts:\d+:\d+ \(oldest \d+\.\dm?s\)$/,
  )
})
