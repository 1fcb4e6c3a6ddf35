/** A request as node:http2 has received it, on its way to its response: RFC 9113 §8. */

import type { ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'

import { BodyAbortedError } from '@wakerobin/core'
import type { Listener, OnError } from '@wakerobin/core'
import type { Incoming } from '@wakerobin/core/adapter'

import type { ActiveBodies } from './body-sink.ts'
import { collect } from './collect.ts'
import type { NodeContext } from './exchange.ts'
import { maxTimerMs } from './clock.ts'
import { expectationFrom } from './expect.ts'
import type { Expectation } from './expect.ts'
import type { Http2Connection } from './http2-connection.ts'

const noError = constants.NGHTTP2_NO_ERROR

/** The parts of a request's head. */
export interface Http2Head {
  readonly method: string
  readonly target: string
  /** The authority that was named, by `:authority` or by Host; undefined where none was. */
  readonly authority: string | undefined
  /** `name, value…`, with a Host, and without those that begin with a colon. */
  readonly rawHeaders: readonly string[]
  readonly expectation: Expectation
  /** How long the list of fields was: RFC 9113 §6.5.2. */
  readonly listBytes: number
}

/** Reads a head as node has received it, `name, value…`. */
export function headOf(received: readonly string[]): Http2Head {
  const pseudo: Record<string, string> = {}
  const rawHeaders: string[] = []
  let cookies: string | undefined
  let host: string | undefined
  let expectation: Expectation = 'none'
  let listBytes = 0
  for (let at = 0; at < received.length; at += 2) {
    const name = received[at]!
    const value = received[at + 1]!
    listBytes += name.length + value.length + 32
    if (name.startsWith(':')) pseudo[name] = value
    // One line again: RFC 9113 §8.2.3.
    else if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else {
      if (name === 'host') host = value
      else if (name === 'expect') expectation = expectationFrom(value)
      rawHeaders.push(name, value)
    }
  }
  const { ':method': method = '', ':path': path, ':authority': authority } = pseudo
  if (cookies !== undefined) rawHeaders.push('cookie', cookies)
  // What handlers know it by: RFC 9113 §8.3.1.
  if (authority !== undefined && host === undefined) rawHeaders.unshift('host', authority)
  const target = method === 'CONNECT' ? (authority ?? '') : (path ?? '')
  return { method, target, authority: authority ?? host, rawHeaders, expectation, listBytes }
}

/** A request and its response, on a stream of its own. */
export class Http2Exchange implements Incoming {
  readonly startTime: number = performance.now()
  readonly httpVersion = '2.0'
  readonly method: string
  readonly target: string
  readonly server: NodeContext
  readonly stream: ServerHttp2Stream
  readonly connection: Http2Connection
  /** Whether all of the response was given to node. */
  hasEnded = false
  /** Whether we have reset the stream. */
  wasReset = false
  #rawHeaders: readonly string[] | string
  /** Whether the client keeps the body until it is asked for it: RFC 9110 §10.1.1. */
  #awaitsContinue: boolean
  #isGone = false
  #isWatched = false
  readonly #onGone: (() => void)[] = []
  readonly #onOver: ((isSent: boolean) => void)[] = []
  #rawTrailers: readonly string[] = []
  /** Whether the body has come to its end, and not to that of the stream. */
  #isWhole = false
  /** Whether it was answered in place of its handlers. */
  #isRefused = false
  #limit: ReturnType<typeof setTimeout> | undefined

  constructor(
    head: Http2Head,
    stream: ServerHttp2Stream,
    connection: Http2Connection,
    server: NodeContext,
  ) {
    this.method = head.method
    this.target = head.target
    this.#rawHeaders = head.rawHeaders
    this.server = server
    this.stream = stream
    this.connection = connection
    this.#awaitsContinue = head.expectation === 'continue'
    stream.once('close', () => this.#close())
    if (!stream.endAfterHeaders) this.#expectBody()
    // What is wrong with a stream is told by its close.
    stream.on('error', () => {})
  }

  /** Hears of the end of the body. */
  #expectBody(): void {
    const { stream } = this
    stream.once('trailers', (_fields: unknown, _flags: number, raw: unknown) => {
      if (Array.isArray(raw)) this.#rawTrailers = raw
    })
    stream.once('end', () => {
      clearTimeout(this.#limit)
      // A client may reset with the code for "no error": node ends the body then, as if it had come.
      this.#isWhole = !stream.closed && !stream.aborted
    })
  }

  get rawHeaders(): readonly string[] {
    const raw = this.#rawHeaders
    return typeof raw === 'string' ? raw.split('\n') : raw
  }

  /** One string takes less: no line break can be in a field. */
  pack(): void {
    if (typeof this.#rawHeaders !== 'string') this.#rawHeaders = this.#rawHeaders.join('\n')
  }

  get bodies(): ActiveBodies {
    return this.server.bodies
  }

  get onError(): OnError {
    return this.server.onError
  }

  get peerIp(): string | undefined {
    return this.connection.peerIp
  }

  get isSecure(): boolean {
    return 'encrypted' in this.connection.socket
  }

  get listener(): Listener {
    return this.connection.entrance.listener
  }

  get hasUnsizedBody(): boolean {
    return !this.stream.endAfterHeaders
  }

  get rawTrailers(): readonly string[] | undefined {
    return this.#isWhole ? this.#rawTrailers : undefined
  }

  get isDisconnected(): boolean {
    return this.#isGone
  }

  /** Whether nothing can be sent on the stream any more. */
  get isClosed(): boolean {
    return this.#isRefused || this.stream.destroyed || this.stream.closed
  }

  /** Whether the client has given up the stream, or broken its rules. */
  get isGivenUp(): boolean {
    return !this.wasReset && (this.stream.aborted || this.stream.rstCode !== noError)
  }

  /** Ends the stream before its time, and says why: RFC 9113 §7. */
  reset(code: number): void {
    const { stream } = this
    if (this.wasReset) return
    this.wasReset = true
    // What was written before, in this turn, still goes out.
    setImmediate(() => {
      // Node ends what it closes, with an END_STREAM if that can go out: a body that was cut would look whole.
      // oxlint-disable-next-line no-underscore-dangle -- the name that node's streams give it
      stream._final = (done) => done()
      stream.close(code)
      // Node would wait until the frame is out, which a client that reads nothing can put off for ever.
      setImmediate(() => stream.destroy())
    })
    this.connection.watchStall()
  }

  /** Resets the stream when the client takes nothing of it for `limits.writeStallMs`, until `unwatchStall`: node's timer
   * of a stream is told by each frame that is taken. */
  watchStall(): void {
    const { writeStallMs } = this.connection.limits
    if (writeStallMs === Infinity) return
    if (!this.#isWatched) this.stream.once('timeout', () => this.reset(constants.NGHTTP2_CANCEL))
    this.#isWatched = true
    this.stream.setTimeout(Math.min(writeStallMs, maxTimerMs))
  }

  unwatchStall(): void {
    if (this.#isWatched) this.stream.setTimeout(0)
  }

  /** Answers in place of the handlers, with a status and nothing else. */
  refuse(status: number, retryAfter?: string): void {
    const { stream } = this
    this.#isRefused = true
    const fields = retryAfter === undefined ? {} : { 'retry-after': retryAfter }
    stream.respond({ ':status': status, 'content-length': 0, ...fields }, { endStream: true })
    this.hasEnded = true
    this.letGoOfRequest()
    this.watchStall()
  }

  /** Has the client keep what is left of its request, when the response is out: RFC 9113 §8.1. */
  letGoOfRequest(): void {
    const { stream } = this
    if (stream.endAfterHeaders || stream.readableEnded) return
    const stop = (): void => {
      if (stream.destroyed) return
      stream.close(noError)
      stream.resume() // what has come: the stream would wait for somebody to read it
    }
    // What has come of it may be read to its end in this turn.
    stream.once('finish', () => setImmediate(stop))
  }

  onDisconnect(callback: () => void): void {
    this.#onGone.push(callback)
  }

  /** Calls back when the stream is closed, with whether all of the response was sent. */
  onOver(callback: (isSent: boolean) => void): void {
    this.#onOver.push(callback)
  }

  /** The client counts as gone: its time is over. */
  expire(): void {
    if (this.#isGone) return
    this.#isGone = true
    for (const callback of this.#onGone.splice(0)) callback()
  }

  async *openBody(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#askForBody()
    // Not destroyed when a handler reads no further: that would take the answer with it.
    yield* this.stream.iterator({ destroyOnReturn: false })
    if (!this.#isWhole) throw new Error('The stream was closed before the body had ended')
  }

  async readBody(limitBytes: number): Promise<Uint8Array> {
    if (this.isClosed) throw new BodyAbortedError()
    this.#askForBody()
    // What is too long is not read on: the client waits, and keeps the rest when it is answered.
    const bytes = await collect(this.stream, limitBytes, () => this.stream.pause())
    if (!this.#isWhole) throw new BodyAbortedError()
    return bytes
  }

  #askForBody(): void {
    const { requestMs } = this.connection.limits
    // Before this a client could not send more than its window.
    if (requestMs !== Infinity && !this.isClosed)
      this.#limit = setTimeout(() => this.#isLate(), Math.min(requestMs, maxTimerMs))
    if (!this.#awaitsContinue) return
    this.#awaitsContinue = false
    if (!this.isClosed && !this.stream.headersSent)
      this.stream.additionalHeaders({ ':status': 100 })
  }

  /** The body does not come. */
  #isLate(): void {
    if (this.isClosed) return
    if (this.stream.headersSent) this.reset(constants.NGHTTP2_CANCEL)
    else this.refuse(408)
    this.expire()
  }

  #close(): void {
    const { stream } = this
    clearTimeout(this.#limit)
    // A stream that was reset says that its writing has finished all the same; one that has come to its end on both
    // sides may say so later.
    const isTaken = stream.writableFinished || !this.connection.session.destroyed
    const isSent = this.hasEnded && isTaken && stream.rstCode === noError
    if (!isSent) this.expire()
    for (const callback of this.#onOver.splice(0)) callback(isSent)
  }
}
