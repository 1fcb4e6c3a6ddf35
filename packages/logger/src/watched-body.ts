/** A streaming body on its way, and how it has ended: to the server it is the body, to the body it is the sink.
 *
 * `afterSend` only knows whether all was sent. Why it was not, a server tells the body, and the body the server; who
 * stands between them hears both, and counts the bytes, on every server. */

import type { BodySink, BodySource, CloseCause, Conn } from '@wakerobin/core'
import { toBodySource, type Chunk } from '@wakerobin/core/adapter'

import { lossOf, type Outcome } from './outcome.ts'

export class WatchedBody implements BodySource, BodySink {
  readonly length?: number
  readonly inner: BodySource
  /** How many bytes were handed to the server. */
  bytes = 0
  /** Whether the head is out, so that the response is this body, and not an error in its place. */
  isHeadOut = false
  readonly #conn: Conn
  /** What the body must amount to, in bytes, where it is known. */
  readonly #promised: number | undefined
  readonly #onHead: (body: WatchedBody) => void
  #sink: BodySink | undefined
  #isStopping = false
  #isOver = false
  /** How it was lost, where that was seen. */
  #loss: 'left' | 'cut' | undefined

  private constructor(conn: Conn, source: BodySource, onHead: (body: WatchedBody) => void) {
    const declared = conn.responseHeaders.get('content-length')
    this.#conn = conn
    this.inner = source
    if (source.length !== undefined) this.length = source.length
    this.#promised = declared === undefined ? source.length : Number(declared)
    this.#onHead = onHead
  }

  /** Watches the body of a conn, where it is a streaming one. */
  static of(conn: Conn, onHead: (body: WatchedBody) => void): WatchedBody | undefined {
    const body = conn.responseBody
    if (body === undefined || typeof body === 'string' || body instanceof Uint8Array)
      return undefined
    conn.takeResponseBody()
    const watched: WatchedBody = new WatchedBody(conn, toBodySource(body), onHead)
    conn.withBody(watched)
    return watched
  }

  /** How it has ended, when all is over. */
  outcome(isSent: boolean): Outcome {
    if (isSent) return this.isEndless && this.#isStopping ? 'stopped' : 'sent'
    return this.#loss ?? lossOf(this.#conn)
  }

  get isEndless(): boolean {
    return this.inner.isEndless === true
  }

  // -------------------------------------------------------------------------------- for the server

  start(sink: BodySink): void {
    this.#sink = sink
    this.inner.start(this)
    if (!this.#isOver) this.#headIsOut()
  }

  drained(): void {
    this.inner.drained()
  }

  stop(): void {
    this.#isStopping = true
    this.inner.stop()
  }

  closed(cause: CloseCause, error?: unknown): void {
    this.#isOver = true
    if (cause !== 'unsent') this.#loss ??= cause === 'client' ? 'left' : 'cut'
    this.inner.closed(cause, error)
  }

  // ---------------------------------------------------------------------------------- for the body

  write(chunk: Chunk | Uint8Array): boolean {
    const { length } = chunk instanceof Uint8Array ? chunk : chunk.bytes
    // What goes beyond the length that the head says, no server sends.
    if (this.bytes + length <= (this.#promised ?? Infinity)) this.bytes += length
    if (length > 0) this.#headIsOut()
    return this.#sink!.write(chunk)
  }

  end(): void {
    this.#headIsOut()
    this.#isOver = true
    if (this.#promised !== undefined && this.#promised !== this.bytes) this.#loss ??= 'cut'
    this.#sink!.end()
  }

  abort(error: unknown): void {
    this.#isOver = true
    // A source that heeds conn.signal fails when the client leaves.
    this.#loss ??= this.#conn.isDisconnected ? lossOf(this.#conn) : 'cut'
    this.#sink!.abort(error)
  }

  cut(): void {
    this.#isOver = true
    this.#loss ??= 'cut'
    this.#sink!.cut()
  }

  #headIsOut(): void {
    if (this.isHeadOut) return
    this.isHeadOut = true
    this.#onHead(this)
  }
}
