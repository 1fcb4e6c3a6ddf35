import assert from 'node:assert/strict'
import { test } from 'node:test'

import { encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable } from './event.ts'
import { Event, SseEvent as Exported } from './index.ts'

test('an event holds its fields, and undefined for the rest', () => {
  const event = SseEvent.new('x')
  assert.deepEqual({ ...event }, fieldsOf({ data: 'x' }))
})

test('SseEvent.new(data) with an empty string is an event', () => {
  assert.equal(SseEvent.new('').data, '')
  assert.equal(encodeEvent(SseEvent.new('')), 'data:\n\n')
})

test('SseEvent.comment(text) has a comment and nothing else', () => {
  assert.deepEqual({ ...SseEvent.comment('') }, fieldsOf({ comment: '' }))
  assert.equal(encodeEvent(SseEvent.comment('note')), ': note\n')
})

test('every with… makes a new event that has all else of the old one', () => {
  const first = SseEvent.new('a').withType('t').withId('i').withRetry(0).withComment('c')
  const all = { data: 'a', type: 't', id: 'i', retry: 0, comment: 'c' }
  assert.deepEqual({ ...first }, all)
  for (const [changed, field, value] of [
    [first.withData('b'), 'data', 'b'],
    [first.withType('u'), 'type', 'u'],
    [first.withId(''), 'id', ''],
    [first.withRetry(7), 'retry', 7],
    [first.withComment(''), 'comment', ''],
  ] as const) {
    assert(changed instanceof SseEvent)
    assert.deepEqual({ ...changed }, { ...all, [field]: value })
    assert.deepEqual({ ...first }, all)
  }
})

test('[event-stream 2.9] an event cannot be changed by assignment', () => {
  const event = SseEvent.new('a').withType('t')
  for (const field of ['data', 'type', 'id', 'retry', 'comment', 'other'])
    assert.throws(() => Object.assign(event, { [field]: 'x\ndata: owned' }), TypeError)
  assert.equal(encodeEvent(event), 'event: t\ndata: a\n\n')
})

test('[event-stream 4.1] a bad field is refused when it is given, and the event stays as it was', () => {
  const event = SseEvent.new('a')
  assert.throws(() => event.withType('t\n'), /^TypeError: Cannot send the event type "t\\n"/)
  assert.throws(() => event.withId('1\r2'), /^TypeError: Cannot send the event id "1\\r2"/)
  assert.throws(
    () => event.withId('i'.repeat(1025)),
    /^RangeError: Cannot send an event id of 1025/,
  )
  assert.throws(() => event.withRetry(-1), /^RangeError: Cannot send the event retry -1/)
  assert.throws(() => event.withData(5 as never), /^TypeError: Cannot send the event data 5/)
  assert.throws(() => event.withComment(null as never), /^TypeError: .* event comment null/)
  assert.throws(() => SseEvent.new(undefined as never), /^TypeError: .* event data undefined/)
  assert.throws(
    () => SseEvent.comment(undefined as never),
    /^TypeError: .* event comment undefined/,
  )
  const unfinished = SseEvent.comment('c').withType('t')
  assert.throws(() => encodeEvent(unfinished), /of type "t" without data/)
  assert.equal(encodeEvent(unfinished.withData('d')), ': c\nevent: t\ndata: d\n\n')
  assert.deepEqual({ ...event }, fieldsOf({ data: 'a' }))
})

test('SseEvent.from takes a string, fields, and an event as it is', () => {
  const event = SseEvent.new('x')
  assert.equal(SseEvent.from(event), event)
  assert.deepEqual({ ...SseEvent.from('x') }, fieldsOf({ data: 'x' }))
  const fields = { data: 'x', type: 't', topic: 'news' }
  const made = SseEvent.from(fields)
  assert(made instanceof SseEvent)
  assert.deepEqual({ ...made }, fieldsOf({ data: 'x', type: 't' }))
  fields.data = 'changed'
  assert.equal(made.data, 'x')
})

test('SseEvent.from refuses what is no event', () => {
  for (const value of [undefined, null, 5, {}, []])
    assert.throws(() => SseEvent.from(value as Eventable), /^TypeError: Cannot send /)
})

test('[event-stream 1.6] a field whose getter changes its mind is checked and kept as it was read', () => {
  let reads = 0
  const turncoat = {
    data: 'x',
    get id() {
      return reads++ === 0 ? '1' : '1\ndata: owned'
    },
  }
  assert.equal(SseEvent.from(turncoat).id, '1')
  assert.equal(reads, 1)
})

test('the class is exported as SseEvent and as Event', () => {
  assert.equal(Exported, SseEvent)
  assert.equal(Event, SseEvent)
  assert.notEqual(Event, globalThis.Event)
})

function fieldsOf(fields: object): object {
  return {
    data: undefined,
    type: undefined,
    id: undefined,
    retry: undefined,
    comment: undefined,
    ...fields,
  }
}

test('[event-stream 4.1] what only has the prototype of an event is checked like anything else', () => {
  const forged = Object.assign(Object.create(SseEvent.prototype) as SseEvent, {
    data: 'x',
    id: '1\nevent: admin',
  })
  assert.equal(SseEvent.is(forged), false)
  assert.throws(() => encodeEvent(forged), /^TypeError: Cannot send the event id/)
  assert.throws(() => SseEvent.from(forged), /^TypeError: Cannot send the event id/)
})
