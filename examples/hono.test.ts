import assert from 'node:assert/strict'
import { test } from 'node:test'

import { serve } from '@wakerobin/server-node'

import { app } from './hono.ts'
import { openFetch } from './testing/event-client.ts'
import { start } from './testing/start.ts'

test('routes of Hono answer, and what it does not know goes on', async (t) => {
  const { origin } = await start(t, (options) => serve(app, options))
  assert.equal(await (await fetch(`${origin}/hello/Fern`)).text(), 'hello, Fern')
  const shout = await fetch(`${origin}/shout`, { method: 'POST', body: 'größer' })
  assert.equal(await shout.text(), 'GRÖSSER')
  const { events, ended } = await openFetch(t, `${origin}/events`)
  assert.deepEqual(await events.take(1), [{ type: 'message', data: 'from Wakerobin' }])
  await ended
  assert.equal((await fetch(`${origin}/nowhere`)).status, 404)
})

test('an event stream of Hono ends at the stop, whole', async (t) => {
  const { origin, server } = await start(t, (options) => serve(app, options))
  const response = await fetch(`${origin}/old-events`)
  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  const reader = response.body!.getReader()
  const { value } = await reader.read()
  assert.equal(Buffer.from(value!).toString(), 'data: from Hono\n\n')
  const stopped = server.shutDown()
  assert.equal((await reader.read()).done, true)
  assert.equal((await stopped).outcome, 'clean')
})
