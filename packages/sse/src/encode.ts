/** Encodes one event as event-stream text. Pure: no streams, no time.
 *
 * Source: WHATWG HTML §9.2.5 (#parsing-an-event-stream), read from the writer's side. */

import { describe } from '@wakerobin/core/adapter'

import { checkFields, checkLength, maxEventLines } from './check-fields.ts'
import { SseEvent } from './event.ts'
import type { Eventable, EventFields } from './event.ts'

/** The bytes that an event stream begins with and is kept alive by: a comment of nothing. One line
 * break only, because `@microsoft/fetch-event-source` makes an empty message of two. */
export const emptyComment = ':\n'

/** Encodes an event.
 *
 * The order of lines is comment, event, id, retry, data.
 * @returns Text that ends in an empty line, which makes the client dispatch the event. Comments and
 * retry times act at once and need none: a block of these alone ends with its last line.
 * @throws {TypeError | RangeError} When a field may not be sent: see `EventFields`. */
export function encodeEvent(event: Eventable): string {
  if (typeof event === 'string') return `${dataLines(event)}\n`
  // An SseEvent was checked when it was made, and is frozen.
  return encodeFields(SseEvent.is(event) ? event : checkFields(event))
}

function encodeFields({ comment, type, id, retry, data }: EventFields): string {
  if (type !== undefined && data === undefined) {
    // A client would not dispatch it: #dispatchMessage does nothing while the data buffer is empty.
    throw new TypeError(
      `Cannot send an event of type ${describe(type)} without data: clients ignore it; give it data, if only ''`,
    )
  }
  let text = ''
  if (comment !== undefined) text += lines('', comment)
  if (type !== undefined) text += line('event', type)
  if (id !== undefined) text += line('id', id)
  if (retry !== undefined) text += line('retry', String(retry))
  if (data !== undefined) text += dataLines(data)
  // An id is taken over when a block ends, even one without data: #dispatchMessage, steps 1 and 2.
  return data !== undefined || id !== undefined ? `${text}\n` : text
}

function dataLines(data: string): string {
  return lines('data', data)
}

/** A field of many lines. LF, CRLF and a lone CR all end a line: `end-of-line` in §9.2.5. */
function lines(field: string, text: string): string {
  checkLength(text)
  if (!/[\r\n]/.test(text)) return line(field, text)
  const parts = text.split(/\r\n|\r|\n/)
  if (parts.length > maxEventLines) {
    throw new RangeError(
      `Cannot send an event of ${parts.length} lines: clients read at most ${maxEventLines}`,
    )
  }
  return parts.map((part) => line(field, part)).join('')
}

/** One line. The space after the colon is the encoder's; a client removes one, never two. */
function line(field: string, value: string): string {
  return value === '' ? `${field}:\n` : `${field}: ${value}\n`
}
