import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'

import './index.ts'
import { sse } from './index.ts'

test('sseDone answers 204 without a body, and halts', async () => {
  const app = testApp([
    (conn) => conn.withStatus(200).withBody('dropped').sseDone(),
    () => assert.fail('a later handler runs'),
  ])
  const response = await app.get('/', { headers: { Accept: 'text/event-stream' } })
  assert.equal(response.status, 204)
  assert.equal(response.body, '')
  assert(!response.headers.has('Content-Length'))
  assert(response.conn.isHalted)
  assert.deepEqual(app.errors, [])
})

test('sseDone lets go of a stream that was the body', async () => {
  let isCancelled = false
  const web = new ReadableStream<string>({ cancel: () => void (isCancelled = true) })
  let end: string | undefined
  const app = testApp((conn) =>
    conn.withSseStream(web, { onEnd: (_conn, { reason }) => (end = reason) }).sseDone(),
  )
  assert.equal((await app.get('/')).status, 204)
  assert(isCancelled)
  assert.equal(end, 'done')
})

test('connect may answer with sseDone', async () => {
  const app = testApp(
    sse((conn, { lastEventId }) => (lastEventId === '3' ? conn.sseDone() : ['x'])),
  )
  assert.equal((await app.get('/', { headers: { 'Last-Event-ID': '3' } })).status, 204)
  assert.equal((await app.get('/')).body, ':\ndata: x\n\n')
})
