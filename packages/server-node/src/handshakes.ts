/** Sockets whose clients have not finished their TLS handshake: no connections yet, but open. */

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { closing } from './client-error.ts'
import { maxTimerMs } from './clock.ts'
import { rawOf } from './cut.ts'
import { excessMs } from './places.ts'
import type { Places } from './places.ts'

export class Handshakes {
  /** How many have come. */
  begun = 0
  readonly #places: Places
  /** Each with the way to stop its clock, and to give its place back. */
  readonly #open = new Map<Socket, () => void>()
  #onEmpty: (() => void) | undefined
  #empty: Promise<void> | undefined

  constructor(places: Places) {
    this.#places = places
  }

  get size(): number {
    return this.#open.size
  }

  /** A socket has come. Where there is no place for it, it is destroyed; where it is one too many, it has a moment for
   * the handshake, to be told so as a connection.
   * @param timeoutMs How long it has, in all: node's own time begins anew with every byte. */
  begin(socket: Socket, timeoutMs: number): void {
    this.begun++
    const place = this.#places.take()
    if (place === 'none') return void socket.destroy()
    const isExcess = place === 'excess'
    const ms = Math.min(timeoutMs, isExcess ? excessMs : maxTimerMs)
    const timeout = setTimeout(() => socket.destroy(), ms).unref()
    const onClose = (): void => this.#end(socket)
    socket.once('close', onClose)
    this.#open.set(socket, () => {
      clearTimeout(timeout)
      this.#places.leave(isExcess)
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
