/** A place in a broadcaster's history that moves on as events are read. */

import type { Broadcaster, Reader } from './broadcaster.ts'
import type { SseEvent } from './event.ts'

/** The events that a broadcaster publishes from the moment of `subscribe()` on.
 *
 * For `for await` or `conn.withSseStream`; each reading begins at that moment. Until one begins it
 * takes up nothing in the broadcaster, and the history may move on past it. */
export class Subscription implements AsyncIterable<SseEvent> {
  readonly broadcaster: Broadcaster
  /** The position of the next event to read. */
  readonly from: number

  /** Use `broadcaster.subscribe()`. */
  constructor(broadcaster: Broadcaster) {
    this.broadcaster = broadcaster
    this.from = broadcaster.end
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<SseEvent, undefined> {
    return new SubscriptionIterator(this.broadcaster, this.from)
  }
}

/** A reader fell further behind than the history reaches. */
export class SubscriberTooSlowError extends Error {
  override readonly name = 'SubscriberTooSlowError'
  /** How many events were lost to it, at least. */
  readonly lost: number

  constructor(lost: number) {
    super(
      `Cannot read on: ${lost} events were dropped from the history before this subscriber read them`,
    )
    this.lost = lost
  }
}

class SubscriptionIterator implements AsyncIterableIterator<SseEvent, undefined>, Reader {
  readonly #broadcaster: Broadcaster
  #position: number
  #isDone = false
  /** Those who wait for an event, in the order in which they asked. */
  #waiting: PromiseWithResolvers[] = []

  constructor(broadcaster: Broadcaster, from: number) {
    this.#broadcaster = broadcaster
    this.#position = from
    broadcaster.addReader(this)
  }

  next(): Promise<IteratorResult<SseEvent, undefined>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.wake()
    })
  }

  return(): Promise<IteratorResult<SseEvent, undefined>> {
    this.#end()
    return Promise.resolve({ done: true, value: undefined })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  wake(): void {
    while (this.#waiting.length > 0 && !this.#isDone && this.#position < this.#broadcaster.end) {
      const event = this.#broadcaster.eventAt(this.#position)
      const { resolve, reject } = this.#waiting.shift()!
      if (event === undefined) {
        reject(new SubscriberTooSlowError(this.#broadcaster.start - this.#position))
        this.#end()
        return
      }
      this.#position++
      resolve({ done: false, value: event })
    }
    if (this.#isDone || (this.#broadcaster.isClosed && this.#waiting.length > 0)) this.#end()
  }

  close(): void {
    this.wake()
  }

  #end(): void {
    this.#isDone = true
    this.#broadcaster.removeReader(this)
    for (const { resolve } of this.#waiting.splice(0)) resolve({ done: true, value: undefined })
  }
}

// Promise.withResolvers is not in Node 20.
interface PromiseWithResolvers {
  readonly resolve: (result: IteratorResult<SseEvent, undefined>) => void
  readonly reject: (error: Error) => void
}
