/** Cuts the connections of clients that do not take their response. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import type { Connection } from './connections.ts'
import { cut } from './cut.ts'
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
  readonly #isStream: (response: ServerResponse) => boolean
  readonly #waiting = new Map<Connection, Stall>()
  #timer: ReturnType<typeof setInterval> | undefined

  /** @param limitMs How long a client may take nothing, in milliseconds. `Infinity` for ever.
   * @param isStream Tells of a response whether it is an event stream: those deal with their readers themselves. */
  constructor(limitMs: number, isStream: (response: ServerResponse) => boolean) {
    this.#limitMs = limitMs
    this.#isStream = isStream
  }

  /** Something of a response was written: sees to it that it is taken, if it was not at once. */
  watch(connection: Connection, response: ServerResponse): void {
    // Without a socket it waits for a response before it, and is written when that is done.
    if (connection.socket.writableLength > 0 || response.socket === null) this.#add(connection)
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
      const [response] = connection.unfinished()
      if (socket.destroyed || response === undefined) {
        this.#waiting.delete(connection)
        continue
      }
      const isOurs = socket.writableLength > 0 && !this.#isStream(response)
      const stall = stallOf(socket, isOurs ? before : undefined, now)
      this.#waiting.set(connection, stall)
      if (now - stall.since >= this.#limitMs) cut(socket)
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
 * taken, and one write may be many megabytes. Node's own socket timeout asks there, too. The system takes it in steps: a
 * third of its send buffer on Linux, up to 1.5 MB on loopback. */
export function queuedBytes(socket: Socket): number {
  // oxlint-disable-next-line no-underscore-dangle -- it has no public name
  return (socket as Socket & { _handle?: { writeQueueSize?: number } })._handle?.writeQueueSize ?? 0
}
