import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'

import { encodeText } from '@wakerobin/core/adapter'

import { readByParser, readByUndici, readingOf, toldOf } from '../testdata/readers.ts'
import { refusals, vectors } from '../testdata/vectors.ts'
import { Broadcaster } from './broadcaster.ts'
import { emptyComment, encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable } from './event.ts'

// ------------------------------------------------------------------------------------- vectors

test('[event-stream 1.1] every vector is encoded to exactly its bytes, in UTF-8', () => {
  for (const { about, event, bytes } of vectors)
    assert.deepEqual(wire(event), Buffer.from(bytes), about)
})

test('[event-stream 2.9] an SseEvent is encoded to the same bytes as its fields', () => {
  for (const { about, event, bytes } of vectors)
    assert.equal(wireText(SseEvent.from(event)), bytes, about)
})

test('two parsers that others wrote read every vector as what was put in', () => {
  for (const { about, event, client } of vectors) {
    const { type = 'message', data, lastEventId = '', retry } = client
    const events = data === undefined ? [] : [{ type, data, lastEventId }]
    for (const pieceBytes of [Infinity, 7, 1]) {
      const stream = streamOf([event])
      // undici fails on a line in more than 131,072 pieces; long before that it is slow.
      if (stream.length / pieceBytes > 10_000) continue
      const told = readByParser(stream, () => pieceBytes)
      assert.deepEqual(told, [{ comment: '' }, ...toldOf(event)], about)
      assert.deepEqual(
        told.flatMap((it) => ('data' in it ? [{ type: it.type, data: it.data }] : [])),
        events.map(({ type, data }) => ({ type, data })),
        about,
      )
      const reading = readByUndici(stream, () => pieceBytes)
      assert.deepEqual(reading, { events, lastEventId, retry }, about)
    }
  }
})

test('[event-stream 3.3] all vectors in one stream do not disturb each other', () => {
  const events = vectors.map(({ event }) => event)
  for (const order of [events, events.toReversed()]) {
    const stream = streamOf(order)
    assert.deepEqual(
      readByParser(stream, () => 4001),
      [{ comment: '' }, ...order.flatMap(toldOf)],
    )
    assert.deepEqual(
      readByUndici(stream, () => 4001),
      readingOf(order),
    )
  }
})

test('[event-stream 1.2] every line ends in LF, and CR is never sent', () => {
  for (const { about, event } of vectors) {
    const text = encodeEvent(event)
    assert(text.endsWith('\n') && !text.includes('\r'), about)
  }
})

test('[event-stream 1.4] every line is a field of ours, a comment or empty, whatever the texts hold', () => {
  for (const { about, event } of vectors) {
    const names = new Set(
      encodeEvent(event)
        .split('\n')
        .map((line) => line.split(':', 1)[0]!),
    )
    const { data, comment, type, id, retry } = typeof event === 'string' ? { data: event } : event
    names.delete('') // comments, and the end of a block
    const own = { data, event: type, id, retry }
    assert.deepEqual(
      [...names].toSorted(),
      Object.entries(own).flatMap(([name, value]) => (value === undefined ? [] : [name])),
      `${about}, ${comment}`,
    )
  }
})

// ------------------------------------------------------------------------------------ the fields

test('[event-stream 1.3] a space follows the colon, unless the value is empty', () => {
  assert.equal(encodeEvent(' x\n\n '), 'data:  x\ndata:\ndata:  \n\n')
  assert.equal(
    encodeEvent({ comment: ' x\n', type: '', id: ' ', data: '' }),
    ':  x\n:\nevent:\nid:  \ndata:\n\n',
  )
})

test('[event-stream 1.5] the lines are comment, event, id, retry and data, and nothing else of the object', () => {
  const event = { other: 'o', data: 'd', retry: 4, id: 'i', type: 't', event: 'e', comment: 'c' }
  assert.equal(encodeEvent(event), ': c\nevent: t\nid: i\nretry: 4\ndata: d\n\n')
})

test('[event-stream 1.5] fields that are undefined are left out', () => {
  const event = { data: 'x', type: undefined, id: undefined, retry: undefined, comment: undefined }
  assert.equal(encodeEvent(event), 'data: x\n\n')
})

test('[event-stream 2.1] CRLF, LF and a lone CR each end one line of data', () => {
  assert.equal(
    encodeEvent('a\r\nb\nc\rd\n\re\r\r\n'),
    'data: a\ndata: b\ndata: c\ndata: d\ndata:\ndata: e\ndata:\ndata:\n\n',
  )
})

test('[event-stream 2.1] nothing else ends a line', () => {
  const text = 'a\vb\fc\u001cd\u001de\u001ef\u0085g\u2028h\u2029i\\nj'
  assert.equal(encodeEvent(text), `data: ${text}\n\n`)
  assert.equal(encodeEvent({ comment: text }), `: ${text}\n`)
})

test('[event-stream 2.2] empty data is an event, and no data is none', () => {
  assert.equal(encodeEvent(''), 'data:\n\n')
  assert.equal(encodeEvent({ data: '' }), 'data:\n\n')
  assert.equal(encodeEvent({ data: undefined, id: '1' }), 'id: 1\n\n')
})

test('[event-stream 2.3] every other character of data arrives as it was', () => {
  const isRest = (code: number): boolean =>
    code !== 0x0a && code !== 0x0d && (code < 0xd800 || code > 0xdfff)
  const planes = Array.from({ length: 17 }, (_, plane) =>
    Array.from({ length: 0x1_0000 }, (_, low) => plane * 0x1_0000 + low)
      .filter(isRest)
      .map((code) => String.fromCodePoint(code))
      .join(''),
  )
  const stream = streamOf(planes)
  const read = readByUndici(stream, () => 65_536).events.map(({ data }) => data)
  assert(isDeepStrictEqual(read, planes))
  const told = readByParser(stream, () => 65_536)
  assert(isDeepStrictEqual(told, [{ comment: '' }, ...planes.flatMap(toldOf)]))
})

test('[event-stream 1.1] a lone surrogate becomes U+FFFD in every field', () => {
  const [lone, got] = ['a\ud83d\n\ude00b', 'a\ufffd\n\ufffdb']
  const line = lone.replace('\n', ' ')
  const event = { comment: lone, type: line, id: line, data: lone }
  assert.equal(
    wireText(event),
    ': a\ufffd\n: \ufffdb\nevent: a\ufffd \ufffdb\nid: a\ufffd \ufffdb\ndata: a\ufffd\ndata: \ufffdb\n\n',
  )
  assert.equal(readByUndici(streamOf([event]), () => 1).events[0]?.data, got)
})

test('[event-stream 2.4] a type is written as it is, also an empty one', () => {
  assert.equal(encodeEvent({ type: '', data: 'x' }), 'event:\ndata: x\n\n')
  assert.equal(encodeEvent({ type: 'error', data: 'x' }), 'event: error\ndata: x\n\n')
  assert.equal(encodeEvent({ type: ' a: b ', data: 'x' }), 'event:  a: b \ndata: x\n\n')
})

test('[event-stream 2.5] an id is written as it is, also an empty one and 0, and needs no data', () => {
  assert.equal(encodeEvent({ id: '', data: 'x' }), 'id:\ndata: x\n\n')
  assert.equal(encodeEvent({ id: '0', data: 'x' }), 'id: 0\ndata: x\n\n')
  const reading = readByUndici(
    streamOf([{ id: '1', data: 'a' }, { id: '2' }, 'b', { id: '' }, 'c']),
    () => Infinity,
  )
  assert.deepEqual(
    reading.events.map(({ lastEventId }) => lastEventId),
    ['1', '2', ''],
  )
})

test('[event-stream 2.6] a retry is written in digits, and -0 as 0', () => {
  for (const [retry, digits] of [
    [0, '0'],
    [-0, '0'],
    [1e3, '1000'],
    [2 ** 32, '4294967296'],
    [1e15, '1000000000000000'],
    [2 ** 53 - 1, '9007199254740991'],
  ] as const)
    assert.equal(encodeEvent({ retry }), `retry: ${digits}\n`)
})

test('[event-stream 2.7] a comment has a line for each of its own, and is no event', () => {
  assert.equal(encodeEvent({ comment: 'a\r\nb\rdata: c\n\n' }), ': a\n: b\n: data: c\n:\n:\n')
})

test('[event-stream 2.8] a string is the data of a message', () => {
  for (const text of ['', '0', 'x', ' a\r\nb', 'event: admin', '{"data":"x"}'])
    assert.equal(encodeEvent(text), encodeEvent({ data: text }))
})

test('[event-stream 3.1] a block with data or an id ends in one empty line', () => {
  for (const { about, event } of vectors) {
    if (typeof event !== 'string' && event.data === undefined && event.id === undefined) continue
    assert.match(encodeEvent(event), /[^\n]\n\n$/, about)
    assert.equal(encodeEvent(event).indexOf('\n\n'), encodeEvent(event).length - 2, about)
  }
})

test('[event-stream 3.2] a block of a comment or a retry alone ends with its line', () => {
  assert.equal(emptyComment, ':\n')
  assert.equal(encodeEvent(SseEvent.comment('')), emptyComment)
  assert.equal(encodeEvent({ retry: 0 }), 'retry: 0\n')
  assert.equal(encodeEvent({ comment: '', retry: 0 }), ':\nretry: 0\n')
})

// ------------------------------------------------------------------------------------ refusals

test('[event-stream 4.1] every hostile vector is refused, in words of one line, and nothing of it is sent', () => {
  const broadcaster = new Broadcaster()
  for (const { about, event, error, message } of refusals) {
    const ErrorClass = error === 'TypeError' ? TypeError : RangeError
    try {
      refuses(event, ErrorClass, new RegExp(message))
      assert.throws(() => encodeEvent(SseEvent.from(event as Eventable)), ErrorClass)
      assert.throws(() => broadcaster.publish(event as Eventable), ErrorClass)
    } catch (cause) {
      throw new Error(about, { cause })
    }
  }
  assert.equal(broadcaster.stats().published, 0)
})

const controls = [...Array.from({ length: 0x20 }, (_, code) => code), 0x7f]

test('[event-stream 4.2] every control character in a type or an id is refused, and the message says where', () => {
  for (const code of controls) {
    const text = `ab${String.fromCharCode(code)}c`
    const name = `U\\+${code.toString(16).padStart(4, '0').toUpperCase()} at position 2 `
    refuses({ type: text, data: 'x' }, TypeError, new RegExp(`event type .* ${name}`))
    refuses({ id: text, data: 'x' }, TypeError, new RegExp(`event id .* ${name}`))
    refuses({ id: text }, TypeError, /event id/)
  }
})

test('[event-stream 4.2] a control character at either end of a type or an id is refused', () => {
  for (const text of ['\n', '\na', 'a\n', '\ra', 'a\r', '\0', 'a\0'])
    for (const field of ['type', 'id'])
      refuses({ [field]: text, data: 'x' }, TypeError, new RegExp(`event ${field}`))
})

test('[event-stream 4.3] an id may have 1,024 characters and no more', () => {
  const longest = 'i'.repeat(1024)
  assert.equal(encodeEvent({ id: longest }), `id: ${longest}\n\n`)
  refuses({ id: `${longest}i`, data: 'x' }, RangeError, /event id of 1025 characters.* 1024/)
})

test('[event-stream 4.4] a retry that is no whole number of milliseconds from 0 is a RangeError', () => {
  for (const retry of [-1, 1.5, NaN, Infinity, -Infinity, 1e21, 2 ** 53, Number.MIN_VALUE])
    refuses({ retry, data: 'x' }, RangeError, new RegExp(`event retry ${escape(retry)}: .* from 0`))
})

test('[event-stream 4.4] a retry that is no number is a TypeError', () => {
  for (const retry of ['5', '', null, true, 5n, [5], {}])
    refuses({ retry, data: 'x' }, TypeError, /event retry .* from 0/)
})

test('[event-stream 4.5] a type without data is refused, as clients ignore it', () => {
  refuses({ type: 'ping' }, TypeError, /event of type "ping" without data/)
  refuses({ type: '', id: '1', comment: 'c', retry: 1 }, TypeError, /event of type "" without data/)
})

test('[event-stream 4.6] what has no field of an event is refused', () => {
  for (const nothing of [{}, [], ['x'], { event: 'x' }, new Date(0), new Map([['data', 'x']])])
    refuses(
      nothing,
      TypeError,
      /^Cannot send .* as an event: it has no data, type, id, retry or comment$/,
    )
})

test('[event-stream 4.6] what is no event at all is refused', () => {
  for (const value of [null, undefined, 0, 5, NaN, 1n, true, false, Symbol('x'), () => 'x'])
    refuses(value, TypeError, /^Cannot send .* as an event: /)
})

test('[event-stream 4.6] bytes are no event, and bytes are no data', () => {
  refuses(encodeText('x'), TypeError, /an instance of Uint8Array as an event/)
  refuses({ data: encodeText('x') }, TypeError, /event data an instance of Uint8Array/)
  refuses({ data: Buffer.from('x') }, TypeError, /event data an instance of Buffer/)
})

test('[event-stream 4.7] a field that must be text and is none is refused by its name', () => {
  for (const field of ['data', 'type', 'id', 'comment']) {
    for (const value of [0, 5, null, true, {}, ['x'], new String('x'), new Date(0)]) {
      const event = { data: 'x', [field]: value }
      const right = ['id', 'type'].includes(field) ? `String\\(${field}\\)` : 'JSON.stringify it'
      const message = `^Cannot send the event ${field} .* must be a string; for a value, ${right}$`
      refuses(event, TypeError, new RegExp(message))
    }
  }
})

test('[event-stream 4.8] data or a comment may have 131,072 lines and no more', () => {
  for (const field of ['data', 'comment']) {
    const most = '\n'.repeat(131_071)
    assert.equal(wireText({ [field]: most }).match(/:\n/g)?.length, 131_072)
    refuses({ [field]: `${most}\n` }, RangeError, /event of 131073 lines: .* 131072/)
  }
  refuses('\r'.repeat(131_072), RangeError, /131073 lines/)
})

test('[event-stream 4.9] data, a comment or a type of more than 16 Mi characters is refused', () => {
  const longest = 'x'.repeat(16 * 1024 * 1024)
  assert.equal(encodeEvent(longest).length, longest.length + 'data: \n\n'.length)
  const tooLong = `${longest}x`
  const bad = [tooLong, { data: tooLong }, { comment: tooLong }, { type: tooLong, data: 'x' }]
  for (const event of bad) {
    assert.throws(() => encodeEvent(event), {
      name: 'RangeError',
      message: 'Cannot send an event of 16777217 characters: it must have at most 16777216',
    })
  }
})

// ----------------------------------------------------------------------------------- injection

test('[event-stream 1.4] a type or an id that would inject lines never becomes bytes', () => {
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
  assert.equal(broadcaster.stats().published, 0)
})

test('[event-stream 1.4] data and comments that would inject lines stay data and comments', () => {
  for (const breaking of ['\n', '\r', '\r\n', '\n\n', '\r\r', '\n\r']) {
    const attack = `x${breaking}event: admin${breaking}id: 9${breaking}retry: 1${breaking}data: y${breaking}`
    const events = [{ data: attack }, { comment: attack }, { comment: attack, data: attack }]
    for (const event of events)
      assert.deepEqual(
        readByParser(streamOf([event]), () => Infinity),
        [{ comment: '' }, ...toldOf(event)],
      )
  }
})

test('[event-stream 1.6] a field whose getter changes its mind is read once', () => {
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

// --------------------------------------------------------------------------------------- tools

function wire(event: Eventable): Buffer {
  return Buffer.from(encodeText(encodeEvent(event)))
}

/** A stream as it is sent, and an empty line, because undici takes a retry over only then. */
function streamOf(events: readonly Eventable[]): Buffer {
  return Buffer.concat([Buffer.from(emptyComment), ...events.map(wire), Buffer.from('\n')])
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
