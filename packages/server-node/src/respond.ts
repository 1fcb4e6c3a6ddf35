/** The parts of a response: its head, a body that is in memory, and what is done when it is over. */

import { AsyncResource } from 'node:async_hooks'

import type { Conn } from '@wakerobin/core'
import { failConn, finalize, settleConn, type FinalResponse } from '@wakerobin/core/adapter'

import type { Exchange } from './exchange.ts'

/** What the response of a conn is; a 500 where it claims what is not true. */
export function finalOf(conn: Conn, { onError }: Pick<Exchange, 'onError'>): FinalResponse {
  try {
    return finalize(conn, byteLength)
  } catch (error) {
    failConn(conn, 500) // framing that is not true
    onError(error, { conn, place: 'the response' })
    return finalize(conn, byteLength)
  }
}

/** Sends a 500 in place of a response of which nothing is out. */
export function sendFailure(conn: Conn, exchange: Exchange): void {
  conn.takeResponseBody() // it has ended by itself
  failConn(conn, 500)
  exchange.response.statusMessage = '' // node keeps that of the head it has refused
  const final = finalize(conn, byteLength)
  writeHead(final, exchange)
  writeBody(final, exchange)
}

export function writeHead(final: FinalResponse, { response }: Exchange): void {
  response.writeHead(final.status, withLength(final) as string[])
}

export function writeStreamHead(conn: Conn, final: FinalResponse, exchange: Exchange): void {
  const { response, connection } = exchange
  // A client that has half-closed sends nothing more: the connection ends with the response to its newest request.
  if (connection.socket.readableEnded && connection.newest === response)
    response.shouldKeepAlive = false
  // No Connection header of ours: it means nothing beyond the next hop, and proxies stumble over it.
  // HTTP/1.0 is another matter: there it has to be said that a connection is kept.
  if (response.shouldKeepAlive && conn.httpVersion !== '1.0') response.removeHeader('connection')
  writeHead(final, exchange)
}

/** Writes head and body in one go. */
export function writeBody({ body, bodyLength }: FinalResponse, exchange: Exchange): void {
  const { response, connection, server } = exchange
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
  server.stalls.watch(connection, response)
}

/** Runs `afterSend` when all is handed to the network, or the client is gone before. */
export function settleWhenOver(conn: Conn, exchange: Exchange): void {
  const { connection, response } = exchange
  const watcher = { gone: () => settle(conn, exchange, false) }
  connection.watch(watcher)
  // In the context of this request: another one's may be what writes last.
  const settled = AsyncResource.bind(() => {
    connection.unwatch(watcher)
    settle(conn, exchange, isTaken(exchange))
  })
  response.once('finish', settled)
}

/** Runs `afterSend`, where somebody has asked for it. */
export function settle(conn: Conn, { onError }: Pick<Exchange, 'onError'>, isSent: boolean): void {
  settleConn(conn, isSent, (error) => onError(error, { conn, place: 'afterSend' }))
}

/** Whether a finished response was handed to the network: node says `finish` also when the socket was destroyed with
 * writes in it, or a write has failed. */
export function isTaken({ connection: { socket } }: Exchange): boolean {
  return !socket.destroyed && socket.errored === null
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
