/** Every socket of a server, and what it is doing. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** A client's connection. */
export class Connection {
  readonly socket: Socket
  /** The client's address, IPv4 as such also where the socket has it mapped into IPv6. */
  readonly peerIp: string | undefined
  /** The response to the newest request. Responses are sent in the order of the requests, so when
   * this one is finished, all are. */
  #response: ServerResponse | undefined
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

  began(response: ServerResponse): void {
    this.#response = response
  }

  /** Ends the connection after the newest response, which says `Connection: close` where its head is
   * not out yet. */
  closeAfterResponse(): void {
    const response = this.#response
    if (response === undefined || response.writableFinished) return
    response.shouldKeepAlive = false
    // Also by hand: the head may be out, or a handler may have set a Connection of its own.
    response.once('finish', () => {
      if (this.#response === response) this.end()
    })
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

/** Node turns a longer time, and so `Infinity`, into 1 ms. */
export const maxTimerMs: number = 2 ** 31 - 1

const connectionOf = Symbol('connection')
type SocketWithConnection = Socket & { [connectionOf]?: Connection }

/** The connections of a server. */
export class Connections implements Iterable<Connection> {
  readonly #open = new Set<Connection>()
  readonly #halfClosedMs: number
  #onEmpty: (() => void) | undefined

  /** @param halfClosedMs How long a client that has ended its side is waited for. */
  constructor(halfClosedMs: number) {
    this.#halfClosedMs = halfClosedMs
  }

  /** Takes in a new socket until it closes. */
  add(socket: Socket): void {
    const connection = new Connection(socket, this.#halfClosedMs)
    ;(socket as SocketWithConnection)[connectionOf] = connection
    this.#open.add(connection)
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
    return new Promise((resolve) => {
      this.#onEmpty = resolve
    })
  }
}
