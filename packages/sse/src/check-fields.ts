/** What the fields of an event may hold. Refused rather than repaired: an id that lost its line break
 * is another id. */

import { describe } from '@wakerobin/core/adapter'

import type { EventFields } from './event.ts'

/** The longest id, in characters: it comes back as a request header, and one of 64 KiB closes an
 * EventSource for good, as servers refuse it. */
const maxIdLength = 1024

/** The most lines of an event: undici's client fails on more than 131,072 lines of data. */
export const maxEventLines = 131_072

/** The longest data, comment or type, in characters: one event is one piece of memory here and there. */
const maxTextLength = 16 * 1024 * 1024

/** Reads every field of an event once, and throws where it cannot be sent as it is.
 * @returns What was read: getters may answer otherwise the next time.
 * @throws {TypeError} When a field is of the wrong type, when `type` or `id` has a line break or a
 * control character, or when it is no event at all.
 * @throws {RangeError} When `type` or `id` is too long, or `retry` is not an integer from 0. */
export function checkFields(event: EventFields): EventFields {
  if (typeof event !== 'object' || event === null) {
    throw new TypeError(
      `Cannot send ${describe(event)} as an event: expected a string or an object with data, type, id, retry or comment`,
    )
  }
  const { data, type, id, retry, comment } = event
  if (
    data === undefined &&
    comment === undefined &&
    id === undefined &&
    retry === undefined &&
    type === undefined
  ) {
    throw new TypeError(
      `Cannot send ${describe(event)} as an event: it has no data, type, id, retry or comment`,
    )
  }
  if (data !== undefined) checkText('data', data)
  if (comment !== undefined) checkText('comment', comment)
  if (type !== undefined) {
    checkLine('type', type)
    checkLength(type)
  }
  if (id !== undefined) {
    checkLine('id', id)
    if (id.length > maxIdLength) {
      throw new RangeError(
        `Cannot send an event id of ${id.length} characters: it must have at most ${maxIdLength}`,
      )
    }
  }
  if (retry !== undefined && !(Number.isSafeInteger(retry) && retry >= 0)) {
    const ErrorClass = typeof retry === 'number' ? RangeError : TypeError
    throw new ErrorClass(
      `Cannot send the event retry ${describe(retry)}: it must be a whole number of milliseconds from 0`,
    )
  }
  return { data, type, id, retry, comment }
}

/** Throws where `text` is not a string. */
export function checkText(field: string, text: unknown): asserts text is string {
  if (typeof text === 'string') return
  const isWord = field === 'id' || field === 'type'
  throw new TypeError(
    `Cannot send the event ${field} ${describe(text)}: it must be a string; for a value, ${isWord ? `String(${field})` : 'JSON.stringify it'}`,
  )
}

/** Throws where `text` is longer than one event may be. */
export function checkLength(text: string): void {
  if (text.length <= maxTextLength) return
  throw new RangeError(
    `Cannot send an event of ${text.length} characters: it must have at most ${maxTextLength}`,
  )
}

function checkLine(field: string, text: unknown): void {
  checkText(field, text)
  // oxlint-disable-next-line no-control-regex -- the control characters are the point
  const bad = /[\x00-\x1f\x7f]/.exec(text)
  if (bad === null) return
  const code = bad[0].charCodeAt(0).toString(16).padStart(4, '0').toUpperCase()
  throw new TypeError(
    `Cannot send the event ${field} ${describe(text)}: it has U+${code} at position ${bad.index} and must be one line without control characters`,
  )
}
