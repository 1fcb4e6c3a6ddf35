/** From a conn that is done to frames on the wire. */

import { constants } from 'node:http2'
import type { OutgoingHttpHeaders } from 'node:http2'

import type { Conn } from '@wakerobin/core'
import { failConn, isBodySource } from '@wakerobin/core/adapter'
import type { FinalResponse } from '@wakerobin/core/adapter'

import type { Http2Exchange } from './http2-exchange.ts'
import { Http2Sink } from './http2-sink.ts'
import type { Responder } from './requests.ts'
import { finalOf, settle } from './respond.ts'

/** Sends responses in HTTP/2, each on its stream. */
export const http2Responder: Responder<Http2Exchange> = {
  respond(conn, exchange) {
    try {
      respondHttp2(conn, exchange)
    } catch (error) {
      // Not known to happen; but one request must not end the process.
      exchange.reset(constants.NGHTTP2_INTERNAL_ERROR)
      exchange.onError(error, { conn, place: 'the response' })
    }
  },
  expire(conn, exchange) {
    this.respond(conn, exchange)
  },
  settleLate(conn, exchange) {
    if (exchange.isClosed) settle(conn, exchange, false)
    else exchange.onOver((isSent) => settle(conn, exchange, isSent))
  },
}

/** Sends the response of a conn, and runs its `afterSend` when that is over. */
export function respondHttp2(conn: Conn, exchange: Http2Exchange): void {
  if (conn.status === 101) refuseSwitch(conn, exchange)
  const final = finalOf(conn, exchange)
  const { body } = final
  if (exchange.isClosed) {
    if (isBodySource(body)) body.closed(exchange.bodies.closeCause)
    settle(conn, exchange, false)
    return
  }
  exchange.onOver((isSent) => settle(conn, exchange, isSent))
  if (isBodySource(body)) {
    new Http2Sink(conn, body, final, exchange).start()
    return
  }
  try {
    sendWholeHttp2(final, exchange)
  } catch (error) {
    // What node refuses, as two values of a field that has one.
    exchange.onError(error, { conn, place: 'the response' })
    sendFailureHttp2(conn, exchange)
  }
}

/** Sends a 500 in place of a response of which nothing is out. */
export function sendFailureHttp2(conn: Conn, exchange: Http2Exchange): void {
  conn.takeResponseBody() // it has ended by itself
  failConn(conn, 500)
  if (!exchange.isClosed) sendWholeHttp2(finalOf(conn, exchange), exchange)
}

/** HTTP/2 has no Upgrade: RFC 9113 §8.6. */
function refuseSwitch(conn: Conn, { onError }: Http2Exchange): void {
  failConn(conn, 500)
  const error = new TypeError('Cannot answer with a 101 in HTTP/2: it has no Upgrade')
  onError(error, { conn, place: 'the response' })
}

function sendWholeHttp2(final: FinalResponse, exchange: Http2Exchange): void {
  const { stream } = exchange
  const bytes = bytesOf(final.body)
  stream.respond(fieldsOf(final), { endStream: bytes === undefined })
  exchange.hasEnded = true
  if (bytes !== undefined) stream.end(bytes)
  exchange.letGoOfRequest()
  exchange.watchStall()
}

function bytesOf(body: FinalResponse['body']): Buffer | undefined {
  if (typeof body === 'string') return body === '' ? undefined : Buffer.from(body)
  if (!(body instanceof Uint8Array) || body.length === 0) return undefined
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

/** What speaks of a connection has no meaning here: RFC 9113 §8.2.2. */
const ofTheConnection = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** The fields of a response as node takes them. */
export function fieldsOf({
  status,
  rawHeaders,
  contentLength,
}: FinalResponse): OutgoingHttpHeaders {
  // No prototype: a field may well be called __proto__.
  const fields: OutgoingHttpHeaders = Object.create(null)
  fields[':status'] = status
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase()
    const value = rawHeaders[at + 1]!
    if (ofTheConnection.has(name)) continue
    const former = fields[name]
    if (former === undefined) fields[name] = value
    else fields[name] = [former, value].flat() as string[]
  }
  if (contentLength !== undefined) fields['content-length'] = contentLength
  return fields
}
