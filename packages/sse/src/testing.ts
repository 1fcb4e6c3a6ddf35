/** `@wakerobin/sse/testing`: event streams under test, without sockets, on a clock that the test moves. */

import { HeaderMap } from '@wakerobin/core'
import type { Body } from '@wakerobin/core'
import { describe, isBodySource } from '@wakerobin/core/adapter'
import type { OpenResponse, TestApp, TestOpenRequest } from '@wakerobin/core/testing'

import { EventParser } from './event-parser.ts'
import type { ReceivedEvent } from './event-parser.ts'
import { EventStream } from './event-stream.ts'
import type { StreamEnd } from './options.ts'
import { ticker } from './ticker.ts'

export {
  eventLogConformance,
  type ConformanceTest,
  type LogMaker,
} from './event-log-conformance.ts'
export type { ReceivedEvent } from './event-parser.ts'

/** What an event stream is asked for with. Unless `headers` say otherwise, it accepts event streams alone. */
export interface TestStreamRequest extends TestOpenRequest {
  /** What the client says in `Last-Event-ID`. Default: nothing. */
  lastEventId?: string
  /** How long `next` waits, in milliseconds of real time. Default 5 000; `Infinity` for ever. */
  timeoutMs?: number
}

/** Opens an event stream of an app.
 *
 * ```ts
 * import assert from 'node:assert/strict'
 * import { testApp } from '@wakerobin/core/testing'
 * import { Broadcaster, sse } from '@wakerobin/sse'
 * import { testStream } from '@wakerobin/sse/testing'
 *
 * const chat = new Broadcaster()
 * const app = testApp(sse(() => chat))
 *
 * const stream = await testStream(app, '/')
 * chat.publish('joined', 'Fern')
 * assert.equal((await stream.next('joined')).data, 'Fern')
 *
 * await app.shutDown()
 * assert.equal((await stream.ended).reason, 'shutdown')
 * ```
 * @returns The stream, as soon as its head is out.
 * @throws {Error} When the answer is another, and says which. What `app.open` throws. */
export async function testStream<Events = Record<string, unknown>>(
  app: TestApp,
  target: string,
  { lastEventId, timeoutMs = 5_000, ...request }: TestStreamRequest = {},
): Promise<TestStream<Events>> {
  const headers = new HeaderMap(request.headers)
  if (!headers.has('accept')) headers.set('Accept', 'text/event-stream')
  if (lastEventId !== undefined) headers.set('Last-Event-ID', lastEventId)
  const response = await app.open(target, { ...request, headers })
  const body = eventStreamOf(response.conn.responseBody)
  if (body !== undefined) {
    const stream = new TestStream<Events>(response, body, { lastEventId, timeoutMs })
    await settled() // it has read what came with the head
    return stream
  }
  response.leave()
  response.assertOk().assertHeader('Content-Type', 'text/event-stream')
  throw new Error(
    `Expected ${nameOf(response)} to answer with a stream of @wakerobin/sse, but its body was made otherwise`,
  )
}

/** The event stream that a body is, or wraps, as the one of a logger does. */
function eventStreamOf(body: Body | undefined): EventStream | undefined {
  let source: unknown = body
  while (isBodySource(source) && !(source instanceof EventStream)) source = source.inner
  return source instanceof EventStream ? source : undefined
}

/** Lets time pass for the event streams of this process: their heartbeats, ages, expiries (`until`) and stalls.
 *
 * Timers of the app's own are none of it: for those, the test runner has a clock.
 * @returns A promise that resolves when what follows from it at once has happened.
 * @throws {TypeError | RangeError} When `ms` is not a finite number from 0. */
export async function advance(ms: number): Promise<void> {
  if (!(Number.isFinite(ms) && ms >= 0)) {
    const ErrorClass = typeof ms === 'number' ? RangeError : TypeError
    throw new ErrorClass(
      `Cannot advance by ${describe(ms)}: it must be a finite number of milliseconds from 0`,
    )
  }
  await settled()
  for (let left = ms; left > 0;) {
    const step = Math.min(left, ticker.tickMs)
    left -= step
    ticker.advance(step)
    await settled()
  }
}

/** An event stream under test, from the side of its client: made by `testStream`.
 *
 * With the map of a broadcaster from types to data, `json()` of an event has the type of its data:
 * `(await testStream<Orders>(app, '/')).next('shipped')`. */
export class TestStream<Events = Record<string, unknown>> {
  /** The status, the headers and the bytes. */
  readonly response: OpenResponse
  /** How the stream went, when it is over, as `onEnd` is told. `ms` is real time.
   *
   * It is over also when its end is written for a client that stalls; `onEnd` waits until that reads on or leaves. */
  readonly ended: Promise<StreamEnd>
  readonly #parser: EventParser
  readonly #timeoutMs: number
  /** How many events `next` has gone past. */
  #taken = 0
  /** Those who wait for an event, in the order in which they asked. */
  readonly #waiting: Waiting[] = []
  #end: StreamEnd | undefined

  /** Use `testStream(app, target)`. */
  constructor(
    response: OpenResponse,
    stream: EventStream,
    { lastEventId, timeoutMs }: { lastEventId: string | undefined; timeoutMs: number },
  ) {
    this.response = response
    this.#parser = new EventParser(lastEventId)
    this.#timeoutMs = timeoutMs
    const unread = this.response.endedUnread.then(() => stream.summary(true))
    this.ended = Promise.race([this.#read(stream), unread])
  }

  /** The events that have come so far. */
  get events(): readonly ReceivedEvent[] {
    return this.#parser.events
  }

  /** The comments that have come so far. The first, which is empty, opens every stream; heartbeats are empty, too. */
  get comments(): readonly string[] {
    return this.#parser.comments
  }

  /** The last reconnection time that the client was told, in milliseconds. */
  get retryMs(): number | undefined {
    return this.#parser.retryMs
  }

  /** What the client would say in `Last-Event-ID` when it reconnects. */
  get lastEventId(): string {
    return this.#parser.lastEventId
  }

  /** Returns the next event, waiting for it where it has not come yet.
   * @param type Goes on to the next event of this type, past others, which are still in `events`.
   * @throws {Error} When the stream ends before, or when nothing comes in time: see `timeoutMs`. */
  next<K extends keyof Events & string>(type: K): Promise<ReceivedEvent<Events[K]>>
  next(type?: string): Promise<ReceivedEvent>
  async next(type?: string): Promise<ReceivedEvent> {
    const event = await new Promise<ReceivedEvent | Failure>((settle) => {
      const waiting: Waiting = { type, settle, timer: undefined }
      if (this.#timeoutMs < Infinity)
        waiting.timer = realSetTimeout(() => this.#giveUp(waiting), this.#timeoutMs)
      this.#waiting.push(waiting)
      this.#serve()
    })
    // Thrown from here, so that the stack leads to whoever has asked.
    if ('failure' in event) throw new Error(event.failure)
    return event
  }

  /** The client stops reading: see `writeTimeoutMs`. */
  stall(): void {
    this.response.stall()
  }

  /** The client reads on. */
  resume(): void {
    this.response.resume()
  }

  /** The client leaves. */
  leave(): void {
    this.response.leave()
  }

  async #read(stream: EventStream): Promise<StreamEnd> {
    for await (const bytes of this.response) {
      this.#parser.feed(bytes)
      this.#serve()
    }
    const { isCut } = await this.response.ended
    this.#end = stream.summary(!isCut)
    this.#serve()
    return this.#end
  }

  /** Gives those who wait what there is, one after the other. */
  #serve(): void {
    for (let first; (first = this.#waiting[0]) !== undefined;) {
      const { type } = first
      const isWanted = (event: ReceivedEvent, at: number): boolean =>
        at >= this.#taken && (type === undefined || event.type === type)
      const at = this.events.findIndex(isWanted)
      if (at !== -1) {
        this.#taken = at + 1
        this.#settle(first, this.events[at]!)
      } else if (this.#end !== undefined) {
        this.#settle(first, this.#failure(type, `, but the stream ended (${this.#end.reason})`))
      } else {
        return
      }
    }
  }

  #giveUp(waiting: Waiting): void {
    const what = ` within ${this.#timeoutMs} ms, but the stream was silent`
    this.#settle(waiting, this.#failure(waiting.type, what))
  }

  #settle(waiting: Waiting, outcome: ReceivedEvent | Failure): void {
    realClearTimeout(waiting.timer)
    this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
    waiting.settle(outcome)
  }

  #failure(type: string | undefined, what: string): Failure {
    const wanted = type === undefined ? 'an event' : `an event of type ${describe(type)}`
    const shown = this.events.slice(-10).map(({ type, data }) => `${type} ${describe(data)}`)
    const more = this.events.length > shown.length ? '…, ' : ''
    const after = shown.length === 0 ? 'no event' : more + shown.join(', ')
    return { failure: `Expected ${nameOf(this.response)} to send ${wanted}${what} after ${after}` }
  }
}

interface Waiting {
  readonly type: string | undefined
  readonly settle: (outcome: ReceivedEvent | Failure) => void
  timer: ReturnType<typeof setTimeout> | undefined
}

interface Failure {
  /** What to say of it. */
  readonly failure: string
}

// Those of the world, also while a test has put a clock of its own in their place.
const { setTimeout: realSetTimeout, clearTimeout: realClearTimeout } = globalThis

function nameOf({ conn }: OpenResponse): string {
  return `${conn.method} ${conn.pathAndQuery}`
}

/** Some turns of the promises: what happens by itself has then happened. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await undefined
}
