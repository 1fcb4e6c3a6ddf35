import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { mock, test } from 'node:test'

import { Chunk, encodeText } from './body.ts'
import type { BodySink } from './body.ts'
import { discardBody, PullSource, toBodySource } from './pull-source.ts'
import type { Pullable } from './pull-source.ts'

test('items are written in order, and the end after the last', async () => {
  for (const make of [
    () => ['a', 'b', 'c'],
    () => new Set(['a', 'b', 'c']),
    () => asyncItems('a', 'b', 'c'),
    () => streamOf('a', 'b', 'c'),
    () => Readable.from(['a', 'b', 'c']) as AsyncIterable<string>,
  ]) {
    for (const source of [make(), () => make()]) {
      const sink = new TestSink()
      pull<string>(source as Pullable<string>).start(sink)
      await sink.over
      assert.deepEqual(sink.log, ['a', 'b', 'c', 'end'])
    }
  }
})

test('items that are at hand are written without a promise', () => {
  const sink = new TestSink()
  pull(['a', 'b']).start(sink)
  assert.deepEqual(sink.log, ['a', 'b', 'end'])
})

test('the next item is asked for only when there is room', async () => {
  for (const isAsync of [false, true]) {
    const source = new CountingItems(['a', 'b', 'c'], isAsync)
    const sink = new TestSink({ hasRoom: false })
    const body = pull(source)
    body.start(sink)
    for (const [asked, log] of [
      [1, ['a']],
      [2, ['a', 'b']],
      [3, ['a', 'b', 'c']],
      [4, ['a', 'b', 'c', 'end']],
    ] as const) {
      await settled()
      assert.equal(source.asked, asked)
      assert.deepEqual(sink.log, log)
      body.drained()
    }
  }
})

test('the prelude is written before the source is asked for anything', () => {
  const source = new CountingItems(['a'], false)
  const sink = new TestSink({ hasRoom: false })
  const body = new PullSource(source, encodeText, { prelude: new Chunk(encodeText('prelude')) })
  body.start(sink)
  assert.deepEqual(sink.log, ['prelude'])
  assert.equal(source.asked, 0)
  body.drained()
  body.drained()
  assert.deepEqual(sink.log, ['prelude', 'a', 'end'])
})

test('a function is called when the body starts, and not before', () => {
  const open = mock.fn(() => ['a'])
  const body = new PullSource(open, encodeText)
  assert.equal(open.mock.callCount(), 0)
  body.start(new TestSink())
  assert.equal(open.mock.callCount(), 1)
})

test('an error of the source cuts the body', async () => {
  const error = new Error('boom')
  const failing: Pullable<string>[] = [
    (function* () {
      yield 'a'
      throw error
    })(),
    (async function* () {
      yield 'a'
      throw error
    })(),
    (async function* () {
      yield 'a'
      await Promise.reject(error)
    })(),
    new ReadableStream<string>(
      { start: (it) => it.enqueue('a'), pull: (it) => it.error(error) },
      { highWaterMark: 0 },
    ),
    Readable.from(
      (async function* () {
        yield 'a'
        throw error
      })(),
    ),
  ]
  for (const source of failing) {
    const sink = new TestSink()
    pull(source).start(sink)
    await sink.over
    assert.equal(sink.log.at(-1), error)
    assert.equal(sink.log.length, 2)
  }
})

test('an error of opening or encoding cuts the body, and the source is closed', async () => {
  const error = new Error('boom')
  const sink = new TestSink()
  pull<string>(() => {
    throw error
  }).start(sink)
  assert.deepEqual(sink.log, [error])

  const close = mock.fn()
  const encoding = new TestSink()
  const body = new PullSource(closable(['a', 'b'], close), () => {
    throw error
  })
  body.start(encoding)
  assert.deepEqual(encoding.log, [error])
  assert.equal(close.mock.callCount(), 1)
  body.closed()
  assert.equal(close.mock.callCount(), 1)
})

test('what is no source at all cuts the body', () => {
  for (const [source, what] of [
    [undefined, 'undefined'],
    ['text', '"text"'],
    [{}, 'a plain object'],
    [1, '1'],
  ] as const) {
    const sink = new TestSink()
    pull(source as unknown as string[]).start(sink)
    assert.equal(
      String(sink.log[0]),
      `TypeError: Cannot stream ${what}: expected an iterable, an async iterable or a ReadableStream`,
    )
    const called = new TestSink()
    pull((() => source) as unknown as () => string[]).start(called)
    assert.equal(String(called.log[0]), String(sink.log[0]))
  }
})

test('a stream that is locked cuts the body', () => {
  const stream = new ReadableStream<string>()
  stream.getReader()
  const sink = new TestSink()
  pull(stream).start(sink)
  assert.ok(sink.log[0] instanceof TypeError)
})

// ------------------------------------------------------------------------------- letting go

test('closed() asks an iterator to close exactly once, and does not wait for it', () => {
  for (const returned of [undefined, new Promise(() => {}), Promise.reject(new Error('late'))]) {
    const close = mock.fn(() => returned)
    const body = pull(stuck(close))
    body.start(new TestSink())
    body.closed()
    body.closed()
    body.stop()
    body.drained()
    assert.equal(close.mock.callCount(), 1)
  }
})

test('a return() that throws is ignored', () => {
  const close = mock.fn(() => {
    throw new Error('boom')
  })
  const body = pull(stuck(close))
  body.start(new TestSink())
  body.closed()
  assert.equal(close.mock.callCount(), 1)
})

test('an iterator without return() can be let go', () => {
  const sink = new TestSink()
  const body = pull<string>({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }),
  })
  body.start(sink)
  body.closed()
  body.drained()
  assert.deepEqual(sink.log, [])
})

test('a source that has ended by itself is not closed again', async () => {
  const close = mock.fn()
  for (const source of [closable(['a'], close), new CountingItems(['a'], true, close)]) {
    const sink = new TestSink()
    const body = pull<string>(source)
    body.start(sink)
    await sink.over
    body.closed()
    assert.deepEqual(sink.log, ['a', 'end'])
  }
  assert.equal(close.mock.callCount(), 0)
})

test('a generator that is stuck in an await is let go at once, and runs its finally when it wakes', async () => {
  let wake!: () => void
  const woken = new Promise<void>((resolve) => {
    wake = resolve
  })
  const cleanUp = mock.fn()
  async function* items(): AsyncGenerator<string> {
    try {
      yield 'a'
      await woken
      yield 'b'
    } finally {
      cleanUp()
    }
  }
  const sink = new TestSink()
  const body = pull(items())
  body.start(sink)
  await settled()
  body.closed()
  assert.equal(cleanUp.mock.callCount(), 0)
  wake()
  await settled()
  assert.equal(cleanUp.mock.callCount(), 1)
  assert.deepEqual(sink.log, ['a'])
})

test('what arrives, ends or fails after closed() is dropped', async () => {
  for (const late of [
    () => Promise.resolve({ done: false as const, value: 'late' }),
    () => Promise.resolve({ done: true as const, value: undefined }),
    () => Promise.reject(new Error('late')),
  ]) {
    const sink = new TestSink()
    let answer!: (result: Promise<IteratorResult<string>>) => void
    const pending = new Promise<IteratorResult<string>>((resolve) => {
      answer = resolve
    })
    const body = pull<string>({ [Symbol.asyncIterator]: () => ({ next: () => pending }) })
    body.start(sink)
    body.closed()
    answer(late())
    await settled()
    assert.deepEqual(sink.log, [])
  }
})

test('the signal of a function aborts when its items are no longer wanted', async () => {
  for (const letGo of ['closed', 'stop', 'end', 'error'] as const) {
    const signals: AbortSignal[] = []
    const sink = new TestSink()
    const body = new PullSource<string>(
      (given) => {
        signals.push(given)
        assert.equal(given.aborted, false)
        if (letGo === 'end') return []
        if (letGo === 'error') return failingItems()
        return stuck(() => undefined)
      },
      encodeText,
      { isEndless: true },
    )
    assert.equal(signals.length, 0)
    body.start(sink)
    if (letGo === 'closed') body.closed()
    if (letGo === 'stop') body.stop()
    await settled()
    assert.equal(signals.length, 1)
    assert.equal(signals[0]?.aborted, true)
    assert.equal(sink.log.length, letGo === 'closed' ? 0 : 1)
  }
})

test('a ReadableStream is cancelled, also while a read waits', async () => {
  const cancel = mock.fn()
  const body = pull(new ReadableStream<string>({ cancel }))
  const sink = new TestSink()
  body.start(sink)
  await settled()
  body.closed()
  await settled()
  assert.equal(cancel.mock.callCount(), 1)
  assert.deepEqual(sink.log, [])
})

test('a ReadableStream whose cancel() fails fails nothing else', async () => {
  const failure = Promise.reject(new Error('late'))
  const cancel = mock.fn(() => failure)
  const body = pull(new ReadableStream<string>({ cancel }))
  body.start(new TestSink())
  body.closed()
  pull(new ReadableStream<string>({ cancel })).closed()
  await settled()
  assert.equal(cancel.mock.callCount(), 2)
})

test('a node Readable is destroyed, also while a read waits', async () => {
  const readable = new Readable({ read() {} })
  const body = pull<string>(readable)
  const sink = new TestSink()
  body.start(sink)
  await settled()
  body.closed()
  assert.equal(readable.destroyed, true)
  await settled()
  assert.deepEqual(sink.log, [])
})

test('closed() without start() lets go of the source and does not open it', async () => {
  const readable = new Readable({ read: () => assert.fail('not read') })
  pull<string>(readable).closed()
  assert.equal(readable.destroyed, true)

  const cancel = mock.fn()
  pull(
    new ReadableStream<string>(
      { pull: () => assert.fail('not pulled'), cancel },
      { highWaterMark: 0 },
    ),
  ).closed()
  assert.equal(cancel.mock.callCount(), 1)

  const generator = asyncItems('a')
  pull(generator).closed()
  assert.deepEqual(await generator.next(), { done: true, value: undefined })

  pull<string>(() => assert.fail('not called')).closed()

  const locked = new ReadableStream<string>({ cancel: () => assert.fail('somebody else reads it') })
  const reader = locked.getReader()
  pull(locked).closed()
  void reader.read()
  assert.equal(locked.locked, true)
})

test('discardBody() lets go of a stream and leaves bodies in memory alone', () => {
  const cancel = mock.fn()
  discardBody(undefined)
  discardBody('text')
  discardBody(new Uint8Array(1))
  discardBody(new ReadableStream<string>({ cancel }))
  const closed = mock.fn()
  discardBody({ start: () => assert.fail('not started'), drained() {}, stop() {}, closed })
  assert.equal(cancel.mock.callCount(), 1)
  assert.equal(closed.mock.callCount(), 1)
})

// ------------------------------------------------------------------------------------- stop

test('stop() ends an endless body at once and leaves a finite one to its own end', async () => {
  for (const isEndless of [true, false]) {
    const close = mock.fn()
    const sink = new TestSink()
    const body = new PullSource<string>(stuck(close), encodeText, { isEndless })
    assert.equal(body.isEndless, isEndless)
    body.start(sink)
    body.stop()
    body.stop()
    assert.deepEqual(sink.log, isEndless ? ['end'] : [])
    assert.equal(close.mock.callCount(), isEndless ? 1 : 0)
    body.closed()
    assert.equal(close.mock.callCount(), 1)
  }
})

test('an endless body that is stopped before it starts ends when it starts, unopened', () => {
  const sink = new TestSink()
  const body = new PullSource<string>(() => assert.fail('not opened'), encodeText, {
    isEndless: true,
    prelude: new Chunk(encodeText('x')),
  })
  body.stop()
  body.start(sink)
  assert.deepEqual(sink.log, ['end'])
})

test('stop() from within write() ends an endless body after that item', () => {
  const sink = new TestSink({ onWrite: () => body.stop() })
  const body = new PullSource(['a', 'b'], encodeText, { isEndless: true })
  body.start(sink)
  assert.deepEqual(sink.log, ['a', 'end'])
})

test('100,000 items make no deep stack, sync or async', async () => {
  const many: string[] = Array(100_000).fill('x')
  for (const source of [many, asyncItems(...many)]) {
    let written = 0
    await new Promise<void>((resolve, reject) => {
      pull<string>(source).start({
        write: () => ++written > 0,
        end: resolve,
        abort: reject,
        cut: reject,
      })
    })
    assert.equal(written, 100_000)
  }
})

test('toBodySource() leaves a source as it is', () => {
  const source = { start() {}, drained() {}, stop() {}, closed() {} }
  assert.equal(toBodySource(source), source)
  assert.ok(toBodySource(asyncItems('a')) instanceof PullSource)
})

/** Keeps what is written: text for bytes, 'end', or the error. */
class TestSink implements BodySink {
  readonly log: unknown[] = []
  readonly over: Promise<void>
  #settle!: () => void
  readonly #hasRoom: boolean
  readonly #onWrite: () => void

  constructor({
    hasRoom = true,
    onWrite = () => {},
  }: { hasRoom?: boolean; onWrite?: () => void } = {}) {
    this.#hasRoom = hasRoom
    this.#onWrite = onWrite
    this.over = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  write(chunk: Chunk | Uint8Array): boolean {
    this.log.push(new TextDecoder().decode(chunk instanceof Uint8Array ? chunk : chunk.bytes))
    this.#onWrite()
    return this.#hasRoom
  }

  end(): void {
    this.log.push('end')
    this.#settle()
  }

  abort(error: unknown): void {
    this.log.push(error)
    this.#settle()
  }

  cut(): void {
    assert.fail('a pulled body has an error where it is cut')
  }
}

/** Items that count how often, and how often at once, they are asked for. */
class CountingItems implements AsyncIterable<string> {
  asked = 0
  mostAtOnce = 0
  readonly #items: string[]
  readonly #isAsync: boolean
  readonly #onReturn: () => void

  constructor(items: string[], isAsync: boolean, onReturn: () => void = () => {}) {
    this.#items = [...items]
    this.#isAsync = isAsync
    this.#onReturn = onReturn
  }

  [Symbol.asyncIterator](): AsyncIterator<string, undefined> {
    let waiting = 0
    const step = (): IteratorResult<string, undefined> => {
      const value = this.#items.shift()
      return value === undefined ? { done: true, value } : { done: false, value }
    }
    const next = (): unknown => {
      this.asked++
      this.mostAtOnce = Math.max(this.mostAtOnce, ++waiting)
      if (this.#isAsync) return Promise.resolve().then(() => (waiting--, step()))
      waiting--
      return step()
    }
    return {
      next: next as () => Promise<IteratorResult<string, undefined>>,
      return: async () => (this.#onReturn(), { done: true, value: undefined }),
    }
  }
}

function pull<T extends string>(source: Pullable<T>): PullSource<T> {
  return new PullSource(source, encodeText)
}

async function* asyncItems(...items: string[]): AsyncGenerator<string> {
  yield* items
}

function streamOf(...items: string[]): ReadableStream<string> {
  return new ReadableStream({
    start(controller) {
      for (const item of items) controller.enqueue(item)
      controller.close()
    },
  })
}

function failingItems(): Iterable<string> {
  return {
    [Symbol.iterator]: () => ({
      next() {
        throw new Error('boom')
      },
    }),
  }
}

/** Synchronous items with a return() that is told of. */
function closable(items: string[], onReturn: () => void): Iterable<string> {
  return {
    [Symbol.iterator]() {
      const inner = items[Symbol.iterator]()
      return {
        next: () => inner.next(),
        return: () => (onReturn(), { done: true, value: undefined }),
      }
    },
  }
}

/** An async iterable that never gives an item. */
function stuck(onReturn: () => unknown): AsyncIterable<string> {
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: onReturn as () => Promise<IteratorResult<string>>,
    }),
  }
}

/** Lets everything run that is ready to. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
}

test('a generator that is stopped from within next() writes no more, and is closed', () => {
  let closed = 0
  const sink = new TestSink()
  let stop = (): void => {}
  const body = new PullSource<string>(
    (function* () {
      try {
        yield 'a'
        stop()
        yield 'b'
      } finally {
        closed++
      }
    })(),
    encodeText,
    { isEndless: true },
  )
  stop = () => body.stop()
  body.start(sink)
  assert.deepEqual(sink.log, ['a', 'end'])
  assert.equal(closed, 1)
})
