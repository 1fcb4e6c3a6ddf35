import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeText } from '@wakerobin/core/adapter'

import { vectors } from '../testdata/vectors.ts'
import { decodeEvent } from './decode.ts'
import { encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable } from './event.ts'

test('every vector is read back as the event that was sent', () => {
  for (const { about, event } of vectors) assert.deepEqual(roundTrip(event), sent(event), about)
})

test('text that looks like lines, or ends in what is no line break, comes back as it was', () => {
  const texts = [
    '',
    ' ',
    '  two before and two after  ',
    '\t',
    'tab\t',
    '\n',
    '\n\n\n',
    'a\n',
    '\na',
    'a\n\n\nb\n\n',
    ' \n ',
    ':',
    ': not a comment',
    'data: x',
    'id: 5\nevent: x\nretry: 7',
    'a:b: c',
    '\ufeff',
    'bom \ufeff',
    '\u00a0',
    'a\u2028b\u2029',
    '\u0000',
    'x\u000b\u000c',
    'emoji \u{1f600}',
    'gr\u00fc\u00dfe',
  ]
  for (const data of texts) {
    assert.equal(roundTrip(data).data, data)
    assert.equal(roundTrip(SseEvent.comment(data)).comment, data)
    const all = { data, comment: data, type: 't: ', id: ' 5 ', retry: 0 }
    assert.deepEqual({ ...roundTrip(all) }, all)
  }
})

test('what an event does not have, it does not have afterwards; what is empty is there', () => {
  const undefinedFields = {
    data: undefined,
    type: undefined,
    id: undefined,
    retry: undefined,
    comment: undefined,
  }
  for (const event of [
    { data: '' },
    { data: '', type: '', id: '', retry: 0, comment: '' },
    { id: '' },
    { comment: '' },
    { retry: Number.MAX_SAFE_INTEGER },
    { id: '7', comment: 'x' },
  ])
    assert.deepEqual({ ...roundTrip(event) }, { ...undefinedFields, ...event })
})

test('line breaks of all kinds come back as LF', () => {
  assert.equal(roundTrip('a\r\nb\rc\n\r\nd\r').data, 'a\nb\nc\n\nd\n')
})

function roundTrip(event: Eventable): SseEvent {
  return decodeEvent(encodeText(encodeEvent(event)))
}

/** What a client has of an event: each line break is LF, and what is half a surrogate pair U+FFFD. */
function sent(event: Eventable): SseEvent {
  const { data, type, id, retry, comment } = SseEvent.from(event)
  return SseEvent.from({
    data: lines(data),
    type: wellFormed(type),
    id: wellFormed(id),
    retry: retry === undefined ? undefined : Math.abs(retry), // -0 is 0
    comment: lines(comment),
  })
}

function lines(text: string | undefined): string | undefined {
  return wellFormed(text)?.replaceAll(/\r\n|\r/g, '\n')
}

function wellFormed(text: string | undefined): string | undefined {
  return text === undefined ? undefined : Buffer.from(text).toString()
}
