/** What is used of ws, by its names: a connection that has shaken hands elsewhere, and what handshakes are made of.
 *
 * `setSocket` and `_extensions` are how the server of ws itself hands a connection to its frames, after a head that it
 * writes by itself; ours has gone out. Both are as old as ws 3 and none of its documented names, which is why package.json
 * names one exact version. */

import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'

import * as ws from 'ws'

/** RFC 7692, for one connection. */
export interface Deflate extends WsDeflate {
  /** Nothing is inflated until it is released. */
  hold(): void
  release(): void
  /** The connection is closed: what is held, then or later, is dropped. */
  drop(): void
}

interface WsDeflate {
  readonly params: unknown
  /** @throws When no offer can be accepted. */
  accept(offers: readonly unknown[]): void
  /** Called with the payload of one frame, which is compressed; the next is not looked at before it has called back. */
  decompress(data: Buffer, isLast: boolean, callback: Inflated): void
}

type Inflated = (error: Error | null, data?: Buffer) => void

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
  readonly PerMessageDeflate: new (options: object) => WsDeflate
  readonly WebSocket: new (
    address: null,
    protocols: undefined,
    options: object,
  ) => RawWebSocket & {
    _extensions: Record<string, Deflate>
    setSocket(socket: Duplex, head: Buffer, options: object): void
  }
}

/** What has been read from a socket may be a thousand times as much when it is inflated, and ws by itself goes on to the
 * end of what it has. */
class HeldDeflate extends PerMessageDeflate implements Deflate {
  #isHeld = false
  #isClosed = false
  #waiting: { go(): void; fail(): void } | undefined

  override decompress(data: Buffer, isLast: boolean, callback: Inflated): void {
    const go = (): void => super.decompress(data, isLast, callback)
    const fail = (): void => callback(new Error('The connection is closed'))
    if (!this.#isHeld) go()
    else if (this.#isClosed) fail()
    else this.#waiting = { go, fail }
  }

  hold(): void {
    this.#isHeld = true
  }

  release(): void {
    this.#isHeld = false
    this.#take()?.go()
  }

  drop(): void {
    this.#isClosed = true
    this.#take()?.fail()
  }

  #take(): { go(): void; fail(): void } | undefined {
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
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
  const deflate = new HeldDeflate({ isServer: true, maxPayload: messageBytes })
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
  const raw = new HeldWebSocket(deflate)
  if (deflate !== undefined) {
    // oxlint-disable-next-line no-underscore-dangle -- see above
    raw._extensions = { [deflateName]: deflate }
    socket.once('close', () => deflate.drop())
  }
  raw.setSocket(socket, head, {
    allowSynchronousEvents: true,
    maxBufferedChunks: 256 * 1024,
    maxFragments: 16 * 1024,
    maxPayload: messageBytes,
    skipUTF8Validation: false,
  })
  return raw
}

/** One that stops before the next message, also in the middle of what has been read from the socket. */
class HeldWebSocket extends WebSocket {
  readonly #deflate: Deflate | undefined

  constructor(deflate: Deflate | undefined) {
    super(null, undefined, {
      autoPong: true,
      maxPendingAutoPongs: 60,
      closeTimeout: 30_000,
    })
    this.#deflate = deflate
  }

  override pause(): void {
    super.pause()
    this.#deflate?.hold()
  }

  override resume(): void {
    super.resume()
    this.#deflate?.release()
  }
}
