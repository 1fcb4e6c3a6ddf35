/** A place in a broadcaster's history, from which events are read. */

import { describe } from '@wakerobin/core/adapter'

import { decodeEvent } from './decode.ts'
import type { SseEvent } from './event.ts'
import type { Feed, Reader } from './feed.ts'
import { gapEvent, type Missed } from './gap.ts'
import type { Entry } from './history.ts'
import { isLeftBehind, Replay } from './replay.ts'
import type { Subscriber } from './subscriber.ts'
import { checkTopics, Filter } from './topics.ts'

/** What a subscriber is to get. */
export interface SubscribeOptions {
  /** The topics it is subscribed to. Events that were published to none are for everyone. Left out, it gets all;
   * undefined is refused, because it may be a slip. */
  topics?: readonly string[]
  /** Whether it may have what is published to a topic. Asked of every event, of those that are kept as of new ones,
   * so that a right that is taken back is gone at once. An event of several topics needs one. Anything but true is a no.
   * It is asked in the middle of the work: let it look something up, and not publish. */
  allow?: (topic: string) => boolean
  /** The id of the last event it has got: it goes on after that. `''` for none. Default: what the request says in
   * `Last-Event-ID`, where it is streamed to one. */
  lastEventId?: string | undefined
  /** Ends it when it aborts, a loop even while it waits. For a generator that is made of the events: give it the signal
   * of its stream, so that it does not wait for another event when its client has left. */
  signal?: AbortSignal
}

/** Where a reader begins, and with what. */
export interface Opened {
  readonly feed: Feed
  readonly filter: Filter | undefined
  /** The position of the first event that is for it; it may be gone by now. */
  readonly position: number
  /** What it has missed before that, as far as it is known. */
  readonly missed: Missed
  /** Whether it goes on after an event that it has got. */
  readonly isResumed: boolean
  /** What it gets first, where that is not in the history: then the position is not known yet. */
  readonly replay: Replay | undefined
  /** The id that it goes on after, where there is a log. */
  readonly after: string | undefined
  readonly signal: AbortSignal | undefined
}

/** Opens a subscription.
 * @param requested The id that the client says, where it is one. */
export let openSubscription: (subscription: Subscription, requested: string | undefined) => Opened

/** What is subscribed to where nothing is said. */
export const everything: SubscribeOptions = {}

/** The events that a broadcaster publishes from the moment of `subscribe()` on, or from after `lastEventId`.
 *
 * For `for await` or `conn.withSseStream`; each reading begins at that place. Until one begins it
 * takes up nothing in the broadcaster, and the history may move on past it. */
export class Subscription implements AsyncIterable<SseEvent> {
  readonly #feed: Feed
  readonly #filter: Filter | undefined
  readonly #lastEventId: string | undefined
  readonly #signal: AbortSignal | undefined
  /** The position after the newest event, when this was made. */
  readonly #position: number

  /** Use `broadcaster.subscribe()`. */
  constructor(feed: Feed, options: SubscribeOptions) {
    this.#feed = feed
    this.#position = feed.history.end
    if (options === everything) return
    const { topics, allow, lastEventId, signal } = checkSubscribe(options)
    this.#signal = signal
    if (topics !== undefined || allow !== undefined) this.#filter = new Filter(topics, allow)
    this.#lastEventId = lastEventId
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<SseEvent, undefined> {
    return new SubscriptionIterator(openSubscription(this, undefined))
  }

  static {
    openSubscription = (subscription, requested) => {
      const feed = subscription.#feed
      const id = subscription.#lastEventId ?? requested
      feed.trim() // what is too old is not replayed
      const start = resume(feed, id, subscription.#position)
      const after = start.isResumed && feed.follower !== undefined ? id : undefined
      return { feed, filter: subscription.#filter, ...start, after, signal: subscription.#signal }
    }
  }
}

function resume(
  feed: Feed,
  id: string | undefined,
  position: number,
): Pick<Opened, 'position' | 'missed' | 'isResumed' | 'replay'> {
  const { history, ids, follower } = feed
  if (id === undefined || id === '' || !feed.isReplayed) {
    const replay = follower?.hasBegun === false ? new Replay(feed, undefined) : undefined
    return { position, missed: 0, isResumed: false, replay }
  }
  const own = history.positionOf(id)
  if (own === undefined && follower !== undefined)
    return { position, missed: 0, isResumed: true, replay: new Replay(feed, id) }
  const replay = undefined
  const after = own === undefined ? ids.positionAfter(id) : own + 1
  return after === undefined || after > history.end
    ? { position, missed: null, isResumed: false, replay }
    : { position: after, missed: 0, isResumed: true, replay }
}

/** How many events a reader has missed that begins at a position.
 * @param missed Those that were known before. */
export function addMissed(
  missed: Missed,
  feed: Feed,
  filter: Filter | undefined,
  position: number,
): Missed {
  const gone = feed.history.start - position
  if (gone <= 0) return missed
  return missed === null ? null : countedMissed(missed + gone, feed, filter)
}

/** How many of the events that are gone were for a reader. */
export function countedMissed(
  missed: Missed,
  { whenBehind }: Feed,
  filter: Filter | undefined,
): Missed {
  // Which of them would have been for it, or were replaced by newer ones, nobody knows any more.
  return filter === undefined && whenBehind !== 'coalesce' ? missed : null
}

/** A reader fell further behind than the history reaches. */
export class SubscriberTooSlowError extends Error {
  override readonly name = 'SubscriberTooSlowError'
  /** How many events were lost to it. */
  readonly lost: number

  constructor(lost: number) {
    super(
      `Cannot read on: ${lost} events were dropped from the history before this subscriber read them`,
    )
    this.lost = lost
  }
}

class SubscriptionIterator implements AsyncIterableIterator<SseEvent, undefined>, Reader {
  readonly filter: Filter | undefined
  readonly #feed: Feed
  /** Of the next event that it has not looked at. */
  #position: number
  #missed: Missed
  /** Whether it goes on past what it has missed: where it has asked for more than there is, it is told once. */
  #goesOn: boolean
  /** The position after the newest event that is older than the loop. */
  #replayedTo: number
  /** What comes before the history, while there is such. */
  #replay: Replay | undefined
  /** Of that, what has been read, and not taken. */
  #replayed: Entry[] = []
  #isReading = false
  #sent = 0
  #dropped = 0
  #isDone = false
  /** What `allow` has thrown while nobody waited. */
  #failure: { readonly error: unknown } | undefined
  /** Those who wait for an event, in the order in which they asked. */
  #waiting: PromiseWithResolvers[] = []

  constructor(opened: Opened) {
    const { feed, filter, position, replay } = opened
    this.filter = filter
    this.#feed = feed
    this.#replay = replay
    this.#missed = replay === undefined ? addMissed(opened.missed, feed, filter, position) : 0
    this.#position = Math.max(position, feed.history.start)
    this.#replayedTo = feed.history.end
    this.#goesOn = feed.whenBehind !== 'disconnect' || opened.isResumed || opened.missed === null
    feed.add(this)
    if (replay === undefined) feed.fallBehind(this) // it reads when it is asked to
    feed.endBy(this, opened.signal)
  }

  next(): Promise<IteratorResult<SseEvent, undefined>> {
    this.#feed.trim() // what is too old is not read any more
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#serve()
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
    this.#serve()
  }

  leaving(position: number, entry: Entry): void {
    if (position < this.#position || this.#failure !== undefined) return
    if (this.#feed.whenBehind === 'replay' && this.#goBack(position)) return
    this.#position = position + 1
    try {
      if (!this.#has(entry)) return
    } catch (error) {
      this.#failure = { error } // for the next one who asks
      return
    }
    this.#drop(1)
    if (entry.isSuperseded && this.#feed.whenBehind === 'coalesce') return
    if (this.#missed !== null) this.#missed++
  }

  /** Reads on in the log.
   * @returns Whether it is known from where. */
  #goBack(position: number): boolean {
    const id = this.#feed.idBefore(position)
    if (id === '' || this.#missed !== 0) return false
    this.#replay = new Replay(this.#feed, id)
    this.#feed.catchUp(this)
    return true
  }

  close(): void {
    this.#serve()
  }

  finish(): void {
    this.#serve()
  }

  disconnect(): () => void {
    this.#end()
    return () => {}
  }

  status(): Subscriber {
    return {
      conn: undefined,
      topics: this.filter?.topics,
      sent: this.#sent,
      dropped: this.#dropped,
      behind: this.#feed.unread(this.#position, this.filter),
    }
  }

  #serve(): void {
    for (let first; !this.#isDone && (first = this.#waiting[0]) !== undefined;) {
      let event: SseEvent | undefined
      try {
        event = this.#take()
      } catch (error) {
        this.#waiting.shift()
        first.reject(error)
        this.#end()
        return
      }
      if (event === undefined) break
      this.#waiting.shift()
      first.resolve({ done: false, value: event })
    }
    const { isClosed, isFinished } = this.#feed
    const isAtEnd = isClosed || (isFinished && this.#replay === undefined)
    if (this.#isDone || (isAtEnd && this.#waiting.length > 0)) this.#end()
    else if (this.#waiting.length > 0 && this.#replay !== undefined) void this.#readOn(this.#replay)
  }

  /** Reads on in the log, for those who wait. */
  async #readOn(replay: Replay): Promise<void> {
    if (this.#isReading) return
    this.#isReading = true
    const step = await replay.next()
    this.#isReading = false
    if (this.#isDone) return
    if ('position' in step) {
      const { history } = this.#feed
      if (isLeftBehind(this.#feed, step.position)) return void this.#readOn(replay)
      this.#replay = undefined
      this.#missed = addMissed(0, this.#feed, this.filter, step.position)
      this.#position = Math.max(step.position, history.start)
      this.#replayedTo = history.end
      this.#feed.fallBehind(this)
    } else {
      this.#missed = step.missed === 0 ? 0 : countedMissed(step.missed, this.#feed, this.filter)
      this.#replayed.push(...step.entries)
    }
    this.#serve()
  }

  /** The next event, where there is one. */
  #take(): SseEvent | undefined {
    if (this.#failure !== undefined) throw this.#failure.error
    const { history, whenBehind, isReplayed, counts } = this.#feed
    if (this.#missed !== 0) {
      const missed = this.#missed
      // Where it is not known whether it has missed any, it goes on.
      if (!this.#goesOn && missed !== null) throw new SubscriberTooSlowError(missed)
      this.#goesOn = whenBehind !== 'disconnect'
      this.#missed = 0
      counts.gaps++
      const isKnown = isReplayed && this.#replay === undefined
      return gapEvent(missed, isKnown ? this.#feed.idBefore(this.#position) : undefined)
    }
    for (let entry; (entry = this.#replayed.shift()) !== undefined;) {
      if (!this.#has(entry)) continue
      this.#sent++
      counts.sent++
      counts.replayed++
      return decodeEvent(entry.chunk.bytes)
    }
    if (this.#replay !== undefined) return undefined
    while (this.#position < history.end) {
      const entry = history.at(this.#position++)
      if (!this.#has(entry)) continue
      if (entry.isSuperseded && whenBehind === 'coalesce') {
        this.#drop(1)
        continue
      }
      this.#sent++
      counts.sent++
      if (this.#position <= this.#replayedTo) counts.replayed++
      return decodeEvent(entry.chunk.bytes)
    }
    return undefined
  }

  #has(entry: Entry): boolean {
    return this.filter?.has(entry) !== false
  }

  #drop(count: number): void {
    this.#dropped += count
    this.#feed.counts.dropped += count
  }

  #end(): void {
    if (!this.#isDone && this.#replay === undefined)
      this.#drop(this.#feed.unread(this.#position, this.filter))
    this.#isDone = true
    this.#replay?.cancel()
    this.#feed.delete(this)
    for (const { resolve } of this.#waiting.splice(0)) resolve({ done: true, value: undefined })
  }
}

// Promise.withResolvers is not in Node 20.
interface PromiseWithResolvers {
  readonly resolve: (result: IteratorResult<SseEvent, undefined>) => void
  readonly reject: (error: unknown) => void
}

function checkSubscribe(options: SubscribeOptions): SubscribeOptions {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(
      `Cannot subscribe with ${describe(options)}: expected an object such as { topics: ['orders'] }`,
    )
  const { topics, allow, lastEventId, signal, ...others } = options
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw new TypeError(
      `Cannot subscribe with ${describe(unknown)}: expected topics, allow, lastEventId or signal`,
    )
  // Also where it is undefined: a slip must not let everything through.
  if ('allow' in options && typeof allow !== 'function')
    throw new TypeError(`Cannot subscribe with allow ${describe(allow)}: it must be a function`)
  if (lastEventId !== undefined && typeof lastEventId !== 'string')
    throw new TypeError(
      `Cannot subscribe with lastEventId ${describe(lastEventId)}: it must be a string`,
    )
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new TypeError(`Cannot subscribe with signal ${describe(signal)}: expected an AbortSignal`)
  return {
    ...('topics' in options ? { topics: checkTopics('subscribe to', topics) } : {}),
    ...(allow === undefined ? {} : { allow }),
    ...(lastEventId === undefined ? {} : { lastEventId }),
    ...(signal === undefined ? {} : { signal }),
  }
}
