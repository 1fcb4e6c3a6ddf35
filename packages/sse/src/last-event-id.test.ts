import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connOf } from '../fixtures/fake-client.ts'
import { lastEventId } from './index.ts'

test('the id is what the client says in Last-Event-ID', () => {
  for (const [bytes, id] of [
    ['7', '7'],
    ['0', '0'],
    ['a b', 'a b'],
    ['2026-11-22T10:00:00Z/17', '2026-11-22T10:00:00Z/17'],
    ['\u00c3\u00a9', 'é'], // UTF-8, as Chromium sends it
    ['\u00e9', 'é'], // latin1, as npm eventsource and undici send it
    ['\u00e2\u0080\u00a6', '…'],
    ['\u00f0\u009f\u008c\u00bf', '🌿'],
  ] as const)
    assert.equal(lastEventId(connOf('/', ['Last-Event-ID', bytes])), id)
})

test('the name of the field is read in any case', () => {
  assert.equal(lastEventId(connOf('/', ['last-event-id', '7'])), '7')
  assert.equal(lastEventId(connOf('/', ['LAST-EVENT-ID', '7'])), '7')
})

test('there is none where the client says nothing, or that it has none', () => {
  assert.equal(lastEventId(connOf('/')), undefined)
  assert.equal(lastEventId(connOf('/', ['Last-Event-ID', ''])), undefined)
  assert.equal(lastEventId(connOf('/?last-event-id=7')), undefined)
})

test("several ids are nobody's, and as good as none", () => {
  const twice = ['Last-Event-ID', '7', 'last-event-id', '8']
  assert.equal(lastEventId(connOf('/', twice)), undefined)
  assert.equal(lastEventId(connOf('/?after=9', twice), { query: 'after' }), '9')
})

test('a query parameter counts where there is no header, and only where it is asked for', () => {
  const options = { query: 'after' }
  assert.equal(lastEventId(connOf('/?after=7'), options), '7')
  assert.equal(lastEventId(connOf('/?after=7'), {}), undefined)
  assert.equal(lastEventId(connOf('/?after=%E2%80%A6+1'), options), '… 1')
  assert.equal(lastEventId(connOf('/?after=7', ['Last-Event-ID', '9']), options), '9')
  assert.equal(lastEventId(connOf('/?after=7', ['Last-Event-ID', '']), options), '7')
  assert.equal(lastEventId(connOf('/?after='), options), undefined)
  assert.equal(lastEventId(connOf('/?before=7'), options), undefined)
})
