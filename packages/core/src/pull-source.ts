/** A `BodySource` that pulls: from an iterable, a stream or a generator that takes a signal.
 *
 * It asks for the next item only when the last one was taken, and it lets go of its source at once
 * when the reader is gone, whatever the source is waiting for. */

import { encodeText, isBodySource } from './body.ts'
import type { Body, BodySink, BodySource, Chunk } from './body.ts'
import { callSafely } from './call-safely.ts'
import { describe } from './describe.ts'
import { isPromiseLike } from './is-promise-like.ts'
import { closeIterator, discardSource, iteratorOf } from './iterator-of.ts'
import type { AnyIterator, IterableSource } from './iterator-of.ts'

/** What items can be pulled from. A function is called once, when the body starts; its signal aborts
 * when the items are no longer wanted. */
export type Pullable<T> = IterableSource<T> | ((signal: AbortSignal) => IterableSource<T>)

/** How a pulled body begins and ends. */
export interface PullSourceOptions {
  /** Bytes to send first, before the source is asked for anything. */
  prelude?: Chunk
  /** Whether the body goes on until somebody stops it: it ends when the server stops. Default false: it
   * goes on to its own end. */
  isEndless?: boolean
}

type Step<T> = IteratorResult<T, unknown>

/** A body that pulls its items, and writes what `encode` makes of each. */
export class PullSource<T> implements BodySource {
  readonly isEndless: boolean
  readonly #source: Pullable<T>
  readonly #encode: (item: T) => Chunk | Uint8Array
  readonly #prelude: Chunk | undefined
  #sink: BodySink | undefined
  #iterator: AnyIterator<T> | undefined
  #controller: AbortController | undefined
  #isEnded = false

  /** @param encode Makes bytes of an item. What it throws cuts the body short, as an error of the source. */
  constructor(
    source: Pullable<T>,
    encode: (item: T) => Chunk | Uint8Array,
    options: PullSourceOptions = {},
  ) {
    this.#source = source
    this.#encode = encode
    this.#prelude = options.prelude
    this.isEndless = options.isEndless ?? false
  }

  start(sink: BodySink): void {
    if (this.#isEnded) return sink.end() // stopped before it began
    this.#sink = sink
    try {
      this.#iterator = this.#open()
    } catch (error) {
      this.#fail(error)
      return
    }
    if (this.#prelude === undefined || sink.write(this.#prelude)) this.#pull()
  }

  drained(): void {
    this.#pull()
  }

  stop(): void {
    if (!this.isEndless || this.#isEnded) return
    this.#finish()
  }

  closed(): void {
    this.#release()
  }

  #open(): AnyIterator<T> {
    if (typeof this.#source !== 'function') return iteratorOf(this.#source)
    this.#controller = new AbortController()
    return iteratorOf(this.#source(this.#controller.signal))
  }

  /** Takes items while they are at hand and there is room for them, beginning with `first`. */
  #pull(first?: Step<T>): void {
    try {
      if (first !== undefined && !this.#take(first)) return
      while (!this.#isEnded) {
        const iterator = this.#iterator!
        const next = iterator.next()
        // Stopped from within next(): a generator could not be closed while it ran.
        if (this.#isEnded) {
          if (isPromiseLike(next)) next.then(undefined, () => {}) // nobody waits for it any more
          return closeIterator(iterator)
        }
        if (isPromiseLike(next)) {
          next.then(this.#onStep as (step: unknown) => void, this.#onError)
          return
        }
        if (!this.#take(next)) return
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  // Two functions for the whole body rather than two for every item.
  readonly #onStep = (step: Step<T>): void => {
    if (!this.#isEnded) this.#pull(step)
  }

  readonly #onError = (error: unknown): void => {
    if (!this.#isEnded) this.#fail(error)
  }

  /** Writes one item. Returns whether another may follow at once. */
  #take(step: Step<T>): boolean {
    if (step.done === true) {
      this.#iterator = undefined // it has closed itself
      this.#finish()
      return false
    }
    return this.#sink!.write(this.#encode(step.value))
  }

  #finish(): void {
    this.#release()
    this.#sink?.end() // where it was not started, start() will end it
  }

  #fail(error: unknown): void {
    this.#release()
    this.#sink?.abort(error)
  }

  #release(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#controller?.abort()
    // Without a sink it was never started, and without an iterator it is closed or was refused.
    if (this.#sink === undefined) discardSource(this.#source)
    else closeIterator(this.#iterator)
    this.#iterator = undefined
  }
}

/** A streaming body as a source.
 * @param options For what is not one already. */
export function toBodySource(
  body: Exclude<Body, string | Uint8Array>,
  options?: PullSourceOptions,
): BodySource {
  return isBodySource(body)
    ? body
    : new PullSource<Uint8Array | string>(body, encodeBodyChunk, options)
}

/** Lets go of a body that will not be sent. */
export function discardBody(body: Body | undefined): void {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return
  const source = toBodySource(body)
  callSafely(() => source.closed('unsent'))
}

function encodeBodyChunk(chunk: Uint8Array | string): Uint8Array {
  if (typeof chunk === 'string') return encodeText(chunk)
  if (chunk instanceof Uint8Array) return chunk
  throw new TypeError(
    `Cannot write ${describe(chunk)} to a response body: expected a string or a Uint8Array`,
  )
}
