/** Answers a request that is not handled. */

import type { ServerResponse } from 'node:http'

import type { Connection } from './connections.ts'
import type { Http2Exchange } from './http2-exchange.ts'

/** How soon a client may try again that was refused because there are too many, in seconds. */
const retryAfterSeconds = '5'

/** Answers a request of HTTP/2 with a status and nothing else. The connection goes on. */
export function refuseStream(exchange: Http2Exchange, status: number): void {
  exchange.refuse(status, status === 503 ? retryAfterSeconds : undefined)
}

/** Answers a request with a status and nothing else, and ends its connection: what comes behind something that was
 * not understood may be understood in more than one way. RFC 9112 §11.2. */
export function refuse(response: ServerResponse, connection: Connection, status: number): void {
  connection.closeAfterResponse()
  const fields = ['Content-Length', '0']
  if (status === 503) fields.push('Retry-After', retryAfterSeconds)
  response.writeHead(status, fields).end()
}
