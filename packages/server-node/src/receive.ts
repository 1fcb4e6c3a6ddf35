/** From what node:http has parsed to a conn. */

import type { IncomingMessage, ServerResponse } from 'node:http'

import { Conn } from '@wakerobin/core'
import type { Incoming, ServerContext } from '@wakerobin/core/adapter'

import type { Connection } from './connections.ts'

/** Makes the conn of a request. Nothing is parsed here. */
export function receive(
  request: IncomingMessage,
  response: ServerResponse,
  connection: Connection,
  server: ServerContext,
): Conn {
  return new Conn(new NodeIncoming(request, response, connection, server))
}

class NodeIncoming implements Incoming {
  readonly startTime: number
  readonly server: ServerContext
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #connection: Connection

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    connection: Connection,
    server: ServerContext,
  ) {
    this.startTime = connection.startTime
    this.server = server
    this.#request = request
    this.#response = response
    this.#connection = connection
  }

  get method(): string {
    return this.#request.method!
  }

  get target(): string {
    return this.#request.url!
  }

  get rawHeaders(): readonly string[] {
    return this.#request.rawHeaders
  }

  get httpVersion(): string {
    return this.#request.httpVersion
  }

  get peerIp(): string | undefined {
    return this.#connection.peerIp
  }

  get isSecure(): boolean {
    return 'encrypted' in this.#connection.socket
  }

  get isDisconnected(): boolean {
    return this.#connection.socket.destroyed || this.#connection.socket.readableEnded
  }

  onDisconnect(callback: () => void): void {
    const forget = this.#connection.onEnd(callback)
    this.#response.once('finish', forget)
  }

  async *openBody(): AsyncGenerator<Uint8Array, void, undefined> {
    const request = this.#request
    try {
      // Not destroyed when a handler reads no further: that would take the socket with it, and the
      // answer. The rest is read and dropped, so that the answer arrives and the next request is seen.
      yield* request.iterator({ destroyOnReturn: false })
    } finally {
      if (!request.readableEnded) setImmediate(() => request.resume())
    }
  }
}
