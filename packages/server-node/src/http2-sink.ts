/** Streaming bodies on HTTP/2. */

import { constants } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'

import type { BodySink, BodySource, Conn } from '@wakerobin/core'
import { Chunk, packConn } from '@wakerobin/core/adapter'
import type { FinalResponse } from '@wakerobin/core/adapter'

import { endTimeoutMs, isAbort } from './body-sink.ts'
import type { ActiveSink } from './body-sink.ts'
import type { Http2Exchange } from './http2-exchange.ts'
import { fieldsOf, sendFailureHttp2 } from './http2-respond.ts'

/** Takes a source to a stream.
 *
 * The head goes out when the source first writes, or when it has begun: what fails before is a 500. What fails
 * later resets the stream, so that nobody takes it for whole; the others on the connection go on. */
export class Http2Sink implements BodySink, ActiveSink {
  readonly #conn: Conn
  readonly #source: BodySource
  /** Until the head is out. */
  #final: FinalResponse | undefined
  readonly #length: number | undefined
  readonly #exchange: Http2Exchange
  readonly #stream: ServerHttp2Stream
  #written = 0
  #isWaiting = false
  #isOver = false

  constructor(conn: Conn, source: BodySource, final: FinalResponse, exchange: Http2Exchange) {
    this.#conn = conn
    this.#source = source
    this.#final = final
    this.#length = final.bodyLength
    this.#exchange = exchange
    this.#stream = exchange.stream
    exchange.onOver(() => this.#closed())
  }

  get key(): object {
    return this.#stream
  }

  get isEndless(): boolean {
    return this.#source.isEndless === true
  }

  /** Starts the source. */
  start(): void {
    this.#call(() => this.#source.start(this))
    if (this.#isOver || !this.#sendHead()) return
    if (this.isEndless) packConn(this.#conn)
    // Only now: a source that has not started cannot say last words.
    this.#exchange.bodies.add(this)
  }

  write(chunk: Chunk | Uint8Array): boolean {
    const bytes = chunk instanceof Uint8Array ? chunk : chunk.bytes
    if (this.#isOver || bytes.length === 0) return !this.#isOver
    this.#written += bytes.length
    if (this.#length !== undefined && this.#written > this.#length) {
      this.#refuse(
        new RangeError(
          `Cannot send more than the ${this.#length} bytes that the body's length promised`,
        ),
      )
      return false
    }
    if (!this.#sendHead()) return false
    const hasRoom = this.#stream.write(
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    )
    if (!hasRoom) this.#waitForRoom()
    return hasRoom
  }

  end(): void {
    if (this.#isOver) return
    if (this.#length !== undefined && this.#written < this.#length) {
      this.abort(
        new RangeError(
          `Cannot end the body after ${this.#written} bytes: its length promised ${this.#length}`,
        ),
      )
      return
    }
    if (!this.#sendHead()) return
    const { bodies } = this.#exchange
    if (this.isEndless) {
      const { isStopping } = bodies
      this.#exchange.onOver((isSent) => {
        if (isSent && isStopping) bodies.streamsEnded++
      })
    }
    this.#finish()
    this.#exchange.hasEnded = true
    this.#stream.end()
    this.#exchange.letGoOfRequest()
    if (this.isEndless) this.#limitTheEnd()
    else this.#exchange.watchStall()
  }

  /** A client that does not even read the end is cut: it would hold what is counted until the response is over. */
  #limitTheEnd(): void {
    const timeout = setTimeout(
      () => this.#exchange.reset(constants.NGHTTP2_CANCEL),
      endTimeoutMs,
    ).unref()
    this.#stream.once('close', () => clearTimeout(timeout))
  }

  abort(error: unknown): void {
    if (this.#isOver) return
    const isHeadOut = this.#final === undefined
    this.#finish()
    // A source that heeds conn.signal fails when the client leaves: that is no news.
    if (!(this.#conn.isDisconnected && isAbort(error))) this.#report(error)
    if (isHeadOut) {
      // Not by destroy(), which closes without an error code: the client would take it for whole.
      this.#exchange.reset(constants.NGHTTP2_INTERNAL_ERROR)
      return
    }
    sendFailureHttp2(this.#conn, this.#exchange)
  }

  /** Aborts for an error that the source does not know of. Its `closed` comes when its own call has returned. */
  #refuse(error: unknown): void {
    process.nextTick(() => this.#call(() => this.#source.closed('failure', error)))
    this.abort(error)
  }

  cut(): void {
    if (this.#isOver) return
    if (this.isEndless) this.#exchange.bodies.cut()
    this.#finish()
    this.#exchange.reset(constants.NGHTTP2_CANCEL)
  }

  /** The server stops. */
  stop(): void {
    this.#call(() => this.#source.stop())
  }

  /** Sends the head, once. Returns false where node refused it, and an error was sent. */
  #sendHead(): boolean {
    if (this.#final === undefined) return true
    try {
      this.#stream.respond(fieldsOf(this.#final))
    } catch (error) {
      this.#refuse(error)
      return false
    }
    this.#final = undefined
    return true
  }

  #waitForRoom(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    if (!this.isEndless) this.#exchange.watchStall()
    this.#stream.once('drain', () =>
      // Not within this turn: a source that always has more would write for ever, and nobody else would get a turn.
      setImmediate(() => {
        this.#isWaiting = false
        if (this.#isOver) return
        this.#exchange.unwatchStall()
        this.#call(() => this.#source.drained())
      }),
    )
  }

  /** The stream is closed, by whomever. */
  #closed(): void {
    if (this.#isOver) return
    this.#finish()
    this.#call(() => this.#source.closed(this.#exchange.bodies.closeCause))
  }

  #finish(): void {
    this.#isOver = true
    this.#exchange.bodies.delete(this)
  }

  /** Calls the source. What it throws concerns its own response, and nobody else's. */
  #call(part: () => void): void {
    try {
      part()
    } catch (error) {
      if (this.#isOver) this.#report(error)
      else this.abort(error)
    }
  }

  #report(error: unknown): void {
    this.#exchange.onError(error, { conn: this.#conn, place: 'the response body' })
  }
}
