/** Takes a socket from node's HTTP/1 server, for a connection that speaks HTTP/2: RFC 9113 §3.
 *
 * Node's parser itself finds out, by the preface with which such a connection begins, so that others are read as
 * before, without a look at what comes. */

import { performServerHandshake } from 'node:http2'
import type { ServerHttp2Session, ServerOptions } from 'node:http2'
import type { Socket } from 'node:net'

import type { ParserError } from './client-error.ts'

/** RFC 9113 §3.4. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** What has come behind the preface, where that is what the parser has stopped at. */
export function behindPreface({ code, rawPacket, bytesParsed }: ParserError): Buffer | undefined {
  if (code !== 'HPE_PAUSED_H2_UPGRADE' || rawPacket === undefined) return undefined
  return rawPacket.subarray(bytesParsed)
}

/** Begins a session on a socket on which no request has come.
 * @param ahead What has come behind the preface; undefined where nothing has come at all. */
export function takeOver(
  socket: Socket,
  options: ServerOptions,
  ahead: Buffer | undefined,
): ServerHttp2Session {
  detach(socket)
  socket.pause() // what is put back would be read, and dropped
  if (ahead !== undefined) socket.unshift(Buffer.concat([preface, ahead]))
  return performServerHandshake(socket, options)
}

/** What node's HTTP/1 server listens with, by the names of its functions. */
const listeners =
  /(?:^| )(?:socketOn(?:Data|End|Close|Drain|Error|Timeout)|onSocket(?:Resume|Pause))$/

/** Has node's HTTP/1 server let go of a socket, as if it were closed. */
function detach(socket: Socket): void {
  for (const event of ['close', 'data', 'end', 'drain', 'error', 'timeout', 'resume', 'pause']) {
    for (const listener of socket.listeners(event)) {
      if (!listeners.test(listener.name)) continue
      if (event === 'close') Reflect.apply(listener, socket, []) // gives its parser back
      socket.off(event, listener as () => void)
    }
  }
  // Its own way of listening was for that parser.
  for (const method of ['on', 'addListener', 'prependListener'])
    Reflect.deleteProperty(socket, method)
}
