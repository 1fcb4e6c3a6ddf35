/** Whether a client wants an event stream: RFC 9110 §12.5.1. */

import type { Conn } from '@wakerobin/core'

/** Whether an event stream is an answer to this request.
 *
 * It is where `Accept` is missing, names `text/event-stream` or `text/*`, or is no more than `*\/*`. Where other types
 * stand beside `*\/*`, as many HTTP clients send it for JSON, it is not. Of weights only 0 counts, a refusal: what else
 * could be had, to compare them with, only the app knows. */
export function acceptsEventStream(conn: Conn): boolean {
  // As an EventSource says it.
  if (conn.requestHeaders.get('accept') === 'text/event-stream') return true
  const ranges = rangesOf(conn)
  if (ranges === undefined) return true
  // The most specific range decides: `text/event-stream;q=0, */*` is a refusal.
  for (const name of ['text/event-stream', 'text/*']) {
    const named = ranges.filter(({ range }) => range === name)
    if (named.length > 0) return named.some(({ isRefused }) => !isRefused)
  }
  const accepted = ranges.filter(({ isRefused }) => !isRefused)
  return accepted.length > 0 && accepted.every(({ range }) => range === '*/*')
}

/** Says of an answer in place of an event stream that it depends on `Accept`: RFC 9110 §12.5.5. */
export function varyByAccept({ responseHeaders }: Conn): void {
  if (!/(^|,)\s*(accept|\*)\s*(,|$)/i.test(responseHeaders.get('vary') ?? ''))
    responseHeaders.append('Vary', 'Accept')
}

/** Whether the client asks for an event stream by its name, as every EventSource does. */
export function wantsEventStream(conn: Conn): boolean {
  const isNamed = ({ range, isRefused }: MediaRange): boolean =>
    range === 'text/event-stream' && !isRefused
  return rangesOf(conn)?.some(isNamed) === true
}

interface MediaRange {
  /** In lower case, without parameters. */
  readonly range: string
  /** A weight of 0 is "not acceptable": RFC 9110 §12.4.2. */
  readonly isRefused: boolean
}

/** The media ranges of the field; undefined without it. */
function rangesOf(conn: Conn): MediaRange[] | undefined {
  const lines = conn.requestHeaders.getAll('accept')
  if (lines.length === 0) return undefined
  return lines
    .join(',')
    .split(',')
    .map((item) => item.trim().toLowerCase())
    .filter((item) => item !== '')
    .map((item) => ({
      range: item.split(';', 1)[0]!.trim(),
      isRefused: /;\s*q=0(\.0*)?\s*(;|$)/.test(item),
    }))
}
