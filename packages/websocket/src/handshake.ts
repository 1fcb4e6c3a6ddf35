/** The opening handshake: RFC 6455 §4.2. */

import { createHash } from 'node:crypto'

import type { Conn } from '@wakerobin/core'

import type { CheckedOptions } from './options.ts'
import { acceptDeflate, deflateHeader, parseProtocols } from './ws.ts'
import type { Deflate } from './ws.ts'

/** What was agreed on with a client. */
export interface Agreement {
  readonly protocol: string | undefined
  /** The compression, where it was agreed on. */
  readonly deflate: Deflate | undefined
}

/** Answers a request for a WebSocket, with a 101 or a refusal, and halts. Any other passes, unless one is required.
 * @returns What was agreed on, where the answer is a 101. */
export function shakeHands(conn: Conn, options: CheckedOptions): Agreement | undefined {
  const { requestHeaders } = conn
  if (options.path !== undefined && conn.path !== options.path) return undefined
  if (!asksForWebSocket(conn)) {
    if (options.required) refuse(conn, 426)
    return undefined
  }
  if (requestHeaders.getSingle('sec-websocket-version') !== '13') return refuse(conn, 426)
  const key = requestHeaders.getSingle('sec-websocket-key')
  // Sixteen bytes in base64: §4.1.
  if (key === undefined || !/^[+/\dA-Za-z]{22}==$/.test(key)) return refuse(conn, 400)
  if (!options.mayConnect(conn)) return refuse(conn, 403)
  let agreement: Agreement
  try {
    agreement = { protocol: protocolOf(conn, options), deflate: deflateOf(conn, options) }
  } catch {
    return refuse(conn, 400) // what does not parse, or asks for the impossible
  }
  accept(conn, key, agreement)
  return agreement
}

function asksForWebSocket(conn: Conn): boolean {
  return (
    conn.method === 'GET' &&
    conn.httpVersion === '1.1' &&
    hasToken(conn, 'connection', 'upgrade') &&
    hasToken(conn, 'upgrade', 'websocket')
  )
}

/** Whether a word stands in a field that is a list, in whatever case: RFC 9110 §7.6.1, §7.8. */
function hasToken({ requestHeaders }: Conn, field: string, token: string): boolean {
  const words = requestHeaders.getAll(field).flatMap((line) => line.split(','))
  return words.some((word) => word.trim().toLowerCase() === token)
}

/** RFC 9110 §15.5.22: a 426 says what is wanted. HTTP/2 has no such fields: RFC 9113 §8.2.2. */
function refuse(conn: Conn, status: 400 | 403 | 426): undefined {
  if (status === 426 && conn.httpVersion.startsWith('1.')) {
    conn.withResponseHeader('Connection', 'Upgrade').withResponseHeader('Upgrade', 'websocket')
    conn.withResponseHeader('Sec-WebSocket-Version', '13')
  }
  conn.withStatus(status).halt()
  return undefined
}

function accept(conn: Conn, key: string, { protocol, deflate }: Agreement): void {
  conn.withResponseHeader('Upgrade', 'websocket').withResponseHeader('Connection', 'Upgrade')
  conn.withResponseHeader('Sec-WebSocket-Accept', acceptOf(key))
  if (protocol !== undefined) conn.withResponseHeader('Sec-WebSocket-Protocol', protocol)
  if (deflate !== undefined)
    conn.withResponseHeader('Sec-WebSocket-Extensions', deflateHeader(deflate))
  conn.withStatus(101).halt()
}

/** §4.2.2, 5.4. */
function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** The first of the client's subprotocols that the app speaks. */
function protocolOf({ requestHeaders }: Conn, { protocols }: CheckedOptions): string | undefined {
  const asked = requestHeaders.get('sec-websocket-protocol')
  if (asked === undefined) return undefined
  return parseProtocols(asked).find((protocol) => protocols.has(protocol))
}

/** RFC 7692. */
function deflateOf(
  { requestHeaders }: Conn,
  { compress, messageBytes }: CheckedOptions,
): Deflate | undefined {
  const asked = requestHeaders.get('sec-websocket-extensions')
  return compress && asked !== undefined ? acceptDeflate(asked, messageBytes) : undefined
}
