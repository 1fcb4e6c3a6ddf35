/** What every event stream begins with. */

import { Chunk, encodeText } from '@wakerobin/core/adapter'

import { emptyComment, encodeEvent } from './encode.ts'

const opening = new Chunk(encodeText(emptyComment))

/** A comment, so that the client's `open` fires and proxies see a response before the first event; and how long
 * the client is to wait before it reconnects, where that is said. */
export function openingOf(retryMs: number | undefined): Chunk {
  if (retryMs === undefined) return opening
  return new Chunk(encodeText(emptyComment + encodeEvent({ retry: retryMs })))
}
