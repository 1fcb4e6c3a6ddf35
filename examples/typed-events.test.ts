import assert from 'node:assert/strict'
import { test } from 'node:test'

import { serve } from '@wakerobin/server-node'

import { clients } from './testing/event-client.ts'
import { start } from './testing/start.ts'
import { app } from './typed-events.ts'

for (const [name, open] of Object.entries(clients)) {
  test(`events arrive with their types, in order (${name})`, async (t) => {
    const { origin } = await start(t, (options) => serve(app, options))
    const { events, ended } = await open(t, origin, ['status'])
    assert.deepEqual(await events.take(2), [
      { type: 'status', data: 'connection established' },
      { type: 'message', data: '{"user":"alice","action":"joined"}' },
    ])
    await ended
    assert.deepEqual(events.rest, [])
  })
}
