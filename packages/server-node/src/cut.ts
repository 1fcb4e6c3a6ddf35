/** Cuts a connection in the middle of a response. */

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** Destroys a socket, with a reset where there can be one: where the end of the connection is the end of the body, a
 * plain end would look like a whole one, and what is written would stay with the system until the client takes it. A
 * Unix socket has no reset. */
export function cut(socket: Socket): void {
  const tcp = 'encrypted' in socket ? rawOf(socket as TLSSocket) : socket
  // Without an address it is no TCP socket, or its client is gone.
  if (tcp.remoteAddress !== undefined) tcp.resetAndDestroy()
  socket.destroy()
}

/** The socket below. Node has no public name for it; tests of the stop and of cuts fail where this one changes. */
export function rawOf(socket: TLSSocket): Socket {
  // oxlint-disable-next-line no-underscore-dangle -- see above
  return (socket as TLSSocket & { readonly _parent: Socket })._parent
}
