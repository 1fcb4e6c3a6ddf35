import assert from 'node:assert/strict'
import { test } from 'node:test'

import { serve } from '@wakerobin/server-node'

import { app } from './strings.ts'
import { clients } from './testing/event-client.ts'
import { start } from './testing/start.ts'

for (const [name, open] of Object.entries(clients)) {
  test(`strings are messages, in order, and then the stream ends (${name})`, async (t) => {
    const { origin } = await start(t, (options) => serve(app, options))
    const { events, ended } = await open(t, origin)
    assert.deepEqual(await events.take(3), [
      { type: 'message', data: 'one' },
      { type: 'message', data: 'two' },
      { type: 'message', data: 'three' },
    ])
    await ended
    assert.deepEqual(events.rest, [])
  })
}
