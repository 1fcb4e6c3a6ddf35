/** Sockets whose clients have not finished their TLS handshake: no connections yet, but open. */

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { closing } from './client-error.ts'
import { maxTimerMs } from './clock.ts'
import { rawOf } from './cut.ts'

export class Handshakes {
  /** How many have begun. */
  begun = 0
  /** Each with the way to stop its clock. */
  readonly #open = new Map<Socket, () => void>()
  #onEmpty: (() => void) | undefined
  #empty: Promise<void> | undefined

  get size(): number {
    return this.#open.size
  }

  /** A socket has come.
   * @param timeoutMs How long it has, in all: node's own time begins anew with every byte. */
  begin(socket: Socket, timeoutMs: number): void {
    this.begun++
    const timeout = setTimeout(() => socket.destroy(), Math.min(timeoutMs, maxTimerMs)).unref()
    const onClose = (): void => this.#end(socket)
    socket.once('close', onClose)
    this.#open.set(socket, () => {
      clearTimeout(timeout)
      socket.off('close', onClose)
    })
  }

  /** The handshake is done, the socket is a connection now. */
  end(socket: TLSSocket): void {
    this.#end(rawOf(socket))
  }

  /** Deals with a client that does not get through the handshake. */
  refuse({ code }: NodeJS.ErrnoException, socket: TLSSocket): void {
    const raw = rawOf(socket)
    // Over the socket below: there is no TLS that could say it.
    if (code === 'ERR_SSL_HTTP_REQUEST' && this.#open.has(raw)) raw.end(plainRequest)
    socket.destroy()
  }

  /** Destroys those that have not sent a byte. */
  destroySilent(): void {
    for (const socket of this.#open.keys()) if (socket.bytesRead === 0) socket.destroy()
  }

  destroyAll(): void {
    for (const socket of this.#open.keys()) socket.destroy()
  }

  /** Resolves when there is none; at once where that is so. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    this.#empty ??= new Promise((resolve) => {
      this.#onEmpty = resolve
    })
    return this.#empty
  }

  #end(socket: Socket): void {
    this.#open.get(socket)?.()
    this.#open.delete(socket)
    if (this.#open.size === 0) this.#onEmpty?.()
  }
}

const plainRequest = closing(400, 'This port speaks HTTPS.\n')
