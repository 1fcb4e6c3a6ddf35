import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from './testing.ts'
import type { TestResponse } from './testing.ts'

const app = testApp([
  function early(conn) {
    if (conn.path === '/fails') throw new Error('boom')
    if (conn.path === '/long') return conn.ok('x'.repeat(300))
    if (conn.path === '/cut') return conn.ok(failing())
    conn.responseHeaders.append('Tag', ['a', 'b'])
    return conn.json({ name: 'Fern', tags: [{ b: 1, a: null }], born: new Date(0) })
  },
])

test('assertions that hold return the response', async () => {
  const response = await app.get('/')
  const value = { born: '1970-01-01T00:00:00.000Z', name: 'Fern', tags: [{ a: null, b: 1 }] }
  assert.equal(
    response
      .assertOk()
      .assertStatus(200)
      .assertHeader('content-type', 'application/json')
      .assertHeader('content-length', 75)
      .assertHeader('tag', 'a, b')
      .assertHeader('tag', ['a', 'b'])
      .assertNoHeader('etag')
      .assertBody(response.body)
      .assertBodyIncludes('Fern')
      .assertJson(value)
      .assertJson({ ...value, born: new Date(0), gone: undefined }),
    response,
  )
})

const failures: [
  target: string,
  assertion: (response: TestResponse) => void,
  message: string,
  actual: unknown,
  expected: unknown,
][] = [
  [
    '/a?b',
    (response) => response.assertStatus(404),
    'GET /a?b to answer with status 404, but got 200 with the body "{\\"name\\":\\"Fern\\",\\"tags\\":[{\\"b\\":1,\\"a\\":null}],\\"born\\":\\"1970-01-..."',
    200,
    404,
  ],
  [
    '/fails',
    (response) => response.assertOk(),
    'GET /fails to answer with status 200, but got 500: app[0] "early" has failed: Error: boom',
    500,
    200,
  ],
  [
    '/',
    (response) => response.assertHeader('ETag', '"1"'),
    'GET / to answer with the header ETag "\\"1\\"", but got none',
    undefined,
    '"1"',
  ],
  [
    '/',
    (response) => response.assertHeader('tag', ['b', 'a']),
    'GET / to answer with the header tag ["b","a"], but got ["a","b"]',
    ['a', 'b'],
    ['b', 'a'],
  ],
  [
    '/',
    (response) => response.assertNoHeader('tag'),
    'GET / to answer with no header tag, but got "a, b"',
    'a, b',
    undefined,
  ],
  [
    '/cut',
    (response) => response.assertBody('one two'),
    'GET /cut to answer with the body "one two", but got the body "one ", which broke off: the response body has failed: Error: boom',
    'one ',
    'one two',
  ],
  [
    '/long',
    (response) => response.assertBodyIncludes('y'),
    `GET /long to answer with a body that has "y" in it, but got the body "${'x'.repeat(57)}..."`,
    'x'.repeat(300),
    'y',
  ],
  [
    '/long',
    (response) => response.assertJson(undefined),
    `GET /long to answer with the JSON undefined, but got the body "${'x'.repeat(57)}..."`,
    'x'.repeat(300),
    undefined,
  ],
  [
    '/',
    (response) => response.assertJson('x'.repeat(300)),
    `GET / to answer with the JSON "${'x'.repeat(196)}..., but got {"born":"1970-01-01T00:00:00.000Z","name":"Fern","tags":[{"a":null,"b":1}]}`,
    { born: '1970-01-01T00:00:00.000Z', name: 'Fern', tags: [{ a: null, b: 1 }] },
    'x'.repeat(300),
  ],
  [
    '/',
    (response) => response.assertJson(undefined),
    `GET / to answer with the JSON undefined, but got {"born":"1970-01-01T00:00:00.000Z","name":"Fern","tags":[{"a":null,"b":1}]}`,
    { born: '1970-01-01T00:00:00.000Z', name: 'Fern', tags: [{ a: null, b: 1 }] },
    undefined,
  ],
]

for (const [target, assertion, message, actual, expected] of failures) {
  test(`an assertion says: ${message.slice(0, 100)}`, async () => {
    const response = await app.get(target)
    const error: Error & Record<string, unknown> = thrown(() => assertion(response))
    assert.equal(error.message, `Expected ${message}`)
    const { name, code } = error
    assert.deepEqual([name, code], ['AssertionError', 'ERR_ASSERTION'])
    assert.deepEqual([error.actual, error.expected], [actual, expected])
    assert.match(assertion.toString(), new RegExp(`\\.${String(error.operator)}\\(`))
    assert.match(error.stack!.split('\n    at ')[1]!, /test-response\.test\.ts/)
    const hasFailed = target === '/fails' || target === '/cut'
    assert.equal(String(error.cause), hasFailed ? 'Error: boom' : 'undefined')
  })
}

test('state() is what the conn holds', async () => {
  class Fern {
    readonly isGreen = true
  }
  const response = await testApp((conn) => conn.withState(new Fern())).get('/')
  assert.equal(response.state(Fern)?.isGreen, true)
})

async function* failing(): AsyncGenerator<string> {
  yield 'one '
  throw new Error('boom')
}

function thrown(run: () => void): never {
  try {
    run()
  } catch (error) {
    return error as never
  }
  return assert.fail('nothing was thrown')
}
