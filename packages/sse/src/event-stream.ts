/** One event stream: between the source of its events and the client, with the one truth about its end.
 *
 * To the server it is the body, to the source of the events it is the sink: heartbeats, its age and its stalls are
 * dealt with here, and neither side knows. Only a source that writes to many streams at once writes past it, and tells
 * it of that. */

import type { BodySink, BodySource, Conn } from '@wakerobin/core'
import { Chunk, encodeText, isPromiseLike, onErrorOf } from '@wakerobin/core/adapter'
import type { CloseCause } from '@wakerobin/core/adapter'

import { emptyComment, encodeEvent } from './encode.ts'
import { checkDate } from './options.ts'
import type { EndReason, SseOptions, StreamEnd, StreamOptions } from './options.ts'
import { SubscriberTooSlowError } from './subscription.ts'
import { ticker } from './ticker.ts'
import type { Ticking } from './ticker.ts'

/** How a stream goes. Its source says how many events went out, or did not. */
export interface StreamTally {
  sent: number
  dropped: number
  /** Why it has ended, or is about to. */
  reason: EndReason | undefined
}

/** Where a source of events writes to. */
export interface EventSink extends BodySink {
  /** The sink behind it, to be written events to where looking at each stream would cost too much. */
  readonly direct: BodySink
  /** So many events have been written there, since the last call. */
  wrote(count: number): void
  /** There was no room there: the source waits for `drained`. */
  filled(): void
}

/** A source of events, which may have something better to say than nothing. */
export interface EventSource extends BodySource {
  start(sink: EventSink): void
  /** Says what it has written past the stream. */
  tell?(): void
  /** What a heartbeat is to tell the client of where it stands; undefined where it knows. */
  standing?(heartbeat: Chunk): Chunk | undefined
}

export class EventStream implements BodySource, EventSink, StreamTally, Ticking {
  sent = 0
  dropped = 0
  reason: EndReason | undefined
  readonly #options: StreamOptions
  readonly #events: EventSource
  #onOver: (() => void) | undefined
  #onStart: (() => void) | undefined
  // Numbers that most streams never get stay undefined: they would cost memory of their own.
  /** When it has to end, on the ticker's clock. */
  #lastTick: number | undefined
  /** When it has to end, on the clock of the world. */
  #until: number | undefined
  /** The same on the ticker's clock, which only a test lets run ahead of the world's. */
  #untilTick: number | undefined
  #sink: BodySink | undefined
  /** In whole milliseconds of `performance.now()`. */
  #startedAt: number | undefined
  #error: unknown
  #isOver = false
  /** Whether something was written since the last tick. */
  #hasWritten = false
  #writtenAt = 0
  /** Whether anything was written at all. */
  #hasBegun = false
  #isFull = false
  /** Whether the source of the events waits for room. */
  #isWaiting = false
  #fullAt: number | undefined

  /** @param open Makes the source of the events, which counts them here. */
  constructor(conn: Conn, options: StreamOptions, open: (count: StreamTally) => EventSource) {
    this.#options = options
    this.#events = open(this)
    try {
      this.#until = timeOf(options.until, conn)
    } catch (error) {
      this.#events.closed('unsent') // there will be no stream of them
      throw error
    }
    const { onStart, onEnd } = options
    if (onStart !== undefined) this.#onStart = () => tellStart(conn, onStart)
    if (onEnd !== undefined) conn.afterSend((isSent) => onEnd(conn, this.summary(isSent)))
  }

  get isEndless(): true {
    return true
  }

  get tickMs(): number {
    return this.#options.tickMs
  }

  /** Calls back when it is over, for whatever reason; at once, where it is. For one. */
  whenOver(callback: () => void): void {
    if (this.#isOver) callback()
    else this.#onOver = callback
  }

  // ------------------------------------------------------------------------- for the server

  start(sink: BodySink): void {
    this.#sink = sink
    this.#startedAt = Math.round(performance.now())
    this.#writtenAt = ticker.now
    const { maxAgeMs } = this.#options
    if (maxAgeMs[0] < Infinity) this.#lastTick = ticker.now + drawn(maxAgeMs)
    if (this.#until !== undefined) {
      const left = this.#until - Date.now()
      if (left <= 0) {
        // None of its events goes out.
        this.#over('revoked')
        this.#events.closed('unsent')
        sink.write(heartbeat)
        sink.end()
        return
      }
      this.#untilTick = ticker.now + left
    }
    ticker.add(this)
    this.#events.start(this)
    this.#hasWritten = false // the opening, of this moment
    if (this.#hasBegun) this.#onStart?.() // a source may have failed before
  }

  drained(): void {
    this.#isFull = false
    this.#fullAt = undefined // it reads, however slowly: the next stall is another
    if (!this.#isWaiting) return // a heartbeat has filled it
    this.#isWaiting = false
    this.#events.drained()
  }

  stop(): void {
    if (!this.#options.finish) this.#finish('shutdown')
  }

  closed(cause: CloseCause, error?: unknown): void {
    if (cause === 'failure') this.#error = error
    this.#over(reasonOf[cause])
    this.#events.closed(cause)
  }

  // --------------------------------------------------------------- for the source of the events

  write(chunk: Chunk | Uint8Array): boolean {
    this.#hasWritten = true
    this.#hasBegun = true
    const hasRoom = this.#sink!.write(chunk)
    if (!hasRoom) this.filled()
    return hasRoom
  }

  get direct(): BodySink {
    return this.#sink!
  }

  wrote(count: number): void {
    this.sent += count
    this.#hasWritten = true
    this.#hasBegun = true
  }

  filled(): void {
    this.#isFull = this.#isWaiting = true
  }

  end(): void {
    this.#over('done')
    const words = this.#lastWords()
    if (words !== undefined) this.#sink!.write(words)
    this.#sink!.end()
  }

  abort(error: unknown): void {
    // A loop around a subscription is as slow as its client.
    if (error instanceof SubscriberTooSlowError) return this.cut()
    this.#error = error
    this.#over('error')
    // Nothing is out yet: the client gets a 500, which says more than an event.
    const words = this.#hasBegun ? this.#mapped(error) : undefined
    if (words === undefined) {
      this.#sink!.abort(this.#error)
      return
    }
    try {
      this.#sink!.write(words)
    } catch {
      this.#sink!.abort(this.#error) // it may be the client that fails, and not the source
      return
    }
    this.sent++
    this.#sink!.end()
  }

  cut(): void {
    this.#over('slow')
    this.#sink!.cut()
  }

  // -------------------------------------------------------------------------------- for the ticker

  tick(now: number): void {
    this.#events.tell?.()
    if (this.#hasWritten) this.#writtenAt = now
    this.#hasWritten = false
    if (isPast(this.#lastTick, now)) this.#finish('max-age')
    else if (isPast(this.#untilTick, now) || isPast(this.#until, Date.now()))
      this.#finish('revoked')
    else if (this.#isFull) this.#checkStall(now)
    else this.#checkSilence(now)
  }

  #checkStall(now: number): void {
    this.#fullAt ??= now
    if (now - this.#fullAt < this.#options.writeTimeoutMs) return
    this.reason ??= 'slow'
    this.#events.closed('client')
    this.cut()
  }

  #checkSilence(now: number): void {
    if (now - this.#writtenAt < this.#options.heartbeatMs) return
    this.#writtenAt = now
    const beat = this.#events.standing?.(heartbeat) ?? heartbeat
    if (!this.#sink!.write(beat)) this.#isFull = true
  }

  // ------------------------------------------------------------------------------------ the end

  /** Lets the source end the stream: after what was published before, where it is a broadcaster. */
  #finish(reason: EndReason): void {
    if (this.reason !== undefined) return
    this.reason = reason
    this.#events.stop()
  }

  #over(reason: EndReason | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.reason ??= reason
    ticker.delete(this)
    this.#onOver?.()
  }

  #lastWords(): Uint8Array | undefined {
    if (this.reason === 'shutdown') return retryOf(this.#options.stopRetryMs)
    if (this.reason === 'max-age') return retryOf(soon)
    return undefined
  }

  #mapped(error: unknown): Uint8Array | undefined {
    try {
      const event = this.#options.mapError?.(error)
      if (isPromiseLike(event)) {
        event.then(undefined, () => {})
        throw new TypeError('Cannot send a promise as an event: mapError must not be async')
      }
      return event === undefined ? undefined : encodeText(encodeEvent(event))
    } catch (mapError) {
      this.#error = new AggregateError([error, mapError], 'mapError has failed')
      return undefined
    }
  }

  /** How it went: to be asked when all is over. */
  summary(isSent: boolean): StreamEnd {
    this.#events.tell?.() // where a server asks before it has closed the source
    const { sent, dropped } = this
    const reason: EndReason = this.reason ?? (isSent ? 'done' : 'client')
    const ms =
      this.#startedAt === undefined
        ? 0
        : Math.max(0, Math.round(performance.now()) - this.#startedAt)
    const end = { reason, sent, dropped, ms }
    return reason === 'error' ? { ...end, error: this.#error } : end
  }
}

/** Where it was never begun, how the response went tells why. */
const reasonOf = {
  client: 'client',
  stop: 'shutdown',
  failure: 'error',
  unsent: undefined,
} as const

function tellStart(conn: Conn, onStart: NonNullable<SseOptions['onStart']>): void {
  const report = (error: unknown): void => onErrorOf(conn)(error, { conn, place: 'onStart' })
  try {
    const pending: unknown = onStart(conn)
    if (isPromiseLike(pending)) pending.then(undefined, report)
  } catch (error) {
    report(error)
  }
}

function isPast(time: number | undefined, now: number): boolean {
  return time !== undefined && now >= time
}

const heartbeat = new Chunk(encodeText(emptyComment))

/** After a stream that was too old, the client is expected back. */
const soon = [0, 1000] as const

/** When a stream has to end, on the clock of the world. */
function timeOf(until: SseOptions['until'], conn: Conn): number | undefined {
  const date = typeof until === 'function' ? until(conn) : until
  return date === undefined ? undefined : checkDate(date).getTime()
}

/** A reconnection time from a range, both ends of which it may be, drawn anew at each call.
 *
 * The client obeys the line as it reads it: WHATWG HTML §9.2.6 (#event-stream-interpretation). */
function retryOf([min, max]: readonly [min: number, max: number]): Uint8Array {
  const retry = min + Math.floor(Math.random() * (max - min + 1))
  return encodeText(encodeEvent({ retry }))
}

function drawn([min, max]: readonly [min: number, max: number]): number {
  return min === max ? min : min + Math.random() * (max - min)
}
