/** Whether a client wants an event stream: RFC 9110 §12.5.1. */

import type { Conn } from '@wakerobin/core'

/** Whether an event stream is an answer to this request.
 *
 * It is where `Accept` is missing, names `text/event-stream` or `text/*`, or is no more than `*\/*`. Where other types
 * stand beside `*\/*`, as many HTTP clients send it for JSON, it is not. */
export function acceptsEventStream(conn: Conn): boolean {
  const ranges = rangesOf(conn)
  if (ranges === undefined) return true
  if (ranges.some((range) => range === 'text/event-stream' || range === 'text/*')) return true
  return ranges.length > 0 && ranges.every((range) => range === '*/*')
}

/** Whether the client asks for an event stream by its name, as every EventSource does. */
export function wantsEventStream(conn: Conn): boolean {
  return rangesOf(conn)?.includes('text/event-stream') === true
}

/** The media ranges that are acceptable at all; undefined without the field. */
function rangesOf(conn: Conn): string[] | undefined {
  const lines = conn.requestHeaders.getAll('accept')
  if (lines.length === 0) return undefined
  return lines
    .join(',')
    .split(',')
    .map((item) => item.trim().toLowerCase())
    .filter((item) => item !== '' && !isRefused(item))
    .map((item) => item.split(';', 1)[0]!.trim())
}

/** A weight of 0 is "not acceptable": RFC 9110 §12.4.2. */
function isRefused(item: string): boolean {
  return /;\s*q=0(\.0*)?\s*(;|$)/.test(item)
}
