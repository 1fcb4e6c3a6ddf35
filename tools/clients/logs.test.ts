import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'

import type { Handler } from '../../packages/core/src/index.ts'
import { testApp } from '../../packages/core/src/testing.ts'
import { logger, record } from '../../packages/logger/src/index.ts'

import { skipReason } from './skip-reason.ts'

const handler: Handler = (conn) => conn.withStatus(conn.path === '/' ? 200 : 500).halt()

/** A stream that keeps the objects that are written to it. */
function keeping(): { stream: Writable; logged: Record<string, unknown>[] } {
  const logged: Record<string, unknown>[] = []
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of String(chunk).trim().split('\n')) logged.push(JSON.parse(line))
      done()
    },
  })
  return { stream, logged }
}

test('pino is a log: of text, and of records', { skip: skipReason }, async () => {
  const { pino } = await import('pino')
  const { stream, logged } = keeping()
  const log = pino({ base: null }, stream)
  for (const app of [
    testApp([logger({ log }), handler]),
    testApp([logger({ log, format: record }), handler]),
  ]) {
    await app.get('/')
    await app.get('/500')
    assert.deepEqual(app.errors, [])
  }
  const [text, textOfError, object, objectOfError] = logged
  assert.match(String(text!['msg']), /^HTTP\/1\.1 GET \/ 200 \d/)
  assert.equal(object!['http.response.status_code'], 200)
  assert.equal(object!['url.path'], '/')
  const levels = [text, textOfError, object, objectOfError].map((line) => line!['level'])
  assert.deepEqual(levels, [30, 50, 30, 50])
})

test('winston is a log: of text, and of records', { skip: skipReason }, async () => {
  const { createLogger, format, transports } = await import('winston')
  const { stream, logged } = keeping()
  const log = createLogger({
    format: format.json(),
    transports: [new transports.Stream({ stream })],
  })
  for (const app of [
    testApp([logger({ log }), handler]),
    testApp([logger({ log, format: record }), handler]),
  ]) {
    await app.get('/')
    await app.get('/500')
    assert.deepEqual(app.errors, [])
  }
  const [text, textOfError, object, objectOfError] = logged
  assert.match(String(text!['message']), /^HTTP\/1\.1 GET \/ 200 \d/)
  assert.equal(object!['message'], 'GET / 200')
  assert.equal(object!['http.response.status_code'], 200)
  const levels = [text, textOfError, object, objectOfError].map((line) => line!['level'])
  assert.deepEqual(levels, ['info', 'error', 'info', 'error'])
})
