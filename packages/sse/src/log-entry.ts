/** What is in a log, as the history keeps it. */

import { Chunk, encodeText } from '@wakerobin/core/adapter'

import type { LogRecord } from './event-log.ts'
import { gapChunk, type Missed } from './gap.ts'
import type { Entry } from './history.ts'

/** A record of a log, as it is sent. */
export function entryOf({ id, text, topics, key }: LogRecord): Entry {
  // Without data there is nothing to go on after.
  const hasId = /^data:/m.test(text)
  const whole = withEnd(text)
  return {
    chunk: new Chunk(encodeText(hasId ? `id: ${id}\n${whole}` : whole)),
    topics,
    ownId: id,
    key,
    hasId,
    isSuperseded: false,
    time: performance.now(),
  }
}

/** Others may have added it, and forgotten its end: it must not run into the next one. */
function withEnd(text: string): string {
  // Comments and retry times need no empty line.
  if (text.endsWith('\n\n') || /^(?:(?::|retry:)[^\n]*\n)*$/.test(text)) return text
  return text.endsWith('\n') ? `${text}\n` : `${text}\n\n`
}

/** Tells everyone that the log has lost some. */
export function gapEntry(missed: Missed): Entry {
  return {
    chunk: gapChunk(missed, undefined),
    topics: undefined,
    ownId: undefined,
    key: undefined,
    hasId: false,
    isSuperseded: false,
    time: performance.now(),
  }
}
