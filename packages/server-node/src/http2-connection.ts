/** A connection that speaks HTTP/2: a session, and the requests on its streams. */

import { constants } from 'node:http2'
import type { ServerHttp2Session } from 'node:http2'

import { Connection, pathOf } from './connections.ts'
import type { Http2Exchange } from './http2-exchange.ts'
import type { Limits } from './limits.ts'
import type { OpenRequest } from './open-report.ts'

/** RFC 9113 §6.8: a last stream that no client reaches. */
const noLastStream = 2 ** 31 - 1

/** The time in which `limits.resets` are counted, in milliseconds. */
const resetWindowMs = 10_000

export class Http2Connection extends Connection {
  readonly session: ServerHttp2Session
  readonly #exchanges = new Set<Http2Exchange>()
  readonly #mostResets: number
  #resets = 0
  #windowStart = 0
  #hasGoodbye = false

  /** @param former The connection as it was taken for before it began to speak. */
  constructor(former: Connection, session: ServerHttp2Session, limits: Limits) {
    super(former.socket, former.entrance, limits.halfClosedMs)
    this.isExcess = former.isExcess
    this.session = session
    this.#mostResets = limits.resets
    // A client that breaks the rules gets a GOAWAY by node, and one that is gone is told of by the socket's close.
    session.on('error', () => {})
    if (limits.sessionIdleMs === Infinity) return
    session.setTimeout(limits.sessionIdleMs, () => {
      if (this.isIdle) this.end()
    })
  }

  override get isIdle(): boolean {
    return this.#exchanges.size === 0
  }

  override get isOver(): boolean {
    return this.session.closed || this.session.destroyed
  }

  /** A request has come. */
  add(exchange: Http2Exchange): void {
    this.#exchanges.add(exchange)
    exchange.onOver(() => {
      this.#exchanges.delete(exchange)
      if (exchange.stream.aborted) this.countReset()
    })
  }

  /** A client that opens streams only to reset them has us do work for nothing. */
  countReset(): void {
    const now = performance.now()
    if (now - this.#windowStart > resetWindowMs) {
      this.#windowStart = now
      this.#resets = 0
    }
    if (++this.#resets <= this.#mostResets || this.session.destroyed) return
    this.session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    this.session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  override requests(isStream: (key: object) => boolean): OpenRequest[] {
    return Array.from(this.#exchanges, (exchange) => ({
      method: exchange.method,
      path: pathOf(exchange.target),
      startTime: exchange.startTime,
      isStream: isStream(exchange.stream),
    }))
  }

  override countAnswers(answered: () => void): void {
    for (const exchange of this.#exchanges)
      exchange.onOver((isSent) => {
        if (isSent) answered()
      })
  }

  /** Tells the client to send what comes next elsewhere. What is on its way is served: the stream that is the last
   * is named when the linger time is over. RFC 9113 §6.8. */
  override closeAfterResponse(): void {
    if (this.#hasGoodbye || this.isOver) return
    this.#hasGoodbye = true
    this.session.goaway(constants.NGHTTP2_NO_ERROR, noLastStream)
  }

  /** Takes no more requests; ends with the last of those that have come. */
  override lingered(): void {
    this.end()
  }

  override end(): void {
    if (!this.isOver) this.session.close()
  }

  override refuse(): void {
    this.session.destroy()
  }

  override say(): void {
    this.end()
  }

  /** The client has ended its side of the connection, and with it what it could hear of our streams. */
  override ended(): void {
    this.session.destroy()
  }
}
