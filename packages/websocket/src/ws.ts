/** What is used of ws, by its names: a connection that has shaken hands elsewhere, and what handshakes are made of.
 *
 * `setSocket` and `_extensions` are how the server of ws itself hands a connection to its frames, after a head that it
 * writes by itself; ours has gone out. Both are as old as ws 3 and none of its documented names, which is why package.json
 * names one exact version. */

import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'

import * as ws from 'ws'

/** RFC 7692, for one connection. */
export interface Deflate {
  readonly params: unknown
  /** @throws When no offer can be accepted. */
  accept(offers: readonly unknown[]): void
}

/** A connection whose frames ws reads and writes. */
export interface RawWebSocket extends EventEmitter {
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: string | Uint8Array, callback: (error?: Error | null) => void): void
  ping(): void
  pause(): void
  resume(): void
  close(code: number, reason: string): void
  terminate(): void
}

const { extension, subprotocol, PerMessageDeflate, WebSocket } = ws as unknown as {
  readonly extension: {
    parse(header: string): Record<string, unknown[] | undefined>
    format(extensions: Record<string, readonly unknown[]>): string
  }
  readonly subprotocol: { parse(header: string): Set<string> }
  readonly PerMessageDeflate: new (options: object) => Deflate
  readonly WebSocket: new (
    address: null,
    protocols: undefined,
    options: object,
  ) => RawWebSocket & {
    _extensions: Record<string, Deflate>
    setSocket(socket: Duplex, head: Buffer, options: object): void
  }
}

/** The value of `readyState` while messages may be sent. */
const open = 1

export function isOpen({ readyState }: RawWebSocket): boolean {
  return readyState === open
}

const deflateName = 'permessage-deflate'

/** Chooses among the extensions that a client offers. @throws When they do not parse, or cannot be accepted. */
export function acceptDeflate(header: string, messageBytes: number): Deflate | undefined {
  const offers = extension.parse(header)[deflateName]
  if (offers === undefined) return undefined
  const deflate = new PerMessageDeflate({ isServer: true, maxPayload: messageBytes })
  deflate.accept(offers)
  return deflate
}

/** The header that says what was chosen. */
export function deflateHeader({ params }: Deflate): string {
  return extension.format({ [deflateName]: [params] })
}

/** The subprotocols that a client asks for, in its order. @throws {SyntaxError} When they do not parse. */
export function parseProtocols(header: string): readonly string[] {
  return [...subprotocol.parse(header)]
}

/** Has ws read and write a connection on which the handshake is done. */
export function openRaw(
  { socket, head }: { readonly socket: Duplex; readonly head: Buffer },
  deflate: Deflate | undefined,
  messageBytes: number,
): RawWebSocket {
  const raw = new WebSocket(null, undefined, {
    autoPong: true,
    maxPendingAutoPongs: 60,
    closeTimeout: 30_000,
  })
  // oxlint-disable-next-line no-underscore-dangle -- see above
  if (deflate !== undefined) raw._extensions = { [deflateName]: deflate }
  raw.setSocket(socket, head, {
    allowSynchronousEvents: true,
    maxBufferedChunks: 256 * 1024,
    maxFragments: 16 * 1024,
    maxPayload: messageBytes,
    skipUTF8Validation: false,
  })
  return raw
}
