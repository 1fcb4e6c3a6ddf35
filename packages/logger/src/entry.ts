/** What there is to say of a request. */

import type { Conn } from '@wakerobin/core'

import { lossOf, type Outcome } from './outcome.ts'
import type { WatchedBody } from './watched-body.ts'

/** A request, at the time of a line about it: what formats and parts are given. */
export class LogEntry {
  readonly conn: Conn
  /** What the line is about: a response that is over, an event stream (or another endless body) whose head is out, or
   * one that is over. */
  readonly kind: 'response' | 'stream-opened' | 'stream-ended'
  /** How it has ended; undefined where it has not. */
  readonly outcome: Outcome | undefined
  /** The status that was sent. */
  readonly status: number
  /** Since the request was received, in milliseconds: how long a stream was open. */
  readonly durationMs: number
  /** Whether parts are shown in colours. */
  readonly hasColors: boolean
  readonly #body: WatchedBody | undefined

  /** @param isSent As `afterSend` says; undefined where the response is not over.
   * @param colors Whether lines of a level have colours. */
  constructor(
    conn: Conn,
    body: WatchedBody | undefined,
    isSent: boolean | undefined,
    colors: Readonly<Record<'info' | 'error', boolean>>,
  ) {
    const sentBody = body?.isHeadOut === true ? body : undefined // else an error has taken its place
    this.conn = conn
    this.#body = sentBody
    this.kind =
      isSent === undefined
        ? 'stream-opened'
        : sentBody?.isEndless === true
          ? 'stream-ended'
          : 'response'
    if (isSent === undefined) this.outcome = undefined
    else if (body !== undefined) this.outcome = body.outcome(isSent)
    else this.outcome = isSent ? 'sent' : lossOf(conn)
    this.status = conn.status ?? (conn.method === 'CONNECT' ? 501 : 404) // as core has it
    this.durationMs = performance.now() - conn.startTime
    this.hasColors = colors[this.level]
  }

  /** `error` where the status is 500 or more, or the response was cut; else `info`. */
  get level(): 'info' | 'error' {
    return this.status >= 500 || this.outcome === 'cut' ? 'error' : 'info'
  }

  /** When the request was received. */
  get receivedAt(): Date {
    return new Date(Date.now() - (performance.now() - this.conn.startTime))
  }

  /** How many bytes of the body were sent, without their framing; undefined where that is not known, because the client
   * has not got all of a body that was sent in one go. */
  get bytes(): number | undefined {
    if (this.#body !== undefined) return this.#body.bytes
    if (this.outcome !== 'sent') return undefined
    // RFC 9110 §9.3.2, §15.3.5, §15.3.6, §15.4.5: no body is sent.
    if (this.conn.method === 'HEAD' || [204, 205, 304].includes(this.status)) return 0
    return this.conn.responseLength
  }
}
