import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { createParser } from 'eventsource-parser'

import { vectors as encoded } from '../testdata/vectors.ts'
import { EventParser } from './event-parser.ts'

interface Vector {
  about: string
  text: string
  events?: [type: string, data: string, id: string][]
  comments?: string[]
  retryMs?: number
  lastEventId?: string
}

const vectors: Vector[] = JSON.parse(
  readFileSync(new URL('../testdata/parse.json', import.meta.url), 'utf8'),
)

for (const { about, text, events = [], comments, retryMs, lastEventId = '' } of vectors) {
  test(`a client reads: ${about}`, () => {
    const bytes = new TextEncoder().encode(text)
    for (const pieces of [[bytes], ...splits(bytes), bytewise(bytes)]) {
      const parser = new EventParser()
      for (const piece of pieces) parser.feed(piece)
      assert.deepEqual(
        parser.events,
        events.map(([type, data, id]) => ({ type, data, id })),
      )
      // Where a vector says nothing of comments, it may have none.
      assert.deepEqual(parser.comments, comments ?? [])
      assert.equal(parser.retryMs, retryMs)
      assert.equal(parser.lastEventId, lastEventId)
    }
  })
}

test('what the encoder writes is read as it was meant', () => {
  for (const { about, bytes, client } of encoded) {
    const parser = new EventParser()
    parser.feed(new TextEncoder().encode(bytes))
    const { type = 'message', data, lastEventId = '', retry } = client
    const events = data === undefined ? [] : [{ type, data, id: lastEventId }]
    assert.deepEqual(parser.events, events, about)
    assert.deepEqual([parser.lastEventId, parser.retryMs], [lastEventId, retry], about)
  }
})

test('eventsource-parser reads the same events and comments', () => {
  for (const vector of vectors.filter(({ text }) => !text.startsWith('\ufeff'))) {
    const { about } = vector
    const text = vector.text.replace(/\r$/, '\r\n') // it waits for what may follow a CR
    const theirs: { events: unknown[]; comments: string[] } = { events: [], comments: [] }
    const parser = createParser({
      onEvent: ({ event, data }) => theirs.events.push([event ?? 'message', data]),
      onComment: (comment) => theirs.comments.push(comment),
    })
    parser.feed(text)
    const ours = new EventParser()
    ours.feed(new TextEncoder().encode(text))
    const events = ours.events.map(({ type, data }) => [type, data])
    assert.deepEqual({ events, comments: ours.comments }, theirs, about)
  }
})

test('bytes that are no UTF-8 are replaced, as every decoder does', () => {
  const parser = new EventParser()
  parser.feed(Uint8Array.from([...new TextEncoder().encode('data: '), 0xff, 0x0a, 0x0a]))
  assert.equal(parser.events[0]?.data, '\ufffd')
})

test('the id that a client has reconnected with holds until there is another', () => {
  const parser = new EventParser('7')
  assert.equal(parser.lastEventId, '7')
  parser.feed(new TextEncoder().encode('data: a\n\nid: 8\ndata: b\n\n'))
  assert.deepEqual(
    parser.events.map(({ id }) => id),
    ['7', '8'],
  )
})

test('an event is its three fields, and its data can be read as JSON', () => {
  const parser = new EventParser()
  parser.feed(new TextEncoder().encode('data: {"a":1}\n\ndata: no\n\n'))
  const [event, other] = parser.events
  assert.deepEqual(event, { type: 'message', data: '{"a":1}', id: '' })
  assert.deepEqual(event?.json(), { a: 1 })
  assert.throws(() => other?.json(), SyntaxError)
})

/** The bytes in two pieces, in every way. */
function splits(bytes: Uint8Array): Uint8Array[][] {
  return Array.from(bytes, (_, at) => [bytes.subarray(0, at), new Uint8Array(), bytes.subarray(at)])
}

function bytewise(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte))
}
