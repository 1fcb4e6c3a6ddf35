/** The parts of a response in HTTP/2: its fields, and a body that is in memory. */

import type { OutgoingHttpHeaders } from 'node:http2'

import type { Conn } from '@wakerobin/core'
import { failConn } from '@wakerobin/core/adapter'
import type { FinalResponse } from '@wakerobin/core/adapter'

import type { Http2Exchange } from './http2-exchange.ts'
import { finalOf } from './respond.ts'

/** Sends a response that is in memory.
 * @throws What node refuses, as two values of a field that has one; then nothing of it is out. */
export function sendWholeHttp2(final: FinalResponse, exchange: Http2Exchange): void {
  const { stream } = exchange
  const bytes = bytesOf(final.body)
  stream.respond(fieldsOf(final), { endStream: bytes === undefined })
  exchange.hasEnded = true
  if (bytes !== undefined) stream.end(bytes)
  exchange.letGoOfRequest()
  exchange.watchStall()
}

/** Sends a 500 in place of a response of which nothing is out. */
export function sendFailureHttp2(conn: Conn, exchange: Http2Exchange): void {
  conn.takeResponseBody() // it has ended by itself
  failConn(conn, 500)
  if (!exchange.isClosed) sendWholeHttp2(finalOf(conn, exchange), exchange)
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
