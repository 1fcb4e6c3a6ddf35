/** A connection that speaks HTTP/2: a session, and the requests on its streams. */

import { constants } from 'node:http2'
import type { ServerHttp2Session } from 'node:http2'

import { maxTimerMs } from './clock.ts'
import { Connection, pathOf } from './connections.ts'
import type { Http2Exchange } from './http2-exchange.ts'
import type { Limits } from './limits.ts'
import type { OpenRequest } from './open-report.ts'
import { cut } from './cut.ts'
import { queuedBytes } from './write-stalls.ts'

/** A GOAWAY without an error, whose last stream no client reaches: RFC 9113 §6.8. */
const notice = Buffer.from('0000080700000000007fffffff00000000', 'hex')

/** The time in which `limits.resets` are counted, in milliseconds. */
const resetWindowMs = 10_000

export class Http2Connection extends Connection {
  readonly session: ServerHttp2Session
  readonly limits: Limits
  readonly #exchanges = new Set<Http2Exchange>()
  #resets = 0
  #windowStart = 0
  #hasGoodbye = false
  /** Set where there is no request. */
  #idle: ReturnType<typeof setTimeout> | undefined
  #stall: ReturnType<typeof setInterval> | undefined
  #alive: ReturnType<typeof setInterval> | undefined
  /** How much had come when it was looked at last, and whether the client was asked then for a sign of life. */
  #read = 0
  #isAsked = false

  /** @param former The connection as it was taken for before it began to speak. */
  constructor(former: Connection, session: ServerHttp2Session, limits: Limits) {
    const { socket, entrance, isExcess } = former
    super(socket, entrance, limits.halfClosedMs)
    this.isExcess = isExcess
    this.session = session
    this.limits = limits
    // A client that breaks the rules gets a GOAWAY by node, and one that is gone is told of by the socket's close.
    const heard = (): void => {}
    session.on('error', heard)
    socket.on('error', heard)
    // Node's session waits for a client's FIN for ever.
    socket.once('finish', () => this.waitForItsEnd())
    this.#waitIdle()
    if (limits.sessionIdleMs === Infinity) return
    this.#alive = setInterval(
      () => this.#look(),
      Math.min(limits.sessionIdleMs, maxTimerMs),
    ).unref()
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
    clearTimeout(this.#idle)
    exchange.onOver(() => {
      this.#exchanges.delete(exchange)
      if (exchange.isGivenUp) this.countReset()
      if (this.isIdle) this.#waitIdle()
    })
  }

  /** Not by node's timer of the session: that begins anew with each byte, which may be those of a head that never ends. */
  #waitIdle(): void {
    const { sessionIdleMs } = this.limits
    if (sessionIdleMs === Infinity || this.isOver) return
    this.#idle = setTimeout(() => this.end(), Math.min(sessionIdleMs, maxTimerMs)).unref()
  }

  /** Cuts a connection whose requests go on, while its client is silent and does not answer a PING either: it may have
   * left, or have broken the rules. Node reads no further then, and does not see the end of the connection. */
  #look(): void {
    const { socket, session } = this
    const isSilent = socket.bytesRead === this.#read && queuedBytes(socket) === 0 && !this.isIdle
    this.#read = socket.bytesRead
    if (isSilent && (this.#isAsked || session.destroyed)) return cut(socket)
    this.#isAsked = isSilent && session.ping(() => {})
  }

  override closed(): void {
    clearTimeout(this.#idle)
    clearInterval(this.#alive)
    clearInterval(this.#stall)
    super.closed()
  }

  /** A client that opens streams only to reset them has us do work for nothing. */
  countReset(): void {
    const now = performance.now()
    if (now - this.#windowStart > resetWindowMs) {
      this.#windowStart = now
      this.#resets = 0
    }
    if (++this.#resets <= this.limits.resets || this.session.destroyed) return
    // Node takes a number, and its types do not know; given as the second argument it is forgotten.
    this.session.destroy(constants.NGHTTP2_ENHANCE_YOUR_CALM as unknown as Error)
    this.watchStall()
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
    // Written past node, whose library takes no request any more when it has said GOAWAY. Over TLS that cannot be: two
    // writes at a time end the process. The client then hears it with the end of the linger time alone.
    if ('encrypted' in this.socket) return
    const say = (): void => {
      if (!this.isOver && !this.socket.destroyed) this.socket.write(notice)
    }
    // SETTINGS come first: RFC 9113 §3.4.
    if (this.session.pendingSettingsAck) this.session.once('localSettings', say)
    else say()
  }

  /** Takes no more requests; ends with the last of those that have come. */
  override lingered(): void {
    this.end()
  }

  override end(): void {
    if (!this.isOver) this.session.close()
    this.watchStall()
  }

  /** Cuts the connection where its client takes nothing of what is left to be sent for `limits.writeStallMs`: not even
   * the end of a session would come through. */
  watchStall(): void {
    const { socket, limits } = this
    if (this.#stall !== undefined || limits.writeStallMs === Infinity || socket.destroyed) return
    let taken = takenBytes(this)
    const look = (): void => {
      const before = taken
      taken = takenBytes(this)
      if (queuedBytes(socket) > 0 && taken !== before) return
      clearInterval(this.#stall)
      this.#stall = undefined
      if (queuedBytes(socket) > 0) cut(socket)
    }
    this.#stall = setInterval(look, Math.min(limits.writeStallMs, maxTimerMs)).unref()
  }

  /** The client has ended its side of the connection, and with it what it could hear of our streams. */
  override ended(): void {
    this.session.destroy()
    this.socket.destroy()
  }
}

/** How much the client's system has taken. */
function takenBytes({ socket }: Connection): number {
  return socket.bytesWritten - queuedBytes(socket)
}
