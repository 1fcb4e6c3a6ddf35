/** Random hostile events, through two parsers that others wrote.
 *
 *     WAKEROBIN_FUZZ_SECONDS=20 npm test -- encode-fuzz        as CI does; default 1
 *     WAKEROBIN_FUZZ_SEED=4711 npm test -- encode-fuzz         the same events again
 *
 * A failure says the seed that has it in its first round, and the event as a vector for testdata. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'

import { encodeText } from '@wakerobin/core/adapter'

import { readByParser, readByUndici, readingOf, toldOf } from '../testdata/readers.ts'
import type { PieceBytes } from '../testdata/readers.ts'
import { emptyComment, encodeEvent } from './encode.ts'
import type { EventFields } from './event.ts'

const eventsPerRound = 250

const seconds = setting('WAKEROBIN_FUZZ_SECONDS', 1, (value) => value > 0 && value <= 86_400)
const firstSeed = setting(
  'WAKEROBIN_FUZZ_SEED',
  Math.floor(Math.random() * 2 ** 32),
  (value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32,
)

test(
  'random hostile events are refused, or read by two parsers as they were',
  { timeout: (seconds + 60) * 1000 },
  (t) => {
    t.diagnostic(`WAKEROBIN_FUZZ_SEED=${firstSeed}`)
    const end = performance.now() + seconds * 1000
    let sent = 0
    let refused = 0
    let rounds = 0
    do {
      const accepted = round((firstSeed + rounds++) % 2 ** 32)
      sent += accepted
      refused += eventsPerRound - accepted
    } while (performance.now() < end)
    t.diagnostic(
      `${sent + refused} events in ${seconds} s: ${sent} read back, ${refused} refused, 0 otherwise`,
    )
    // A fuzz that is refused everywhere, or nowhere, proves nothing.
    assert(sent > rounds * eventsPerRound * 0.3 && refused > rounds * eventsPerRound * 0.05)
  },
)

test('the settings of the fuzz are numbers within bounds', () => {
  process.env.WAKEROBIN_FUZZ_TEST = '2.5'
  try {
    assert.equal(
      setting('WAKEROBIN_FUZZ_TEST', 1, (value) => value > 0),
      2.5,
    )
    for (const bad of ['x', '-1', '0', '1e999', '1s', ' ']) {
      process.env.WAKEROBIN_FUZZ_TEST = bad
      assert.throws(
        () => setting('WAKEROBIN_FUZZ_TEST', 1, (value) => value > 0),
        /^RangeError: Cannot fuzz with WAKEROBIN_FUZZ_TEST=/,
      )
    }
  } finally {
    delete process.env.WAKEROBIN_FUZZ_TEST
  }
  assert.equal(
    setting('WAKEROBIN_FUZZ_TEST', 1, () => false),
    1,
  )
})

// --------------------------------------------------------------------------------------- rounds

/** Sends some events as one stream.
 * @returns How many were not refused. */
function round(seed: number): number {
  const random = mulberry32(seed)
  const events = Array.from({ length: eventsPerRound }, () => randomEvent(random))
  const pieceBytes = randomPieces(random)
  try {
    const accepted = events.filter(isSendable)
    for (const event of events) {
      if (isSendable(event)) continue
      assert.throws(() => encodeEvent(event), /^(Type|Range)Error: Cannot send /, shown(event))
    }
    if (!isReadBack(accepted, pieceBytes)) {
      const single = accepted.find((event) => !isReadBack([event], () => Infinity))
      assert.fail(
        single === undefined
          ? 'The stream is read otherwise than its events are one by one'
          : `Not read back: ${shown(single)}`,
      )
    }
    return accepted.length
  } catch (cause) {
    throw new Error(`With WAKEROBIN_FUZZ_SEED=${seed}: ${String(cause)}`, { cause })
  }
}

function isReadBack(events: readonly EventFields[], pieceBytes: PieceBytes): boolean {
  const parts = events.map((event) => encodeText(encodeEvent(event)))
  // The empty line at the end is for undici, which takes a retry over only then.
  const stream = Buffer.concat([Buffer.from(emptyComment), ...parts, Buffer.from('\n')])
  const told = [{ comment: '' }, ...events.flatMap(toldOf)]
  return (
    isDeepStrictEqual(readByParser(stream, pieceBytes), told) &&
    isDeepStrictEqual(readByUndici(stream, pieceBytes), readingOf(events))
  )
}

function shown(event: EventFields): string {
  const text = JSON.stringify(event, (_key, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? String(value) : value,
  )
  return text.length > 4_000 ? `${text.slice(0, 4_000)}...` : text
}

// --------------------------------------------------------------------------------------- events

// prettier-ignore
const pieces = [
  '\n', '\r', '\r\n', '\n\n', '\r\r', '\n\r', '\r\r\n',
  ' ', '  ', ':', ': ', ' :', '::', '\t', '\0', '\0\n', '\v', '\f', '\u001b', '\u001f', '\u007f',
  'data', 'event', 'id', 'retry', 'data:', 'data: ', 'data: x', 'event: admin', 'id: 9', 'id:', 'retry: 0', 'retry:x',
  '\ndata: owned\n\n', '\revent: admin\r', '\r\nid: 9\r\n', '\nretry: 1\n', '\n:\n',
  '0', '9', '-1', '', 'null', 'undefined', '__proto__', 'error', 'message', '[DONE]', '{"a":1}', '\\n',
  '\u0080', '\u0085', '\u00a0', '\u2028', '\u2029', '\u3000', '\ufeff', '\ufffd', '\ufffe', '\uffff',
  '\ud83d', '\ude00', '\ud800', '\udfff', '😀', '\u{10ffff}', 'é', '…', 'e\u0301', 'ï»¿', 'a', 'plain text',
]

function randomEvent(random: () => number): EventFields {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const text = (): string => {
    let made = ''
    for (let count = Math.floor(random() * 7); count > 0; count--) made += pick(pieces)
    // Now and then a long line, or many.
    return random() < 0.003 ? made.repeat(Math.floor(random() * 600)) : made
  }
  // Mostly without what is refused, so that enough of them are sent.
  const line = (): string =>
    random() < 0.15 ? text() : text().replace(/[\u0000-\u001f\u007f]/g, '')
  const event: { -readonly [K in keyof EventFields]: EventFields[K] } = {}
  if (random() < 0.85) event.data = text()
  if (random() < 0.4) event.type = line()
  if (random() < 0.4) event.id = line()
  if (random() < 0.2) event.retry = pick(random() < 0.9 ? retries : badRetries)
  if (random() < 0.2) event.comment = text()
  return event
}

const retries = [0, -0, 1, 3_000, 2 ** 31, 2 ** 32, 1e15, Number.MAX_SAFE_INTEGER]
const badRetries = [-1, 1.5, NaN, Infinity, -Infinity, 1e21, 2 ** 53, Number.MIN_VALUE]

/** What may be sent: written from docs/spec/event-stream.md, without our encoder. */
function isSendable({ data, type, id, retry, comment }: EventFields): boolean {
  if (type !== undefined && data === undefined) return false
  if (retry !== undefined && !(Number.isInteger(retry) && retry >= 0 && retry < 2 ** 53))
    return false
  if ((id ?? '').length > 1024) return false
  const isEmpty = [data, id, retry, comment].every((field) => field === undefined)
  return !isEmpty && isLine(type) && isLine(id)
}

function isLine(text = ''): boolean {
  return [...text].every((char) => char >= ' ' && char !== '\u007f')
}

/** How the network may cut a stream: not at all, after every byte, or anywhere. */
function randomPieces(random: () => number): PieceBytes {
  const kind = random()
  if (kind < 0.1) return () => Infinity
  if (kind < 0.2) return () => 1
  const most = kind < 0.8 ? 60 : 5_000
  return () => 1 + Math.floor(random() * most)
}

// --------------------------------------------------------------------------------------- tools

/** A number from the environment.
 * @throws {RangeError} When it is none, or `isRight` says no. */
function setting(name: string, otherwise: number, isRight: (value: number) => boolean): number {
  const text = process.env[name]
  if (text === undefined || text === '') return otherwise
  const value = text.trim() === '' ? NaN : Number(text)
  if (Number.isFinite(value) && isRight(value)) return value
  throw new RangeError(
    `Cannot fuzz with ${name}=${text}: it must be a number within the bounds that encode-fuzz.test.ts has`,
  )
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
