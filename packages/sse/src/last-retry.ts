/** What an event stream says last when the server stops. */

import { encodeText } from '@wakerobin/core/adapter'

import { encodeEvent } from './encode.ts'

/** A reconnection time from a range, both ends of which it may be, drawn anew at each call.
 *
 * The client obeys the line as it reads it: WHATWG HTML §9.2.6 (#event-stream-interpretation). */
export function lastRetry([min, max]: readonly [min: number, max: number]): Uint8Array {
  return encodeText(encodeEvent({ retry: min + Math.floor(Math.random() * (max - min + 1)) }))
}
