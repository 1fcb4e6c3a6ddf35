/** Cuts the connections of clients that do not take their response. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import type { Connection } from './connections.ts'
import { lookMs } from './limits.ts'

interface Stall {
  /** What was left to be taken, and how much had been written. */
  readonly left: number
  readonly queued: number
  readonly written: number
  /** Since when that has not changed. */
  readonly since: number
}

/** Those connections of a server on which something waits to be taken. One timer looks at all of them, and there is none
 * where nothing waits: most responses go out at once. */
export class WriteStalls {
  readonly #limitMs: number
  readonly #waiting = new Map<Connection, Stall>()
  #timer: ReturnType<typeof setInterval> | undefined

  /** @param limitMs How long a client may take nothing, in milliseconds. `Infinity` for ever. */
  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /** Something of a response was written: sees to it that it is taken, if it was not at once. Event streams deal with
   * their readers themselves. */
  watch(connection: Connection, response: ServerResponse): void {
    if (response.socket === null && !response.writableFinished && !response.destroyed) {
      // It waits for a response before it, and is written when that is done.
      response.once('socket', () => process.nextTick(() => this.#add(connection)))
    } else if (connection.socket.writableLength > 0) this.#add(connection)
  }

  #add(connection: Connection): void {
    if (this.#limitMs === Infinity || this.#waiting.has(connection)) return
    this.#waiting.set(connection, stallOf(connection.socket, undefined, performance.now()))
    this.#timer ??= setInterval(() => this.#look(), lookMs(this.#limitMs, 15_000)).unref()
  }

  #look(): void {
    const now = performance.now()
    for (const [connection, before] of this.#waiting) {
      const { socket } = connection
      const stall = stallOf(socket, before, now)
      if (!socket.destroyed && stall.left > 0 && now - stall.since < this.#limitMs) {
        this.#waiting.set(connection, stall)
        continue
      }
      this.#waiting.delete(connection)
      if (stall.left > 0) cut(socket)
    }
    if (this.#waiting.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

/** How a socket stands: as before, where the client has taken nothing since. */
function stallOf(socket: Socket, before: Stall | undefined, now: number): Stall {
  const left = socket.writableLength
  const queued = queuedBytes(socket)
  const written = socket.bytesWritten
  const isSame =
    before !== undefined &&
    before.left === left &&
    before.queued === queued &&
    before.written === written
  return isSame ? before : { left, queued, written, since: now }
}

/** How much of a write is still with the system's library: the stream itself counts it down only when all of it is
 * taken, and one write may be many megabytes. Node's own socket timeout asks there, too. */
function queuedBytes(socket: Socket): number {
  // oxlint-disable-next-line no-underscore-dangle -- it has no public name
  return (socket as Socket & { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0
}

/** With a reset, where it can be one: what is written would else stay with the system until the client takes it. */
function cut(socket: Socket): void {
  if ('encrypted' in socket || socket.remoteAddress === undefined) socket.destroy()
  else socket.resetAndDestroy()
}
