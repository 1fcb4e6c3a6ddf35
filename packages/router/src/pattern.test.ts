import assert from 'node:assert/strict'
import { test } from 'node:test'

import { comparePatterns, parsePattern } from './pattern.ts'

const parse = (path: unknown) => parsePattern(path, 'the route GET')

test('slashes at the beginning and the end of a path count for nothing', () => {
  for (const [given, text] of [
    ['', '/'],
    ['/', '/'],
    ['//', '/'],
    ['users', '/users'],
    ['/users/', '/users'],
    ['users/:id/', '/users/:id'],
    ['*', '/*'],
    ['/static/*', '/static/*'],
  ] as const) {
    assert.equal(parse(given).text, text)
  }
})

test('paths that differ in the names of parameters, or in how text is escaped, have one shape', () => {
  for (const [one, other] of [
    ['/users/:id', 'users/:name/'],
    ['/:a.:b', '/:file.:type'],
    ['/café', '/caf%c3%a9'],
    ['/%7Euser', '/~user'],
    ['/a b', '/a%20b'],
    ['/@:name', '/%40:name'],
  ] as const) {
    assert.equal(parse(one).shape, parse(other).shape)
    assert.equal(comparePatterns(parse(one), parse(other)), 0)
  }
  for (const [one, other] of [
    ['/a%2Fb', '/a/b'],
    ['/:id', '/%3Aid'],
    ['/*', '/%2A'],
    ['/Users', '/users'],
    ['/a', '/a/*'],
  ] as const) {
    assert.notEqual(parse(one).shape, parse(other).shape)
    assert.notEqual(comparePatterns(parse(one), parse(other)), 0)
  }
})

test('paths are ordered by the kind of their segments, one by one, and then by their number', () => {
  const paths = [
    '/',
    '/*',
    '/:id',
    '/:name.:type',
    '/:name.json',
    '/v:major',
    '/version:major',
    '/users',
    '/users/*',
    '/users/:id',
    '/users/:id/*',
    '/users/me',
    '/:a/users',
    '/:a.b/:c',
    '/:a-:b-:c',
    '/ab:a-:b',
  ]
  const ordered = [
    '/',
    '/users',
    '/users/me',
    '/users/:id',
    '/users/:id/*',
    '/users/*',
    '/version:major',
    '/v:major',
    '/:name.json',
    '/:a.b/:c',
    '/ab:a-:b',
    '/:a-:b-:c',
    '/:name.:type',
    '/:id',
    '/:a/users',
    '/*',
  ]
  const sorted = (list: readonly string[]) =>
    list
      .map(parse)
      .sort(comparePatterns)
      .map(({ text }) => text)
  assert.deepEqual(sorted(paths), ordered)
  assert.deepEqual(sorted(paths.toReversed()), ordered)
})

test('a path that cannot be parsed is refused, with what would be right', () => {
  for (const [path, why] of [
    ['/a//b', 'it has two slashes in a row, which no request has here'],
    ['/a/../b', 'clients resolve ".." themselves'],
    ['/a/%2E', 'clients resolve "%2E" themselves'],
    ['/*/a', `"*" stands alone, as the last segment, and has no name: conn.param('*') reads it`],
    [
      '/a/*rest',
      `"*" stands alone, as the last segment, and has no name: conn.param('*') reads it`,
    ],
    ['/a*', `"*" stands alone, as the last segment, and has no name: conn.param('*') reads it`],
    ['/**', `"*" stands alone, as the last segment, and has no name: conn.param('*') reads it`],
    [
      '/:',
      'after ":" comes the name of a parameter, of letters, digits and "_"; text with a colon is written "%3A"',
    ],
    [
      '/:1',
      'after ":" comes the name of a parameter, of letters, digits and "_"; text with a colon is written "%3A"',
    ],
    [
      '/a::b',
      'after ":" comes the name of a parameter, of letters, digits and "_"; text with a colon is written "%3A"',
    ],
    ['/:id/:id', 'it has two parameters "id"'],
    ['/:a:b', 'nothing tells where the first of two parameters ends: put text between them'],
    [
      '/:id(\\d+)',
      '"(" means nothing here: a path is text, ":name" and, at its end, "*"; as text it is "%28"',
    ],
    [
      '/:id?',
      '"?" means nothing here: a path is text, ":name" and, at its end, "*"; as text it is "%3F"',
    ],
    [
      '/a{/:b}',
      '"{" means nothing here: a path is text, ":name" and, at its end, "*"; as text it is "%7B"',
    ],
    [
      '/a#b',
      '"#" means nothing here: a path is text, ":name" and, at its end, "*"; as text it is "%23"',
    ],
    [
      '/a\\b',
      '"\\\\" means nothing here: a path is text, ":name" and, at its end, "*"; as text it is "%5C"',
    ],
    ['/100%', '"%" begins an escape; write "%25" for the sign'],
  ] as const) {
    assert.throws(() => parse(path), {
      name: 'SyntaxError',
      message: `Cannot add the route GET ${JSON.stringify(path)}: ${why}`,
    })
  }
  assert.throws(() => parse(/^\/users/), {
    name: 'TypeError',
    message: 'Cannot add the route GET an instance of RegExp: a path is text, as "/users/:id"',
  })
})
