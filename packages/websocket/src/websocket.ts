/** `websocket(handler)`: WebSockets as a handler. */

import type { Duplex } from 'node:stream'

import type { Conn, HandlerObject, Upgrade } from '@wakerobin/core'
import { describe, isAbort, packConn } from '@wakerobin/core/adapter'

import { shakeHands } from './handshake.ts'
import type { Agreement } from './handshake.ts'
import { Keepalive } from './keepalive.ts'
import { checkOptions } from './options.ts'
import type { CheckedOptions, WebSocketOptions } from './options.ts'
import { dismiss, WebSocketConn } from './websocket-conn.ts'
import { openRaw } from './ws.ts'

/** What is done with a WebSocket. It is open for as long as this takes: when the function returns, or its promise
 * resolves, it is closed. */
export type WebSocketHandler<In> = (socket: WebSocketConn<In>) => void | PromiseLike<void>

/** Answers requests for a WebSocket, and passes all others on.
 *
 * The handler's life is that of the connection: a loop over the messages ends when either side closes, and when the
 * handler is done the WebSocket is closed, with 1000. Where it fails that is 1011, and the error is reported. At the
 * stop it is 1001, and the stop waits for the handler to be done.
 *
 * Pages of other hosts are refused, with a 403: see `origins`.
 *
 * ```ts
 * import { handlers, type Handler } from '@wakerobin/core'
 * import { websocket } from '@wakerobin/websocket'
 *
 * const app: Handler = handlers(
 *   websocket(async (socket) => {
 *     for await (const message of socket) await socket.send(`you said ${message}`)
 *   }, { path: '/echo' }),
 *   'not a WebSocket',
 * )
 * ```
 * @throws {TypeError | RangeError} When `handler` is no function, or an option cannot be used. */
export function websocket<In = never>(
  handler: WebSocketHandler<In>,
  options?: WebSocketOptions,
): HandlerObject<In> {
  if (typeof handler !== 'function') {
    throw new TypeError(
      `Cannot open WebSockets with ${describe(handler)}: expected a function of the socket`,
    )
  }
  return new WebSockets(handler, checkOptions(options))
}

class WebSockets<In> implements HandlerObject<In> {
  readonly name: string
  readonly #handler: WebSocketHandler<In>
  readonly #options: CheckedOptions
  readonly #keepalive: Keepalive
  /** By conn, so that of several such handlers each knows its own. */
  readonly #agreements = new WeakMap<Conn, Agreement>()

  constructor(handler: WebSocketHandler<In>, options: CheckedOptions) {
    this.name = handler.name === '' ? 'websocket' : `websocket(${handler.name})`
    this.#handler = handler
    this.#options = options
    this.#keepalive = new Keepalive(options.pingMs)
  }

  // As a property: a method's parameter would accept any need.
  readonly run = (conn: Conn<In>): void => {
    const agreement = shakeHands(conn, this.#options)
    if (agreement !== undefined) this.#agreements.set(conn, agreement)
  }

  hasUpgrade({ conn }: Upgrade): boolean {
    return this.#agreements.has(conn)
  }

  async upgrade(upgrade: Upgrade): Promise<void> {
    const conn = upgrade.conn as Conn<In>
    const { protocol, deflate } = this.#agreements.get(conn)!
    const raw = openRaw(
      checkTransport(upgrade.takeTransport()),
      deflate,
      this.#options.messageBytes,
    )
    const socket = new WebSocketConn(conn, raw, protocol, this.#options, this.#keepalive)
    packConn(conn)
    try {
      await this.#handler(socket)
    } catch (error) {
      // What fails because the signal has aborted is no news.
      if (socket.signal.aborted && isAbort(error)) return
      dismiss(socket, 1011)
      await socket.closed
      throw error
    }
    await socket.close()
  }
}

/** A server other than `@wakerobin/server-node` may have something else to hand over. */
function checkTransport(transport: object): { readonly socket: Duplex; readonly head: Buffer } {
  const { socket, head } = transport as { socket?: Duplex; head?: Buffer }
  if (typeof socket?.write === 'function' && head instanceof Uint8Array) return { socket, head }
  throw new TypeError(
    'Cannot open a WebSocket: expected the server to hand over { socket, head }, as @wakerobin/server-node does',
  )
}
