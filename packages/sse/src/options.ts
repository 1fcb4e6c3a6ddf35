/** The options of an event stream, and their check. */

import { describe } from '@wakerobin/core/adapter'

/** How an event stream behaves beyond its events. */
export interface SseOptions {
  /** The range, in milliseconds, of the `retry` that a stream says last when the server stops: an
   * integer that is drawn for each stream, every one as likely. Default `[1000, 5000]`.
   *
   * Clients whose streams end together would come back together, as a herd, to a server that is just
   * starting: the draw spreads them over the range. They keep the time for later reconnects, until
   * they are told another. Two equal numbers are one time for all. */
  stopRetryMs?: readonly [min: number, max: number]
  /** Whether the stream goes on when the server stops, to its own end or until the server's deadline
   * cuts it: for answers that cannot be resumed. A `Broadcaster` then has to be closed by the app.
   *
   * Default false: the stop ends the stream. With true it says no last `retry`. */
  finish?: boolean
}

/** Reads every option once, and throws where one cannot be used.
 * @returns What was read, with the defaults filled in.
 * @throws {TypeError} When an option is of the wrong type, or `options` is no object.
 * @throws {RangeError} When `stopRetryMs` is not made of two integers from 0, the lesser first. */
export function checkOptions(options: SseOptions = {}): Required<SseOptions> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot stream with ${describe(options)} as options: expected an object with stopRetryMs or finish`,
    )
  }
  const { stopRetryMs = [1000, 5000], finish = false } = options
  if (typeof finish !== 'boolean') {
    throw new TypeError(`Cannot stream with finish ${describe(finish)}: it must be true or false`)
  }
  return { stopRetryMs: checkStopRetry(stopRetryMs), finish }
}

/** Returns a copy of a range, which nobody else can change. */
function checkStopRetry(range: unknown): readonly [min: number, max: number] {
  const isPair = Array.isArray(range) && range.length === 2
  const [min, max]: unknown[] = isPair ? range : []
  if (isWhole(min) && isWhole(max) && min <= max) return [min, max]
  const ErrorClass = typeof min === 'number' && typeof max === 'number' ? RangeError : TypeError
  throw new ErrorClass(
    `Cannot stream with stopRetryMs ${isPair ? `[${describe(min)}, ${describe(max)}]` : describe(range)}: it must be [min, max], two whole numbers of milliseconds from 0, the lesser first`,
  )
}

/** The same rule as for the `retry` of an event. */
function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
