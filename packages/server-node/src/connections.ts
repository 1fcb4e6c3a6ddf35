/** Every socket of a server, and what it is doing. */

import type { ServerResponse } from 'node:http'
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
  /** Whether part of a request's head has come, and not the rest. Only known while the server stops. */
  isReceiving = false
  /** The response to the newest request. Responses are sent in the order of the requests, so when
   * this one is finished, all are. */
  #response: ServerResponse | undefined
  /** The oldest of the requests before it that are not answered yet, where the client pipelines:
   * RFC 9112 §9.3.2. For the report. */
  #earlier: Begun[] | undefined
  /** The response after which the connection ends, and whether it would have been kept. */
  #last: ServerResponse | undefined
  #wasKept = false
  /** Whether that response says so. */
  #saysClose = false
  // Made when first used: memory that an open connection holds is memory times ten thousand.
  #onClose: Set<() => void> | undefined
  #onEnd: Set<() => void> | undefined
  readonly #halfClosedMs: number
  #isEnding = false

  constructor(socket: Socket, halfClosedMs: number) {
    this.socket = socket
    this.#halfClosedMs = Math.min(halfClosedMs, maxTimerMs)
    // Node's own way to close after the last response, which would destroy the socket at once.
    socket.destroySoon = endSoon
    const ip = socket.remoteAddress
    this.peerIp = ip?.startsWith('::ffff:') === true && ip.includes('.') ? ip.slice(7) : ip
  }

  /** Whether no request is being answered. */
  get isIdle(): boolean {
    return this.#response === undefined || this.#response.writableFinished
  }

  /** Whether it has said goodbye: a request that comes now cannot be answered any more. RFC 9112 §9.6. */
  get isOver(): boolean {
    return this.#isEnding || (this.#saysClose && this.#last!.headersSent)
  }

  /** A request has come. */
  began(response: ServerResponse): void {
    const previous = this.#response
    if (previous !== undefined && !previous.writableFinished) {
      const earlier = (this.#earlier ??= [])
      while (earlier[0]?.response.writableFinished === true) earlier.shift()
      if (earlier.length < mostEarlier)
        earlier.push({ response: previous, startTime: this.startTime })
    } else if (this.#earlier !== undefined) this.#earlier = undefined
    this.#response = response
    this.startTime = performance.now()
    this.isReceiving = false
  }

  /** The responses that are not finished, the oldest first. */
  unfinished(): ServerResponse[] {
    return this.#open().map(({ response }) => response)
  }

  /** The requests in progress, the oldest first.
   * @param isStream Tells of a response whether it is an event stream. */
  requests(isStream: (response: ServerResponse) => boolean): OpenRequest[] {
    return this.#open().map(({ response, startTime }) => ({
      method: response.req.method!,
      path: pathOf(response.req.url!),
      startTime,
      isStream: isStream(response),
    }))
  }

  #open(): Begun[] {
    if (this.isIdle) return []
    const earlier = this.#earlier?.filter(({ response }) => !response.writableFinished) ?? []
    return [...earlier, { response: this.#response!, startTime: this.startTime }]
  }

  /** Ends the connection after the newest response, which says `Connection: close` where its head is
   * not made yet. Called again when another request has come, it moves that on.
   * @param onKept Called when the response is finished, where its head had said that the connection is kept:
   * the client may have sent another request by then. Without it, the connection ends all the same. */
  closeAfterResponse(onKept?: (response: ServerResponse) => void): void {
    const response = this.#response
    if (response === undefined || response.writableFinished || response === this.#last) return
    if (this.#last !== undefined) this.#last.shouldKeepAlive = this.#wasKept
    const saysKept = response.headersSent && response.shouldKeepAlive
    this.#last = response
    this.#wasKept = response.shouldKeepAlive
    this.#saysClose = !response.headersSent
    response.shouldKeepAlive = false
    // Also by hand: a handler may have set a Connection of its own.
    response.once('finish', () => {
      if (this.#response !== response) return
      if (saysKept && onKept !== undefined) onKept(response)
      else this.end()
    })
  }

  /** Deals with bytes that are no request, or with a request that does not come.
   * @param answer What to say, as bytes on the wire; undefined where nobody would hear it. */
  refuse(answer: string | undefined): void {
    if (this.#isEnding) return
    if (answer === undefined) this.socket.destroy()
    else if (this.isIdle) this.say(answer)
    else if (this.#response!.req.complete) this.closeAfterResponse()
    else {
      // The request in progress is itself broken. Its answer may have begun, and cannot be mended.
      if (!this.#response!.headersSent) this.socket.write(answer)
      this.socket.destroy()
    }
  }

  /** Says the last words on the connection. */
  say(answer: string): void {
    if (this.#isEnding) return
    this.socket.write(answer)
    this.end()
  }

  /** Calls back when the connection is gone. */
  onClose(callback: () => void): void {
    this.#onClose ??= new Set()
    this.#onClose.add(callback)
  }

  offClose(callback: () => void): void {
    this.#onClose?.delete(callback)
  }

  /** Calls back when the client has ended its side, which is all that is seen of one that left in
   * good order, or when the connection is gone. */
  onEnd(callback: () => void): void {
    this.#onEnd ??= new Set()
    this.#onEnd.add(callback)
  }

  offEnd(callback: () => void): void {
    this.#onEnd?.delete(callback)
  }

  ended(): void {
    this.#callOnEnd()
    if (!this.isIdle) this.#waitHalfClosed()
  }

  closed(): void {
    this.#callOnEnd()
    const callbacks = this.#onClose
    this.#onClose = undefined
    for (const callback of callbacks ?? []) callback()
  }

  #callOnEnd(): void {
    const callbacks = this.#onEnd
    this.#onEnd = undefined
    for (const callback of callbacks ?? []) callback()
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

/** More is not looked at: a client may pipeline thousands. */
const mostEarlier = 100

/** Without the query, and without the scheme, authority and user of an absolute target. */
function pathOf(target: string): string {
  return target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').split('?', 1)[0]!
}

const connectionOf = Symbol('connection')
type SocketWithConnection = Socket & { [connectionOf]?: Connection }

// Listeners for all sockets, rather than closures for each.
function endSoon(this: SocketWithConnection): void {
  this[connectionOf]!.end()
}

function onSocketEnd(this: SocketWithConnection): void {
  this[connectionOf]!.ended()
}

/** The connections of a server. */
export class Connections implements Iterable<Connection> {
  readonly #open = new Set<Connection>()
  readonly #halfClosedMs: number
  readonly #onSocketClose: (this: SocketWithConnection) => void
  #onEmpty: (() => void) | undefined
  #empty: Promise<void> | undefined
  /** How many there have been. */
  accepted = 0

  /** @param halfClosedMs How long a client that has ended its side is waited for. */
  constructor(halfClosedMs: number) {
    this.#halfClosedMs = halfClosedMs
    const forget = (connection: Connection): void => this.#forget(connection)
    this.#onSocketClose = function () {
      forget(this[connectionOf]!)
    }
  }

  /** Takes in a new socket until it closes. */
  add(socket: Socket): void {
    const connection = new Connection(socket, this.#halfClosedMs)
    ;(socket as SocketWithConnection)[connectionOf] = connection
    this.#open.add(connection)
    this.accepted++
    socket.on('end', onSocketEnd)
    socket.on('close', this.#onSocketClose)
  }

  #forget(connection: Connection): void {
    this.#open.delete(connection)
    connection.closed()
    if (this.#open.size === 0) this.#onEmpty?.()
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
