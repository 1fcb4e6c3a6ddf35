import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { encodeText } from '@wakerobin/core/adapter'
import { createParser } from 'eventsource-parser'

import { Broadcaster } from './broadcaster.ts'
import { emptyComment, encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable, EventFields } from './event.ts'

interface Vector {
  readonly about: string
  readonly event: Eventable
  readonly bytes: string
}

const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../testdata/encode.json', import.meta.url), 'utf8'),
)

// ------------------------------------------------------------------------------------- vectors

test('every vector is encoded to exactly its bytes', () => {
  for (const { about, event, bytes } of vectors)
    assert.deepEqual(wire(event), Buffer.from(bytes), about)
})

test('an SseEvent is encoded to the same bytes as its fields', () => {
  for (const { about, event, bytes } of vectors)
    assert.equal(wireText(SseEvent.from(event)), bytes, about)
})

test('fields that are undefined are left out', () => {
  const event = { data: 'x', type: undefined, id: undefined, retry: undefined, comment: undefined }
  assert.equal(encodeEvent(event), 'data: x\n\n')
})

test('the heartbeat is a comment with one newline', () => {
  assert.equal(emptyComment, ':\n')
  assert.equal(encodeEvent(SseEvent.comment('')), emptyComment)
})

test('a parser that others wrote reads every vector as what was put in', () => {
  for (const { about, event } of vectors) {
    for (const chunkBytes of [Infinity, 1]) {
      assert.deepEqual(
        read([wire(event)], () => chunkBytes),
        expectedOf([event]),
        about,
      )
    }
  }
})

test('all vectors in one stream do not disturb each other', () => {
  const events = vectors.map(({ event }) => event)
  assert.deepEqual(
    read(events.map(wire), () => 7),
    expectedOf(events),
  )
})

// ------------------------------------------------------------------------------------ refusals

const controls = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f]

test('every control character in a type or an id is refused, and the message says where', () => {
  for (const code of controls) {
    const text = `ab${String.fromCharCode(code)}c`
    const name = `U\\+${code.toString(16).padStart(4, '0').toUpperCase()} at position 2 `
    refuses({ type: text, data: 'x' }, TypeError, new RegExp(`event type .* ${name}`))
    refuses({ id: text, data: 'x' }, TypeError, new RegExp(`event id .* ${name}`))
    refuses({ id: text }, TypeError, /event id/)
  }
})

test('a control character at either end of a type or an id is refused', () => {
  for (const text of ['\n', '\na', 'a\n', '\ra', 'a\r', '\0', 'a\0'])
    for (const field of ['type', 'id'])
      refuses({ [field]: text, data: 'x' }, TypeError, new RegExp(`event ${field}`))
})

test('an id may have 1,024 characters and no more', () => {
  const longest = 'i'.repeat(1024)
  assert.equal(encodeEvent({ id: longest }), `id: ${longest}\n\n`)
  refuses({ id: `${longest}i`, data: 'x' }, RangeError, /event id of 1025 characters.* 1024/)
})

test('a retry that is no whole number of milliseconds from 0 is a RangeError', () => {
  for (const retry of [-1, 1.5, NaN, Infinity, -Infinity, 1e21, 2 ** 53, Number.MIN_VALUE])
    refuses({ retry, data: 'x' }, RangeError, new RegExp(`event retry ${escape(retry)}: .* from 0`))
})

test('a retry that is no number is a TypeError', () => {
  for (const retry of ['5', '', null, true, 5n, [5], {}])
    refuses({ retry, data: 'x' }, TypeError, /event retry .* from 0/)
})

test('a type without data is refused, as clients ignore it', () => {
  refuses({ type: 'ping' }, TypeError, /event of type "ping" without data/)
  refuses({ type: '', id: '1', comment: 'c', retry: 1 }, TypeError, /event of type "" without data/)
})

test('what has no field of an event is refused', () => {
  for (const nothing of [{}, [], ['x'], { event: 'x' }, new Date(0), new Map([['data', 'x']])])
    refuses(
      nothing,
      TypeError,
      /^Cannot send .* as an event: it has no data, type, id, retry or comment$/,
    )
})

test('what is no event at all is refused', () => {
  for (const value of [null, undefined, 0, 5, NaN, 1n, true, false, Symbol('x'), () => 'x'])
    refuses(value, TypeError, /^Cannot send .* as an event: /)
})

test('bytes are no event, and bytes are no data', () => {
  refuses(encodeText('x'), TypeError, /an instance of Uint8Array as an event/)
  refuses({ data: encodeText('x') }, TypeError, /event data an instance of Uint8Array/)
  refuses({ data: Buffer.from('x') }, TypeError, /event data an instance of Buffer/)
})

test('a field that must be text and is none is refused by its name', () => {
  for (const field of ['data', 'type', 'id', 'comment']) {
    for (const value of [0, 5, null, true, {}, ['x'], new String('x'), new Date(0)]) {
      const event = { data: 'x', [field]: value }
      refuses(event, TypeError, new RegExp(`^Cannot send the event ${field} .* must be a string`))
    }
  }
})

test('data or a comment may have 131,072 lines and no more', () => {
  for (const field of ['data', 'comment']) {
    const most = '\n'.repeat(131_071)
    assert.equal(wireText({ [field]: most }).match(/:\n/g)?.length, 131_072)
    refuses({ [field]: `${most}\n` }, RangeError, /event of 131073 lines: .* 131072/)
  }
  refuses('\r'.repeat(131_072), RangeError, /131073 lines/)
})

// ----------------------------------------------------------------------------------- injection

test('a type or an id that would inject lines never becomes bytes', () => {
  const broadcaster = new Broadcaster()
  for (const breaking of ['\n', '\r', '\r\n', '\n\n', '\r\r', '\0\n']) {
    for (const line of ['data: owned', 'event: admin', 'id: 9', 'retry: 1', ':', '']) {
      const attack = `1${breaking}${line}`
      for (const event of [
        { type: attack, data: 'x' },
        { id: attack, data: 'x' },
        { id: attack },
        { type: attack, id: attack, data: 'x', retry: 1, comment: 'c' },
      ]) {
        refuses(event, TypeError, /control characters/)
        assert.throws(() => broadcaster.publish(event), TypeError)
      }
      assert.throws(() => broadcaster.publish(attack, 'x'), TypeError)
    }
  }
  assert.equal(broadcaster.end, 0)
})

test('data and comments that would inject lines stay data and comments', () => {
  for (const breaking of ['\n', '\r', '\r\n', '\n\n', '\r\r', '\n\r']) {
    const attack = `x${breaking}event: admin${breaking}id: 9${breaking}retry: 1${breaking}data: y${breaking}`
    const events = [{ data: attack }, { comment: attack }, { comment: attack, data: attack }]
    for (const event of events)
      assert.deepEqual(
        read([wire(event)], () => Infinity),
        expectedOf([event]),
      )
  }
})

test('a field whose getter changes its mind is read once', () => {
  let reads = 0
  const turncoat = {
    data: 'x',
    get type() {
      return reads++ === 0 ? 'good' : 'bad\ndata: owned'
    },
  }
  assert.equal(encodeEvent(turncoat), 'event: good\ndata: x\n\n')
  assert.equal(reads, 1)
})

test('2,000 random hostile events are refused or read back as they were', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32))
  const random = mulberry32(seed)
  const accepted: EventFields[] = []
  const parts: Uint8Array[] = []
  try {
    for (let count = 0; count < 2_000; count++) {
      const event = randomEvent(random)
      if (isSendable(event)) {
        parts.push(wire(event))
        accepted.push(event)
      } else {
        assert.throws(() => encodeEvent(event), /^(Type|Range)Error: Cannot send /)
      }
    }
    const received = read(parts, () => 1 + Math.floor(random() * 50))
    assert.deepEqual(received, expectedOf(accepted))
    assert(accepted.length > 500 && accepted.length < 1_900, `${accepted.length} were accepted`)
  } catch (error) {
    throw new Error(`With SEED=${seed}`, { cause: error })
  }
})

// --------------------------------------------------------------------------------------- tools

function wire(event: Eventable): Buffer {
  return Buffer.from(encodeText(encodeEvent(event)))
}

function wireText(event: Eventable): string {
  return wire(event).toString()
}

function refuses(event: unknown, ErrorClass: new () => Error, message: RegExp): void {
  const check = (error: unknown): boolean => {
    assert(error instanceof Error)
    assert.equal(error.constructor, ErrorClass)
    assert.match(error.message, message)
    assert.doesNotMatch(error.message, /[\r\n\0]/)
    return true
  }
  assert.throws(() => encodeEvent(event as Eventable), check)
}

function escape(value: unknown): string {
  return String(value).replace(/[.+]/g, '\\$&')
}

/** What a client is told, in the order in which it is told. */
type Told =
  | { readonly event: string | undefined; readonly id: string | undefined; readonly data: string }
  | { readonly retry: number }
  | { readonly comment: string }

/** Reads a stream as it is sent, the opening comment first, with eventsource-parser and in chunks of
 * so many bytes. */
function read(parts: readonly Uint8Array[], chunkBytes: () => number): Told[] {
  const stream = Buffer.concat([encodeText(emptyComment), ...parts])
  const told: Told[] = []
  const parser = createParser({
    onEvent: ({ event, id, data }) => told.push({ event, id, data }),
    onRetry: (retry) => told.push({ retry }),
    onComment: (comment) => told.push({ comment }),
    onError: (error) => assert.fail(error),
  })
  const decoder = new TextDecoder()
  for (let at = 0; at < stream.length;) {
    const end = Math.min(stream.length, at + chunkBytes())
    parser.feed(decoder.decode(stream.subarray(at, end), { stream: true }))
    at = end
  }
  assert.deepEqual(told.shift(), { comment: '' })
  return told
}

/** What a client has to be told of events: written from the specification, without our encoder. */
function expectedOf(events: readonly Eventable[]): Told[] {
  return events.flatMap((eventable): Told[] => {
    const event = typeof eventable === 'string' ? { data: eventable } : eventable
    const told: Told[] = []
    const { comment, retry, data, type, id } = event
    if (comment !== undefined)
      for (const line of received(comment).split('\n')) told.push({ comment: line })
    if (retry !== undefined) told.push({ retry: retry + 0 })
    if (data !== undefined) {
      const name = type === undefined || type === '' ? undefined : received(type)
      told.push({
        event: name,
        id: id === undefined ? undefined : received(id),
        data: received(data),
      })
    }
    return told
  })
}

/** Text as it arrives: every line end is LF, and what is no Unicode is U+FFFD. */
function received(text: string): string {
  return Buffer.from(text.replaceAll('\r\n', '\n').replaceAll('\r', '\n')).toString()
}

const pieces = [
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  ' ',
  '  ',
  ':',
  ': ',
  'data',
  'event',
  'id',
  'retry',
  '0',
  '9',
  'data: x',
  'event: admin',
  '\0',
  '',
  '',
  '',
  '	',
  '',
  '\u2028',
  '﻿',
  '\ud83d',
  '\ude00',
  '😀',
  'é',
  '…',
  'a',
  'plain',
  '{"a":1}',
  'ï»¿',
  '',
]

function randomEvent(random: () => number): EventFields {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const text = (): string =>
    Array.from({ length: Math.floor(random() * 6) }, () => pick(pieces)).join('')
  // Types and ids mostly without what is refused, so that enough of them are sent.
  const line = (): string =>
    random() < 0.1 ? text() : text().replace(/[\u0000-\u001f\u007f]/g, '')
  const retries = [0, 1, 3_000, 2 ** 53 - 1, -1, 1.5, NaN, Infinity, 1e21]
  const event: { -readonly [K in keyof EventFields]: EventFields[K] } = {}
  if (random() < 0.8) event.data = text()
  if (random() < 0.5) event.type = line()
  if (random() < 0.5) event.id = line()
  if (random() < 0.2) event.retry = pick(random() < 0.8 ? retries.slice(0, 4) : retries)
  if (random() < 0.2) event.comment = text()
  return event
}

function isSendable({ data, type, id, retry, comment }: EventFields): boolean {
  const isLine = (text: string | undefined): boolean =>
    [...(text ?? '')].every((char) => char >= ' ' && char !== '\u007f')
  if (type !== undefined && data === undefined) return false
  if (retry !== undefined && !(Number.isInteger(retry) && retry >= 0 && retry < 2 ** 53))
    return false
  const isEmpty = [data, id, retry, comment].every((field) => field === undefined)
  return !isEmpty && isLine(type) && isLine(id)
}

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

test('data and comments of more than 16 Mi characters are refused', () => {
  const longest = 'x'.repeat(16 * 1024 * 1024)
  assert.equal(encodeEvent(longest).length, longest.length + 'data: \n\n'.length)
  for (const event of [`${longest}x`, { data: `${longest}x` }, { comment: `${longest}x` }]) {
    assert.throws(() => encodeEvent(event), {
      name: 'RangeError',
      message: 'Cannot send an event of 16777217 characters: it must have at most 16777216',
    })
  }
})
