/** What a broadcaster and its subscribers share: the history, and who is to be woken when it grows. */

import type { BodySink } from '@wakerobin/core'
import { Chunk, concatBytes, encodeText } from '@wakerobin/core/adapter'

import { encodeEvent } from './encode.ts'
import { EndedBySignal } from './ended-by-signal.ts'
import { EventIds } from './event-ids.ts'
import type { EventLog } from './event-log.ts'
import { History } from './history.ts'
import type { Entry, HistoryLimits } from './history.ts'
import { LiveStreams } from './live-streams.ts'
import type { LiveStream } from './live-streams.ts'
import { gapEntry } from './log-entry.ts'
import { LogFollower, type EntryPage } from './log-follower.ts'
import type { EndReason } from './options.ts'
import type { Subscriber } from './subscriber.ts'
import type { Filter } from './topics.ts'

/** What becomes of a subscriber that the history has left behind. */
export type WhenBehind = 'disconnect' | 'drop-oldest' | 'coalesce'

export interface FeedOptions extends HistoryLimits {
  /** `replay`: it reads on in the log, at its own pace. */
  readonly whenBehind: WhenBehind | 'replay'
  /** Whether events have ids, from which clients go on. */
  readonly isReplayed: boolean
  /** What keeps the events beyond the history. */
  readonly log: EventLog | undefined
  readonly onLogError: (error: unknown) => void
}

/** Who is told that there is something to read. */
export interface Wakeable {
  /** What of it concerns them. Undefined: everything. */
  readonly filter: Filter | undefined
  /** Events may have been published since the last call: see `woken`. */
  wake(): void
}

/** Who reads the history. */
export interface Reader extends Wakeable {
  /** The entry at a position is about to go. Told to those alone who are behind. */
  leaving(position: number, entry: Entry): void
  /** No event will follow. */
  close(): void
  /** No event will follow, but for those that it has yet to read in the log. */
  finish(): void
  /** Lets go of the feed now. Returns what ends it: called when all who are disconnected together have let go, as
   * the app may publish from within. */
  disconnect(reason: EndReason): () => void
  /** How it is doing. */
  status(): Subscriber
}

/** Some events in a row, as one chunk. */
export interface Run {
  readonly from: number
  /** The position after the last of them. */
  readonly to: number
  /** Undefined where none of them is for this reader. */
  readonly chunk: Chunk | undefined
  readonly count: number
  /** How many were left out because a newer one takes their place. */
  readonly skipped: number
  /** Whether events that are published later would not fit in. */
  readonly isFull: boolean
  /** The position after the last of those that are sent with an id, where there is one. */
  readonly knownTo: number | undefined
}

/** The number of events that this and that has happened to, since the beginning. */
export interface FeedCounts {
  opened: number
  sent: number
  dropped: number
  replayed: number
  gaps: number
  readonly ended: Record<EndReason, number>
}

export class Feed {
  readonly history: History
  readonly ids: EventIds = new EventIds()
  readonly whenBehind: FeedOptions['whenBehind']
  readonly isReplayed: boolean
  /** Reads the log, where there is one: all events come from there then. */
  readonly follower: LogFollower | undefined
  readonly counts: FeedCounts = {
    opened: 0,
    sent: 0,
    dropped: 0,
    replayed: 0,
    gaps: 0,
    ended: { client: 0, done: 0, shutdown: 0, slow: 0, 'max-age': 0, revoked: 0, error: 0 },
  }
  isClosed = false
  /** Whether the last event of all has been read. */
  isFinished = false
  readonly #readers = new Set<Reader>()
  /** Those of them that are written to together, by the key of their filter. */
  readonly #live = new Map<string | undefined, LiveStreams>()
  /** Who is woken: those, and each of the other readers. */
  readonly #wakeables = new Set<Wakeable>()
  /** Those of them that are subscribed to all topics. */
  readonly #toAll = new Set<Wakeable>()
  readonly #toTopic = new Map<string, Set<Wakeable>>()
  /** How many readers there are of each key of a filter. */
  readonly #withKey = new Map<string, number>()
  /** Those that have not read all that concerns them. */
  readonly #behind = new Set<Reader>()
  readonly #endedBy = new EndedBySignal()
  /** The position up to which everybody has been woken. */
  #woken = 0
  #isWaking = false
  #isWakingSoon = false
  /** The runs of those who get everything. */
  readonly #runs = new Runs()
  /** While readers are woken, the runs of those of the same topics. */
  readonly #runsOf = new Map<string, Runs>()
  /** The last opening that was asked for: most clients that come at one time get the same. */
  #opening:
    | { readonly position: number; readonly opening: Chunk; readonly chunk: Chunk }
    | undefined

  constructor(options: FeedOptions) {
    this.history = new History(options)
    this.whenBehind = options.whenBehind
    this.isReplayed = options.isReplayed
    const { log, onLogError } = options
    if (log !== undefined)
      this.follower = new LogFollower(log, {
        begin: (id) => this.history.begin(id),
        take: (page) => this.#take(page),
        failed: onLogError,
      })
  }

  #take({ entries, missed }: EntryPage): void {
    if (missed !== 0) this.append(gapEntry(missed))
    for (const entry of entries) this.append(entry)
  }

  append(entry: Entry): void {
    this.history.append(entry)
    this.trim()
    if (this.#isWakingSoon || this.#readers.size === 0) {
      if (this.#readers.size === 0) this.#woken = this.history.end
      return
    }
    this.#isWakingSoon = true
    // After the turn's last one: its events go out in one write.
    queueMicrotask(() => {
      this.#isWakingSoon = false
      this.#wake()
    })
  }

  /** Drops what is more, or older, than is kept. */
  trim(): void {
    const { history } = this
    const now = performance.now()
    while (history.isOver(now)) {
      const position = history.start
      if (position >= this.#woken) {
        // A turn that publishes more than is kept: readers get it before it goes.
        this.#wake()
        continue
      }
      const entry = history.at(position)
      for (const reader of this.#behind) reader.leaving(position, entry)
      // Not where the end of such a reader has made the app publish: then it has gone already.
      if (history.start === position) history.shift()
    }
    this.#runs.forget(history.start)
  }

  /** What is before it, readers know of: those that are not behind have read what of it is for them. */
  get woken(): number {
    return this.#woken
  }

  /** Ends every reader, after what was published before. */
  close(): void {
    this.isClosed = true
    this.follower?.close()
    for (const reader of this.#readers) reader.close()
  }

  /** Ends every reader when it has read all that there is, in the log too. */
  finish(): void {
    this.isFinished = true
    for (const reader of this.#readers) reader.finish()
  }

  // -------------------------------------------------------------------------------- for readers

  add(reader: Reader): void {
    this.counts.opened++
    this.#readers.add(reader)
    this.#listen(reader)
    const key = reader.filter?.key
    if (key !== undefined) this.#withKey.set(key, (this.#withKey.get(key) ?? 0) + 1)
  }

  delete(reader: Reader): void {
    if (!this.#readers.delete(reader)) return
    this.#ignore(reader)
    this.#behind.delete(reader)
    this.#endedBy.delete(reader)
    const key = reader.filter?.key
    if (key === undefined) return
    const left = this.#withKey.get(key)! - 1
    if (left > 0) this.#withKey.set(key, left)
    else this.#withKey.delete(key)
  }

  /** Has a stream written to with the others that keep up, from the next event on.
   * @param position Where it is: it has read all there is.
   * @returns Undefined where it stays one that is woken by itself: where its `allow` is asked, where nobody else has its
   * topics, and in the middle of a turn, where it is ahead of the others. */
  goLive(stream: LiveStream & Reader, sink: BodySink, position: number): LiveStreams | undefined {
    const { filter } = stream
    if (filter !== undefined && !this.#isShared(filter)) return undefined
    const live = this.#live.get(filter?.key) ?? this.#newLive(filter, position)
    if (!live.add(sink, stream, position)) return undefined
    this.#ignore(stream)
    return live
  }

  #newLive(filter: Filter | undefined, position: number): LiveStreams {
    const live = new LiveStreams(this, filter, position)
    this.#live.set(filter?.key, live)
    this.#listen(live)
    return live
  }

  /** Whether there are others that get the same. */
  #isShared({ key }: Filter): boolean {
    return key !== undefined && this.#withKey.get(key)! > 1
  }

  /** It is woken by itself again. */
  leaveLive(stream: Reader, sink: BodySink, live: LiveStreams): void {
    live.delete(sink)
    this.#listen(stream)
    if (live.size > 0) return
    this.#live.delete(live.filter?.key)
    this.#ignore(live)
  }

  #listen(wakeable: Wakeable): void {
    this.#wakeables.add(wakeable)
    const topics = wakeable.filter?.topics
    if (topics === undefined) this.#toAll.add(wakeable)
    for (const topic of topics ?? []) {
      const listeners = this.#toTopic.get(topic)
      if (listeners === undefined) this.#toTopic.set(topic, new Set([wakeable]))
      else listeners.add(wakeable)
    }
  }

  #ignore(wakeable: Wakeable): void {
    this.#wakeables.delete(wakeable)
    this.#toAll.delete(wakeable)
    for (const topic of wakeable.filter?.topics ?? []) {
      const listeners = this.#toTopic.get(topic)
      listeners?.delete(wakeable)
      if (listeners?.size === 0) this.#toTopic.delete(topic)
    }
  }

  /** Ends a reader when a signal aborts, which may have been before. */
  endBy(reader: Reader, signal: AbortSignal | undefined): void {
    if (signal === undefined) return
    if (signal.aborted) reader.disconnect('done')()
    else this.#endedBy.add(reader, signal)
  }

  /** A reader has not read all that concerns it: it is told of what goes. */
  fallBehind(reader: Reader): void {
    this.#behind.add(reader)
  }

  catchUp(reader: Reader): void {
    this.#behind.delete(reader)
  }

  get readers(): ReadonlySet<Reader> {
    return this.#readers
  }

  /** How many events from a position to another are for a filter.
   * @param isBehind As for `run`. */
  count(from: number, to: number, filter: Filter | undefined, isBehind: boolean): number {
    const isCoalesced = isBehind && this.whenBehind === 'coalesce'
    if (filter === undefined && !isCoalesced) return to - from
    let count = 0
    for (let position = from; position < to; position++) {
      const entry = this.history.at(position)
      if (isCoalesced && entry.isSuperseded) continue
      if (filter === undefined || isFor(filter, entry)) count++
    }
    return count
  }

  /** How many events are kept from a position on that are for a filter. */
  unread(from: number, filter: Filter | undefined): number {
    return this.count(from, this.history.end, filter, false)
  }

  /** The id of who has read all that is before a position: that of the event before it. */
  idBefore(position: number): string {
    const { history, ids } = this
    if (this.follower !== undefined) return history.ownIdBefore(position) ?? ''
    const ownId = position > history.start ? history.at(position - 1).ownId : undefined
    return ownId || ids.of(position - 1)
  }

  /** An opening that tells a new client where it stands, so that it misses nothing when it comes back before the first
   * event. */
  openingAt(position: number, opening: Chunk): Chunk {
    const known = this.#opening
    if (known?.position === position && known.opening === opening) return known.chunk
    const id = encodeText(encodeEvent({ id: this.idBefore(position) }))
    const chunk = new Chunk(concatBytes([opening.bytes, id]))
    this.#opening = { position, opening, chunk }
    return chunk
  }

  /** The bytes of the events from a position on: at least one, then until there are 64 KiB.
   * @param isBehind Whether events that a newer one replaces are left out, where that is the policy. */
  run(from: number, filter: Filter | undefined, isBehind: boolean): Run {
    const isCoalesced = isBehind && this.whenBehind === 'coalesce'
    const runs = isCoalesced ? undefined : this.#runsFor(filter)
    const known = runs?.from(from, this.history.end)
    if (known !== undefined) return known
    const run = this.#makeRun(from, filter, isCoalesced)
    runs?.add(run, this.#isWaking)
    return run
  }

  /** Where runs for a filter are kept; undefined where nobody else would ask for them. */
  #runsFor(filter: Filter | undefined): Runs | undefined {
    if (filter === undefined) return this.#runs
    if (!this.#isWaking || filter.key === undefined) return undefined
    let runs = this.#runsOf.get(filter.key)
    if (runs === undefined) this.#runsOf.set(filter.key, (runs = new Runs()))
    return runs
  }

  #makeRun(from: number, filter: Filter | undefined, isCoalesced: boolean): Run {
    const { history } = this
    const chunks: Chunk[] = []
    let to = from
    let bytes = 0
    let skipped = 0
    let knownTo: number | undefined
    while (to < history.end && bytes < maxRunBytes) {
      const entry = history.at(to++)
      if (filter?.has(entry) === false) continue
      if (isCoalesced && entry.isSuperseded) {
        skipped++
        continue
      }
      chunks.push(entry.chunk)
      if (entry.hasId) knownTo = to
      bytes += entry.chunk.bytes.length
    }
    const isFull = bytes >= maxRunBytes
    return { from, to, chunk: joined(chunks), count: chunks.length, skipped, isFull, knownTo }
  }

  // --------------------------------------------------------------------------------------- waking

  /** Wakes whom it concerns. May be called from within, by a reader whose end makes the app publish more than is
   * kept: then it wakes everybody whom the outer call has left to wake, and more, and that finds nothing to do. */
  #wake(): void {
    const to = this.history.end
    const isOuter = !this.#isWaking
    this.#isWaking = true
    try {
      const concerned = this.#concerned(this.#woken, to)
      // They first: others that have then read as much can be of them.
      for (const live of concerned) if (live instanceof LiveStreams) live.wake()
      for (const wakeable of concerned) wakeable.wake()
      this.#woken = Math.max(this.#woken, to)
    } finally {
      if (isOuter) this.#hasWoken()
    }
  }

  #hasWoken(): void {
    this.#isWaking = false
    this.#runs.clear()
    if (this.#runsOf.size > 0) this.#runsOf.clear()
  }

  /** Those who may get one of the events from a position to another. */
  #concerned(from: number, to: number): Iterable<Wakeable> {
    if (this.#toTopic.size === 0) return this.#wakeables
    const sets = new Set<ReadonlySet<Wakeable>>()
    if (this.#toAll.size > 0) sets.add(this.#toAll)
    for (let position = Math.max(from, this.history.start); position < to; position++) {
      const { topics } = this.history.at(position)
      if (topics === undefined) return this.#wakeables
      for (const topic of topics) {
        const listeners = this.#toTopic.get(topic)
        if (listeners !== undefined) sets.add(listeners)
      }
    }
    if (sets.size === 1) return [...sets][0]!
    return new Set([...sets].flatMap((listeners) => [...listeners]))
  }
}

/** Runs that are asked for again: most readers are at the same position. */
class Runs {
  #last: Run | undefined
  #others: Map<number, Run> | undefined

  /** The run from a position, where it is known and nothing has been added to it. */
  from(position: number, end: number): Run | undefined {
    const run = this.#last?.from === position ? this.#last : this.#others?.get(position)
    return run !== undefined && (run.to === end || run.isFull) ? run : undefined
  }

  /** @param isShared Whether those that were added before will be asked for, too. */
  add(run: Run, isShared: boolean): void {
    if (isShared && this.#last !== undefined) {
      this.#others ??= new Map()
      this.#others.set(this.#last.from, this.#last)
    }
    this.#last = run
  }

  /** Keeps the last one alone. */
  clear(): void {
    this.#others = undefined
  }

  /** Lets go of the last one where it has events from before a position. */
  forget(start: number): void {
    if (this.#last !== undefined && this.#last.from < start) this.#last = undefined
  }
}

/** Where `allow` fails, it is not: it ends the reader that reads. */
function isFor(filter: Filter, entry: Entry): boolean {
  try {
    return filter.has(entry)
  } catch {
    return false // reported where the event is read
  }
}

function joined(chunks: readonly Chunk[]): Chunk | undefined {
  if (chunks.length < 2) return chunks[0]
  return new Chunk(concatBytes(chunks.map(({ bytes }) => bytes)))
}

const maxRunBytes = 64 * 1024
