/** An event as a message of NATS: the text is the payload, all else is in a header.
 *
 * So others can read the log, and publish to it: what has no such header is the data of an event. */

import type { MsgHdrs } from '@nats-io/transport-node'
import { encodeEvent, type LogEvent } from '@wakerobin/sse'

const header = 'Wakerobin-Event'

export function writeEvent({ topics, key }: LogEvent, headers: MsgHdrs): void {
  const json = JSON.stringify({ topics, key })
  // ASCII, on one line.
  headers.set(header, json.replace(/[^\x20-\x7e]/g, escaped))
}

/** Whatever a message is, it has its place in the log: what cannot be sent is a comment. */
export function readEvent(payload: Uint8Array, headers: MsgHdrs | undefined): LogEvent {
  const text = decoder.decode(payload)
  const json = headers?.get(header) ?? ''
  try {
    if (json === '') return { text: encodeEvent(text) }
    const fields: unknown = JSON.parse(json)
    if (isFields(fields)) return { text, topics: fields.topics, key: fields.key }
  } catch {
    // No JSON, or no text that can be sent.
  }
  return { text: encodeEvent({ comment: 'a message that is no event' }) }
}

/** Others can publish, too: what is not as `writeEvent` makes it must not come to a broadcaster. */
function isFields(fields: unknown): fields is Pick<LogEvent, 'topics' | 'key'> {
  if (typeof fields !== 'object' || fields === null) return false
  const { topics, key } = fields as Record<string, unknown>
  const isTopics =
    topics === undefined ||
    (Array.isArray(topics) && topics.every((topic) => typeof topic === 'string'))
  return isTopics && (key === undefined || typeof key === 'string')
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

const decoder = new TextDecoder()
