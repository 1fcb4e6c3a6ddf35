/** From a conn that is done to bytes on the wire. */

import type { ServerResponse } from 'node:http'

import type { Conn, OnError } from '@wakerobin/core'
import {
  failConn,
  finalize,
  hasAfterSend,
  isBodySource,
  settleConn,
  type FinalResponse,
} from '@wakerobin/core/adapter'

import { isTaken, ResponseSink, type ActiveBodies, type StreamDelivery } from './body-sink.ts'
import type { Connection } from './connections.ts'

/** One request on its way to its response. */
export interface Exchange {
  readonly response: ServerResponse
  readonly connection: Connection
  readonly bodies: ActiveBodies
  readonly onError: OnError
}

/** Sends the response of a conn, and runs its `afterSend` when that is over. */
export function send(conn: Conn, exchange: Exchange): void {
  const final = finalOf(conn, exchange)
  const { body } = final
  if (exchange.connection.socket.destroyed) {
    if (isBodySource(body)) body.closed()
    settle(conn, exchange, false)
    return
  }
  if (isBodySource(body)) {
    const delivery = new Delivery(conn, exchange, final)
    new ResponseSink(conn, body, final.bodyLength, exchange, delivery).start()
    return
  }
  if (hasAfterSend(conn)) settleWhenOver(conn, exchange)
  try {
    writeHead(final, exchange)
  } catch (error) {
    // What node refuses, as a Trailer where no trailers can be.
    exchange.onError(error, { conn, place: 'the response' })
    sendFailure(conn, exchange)
    return
  }
  writeBody(final, exchange)
}

/** What is to be done for a streaming body besides its bytes. */
class Delivery implements StreamDelivery {
  readonly #conn: Conn
  readonly #exchange: Exchange
  #final: FinalResponse | undefined

  constructor(conn: Conn, exchange: Exchange, final: FinalResponse) {
    this.#conn = conn
    this.#exchange = exchange
    this.#final = final
  }

  writeHead(): void {
    writeStreamHead(this.#conn, this.#final!, this.#exchange)
    this.#final = undefined
  }

  fail(): void {
    sendFailure(this.#conn, this.#exchange)
  }

  // Also where nobody has asked for it yet: they may while the body flows.
  settle(isSent: boolean): void {
    settle(this.#conn, this.#exchange, isSent)
  }
}

function finalOf(conn: Conn, { onError }: Exchange): FinalResponse {
  try {
    return finalize(conn, byteLength)
  } catch (error) {
    failConn(conn, 500) // framing that is not true
    onError(error, { conn, place: 'the response' })
    return finalize(conn, byteLength)
  }
}

/** Sends a 500 in place of a response of which nothing is out. */
function sendFailure(conn: Conn, exchange: Exchange): void {
  conn.takeResponseBody() // it has ended by itself
  failConn(conn, 500)
  exchange.response.statusMessage = '' // node keeps that of the head it has refused
  const final = finalize(conn, byteLength)
  writeHead(final, exchange)
  writeBody(final, exchange)
}

function writeHead(final: FinalResponse, { response }: Exchange): void {
  response.writeHead(final.status, withLength(final) as string[])
}

function writeStreamHead(conn: Conn, final: FinalResponse, exchange: Exchange): void {
  const { response, connection } = exchange
  // A client that has half-closed sends nothing more: the connection ends with the response.
  if (connection.socket.readableEnded) response.shouldKeepAlive = false
  // No Connection header of ours: it means nothing beyond the next hop, and proxies stumble over it.
  // HTTP/1.0 is another matter: there it has to be said that a connection is kept.
  if (response.shouldKeepAlive && conn.httpVersion !== '1.0') response.removeHeader('connection')
  writeHead(final, exchange)
}

/** The length of text in UTF-8. Asking node costs more than looking through a short text oneself. */
function byteLength(text: string): number {
  return text.length < 256 && ascii.test(text) ? text.length : Buffer.byteLength(text)
}

// oxlint-disable-next-line no-control-regex -- all of ASCII is meant
const ascii = /^[\x00-\x7f]*$/

function withLength({ rawHeaders, contentLength }: FinalResponse): readonly string[] {
  return contentLength === undefined
    ? rawHeaders
    : [...rawHeaders, 'Content-Length', String(contentLength)]
}

/** Writes head and body in one go. */
function writeBody({ body, bodyLength }: FinalResponse, { response }: Exchange): void {
  if (typeof body === 'string' && body.length === bodyLength) {
    // As many bytes as characters: ASCII. Node puts head and body into one string then. As latin1,
    // because as UTF-8 it would encode header bytes above 0x7F once more.
    response.end(body, 'latin1')
  } else if (typeof body === 'string') {
    response.end(Buffer.from(body))
  } else if (body instanceof Uint8Array) {
    response.end(Buffer.from(body.buffer, body.byteOffset, body.byteLength))
  } else {
    response.end()
  }
}

/** Runs `afterSend` when all is handed to the network, or the client is gone before. */
function settleWhenOver(conn: Conn, exchange: Exchange): void {
  const onClose = (): void => settle(conn, exchange, false)
  exchange.connection.onClose(onClose)
  exchange.response.once('finish', () => {
    exchange.connection.offClose(onClose)
    settle(conn, exchange, isTaken(exchange))
  })
}

function settle(conn: Conn, { onError }: Exchange, isSent: boolean): void {
  settleConn(conn, isSent, (error) => onError(error, { conn, place: 'afterSend' }))
}
