/** The streams that keep up: each has read the same events, and gets the same bytes at the same time.
 *
 * They are written to from here. To look at each stream first, whether it is where the others are, would load objects
 * that lie far from one another in memory, for every event and client. */

import type { BodySink, Chunk } from '@wakerobin/core/adapter'

import type { Feed, Wakeable } from './feed.ts'
import type { Filter } from './topics.ts'

/** A stream that can be one of them. */
export interface LiveStream {
  /** Its client takes no more for now. What was written last is on its way to it.
   * @param place Where it is. */
  filled(place: Place): void
  /** It could not be written to. */
  failed(error: unknown): void
}

/** Where one is in the history, and how it has come there. */
export interface Place {
  /** Of the next event to read. Those that were not for it may have come after it. */
  readonly position: number
  /** How many events one has got that has been there all the time. */
  readonly sent: number
  /** The position after the newest of them that was sent with an id. */
  readonly knownTo: number
}

export class LiveStreams implements Wakeable {
  /** That of each of them, or one that lets the same through. */
  readonly filter: Filter | undefined
  readonly #feed: Feed
  readonly #streams = new Map<BodySink, LiveStream>()
  /** Where all are, but those whom the round has not reached. */
  #place: Place
  /** What is being written to all. */
  #round: Round | undefined

  constructor(feed: Feed, filter: Filter | undefined, position: number) {
    this.#feed = feed
    this.filter = filter
    this.#place = { position, sent: 0, knownTo: 0 }
  }

  get size(): number {
    return this.#streams.size
  }

  /** Takes in one that has read all before a position.
   * @returns Whether that is where the others are. */
  add(sink: BodySink, stream: LiveStream, position: number): boolean {
    if (this.#round !== undefined || this.#position !== position) return false
    this.#place = { ...this.#place, position }
    this.#streams.set(sink, stream)
    return true
  }

  /** Of the next event to read: what has come since the last one, and everybody was woken for, was not for them. */
  get #position(): number {
    return Math.max(this.#place.position, this.#feed.woken)
  }

  delete(sink: BodySink): void {
    this.#streams.delete(sink)
    this.#round?.leave(sink)
  }

  /** Where one of them is. */
  placeOf(sink: BodySink): Place {
    return this.#round?.isToReach(sink) === true ? this.#round.before : this.#place
  }

  /** Writes what has been published to each. Where that has an app publish, and the history has to drop something, it
   * is called from within: then it goes on where the outer call was, which finds nothing left to do. */
  wake(): void {
    const { history } = this.#feed
    this.#writeRound()
    // When all have left it is not woken any more, and the history goes on without it.
    while (this.size > 0 && this.#position < history.end) {
      const before = this.#place
      const { chunk, to, count, knownTo } = this.#feed.run(this.#position, this.filter, false)
      if (chunk === undefined) {
        this.#place = { ...before, position: to }
        continue
      }
      this.#place = { position: to, sent: before.sent + count, knownTo: knownTo ?? before.knownTo }
      this.#round = new Round(before, chunk, count, this.#streams.keys())
      this.#writeRound()
    }
  }

  /** Writes to those whom the round has not reached. */
  #writeRound(): void {
    const round = this.#round
    if (round === undefined) return
    for (const sink of round.sinks) this.#write(sink, round)
    for (const sink of round.rest()) this.#write(sink, round)
    if (this.#round === round) this.#round = undefined
  }

  #write(sink: BodySink, { chunk, count }: Round): void {
    this.#feed.counts.sent += count
    try {
      if (!sink.write(chunk)) this.#streams.get(sink)?.filled(this.#place)
    } catch (error) {
      this.#streams.get(sink)?.failed(error)
    }
  }
}

/** One chunk on its way to all streams. */
class Round {
  /** Where those are whom it has not reached. */
  readonly before: Place
  readonly chunk: Chunk
  /** The number of events in it. */
  readonly count: number
  /** Those whom it has not reached, until somebody asks who they are. */
  readonly sinks: IterableIterator<BodySink>
  /** The same from then on. */
  #rest: Set<BodySink> | undefined

  constructor(before: Place, chunk: Chunk, count: number, sinks: IterableIterator<BodySink>) {
    this.before = before
    this.chunk = chunk
    this.count = count
    this.sinks = sinks
  }

  isToReach(sink: BodySink): boolean {
    this.#rest ??= new Set(this.sinks)
    return this.#rest.has(sink)
  }

  leave(sink: BodySink): void {
    this.#rest?.delete(sink)
  }

  *rest(): Iterable<BodySink> {
    for (const sink of this.#rest ?? []) {
      this.#rest!.delete(sink)
      yield sink
    }
  }
}
