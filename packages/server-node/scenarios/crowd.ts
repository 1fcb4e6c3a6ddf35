/** A server's morning: many event streams, idle connections and slow requests at once. */

import type { Where } from './dial.ts'
import { EventStreamClient } from './event-stream-client.ts'
import { HttpConnection } from './http-connection.ts'
import { until } from './patience.ts'

/** How many of each there are. */
export interface CrowdSize {
  readonly streams: number
  /** Connections that have been answered once, and are kept. */
  readonly idle: number
  /** Requests that are answered when the gate `/slow` of the target opens. */
  readonly slow: number
}

/** What S11 opens. */
export const morning: CrowdSize = { streams: 1000, idle: 100, slow: 20 }

/** The clients of a target. */
export class Crowd implements Disposable {
  readonly streams: readonly EventStreamClient[]
  readonly idle: readonly HttpConnection[]
  readonly slow: readonly HttpConnection[]

  private constructor(
    streams: readonly EventStreamClient[],
    idle: readonly HttpConnection[],
    slow: readonly HttpConnection[],
  ) {
    this.streams = streams
    this.idle = idle
    this.slow = slow
  }

  /** Resolves when every stream has had an event, every idle connection its answer, and every slow request
   * was sent. That the slow ones were received, only the target can say. */
  static async open(where: Where, size: CrowdSize): Promise<Crowd> {
    const streams = await openStreams(where, size.streams)
    const idle = await openIdle(where, size.idle)
    const slow = await openMany(size.slow, () => HttpConnection.open(where))
    for (const connection of slow) connection.get('/slow')
    return new Crowd(streams, idle, slow)
  }

  /** Waits until the server has ended every connection. */
  async over(): Promise<void> {
    const streamsLeft = (): number => this.streams.filter(({ isClosed }) => !isClosed).length
    await until(
      () => `every stream has ended; ${streamsLeft()} have not`,
      () => streamsLeft() === 0,
    )
    const others = [...this.idle, ...this.slow]
    const othersLeft = (): number => others.filter(({ isOver }) => !isOver).length
    await until(
      () => `every connection has ended; ${othersLeft()} have not`,
      () => othersLeft() === 0,
    )
  }

  [Symbol.dispose](): void {
    for (const client of [...this.streams, ...this.idle, ...this.slow]) client.destroy()
  }
}

/** Opens event streams, every other one of a broadcaster, and waits until each has had an event. */
export async function openStreams(where: Where, count: number): Promise<EventStreamClient[]> {
  const streams = await openMany(count, (index) =>
    EventStreamClient.open(where, index % 2 === 0 ? '/events' : '/pulled'),
  )
  await until(
    () => 'every stream has had an event',
    () => streams.every(({ eventCount, isClosed }) => eventCount > 0 || isClosed),
  )
  return streams
}

/** Opens connections that were answered once. */
export async function openIdle(where: Where, count: number): Promise<HttpConnection[]> {
  const idle = await openMany(count, () => HttpConnection.open(where))
  for (const connection of idle) connection.get('/hello')
  await until(
    () => 'every connection has its answer',
    () => idle.every(({ unanswered, isOver }) => unanswered === 0 || isOver),
  )
  return idle
}

/** A hundred at a time: more than the accept queue holds would wait for a second SYN. */
async function openMany<T>(count: number, open: (index: number) => Promise<T>): Promise<T[]> {
  const all: T[] = []
  while (all.length < count) {
    const length = Math.min(100, count - all.length)
    const start = all.length
    all.push(...(await Promise.all(Array.from({ length }, (_, at) => open(start + at)))))
  }
  return all
}
