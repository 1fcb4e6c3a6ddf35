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

  constructor(socket: Socket) {
    this.socket = socket
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
    for (const callback of this.#onEnd) callback()
    this.#onEnd.clear()
  }

  closed(): void {
    this.ended()
    for (const callback of this.#onClose) callback()
    this.#onClose.clear()
  }

  /** Says goodbye: FIN, and the end of the socket soon after, whatever the client does. Reading goes
   * on meanwhile: a socket that is destroyed with unread input is reset, and the client may lose
   * what it was sent before. */
  end(): void {
    this.socket.end()
    setTimeout(() => this.socket.destroy(), finGraceMs).unref()
  }
}

const finGraceMs = 200

const connectionOf = Symbol('connection')
type SocketWithConnection = Socket & { [connectionOf]?: Connection }

/** The connections of a server. */
export class Connections implements Iterable<Connection> {
  readonly #open = new Set<Connection>()
  #onEmpty: (() => void) | undefined

  /** Takes in a new socket until it closes. */
  add(socket: Socket): void {
    const connection = new Connection(socket)
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
