/** What every event stream begins with. */

import { Chunk, encodeText } from '@wakerobin/core/adapter'

import { emptyComment } from './encode.ts'

/** A comment, so that the client's `open` fires and proxies see a response before the first event. */
export const opening: Chunk = new Chunk(encodeText(emptyComment))
