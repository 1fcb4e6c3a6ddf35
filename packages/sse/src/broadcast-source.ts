/** A subscription as a response body: the broadcaster's bytes, written straight to the client.
 *
 * A client that does not keep up is left alone until it does; then it catches up from the history.
 * One that the history has left behind is cut. */

import type { BodySink, BodySource } from '@wakerobin/core'
import type { Chunk } from '@wakerobin/core/adapter'

import type { Broadcaster, Reader } from './broadcaster.ts'
import type { EventCount } from './event-stream.ts'
import type { Subscription } from './subscription.ts'

/** How long a stop waits for a client to take what was published before it, in milliseconds. */
const lastWordsMs = 1000

export class BroadcastSource implements BodySource, Reader {
  readonly isEndless = true
  readonly #broadcaster: Broadcaster
  readonly #opening: Chunk
  readonly #count: EventCount
  #position: number
  #sink: BodySink | undefined
  #hasRoom = false
  /** Whether the stream ends as soon as everything published so far is written. */
  #isEnding = false
  #deadline: ReturnType<typeof setTimeout> | undefined

  /** @param opening What is sent first. @param count Is told how many events were sent, and how many were not. */
  constructor(subscription: Subscription, opening: Chunk, count: EventCount) {
    this.#broadcaster = subscription.broadcaster
    this.#opening = opening
    this.#count = count
    this.#position = subscription.from
  }

  start(sink: BodySink): void {
    this.#sink = sink
    this.#broadcaster.addReader(this)
    this.#hasRoom = sink.write(this.#opening)
    if (this.#broadcaster.isClosed) this.close()
    this.wake()
  }

  drained(): void {
    this.#hasRoom = true
    this.wake()
  }

  wake(): void {
    while (this.#sink !== undefined && this.#position < this.#broadcaster.end) {
      // Without room it waits, unless the history has moved on: then it would never catch up.
      if (!this.#hasRoom && this.#position >= this.#broadcaster.start) break
      const run = this.#broadcaster.runFrom(this.#position)
      if (run === undefined) {
        // The client comes back by itself; what it missed cannot be sent any more.
        this.#leave()?.cut()
        return
      }
      this.#count.sent += run.to - this.#position
      this.#position = run.to
      this.#hasRoom = this.#sink.write(run.chunk)
    }
    if (this.#isEnding && this.#position === this.#broadcaster.end) this.#leave()?.end()
  }

  stop(): void {
    this.close()
  }

  close(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    // What a client has not taken by then it will not get: cut, so that nobody takes it for the whole.
    this.#deadline = setTimeout(() => this.#leave()?.cut(), lastWordsMs)
    this.wake()
  }

  closed(): void {
    this.#leave()
  }

  /** Lets go of the broadcaster. Returns the sink, once, for a last call. */
  #leave(): BodySink | undefined {
    const sink = this.#sink
    this.#sink = undefined
    if (sink !== undefined) this.#count.dropped += this.#broadcaster.end - this.#position
    this.#broadcaster.removeReader(this)
    clearTimeout(this.#deadline)
    return sink
  }
}
