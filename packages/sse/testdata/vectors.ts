/** The event-stream vectors: encode.json has events and their bytes, hostile.json what is refused.
 *
 * A text may be written as `{ "join": [["x", 70000], ["\n", 1]] }`: each piece so many times. */

import { readFileSync } from 'node:fs'

import type { Eventable } from '../src/event.ts'

/** An event, and what becomes of it. */
export interface Vector {
  readonly about: string
  readonly event: Eventable
  /** What is sent, as text that is then UTF-8. */
  readonly bytes: string
  /** What a client has of it that knew nothing before, by WHATWG HTML §9.2.6. */
  readonly client: {
    /** Default `message`. */
    readonly type?: string
    /** Missing where no event is dispatched. */
    readonly data?: string
    /** The id that it would reconnect with. Default `''`. */
    readonly lastEventId?: string
    readonly retry?: number
  }
}

/** What is no event, and how it is refused. */
export interface Refusal {
  readonly about: string
  readonly event: unknown
  readonly error: 'TypeError' | 'RangeError'
  /** A pattern. */
  readonly message: string
}

export const vectors: readonly Vector[] = read('encode.json')

export const refusals: readonly Refusal[] = read('hostile.json')

function read<T>(name: string): readonly T[] {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'), join)
}

function join(_key: string, value: unknown): unknown {
  if (!isJoin(value)) return value
  return value.join.map(([text, times]) => text.repeat(times)).join('')
}

function isJoin(value: unknown): value is { join: [text: string, times: number][] } {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'join')
}
