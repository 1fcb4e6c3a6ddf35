/** An event as an entry of a stream: the fields `text`, `topics` (JSON), `key`, and the `nonce` of whoever has added it. */

import { parseJson } from '@wakerobin/core/adapter'
import type { LogEvent, LogRecord } from '@wakerobin/sse'

/** The fields of an event, each followed by its value. */
export function toFields({ text, topics, key }: LogEvent, nonce: string): string[] {
  const fields = ['nonce', nonce, 'text', text]
  if (topics !== undefined) fields.push('topics', JSON.stringify(topics))
  if (key !== undefined) fields.push('key', key)
  return fields
}

/** The event of an entry; undefined where it is none: others may write to the stream, too. */
export function toRecord([id, fields]: readonly [string, readonly string[]]):
  | LogRecord
  | undefined {
  const text = fieldOf(fields, 'text')
  const topics = topicsOf(fieldOf(fields, 'topics'))
  // Where it is not known whom it is for, it is for nobody.
  if (text === undefined || topics === null) return undefined
  return { id, text, topics, key: fieldOf(fields, 'key') }
}

export function fieldOf(fields: readonly string[], name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1]
  return undefined
}

/** Null where they cannot be read. */
function topicsOf(json: string | undefined): readonly string[] | undefined | null {
  if (json === undefined) return undefined
  try {
    const topics = parseJson(json)
    return Array.isArray(topics) && topics.every((topic) => typeof topic === 'string')
      ? topics
      : null
  } catch {
    return null // not JSON
  }
}
