/** What a stream says beyond its events: clauses 5.2 to 5.7 of docs/spec/event-stream.md. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp, type TestApp, type TestResponse } from '@wakerobin/core/testing'

import { withSseStream } from './index.ts'
import type { Eventable, SseOptions } from './index.ts'
import { ticker } from './ticker.ts'

test('[event-stream 5.3] retryMs is said after the opening comment, before any event', async () => {
  for (const [retryMs, said] of [
    [0, 'retry: 0\n'],
    [2500, 'retry: 2500\n'],
    [undefined, ''],
  ] as const) {
    const options = retryMs === undefined ? {} : { retryMs }
    const app = testApp((conn) => withSseStream(conn, ['x'], options))
    assert.equal((await app.get('/')).body, `:\n${said}data: x\n\n`)
  }
  // What a stream says last when it is too old is short, and must not stay.
  const ageing = testApp((conn) => withSseStream(conn, ['x'], { maxAgeMs: 60_000 }))
  assert.equal((await ageing.get('/')).body, ':\nretry: 3000\ndata: x\n\n')
})

test('[event-stream 5.4] a comment of nothing follows 15 s of silence, and each 15 s more', async () => {
  const stream = await open()
  await stream.pass(14_000)
  stream.send('x')
  await stream.pass(14_000) // no heartbeat yet: the event was 14 s ago
  stream.send('y')
  await stream.pass(46_000)
  stream.send('z')
  assert.equal(await stream.ended(), ':\ndata: x\n\ndata: y\n\n:\n:\n:\ndata: z\n\n')
})

test('[event-stream 5.4] a busy stream sends no heartbeats', async () => {
  const stream = await open()
  for (let count = 0; count < 100; count++) {
    stream.send('x')
    await stream.pass(5_000)
  }
  assert.equal(await stream.ended(), `:\n${'data: x\n\n'.repeat(100)}`)
})

test('[event-stream 5.4] heartbeatMs is the silence, and 0 is for ever', async () => {
  const quick = await open({ heartbeatMs: 100 })
  await quick.pass(350)
  assert.equal(await quick.ended(), ':\n:\n:\n:\n')

  const silent = await open({ heartbeatMs: 0 })
  await silent.pass(3_600_000)
  assert.equal(await silent.ended(), ':\n')
})

test('[event-stream 5.6] a stream of its full age ends whole, with a retry of at most a second', async (t) => {
  for (const random of [0, 0.5, 1 - 2 ** -53]) {
    const stream = await open({ maxAgeMs: 10_000, retryMs: 2000, heartbeatMs: 0 })
    t.mock.method(Math, 'random', () => random)
    stream.send('x')
    await stream.pass(11_000)
    const { body, isCut } = await stream.response
    const retry = /^:\nretry: 2000\ndata: x\n\nretry: (\d+)\n$/.exec(body)?.[1]
    assert(retry !== undefined && Math.abs(Number(retry) - random * 1000) < 2, body)
    assert(!isCut)
  }
})

test('[event-stream 5.7] a last event of mapError is whole, and so is the end after it', async () => {
  const app = testApp((conn) =>
    withSseStream(
      conn,
      function* () {
        yield 'x'
        throw new Error('secret')
      },
      { mapError: () => ({ type: 'failed', data: 'try later' }) },
    ),
  )
  const { body, isCut } = await app.get('/')
  assert.equal(body, ':\ndata: x\n\nevent: failed\ndata: try later\n\n')
  assert(!isCut)
})

test('[event-stream 5.8] HEAD has the headers of GET and no body', async () => {
  let isRead = false
  const app = testApp((conn) =>
    withSseStream(conn, () => {
      isRead = true
      return ['x']
    }),
  )
  const get = await app.get('/')
  assert(isRead)
  isRead = false
  const head = await app.request('HEAD', '/')
  assert.equal(head.status, 200)
  assert.deepEqual([...head.headers], [...get.headers])
  assert.equal(head.body, '')
  assert(!isRead)
})

// --------------------------------------------------------------------------------------- tools

interface OpenStream {
  readonly app: TestApp
  readonly response: Promise<TestResponse>
  send(event: Eventable): void
  /** Lets time pass. */
  pass(ms: number): Promise<void>
  /** Ends the source: all that was sent. */
  ended(): Promise<string>
}

/** A stream whose events are the test's. */
async function open(options?: SseOptions): Promise<OpenStream> {
  let controller!: ReadableStreamDefaultController<Eventable>
  const source = new ReadableStream<Eventable>({ start: (it) => void (controller = it) })
  const app = testApp((conn) => withSseStream(conn, source, options))
  const response = app.get('/')
  await settled()
  return {
    app,
    response,
    send: (event) => controller.enqueue(event),
    async pass(ms) {
      await settled()
      for (let passed = 0; passed < ms; passed += 10) ticker.advance(10)
      await settled()
    },
    async ended() {
      await settled()
      controller.close()
      return (await response).body
    },
  }
}

/** Resolves when every promise that can be settled without the outside world is. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}
