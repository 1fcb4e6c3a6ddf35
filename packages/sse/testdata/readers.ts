/** Two readers of event streams that others wrote, and what they have to be told.
 *
 * `eventsource-parser` works on strings, that of undici 7 on bytes: they share no code, no decoder and no author.
 * npm's `eventsource` would be no second one, as it is made with `eventsource-parser`. Of undici the class beneath
 * `EventSource` is used, by its path, so that no socket is needed. */

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import type { Transform } from 'node:stream'

import { createParser } from 'eventsource-parser'

import type { Eventable } from '../src/event.ts'

/** Cuts a stream into pieces: how many bytes the next one has. */
export type PieceBytes = () => number

/** What `eventsource-parser` tells, in that order. The ids are those of the events: it keeps none. */
export type Told =
  | { readonly type: string; readonly data: string; readonly id: string | undefined }
  | { readonly retry: number }
  | { readonly comment: string }

export function readByParser(stream: Buffer, pieceBytes: PieceBytes): Told[] {
  const told: Told[] = []
  const parser = createParser({
    onEvent: ({ event = 'message', id, data }) => told.push({ type: event, data, id }),
    onRetry: (retry) => told.push({ retry }),
    onComment: (comment) => told.push({ comment }),
    onError: (error) => assert.fail(error),
  })
  const decoder = new TextDecoder()
  for (const piece of pieces(stream, pieceBytes))
    parser.feed(decoder.decode(piece, { stream: true }))
  return told
}

/** What it has to tell: written from the specification, without our encoder. */
export function toldOf(event: Eventable): Told[] {
  const { comment, retry, data, type = '', id } = typeof event === 'string' ? textOf(event) : event
  const told: Told[] = []
  if (comment !== undefined)
    for (const line of received(comment).split('\n')) told.push({ comment: line })
  if (retry !== undefined) told.push({ retry: retry + 0 })
  if (data !== undefined) {
    const ownId = id === undefined ? undefined : received(id)
    told.push({ type: received(type) || 'message', data: received(data), id: ownId })
  }
  return told
}

/** An event as an EventSource dispatches it. */
export interface Dispatched {
  readonly type: string
  readonly data: string
  readonly lastEventId: string
}

/** What undici has of a whole stream. */
export interface Reading {
  readonly events: Dispatched[]
  readonly lastEventId: string
  /** Undefined where none was said. undici takes it over at the end of a block, not at the line. */
  readonly retry: number | undefined
}

export function readByUndici(stream: Buffer, pieceBytes: PieceBytes): Reading {
  const events: Dispatched[] = []
  const state: { lastEventId: string; reconnectionTime?: number } = { lastEventId: '' }
  const reader = new EventSourceStream({
    eventSourceSettings: state,
    push({ type, options: { data, lastEventId } }) {
      events.push({ type, data, lastEventId })
      return true
    },
  })
  // It transforms as it is written to, so that all is read when the last piece is written.
  reader.on('error', (error) => errors.push(error))
  const errors: Error[] = []
  for (const piece of pieces(stream, pieceBytes)) reader.write(piece)
  assert.deepEqual(errors, [])
  assert.equal(reader.writableLength, 0)
  return { events, lastEventId: state.lastEventId, retry: state.reconnectionTime }
}

/** What it has to have of a stream of these events. */
export function readingOf(events: readonly Eventable[]): Reading {
  const dispatched: Dispatched[] = []
  let lastEventId = ''
  let lastRetry: number | undefined
  for (const event of events) {
    const { retry, data, type = '', id } = typeof event === 'string' ? textOf(event) : event
    if (id !== undefined) lastEventId = received(id)
    if (retry !== undefined) lastRetry = retry + 0
    if (data !== undefined)
      dispatched.push({ type: received(type) || 'message', data: received(data), lastEventId })
  }
  return { events: dispatched, lastEventId, retry: lastRetry }
}

/** Text as it arrives: every line end is LF, and what is no Unicode is U+FFFD. */
function received(text: string): string {
  return Buffer.from(text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')).toString()
}

function textOf(data: string): Exclude<Eventable, string> {
  return { data }
}

function* pieces(stream: Buffer, pieceBytes: PieceBytes): Generator<Buffer> {
  for (let at = 0; at < stream.length;) {
    const end = Math.min(stream.length, at + pieceBytes())
    yield stream.subarray(at, end)
    at = end
  }
}

interface UndiciOptions {
  readonly eventSourceSettings: object
  readonly push: (event: { type: string; options: { data: string; lastEventId: string } }) => boolean
}

const { EventSourceStream } = createRequire(import.meta.url)(
  'undici/lib/web/eventsource/eventsource-stream.js',
) as { EventSourceStream: new (options: UndiciOptions) => Transform }
