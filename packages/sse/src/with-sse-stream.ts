/** `conn.withSseStream(events)`: answers with an event stream. */

import { Conn, type Halted } from '@wakerobin/core'
import {
  describe,
  encodeText,
  presetHeaders,
  PullSource,
  type Chunk,
  type Pullable,
} from '@wakerobin/core/adapter'

import { wantsEventStream } from './accept.ts'
import { BroadcastSource } from './broadcast-source.ts'
import { Broadcaster, type AnyBroadcaster } from './broadcaster.ts'
import { encodeEvent } from './encode.ts'
import type { Eventable } from './event.ts'
import { EventStream, type EventSource, type StreamTally } from './event-stream.ts'
import { gatesOf, type Gate } from './gate.ts'
import { lastEventId } from './last-event-id.ts'
import { openingOf } from './opening.ts'
import { checkOptions, type SseOptions, type StreamOptions } from './options.ts'
import { Run } from './run.ts'
import { Subscription } from './subscription.ts'

/** What an event stream can be made from: an iterable, an async iterable, a `ReadableStream` or a
 * `Broadcaster` of eventables, a `Run`, or a function that returns one and is given a signal, which aborts
 * when the stream is over, for whatever reason. */
export type SseSource = AnyBroadcaster | Subscription | Run | Pullable<Eventable>

declare module '@wakerobin/core' {
  interface ConnExtensions {
    /** Answers with an event stream, and halts: see `withSseStream` of `@wakerobin/sse`. */
    withSseStream(events: SseSource, options?: SseOptions): Halted
  }
}

/** Answers with an event stream, and halts.
 *
 * Sets status 200, `Content-Type: text/event-stream`, `Cache-Control: no-cache, no-transform` and
 * `X-Accel-Buffering: no`. The head and a comment go out at once, so that the client's `open` fires.
 * The stream is interrupted by the swansong: when the server stops, it ends after a whole event, and
 * a `retry` that spreads the clients over some seconds. When the client leaves, the source is closed,
 * even while it is waiting.
 *
 * ```ts
 * import type { Handler } from '@wakerobin/core'
 * import { SseEvent } from '@wakerobin/sse'
 *
 * const app: Handler = (conn) => conn.withSseStream(['one', SseEvent.new('two').withType('number')])
 * ```
 * @throws {TypeError} When `events` is no stream: a string is none, and neither is undefined.
 * @throws {TypeError | RangeError} When an option cannot be used: see `SseOptions`. */
export function withSseStream(conn: Conn, events: SseSource, options?: SseOptions): Halted {
  return openStream(conn, events, checkOptions(options))
}

/** Answers with an event stream whose options were checked.
 * @param follower Is given the stream, or told that there is none. */
export function openStream(
  conn: Conn,
  events: SseSource,
  options: StreamOptions,
  follower?: StreamFollower,
): Halted {
  const open = opener(conn, events, openingOf(options.retryMs))
  const gates = gatesOf(conn)
  const full = gates.find(({ isFull }) => isFull)
  if (full !== undefined && conn.method !== 'HEAD') {
    open({ sent: 0, dropped: 0, reason: undefined }).closed('unsent')
    follower?.over()
    return refuseStream(conn, full)
  }
  const stream = new EventStream(conn, options, open)
  follower?.follow(stream)
  const halted = send(conn, stream)
  if (conn.method !== 'HEAD') {
    for (const gate of gates) {
      gate.enter()
      conn.afterSend(() => gate.leave())
    }
  }
  return halted
}

/** Whoever is to know when the stream is over. */
export interface StreamFollower {
  follow(stream: EventStream): void
  over(): void
}

/** Tells a client to come back later: an EventSource by a stream, because it gives up for ever on any other status. */
export function refuseStream(conn: Conn, { retryMs: [min, max] }: Pick<Gate, 'retryMs'>): Halted {
  const retry = min + Math.floor(Math.random() * (max - min + 1))
  if (isEventSource(conn)) {
    const open = opener(conn, [{ retry }], openingOf(undefined))
    return send(conn, new EventStream(conn, checkOptions(undefined), open))
  }
  conn.responseHeaders.set('Retry-After', Math.ceil(retry / 1000))
  return conn.withStatus(503).withBody('').halt()
}

/** Others than GET come from clients that send it by fetch, and read the status. */
export function isEventSource(conn: Conn): boolean {
  return conn.method === 'GET' && wantsEventStream(conn)
}

const headers = [
  ['Content-Type', 'text/event-stream'],
  ['Cache-Control', 'no-cache, no-transform'],
  ['X-Accel-Buffering', 'no'],
].flat()

function send(conn: Conn, body: EventStream): Halted {
  presetHeaders(conn, headers)
  return conn.withStatus(200).withBody(body).halt()
}

Conn.prototype.withSseStream = function (
  this: Conn,
  events: SseSource,
  options?: SseOptions,
): Halted {
  return withSseStream(this, events, options)
}

function opener(
  conn: Conn,
  events: SseSource,
  opening: Chunk,
): (tally: StreamTally) => EventSource {
  if (events instanceof Run) return opener(conn, ofRun(events, conn), opening)
  if (events instanceof Broadcaster || events instanceof Subscription) {
    const subscription = events instanceof Broadcaster ? events.subscribe() : events
    return (tally) => new BroadcastSource(conn, subscription, opening, tally)
  }
  if (!isPullable(events)) {
    throw new TypeError(
      `Cannot stream ${describe(events)}: expected an iterable, an async iterable, a ReadableStream, a Broadcaster, or a function that returns one`,
    )
  }
  return (tally) => {
    const encode = (event: Eventable): Uint8Array => {
      ignoreRejection(event)
      const bytes = encodeText(encodeEvent(event))
      tally.sent++
      return bytes
    }
    return new PullSource(events, encode, { prelude: opening, isEndless: true })
  }
}

/** From the beginning, where the client says nothing: else a run would go on from now, as a broadcaster does. */
function ofRun(run: Run, conn: Conn): Subscription {
  return run.subscribe({ lastEventId: lastEventId(conn) })
}

/** A string is an iterable of its characters and bytes are one of numbers: never what was meant. */
function isPullable(events: unknown): boolean {
  if (typeof events === 'function') return true
  if (typeof events !== 'object' || events === null || ArrayBuffer.isView(events)) return false
  return (
    Symbol.asyncIterator in events || Symbol.iterator in events || events instanceof ReadableStream
  )
}

/** A promise is no event, and is refused as such; that it rejects later is nobody's business then. */
function ignoreRejection(event: unknown): void {
  if (event instanceof Promise) event.catch(() => {})
}
