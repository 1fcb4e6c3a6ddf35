/** A stream that delays completion until it is over. */

import { closeIterator, discardSource, iteratorOf } from '../iterator-of.ts'
import type { AnyIterator } from '../iterator-of.ts'
import type { Guard } from './guard.ts'

/** An async iterator that releases its guard when it ends, fails or is closed. */
export class GuardedIterator<T> implements AsyncIterableIterator<T> {
  readonly #source: AsyncIterable<T>
  readonly #guard: Guard
  #iterator: AnyIterator<T> | undefined

  constructor(source: AsyncIterable<T>, guard: Guard) {
    this.#source = source
    this.#guard = guard
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#guard.isReleased) return { done: true, value: undefined }
    try {
      this.#iterator ??= iteratorOf(this.#source)
      const result = await this.#iterator.next()
      if (result.done !== true) return result
    } catch (error) {
      this.#guard.release()
      throw error
    }
    this.#guard.release()
    return { done: true, value: undefined }
  }

  return(): Promise<IteratorResult<T, undefined>> {
    if (!this.#guard.isReleased) {
      this.#guard.release()
      if (this.#iterator === undefined) discardSource(this.#source)
      else closeIterator(this.#iterator)
    }
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
