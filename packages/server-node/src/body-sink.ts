/** The one place that writes streaming bodies to sockets. */

import { AsyncResource } from 'node:async_hooks'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import type { BodySink, BodySource, Conn } from '@wakerobin/core'
import { Chunk, hasAfterSend, packConn } from '@wakerobin/core/adapter'
import type { CloseCause, FinalResponse } from '@wakerobin/core/adapter'

import { maxTimerMs } from './clock.ts'
import type { Watcher } from './connections.ts'
import { dropUnlessRead } from './exchange.ts'
import type { Exchange } from './exchange.ts'
import { cut } from './cut.ts'
import { headOf, isOrdinary, markSent } from './head.ts'
import { isTaken, sendFailure, settle, writeStreamHead } from './respond.ts'

/** A streaming body that flows. */
export interface ActiveSink {
  /** Whether it is an event stream, or another body without an end of its own. */
  readonly isEndless: boolean
  /** What its response is known by: node's response, or its stream in HTTP/2. */
  readonly key: object
  /** The server stops. */
  stop(): void
}

/** The streaming bodies of a server, so that a stop reaches them. */
export class ActiveBodies {
  /** Event streams that have ended whole since the stop began. */
  streamsEnded = 0
  /** Event streams that were cut after the stop had begun, because their client was too slow. */
  streamsCut = 0
  readonly #sinks = new Set<ActiveSink>()
  // Also those whose end is written and not yet taken by their client.
  readonly #streams = new WeakSet<object>()
  isStopping = false
  #nextBatch: ReturnType<typeof setTimeout> | undefined
  /** What befalls a body whose connection goes. */
  closeCause: CloseCause = 'client'

  add(sink: ActiveSink): void {
    this.#sinks.add(sink)
    if (sink.isEndless) this.#streams.add(sink.key)
    if (this.isStopping) sink.stop()
  }

  delete(sink: ActiveSink): void {
    this.#sinks.delete(sink)
  }

  /** Stops every source, and every one that comes later. Endless ones in batches: thousands of clients
   * that end in one moment come back in one. */
  stop(streamsPerBatch: number, batchIntervalMs: number): void {
    this.isStopping = true
    const endless: ActiveSink[] = []
    for (const sink of this.#sinks) {
      if (sink.isEndless) endless.push(sink)
      else sink.stop()
    }
    const stopFrom = (from: number): void => {
      const to = from + streamsPerBatch
      for (const sink of endless.slice(from, to)) if (this.#sinks.has(sink)) sink.stop()
      if (to < endless.length)
        this.#nextBatch = setTimeout(() => stopFrom(to), Math.min(batchIntervalMs, maxTimerMs))
    }
    stopFrom(0)
  }

  /** Forgets the batches that are still to come. */
  cancel(): void {
    clearTimeout(this.#nextBatch)
  }

  /** An event stream has written its end. */
  ended(response: ServerResponse): void {
    if (!this.isStopping) return
    response.once('finish', () => {
      if (!response.req.socket.destroyed) this.streamsEnded++
    })
  }

  /** The source of an event stream has had it cut. */
  cut(): void {
    if (this.isStopping) this.streamsCut++
  }

  /** Whether a response is an event stream.
   * @param key What it is known by. */
  isStream(key: object): boolean {
    return this.#streams.has(key)
  }
}

/** Takes a source to a response.
 *
 * The head goes out when the source first writes, or when it has begun: what fails before is a 500.
 * Writes to the socket, not to the response: a chunk that many clients get is framed once, for all. */
export class ResponseSink implements BodySink, ActiveSink, Watcher {
  // First what every write needs, side by side in memory: with thousands of streams, to load it is most of what it
  // costs.
  /** Whether bytes go out unseen: after the head, and where no length was promised. */
  #isFlowing = false
  #isChunked = false
  /** The turn in which something was written last. */
  #turn = -1
  #isCorked = false
  // Not looked up where it is needed: that would be two more objects to load for every write.
  readonly #socket: Socket
  readonly #conn: Conn
  readonly #source: BodySource
  /** Until the head is out. */
  #final: FinalResponse | undefined
  readonly #length: number | undefined
  readonly #exchange: Exchange
  /** How many bytes of a promised length. */
  #written = 0
  /** Set while there is no room. */
  #onDrain: (() => void) | undefined
  #hasBegun = false
  #isOver = false

  constructor(conn: Conn, source: BodySource, final: FinalResponse, exchange: Exchange) {
    this.#conn = conn
    this.#source = source
    this.#final = final
    this.#length = final.bodyLength
    this.#exchange = exchange
    this.#socket = exchange.connection.socket
    exchange.connection.watch(this)
  }

  get response(): ServerResponse {
    return this.#exchange.response
  }

  get key(): object {
    return this.#exchange.response
  }

  /** Sends the head and starts the source, as soon as the response's turn has come. */
  start(): void {
    // A pipelined request is answered after those before it: until then it has no socket.
    if (this.response.socket === null)
      // In the context of its own request: it is the one before it that is just over.
      this.response.once(
        'socket',
        AsyncResource.bind(() => process.nextTick(() => this.#begin())),
      )
    else this.#begin()
  }

  write(chunk: Chunk | Uint8Array): boolean {
    const { length } = chunk instanceof Uint8Array ? chunk : chunk.bytes
    // An empty chunk would end a chunked body: RFC 9112 §7.1.
    if (length === 0) return !this.#isOver
    if (!this.#isFlowing && !this.#admits(length)) return false
    // The first write of a turn goes out at once, what follows in the same turn goes out together.
    const { now } = turns
    if (this.#turn === now) this.#cork()
    this.#turn = now
    const hasRoom = this.#socket.write(this.#frame(chunk))
    if (!hasRoom) this.#waitForRoom()
    return hasRoom
  }

  /** Whether so many bytes may be written. Sends the head before the first of them. */
  #admits(length: number): boolean {
    if (this.#isOver) return false
    if (this.#length !== undefined && (this.#written += length) > this.#length) {
      this.#refuse(
        new RangeError(
          `Cannot send more than the ${this.#length} bytes that the body's length promised`,
        ),
      )
      return false
    }
    if (!this.#sendHead()) return false
    this.#isFlowing = this.#length === undefined
    return true
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
    if (this.isEndless) this.#exchange.bodies.ended(this.response)
    this.#finish()
    this.#settleWhenFinished()
    this.response.end()
    if (this.isEndless) this.#limitTheEnd()
    else this.#watchStall()
  }

  /** A client that does not even read the end is cut: it would hold what is counted until the response is over. */
  #limitTheEnd(): void {
    if (this.response.writableFinished) return
    const timeout = setTimeout(() => this.#socket.destroy(), endTimeoutMs).unref()
    const forget = (): void => clearTimeout(timeout)
    this.response.once('finish', forget).once('close', forget)
  }

  abort(error: unknown): void {
    if (this.#isOver) return
    const isHeadOut = this.#final === undefined
    this.#finish()
    // A source that heeds conn.signal fails when the client leaves: that is no news.
    if (!(this.#conn.isDisconnected && isAbort(error))) this.#report(error)
    if (isHeadOut) {
      this.#destroy()
      return
    }
    this.#settleWhenFinished()
    sendFailure(this.#conn, this.#exchange)
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
    this.#destroy()
  }

  #destroy(): void {
    // What was written before the failure, in this turn, still goes out.
    this.uncork()
    this.#exchange.connection.uncork()
    // Where the end of the connection is the end of the body, a plain end would look like a whole one.
    if (this.response.chunkedEncoding || this.#length !== undefined) this.#socket.destroy()
    else cut(this.#socket)
  }

  /** Whether it is an event stream, or another body without an end of its own. */
  get isEndless(): boolean {
    return this.#source.isEndless === true
  }

  /** The server stops. */
  stop(): void {
    this.#call(() => this.#source.stop())
  }

  #begin(): void {
    if (this.#isOver) return
    this.#hasBegun = true
    if (this.isEndless) {
      // The end may have come while the handlers were at work, and will not come again.
      if (this.#socket.readableEnded) {
        this.gone()
        return
      }
      // The end may be behind what is left of the request.
      const { req } = this.response
      if (!req.complete && hasBody(this.#conn)) dropUnlessRead(req)
    }
    this.#call(() => this.#source.start(this))
    if (this.#isOver || !this.#sendHead()) return
    if (this.isEndless) packConn(this.#conn)
    // Only now: a source that has not started cannot say last words.
    this.#exchange.bodies.add(this)
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

  /** Sends the head, once. Returns false where node refused it, and an error was sent. */
  #sendHead(): boolean {
    if (this.#final === undefined || this.#sendPlainHead(this.#final)) return true
    const { response } = this
    try {
      writeStreamHead(this.#conn, this.#final, this.#exchange)
    } catch (error) {
      this.#refuse(error)
      return false
    }
    this.#final = undefined
    this.#isChunked = response.chunkedEncoding
    this.#cork()
    // Node writes a flushed head in the socket's default encoding: UTF-8 would encode header bytes above
    // 0x7F once more.
    this.#socket.setDefaultEncoding('latin1')
    response.flushHeaders()
    this.#socket.setDefaultEncoding('utf8')
    if (this.isEndless) forgetHead(response)
    return true
  }

  /** Writes the head of a body in chunks, as most streams are, where node need not: see head.ts. */
  #sendPlainHead(final: FinalResponse): boolean {
    const { response } = this
    // A client that has half-closed sends nothing more: the connection ends with the response.
    if (this.#length !== undefined || this.#socket.readableEnded || !isOrdinary(response))
      return false
    const head = headOf(final, chunkedEnd)
    if (head === undefined) return false
    this.#final = undefined
    this.#isChunked = true
    this.#cork()
    this.#socket.write(head, 'latin1')
    markSent(response, final.status, head)
    response.chunkedEncoding = true
    if (this.isEndless) forgetHead(response)
    return true
  }

  /** Lets the head and all that is written in this turn go out together. */
  #cork(): void {
    if (this.#isCorked) return
    this.#isCorked = true
    this.#socket.cork()
    process.nextTick(uncork, this)
  }

  uncork(): void {
    if (!this.#isCorked) return
    this.#isCorked = false
    this.#socket.uncork()
  }

  #waitForRoom(): void {
    if (this.#onDrain !== undefined) return
    if (!this.isEndless) this.#watchStall()
    // Not within this turn: to a client that reads as fast as we write, a source that always has more
    // would write for ever, and nobody else would get a turn.
    this.#onDrain = () =>
      setImmediate(() => {
        this.#onDrain = undefined
        if (!this.#isOver) this.#call(() => this.#source.drained())
      })
    this.#socket.once('drain', this.#onDrain)
  }

  #watchStall(): void {
    const { server, connection, response } = this.#exchange
    server.stalls.watch(connection, response)
  }

  /** The client has left, or an event stream's client will not read any more. */
  gone(): void {
    const { connection, bodies } = this.#exchange
    connection.unwatch(this)
    if (!this.#isOver) {
      this.#finish()
      this.#call(() => this.#source.closed(bodies.closeCause))
      // Before node does it with an error whose stack it makes, and nobody sees.
      const { req } = this.response
      if (req.complete) req.destroy()
      this.#socket.destroy()
    }
    settle(this.#conn, this.#exchange, false)
  }

  /** The client has ended its side. */
  ended(): void {
    if (this.isEndless && this.#hasBegun && !this.#isOver) this.gone()
  }

  #settleWhenFinished(): void {
    const settled = (): void => {
      this.#exchange.connection.unwatch(this)
      settle(this.#conn, this.#exchange, isTaken(this.#exchange))
    }
    this.response.once('finish', hasAfterSend(this.#conn) ? AsyncResource.bind(settled) : settled)
  }

  #finish(): void {
    this.#isOver = true
    this.#isFlowing = false
    if (this.#onDrain !== undefined) this.#socket.off('drain', this.#onDrain)
    this.#exchange.bodies.delete(this)
  }

  #frame(chunk: Chunk | Uint8Array): Buffer {
    if (!this.#isChunked) return asBuffer(chunk instanceof Uint8Array ? chunk : chunk.bytes)
    return (chunk instanceof Uint8Array ? new Chunk(chunk) : chunk).framed(asBuffer) as Buffer
  }
}

/** The end of the head of a body in chunks. No Connection field: see `writeStreamHead`. */
const chunkedEnd = 'Transfer-Encoding: chunked\r\n\r\n'

/** RFC 9112 §6. */
function hasBody({ requestHeaders }: Conn): boolean {
  return requestHeaders.has('content-length') || requestHeaders.has('transfer-encoding')
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}

/** A listener for all, rather than a closure for each. */
function uncork(sink: ResponseSink): void {
  sink.uncork()
}

/** Counts turns, those in which somebody asks: one tick for all sinks together. */
class Turns {
  #now = 0
  #isOver = true

  get now(): number {
    if (this.#isOver) {
      this.#isOver = false
      this.#now++
      process.nextTick(() => {
        this.#isOver = true
      })
    }
    return this.#now
  }
}

const turns = new Turns()

/** Lets go of the text of a head that is out: node would keep it as long as the response. */
function forgetHead(response: ServerResponse): void {
  const inner = response as ServerResponse & { _header?: string | null }
  if (typeof inner._header === 'string') inner._header = 'HTTP/1.1'
}

/** How long the end of an event stream may be left unread, in milliseconds. */
export const endTimeoutMs = 60_000

/** The same bytes as a Buffer, which node writes as it is. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
