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

import { ResponseSink, type ActiveBodies } from './body-sink.ts'
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
  const { response, connection } = exchange
  const final = makeHead(conn, exchange)
  if (connection.socket.destroyed) {
    if (isBodySource(final.body)) final.body.closed()
    settle(conn, exchange, false)
    return
  }
  if (hasAfterSend(conn)) settleWhenOver(conn, exchange)
  if (isBodySource(final.body)) {
    new ResponseSink(conn, final.body, final.bodyLength, exchange).start()
    return
  }
  writeBody(response, final)
}

/** Decides what the response is, and makes its head, which goes out with the body. */
function makeHead(conn: Conn, exchange: Exchange): FinalResponse {
  try {
    return tryHead(conn, exchange)
  } catch (error) {
    // Framing that is not true; or what node refuses, as a Trailer where no trailers can be.
    failConn(conn, 500)
    exchange.onError(error, { conn, place: 'the response' })
    return tryHead(conn, exchange)
  }
}

function tryHead(conn: Conn, { response, connection }: Exchange): FinalResponse {
  const final = finalize(conn, Buffer.byteLength)
  if (isBodySource(final.body)) {
    // A client that has half-closed sends nothing more: the connection ends with the response.
    if (connection.socket.readableEnded) response.shouldKeepAlive = false
    // No Connection header of ours: it means nothing beyond the next hop, and proxies stumble over it.
    if (response.shouldKeepAlive) response.removeHeader('connection')
  }
  response.writeHead(final.status, withLength(final) as string[])
  return final
}

function withLength({ rawHeaders, contentLength }: FinalResponse): readonly string[] {
  return contentLength === undefined
    ? rawHeaders
    : [...rawHeaders, 'Content-Length', String(contentLength)]
}

/** Writes head and body in one go. */
function writeBody(response: ServerResponse, { body, bodyLength }: FinalResponse): void {
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
  const forget = exchange.connection.onClose(() => settle(conn, exchange, false))
  // Node says `finish` also when the socket was destroyed with writes in it.
  exchange.response.once('finish', () => {
    forget()
    settle(conn, exchange, !exchange.connection.socket.destroyed)
  })
}

function settle(conn: Conn, { onError }: Exchange, isSent: boolean): void {
  settleConn(conn, isSent, (error) => onError(error, { conn, place: 'afterSend' }))
}
