/** The event that tells a client that it has missed some. */

import { Chunk, encodeText } from '@wakerobin/core/adapter'

import { encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'

/** How many events a client has missed; null where nobody can tell. */
export type Missed = number | null

/** An event of type `gap`, whose data is `{"missed":12}`. In the stream itself, because an EventSource reads no
 * headers.
 * @param id The id that the client is at after it. */
export function gapEvent(missed: Missed, id: string | undefined): SseEvent {
  const event = SseEvent.new(JSON.stringify({ missed })).withType('gap')
  return id === undefined ? event : event.withId(id)
}

export function gapChunk(missed: Missed, id: string | undefined): Chunk {
  return new Chunk(encodeText(encodeEvent(gapEvent(missed, id))))
}
