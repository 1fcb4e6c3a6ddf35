import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp, type TestRequest } from '@wakerobin/core/testing'

import { source } from '../fixtures/source.ts'
import { apache, record } from './formats.ts'
import { logger, type LoggerOptions } from './logger.ts'

const chrome = 'Mozilla/5.0 (X11; Linux x86_64)'

/** What is logged of one request for a target, in a time zone of its own. */
async function linesOf(
  options: LoggerOptions<any>,
  target = '/a?b=c',
  request: TestRequest = {},
): Promise<any[]> {
  const lines: unknown[] = []
  const app = testApp([
    logger({ ...options, log: (line) => lines.push(line) }),
    (conn) => {
      if (conn.path === '/empty') return conn.withStatus(204).halt()
      if (conn.path === '/stream')
        return conn.ok(source({ isEndless: true, text: 'x', ends: true }))
      if (conn.path === '/500') return conn.withStatus(500).halt()
      return conn.ok('größer')
    },
  ])
  await app.get(target, request)
  assert.deepEqual(app.errors, [])
  return lines
}

const time = /\[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]/

test('the common and the combined format are those of Apache', async () => {
  const headers = { 'User-Agent': chrome, Referer: 'http://example.com/' }
  const [common] = await linesOf({ format: 'common' }, undefined, { headers })
  assert.match(common, time)
  assert.equal(common.replace(time, '[t]'), '127.0.0.1 - - [t] "GET /a?b=c HTTP/1.1" 200 8')
  const [combined] = await linesOf({ format: 'combined' }, undefined, { headers })
  assert.equal(
    combined.replace(time, '[t]'),
    `127.0.0.1 - - [t] "GET /a?b=c HTTP/1.1" 200 8 "http://example.com/" "${chrome}"`,
  )
})

test('what is absent is a dash in the formats of Apache, and so is a body of no bytes', async () => {
  const [combined] = await linesOf({ format: 'combined' }, '/empty')
  assert.match(combined, /"GET \/empty HTTP\/1\.1" 204 - "-" "-"$/)
})

test('an event stream is one line in the formats of Apache, when it ends', async () => {
  for (const format of ['common', 'combined'] as const) {
    const lines = await linesOf({ format, streamOpenings: true }, '/stream')
    assert.equal(lines.length, 1)
    assert.match(lines[0], /"GET \/stream HTTP\/1\.1" 200 1/)
  }
})

test('the time of the formats of Apache is that of the receipt, in the zone of the process', async (t) => {
  const former = process.env['TZ']
  t.after(() => {
    if (former === undefined) delete process.env['TZ']
    else process.env['TZ'] = former
  })
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 10, 2, 3, 4, 5) })
  t.mock.method(performance, 'now', () => 5000)
  for (const [zone, written] of [
    ['UTC', '[02/Nov/2026:03:04:05 +0000]'],
    ['Asia/Kolkata', '[02/Nov/2026:08:34:05 +0530]'],
    ['America/St_Johns', '[01/Nov/2026:23:34:05 -0330]'],
  ] as const) {
    process.env['TZ'] = zone
    const [line] = await linesOf({ format: 'common' })
    assert.equal(time.exec(line)?.[0], written)
  }
})

test('apache() knows the user where it is told, and one without a name is a dash', async () => {
  const names = ['fern', 'a b"c\n', 'größe', '', undefined]
  const users = []
  for (const name of names) {
    const [line] = await linesOf({ format: apache('common', () => name) })
    users.push(line.split(' [')[0])
  }
  assert.deepEqual(users, [
    '127.0.0.1 - fern',
    String.raw`127.0.0.1 - a\x20b\"c\x0a`,
    String.raw`127.0.0.1 - gr\xc3\xb6\xc3\x9fe`,
    '127.0.0.1 - -',
    '127.0.0.1 - -',
  ])
})

test('JSON is one object a line, with the names of OpenTelemetry', async () => {
  const headers = { 'User-Agent': chrome, Referer: 'http://example.com/', Host: 'example.com:8080' }
  const [line] = await linesOf({ format: 'json' }, '/a?b=c', { headers, isSecure: true })
  const { timestamp, duration_ms, ...rest } = JSON.parse(line)
  assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.equal(typeof duration_ms, 'number')
  assert.deepEqual(rest, {
    severity: 'INFO',
    message: 'GET /a?b=c 200',
    'event.name': 'http.response',
    'http.request.method': 'GET',
    'url.scheme': 'https',
    'url.path': '/a',
    'url.query': 'b=c',
    'http.response.status_code': 200,
    'http.response.body.size': 8,
    outcome: 'sent',
    'client.address': '127.0.0.1',
    'server.address': 'example.com',
    'server.port': 8080,
    'network.protocol.name': 'http',
    'network.protocol.version': '1.1',
    'user_agent.original': chrome,
    'http.request.header.referer': ['http://example.com/'],
  })
})

test('JSON leaves out what is not known, and says of a stream which line it is', async () => {
  const [opened, ended] = await linesOf({ format: 'json' }, '/stream', {
    headers: [
      ['Host', '[::1]'],
      ['Host', 'b'],
    ],
    httpVersion: '2.0',
  })
  const names = ['event.name', 'outcome', 'message', 'server.address', 'url.query', 'error.type']
  const pick = (line: string): unknown[] => names.map((name) => JSON.parse(line)[name])
  assert.deepEqual(pick(opened), [
    'http.stream.opened',
    undefined,
    'GET /stream 200 (stream opened)',
    undefined,
    undefined,
    undefined,
  ])
  assert.deepEqual(pick(ended), [
    'http.stream.ended',
    'sent',
    'GET /stream 200 (stream ended)',
    undefined,
    undefined,
    undefined,
  ])
  assert.equal(JSON.parse(ended)['network.protocol.version'], '2')
})

test('JSON says what kind of an error it was', async () => {
  const [line] = await linesOf({ format: 'json' }, '/500')
  assert.equal(JSON.parse(line).severity, 'ERROR')
  assert.equal(JSON.parse(line)['error.type'], '500')
  const lines: string[] = []
  const log = (text: string): void => void lines.push(text)
  const app = testApp([
    logger({ format: 'json', log }),
    (conn) => conn.ok(source({ text: 'x', cuts: true })),
  ])
  await app.get('/')
  assert.equal(JSON.parse(lines[0]!)['error.type'], 'cut')
})

test('record gives an object to logs of objects, without a time and a level of its own', async () => {
  const [logged] = await linesOf({ format: record })
  assert.equal(logged['http.response.status_code'], 200)
  assert.equal(logged['timestamp'], undefined)
  assert.equal(logged['severity'], undefined)
})
