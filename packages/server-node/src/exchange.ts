/** A request as node:http has parsed it, on its way to its response. */

import type { IncomingMessage, ServerResponse } from 'node:http'

import { BodyAbortedError, type Listener, type OnError } from '@wakerobin/core'
import type { Incoming, ServerContext } from '@wakerobin/core/adapter'

import type { ActiveBodies } from './body-sink.ts'
import { collect } from './collect.ts'
import type { Connection, Watcher } from './connections.ts'
import type { WriteStalls } from './write-stalls.ts'

/** What all requests of a server share. */
export interface NodeContext extends ServerContext {
  readonly bodies: ActiveBodies
  readonly stalls: WriteStalls
  /** As `limits.writeStallMs`, at most what a timer can do. */
  readonly writeStallMs: number
  /** The fields of a head that say that the connection is kept, and for how long, and the empty line behind them. */
  readonly keepAliveFields: string
}

/** How long the body of a request may be left unread while an event stream goes on, or behind the response, in
 * milliseconds. */
export const unreadMs = 1000

const dropped = new WeakSet<IncomingMessage>()

/** Reads what is left of a request, and drops it, where nobody else does: node does not look for the end of a
 * connection behind what is unread. */
export function dropUnlessRead(request: IncomingMessage): void {
  const timeout = setTimeout(() => {
    if (request.readableFlowing !== null || request.complete) return
    drop(request)
  }, unreadMs).unref()
  request.once('close', () => clearTimeout(timeout))
}

/** Reads what is left of a request, and drops it. Whoever has begun to read it, and comes back, is told so. */
export function drop(request: IncomingMessage): void {
  dropped.add(request)
  request.removeAllListeners('readable').removeAllListeners('data').resume()
}

const noLines: string[] = []
const noHeaders = {}

/** A request and its response. Nothing is parsed here. One object for what core and this package need of it: there is
 * one for each request. */
export class Exchange implements Incoming {
  readonly startTime: number
  readonly server: NodeContext
  readonly response: ServerResponse
  readonly connection: Connection
  /** How the body is framed; 0 for none. See `examine`. */
  readonly framing: number
  /** Whether the client keeps the body until it is asked for it: RFC 9110 §10.1.1. */
  awaitsContinue: boolean
  /** Whether more of the body has come than was to be read. */
  isTooLong = false
  /** Whether all of the body was read. Node says `complete` a little later. */
  isRead = false
  /** The raw headers as one string: no line break can be in one. */
  #packed: string | undefined
  #isExpired = false
  #onExpired: (() => void) | undefined

  constructor(
    response: ServerResponse,
    connection: Connection,
    server: NodeContext,
    framed = 0,
    awaitsContinue = false,
  ) {
    this.startTime = connection.startTime
    this.server = server
    this.response = response
    this.connection = connection
    this.framing = framed
    this.awaitsContinue = awaitsContinue
  }

  get bodies(): ActiveBodies {
    return this.server.bodies
  }

  get onError(): OnError {
    return this.server.onError
  }

  get #request(): IncomingMessage {
    return this.response.req
  }

  get method(): string {
    return this.#request.method!
  }

  get target(): string {
    return this.#request.url!
  }

  get rawHeaders(): readonly string[] {
    if (this.#packed === undefined) return this.#request.rawHeaders
    return this.#packed === '' ? noLines : this.#packed.split('\n')
  }

  pack(): void {
    this.#packed ??= this.#request.rawHeaders.join('\n')
    // Node has parsed them too, to look for Host and Expect.
    this.#request.rawHeaders = noLines
    this.#request.headers = noHeaders
  }

  get httpVersion(): string {
    return this.#request.httpVersion
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

  get isDisconnected(): boolean {
    const { socket } = this.connection
    return socket.destroyed || socket.readableEnded || this.#isExpired
  }

  onDisconnect(callback: () => void): void {
    this.#onLeft(callback, true)
  }

  onGone(callback: () => void): void {
    if (this.connection.socket.destroyed || this.#isExpired) callback()
    else this.#onLeft(callback, false)
  }

  /** @param alsoEnded Whether a client has left that has ended its side. */
  #onLeft(callback: () => void, alsoEnded: boolean): void {
    const { connection } = this
    const earlier = this.#onExpired
    let isOver = false
    const over = (): void => {
      if (isOver) return
      isOver = true
      connection.unwatch(watcher)
      callback()
    }
    const watcher: Watcher = alsoEnded ? { ended: over, gone: over } : { gone: over }
    connection.watch(watcher)
    this.#onExpired = () => {
      earlier?.()
      over()
    }
    this.response.once('finish', () => connection.unwatch(watcher))
  }

  /** The time for its handlers is over, and it was answered: as for one whose client has left. */
  expire(): void {
    this.#isExpired = true
    this.#onExpired?.()
  }

  get rawTrailers(): readonly string[] | undefined {
    const { readableEnded, rawTrailers } = this.#request
    return readableEnded ? rawTrailers : undefined
  }

  async *openBody(): AsyncGenerator<Uint8Array, void, undefined> {
    const request = this.#request
    refuseDropped(request)
    if (this.awaitsContinue) this.#continue()
    try {
      // Not destroyed when a handler reads no further: that would take the socket with it, and the
      // answer. The rest is read and dropped, so that the answer arrives and the next request is seen.
      for await (const chunk of request.iterator({ destroyOnReturn: false })) {
        refuseDropped(request) // what came before it may be gone
        yield chunk
      }
      refuseDropped(request)
    } finally {
      if (!request.readableEnded) setImmediate(() => request.resume())
    }
  }

  async readBody(limitBytes: number, contentLength: number | undefined): Promise<Uint8Array> {
    const request = this.#request
    try {
      refuseDropped(request)
    } catch (error) {
      throw new BodyAbortedError({ cause: error })
    }
    if (this.awaitsContinue) this.#continue()
    await undefined // node has parsed by then what came together with the head: mostly the whole body
    // So many, because without a number Node 26 returns the first piece alone.
    if (request.readableLength === contentLength) {
      this.isRead = true
      return request.read(contentLength) as Buffer
    }
    return collect(request, limitBytes, () => (this.isTooLong = true))
  }

  /** Asks the client for the body. */
  #continue(): void {
    const { response } = this
    if (response.headersSent || this.#request.destroyed) return
    this.awaitsContinue = false
    response.writeContinue()
  }
}

function refuseDropped(request: IncomingMessage): void {
  if (!dropped.has(request)) return
  throw new TypeError(
    `Cannot read the request body any more: it was dropped, as nobody had read on for ${unreadMs} ms while the response went on, or was sent already`,
  )
}
