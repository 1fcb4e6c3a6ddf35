import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  BodyAbortedError,
  BodyTooLongError,
  clientErrorStatus,
  MalformedBodyError,
} from './errors.ts'
import { testApp } from './testing.ts'

test('each error has a name, a message, the fitting base class and its cause', () => {
  const cause = new Error('why')
  const tooLong = new BodyTooLongError(10, { cause })
  assert.ok(tooLong instanceof RangeError)
  assert.equal(
    String(tooLong),
    'BodyTooLongError: Cannot read the request body: it is longer than 10 bytes',
  )
  assert.equal(tooLong.limitBytes, 10)
  assert.equal(tooLong.cause, cause)
  const malformed = new MalformedBodyError('Cannot read it', { cause })
  assert.ok(malformed instanceof SyntaxError)
  assert.equal(String(malformed), 'MalformedBodyError: Cannot read it')
  assert.equal(malformed.cause, cause)
  const aborted = new BodyAbortedError({ cause })
  assert.ok(aborted instanceof Error)
  assert.equal(
    String(aborted),
    'BodyAbortedError: Cannot read the request body: the client left before it was complete',
  )
  assert.equal(aborted.cause, cause)
  assert.equal('cause' in new BodyAbortedError(), false)
})

test('errors that are the client’s doing have a status, others have none', () => {
  assert.equal(clientErrorStatus(new BodyTooLongError(1)), 413)
  assert.equal(clientErrorStatus(new MalformedBodyError('x')), 400)
  assert.equal(clientErrorStatus(new BodyAbortedError()), 400)
  for (const error of [
    new Error('x'),
    new SyntaxError('x'),
    new RangeError('x'),
    { name: 'BodyTooLongError' },
    null,
    undefined,
  ]) {
    assert.equal(clientErrorStatus(error), undefined)
  }
})

test('a SyntaxError of the app’s own is a 500 and reported', async () => {
  const app = testApp((conn) => conn.json(JSON.parse('{')))
  assert.equal((await app.get('/')).status, 500)
  assert.equal(app.errors.length, 1)
})
