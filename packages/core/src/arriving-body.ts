/** A request body that comes in parts, and breaks off when its client leaves. */

import { closeIterator, discardSource, iteratorOf } from './iterator-of.ts'
import type { AnyIterator, IterableSource } from './iterator-of.ts'

export class ArrivingBody {
  /** Not opened yet, or being read; neither when it is over. */
  #parts: IterableSource<Uint8Array> | undefined
  #iterator: AnyIterator<Uint8Array> | undefined
  #hasLeft = false
  /** Ends the wait for the next part. */
  #breakOff: (error: unknown) => void = () => {}

  constructor(parts: IterableSource<Uint8Array> | undefined) {
    this.#parts = parts
  }

  /** The parts as they come. Who stops reading lets go of the rest.
   * @throws What the source throws, and an error with the code `ECONNRESET` when the client leaves. */
  async *read(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      if (this.#parts !== undefined) {
        this.#iterator = iteratorOf(this.#parts)
        this.#parts = undefined
      }
      for (;;) {
        if (this.#hasLeft) throw brokenOff()
        if (this.#iterator === undefined) return
        const step = await this.#next(this.#iterator)
        if (step.done !== true) yield step.value
        else this.#iterator = undefined // it has closed itself
      }
    } finally {
      this.#close()
    }
  }

  /** The client leaves. */
  leave(): void {
    this.#hasLeft = true
    this.#breakOff(brokenOff())
    this.#close()
  }

  #next(iterator: AnyIterator<Uint8Array>): Promise<IteratorResult<Uint8Array, unknown>> {
    return new Promise((resolve, reject) => {
      this.#breakOff = reject
      Promise.resolve(iterator.next()).then(resolve, reject)
    })
  }

  #close(): void {
    discardSource(this.#parts)
    closeIterator(this.#iterator)
    this.#parts = undefined
    this.#iterator = undefined
  }
}

/** What node says of a request that breaks off. */
function brokenOff(): Error {
  return Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
}
