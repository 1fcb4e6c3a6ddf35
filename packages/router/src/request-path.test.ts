import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  collapseSlashes,
  decodeValue,
  normalizePath,
  normalizeText,
  restOfPath,
} from './request-path.ts'

test('a path has a slash in front, and never two in a row', () => {
  for (const [path, collapsed] of [
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a/b/', '/a/b/'],
    ['', '/'],
    ['a/b', '/a/b'],
    ['//a///b//', '/a/b/'],
    ['*', '/*'],
  ] as const) {
    assert.equal(collapseSlashes(path), collapsed)
  }
})

test('what may stand in a path is not escaped, the rest is, and %2F stays what it is', () => {
  for (const [text, normal] of [
    ['/a', '/a'],
    ['/%61%62', '/ab'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/café', '/caf%C3%A9'],
    ['/😀', '/%F0%9F%98%80'],
    ['/a%2fb%5C%00', '/a%2Fb%5C%00'],
    ['/%3a%40%2a%28%29%21', '/:@*()!'],
    ['/%2e%2e/', '/../'],
    ['/%', '/%'],
    ['/%zz%4', '/%zz%4'],
    ['/%25%32%46', '/%252F'],
    ['/a"b<c>d`e^f g', '/a%22b%3Cc%3Ed%60e%5Ef%20g'],
    ['/\ud800', '/%EF%BF%BD'],
    ["/~!$&'()*+,;=:@-._", "/~!$&'()*+,;=:@-._"],
    ['/[]|{}\\#?', '/%5B%5D%7C%7B%7D%5C%23%3F'],
  ] as const) {
    assert.equal(normalizeText(text), normal)
  }
})

test('bytes of a request that are UTF-8 are the text that they stand for', () => {
  const bytesOf = (text: string): string => Buffer.from(text).toString('latin1')
  for (const [path, normal] of [
    [bytesOf('/café/%c3%a9'), '/caf%C3%A9/%C3%A9'],
    [bytesOf('/🦜'), '/%F0%9F%A6%9C'],
    ['/café', '/caf%C3%A9'],
    ['/🦜', '/%F0%9F%A6%9C'],
    ['/a b', '/a%20b'],
    ['/\x80', '/%C2%80'],
  ] as const)
    assert.equal(normalizePath(path), normal)
})

test('the rest of a path begins with a slash', () => {
  for (const [path, segments, rest] of [
    ['/', 0, '/'],
    ['/a/b', 0, '/a/b'],
    ['/a', 1, '/'],
    ['/a/', 1, '/'],
    ['/a/b/c/', 1, '/b/c/'],
    ['/a/b/c', 2, '/c'],
    ['/a', 3, '/'],
  ] as const) {
    assert.equal(restOfPath(path, segments), rest)
  }
})

test('a value is percent-decoded; one with a malformed escape stays as it is', () => {
  for (const [value, decoded] of [
    ['abc', 'abc'],
    ['a%20b%2Fc', 'a b/c'],
    ['a+b', 'a+b'],
    ['caf%C3%A9', 'café'],
    ['%', '%'],
    ['%zz', '%zz'],
    ['%41%zz', '%41%zz'],
    ['%FF', '%FF'],
    ['%C3%28', '%C3%28'],
    ['%ED%A0%80', '%ED%A0%80'],
  ] as const) {
    assert.equal(decodeValue(value), decoded)
  }
})
