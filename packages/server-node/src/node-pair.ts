/** A request and a response of node:http that are made for a conn, and how middleware and the conn see each other. */

import { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'

import { State } from '@wakerobin/core'
import type { BodySource, Conn } from '@wakerobin/core'
import {
  encodeText,
  failConn,
  isPromiseLike,
  onErrorOf,
  onGone,
  toBodySource,
} from '@wakerobin/core/adapter'

import type { Middleware } from './connect.ts'
import { requestFor } from './node-request.ts'
import type { NodeRequest } from './node-request.ts'
import { ResponseBody } from './response-body.ts'
import { applyChanges, fieldsOf, fieldsOn, replaceAll, setFields } from './response-fields.ts'
import type { Fields } from './response-fields.ts'
import { ResponseSocket } from './response-socket.ts'
import type { ResponseReader } from './response-socket.ts'

const Pair = State.key<NodePair>()('node-pair')

/** One for each conn, for all of its middleware: what one replaces on `res`, another may replace again. */
export class NodePair implements ResponseReader {
  readonly response: ServerResponse
  readonly #conn: Conn
  readonly #request: NodeRequest
  readonly #socket: ResponseSocket
  /** The handler that was reached first. */
  #outermost: object | undefined
  /** The middleware that may answer now. */
  #turn: Turn | undefined
  /** What was called last, for reports. */
  #place = 'connect'
  /** What the response had when the conn and it agreed last. */
  #agreed: Fields = new Map()
  /** Whether the response of the conn goes through it, or has gone. */
  #isThrough = false
  /** Told when the head of a response that goes through has come, and when it never will. */
  #onHead: (() => void) | undefined
  #onBroken: ((error: unknown) => void) | undefined
  #isWatching = false

  private constructor(conn: Conn) {
    this.#conn = conn
    this.#socket = new ResponseSocket(conn, this)
    this.#request = requestFor(conn, this.#socket, (error) => this.#bodyFailed(error))
    this.response = responseTo(this.#request.message)
    this.response.assignSocket(this.#socket)
    this.response.on('prefinish', () => this.#ended())
    this.response.on('error', (error: unknown) => this.#report(error))
    this.response.on('unpipe', (source: Readable) => this.#letGo(source))
    this.#socket.on('drain', () => {
      if (this.response.writableNeedDrain) this.response.emit('drain')
    })
    this.#socket.on('timeout', () => this.#timedOut())
    conn.afterSend((isSent) => this.#over(isSent))
  }

  /** The pair of a conn, made where it has none. */
  static of(conn: Conn): NodePair {
    let pair = NodePair.find(conn)
    if (pair === undefined) {
      pair = new NodePair(conn)
      conn.withState(Pair, pair)
    }
    return pair
  }

  /** The pair of a conn that has one. */
  static find(conn: Conn): NodePair | undefined {
    return conn.state(Pair)
  }

  get request(): IncomingMessage {
    this.#request.follow(this.#conn)
    return this.#request.message
  }

  /** Calls middleware.
   * @throws What it throws, rejects with or gives to `next`. */
  run(middleware: Middleware, place: string, handler: object): Conn | Promise<Conn> {
    this.#outermost ??= handler
    this.#place = place
    const { request, response } = this
    this.#agree()
    const status = this.#conn.status ?? 200
    response.statusCode = status
    const turn = new Turn(status)
    this.#turn = turn
    const next = (error?: unknown): void => {
      if (error === undefined || error === null || isSkip(error)) {
        if (!turn.end('passed')) this.#report(calledTwice(place))
      } else if (!turn.end('failed', error)) this.#failLate(error)
    }
    try {
      const returned = middleware(request, response, next)
      if (isPromiseLike(returned)) {
        returned.then(undefined, (error: unknown) => {
          if (!turn.end('failed', error)) this.#failLate(error)
        })
      }
    } catch (error) {
      if (!turn.end('failed', error)) this.#failLate(error)
    }
    return turn.outcome === undefined ? this.#wait(turn) : this.#leave(turn)
  }

  /** Sends what the conn has become through the response, where middleware has replaced parts of that. */
  beforeSend(handler: object): Conn | Promise<Conn> | undefined {
    if (this.#outermost !== handler || this.#isThrough) return undefined
    this.#isThrough = true
    const { response } = this
    if (response.headersSent) return undefined // middleware has answered: it went through
    this.#take()
    const { status, method } = this.#conn
    const switches = status === 101 || method === 'CONNECT'
    return switches || !isReplaced(response) ? undefined : this.#through()
  }

  // ----------------------------------------------------------------- middleware that answers

  head(): void {
    if (this.#isThrough) return this.#onHead?.()
    const turn = this.#turn
    if (turn === undefined || turn.outcome !== undefined) return this.#answerLate()
    // One that ends in this turn of the loop is in memory.
    process.nextTick(() => turn.end('answered'))
  }

  broken(error: Error | null): void {
    const cause = error ?? destroyed(this.#place)
    this.#onBroken?.(cause)
    this.#turn?.end('failed', cause)
  }

  #ended(): void {
    this.#socket.ended()
    if (this.#socket.head === undefined) this.#socket.destroy(noFinalStatus(this.#place))
    if (!this.#isThrough) this.#turn?.end('answered')
  }

  /** Middleware has answered, and the conn is another's. What it answers is dropped. */
  #answerLate(): void {
    this.#socket.collect()
    this.#report(
      new TypeError(`Cannot answer any more: ${this.#place} has called next() before, or failed`),
    )
  }

  /** It has failed behind its answer, or behind next(). */
  #failLate(error: unknown): void {
    const isFlowing = this.#turn?.outcome === 'answered' && !this.#socket.isWhole
    if (isFlowing && error instanceof Error) this.#socket.destroy(error)
    else if (isFlowing)
      this.#socket.destroy(new Error('The middleware has failed', { cause: error }))
    else if (!(this.#conn.isDisconnected && isAbort(error))) this.#report(error)
  }

  /** Nothing was written for as long as middleware has said. As with node, that is the end where nobody hears of it. */
  #timedOut(): void {
    const message = this.#request.message
    const isHeard = [
      !message.complete && message.emit('timeout', this.#socket),
      this.response.emit('timeout', this.#socket),
    ]
    if (!isHeard.includes(true))
      this.#socket.destroy(new Error(`${this.#place} has taken longer than it has set itself`))
  }

  /** The body cannot be read. Middleware may say something to it in this turn of the loop; some wait for an end that will
   * not come. */
  #bodyFailed(error: unknown): void {
    setImmediate(() => this.#turn?.end('failed', error))
  }

  async #wait(turn: Turn): Promise<Conn> {
    this.#watchClient()
    await turn.over
    return this.#leave(turn)
  }

  /** Tells middleware, and whoever waits for it, when the client leaves. */
  #watchClient(): void {
    if (this.#isWatching) return
    this.#isWatching = true
    onGone(this.#conn, () => {
      const { reason } = this.#conn.signal
      this.#turn?.end('failed', reason)
      this.#onBroken?.(reason)
      this.#socket.over(false)
      this.#request.close()
    })
  }

  #leave(turn: Turn): Conn {
    const conn = this.#conn
    if (turn.outcome === 'answered') return this.#answered()
    this.#turn = undefined
    if (turn.outcome === 'failed') {
      const { error } = turn
      const status = clientStatusOf(error)
      if (status === undefined) throw error
      // A body parser takes whatever was wrong with the body for the client's doing.
      if (this.#request.error !== undefined) throw this.#request.error
      failConn(conn, status)
      for (const [name, value] of headersOf(error)) conn.withResponseHeader(name, value)
      return conn
    }
    this.#take()
    if (this.response.statusCode !== turn.status) conn.withStatus(this.response.statusCode)
    return conn
  }

  #answered(): Conn {
    const conn = this.#conn
    this.#setHead(this.#socket.isWhole)
    if (this.#socket.isWhole) conn.withBody(this.#wholeBody())
    else conn.withBody(new ResponseBody(this.#socket, isEventStream(conn)))
    return conn.halt()
  }

  #wholeBody(): Uint8Array | Readable {
    const bytes = this.#socket.takeBytes()
    // RFC 9110 §8.6: of a HEAD only the middleware knows how long the body would be.
    const isUnknown = this.#conn.method === 'HEAD' && bytes.length === 0
    return isUnknown ? Readable.from([]) : bytes
  }

  /** @param isWhole Whether the body is in memory: its length is set when it is sent, as another body may be then. */
  #setHead(isWhole: boolean): void {
    const conn = this.#conn
    const { status, rawHeaders } = this.#socket.head!
    conn.withStatus(status)
    replaceAll(conn.responseHeaders, rawHeaders)
    const length = conn.responseHeaders.getSingle('content-length')
    if (isWhole && conn.method !== 'HEAD' && length === String(this.#socket.bodyLength))
      conn.responseHeaders.delete('content-length')
  }

  // ------------------------------------------------------------------ answers that go through

  #through(): Conn | Promise<Conn> {
    const conn = this.#conn
    const { response } = this
    const status = conn.status ?? 404
    this.#agree()
    response.statusCode = status
    const hasBody = conn.method !== 'HEAD' && ![204, 205, 304].includes(status)
    const body = conn.responseBody
    // What will not be sent stays on the conn, which has its length from it.
    if (!hasBody) return this.#allThrough(undefined, () => this.#setHead(false))
    const bytes = typeof body === 'string' ? encodeText(body) : (body ?? noBytes)
    if (!(bytes instanceof Uint8Array)) return this.#streamThrough(toBodySource(bytes))
    if (!response.hasHeader('content-length')) response.setHeader('Content-Length', bytes.length)
    return this.#allThrough(bytes, () => {
      this.#setHead(true)
      conn.withBody(this.#socket.takeBytes())
    })
  }

  #allThrough(bytes: Uint8Array | undefined, set: () => void): Conn | Promise<Conn> {
    const conn = this.#conn
    const { response } = this
    if (bytes === undefined || bytes.length === 0) response.end()
    else response.end(asBuffer(bytes))
    let isWhole = false
    this.#socket.collect(() => (isWhole = true))
    if (isWhole) {
      set()
      return conn
    }
    return this.#comes((done) => this.#socket.collect(done)).then(() => {
      set()
      return conn
    })
  }

  #streamThrough(source: BodySource): Conn | Promise<Conn> {
    const conn = this.#conn
    const { response } = this
    const set = (): Conn => {
      this.#setHead(false)
      conn.takeResponseBody()
      return conn.withBody(
        new ResponseBody(this.#socket, source.isEndless === true, { source, response }),
      )
    }
    if (source.length !== undefined && !response.hasHeader('content-length'))
      response.setHeader('Content-Length', source.length)
    response.flushHeaders()
    if (this.#socket.head !== undefined) return set()
    return this.#comes((done) => (this.#onHead = done)).then(set)
  }

  /** Waits for what comes of a response that goes through.
   * @throws When its middleware destroys it, and when the client leaves. */
  #comes(register: (done: () => void) => void): Promise<void> {
    const { brokenBy } = this.#socket
    if (brokenBy !== undefined) return Promise.reject(brokenBy)
    return new Promise<void>((resolve, reject) => {
      this.#onBroken = reject
      register(resolve)
      this.#watchClient()
    })
  }

  // ------------------------------------------------------------------------------ what both see

  /** Gives the response what the conn has. */
  #agree(): void {
    if (this.response.headersSent) return
    setFields(this.response, fieldsOf(this.#conn.responseHeaders))
    this.#agreed = fieldsOn(this.response)
  }

  /** Gives the conn what middleware has set on the response. */
  #take(): void {
    const now = fieldsOn(this.response)
    applyChanges(this.#conn.responseHeaders, this.#agreed, now)
    this.#agreed = now
  }

  #over(isSent: boolean): void {
    const { response } = this
    const isAsked = response.listenerCount('finish') > 0 || response.listenerCount('close') > 0
    if (isSent && isAsked && !response.headersSent && !isReplaced(response)) {
      // It went another way. Whoever waits for its end finds it as it was sent.
      this.#isThrough = true
      response.statusCode = this.#conn.status ?? 404
      this.#agree()
      response.end()
    }
    this.#socket.over(isSent)
    this.#request.close()
  }

  /** A source that was piped into the response, and is not any more as that is closed: nobody else would close it. */
  #letGo(source: Readable): void {
    if (!this.#socket.destroyed) return
    // When it has taken its own listeners off.
    process.nextTick(() => {
      if (source.listenerCount('data') === 0) source.destroy()
    })
  }

  #report(error: unknown): void {
    onErrorOf(this.#conn)(error, { conn: this.#conn, place: this.#place })
  }
}

/** Middleware that was called, until it has passed the conn on, answered or failed. */
class Turn {
  /** The status that the response had before. */
  readonly status: number
  outcome: 'passed' | 'answered' | 'failed' | undefined
  error: unknown
  #onOver: (() => void) | undefined

  constructor(status: number) {
    this.status = status
  }

  /** Returns false where it was over before. */
  end(outcome: 'passed' | 'answered' | 'failed', error?: unknown): boolean {
    if (this.outcome !== undefined) return false
    this.outcome = outcome
    this.error = error
    this.#onOver?.()
    return true
  }

  get over(): Promise<void> {
    if (this.outcome !== undefined) return Promise.resolve()
    return new Promise((resolve) => (this.#onOver = resolve))
  }
}

/** A response whose framing is the server's: it writes a head, and the bytes of the body as they are. */
function responseTo(request: IncomingMessage): ServerResponse {
  const response = new ServerResponse(request)
  response.sendDate = false
  // Node adds none of these then.
  response.removeHeader('connection')
  response.removeHeader('transfer-encoding')
  // Not even where middleware sets a Transfer-Encoding of its own.
  Object.defineProperty(response, 'chunkedEncoding', alwaysFalse)
  return response
}

/** One for all: responses with accessors of their own would each have a shape of their own, which costs 20 microseconds. */
const alwaysFalse: PropertyDescriptor = { get: () => false, set() {} }

function isReplaced({ writeHead, write, end }: ServerResponse): boolean {
  const { prototype } = ServerResponse
  return writeHead !== prototype.writeHead || write !== prototype.write || end !== prototype.end
}

/** Of Express: the rest of a route, or of a router, is skipped. Neither is here. */
function isSkip(error: unknown): boolean {
  return error === 'route' || error === 'router'
}

/** The status of an error that says itself that it is the client's, as `http-errors` has it. */
function clientStatusOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined
  const { status, statusCode = status } = error as { status?: unknown; statusCode?: unknown }
  return Number.isInteger(statusCode) && Number(statusCode) >= 400 && Number(statusCode) < 500
    ? Number(statusCode)
    : undefined
}

/** The fields that such an error wants in the response. */
function headersOf(error: unknown): [string, string][] {
  const { headers } = error as { headers?: unknown }
  return typeof headers === 'object' && headers !== null
    ? Object.entries(headers).map(([name, value]) => [name, String(value)])
    : []
}

function isEventStream({ responseHeaders }: Conn): boolean {
  return /^text\/event-stream\b/i.test(responseHeaders.getSingle('content-type') ?? '')
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const noBytes = new Uint8Array()

function calledTwice(place: string): TypeError {
  return new TypeError(`Cannot go on: ${place} has called next() a second time, or has answered`)
}

function destroyed(place: string): Error {
  return new Error(`Cannot answer: ${place} has destroyed the response`)
}

function noFinalStatus(place: string): TypeError {
  return new TypeError(
    `Cannot answer with an interim status: ${place} has ended the response with one below 200`,
  )
}
