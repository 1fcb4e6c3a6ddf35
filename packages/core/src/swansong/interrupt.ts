/** Streams that end when a swansong stops. */

import { closeIterator, discardSource, iteratorOf } from '../iterator-of.ts'
import type { AnyIterator } from '../iterator-of.ts'
import type { Swansong } from '../swansong.ts'

type Resolve<T> = (result: IteratorResult<T, undefined>) => void

/** An async iterator that is done as soon as the stop begins, whatever its source is waiting for. */
export class InterruptedIterator<T> implements AsyncIterableIterator<T> {
  readonly #swansong: Swansong
  readonly #source: AsyncIterable<T>
  #iterator: AnyIterator<T> | undefined
  #registration: Disposable | undefined
  #waiting: Resolve<T>[] = []
  #isDone = false

  constructor(swansong: Swansong, source: AsyncIterable<T>) {
    this.#swansong = swansong
    this.#source = source
  }

  next(): Promise<IteratorResult<T, undefined>> {
    try {
      if (this.#iterator === undefined && !this.#isDone) this.#open()
    } catch (error) {
      this.#isDone = true
      return Promise.reject(error as Error)
    }
    if (this.#isDone) return Promise.resolve({ done: true, value: undefined })
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve)
      this.#ask().then(
        (result) => this.#deliver(resolve, result),
        (error: unknown) => {
          // Before #end, which answers all that wait. After the stop this one was answered, and the
          // error is moot.
          reject(error as Error)
          this.#end()
        },
      )
    })
  }

  /** Closes the source, and waits for that as `for await` does; but not where it is waiting itself. */
  async return(): Promise<IteratorResult<T, undefined>> {
    const isIdle = this.#waiting.length === 0
    if (this.#isDone || this.#iterator === undefined || !isIdle) {
      this.#cancel()
    } else {
      this.#end()
      await this.#iterator.return?.()
    }
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #open(): void {
    if (this.#swansong.state !== 'running') {
      this.#isDone = true
      discardSource(this.#source)
      return
    }
    this.#iterator = iteratorOf(this.#source)
    // Registers only now: a wrapper that nobody reads leaves no trace in the swansong.
    this.#registration = this.#swansong.onStop(() => this.#cancel())
  }

  /** The next result as a promise, as `for await` takes it: an iterator may also answer at once, or throw. */
  #ask(): Promise<IteratorResult<T, unknown>> {
    try {
      return Promise.resolve(this.#iterator!.next())
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #deliver(resolve: Resolve<T>, result: IteratorResult<T, unknown>): void {
    if (this.#isDone) return
    this.#waiting.splice(this.#waiting.indexOf(resolve), 1)
    if (result.done === true) {
      this.#end()
      resolve({ done: true, value: undefined })
    } else {
      resolve(result)
    }
  }

  #cancel(): void {
    if (this.#isDone) return
    this.#end()
    if (this.#iterator === undefined) discardSource(this.#source)
    else closeIterator(this.#iterator)
  }

  #end(): void {
    this.#isDone = true
    this.#registration?.[Symbol.dispose]()
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined })
  }
}

/** A sync iterator that is done once the stop has begun. */
export function* interruptedIterable<T>(
  swansong: Swansong,
  items: Iterable<T>,
): IterableIterator<T> {
  if (swansong.state !== 'running') return
  for (const item of items) {
    yield item
    if (swansong.state !== 'running') return
  }
}

/** Interrupted items as a web stream that asks for an item only when it is asked for one. */
export function interruptedReadable<T>(items: AsyncIterableIterator<T>): ReadableStream<T> {
  return new ReadableStream<T>(
    {
      async pull(controller) {
        const { done, value } = await items.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await items.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}
