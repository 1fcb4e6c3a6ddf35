/** A subscription as a response body: the broadcaster's bytes, written straight to the client.
 *
 * A client that does not keep up is left alone until it does; then it catches up from the history. One that the
 * history leaves behind meets the broadcaster's policy. */

import type { BodySink, Conn } from '@wakerobin/core'
import { Chunk, concatBytes } from '@wakerobin/core/adapter'

import type { EventSink, EventSource, StreamTally } from './event-stream.ts'
import type { Feed, Reader, Run } from './feed.ts'
import { gapChunk, type Missed } from './gap.ts'
import type { Entry } from './history.ts'
import { lastEventId } from './last-event-id.ts'
import type { LiveStream, LiveStreams, Place } from './live-streams.ts'
import type { EntryPage } from './log-follower.ts'
import type { EndReason } from './options.ts'
import { isLeftBehind, Replay } from './replay.ts'
import type { Subscriber } from './subscriber.ts'
import { addMissed, countedMissed, openSubscription, type Subscription } from './subscription.ts'
import type { Filter } from './topics.ts'

/** How long a stop waits for a client to take what was published before it, in milliseconds. */
const lastWordsMs = 1000

const nothing = new Chunk(new Uint8Array())

export class BroadcastSource implements EventSource, Reader, LiveStream {
  readonly filter: Filter | undefined
  readonly #feed: Feed
  readonly #conn: Conn
  readonly #tally: StreamTally
  readonly #opening: Chunk
  #isResumed: boolean
  /** What comes before the history, while there is such. */
  #replay: Replay | undefined
  /** The id that the client has said, where there is a log to go on in. */
  readonly #after: string | undefined
  /** Called when there is room for more of it, or none is wanted any more. */
  #onRoom: (() => void) | undefined
  readonly #signal: AbortSignal | undefined
  /** Of the next event to read. While it is not behind, those that were not for it may have come after it. */
  #position: number
  /** How many events the client has to be told that it has missed. */
  #missed: Missed
  /** The position that the client knows it is at: from the last event, or because it was told. */
  #knownTo = 0
  /** The position after the newest event that is older than the stream. */
  #replayedTo = 0
  #sink: EventSink | undefined
  #hasRoom = false
  /** Set while it is written to together with others: what it has got is known there, and here only once it was looked
   * at. */
  #live: LiveStreams | undefined
  /** How many events those had got when it was last looked at. */
  #liveSent = 0
  /** Whether there may be events for it that it has not read, or that it has missed and was not told of. */
  #isBehind = false
  /** Whether the stream ends as soon as everything published so far is written. */
  #isEnding = false
  #deadline: ReturnType<typeof setTimeout> | undefined

  /** @param opening What is sent first. @param tally Is told how many events were sent, and how many were not. */
  constructor(conn: Conn, subscription: Subscription, opening: Chunk, tally: StreamTally) {
    this.#conn = conn
    this.#tally = tally
    this.#opening = opening
    const opened = openSubscription(subscription, lastEventId(conn))
    this.#feed = opened.feed
    this.filter = opened.filter
    this.#position = opened.position
    this.#missed = opened.missed
    this.#isResumed = opened.isResumed
    this.#replay = opened.replay
    this.#after = opened.after
    this.#signal = opened.signal
  }

  // ------------------------------------------------------------------------------ for the stream

  start(sink: EventSink): void {
    this.#sink = sink
    const isStopped = this.#isEnding
    this.#feed.trim() // what is too old is not replayed
    const { isClosed, isFinished } = this.#feed
    this.#feed.add(this)
    // The history may have moved on since the request came: the log has what it has dropped.
    if (this.#after !== undefined && isLeftBehind(this.#feed, this.#position))
      this.#replay ??= new Replay(this.#feed, this.#after)
    if (isClosed || (isFinished && this.#replay === undefined)) this.#isEnding = true
    if (this.#replay === undefined) this.#goOn(this.#position, this.#opening)
    else this.#hasRoom = sink.write(this.#opening)
    this.#feed.endBy(this, this.#signal)
    if (this.#replay !== undefined && !this.#isEnding) void this.#readLog(this.#replay)
    else this.#read()
    if (isStopped) this.#setDeadline()
  }

  /** Goes on in the history.
   * @param opening What is written first. */
  #goOn(position: number, opening: Chunk): void {
    const { history, isReplayed } = this.#feed
    this.#missed = addMissed(this.#missed, this.#feed, this.filter, position)
    this.#position = Math.max(position, history.start)
    this.#replayedTo = history.end
    this.#checkBehind()
    this.#knownTo = this.#position
    // Where it stands: for a client that comes back before its first event.
    const isNew = isReplayed && !this.#isResumed && this.#missed === 0
    const chunk = isNew ? this.#feed.openingAt(this.#position, opening) : opening
    if (chunk.bytes.length > 0) this.#hasRoom = this.#sink!.write(chunk)
  }

  /** Writes what the log has from before the history. */
  async #readLog(replay: Replay): Promise<void> {
    try {
      for (;;) {
        if (!this.#hasRoom) await new Promise<void>((resolve) => (this.#onRoom = resolve))
        if (this.#sink === undefined) return
        const step = await replay.next()
        if (this.#sink === undefined) return
        if ('position' in step) {
          if (isLeftBehind(this.#feed, step.position)) continue
          this.#replay = undefined
          this.#goOn(step.position, nothing)
          if (this.#isResumed) this.#knownTo = -1 // the last events may not have been for it
          if (this.#feed.isFinished) this.#isEnding = true
          this.#read()
          return
        }
        this.#writePage(step)
      }
    } catch (error) {
      this.#leave((sink) => sink.abort(error)) // that of `allow`
    }
  }

  #writePage({ entries, missed, next }: EntryPage): void {
    const { counts } = this.#feed
    const allowed = entries.filter((entry) => this.filter?.has(entry) !== false)
    const chunks = allowed.map(({ chunk }) => chunk.bytes)
    if (missed !== 0) {
      counts.gaps++
      // Where events follow, nobody has the id of the one before them.
      const id = entries.length === 0 ? next : undefined
      chunks.unshift(gapChunk(countedMissed(missed, this.#feed, this.filter), id).bytes)
    }
    this.#tally.sent += allowed.length
    counts.sent += allowed.length
    counts.replayed += allowed.length
    if (chunks.length > 0) this.#hasRoom = this.#sink!.write(concatBytes(chunks))
  }

  drained(): void {
    this.#hasRoom = true
    this.#onRoom?.()
    if (this.#isBehind) this.#feed.trim() // what is too old is not sent any more
    if (this.#replay === undefined) this.#read()
  }

  stop(): void {
    this.close()
    this.#setDeadline()
  }

  closed(): void {
    this.#leave()
  }

  /** A client of topics that hears nothing for long would come back with an id that nobody knows any more. */
  standing(heartbeat: Chunk = nothing): Chunk | undefined {
    if (this.filter === undefined || !this.#feed.isReplayed || this.#isBehind) return undefined
    if (this.#replay !== undefined) return undefined
    this.tell()
    const position = Math.max(this.#position, this.#feed.woken)
    if (position === this.#knownTo) return undefined
    this.#knownTo = position
    return this.#feed.openingAt(position, heartbeat)
  }

  // ------------------------------------------------------------------------------- for the feed

  filled(place: Place): void {
    this.#hasRoom = false
    this.#sink!.filled()
    this.#leaveLive(place)
    this.#checkBehind()
  }

  failed(error: unknown): void {
    this.#leave((sink) => sink.abort(error))
  }

  wake(): void {
    if (this.#live !== undefined) return // since this round of calls has begun
    if (!this.#isBehind && this.#replay === undefined) this.#read() // else it goes on when there is room
  }

  leaving(position: number, entry: Entry): void {
    if (position < this.#position || this.#replay !== undefined) return
    const { whenBehind } = this.#feed
    if (whenBehind === 'replay' && this.#goBack(position)) return
    this.#position = position + 1
    if (this.#isFor(entry)) this.#miss(entry)
    if (this.#isEnding && !this.#hasRoom) this.#read() // that may be all it has waited for room for
  }

  #miss(entry: Entry): void {
    const { whenBehind } = this.#feed
    this.#drop(1)
    if (whenBehind === 'disconnect' || whenBehind === 'replay') this.#leave((sink) => sink.cut())
    else if (whenBehind === 'coalesce' && entry.isSuperseded) return
    else if (this.#missed !== null) this.#missed++
  }

  /** Reads on in the log.
   * @returns Whether it is known from where. */
  #goBack(position: number): boolean {
    const id = this.#feed.idBefore(position)
    if (id === '' || this.#missed !== 0) return false
    this.#replay = new Replay(this.#feed, id)
    this.#isResumed = true
    this.#isBehind = false
    this.#feed.catchUp(this)
    void this.#readLog(this.#replay)
    return true
  }

  close(): void {
    this.#isEnding = true
    this.#read()
  }

  finish(): void {
    if (this.#replay === undefined) this.close()
  }

  disconnect(reason: EndReason): () => void {
    this.#tally.reason ??= reason
    return this.#detach((sink) => sink.end())
  }

  status(): Subscriber {
    this.tell()
    const { sent, dropped } = this.#tally
    const behind = this.#isBehind ? this.#feed.unread(this.#position, this.filter) : 0
    return { conn: this.#conn, topics: this.filter?.topics, sent, dropped, behind }
  }

  // ------------------------------------------------------------------------------------ reading

  /** Writes what there is, while there is room. */
  #read(): void {
    if (this.#sink === undefined) return
    this.#leaveLive()
    // What it has not got is in the log, when it comes back.
    if (this.#replay !== undefined) return this.#leave((sink) => sink.end())
    const { history } = this.#feed
    try {
      // A write may have the app publish, and this be called again from within.
      while (this.#hasRoom && this.#sink !== undefined && this.#live === undefined) {
        this.#skipWoken()
        if (this.#missed !== 0) this.#tellMissed()
        else if (this.#position < history.end) this.#writeRun()
        else break
      }
      if (this.#sink === undefined || this.#live !== undefined) return
      this.#skipWoken()
      if (this.#isEnding && this.#missed === 0) this.#skipOthers()
    } catch (error) {
      this.#leave((sink) => sink.abort(error)) // that of `allow`
    }
    if (this.#sink === undefined) return
    this.#checkBehind()
    if (this.#isBehind) return
    if (!this.#isEnding) {
      this.#goLive()
      return
    }
    const standing = this.standing()
    this.#leave((sink) => {
      if (standing !== undefined) sink.write(standing)
      sink.end()
    })
  }

  /** It has read all there is: what follows is written to it together with others. */
  #goLive(): void {
    if (!this.#hasRoom) return
    const { direct } = this.#sink!
    this.#live = this.#feed.goLive(this, direct, this.#position)
    this.#liveSent = this.#live?.placeOf(direct).sent ?? 0
  }

  /** @param place Where it is, where that is known. */
  #leaveLive(place?: Place): void {
    const live = this.#live
    if (live === undefined) return
    this.tell(place)
    this.#live = undefined
    this.#feed.leaveLive(this, this.#sink!.direct, live)
  }

  /** Takes over what it has got together with others. */
  tell(place: Place | undefined = this.#live?.placeOf(this.#sink!.direct)): void {
    if (place === undefined) return
    const { position, sent, knownTo } = place
    if (sent > this.#liveSent) this.#sink!.wrote(sent - this.#liveSent)
    this.#liveSent = sent
    if (knownTo > this.#position) this.#knownTo = knownTo
    this.#position = Math.max(position, this.#feed.woken)
  }

  #writeRun(): void {
    const run = this.#feed.run(this.#position, this.filter, this.#isBehind)
    this.#position = run.to
    if (run.skipped > 0) this.#drop(run.skipped)
    // Without a sink, `allow` has ended it.
    if (run.chunk === undefined || this.#sink === undefined) return
    this.#knownTo = run.knownTo ?? this.#knownTo
    const { counts } = this.#feed
    this.#tally.sent += run.count
    counts.sent += run.count
    if (run.from < this.#replayedTo) counts.replayed += this.#replayedOf(run)
    this.#hasRoom = this.#sink.write(run.chunk)
  }

  /** What everybody was woken for, and it has not read, was not for it, and may have gone. */
  #skipWoken(): void {
    if (!this.#isBehind) this.#position = Math.max(this.#position, this.#feed.woken)
  }

  /** Goes on to the end where all that is left is for others: it need not wait for room. Not by the feed's `count`, to
   * which an `allow` that throws is a no: here it fails the stream. */
  #skipOthers(): void {
    const { history } = this.#feed
    let position = this.#position
    while (position < history.end && this.filter?.has(history.at(position)) === false) position++
    if (position === history.end) this.#position = position
  }

  /** How many events of a run are older than the stream. */
  #replayedOf({ from, to, count }: Run): number {
    if (to <= this.#replayedTo) return count
    return this.#feed.count(from, this.#replayedTo, this.filter, this.#isBehind)
  }

  #tellMissed(): void {
    const { counts, isReplayed } = this.#feed
    const id = isReplayed ? this.#feed.idBefore(this.#position) : undefined
    this.#knownTo = this.#position
    const chunk = gapChunk(this.#missed, id)
    this.#missed = 0
    counts.gaps++
    this.#hasRoom = this.#sink!.write(chunk)
  }

  #checkBehind(): void {
    const isBehind = this.#position < this.#feed.history.end || this.#missed !== 0
    if (isBehind === this.#isBehind) return
    this.#isBehind = isBehind
    if (isBehind) this.#feed.fallBehind(this)
    else this.#feed.catchUp(this)
  }

  /** Whether an event is for it. Where `allow` fails, so does the stream. */
  #isFor(entry: Entry): boolean {
    try {
      return this.filter?.has(entry) !== false
    } catch (error) {
      this.#leave((sink) => sink.abort(error))
      return false
    }
  }

  #drop(count: number): void {
    this.#tally.dropped += count
    this.#feed.counts.dropped += count
  }

  // ------------------------------------------------------------------------------------ the end

  /** What a client has not taken by then it will not get: cut, so that nobody takes it for the whole. */
  #setDeadline(): void {
    if (this.#sink === undefined) return
    this.#deadline ??= setTimeout(() => this.#leave((sink) => sink.cut()), lastWordsMs)
  }

  /** Lets go of the broadcaster, once.
   * @param say The last call of the sink. */
  #leave(say?: (sink: BodySink) => void): void {
    this.#detach(say)()
  }

  /** Lets go of the broadcaster, and returns what is left to be done: the last call of the sink. */
  #detach(say?: (sink: BodySink) => void): () => void {
    const sink = this.#sink
    if (sink === undefined) return () => {}
    this.#leaveLive()
    this.#sink = undefined
    clearTimeout(this.#deadline)
    this.#feed.delete(this)
    this.#replay?.cancel()
    this.#onRoom?.()
    const { history, woken, counts } = this.#feed
    const from = this.#isBehind ? this.#position : Math.max(this.#position, woken)
    for (let position = from; this.#replay === undefined && position < history.end; position++)
      if (this.#isFor(history.at(position))) this.#drop(1)
    return () => {
      say?.(sink)
      counts.ended[this.#tally.reason ?? 'done']++
    }
  }
}
