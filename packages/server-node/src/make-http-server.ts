/** The one place in which the http server of a listener is made. */

import { createServer } from 'node:http'
import type { Server, ServerOptions } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { TLSSocket } from 'node:tls'

import type { SecureOptions } from './tls.ts'

/** @param tls Its TLS, for HTTPS; undefined for HTTP. */
export function makeHttpServer(tls: SecureOptions | undefined, options: ServerOptions): Server {
  const server: Server =
    tls === undefined ? createServer(options) : createSecureServer({ ...tls, ...options })
  // A client may shut down its side after the request and still wait for the answer. Not during the handshake: so
  // this is said of each socket when that is done, where node says it of all for HTTP.
  if (tls !== undefined)
    server.on('secureConnection', (socket: TLSSocket) => (socket.allowHalfOpen = true))
  return Object.assign(server, { httpAllowHalfOpen: true })
}
