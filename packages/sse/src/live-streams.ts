/** The streams that keep up: each has read the same events, and gets the same bytes at the same time.
 *
 * They are written to from here. To look at each stream first, whether it is where the others are, would load objects
 * that lie far from one another in memory, for every event and client. */

import type { BodySink } from '@wakerobin/core'

import type { Feed, Wakeable } from './feed.ts'
import type { Filter } from './topics.ts'

/** A stream that can be one of them. */
export interface LiveStream {
  readonly filter: Filter | undefined
  /** Its client takes no more for now. What was written last is on its way to it. */
  filled(): void
  /** It could not be written to. */
  failed(error: unknown): void
}

export class LiveStreams implements Wakeable {
  /** That of each of them, or one that lets the same through. */
  readonly filter: Filter | undefined
  /** The position of the next event to read. Those that were not for them may have come after it. */
  position = 0
  /** How many events each that was there all the time has got. */
  sent = 0
  /** The position after the newest event that was sent with an id. */
  knownTo = 0
  /** Whether they are being written to: one that comes now would get what it has read. */
  isWriting = false
  readonly #feed: Feed
  readonly #streams = new Map<BodySink, LiveStream>()

  constructor(feed: Feed, filter: Filter | undefined) {
    this.#feed = feed
    this.filter = filter
  }

  get size(): number {
    return this.#streams.size
  }

  add(sink: BodySink, stream: LiveStream): void {
    this.#streams.set(sink, stream)
  }

  delete(sink: BodySink): void {
    this.#streams.delete(sink)
  }

  /** Writes what has been published to each. */
  wake(): void {
    if (this.isWriting) return
    const { history } = this.#feed
    this.position = Math.max(this.position, this.#feed.woken)
    while (this.position < history.end) {
      const { chunk, to, count, knownTo } = this.#feed.run(this.position, this.filter, false)
      this.position = to
      if (chunk === undefined) continue
      this.sent += count
      this.knownTo = knownTo ?? this.knownTo
      this.#feed.counts.sent += count * this.#streams.size
      this.isWriting = true
      for (const sink of this.#streams.keys()) {
        try {
          if (!sink.write(chunk)) this.#streams.get(sink)?.filled()
        } catch (error) {
          this.#streams.get(sink)?.failed(error)
        }
      }
      this.isWriting = false
    }
  }
}
