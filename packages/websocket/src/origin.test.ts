import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'

import { handshake } from '../fixtures/harness.ts'
import type { OriginPolicy } from './origin.ts'
import { websocket } from './websocket.ts'

async function statusOf(
  origin: string | undefined,
  origins?: OriginPolicy,
  host = 'example.com',
): Promise<number> {
  const app = testApp(websocket(() => {}, origins === undefined ? {} : { origins }))
  const fields = [...handshake({ Host: host, Origin: origin })]
  const headers = fields.map((field) => {
    const colon = field.indexOf(': ')
    return [field.slice(0, colon), field.slice(colon + 2)] as [string, string]
  })
  return (await app.get('/', { headers })).status
}

test('pages of the host that they connect to may connect, whatever encrypts in front of it', async () => {
  assert.equal(await statusOf('https://example.com'), 101)
  assert.equal(await statusOf('http://example.com'), 101)
  assert.equal(await statusOf('http://EXAMPLE.com'), 101)
  assert.equal(await statusOf('http://localhost:8080', undefined, 'localhost:8080'), 101)
  assert.equal(await statusOf('https://example.com', undefined, 'example.com:443'), 101)
  assert.equal(await statusOf('http://[::1]:8080', undefined, '[::1]:8080'), 101)
})

for (const origin of [
  'https://evil.test',
  'https://example.com.evil.test',
  'https://evil.test/example.com',
  'https://sub.example.com',
  'https://example.com:8443',
  'http://example.com:443',
  'https://user@evil.test',
  'null',
  '',
  'example.com',
  'file://',
]) {
  test(`a page of ${JSON.stringify(origin)} may not connect to example.com: 403`, async () => {
    assert.equal(await statusOf(origin), 403)
  })
}

test('who says no origin is no browser, and may connect', async () => {
  assert.equal(await statusOf(undefined), 101)
  assert.equal(await statusOf(undefined, []), 101)
  assert.equal(await statusOf(undefined, () => false), 101)
})

test('a list has all that may connect', async () => {
  const origins = ['https://app.example.com', 'http://localhost:3000', 'chrome-extension://abcdef']
  for (const origin of origins) assert.equal(await statusOf(origin, origins), 101, origin)
  for (const origin of ['https://example.com', 'http://app.example.com', 'http://localhost:3001'])
    assert.equal(await statusOf(origin, origins), 403, origin)
})

test('a function decides by the origin and the conn', async () => {
  const asked: string[] = []
  const origins: OriginPolicy = (origin, conn) => {
    asked.push(`${origin} ${conn.host}`)
    return origin.endsWith('.example.com')
  }
  assert.equal(await statusOf('https://a.example.com', origins), 101)
  assert.equal(await statusOf('null', origins), 403)
  assert.deepEqual(asked, ['https://a.example.com example.com', 'null example.com'])
})

test('two origins are a 403', async () => {
  const app = testApp(websocket(() => {}))
  const headers: [string, string][] = [
    ...handshake().map((field) => field.split(': ') as [string, string]),
    ['Host', 'example.com'],
    ['Origin', 'https://example.com'],
    ['Origin', 'https://example.com'],
  ]
  assert.equal((await app.get('/', { headers })).status, 403)
})

test('what is no origin cannot be listed', () => {
  for (const origin of [
    'example.com',
    'https://example.com/',
    'https://example.com:443',
    'https://Example.com',
    'null',
    '*',
    5,
  ]) {
    assert.throws(
      () => websocket(() => {}, { origins: [origin as string] }),
      /^RangeError: Cannot open WebSockets with the origin .*: it must be a scheme and a host/,
    )
  }
  assert.throws(
    () => websocket(() => {}, { origins: '*' as unknown as [] }),
    /^TypeError: Cannot open WebSockets with origins "\*": it must be a list of origins, or a function$/,
  )
})

test('a function that is async is an error, and lets nobody in', async () => {
  const origins = (async () => true) as unknown as OriginPolicy
  const app = testApp(websocket(() => {}, { origins }))
  const fields = handshake({ Host: 'a.test', Origin: 'https://a.test' })
  const headers = fields.map((field) => field.split(': ') as [string, string])
  assert.equal((await app.get('/', { headers })).status, 500)
  assert.equal(
    String(app.errors[0]!.error),
    'TypeError: Expected the function origins to return true or false, got an instance of Promise',
  )
})
