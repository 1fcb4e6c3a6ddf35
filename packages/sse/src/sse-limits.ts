/** `sseLimits()`: how many event streams there may be. */

import type { Conn, HandlerObject } from '@wakerobin/core'
import { checkNames, describe } from '@wakerobin/core/adapter'

import { addGate, type Gate } from './gate.ts'
import { isEventSource, refuseStream } from './with-sse-stream.ts'

/** The most streams at a time: in all, of one client, or both. */
export interface SseLimits<In = never> {
  /** In all. Default `Infinity`. */
  total?: number
  /** Of one client, or whatever has one key. A stream whose key is undefined counts for the total alone. Default:
   * no such limit. */
  per?: { key: (conn: Conn<In>) => string | undefined; max: number }
  /** The range, in milliseconds, of the time after which a refused client comes back, drawn for each.
   * Default `[5000, 15_000]`. */
  retryMs?: readonly [min: number, max: number]
}

/** Refuses event streams beyond a number. Put it before the handlers that stream; what is no stream is neither counted
 * nor refused. None that is open is ever ended for another.
 *
 * An EventSource gives up for ever on any status but 200: it gets a stream that says when to come back, and ends; at
 * once, where the limit is met. Others get a 503 with `Retry-After` in place of the stream that a handler makes.
 *
 * ```ts
 * import { handlers, type Handler } from '@wakerobin/core'
 * import { Broadcaster, sse, sseLimits } from '@wakerobin/sse'
 *
 * const news = new Broadcaster()
 * const app: Handler = handlers(
 *   sseLimits({ total: 10_000, per: { key: (conn) => conn.peerIp, max: 6 } }),
 *   sse(() => news),
 * )
 * ```
 * @throws {RangeError | TypeError} When a limit is none. */
export function sseLimits<In = never>(limits: SseLimits<In>): HandlerObject<In> {
  if (typeof limits !== 'object' || limits === null)
    throw new TypeError(
      `Cannot limit streams with ${describe(limits)}: expected an object such as { total: 10_000 }`,
    )
  checkNames('Cannot limit streams with ', limits, ['total', 'per', 'retryMs'])
  const { total = Infinity, per, retryMs = [5000, 15_000] } = limits
  checkLimit('total', total)
  if (per !== undefined) {
    if (typeof per !== 'object' || per === null)
      throw new TypeError(
        `Cannot limit streams with per ${describe(per)}: expected an object such as { key: (conn) => conn.peerIp, max: 6 }`,
      )
    checkNames('Cannot limit streams with per.', per, ['key', 'max'])
    checkLimit('per.max', per.max)
    if (typeof per.key !== 'function')
      throw new TypeError(
        `Cannot limit streams with per.key ${describe(per.key)}: expected a function`,
      )
  }
  checkRetry(retryMs)
  if (limits.total === undefined && per === undefined)
    throw new TypeError(
      'Cannot limit streams without a limit: expected total or per, as { total: 10_000 }',
    )
  const open = new Map<string, number>()
  let count = 0

  const isFull = (key: string | undefined): boolean =>
    count >= total || (key !== undefined && (open.get(key) ?? 0) >= per!.max)
  const take = (key: string | undefined, by: number): void => {
    count += by
    if (key === undefined) return
    const left = (open.get(key) ?? 0) + by
    if (left === 0) open.delete(key)
    else open.set(key, left)
  }
  return {
    name: 'sseLimits',
    run(conn: Conn<In>) {
      const key = per?.key(conn)
      const gate: Gate = {
        get isFull() {
          return isFull(key)
        },
        retryMs,
        enter: () => take(key, 1),
        leave: () => take(key, -1),
      }
      if (gate.isFull && isEventSource(conn)) return refuseStream(conn, gate)
      addGate(conn, gate)
    },
  }
}

function checkLimit(name: string, value: unknown): void {
  if (value === Infinity || (Number.isSafeInteger(value) && (value as number) >= 0)) return
  throw new RangeError(
    `Cannot limit streams with ${name} ${describe(value)}: it must be a whole number from 0`,
  )
}

function checkRetry(range: readonly unknown[]): void {
  const [min, max] = Array.isArray(range) ? (range as unknown[]) : []
  const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
  if (isWhole(min) && isWhole(max) && (min as number) <= (max as number)) return
  throw new RangeError(
    `Cannot limit streams with retryMs ${describe(range)}: it must be [min, max], two whole numbers of milliseconds from 0, the lesser first`,
  )
}
