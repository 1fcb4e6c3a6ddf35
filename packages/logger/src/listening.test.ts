import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Listener } from '@wakerobin/core'
import { Announced } from '@wakerobin/core/adapter'
import { testApp } from '@wakerobin/core/testing'

import { listening, type ListeningOptions } from './listening.ts'

const listeners: readonly Listener[] = [
  { kind: 'tcp', host: '127.0.0.1', port: 8080, isSecure: false },
  { kind: 'tcp', host: '::1', port: 8080, isSecure: false },
]
const url = 'http://localhost:8080/'

async function linesOf(
  options: ListeningOptions,
  server: { listeners?: readonly Listener[]; url?: string } = { listeners, url },
): Promise<string[]> {
  const lines: string[] = []
  const log = (line: string): void => void lines.push(line)
  const app = testApp([listening({ log, ...options }), 'hello'], server)
  await app.init()
  await app.get('/')
  return lines
}

test('where the server listens is one line, before anything is served', async () => {
  assert.deepEqual(await linesOf({}), [
    'Listening at http://localhost:8080/ (127.0.0.1:8080, [::1]:8080)',
  ])
  const unix = { listeners: [{ kind: 'unix', path: '/run/app.sock', isSecure: false }] as const }
  assert.deepEqual(await linesOf({}, unix), ['Listening at /run/app.sock (/run/app.sock)'])
  const other = {
    listeners: [{ kind: 'other', description: 'a worker', isSecure: false }] as const,
  }
  assert.deepEqual(await linesOf({}, other), ['Listening at a worker (a worker)'])
  const secure = {
    listeners: [{ kind: 'tcp', host: '::', port: 443, isSecure: true }] as const,
    url: 'https://localhost/',
  }
  assert.deepEqual(await linesOf({}, secure), [
    'Listening at https://localhost/ ([::]:443 with TLS)',
  ])
  assert.deepEqual(await linesOf({}, {}), ['Started'])
  assert.deepEqual(await linesOf({}, { url }), [`Listening at ${url}`])
})

test('the same as JSON', async () => {
  const [line] = await linesOf({ format: 'json' })
  const { timestamp, ...rest } = JSON.parse(line!)
  assert.ok(!Number.isNaN(Date.parse(timestamp)))
  assert.deepEqual(rest, {
    severity: 'INFO',
    message: 'Listening at http://localhost:8080/ (127.0.0.1:8080, [::1]:8080)',
    'event.name': 'server.listening',
    'url.full': url,
    listeners: ['127.0.0.1:8080', '[::1]:8080'],
  })
})

test('whoever asks is told that it was said', async () => {
  const app = testApp([
    listening({ log: () => {} }),
    (conn) => conn.json(conn.sharedState(Announced)),
  ])
  assert.equal((await app.get('/')).body, 'true')
})

test('a log that fails does not keep the server from starting, and nothing was said then', async (t) => {
  const error = t.mock.method(console, 'error', () => {})
  const fail = (): never => {
    throw new Error('no')
  }
  const app = testApp([
    listening({ log: { info: fail, error: fail } }),
    (conn) => conn.json(conn.sharedState(Announced) ?? null),
  ])
  assert.equal((await app.get('/')).body, 'null')
  assert.equal(
    (await testApp([listening({ log: async () => fail() }), 'hello']).get('/')).status,
    200,
  )
  await Promise.resolve()
  assert.equal(error.mock.callCount(), 2)
})

test('options that cannot be used are refused', () => {
  assert.throws(() => listening({ format: 'dev' as 'text' }), {
    message: 'Cannot log where it listens in the format "dev": it must be text or json',
  })
  assert.throws(() => listening({ log: 1 as never }), TypeError)
  assert.throws(() => listening({ fromat: 'json' } as never), {
    name: 'TypeError',
    message:
      'Cannot log where it listens with fromat: there is no such option; there are format and log',
  })
})
