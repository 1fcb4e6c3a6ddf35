/** From a request to its response, whatever it came by: through the app, within the time that handlers have. */

import { Conn } from '@wakerobin/core'
import type { OnError } from '@wakerobin/core'
import { failConn, pendingPlaceOf } from '@wakerobin/core/adapter'
import type { Incoming, Program } from '@wakerobin/core/adapter'

import { maxTimerMs } from './clock.ts'
import { HandlerTimeoutError } from './handler-timeout.ts'

/** A request, and whom to tell of what goes wrong with it. */
export interface AnyExchange extends Incoming {
  readonly onError: OnError
  /** To whoever asks, the client is gone from now on. */
  expire(): void
}

/** Sends responses by one protocol. */
export interface Responder<E> {
  /** The handlers are done: sends the response, when its turn has come. */
  respond(conn: Conn, exchange: E): void
  /** The time of the handlers is over: sends what the conn has become. */
  expire(conn: Conn, exchange: E): void
  /** The handlers are done after that: runs `afterSend` when the response is over. */
  settleLate(conn: Conn, exchange: E): void
}

export class Requests {
  readonly #program: Program
  readonly #handlerMs: number

  constructor(program: Program, handlerMs: number) {
    this.#program = program
    this.#handlerMs = handlerMs
  }

  handle<E extends AnyExchange>(exchange: E, responder: Responder<E>): void {
    const conn = new Conn(exchange)
    const handled = this.#program.handle(conn)
    if (handled === conn) responder.respond(conn, exchange)
    else if (this.#handlerMs === Infinity)
      void (handled as Promise<Conn>).then(() => responder.respond(conn, exchange))
    else void this.#inTime(handled as Promise<Conn>, conn, exchange, responder)
  }

  /** Responds when the handlers are done, or with a 503 when their time is over. */
  async #inTime<E extends AnyExchange>(
    handled: Promise<Conn>,
    conn: Conn,
    exchange: E,
    responder: Responder<E>,
  ): Promise<void> {
    let isLate = false
    const timeout = setTimeout(
      () => {
        isLate = true
        this.#expire(conn, exchange, responder)
      },
      Math.min(this.#handlerMs, maxTimerMs),
    )
    await handled
    clearTimeout(timeout)
    if (!isLate) return responder.respond(conn, exchange)
    // What it has made meanwhile is let go. Whoever waits for the end of the response is told.
    failConn(conn, 503)
    responder.settleLate(conn, exchange)
  }

  /** Answers with a 503 for handlers that are not done. */
  #expire<E extends AnyExchange>(conn: Conn, exchange: E, responder: Responder<E>): void {
    const place = pendingPlaceOf(conn) ?? 'the handlers'
    failConn(conn, 503)
    // Before anybody hears of it: what a handler sets on the conn from now on is too late.
    responder.expire(conn, exchange)
    exchange.onError(new HandlerTimeoutError(place, this.#handlerMs), { conn, place })
    exchange.expire()
  }
}
