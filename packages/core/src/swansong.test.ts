import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { mock, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { Swansong } from './swansong.ts'
import type { Guard } from './swansong.ts'

// ----------------------------------------------------------------------------- state, guards

test('a new swansong is running and holds no guard', () => {
  const swansong = new Swansong()
  assert.equal(swansong.state, 'running')
  assert.equal(swansong.guardCount, 0)
  assert.equal(swansong.signal.aborted, false)
})

test('shutDown() completes at once when there is no guard', async () => {
  const swansong = new Swansong()
  const stopped = swansong.shutDown()
  assert.equal(swansong.state, 'complete')
  assert.equal(await stopped, undefined)
})

test('completion waits for every guard', async () => {
  const swansong = new Swansong()
  const [first, second] = [swansong.guard(), swansong.guard('second')]
  const completion = watch(swansong.completion)
  assert.equal(swansong.guardCount, 2)
  assert.equal(swansong.state, 'running')
  const stopped = watch(swansong.shutDown())
  assert.equal(swansong.state, 'shutting-down')
  first.release()
  await settled()
  assert.deepEqual(
    [swansong.state, swansong.guardCount, completion.isDone, stopped.isDone],
    ['shutting-down', 1, false, false],
  )
  second.release()
  assert.equal(swansong.state, 'complete')
  await settled()
  assert.deepEqual([completion.isDone, stopped.isDone], [true, true])
})

test('releasing every guard does not begin the stop', async () => {
  const swansong = new Swansong()
  const completion = watch(swansong.completion)
  swansong.guard().release()
  await settled()
  assert.equal(swansong.state, 'running')
  assert.equal(completion.isDone, false)
})

test('a guard is released once, however often it is released or disposed', () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  swansong.guard()
  assert.equal(guard.isReleased, false)
  guard.release()
  guard.release()
  guard[Symbol.dispose]()
  assert.equal(guard.isReleased, true)
  assert.equal(swansong.guardCount, 1)
})

test('a guard in a using block is released at its end', () => {
  const swansong = new Swansong()
  {
    using guard = swansong.guard()
    assert.equal(guard.isReleased, false)
    assert.equal(swansong.guardCount, 1)
  }
  assert.equal(swansong.guardCount, 0)
})

test('a guard has a label', () => {
  const swansong = new Swansong()
  assert.equal(swansong.guard('writing the report').label, 'writing the report')
  assert.equal(swansong.guard().label, 'a guard')
})

test('a guard taken after completion delays those who ask afterwards, and nobody else', async () => {
  const swansong = new Swansong()
  const before = watch(swansong.shutDown())
  const guard = swansong.guard()
  assert.equal(swansong.state, 'shutting-down')
  const after = watch(swansong.completion)
  const again = watch(swansong.shutDown())
  await settled()
  assert.deepEqual([before.isDone, after.isDone, again.isDone], [true, false, false])
  guard.release()
  await settled()
  assert.deepEqual([swansong.state, after.isDone, again.isDone], ['complete', true, true])
})

test('completion is one promise until it resolves', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  const { completion } = swansong
  assert.equal(swansong.completion, completion)
  assert.equal(swansong.shutDown(), completion)
  guard.release()
  await completion
  assert.notEqual(swansong.completion, completion)
})

test('a completion that has resolved is not given to those who ask when there is a new guard', async () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  const stopped = swansong.shutDown()
  first.release()
  await stopped
  const second = swansong.guard()
  const after = watch(swansong.completion)
  await settled()
  assert.equal(after.isDone, false)
  second.release()
  await settled()
  assert.equal(after.isDone, true)
})

test('a guard that is handed on within one turn does not let completion slip through', async () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  const stopped = watch(swansong.shutDown())
  const second = swansong.guard()
  first.release()
  await settled()
  assert.equal(stopped.isDone, false)
  second.release()
  await settled()
  assert.equal(stopped.isDone, true)
})

test('await using stops, and waits for the guards', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  const block = watch(
    (async () => {
      await using inner = swansong
      assert.equal(inner.state, 'running')
    })(),
  )
  await settled()
  assert.deepEqual([swansong.state, block.isDone], ['shutting-down', false])
  guard.release()
  await settled()
  assert.equal(block.isDone, true)
})

test('10,000 guards come and go', () => {
  const swansong = new Swansong()
  const guards = Array.from({ length: 10_000 }, () => swansong.guard())
  assert.equal(swansong.guardCount, 10_000)
  for (const guard of guards) guard.release()
  assert.equal(swansong.guardCount, 0)
})

// ----------------------------------------------------------------------------- onStop, signal

test('onStop() calls back once, in order of registration, before shutDown() returns', () => {
  const swansong = new Swansong()
  const calls: string[] = []
  swansong.onStop(() => calls.push('first'))
  swansong.onStop(() => calls.push('second'))
  assert.deepEqual(calls, [])
  void swansong.shutDown()
  void swansong.shutDown()
  assert.deepEqual(calls, ['first', 'second'])
})

test('onStop() does not wait for guards, and calls at once after the stop', () => {
  const swansong = new Swansong()
  swansong.guard()
  const before = mock.fn()
  const after = mock.fn()
  swansong.onStop(before)
  void swansong.shutDown()
  assert.equal(before.mock.callCount(), 1)
  const registration = swansong.onStop(after)
  assert.equal(after.mock.callCount(), 1)
  registration[Symbol.dispose]()
})

test('a disposed registration is not called', () => {
  const swansong = new Swansong()
  const callback = mock.fn()
  const registration = swansong.onStop(callback)
  registration[Symbol.dispose]()
  registration[Symbol.dispose]()
  void swansong.shutDown()
  assert.equal(callback.mock.callCount(), 0)
})

test('one callback may be registered twice, and each registration stands for itself', () => {
  const swansong = new Swansong()
  const callback = mock.fn()
  const first = swansong.onStop(callback)
  swansong.onStop(callback)
  first[Symbol.dispose]()
  void swansong.shutDown()
  assert.equal(callback.mock.callCount(), 1)
})

test('a callback may dispose the registration of a later one, which is then not called', () => {
  const swansong = new Swansong()
  const later = mock.fn()
  swansong.onStop(() => registration[Symbol.dispose]())
  const registration = swansong.onStop(later)
  void swansong.shutDown()
  assert.equal(later.mock.callCount(), 0)
})

test('a callback that throws is uncaught and stops neither the others nor the stop', (t) => {
  const uncaught: (() => void)[] = []
  t.mock.method(globalThis, 'queueMicrotask', (task: () => void) => uncaught.push(task))
  const swansong = new Swansong()
  const second = mock.fn()
  const error = new Error('boom')
  swansong.onStop(() => {
    throw error
  })
  swansong.onStop(second)
  void swansong.shutDown()
  assert.equal(second.mock.callCount(), 1)
  assert.equal(swansong.state, 'complete')
  swansong.onStop(() => {
    throw error
  })
  assert.equal(uncaught.length, 2)
  for (const task of uncaught) assert.throws(task, error)
})

test('shutDown() and onStop() may be called from a callback', async () => {
  const swansong = new Swansong()
  const calls: string[] = []
  swansong.onStop(() => {
    calls.push('first')
    void swansong.shutDown()
    swansong.onStop(() => calls.push('inner'))
  })
  swansong.onStop(() => calls.push('second'))
  await swansong.shutDown()
  assert.deepEqual(calls, ['first', 'inner', 'second'])
})

test('a guard that is released in a callback completes the stop', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  swansong.onStop(() => guard.release())
  await swansong.shutDown()
  assert.equal(swansong.state, 'complete')
})

test('the stop does not complete before every callback had its chance to take a guard', async () => {
  const swansong = new Swansong()
  const completion = watch(swansong.completion)
  const first = swansong.guard()
  const guards: Guard[] = []
  swansong.onStop(() => first.release())
  swansong.onStop(() => {
    assert.equal(swansong.state, 'shutting-down')
    guards.push(swansong.guard('last words'))
  })
  const stopped = watch(swansong.shutDown())
  await settled()
  assert.deepEqual(
    [swansong.state, completion.isDone, stopped.isDone],
    ['shutting-down', false, false],
  )
  guards[0]?.release()
  await settled()
  assert.deepEqual([swansong.state, completion.isDone, stopped.isDone], ['complete', true, true])
})

test('the signal aborts when the stop begins, also when it is first read afterwards', () => {
  const swansong = new Swansong()
  const { signal } = swansong
  assert.equal(swansong.signal, signal)
  swansong.guard()
  void swansong.shutDown()
  assert.equal(signal.aborted, true)

  const late = new Swansong()
  void late.shutDown()
  assert.equal(late.signal.aborted, true)
})

// ------------------------------------------------------------------------ interrupt: promises

test('an interrupted promise has its value, or its error, when no stop comes', async () => {
  const swansong = new Swansong()
  const error = new Error('boom')
  assert.equal(await swansong.interrupt(Promise.resolve(1)), 1)
  assert.equal(await swansong.interrupt(async () => 2), 2)
  await assert.rejects(swansong.interrupt(Promise.reject(error)), error)
  await assert.rejects(
    swansong.interrupt(async () => Promise.reject(error)),
    error,
  )
  assert.equal(
    await swansong.interrupt({
      then: (resolve: (value: number) => void) => resolve(3),
    } as PromiseLike<number>),
    3,
  )
})

test('an interrupted promise is undefined when the stop comes first', async () => {
  const swansong = new Swansong()
  const pending = swansong.interrupt(new Promise(() => {}))
  const called = swansong.interrupt(
    (signal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted'))),
  )
  void swansong.shutDown()
  assert.equal(await pending, undefined)
  assert.equal(await called, undefined)
})

test('after the stop an interrupted promise is undefined even if it is ready, and work is not called', async () => {
  const swansong = new Swansong()
  const ready = swansong.interrupt(Promise.resolve('ready'))
  void swansong.shutDown()
  assert.equal(await ready, undefined)
  assert.equal(await swansong.interrupt(Promise.resolve('ready')), undefined)
  const work = mock.fn(async () => 'done')
  assert.equal(await swansong.interrupt(work), undefined)
  assert.equal(work.mock.callCount(), 0)
})

test('a promise that rejects after the stop is never unhandled', async (t) => {
  const unhandled = mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  const swansong = new Swansong()
  let reject!: (error: Error) => void
  const before = swansong.interrupt(new Promise((_, fail) => (reject = fail)))
  void swansong.shutDown()
  const after = swansong.interrupt(Promise.reject(new Error('late')))
  reject(new Error('late'))
  assert.deepEqual(await Promise.all([before, after]), [undefined, undefined])
  await settled()
  assert.equal(unhandled.mock.callCount(), 0)
})

test('what cannot be interrupted is refused', () => {
  const swansong = new Swansong()
  for (const source of [undefined, null, 1, 'text', {}]) {
    assert.throws(() => swansong.interrupt(source as unknown as Promise<void>), {
      name: 'TypeError',
      message:
        /^Cannot interrupt .*: expected a promise, a function of an AbortSignal, an async iterable or an iterable object$/,
    })
  }
})

// ------------------------------------------------------------------------- interrupt: streams

test('an interrupted stream passes its items, its end and its error', async () => {
  const swansong = new Swansong()
  assert.deepEqual(await collect(swansong.interrupt(items(3))), [0, 1, 2])
  const error = new Error('boom')
  const seen: number[] = []
  await assert.rejects(async () => {
    const failing = (async function* () {
      yield 1
      throw error
    })()
    for await (const item of swansong.interrupt(failing)) seen.push(item)
  }, error)
  assert.deepEqual(seen, [1])
})

test('an interrupted stream is over for ever after its end or its error', async () => {
  const swansong = new Swansong()
  const done = { done: true, value: undefined }
  const ended = swansong.interrupt(items(0))
  assert.deepEqual([await ended.next(), await ended.next()], [done, done])
  const next = mock.fn(() => Promise.reject(new Error('boom')))
  const failed = swansong.interrupt({ [Symbol.asyncIterator]: () => ({ next }) })
  await assert.rejects(failed.next(), /boom/)
  assert.deepEqual(await failed.next(), done)
  void swansong.shutDown()
  assert.deepEqual([await ended.next(), await failed.next()], [done, done])
  assert.equal(next.mock.callCount(), 1)
})

test('a source that fails at once, instead of with a promise, rejects and leaves no trace', async () => {
  const error = new Error('boom')
  const close = mock.fn()
  for (const source of [
    {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          throw error
        },
        return: close,
      }),
    },
    {
      [Symbol.asyncIterator]: () => {
        throw error
      },
    },
  ] as unknown as AsyncIterable<number>[]) {
    const swansong = new Swansong()
    const stream = swansong.interrupt(source)
    await assert.rejects(async () => stream.next(), error)
    void swansong.shutDown()
    assert.equal(close.mock.callCount(), 0)
  }
})

test('an iterator that answers without a promise is interrupted as well', async () => {
  const inner = [1, 2][Symbol.iterator]()
  const source = { [Symbol.asyncIterator]: () => inner } as unknown as AsyncIterable<number>
  assert.deepEqual(await collect(new Swansong().interrupt(source)), [1, 2])
})

test('the stop ends an interrupted stream, even while an item is awaited', async () => {
  const swansong = new Swansong()
  const close = mock.fn(() => new Promise<never>(() => {}))
  const stream = swansong.interrupt(stuck(close))
  const [first, second] = [stream.next(), stream.next()]
  void swansong.shutDown()
  const done = { done: true, value: undefined }
  assert.deepEqual([await first, await second, await stream.next()], [done, done, done])
  assert.equal(close.mock.callCount(), 1)
})

test('a generator that is stuck in an await is left at once, by next() and by return()', async () => {
  const swansong = new Swansong()
  async function* generator(): AsyncGenerator<number> {
    yield 1
    await new Promise(() => {})
  }
  for (const leave of [() => void swansong.shutDown(), undefined]) {
    const stream = new Swansong().interrupt(generator())
    const stopping = swansong.interrupt(generator())
    await (leave ? stopping : stream).next()
    const pending = (leave ? stopping : stream).next()
    if (leave) leave()
    else await stream.return?.()
    assert.deepEqual(await pending, { done: true, value: undefined })
  }
})

test('an item that is ready when the stop comes is dropped', async () => {
  const swansong = new Swansong()
  const stream = swansong.interrupt(items(2))
  const ready = stream.next()
  await Promise.resolve() // the source has its item by now, the wrapper has not passed it on
  void swansong.shutDown()
  assert.deepEqual(await ready, { done: true, value: undefined })
})

test('an item, an end or an error that comes after the stop changes nothing and is never unhandled', async (t) => {
  const unhandled = mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  for (const late of [
    () => Promise.resolve({ done: false as const, value: 1 }),
    () => Promise.resolve({ done: true as const, value: 2 }),
    () => Promise.reject(new Error('late')),
  ]) {
    const swansong = new Swansong()
    let answer!: (result: Promise<IteratorResult<number>>) => void
    const pending = new Promise<IteratorResult<number>>((resolve) => (answer = resolve))
    const close = mock.fn(() => Promise.reject(new Error('late, too')))
    const stream = swansong.interrupt<number>({
      [Symbol.asyncIterator]: () => ({ next: () => pending, return: close }),
    })
    const next = stream.next()
    void swansong.shutDown()
    answer(late())
    assert.deepEqual(await next, { done: true, value: undefined })
    assert.deepEqual(await stream.next(), { done: true, value: undefined })
    assert.equal(close.mock.callCount(), 1)
    await settled()
  }
  assert.equal(unhandled.mock.callCount(), 0)
})

test('return() after the end of a stream does not close its source', async () => {
  const close = mock.fn()
  const source = { next: async () => ({ done: true as const, value: undefined }), return: close }
  const stream = new Swansong().interrupt({
    [Symbol.asyncIterator]: () => source as unknown as AsyncIterator<number>,
  })
  await stream.next()
  assert.deepEqual(await stream.return?.(), { done: true, value: undefined })
  assert.equal(close.mock.callCount(), 0)
})

test('leaving the loop closes the source once, and the stop does not close it again', async () => {
  const swansong = new Swansong()
  const close = mock.fn()
  async function* generator(): AsyncGenerator<number> {
    try {
      for (let at = 0; ; at++) yield at
    } finally {
      close()
    }
  }
  for await (const item of swansong.interrupt(generator())) if (item === 2) break
  void swansong.shutDown()
  assert.equal(close.mock.callCount(), 1)
})

test('a stream that is first read after the stop is not opened', async () => {
  const swansong = new Swansong()
  const open = mock.fn(() => items(1))
  const before = swansong.interrupt({ [Symbol.asyncIterator]: open })
  void swansong.shutDown()
  const after = swansong.interrupt({ [Symbol.asyncIterator]: open })
  assert.deepEqual(
    [await before.next(), await after.next()],
    Array(2).fill({ done: true, value: undefined }),
  )
  assert.equal(open.mock.callCount(), 0)
})

test('an item that stops the swansong is the last one', async () => {
  const swansong = new Swansong()
  const seen: number[] = []
  for await (const item of swansong.interrupt(items(5))) {
    seen.push(item)
    if (item === 1) void swansong.shutDown()
  }
  assert.deepEqual(seen, [0, 1])
  assert.equal(swansong.state, 'complete')
})

test('an interrupted iterable passes its items until the stop, and closes its source', () => {
  const swansong = new Swansong()
  const close = mock.fn()
  function* generator(): Generator<number> {
    try {
      for (let at = 0; ; at++) yield at
    } finally {
      close()
    }
  }
  const seen: number[] = []
  for (const item of swansong.interrupt(generator())) {
    seen.push(item)
    if (item === 2) void swansong.shutDown()
  }
  assert.deepEqual(seen, [0, 1, 2])
  assert.equal(close.mock.callCount(), 1)
  assert.deepEqual([...swansong.interrupt([1, 2])], [])
  assert.deepEqual([...new Swansong().interrupt(new Set([1, 2]))], [1, 2])
})

test('an interrupt is no guard: completion does not wait for it', async () => {
  const swansong = new Swansong()
  const stream = swansong.interrupt(stuck(() => {}))
  void stream.next()
  void swansong.interrupt(new Promise(() => {}))
  assert.equal(swansong.guardCount, 0)
  await swansong.shutDown()
  assert.equal(swansong.state, 'complete')
})

// ---------------------------------------------------------------------------------- no leaks

test('interrupts register when they are read and leave nothing behind when they are over', async () => {
  const swansong = new CountingSwansong()
  void swansong.interrupt(stuck(() => {}))
  assert.equal(swansong.registered, 0)
  await collect(swansong.interrupt(items(3)))
  await swansong.interrupt(Promise.resolve(1))
  await assert.rejects(swansong.interrupt(Promise.reject(new Error('boom'))))
  for await (const item of swansong.interrupt(items(3))) if (item === 1) break
  const failing = swansong.interrupt({
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('boom')) }),
  })
  await assert.rejects(failing.next())
  assert.equal(swansong.mostRegistered, 1)
  assert.equal(swansong.registered, 0)
  assert.equal(getEventListeners(swansong.signal, 'abort').length, 0)
})

test('10,000 interrupted streams come and go and leave no registration', async () => {
  const swansong = new CountingSwansong()
  const streams = Array.from({ length: 10_000 }, () => swansong.interrupt(items(2)))
  await Promise.all(streams.map((stream) => stream.next()))
  assert.equal(swansong.registered, 10_000)
  await Promise.all(
    streams.map((stream, at) => (at % 2 === 0 ? collect(stream) : stream.return?.())),
  )
  assert.equal(swansong.registered, 0)
})

test('the stop ends 10,000 waiting streams', async () => {
  const swansong = new Swansong()
  const close = mock.fn(async () => ({ done: true as const, value: undefined }))
  const waiting = Array.from({ length: 10_000 }, () => swansong.interrupt(stuck(close)).next())
  await swansong.shutDown()
  const results = await Promise.all(waiting)
  assert.ok(results.every(({ done }) => done === true))
  assert.equal(close.mock.callCount(), 10_000)
})

test('300,000 items through one interrupted stream leave the heap flat', async () => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const swansong = new Swansong()
  const stream = swansong.interrupt(items(Infinity))
  const take = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) await stream.next()
  }
  await take(10_000)
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  await take(300_000)
  collectGarbage()
  // One reaction per item, as of Promise.race with one long-lived promise, would be 90 MB.
  assert.ok(process.memoryUsage().heapUsed - before < 10 * 1024 * 1024)
  await stream.return?.()
})

class CountingSwansong extends Swansong {
  registered = 0
  mostRegistered = 0

  override onStop(callback: () => void): Disposable {
    const registration = super.onStop(callback)
    let isRegistered = true
    this.mostRegistered = Math.max(this.mostRegistered, ++this.registered)
    return {
      [Symbol.dispose]: () => {
        if (isRegistered) this.registered--
        isRegistered = false
        registration[Symbol.dispose]()
      },
    }
  }
}

async function* items(count: number): AsyncGenerator<number, void, undefined> {
  for (let at = 0; at < count; at++) yield at
}

function stuck(onReturn: () => unknown): AsyncIterable<number> {
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: onReturn as () => Promise<IteratorResult<number>>,
    }),
  }
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of stream) all.push(item)
  return all
}

function watch(promise: Promise<unknown>): { readonly isDone: boolean } {
  const watched = { isDone: false }
  void promise.then(() => (watched.isDone = true))
  return watched
}

/** Lets everything run that is ready to. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

test('interrupting a ReadableStream cancels it, also while a read waits', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const items = swansong.interrupt(new ReadableStream<string>({ cancel }))
  const next = items.next()
  void swansong.shutDown()
  assert.deepEqual(await next, { done: true, value: undefined })
  assert.equal(cancel.mock.callCount(), 1)
})

test('a stream that is first read after the stop is let go, unopened', async () => {
  const swansong = new Swansong()
  void swansong.shutDown()
  const cancel = mock.fn()
  const items = swansong.interrupt(new ReadableStream<string>({ cancel }))
  assert.deepEqual(await items.next(), { done: true, value: undefined })
  assert.equal(cancel.mock.callCount(), 1)
})

test('interrupted work that throws at once rejects', async () => {
  const error = new Error('boom')
  const work = (): Promise<void> => {
    throw error
  }
  await assert.rejects(new Swansong().interrupt(work), error)
})
