/** One event to many clients: encoded once, kept in a bounded history, read by cursors. */

import { Chunk, concatBytes, describe, encodeText } from '@wakerobin/core/adapter'

import { encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable } from './event.ts'
import { Subscription } from './subscription.ts'

/** How far back a broadcaster remembers. */
export interface BroadcasterOptions {
  /** How many events are kept for subscribers that have not read them yet. Default 1,024.
   *
   * A subscriber that falls further behind is disconnected. */
  historyEvents?: number
  /** How many bytes of events are kept, whichever limit is met first. Default 4 MiB. The newest
   * event is kept in any case. */
  historyBytes?: number
}

/** Who reads the history. */
export interface Reader {
  /** Events have been published since the last call, all of one turn. */
  wake(): void
  /** No event will follow. */
  close(): void
}

/** Sends every event to every subscriber.
 *
 * ```ts
 * import { State, handlers, type Handler } from '@wakerobin/core'
 * import { Broadcaster } from '@wakerobin/sse'
 *
 * const broadcaster = new Broadcaster()
 * const app: Handler = handlers(State.new(broadcaster), (conn) => conn.withSseStream(conn.state(Broadcaster)))
 * broadcaster.publish('hello')
 * broadcaster.publish('joined', 'alice')
 * ```
 *
 * An event is encoded once, however many clients there are. Memory is bounded by the history, not by
 * the number of slow clients: each is a position in it. */
export class Broadcaster implements AsyncIterable<SseEvent> {
  readonly #historyEvents: number
  readonly #historyBytes: number
  readonly #readers = new Set<Reader>()
  readonly #entries: Entry[] = []
  /** The position of the oldest entry; positions count from 0 and never come again. */
  #start = 0
  #bytes = 0
  #isWaking = false
  /** The position up to which readers have been woken. */
  #woken = 0
  #isClosed = false
  /** The last run of entries that was asked for as one chunk: most readers ask for the same. */
  #run: Run | undefined

  constructor(options: BroadcasterOptions = {}) {
    this.#historyEvents = checkLimit('historyEvents', options.historyEvents ?? 1024)
    this.#historyBytes = checkLimit('historyBytes', options.historyBytes ?? 4 * 1024 * 1024)
  }

  /** Sends an event to everyone who is subscribed now: a `message` with a string as its data, or
   * whatever event is given. Those who subscribe later do not get it.
   * @throws {TypeError | RangeError} When a field may not be sent: see `EventFields`. Nothing is sent then.
   * @throws {TypeError} When the broadcaster is closed. */
  publish(event: Eventable): void
  /** Sends an event of a type. */
  publish(type: string, data: string): void
  publish(first: Eventable, ...rest: string[]): void {
    const event =
      rest.length === 0 ? SseEvent.from(first) : SseEvent.new(rest[0]!).withType(first as string)
    if (this.#isClosed)
      throw new TypeError(`Cannot publish ${describe(event.data)}: the broadcaster is closed`)
    const chunk = new Chunk(encodeText(encodeEvent(event)))
    this.#entries.push({ event, chunk })
    this.#bytes += chunk.bytes.length
    while (!this.#isWithinLimits()) {
      // A turn that publishes more than the history holds: readers get this event before it goes.
      if (this.#start >= this.#woken) this.#wake()
      this.#bytes -= this.#entries.shift()!.chunk.bytes.length
      this.#start++
    }
    this.#wakeSoon()
  }

  /** Subscribes from now on. The subscription is an async iterable of the events. */
  subscribe(): Subscription {
    return new Subscription(this)
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<SseEvent, undefined> {
    return this.subscribe()[Symbol.asyncIterator]()
  }

  /** How many clients and loops are subscribed. */
  get subscriberCount(): number {
    return this.#readers.size
  }

  /** Ends every subscription, after what was published before. A second call does nothing. */
  close(): void {
    this.#isClosed = true
    for (const reader of this.#readers) reader.close()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  // -------------------------------------------------------------------------------- for readers

  /** The position of the oldest event that is kept. */
  get start(): number {
    return this.#start
  }

  /** The position after the newest event: where a new reader begins. */
  get end(): number {
    return this.#start + this.#entries.length
  }

  /** Registers a reader, which `wake`s when there is something to read. */
  addReader(reader: Reader): void {
    this.#readers.add(reader)
  }

  removeReader(reader: Reader): void {
    this.#readers.delete(reader)
  }

  /** The event at a position before `end`; undefined where the history no longer has it. */
  eventAt(position: number): SseEvent | undefined {
    return this.#entries[position - this.#start]?.event
  }

  /** The bytes of events from a position on, and the position after them.
   *
   * At least one, then until there are 64 KiB; the same chunk for everyone who is at that position.
   * @returns undefined where the history no longer has the event at `from`. */
  runFrom(from: number): Run | undefined {
    if (from < this.#start) return undefined
    if (this.#run?.from === from && (this.#run.to === this.end || this.#run.isFull))
      return this.#run
    const first = from - this.#start
    let to = first
    let bytes = 0
    while (to < this.#entries.length && bytes < maxRunBytes)
      bytes += this.#entries[to++]!.chunk.bytes.length
    const chunks = this.#entries.slice(first, to).map((entry) => entry.chunk)
    const chunk =
      chunks.length === 1 ? chunks[0]! : new Chunk(concatBytes(chunks.map((each) => each.bytes)))
    this.#run = { from, to: this.#start + to, chunk, isFull: bytes >= maxRunBytes }
    return this.#run
  }

  /** The newest event is kept in any case. */
  #isWithinLimits(): boolean {
    const { length } = this.#entries
    return length <= this.#historyEvents && (this.#bytes <= this.#historyBytes || length === 1)
  }

  /** Wakes the readers once, after the turn's last publish: its events go out in one write. */
  #wakeSoon(): void {
    if (this.#isWaking || this.#readers.size === 0) return
    this.#isWaking = true
    queueMicrotask(() => {
      this.#isWaking = false
      this.#wake()
    })
  }

  #wake(): void {
    this.#woken = this.end
    for (const reader of this.#readers) reader.wake()
  }
}

/** Some events in a row, as one chunk. */
interface Run {
  readonly from: number
  /** The position after the last of them. */
  readonly to: number
  readonly chunk: Chunk
  /** Whether events that are published later would not fit in. */
  readonly isFull: boolean
}

interface Entry {
  readonly event: SseEvent
  readonly chunk: Chunk
}

const maxRunBytes = 64 * 1024

function checkLimit(option: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new RangeError(
    `Cannot make a Broadcaster with ${option} ${describe(value)}: it must be an integer from 1`,
  )
}
