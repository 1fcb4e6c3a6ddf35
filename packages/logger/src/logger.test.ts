import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import type { Conn, Handler } from '@wakerobin/core'
import { failConn, settleConn } from '@wakerobin/core/adapter'
import { testApp } from '@wakerobin/core/testing'

import { source } from '../fixtures/source.ts'
import { logger, type LoggerOptions } from './logger.ts'
import type { LogTarget } from './target.ts'

/** Node's test runner forces colours where it is on a terminal itself. */
function withoutForcedColors(t: TestContext): void {
  const { FORCE_COLOR, NO_COLOR } = process.env
  t.after(() => {
    if (FORCE_COLOR !== undefined) process.env['FORCE_COLOR'] = FORCE_COLOR
    if (NO_COLOR === undefined) delete process.env['NO_COLOR']
  })
  delete process.env['FORCE_COLOR']
  process.env['NO_COLOR'] = '1'
}

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

test('a body that comes in parts and has an end is logged when that has come', async () => {
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
  assert.equal((await response).body, 'one')
  assert.deepEqual(lines, ['HTTP/1.1 GET /stream 200 <time>'])
})

test('a response that broke off is marked as cut, one whose client has left as that', async () => {
  const { lines, logger } = kept()
  const app = testApp([
    logger,
    (conn) =>
      conn.ok(
        (async function* () {
          yield 'one'
          if (conn.path === '/fails') throw new Error('no')
          await new Promise(() => {})
        })(),
      ),
  ])
  await app.get('/fails')
  const response = await app.open('/waits')
  response.leave()
  await app.idle()
  assert.deepEqual(lines, [
    'HTTP/1.1 GET /fails 200 <time> (cut)',
    'HTTP/1.1 GET /waits 200 <time> (client left)',
  ])
})

test('a request whose handlers are not done when it is answered is logged then, and once', async () => {
  const { lines, logger } = kept()
  let conn!: Conn
  let go = (): void => {}
  const app = testApp([
    logger,
    async (given) => {
      conn = given
      await new Promise<void>((resolve) => (go = resolve))
      return given.withBody(source({ isEndless: true, text: 'late', ends: true })).halt()
    },
  ])
  const answered = app.get('/hangs')
  while (go.name !== '') await Promise.resolve()
  // As a server does at the end of the time for handlers.
  failConn(conn, 503)
  settleConn(conn, true, assert.ifError)
  assert.deepEqual(lines, ['HTTP/1.1 GET /hangs 503 <time>'])
  go()
  await answered
  assert.equal(lines.length, 1)
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

test('two loggers log what each was reached by', async () => {
  const first = kept()
  const second = kept()
  const app = testApp([
    first.logger,
    (conn) => (conn.path === '/health' ? conn.ok('fine') : conn),
    second.logger,
    (conn) => conn.ok(source({ isEndless: true, text: 'x', ends: true })),
  ])
  await app.get('/health')
  await app.get('/')
  const stream = [
    'HTTP/1.1 GET / 200 <time> (stream opened)',
    'HTTP/1.1 GET / 200 <time> (stream ended)',
  ]
  assert.deepEqual(first.lines, ['HTTP/1.1 GET /health 200 <time>', ...stream])
  assert.deepEqual(second.lines, stream)
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
  withoutForcedColors(t)
  const log = t.mock.method(console, 'log', () => {})
  await testApp([logger(), 'hello']).get('/')
  assert.equal(log.mock.callCount(), 1)
  assert.match(String(log.mock.calls[0]!.arguments[0]), /^HTTP\/1\.1 GET \/ 200 \d+\.\dms$/)
})

test('5xx and what the server has cut go to error, all else to info', async () => {
  const calls: string[] = []
  const log: LogTarget = {
    info: (line) => calls.push(`info ${line.split(' ')[2]}`),
    error: (line) => calls.push(`error ${line.split(' ')[2]}`),
  }
  const handler: Handler = (conn) => {
    const { path } = conn
    if (path === '/cut') return conn.ok(source({ text: 'x', cuts: true }))
    if (path === '/left') return conn.ok(source({ text: 'x' }))
    return conn.withStatus(Number(path.slice(1))).halt()
  }
  const app = testApp([logger({ log }), handler])
  for (const status of [200, 301, 404, 499, 500, 503]) await app.get(`/${status}`)
  await app.get('/cut')
  const response = await app.open('/left')
  response.leave()
  await app.idle()
  assert.deepEqual(calls, [
    'info /200',
    'info /301',
    'info /404',
    'info /499',
    'error /500',
    'error /503',
    'error /cut',
    'info /left',
  ])
})

test('the methods of a log are called on it', async () => {
  class Log implements LogTarget {
    readonly #lines: string[] = []
    info(line: string): void {
      this.#lines.push(line)
    }
    error(line: string): void {
      this.#lines.push(line)
    }
    get count(): number {
      return this.#lines.length
    }
  }
  const log = new Log()
  const app = testApp([logger({ log }), (conn) => conn.withStatus(conn.path === '/' ? 200 : 500)])
  await app.get('/')
  await app.get('/500')
  assert.equal(log.count, 2)
})

test('a log that throws or rejects, and a format that throws, are reported and hurt nobody', async () => {
  const fail = (): never => {
    throw new Error('the disk is full')
  }
  const broken: LoggerOptions[] = [
    { log: fail },
    { log: { info: fail, error: fail } },
    { log: async () => fail() },
    { format: fail },
  ]
  for (const options of broken) {
    const app = testApp([
      logger(options),
      (conn) =>
        conn.path === '/stream'
          ? conn.ok(source({ text: 'one', ends: true, isEndless: true }))
          : conn.ok('hello'),
    ])
    const response = await app.get('/')
    assert.equal(response.status, 200)
    assert.equal(response.body, 'hello')
    const stream = await app.get('/stream')
    assert.equal(stream.body, 'one')
    assert.equal(stream.isCut, false)
    await Promise.resolve()
    assert.equal(app.errors.length, 3) // a line, and the two of the stream
    for (const { error, place } of app.errors) {
      assert.equal((error as Error).message, 'the disk is full')
      assert.equal(place, 'logger')
    }
  }
})

test('a format may pass a request over, and give the log an object', async () => {
  const logged: unknown[] = []
  const app = testApp([
    logger({
      format: ({ conn, status }) => (conn.path === '/health' ? undefined : { status }),
      log: (line) => logged.push(line),
    }),
    'hello',
  ])
  await app.get('/health')
  await app.get('/')
  assert.deepEqual(logged, [{ status: 200 }])
})

test('options that cannot be used are refused, with what would be right', () => {
  const kinds =
    'expected a function of the line, or an object with info and error, as console and a pino or winston logger are'
  const cases: readonly [options: unknown, message: string][] = [
    [
      { format: 'apache' },
      'Cannot log in the format "apache": it must be dev, common, combined, json or a function of the entry',
    ],
    [{ log: 'stdout' }, `Cannot log to "stdout": ${kinds}`],
    [{ log: null }, `Cannot log to null: ${kinds}`],
    [{ log: { info() {} } }, `Cannot log to a plain object: ${kinds}`],
    [
      { colour: false },
      'Cannot log with colour: there is no such option; there are format, log, colors and streamOpenings',
    ],
    [{ colors: 'auto' }, 'Cannot log with colors "auto": it must be true or false'],
    [{ streamOpenings: 'no' }, 'Cannot log with streamOpenings "no": it must be true or false'],
  ]
  for (const [options, message] of cases)
    assert.throws(() => logger(options as LoggerOptions), { name: 'TypeError', message })
})
