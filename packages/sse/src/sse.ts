/** `sse(connect)`: event streams as a handler. */

import { Conn } from '@wakerobin/core'
import type { Halted, HandlerObject } from '@wakerobin/core'
import { describe, isPromiseLike } from '@wakerobin/core/adapter'

import { acceptsEventStream, varyByAccept } from './accept.ts'
import type { EventStream } from './event-stream.ts'
import { lastEventId } from './last-event-id.ts'
import { checkOptions } from './options.ts'
import type { SseOptions } from './options.ts'
import { openStream } from './with-sse-stream.ts'
import type { SseSource, StreamFollower } from './with-sse-stream.ts'

/** What `connect` is given besides the conn. */
export interface SseContext {
  /** Aborts when the stream is over, for whatever reason; where there is none, when the answer in its place is over,
   * or at once, where the conn is passed on. */
  readonly signal: AbortSignal
  /** The id of the last event that the client has got, where it says one. */
  readonly lastEventId: string | undefined
}

/** What `connect` answers with: a stream; a conn that was answered otherwise; or nothing, to pass the conn on. */
export type SseAnswer = SseSource | Conn | Halted | null | undefined | void

/** Makes the stream of a request. */
export type SseConnect<In> = (
  conn: Conn<In>,
  context: SseContext,
) => SseAnswer | PromiseLike<SseAnswer>

/** Answers with an event stream where the client accepts one, whatever the method, and passes other requests on.
 *
 * Nothing is sent until `connect` has resolved, so that it can set headers, answer with another status, or throw,
 * which is a 500. HEAD has the headers of the stream, which is never started. The answer of a later handler to who does
 * not accept a stream says `Vary: Accept`.
 *
 * ```ts
 * import { handlers, type Handler } from '@wakerobin/core'
 * import { Broadcaster, sse } from '@wakerobin/sse'
 *
 * const prices = new Broadcaster()
 * // EventSource gets the stream, everything else a snapshot.
 * const app: Handler = handlers(sse(() => prices), (conn) => conn.json({ latest: 42 }))
 * ```
 * @param options As for `withSseStream`.
 * @throws {TypeError | RangeError} When `connect` is no function, or an option cannot be used. */
export function sse<In = never>(
  connect: SseConnect<In>,
  options?: SseOptions<In>,
): HandlerObject<In> {
  if (typeof connect !== 'function')
    throw new TypeError(`Cannot connect with ${describe(connect)}: expected a function of the conn`)
  const checked = checkOptions(options)
  const answer = (conn: Conn, context: Context, given: SseAnswer): Conn | void => {
    if (given === undefined || given === null || given instanceof Conn) {
      // What it was answered with may be at work until then.
      if (conn.isHalted) conn.afterSend(() => context.over())
      else context.over()
      return given ?? undefined
    }
    return openStream(conn, given as SseSource, checked, context)
  }
  return {
    name: connect.name === '' ? 'sse' : `sse(${connect.name})`,
    run(conn: Conn<In>) {
      if (!acceptsEventStream(conn)) return varyByAccept(conn)
      const context = new Context(conn)
      const answerLater = async (given: PromiseLike<SseAnswer>): Promise<Conn | void> => {
        try {
          return answer(conn, context, await given)
        } catch (error) {
          context.over()
          throw error
        }
      }
      try {
        const given = connect(conn, context)
        if (!isPromiseLike(given)) return answer(conn, context, given)
        return answerLater(given)
      } catch (error) {
        context.over()
        throw error
      }
    },
  }
}

class Context implements SseContext, StreamFollower {
  readonly #conn: Conn
  #stream: EventStream | undefined
  #controller: AbortController | undefined
  #isOver = false

  constructor(conn: Conn) {
    this.#conn = conn
  }

  get lastEventId(): string | undefined {
    return lastEventId(this.#conn)
  }

  // Made when first asked for: most sources end by their return(), and the stream knows of nobody then.
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#stream !== undefined) this.follow(this.#stream)
      else if (this.#isOver || this.#conn.signal.aborted) this.#controller.abort()
      // While there is no stream yet, only the conn knows that the client has left.
      else this.#conn.signal.addEventListener('abort', this.#onAbort, { once: true })
    }
    return this.#controller.signal
  }

  follow(stream: EventStream): void {
    this.#stream = stream
    if (this.#controller !== undefined) stream.whenOver(this.#onAbort)
  }

  over(): void {
    this.#isOver = true
    if (this.#controller !== undefined) this.#onAbort()
  }

  readonly #onAbort = (): void => {
    this.#conn.signal.removeEventListener('abort', this.#onAbort)
    this.#controller!.abort()
  }
}
