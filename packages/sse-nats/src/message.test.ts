import assert from 'node:assert/strict'
import { test } from 'node:test'

import { headers } from '@nats-io/transport-node'

import { readEvent, writeEvent } from './message.ts'

const payload = new TextEncoder().encode('data: 1\n\n')

function read(header: string): unknown {
  const fields = headers()
  fields.set('Wakerobin-Event', header)
  return readEvent(payload, fields)
}

test('topics and a key come back as they were written', () => {
  for (const event of [{}, { topics: [] }, { topics: ['a', 'b'] }, { key: '' }]) {
    const fields = headers()
    writeEvent({ text: 'data: 1\n\n', ...event }, fields)
    assert.deepEqual(
      { ...readEvent(payload, fields) },
      {
        text: 'data: 1\n\n',
        topics: undefined,
        key: undefined,
        ...event,
      },
    )
  }
})

test('a header that is not as it should be makes a comment of a message: it comes from anyone', () => {
  const wrong = [
    '{"topics":5}',
    '{"topics":null}',
    '{"topics":"a"}',
    '{"topics":["a",1]}',
    '{"topics":{"length":1}}',
    '{"key":5}',
    '{"key":null}',
    'null',
    '5',
    '"a"',
    '{',
  ]
  for (const header of wrong)
    assert.deepEqual(read(header), { text: ': a message that is no event\n' }, header)
})
