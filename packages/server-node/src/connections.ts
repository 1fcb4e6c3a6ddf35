/** Every socket of a server, and what it is doing. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import { maxTimerMs } from './clock.ts'
import type { OpenRequest } from './open-report.ts'

interface Begun {
  readonly response: ServerResponse
  readonly startTime: number
}

/** A client's connection. */
export class Connection {
  readonly socket: Socket
  /** The client's address, IPv4 as such also where the socket has it mapped into IPv6. */
  readonly peerIp: string | undefined
  /** When the newest request came, as `performance.now()` has it. */
  startTime = 0
  /** The response to the newest request. Responses are sent in the order of the requests, so when
   * this one is finished, all are. */
  #response: ServerResponse | undefined
  /** Requests before the newest that are not answered yet, where the client pipelines: RFC 9112 §9.3.2. */
  #earlier: Begun[] | undefined
  /** The response that is to be the last, and whether it would have kept the connection. */
  #last: ServerResponse | undefined
  #wasKept = false
  /** How many bytes had been read when the newest response was made: more are part of a request. */
  #bytesAnswered = 0
  /** Whether the request had been read to its end by then. */
  #wasComplete = true
  readonly #onClose = new Set<() => void>()
  readonly #onEnd = new Set<() => void>()

  readonly #halfClosedMs: number
  #isEnding = false

  constructor(socket: Socket, halfClosedMs: number) {
    this.socket = socket
    this.#halfClosedMs = Math.min(halfClosedMs, maxTimerMs)
    // Node's own way to close after the last response, which would destroy the socket at once.
    socket.destroySoon = () => this.end()
    const ip = socket.remoteAddress
    this.peerIp = ip?.startsWith('::ffff:') === true && ip.includes('.') ? ip.slice(7) : ip
  }

  /** Whether no request is being answered. */
  get isIdle(): boolean {
    return this.#response === undefined || this.#response.writableFinished
  }

  /** Whether part of a request has come since the newest response. */
  get isReceiving(): boolean {
    if (!this.isIdle || this.socket.bytesRead === this.#bytesAnswered) return false
    // Answered before all of it was there: what came since may have been the rest of its body.
    return this.#wasComplete || !hasBody(this.#response?.req)
  }

  /** Whether it has said goodbye: requests that come now cannot be answered any more. */
  get isEnding(): boolean {
    return this.#isEnding
  }

  /** A request has come. */
  began(response: ServerResponse): void {
    const previous = this.#response
    if (previous !== undefined && !previous.writableFinished) {
      const earlier = (this.#earlier ??= [])
      while (earlier[0]?.response.writableFinished === true) earlier.shift()
      earlier.push({ response: previous, startTime: this.startTime })
    }
    this.#response = response
    this.startTime = performance.now()
  }

  /** Whether a response waits for one before it that is still being made. */
  isBehind(response: ServerResponse): boolean {
    if (response.socket !== null) return false
    for (const each of this.#earlier ?? []) {
      if (each.response === response) return false
      if (!each.response.writableEnded) return true
    }
    return false
  }

  /** The newest request has its response. */
  answered(): void {
    this.#bytesAnswered = this.socket.bytesRead
    this.#wasComplete = this.#response!.req.complete
  }

  /** The responses that are not finished, the oldest first. */
  unfinished(): ServerResponse[] {
    return this.#open().map(({ response }) => response)
  }

  /** The requests in progress, the oldest first.
   * @param streams The responses that are event streams. */
  requests(streams: ReadonlySet<ServerResponse>): OpenRequest[] {
    return this.#open().map(({ response, startTime }) => ({
      method: response.req.method!,
      path: response.req.url!.split('?', 1)[0]!,
      startTime,
      isStream: streams.has(response),
    }))
  }

  #open(): Begun[] {
    if (this.isIdle) return []
    const earlier = this.#earlier?.filter(({ response }) => !response.writableFinished) ?? []
    return [...earlier, { response: this.#response!, startTime: this.startTime }]
  }

  /** Ends the connection after the newest response, which says `Connection: close` where its head is
   * not out yet. Called again when another request has come, it moves that on: RFC 9112 §9.6. */
  closeAfterResponse(): void {
    const response = this.#response
    if (response === undefined || response.writableFinished || response === this.#last) return
    if (this.#last !== undefined) this.#last.shouldKeepAlive = this.#wasKept
    this.#last = response
    this.#wasKept = response.shouldKeepAlive
    response.shouldKeepAlive = false
    // Also by hand: the head may be out, or a handler may have set a Connection of its own.
    response.once('finish', () => {
      if (this.#response === response) this.end()
    })
  }

  /** Ends the connection where a request was begun and does not come: RFC 9110 §15.5.9. */
  timeOut(): void {
    if (this.#isEnding) return
    this.socket.write(requestTimeout)
    this.end()
  }

  /** Calls back when the connection is gone. Returns the way to take that back. */
  onClose(callback: () => void): () => void {
    this.#onClose.add(callback)
    return () => this.#onClose.delete(callback)
  }

  /** Calls back when the client has ended its side, which is all that is seen of one that left in
   * good order, or when the connection is gone. Returns the way to take that back. */
  onEnd(callback: () => void): () => void {
    this.#onEnd.add(callback)
    return () => this.#onEnd.delete(callback)
  }

  ended(): void {
    this.#callOnEnd()
    if (!this.isIdle) this.#waitHalfClosed()
  }

  closed(): void {
    this.#callOnEnd()
    for (const callback of this.#onClose) callback()
    this.#onClose.clear()
  }

  #callOnEnd(): void {
    for (const callback of this.#onEnd) callback()
    this.#onEnd.clear()
  }

  /** Says goodbye: FIN, and the end of the socket soon after. Reading goes on meanwhile: a socket that
   * is destroyed with unread input is reset, and the client may lose what it was sent before. A client
   * that is still sending is heard for two seconds more. */
  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.socket.end()
    let rounds = 10
    this.#whileItMoves(
      200,
      () => this.socket.bytesRead,
      () => rounds-- > 0,
    )
  }

  /** The client has ended its side. It may still read; if nothing moves towards it, it has left. */
  #waitHalfClosed(): void {
    this.#whileItMoves(
      this.#halfClosedMs,
      () => this.socket.bytesWritten,
      () => true,
    )
  }

  /** Destroys the socket as soon as a count stands still for some time, or `goesOn` says so. */
  #whileItMoves(ms: number, count: () => number, goesOn: () => boolean): void {
    let before = count()
    const timer = setInterval(() => {
      if (!this.socket.destroyed && count() !== before && goesOn()) {
        before = count()
      } else {
        clearInterval(timer)
        this.socket.destroy()
      }
    }, ms).unref()
    this.socket.once('close', () => clearInterval(timer))
  }
}

function hasBody(request: IncomingMessage | undefined): boolean {
  if (request === undefined) return false
  return 'content-length' in request.headers || 'transfer-encoding' in request.headers
}

const requestTimeout =
  'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

const connectionOf = Symbol('connection')
type SocketWithConnection = Socket & { [connectionOf]?: Connection }

/** The connections of a server. */
export class Connections implements Iterable<Connection> {
  readonly #open = new Set<Connection>()
  readonly #halfClosedMs: number
  #onEmpty: (() => void) | undefined
  #empty: Promise<void> | undefined
  /** How many there have been. */
  accepted = 0

  /** @param halfClosedMs How long a client that has ended its side is waited for. */
  constructor(halfClosedMs: number) {
    this.#halfClosedMs = halfClosedMs
  }

  /** Takes in a new socket until it closes. */
  add(socket: Socket): void {
    const connection = new Connection(socket, this.#halfClosedMs)
    ;(socket as SocketWithConnection)[connectionOf] = connection
    this.#open.add(connection)
    this.accepted++
    socket.once('end', () => connection.ended())
    socket.once('close', () => {
      this.#open.delete(connection)
      connection.closed()
      if (this.#open.size === 0) this.#onEmpty?.()
    })
  }

  /** The connection of a socket that was added. */
  of(socket: Socket): Connection {
    return (socket as SocketWithConnection)[connectionOf]!
  }

  get size(): number {
    return this.#open.size
  }

  [Symbol.iterator](): Iterator<Connection> {
    return this.#open.values()
  }

  /** Resolves when the last connection is gone; at once when there is none. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    this.#empty ??= new Promise((resolve) => {
      this.#onEmpty = resolve
    })
    return this.#empty
  }
}
