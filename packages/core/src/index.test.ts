import assert from 'node:assert/strict'
import { test } from 'node:test'

import * as adapter from './adapter.ts'
import * as core from './index.ts'
import * as testing from './testing.ts'

test('@wakerobin/core exports the public names and nothing else', () => {
  assert.deepEqual(Object.keys(core).toSorted(), [
    'BodyAbortedError',
    'BodyTooLongError',
    'Conn',
    'GuardReport',
    'HeaderMap',
    'Info',
    'Init',
    'MalformedBodyError',
    'ShuttingDown',
    'State',
    'Status',
    'Swansong',
    'handlers',
    'isIdempotent',
    'isMethod',
    'isSafe',
    'reasonPhrase',
    'status',
    'statusKind',
  ])
})

test('@wakerobin/core/adapter exports what a server needs, none of it public', () => {
  const names = Object.keys(adapter)
  for (const name of [
    'compile',
    'finalize',
    'failConn',
    'forwardConn',
    'onErrorOf',
    'toBodySource',
    'Announced',
    'settleConn',
    'hasAfterSend',
    'PullSource',
    'StateMap',
    'Chunk',
  ]) {
    assert.ok(names.includes(name), name)
  }
  for (const name of names) assert.equal(name in core, false, name)
})

test('@wakerobin/core/testing exports testApp and its classes', () => {
  assert.deepEqual(Object.keys(testing).toSorted(), [
    'DeadlineError',
    'OpenResponse',
    'TestApp',
    'TestResponse',
    'testApp',
  ])
})
