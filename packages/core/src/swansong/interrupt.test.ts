import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { Readable } from 'node:stream'
import { mock, test } from 'node:test'

import {
  collect,
  deferred,
  items,
  readable,
  settled,
  stuck,
  watch,
} from '../../fixtures/promises.ts'
import { Swansong } from '../swansong.ts'
import type { StopReason } from '../swansong.ts'

const done = { done: true, value: undefined }

// ----------------------------------------------------------------------------- the stop wins

test('[swansong 4.1] a promise that is ready when the stop comes is dropped', async () => {
  const swansong = new Swansong()
  const ready = swansong.interrupt(Promise.resolve('ready'))
  const called = swansong.interrupt(async () => 'ready')
  void swansong.shutDown()
  assert.deepEqual([await ready, await called], [undefined, undefined])
  assert.equal(await swansong.interrupt(Promise.resolve('ready')), undefined)
})

test('[swansong 4.1] an item that is ready when the stop comes is dropped', async () => {
  const swansong = new Swansong()
  const stream = swansong.interrupt(items(2))
  const ready = stream.next()
  await Promise.resolve() // the source has its item by now, the wrapper has not passed it on
  void swansong.shutDown()
  assert.deepEqual(await ready, done)
})

test('[swansong 4.1] items that are queued in the source when the stop comes are dropped', async () => {
  const swansong = new Swansong()
  const stream = swansong.interrupt(Readable.from(['a', 'b', 'c']))
  const web = swansong.interrupt(readable(['a', 'b'])).getReader()
  assert.deepEqual(await stream.next(), { done: false, value: 'a' })
  assert.deepEqual(await web.read(), { done: false, value: 'a' })
  void swansong.shutDown()
  assert.deepEqual([await stream.next(), await web.read()], [done, done])
})

// ---------------------------------------------------------------------------------- promises

test('[swansong 4.2] a promise is undefined when the stop comes first, and its work goes on', async () => {
  const swansong = new Swansong()
  const work = deferred<string>()
  const pending = swansong.interrupt(work.promise)
  void swansong.shutDown()
  assert.equal(await pending, undefined)
  work.resolve('value')
  assert.equal(await work.promise, 'value')
})

test('[swansong 4.2] a promise that rejects after the stop is never unhandled', async (t) => {
  const unhandled = mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  const swansong = new Swansong()
  const [plain, called, guarded] = [deferred<void>(), deferred<void>(), deferred<void>()]
  const before = [
    swansong.interrupt(plain.promise),
    swansong.interrupt(() => called.promise),
    swansong.interrupt(guarded.promise, { guard: true }),
  ]
  void swansong.shutDown()
  const after = swansong.interrupt(Promise.reject(new Error('late')))
  for (const { reject } of [plain, called, guarded]) reject(new Error('late'))
  assert.deepEqual(await Promise.all([...before, after]), Array(4).fill(undefined))
  await settled()
  assert.equal(unhandled.mock.callCount(), 0)
})

test('[swansong 4.3] a function is given the signal, which aborts when the stop begins', async () => {
  const swansong = new Swansong()
  const aborted = mock.fn()
  const called = swansong.interrupt((signal) => {
    assert.ok(signal instanceof AbortSignal)
    assert.equal(signal.aborted, false)
    signal.addEventListener('abort', aborted)
    return new Promise(() => {})
  })
  void swansong.shutDown()
  assert.equal(aborted.mock.callCount(), 1)
  assert.equal(await called, undefined)
})

test('[swansong 4.3] a function is not called when the stop has begun', async () => {
  const swansong = new Swansong()
  void swansong.shutDown()
  const work = mock.fn(async () => 'done')
  assert.equal(await swansong.interrupt(work), undefined)
  assert.equal(await swansong.interrupt(work, { guard: true }), undefined)
  assert.equal(work.mock.callCount(), 0)
})

test('[swansong 4.3] a function that throws at once rejects', async () => {
  const error = new Error('boom')
  const work = (): Promise<void> => {
    throw error
  }
  for (const guard of [false, true]) {
    const swansong = new Swansong()
    await assert.rejects(swansong.interrupt(work, { guard }), error)
    assert.equal(swansong.guardCount, 0)
  }
})

test('[swansong 4.3] a function that stops the swansong is undefined', async () => {
  const swansong = new Swansong()
  const called = swansong.interrupt(async () => {
    void swansong.shutDown()
    return 'value'
  })
  assert.equal(await called, undefined)
})

// ----------------------------------------------------------------------------------- streams

test('[swansong 4.4] the stop ends a stream, even while an item is awaited, for ever', async () => {
  const swansong = new Swansong()
  const stream = swansong.interrupt(stuck(() => {}))
  const [first, second] = [stream.next(), stream.next()]
  void swansong.shutDown()
  assert.deepEqual([await first, await second, await stream.next()], [done, done, done])
})

test('[swansong 4.4] a generator that is stuck in an await is left at once, by the stop and by return()', async () => {
  async function* generator(): AsyncGenerator<number> {
    yield 1
    await new Promise(() => {})
  }
  for (const isStop of [true, false]) {
    const swansong = new Swansong()
    const stream = swansong.interrupt(generator())
    await stream.next()
    const pending = stream.next()
    if (isStop) void swansong.shutDown()
    else assert.deepEqual(await stream.return?.(), done)
    assert.deepEqual(await pending, done)
  }
})

test('[swansong 4.4] an item that stops the swansong is the last one', async () => {
  const swansong = new Swansong()
  const seen: number[] = []
  for await (const item of swansong.interrupt(items(5))) {
    seen.push(item)
    if (item === 1) void swansong.shutDown()
  }
  assert.deepEqual(seen, [0, 1])
  assert.equal(swansong.state, 'complete')
})

test('[swansong 4.4] a source that stops the swansong while it opens, or answers, ends at once', async () => {
  for (const place of ['open', 'next'] as const) {
    const swansong = new Swansong()
    const close = mock.fn(async () => ({ done: true as const, value: undefined }))
    const stream = swansong.interrupt({
      [Symbol.asyncIterator]: () => {
        if (place === 'open') void swansong.shutDown()
        return {
          next: async () => {
            void swansong.shutDown()
            return { done: false as const, value: 1 }
          },
          return: close,
        }
      },
    })
    assert.deepEqual(await stream.next(), done)
    assert.equal(close.mock.callCount(), 1)
  }
})

test('[swansong 4.5] the source is closed once, by the stop or by the loop, without waiting for it', async () => {
  const swansong = new Swansong()
  const close = mock.fn(() => new Promise<never>(() => {}))
  const stream = swansong.interrupt(stuck(close))
  void stream.next()
  void swansong.shutDown()
  assert.equal(close.mock.callCount(), 1)
  assert.deepEqual(await stream.return?.(), done)
  assert.equal(close.mock.callCount(), 1)

  const left = mock.fn()
  const running = new Swansong()
  async function* generator(): AsyncGenerator<number> {
    try {
      for (let at = 0; ; at++) yield at
    } finally {
      left()
    }
  }
  for await (const item of running.interrupt(generator())) if (item === 2) break
  void running.shutDown()
  assert.equal(left.mock.callCount(), 1)
})

test('[swansong 4.5] an item, an end or an error after the stop changes nothing and is never unhandled', async (t) => {
  const unhandled = mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  for (const late of [
    () => Promise.resolve({ done: false as const, value: 1 }),
    () => Promise.resolve({ done: true as const, value: 2 }),
    () => Promise.reject(new Error('late')),
  ]) {
    const swansong = new Swansong()
    const answer = deferred<IteratorResult<number>>()
    const close = mock.fn(() => Promise.reject(new Error('late, too')))
    const stream = swansong.interrupt<number>({
      [Symbol.asyncIterator]: () => ({ next: () => answer.promise, return: close }),
    })
    const next = stream.next()
    void swansong.shutDown()
    late().then(answer.resolve, answer.reject)
    assert.deepEqual(await next, done)
    assert.deepEqual(await stream.next(), done)
    assert.equal(close.mock.callCount(), 1)
    await settled()
  }
  assert.equal(unhandled.mock.callCount(), 0)
})

test('[swansong 4.5] a source that was not opened is let go when its stream is closed', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const node = Readable.from(['a'])
  const web = swansong.interrupt(new ReadableStream({ cancel }))
  assert.deepEqual(await swansong.interrupt(node).return?.(), done)
  await web.cancel()
  assert.deepEqual([node.destroyed, cancel.mock.callCount()], [true, 1])
})

// --------------------------------------------------------------------------------- iterables

test('[swansong 4.6] an iterable passes its items until the stop, and closes its source', () => {
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

test('[swansong 4.6] an iterable that has ended by the stop stays ended', () => {
  const swansong = new Swansong()
  const iterator = swansong.interrupt([1, 2, 3])
  assert.deepEqual(iterator.next(), { done: false, value: 1 })
  void swansong.shutDown()
  assert.deepEqual([iterator.next(), iterator.next()], [done, done])
})

test('[swansong 4.6] a stop within the next() of an iterable is seen after its item', () => {
  const swansong = new Swansong()
  function* generator(): Generator<number> {
    void swansong.shutDown()
    yield 1
    yield 2
  }
  assert.deepEqual([...swansong.interrupt(generator())], [1])
})

// ------------------------------------------------------------------------------ ReadableStream

test('[swansong 4.7] a ReadableStream passes its chunks and its end', async () => {
  const stream = new Swansong().interrupt(readable(['a', 'b']))
  assert.ok(stream instanceof ReadableStream)
  assert.deepEqual(await collect(stream), ['a', 'b'])
})

test('[swansong 4.7] a ReadableStream ends cleanly while a read waits, and its source is cancelled', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const reader = swansong.interrupt(new ReadableStream<string>({ cancel })).getReader()
  const read = reader.read()
  await settled()
  void swansong.shutDown()
  assert.deepEqual(await read, done)
  assert.equal(cancel.mock.callCount(), 1)
  await reader.closed
})

test('[swansong 4.7] a ReadableStream between two reads ends with the next, its source at once', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const pull = (controller: ReadableStreamDefaultController<string>): void => {
    controller.enqueue('chunk')
  }
  const reader = swansong.interrupt(new ReadableStream<string>({ pull, cancel })).getReader()
  assert.deepEqual(await reader.read(), { done: false, value: 'chunk' })
  void swansong.shutDown()
  assert.equal(cancel.mock.callCount(), 1)
  assert.deepEqual(await reader.read(), done)
})

test('[swansong 4.7] a ReadableStream asks its source for no more than is asked of it', async () => {
  const pull = mock.fn((controller: ReadableStreamDefaultController<string>) => {
    controller.enqueue('chunk')
  })
  const source = new ReadableStream<string>({ pull }, { highWaterMark: 0 })
  const reader = new Swansong().interrupt(source).getReader()
  await settled()
  assert.equal(pull.mock.callCount(), 0)
  await reader.read()
  await settled()
  assert.equal(pull.mock.callCount(), 1)
})

test('[swansong 4.7] a reader that cancels, also while it reads, cancels the source once', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const reader = swansong.interrupt(new ReadableStream<string>({ cancel })).getReader()
  const read = reader.read()
  await settled()
  await reader.cancel()
  assert.deepEqual(await read, done)
  void swansong.shutDown()
  assert.equal(cancel.mock.callCount(), 1)
})

test('[swansong 4.7] a source that fails while it is cancelled is nobody’s concern', async (t) => {
  const unhandled = mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  const swansong = new Swansong()
  const cancel = (): Promise<void> => Promise.reject(new Error('boom'))
  const reader = swansong.interrupt(new ReadableStream<string>({ cancel })).getReader()
  const read = reader.read()
  await settled()
  void swansong.shutDown()
  assert.deepEqual(await read, done)
  await settled()
  assert.equal(unhandled.mock.callCount(), 0)
})

// ------------------------------------------------------------------------------- Node streams

test('[swansong 4.8] a Node stream is destroyed, also while a read waits', async () => {
  const swansong = new Swansong()
  const source = new Readable({ read() {} })
  const closed = deferred<void>()
  source.on('close', () => closed.resolve())
  const next = swansong.interrupt<string>(source).next()
  void swansong.shutDown()
  assert.deepEqual(await next, done)
  await closed.promise
  assert.equal(source.destroyed, true)
})

// -------------------------------------------------------------------- what ends by itself, and fails

test('[swansong 4.9] a promise has its value, or its error, when no stop comes', async () => {
  const swansong = new Swansong()
  const error = new Error('boom')
  assert.equal(await swansong.interrupt(Promise.resolve(1)), 1)
  assert.equal(await swansong.interrupt(async () => 2), 2)
  await assert.rejects(swansong.interrupt(Promise.reject(error)), error)
  await assert.rejects(
    swansong.interrupt(async () => Promise.reject(error)),
    error,
  )
  const thenable = { then: (resolve: (value: number) => void) => resolve(3) }
  assert.equal(await swansong.interrupt(thenable as PromiseLike<number>), 3)
})

test('[swansong 4.9] a stream passes its items, its end and its error', async () => {
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

test('[swansong 4.9] a stream is over for ever after its end or its error', async () => {
  const swansong = new Swansong()
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

test('[swansong 4.9] several calls of next() at a time are answered in order', async () => {
  const stream = new Swansong().interrupt(items(2))
  const results = await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()])
  assert.deepEqual(results, [{ done: false, value: 0 }, { done: false, value: 1 }, done, done])
})

test('[swansong 4.9] when one of several calls of next() fails the others end', async () => {
  const answers = [deferred<IteratorResult<number>>(), deferred<IteratorResult<number>>()]
  let asked = 0
  const stream = new Swansong().interrupt<number>({
    [Symbol.asyncIterator]: () => ({ next: () => answers[asked++]!.promise }),
  })
  const [first, second] = [stream.next(), stream.next()]
  answers[0]!.reject(new Error('boom'))
  await assert.rejects(first, /boom/)
  assert.deepEqual(await second, done)
})

test('[swansong 4.9] a source that fails at once, instead of with a promise, rejects and is forgotten', async () => {
  const error = new Error('boom')
  const close = mock.fn()
  const fail = (): never => {
    throw error
  }
  for (const source of [
    { [Symbol.asyncIterator]: () => ({ next: fail, return: close }) },
    { [Symbol.asyncIterator]: fail },
  ] as unknown as AsyncIterable<number>[]) {
    const swansong = new CountingSwansong()
    const stream = swansong.interrupt(source)
    await assert.rejects(stream.next(), error)
    assert.deepEqual(await stream.next(), done)
    assert.equal(swansong.registered, 0)
    void swansong.shutDown()
    assert.equal(close.mock.callCount(), 0)
  }
})

test('[swansong 4.9] an errored or locked ReadableStream gives a stream that fails', async () => {
  const swansong = new Swansong()
  const error = new Error('boom')
  const errored = new ReadableStream<string>({ start: (controller) => controller.error(error) })
  await assert.rejects(swansong.interrupt(errored).getReader().read(), error)
  const locked = new ReadableStream<string>()
  locked.getReader()
  await assert.rejects(swansong.interrupt(locked).getReader().read(), TypeError)
  await assert.rejects(swansong.interrupt(locked, { guard: true }).getReader().read(), TypeError)
  assert.equal(swansong.guardCount, 0)
})

test('[swansong 4.9] an iterator that answers without a promise is interrupted as well', async () => {
  const inner = [1, 2][Symbol.iterator]()
  const source = { [Symbol.asyncIterator]: () => inner } as unknown as AsyncIterable<number>
  assert.deepEqual(await collect(new Swansong().interrupt(source)), [1, 2])
})

test('[swansong 4.9] return() after the end of a stream does not close its source', async () => {
  const close = mock.fn()
  const source = { next: async () => ({ done: true as const, value: undefined }), return: close }
  const stream = new Swansong().interrupt({
    [Symbol.asyncIterator]: () => source as unknown as AsyncIterator<number>,
  })
  await stream.next()
  assert.deepEqual(await stream.return?.(), done)
  assert.equal(close.mock.callCount(), 0)
})

test('[swansong 4.9] what is over leaves nothing behind', async () => {
  const swansong = new CountingSwansong()
  await collect(swansong.interrupt(items(3)))
  await collect(swansong.interrupt(readable(['a'])))
  await swansong.interrupt(Promise.resolve(1))
  await swansong.interrupt(async () => 1)
  await assert.rejects(swansong.interrupt(Promise.reject(new Error('boom'))))
  const then = (): never => {
    throw new Error('boom')
  }
  await assert.rejects(swansong.interrupt({ then } as unknown as PromiseLike<void>))
  for await (const item of swansong.interrupt(items(3))) if (item === 1) break
  const failing = swansong.interrupt({
    [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(new Error('boom')) }),
  })
  await assert.rejects(failing.next())
  assert.equal(swansong.mostRegistered, 1)
  assert.equal(swansong.registered, 0)
  assert.equal(getEventListeners(swansong.signal, 'abort').length, 0)
})

// -------------------------------------------------------------------------------------- guards

test('[swansong 4.10] an interrupt is no guard: completion does not wait for it', async () => {
  const swansong = new Swansong()
  const stream = swansong.interrupt(stuck(() => {}))
  void stream.next()
  void swansong.interrupt(new Promise(() => {}))
  assert.equal(swansong.guardCount, 0)
  await swansong.shutDown()
  assert.equal(swansong.state, 'complete')
})

test('[swansong 4.10] with a guard a promise delays completion until it is settled or interrupted', async () => {
  const swansong = new Swansong()
  const options = { guard: true }
  assert.equal(await swansong.interrupt(Promise.resolve(1), options), 1)
  await assert.rejects(swansong.interrupt(Promise.reject(new Error('boom')), options), /boom/)
  assert.equal(swansong.guardCount, 0)
  const pending = swansong.interrupt(new Promise(() => {}), options)
  assert.equal(swansong.guardCount, 1)
  const stopped = swansong.shutDown()
  assert.equal(swansong.state, 'shutting-down')
  assert.equal(await pending, undefined)
  await stopped
})

test('[swansong 4.10] with a guard a function is called within it', async () => {
  const swansong = new Swansong()
  const counts: number[] = []
  const work = swansong.interrupt(
    async () => {
      counts.push(swansong.guardCount)
      return 'value'
    },
    { guard: true },
  )
  assert.equal(await work, 'value')
  assert.deepEqual([...counts, swansong.guardCount], [1, 0])
})

test('[swansong 4.10] with a guard a stream delays completion until its reader knows of the end', async () => {
  const swansong = new Swansong()
  const options = { guard: true }
  const stream = swansong.interrupt(items(9), options)
  const web = swansong.interrupt(readable([1, 2]), options).getReader()
  assert.equal(swansong.guardCount, 2)
  assert.deepEqual(await stream.next(), { done: false, value: 0 })
  assert.deepEqual(await web.read(), { done: false, value: 1 })
  const stopped = watch(swansong.shutDown())
  await settled()
  assert.deepEqual([swansong.guardCount, stopped.isDone], [2, false])
  assert.deepEqual([await stream.next(), await web.read()], [done, done])
  await settled()
  assert.deepEqual([swansong.guardCount, stopped.isDone], [0, true])
})

test('[swansong 4.10] with a guard a stream that is closed unread holds nothing and cancels its source', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const options = { guard: true }
  await swansong.interrupt(new ReadableStream({ cancel }), options).cancel()
  assert.deepEqual([swansong.guardCount, cancel.mock.callCount()], [0, 1])
})

test('[swansong 4.10] tasks over guarded endless streams all reach what comes after their loops', async () => {
  const swansong = new Swansong()
  let finished = 0
  const started = Array.from({ length: 10 }, () => deferred<void>())
  for (const { resolve } of started) {
    void swansong.guarded(async () => {
      for await (const item of swansong.interrupt(items(Infinity), { guard: true })) {
        if (item === 3) resolve()
        await settled()
      }
      finished++
    })
  }
  await Promise.all(started.map(({ promise }) => promise))
  await swansong.shutDown()
  assert.equal(finished, 10)
})

// --------------------------------------------------------------------------- what nobody reads

test('[swansong 4.11] a wrapper that nobody reads leaves nothing in the swansong', () => {
  const swansong = new CountingSwansong()
  const open = mock.fn(() => items(1))
  swansong.interrupt({ [Symbol.asyncIterator]: open })
  swansong.interrupt(new ReadableStream())
  swansong.interrupt([1, 2])
  assert.deepEqual([swansong.mostRegistered, open.mock.callCount()], [0, 0])
})

test('[swansong 4.11] a stream that is first read after the stop is not opened', async () => {
  const swansong = new Swansong()
  const open = mock.fn(() => items(1))
  const before = swansong.interrupt({ [Symbol.asyncIterator]: open })
  void swansong.shutDown()
  const after = swansong.interrupt({ [Symbol.asyncIterator]: open })
  assert.deepEqual([await before.next(), await after.next()], [done, done])
  assert.equal(open.mock.callCount(), 0)
})

test('[swansong 4.11] a stream that is first read after the stop is let go, unopened', async () => {
  const swansong = new Swansong()
  const cancel = mock.fn()
  const before = swansong.interrupt(new ReadableStream<string>({ cancel }))
  void swansong.shutDown()
  const node = Readable.from(['a'])
  const after = swansong.interrupt(new ReadableStream<string>({ cancel }))
  assert.deepEqual(await before.getReader().read(), done)
  assert.deepEqual(await after.getReader().read(), done)
  assert.deepEqual(await swansong.interrupt(node).next(), done)
  assert.deepEqual([cancel.mock.callCount(), node.destroyed], [2, true])
  const locked = new ReadableStream<string>()
  locked.getReader()
  assert.deepEqual(await swansong.interrupt(locked).getReader().read(), done)
})

test('what cannot be interrupted is refused', () => {
  const swansong = new Swansong()
  for (const source of [undefined, null, 1, 'text', {}]) {
    assert.throws(() => swansong.interrupt(source as unknown as Promise<void>), {
      name: 'TypeError',
      message:
        /^Cannot interrupt .*: expected a promise, a function of an AbortSignal, a stream or an iterable object$/,
    })
  }
})

class CountingSwansong extends Swansong {
  registered = 0
  mostRegistered = 0

  override onStop(callback: (reason: StopReason) => void): Disposable {
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

test('[swansong 4.5] leaving a loop while all is running waits for the source to close, and passes on its error', async () => {
  const swansong = new Swansong()
  const steps: string[] = []
  const error = new Error('cannot close')
  async function* source(fails: boolean): AsyncGenerator<number> {
    try {
      yield 1
    } finally {
      await Promise.resolve()
      steps.push('closed')
      if (fails) await Promise.reject(error)
    }
  }
  for await (const n of swansong.interrupt(source(false))) {
    steps.push(`item ${n}`)
    break
  }
  assert.deepEqual(steps, ['item 1', 'closed'])
  await assert.rejects(async () => {
    for await (const n of swansong.interrupt(source(true))) if (n === 1) break
  }, error)
})

test('[swansong 4.3] work that is done leaves no listener, however much there was', async () => {
  const swansong = new Swansong()
  const warnings: Error[] = []
  const note = (warning: Error): void => void warnings.push(warning)
  process.on('warning', note)
  try {
    const works = Array.from({ length: 30 }, () =>
      swansong.interrupt((signal) => {
        signal.addEventListener('abort', () => {})
        return new Promise<void>((resolve) => setImmediate(resolve))
      }),
    )
    await Promise.all(works)
    await new Promise(setImmediate)
    assert.deepEqual(warnings, [])
  } finally {
    process.off('warning', note)
  }
})
