import assert from 'node:assert/strict'
import { test } from 'node:test'

import { isIdempotent, isMethod, isSafe } from './method.ts'
import type { Method } from './method.ts'

test('methods are the forty that Trillium lists, in capitals', () => {
  const list =
    'ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL'
  const methods = list.split(' ')
  assert.equal(methods.length, 40)
  for (const method of methods) {
    assert.equal(isMethod(method), true, method)
    assert.equal(isMethod(method.toLowerCase()), false, method)
  }
  for (const text of ['', 'GETS', 'PURGE', 'M-SEARCH', ' GET', 'constructor', '__proto__'])
    assert.equal(isMethod(text), false, text)
})

test('safe methods ask for no change, idempotent ones may be repeated', () => {
  const safe: Method[] = [
    'GET',
    'HEAD',
    'OPTIONS',
    'PRI',
    'PROPFIND',
    'QUERY',
    'REPORT',
    'SEARCH',
    'TRACE',
  ]
  for (const method of safe)
    assert.deepEqual([isSafe(method), isIdempotent(method)], [true, true], method)
  for (const method of ['PUT', 'DELETE'] as const)
    assert.deepEqual([isSafe(method), isIdempotent(method)], [false, true], method)
  for (const method of ['POST', 'PATCH', 'CONNECT', 'LOCK'] as const)
    assert.deepEqual([isSafe(method), isIdempotent(method)], [false, false], method)
})
