/** Where a client wants to go on. */

import type { Conn } from '@wakerobin/core'

/** How `lastEventId` looks. */
export interface LastEventIdOptions {
  /** The name of a query parameter that counts where the header is missing: for the first request of an EventSource,
   * which cannot set headers. Default: none. */
  query?: string
}

/** The id of the last event that the client has got, as it says in `Last-Event-ID`; undefined where it says
 * nothing, that it has none, or more than one.
 *
 * Clients send the bytes of UTF-8, or of latin1 where that is enough; both are read. Whether the id was ever one of
 * yours is for you to check.
 *
 * Source: WHATWG HTML §9.2.4 (#the-last-event-id-header). */
export function lastEventId(conn: Conn, { query }: LastEventIdOptions = {}): string | undefined {
  const id = conn.requestHeaders.getSingle('last-event-id')
  if (id !== undefined && id !== '') return id
  return (query === undefined ? undefined : conn.query.get(query)) || undefined
}
