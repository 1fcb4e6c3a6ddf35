import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'

import { logger } from './logger.ts'

/** A logger that keeps its lines, with the times, which are never twice the same, as `<time>`. */
function kept() {
  const lines: string[] = []
  const log = (line: string): void => {
    lines.push(line.replace(/ \d+\.\dm?s\b/, ' <time>'))
  }
  return { lines, logger: logger({ log }) }
}

test('a request is one line: version, method, target, status and time', async () => {
  const { lines, logger } = kept()
  const app = testApp([logger, (conn) => conn.ok('hello')])
  await app.get('/events?a=b')
  await app.post('/')
  await app.request('HEAD', '/', { httpVersion: '1.0' })
  assert.deepEqual(lines, [
    'HTTP/1.1 GET /events?a=b 200 <time>',
    'HTTP/1.1 POST / 200 <time>',
    'HTTP/1.0 HEAD / 200 <time>',
  ])
})

test('the status is the one that was sent: 404 where nobody answered, 500 after an error', async () => {
  const { lines, logger } = kept()
  const app = testApp([
    logger,
    (conn) => {
      if (conn.path === '/throws') throw new Error('no')
      if (conn.path === '/framing') conn.withResponseHeader('Content-Length', 7).ok('hello')
      if (conn.path === '/late') conn.ok('hello')
    },
    { beforeSend: (conn) => void (conn.path === '/late' && conn.withStatus(418)) },
  ])
  for (const path of ['/nobody', '/throws', '/framing', '/late']) await app.get(path)
  assert.deepEqual(lines, [
    'HTTP/1.1 GET /nobody 404 <time>',
    'HTTP/1.1 GET /throws 500 <time>',
    'HTTP/1.1 GET /framing 500 <time>',
    'HTTP/1.1 GET /late 418 <time>',
  ])
})

test('a stream is logged when it ends', async () => {
  const { lines, logger } = kept()
  let go = (): void => {}
  const app = testApp([
    logger,
    (conn) =>
      conn.ok(
        (async function* () {
          yield 'one'
          await new Promise<void>((resolve) => (go = resolve))
        })(),
      ),
  ])
  const response = app.get('/stream')
  while (go.name !== '') await Promise.resolve()
  assert.deepEqual(lines, [])
  go()
  await response
  assert.deepEqual(lines, ['HTTP/1.1 GET /stream 200 <time>'])
})

test('a response that the client did not get whole is marked as cut', async () => {
  const { lines, logger } = kept()
  const app = testApp([
    logger,
    (conn) =>
      conn.ok(
        // oxlint-disable-next-line require-yield -- it fails before it could
        (async function* () {
          throw new Error('no')
        })(),
      ),
  ])
  await app.get('/')
  assert.deepEqual(lines, ['HTTP/1.1 GET / 200 <time> (cut)'])
})

test('a request that was halted before the logger is not logged', async () => {
  const { lines, logger } = kept()
  const app = testApp([
    (conn) => (conn.path === '/health' ? conn.ok('fine') : conn),
    logger,
    'hello',
  ])
  await app.get('/health')
  await app.get('/')
  assert.deepEqual(lines, ['HTTP/1.1 GET / 200 <time>'])
})

test('the line comes after what other handlers do in beforeSend, and their afterSend', async () => {
  const steps: string[] = []
  const app = testApp([
    logger({ log: () => steps.push('line') }),
    {
      beforeSend: (conn) => {
        steps.push('beforeSend')
        conn.afterSend(() => steps.push('afterSend'))
      },
    },
    'hello',
  ])
  await app.get('/')
  assert.deepEqual(steps, ['beforeSend', 'afterSend', 'line'])
})

test('a time is in milliseconds with one decimal, and in seconds from one second on', async (t) => {
  const lines: string[] = []
  const app = testApp([logger({ log: (line) => lines.push(line) }), 'hello'])
  const times = [0, 12.34, 999.94, 1000, 61_250]
  for (const time of times) {
    let calls = 0
    t.mock.method(performance, 'now', () => (calls++ === 0 ? 5000 : 5000 + time))
    await app.get('/')
    t.mock.restoreAll()
  }
  assert.deepEqual(
    lines.map((line) => line.split(' ').at(-1)),
    ['0.0ms', '12.3ms', '999.9ms', '1.0s', '61.3s'],
  )
})

test('lines go to console.log unless told otherwise', async (t) => {
  const log = t.mock.method(console, 'log', () => {})
  await testApp([logger(), 'hello']).get('/')
  assert.equal(log.mock.callCount(), 1)
  assert.match(String(log.mock.calls[0]!.arguments[0]), /^HTTP\/1\.1 GET \/ 200 \d+\.\dms$/)
})
