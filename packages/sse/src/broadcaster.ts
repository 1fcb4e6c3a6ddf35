/** One event to many clients: encoded once, kept in a bounded history, read by cursors. */

import { Chunk, describe, encodeText, listed } from '@wakerobin/core/adapter'

import { checkBroadcasterOptions } from './broadcaster-options.ts'
import type { BroadcasterOptions, CheckedOptions } from './broadcaster-options.ts'
import { encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable, EventFields } from './event.ts'
import { Feed } from './feed.ts'
import type { EndReason } from './options.ts'
import type { Subscriber } from './subscriber.ts'
import { everything, Subscription } from './subscription.ts'
import type { SubscribeOptions } from './subscription.ts'
import { checkTopics } from './topics.ts'

/** The events of a broadcaster that is given no types of its own: any type, with text. */
export type TextEvents = Record<string, string>

/** What is no event of any type: clients read it, and dispatch nothing. */
export type Note = Pick<EventFields, 'comment' | 'retry'> & { data?: undefined; type?: undefined }

/** What `publish` takes as an event without a type: a `message`, or a note. */
export type MessageOf<Events> =
  | (string extends keyof Events ? Eventable : Note)
  | (Events extends { message: string } ? string : never)

/** What can be said of an event besides its type and data. */
export interface PublishOptions {
  /** What it is about: those who are subscribed to one of the topics get it, and those who are subscribed to all.
   * Left out, it is for everyone; undefined is refused, because it may be a slip. */
  topic?: string | readonly string[]
  /** An id of the app's own, one line of at most 1,024 characters; each event should have another. Default: one that
   * is made of an epoch of the broadcaster and a count. */
  id?: string
}

/** What has happened at a broadcaster. What is a count counts from its beginning. */
export interface BroadcasterStats {
  /** How many clients and loops are subscribed. */
  readonly subscribers: number
  /** How many of them have not read all that is for them. */
  readonly behind: number
  /** How many events the slowest of them has not read. */
  readonly mostBehind: number
  /** How many events are kept. */
  readonly historyEvents: number
  /** How many bytes of events are kept. */
  readonly historyBytes: number
  /** How many events were published. */
  readonly published: number
  /** How many subscribers there have been. */
  readonly opened: number
  /** How many streams have ended, by their reason. */
  readonly ended: Readonly<Record<EndReason, number>>
  /** How many events were given to subscribers, each for each. */
  readonly sent: number
  /** How many were not, because a subscriber was too slow, or has left before. */
  readonly dropped: number
  /** How many of those sent were older than the connection. */
  readonly replayed: number
  /** How many times a subscriber was told that it has missed events. */
  readonly gaps: number
}

// oxlint-disable-next-line typescript/no-explicit-any -- whatever its events are
export type AnyBroadcaster = Broadcaster<any>

/** Sends every event to every subscriber, and keeps the last ones for those who come back.
 *
 * ```ts
 * import { State, handlers, type Handler } from '@wakerobin/core'
 * import { Broadcaster } from '@wakerobin/sse'
 *
 * const broadcaster = new Broadcaster()
 * const app: Handler = handlers(State.new(broadcaster), (conn) => conn.withSseStream(conn.state(Broadcaster)))
 * void broadcaster.publish('hello')
 * void broadcaster.publish('joined', 'alice')
 * ```
 *
 * With a map from types to data, `publish` is checked: `new Broadcaster<{ joined: User; left: { id: string } }>()`.
 * Text is sent as it is, everything else as JSON.
 *
 * An event is encoded once, however many clients there are. Memory is bounded by the history, not by the number of
 * slow clients: each is a position in it. A client that reconnects with a `Last-Event-ID` gets what it has missed, and
 * then what is new; where the history no longer has that, it gets an event of type `gap` first, with the data
 * `{"missed":12}`, or `null` in place of a number that nobody knows. */
export class Broadcaster<
  in out Events extends { [K in keyof Events]: unknown } = TextEvents,
> implements AsyncIterable<SseEvent> {
  readonly #feed: Feed
  readonly #options: CheckedOptions

  /** @throws {TypeError | RangeError} When an option cannot be used. */
  constructor(options: BroadcasterOptions<NoInfer<Events>> = {}) {
    this.#options = checkBroadcasterOptions(options)
    this.#feed = new Feed(this.#options)
  }

  /** Sends a `message`, or whatever event is given, to everyone who is subscribed.
   * @returns The id of the event. With a log: as soon as the log has it; it rejects where the log has not taken it.
   * @throws {TypeError | RangeError} When a field may not be sent: see `EventFields`. Nothing is sent then.
   * @throws {TypeError} When the type is `gap`, or the broadcaster is closed. */
  publish(event: MessageOf<Events>): Promise<string>
  /** The same, to those who are subscribed to one of its topics. */
  publish(event: Exclude<MessageOf<Events>, string>, options: PublishOptions): Promise<string>
  /** Sends an event of a type to everyone who is subscribed, or subscribed to one of its topics.
   * @throws {TypeError} When the data has no JSON form. */
  publish<K extends keyof Events & string>(
    type: K,
    data: Events[K],
    options?: PublishOptions,
  ): Promise<string>
  publish(first: unknown, ...rest: unknown[]): Promise<string> {
    if (typeof first !== 'string' || rest.length === 0) {
      const event = SseEvent.from(first as Eventable)
      return this.#append(event, event.data, rest[0])
    }
    const [data, options] = rest
    const event = {
      type: first === 'message' ? undefined : first,
      data: this.#serialize(data, first),
    }
    return this.#append(event, data, options)
  }

  /** Subscribes from now on, or from after an event. The subscription is an async iterable of the events.
   * @throws {TypeError} When an option cannot be used. */
  subscribe(options: SubscribeOptions = everything): Subscription {
    return new Subscription(this.#feed, options)
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<SseEvent, undefined> {
    return this.subscribe()[Symbol.asyncIterator]()
  }

  /** Resolves when it is known where the log stands, at once where there is none. It need not be awaited: streams that
   * begin before wait for it, and publishing does not. */
  get ready(): Promise<void> {
    const { follower } = this.#feed
    if (follower === undefined || follower.hasBegun) return Promise.resolve()
    return new Promise((resolve) => follower.whenMore(resolve))
  }

  /** The id of where the broadcaster stands: who subscribes with it gets what is published from now on, also where it
   * does so later. For a page that is made of a state, and whose stream goes on from there. With a log, `''` until it
   * is `ready`. */
  get lastEventId(): string {
    return this.#feed.idBefore(this.#feed.history.end)
  }

  /** How many clients and loops are subscribed. */
  get subscriberCount(): number {
    return this.#feed.readers.size
  }

  /** Who is subscribed now. */
  subscribers(): Subscriber[] {
    return Array.from(this.#feed.readers, (reader) => reader.status())
  }

  /** Ends the streams of some subscribers now, whatever they have not read. What has not begun yet is none of them: it
   * meets `allow`. A client comes back by itself: what it gets
   * then is for the handlers before the stream to say.
   * @param reason What `onEnd` is told: one of the reasons that it knows. Default `revoked`.
   * @returns How many there were.
   * @throws {TypeError} When the predicate is no function. @throws {RangeError} When the reason is none of these. */
  disconnect(
    predicate: (subscriber: Subscriber) => boolean,
    reason: EndReason = 'revoked',
  ): number {
    if (typeof predicate !== 'function')
      throw new TypeError(
        `Cannot disconnect ${describe(predicate)}: expected a function of the subscriber, which says whether it is meant`,
      )
    if (!Object.hasOwn(this.#feed.counts.ended, reason))
      throw new RangeError(
        `Cannot disconnect for ${describe(reason)}: expected one of ${listed(Object.keys(this.#feed.counts.ended), 'or')}`,
      )
    const chosen = [...this.#feed.readers].filter((reader) => predicate(reader.status()))
    const ends = chosen.map((reader) => reader.disconnect(reason))
    for (const end of ends) end()
    return chosen.length
  }

  /** What is going on, and what has. */
  stats(): BroadcasterStats {
    this.#feed.trim() // what is too old is not kept
    const { history, counts } = this.#feed
    const subscribers = this.subscribers()
    return {
      subscribers: subscribers.length,
      behind: subscribers.filter(({ behind }) => behind > 0).length,
      mostBehind: subscribers.reduce((most, { behind }) => Math.max(most, behind), 0),
      historyEvents: history.end - history.start,
      historyBytes: history.bytes,
      published: history.end,
      ...counts,
      ended: { ...counts.ended },
    }
  }

  /** Ends every subscription, after what was published before; with a log, after what was read from it by then. A second
   * call does nothing. */
  close(): void {
    this.#feed.close()
  }

  get isClosed(): boolean {
    return this.#feed.isClosed
  }

  #serialize(data: unknown, type: string): string {
    const text: unknown = this.#options.serialize(data, type)
    if (typeof text === 'string') return text
    throw new TypeError(
      `Cannot publish ${describe(data)} as ${describe(type)}: its serialized form is ${describe(text)}, not a string`,
    )
  }

  #append(fields: EventFields, data: unknown, options: unknown): Promise<string> {
    const { topics, id: ownId = fields.id } = checkPublish(options)
    const event = { ...fields, id: ownId }
    const feed = this.#feed
    if (feed.isClosed)
      throw new TypeError(`Cannot publish ${describe(event.data)}: the broadcaster is closed`)
    if (event.type === 'gap')
      throw new TypeError(
        'Cannot publish an event of type "gap": it tells a client that it has missed events',
      )
    const key = this.#keyOf(event, topics, data) // it calls the app, which may publish
    const { log } = this.#options
    if (log !== undefined) {
      if (ownId !== undefined)
        throw new TypeError(
          `Cannot publish with the id ${describe(ownId)}: events of a log have its own ids`,
        )
      const appended = log.append({ text: encodeEvent(event), topics, key })
      appended.catch(() => {}) // who wants to know has awaited it
      return appended
    }
    const position = feed.history.end
    const id = ownId ?? feed.ids.of(position)
    // Without data there is nothing to go on after.
    const isNamed = ownId === undefined && event.data !== undefined && feed.isReplayed
    const chunk = new Chunk(encodeText(encodeEvent(isNamed ? { ...event, id } : event)))
    feed.append({
      chunk,
      topics,
      ownId,
      key,
      hasId: isNamed || ownId !== undefined,
      isSuperseded: false,
      time: performance.now(),
    })
    return Promise.resolve(id)
  }

  /** Events of the same topics replace each other alone: whoever gets one gets the other. */
  #keyOf(
    event: EventFields,
    topics: readonly string[] | undefined,
    data: unknown,
  ): string | undefined {
    if (event.data === undefined) return undefined
    const key = this.#options.keyOf(event.type ?? 'message', data)
    if (key === undefined || topics === undefined) return key
    return `${key}\n${JSON.stringify(topics.toSorted())}`
  }
}

/** @throws {TypeError} When an option cannot be used. */
function checkPublish(options: unknown): { topics?: readonly string[]; id?: string } {
  if (options === undefined) return {}
  if (typeof options !== 'object' || options === null)
    throw new TypeError(
      `Cannot publish with ${describe(options)}: expected an object such as { topic: 'orders' }`,
    )
  const { topic, id, ...others } = options as PublishOptions
  const [unknown] = Object.keys(others)
  if (unknown !== undefined)
    throw new TypeError(`Cannot publish with ${describe(unknown)}: expected topic or id`)
  return {
    // Also where it is undefined: an event for few must not reach all by a slip.
    ...('topic' in options ? { topics: checkTopics('publish to', topic, 1) } : {}),
    ...(id === undefined ? {} : { id }),
  }
}
