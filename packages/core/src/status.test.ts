import assert from 'node:assert/strict'
import { STATUS_CODES } from 'node:http'
import { test } from 'node:test'

import { checkStatus, reasonPhrase, Status, status, statusKind } from './status.ts'
import { testApp } from './testing.ts'

test('reason phrases are those of the IANA registry, as node has them where it has not fallen behind', () => {
  // Node keeps names that RFC 9110 §15 has replaced, and one that was withdrawn.
  const renamed = new Map([
    [413, 'Content Too Large'],
    [422, 'Unprocessable Content'],
    [418, "I'm a teapot"],
    [509, ''],
  ])
  for (const [code, phrase] of Object.entries(STATUS_CODES)) {
    assert.equal(reasonPhrase(Number(code)), renamed.get(Number(code)) ?? phrase, code)
  }
})

test('a status without a registered phrase has an empty one', () => {
  for (const code of [0, 199, 299, 420, 599, 1000, Number.NaN]) assert.equal(reasonPhrase(code), '')
})

test('the kind of a status is told by its first digit', () => {
  const kinds = [100, 199, 200, 299, 300, 399, 400, 499, 500, 599].map(statusKind)
  assert.deepEqual(kinds, [
    'informational',
    'informational',
    'success',
    'success',
    'redirection',
    'redirection',
    'client-error',
    'client-error',
    'server-error',
    'server-error',
  ])
})

test('a status knows its phrase, its kind and its name', () => {
  const teapot = status(418)
  assert.ok(teapot instanceof Status)
  assert.equal(teapot.code, 418)
  assert.equal(teapot.reasonPhrase, "I'm a teapot")
  assert.equal(teapot.kind, 'client-error')
  assert.equal(teapot.name, 'status(418)')
  assert.equal(`${teapot}`, "418 I'm a teapot")
  assert.equal(`${status(299)}`, '299')
})

test('only integers from 200 to 599, and 101, are a status', () => {
  assert.equal(checkStatus(200), 200)
  assert.equal(checkStatus(599), 599)
  for (const code of [100, 199, 600, 200.5, Number.NaN, -404, '404']) {
    const expected = {
      name: 'RangeError',
      message: /^Cannot set the status .*: it must be an integer from 200 to 599, or 101$/,
    }
    assert.throws(() => status(code as number), expected)
    assert.throws(() => checkStatus(code as number), expected)
  }
})

test('a status that a later handler sets wins', async () => {
  assert.equal((await testApp([status(201), status(202)]).get('/')).status, 202)
})
