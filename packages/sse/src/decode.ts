/** Reads an event from its bytes: those that `encodeEvent` has made, and no others. */

import { SseEvent } from './event.ts'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** The event that was encoded. Every line break of its data is LF. */
export function decodeEvent(bytes: Uint8Array): SseEvent {
  const data: string[] = []
  const comment: string[] = []
  const fields: { type?: string; id?: string; retry?: number } = {}
  for (const line of decoder.decode(bytes).replace(/\n+$/, '').split('\n')) {
    const colon = line.indexOf(':')
    const value = line.slice(colon + 1).replace(/^ /, '')
    const name = line.slice(0, colon)
    if (name === 'data') data.push(value)
    else if (name === '') comment.push(value)
    else if (name === 'event') fields.type = value
    else if (name === 'id') fields.id = value
    else fields.retry = Number(value)
  }
  return SseEvent.from({
    ...fields,
    ...(data.length === 0 ? {} : { data: data.join('\n') }),
    ...(comment.length === 0 ? {} : { comment: comment.join('\n') }),
  })
}
