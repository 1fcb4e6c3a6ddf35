import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { BodySink } from '@wakerobin/core'
import { DeadlineError, testApp, type TestApp } from '@wakerobin/core/testing'

import { source, type SourceOptions } from '../fixtures/source.ts'
import type { LogEntry } from './entry.ts'
import { logger } from './logger.ts'

interface Logged {
  /** `kind status outcome bytes`. */
  readonly lines: string[]
  readonly app: TestApp
}

function logged(options: SourceOptions, loggerOptions = {}): Logged {
  const lines: string[] = []
  const format = ({ kind, status, outcome, bytes }: LogEntry): string =>
    [kind, status, outcome ?? '-', bytes].join(' ')
  const log = (line: string): void => void lines.push(line)
  const app = testApp([
    logger({ format, log, ...loggerOptions }),
    (conn) => conn.ok(source(options)),
  ])
  return { lines, app }
}

test('a stream is logged when it opens and when it ends, with how it has ended', async () => {
  const { lines, app } = logged({ isEndless: true, text: 'one', ends: true })
  await app.get('/')
  assert.deepEqual(lines, ['stream-opened 200 - 3', 'stream-ended 200 sent 3'])
})

test('a stream that waits before its first byte is open when it waits', async () => {
  const { lines, app } = logged({ isEndless: true })
  const response = await app.open('/')
  assert.deepEqual(lines, ['stream-opened 200 - 0'])
  response.leave()
  await app.idle()
  assert.deepEqual(lines.slice(1), ['stream-ended 200 left 0'])
})

test('a client that leaves is the usual end of a stream', async () => {
  const { lines, app } = logged({ isEndless: true, text: 'one' })
  const response = await app.open('/')
  response.leave()
  await app.idle()
  assert.deepEqual(lines, ['stream-opened 200 - 3', 'stream-ended 200 left 3'])
})

test('a stop ends a stream whole, and its deadline cuts it', async () => {
  const whole = logged({ isEndless: true, text: 'one', endsAtStop: true })
  await whole.app.open('/')
  await whole.app.shutDown()
  await whole.app.idle()
  assert.deepEqual(whole.lines.slice(1), ['stream-ended 200 stopped 3'])

  const { lines, app } = logged({ isEndless: true, text: 'one' })
  const controller = new AbortController()
  await app.open('/', { signal: controller.signal })
  void app.shutDown()
  controller.abort(new DeadlineError())
  await app.idle()
  assert.deepEqual(lines.slice(1), ['stream-ended 200 cut 3'])
})

test('a stream that its source cuts, or that fails, is cut', async () => {
  for (const end of [{ cuts: true }, { error: new Error('no') }]) {
    const { lines, app } = logged({ isEndless: true, text: 'one', ...end })
    await app.get('/')
    assert.deepEqual(lines, ['stream-opened 200 - 3', 'stream-ended 200 cut 3'])
  }
})

test('a stream that fails before its head is out is a 500 like any other, and was never open', async () => {
  const { lines, app } = logged({ isEndless: true, error: new Error('no') })
  assert.equal((await app.get('/')).status, 500)
  assert.deepEqual(lines, ['response 500 sent 0'])
})

test('a stream that heeds conn.signal and so fails is not cut: its client has left', async () => {
  let sink: BodySink | undefined
  const lines: string[] = []
  const app = testApp([
    logger({ format: (entry) => entry.outcome, log: (line) => void lines.push(line) }),
    (conn) => {
      conn.signal.addEventListener('abort', () => sink!.abort(conn.signal.reason))
      return conn.ok(source({ isEndless: true, onStart: (given) => void (sink = given) }))
    },
  ])
  const response = await app.open('/')
  response.leave()
  await app.idle()
  assert.deepEqual(lines, ['left'])
})

test('a stream that is not sent, as to HEAD, is a response like any other', async () => {
  const { lines, app } = logged({ isEndless: true, text: 'one' })
  await app.request('HEAD', '/')
  assert.deepEqual(lines, ['response 200 sent 0'])
})

test('lines about openings can be turned off', async () => {
  const { lines, app } = logged(
    { isEndless: true, text: 'one', ends: true },
    { streamOpenings: false },
  )
  await app.get('/')
  assert.deepEqual(lines, ['stream-ended 200 sent 3'])
})

test('a body that has an end is one line, with what was sent of it', async () => {
  const { lines, app } = logged({ text: 'one', ends: true })
  await app.get('/')
  assert.deepEqual(lines, ['response 200 sent 3'])
})

test('a body keeps its length, and is cut where it does not come to it', async () => {
  const whole = logged({ text: 'one', ends: true, length: 3 })
  const response = await whole.app.get('/')
  assert.equal(response.headers.get('content-length'), '3')
  assert.deepEqual(whole.lines, ['response 200 sent 3'])
  const { lines, app } = logged({ text: 'one', ends: true, length: 4 })
  await app.get('/')
  assert.deepEqual(lines, ['response 200 cut 3'])
})

test('what a body writes beyond its length is not among the bytes that were sent', async () => {
  const lines: string[] = []
  const app = testApp([
    logger({
      format: ({ outcome, bytes }) => `${outcome} ${bytes}`,
      log: (line) => void lines.push(line),
    }),
    (conn) =>
      conn.withResponseHeader('Content-Length', 5).ok(
        (async function* () {
          yield 'abc'
          yield 'defgh'
        })(),
      ),
  ])
  await app.get('/')
  assert.deepEqual(lines, ['cut 3'])
})

test('a body that drains slowly is told so', async () => {
  let drained = 0
  const sent: string[] = []
  const app = testApp([
    logger({ log: (line) => void sent.push(line) }),
    (conn) => {
      let sink: BodySink
      return conn.ok({
        start(given) {
          sink = given
          if (sink.write(new Uint8Array(2 * 1024 * 1024))) assert.fail('there is no room')
        },
        drained() {
          drained++
          sink.end()
        },
        stop() {},
        closed() {},
      })
    },
  ])
  await app.get('/')
  assert.equal(drained, 1)
  assert.equal(sent.length, 1)
})

test('a plain body that the client has not got was left, or, while the server stops, cut', async () => {
  const lines: string[] = []
  const format = ({ outcome, bytes }: LogEntry): string => `${outcome} ${bytes}`
  for (const isStopping of [false, true]) {
    const controller = new AbortController()
    const app = testApp([
      logger({ format, log: (line) => void lines.push(line) }),
      async (conn) => {
        if (isStopping) void app.shutDown()
        controller.abort()
        await undefined
        return conn.ok('hello')
      },
    ])
    await app.get('/', { signal: controller.signal }).catch(() => {})
    await app.idle()
  }
  assert.deepEqual(lines, ['left undefined', 'cut undefined'])
})
