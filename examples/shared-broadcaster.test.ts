import assert from 'node:assert/strict'
import { test } from 'node:test'

import { serve } from '@wakerobin/server-node'
import { Broadcaster } from '@wakerobin/sse'

import { app } from './shared-broadcaster.ts'
import { clients } from './testing/event-client.ts'
import { start } from './testing/start.ts'

test('every client gets every event, in order, until the server stops and ends the streams', async (t) => {
  const broadcaster = new Broadcaster()
  const { origin, server } = await start(t, (options) => serve(app(broadcaster), options))
  broadcaster.publish('before anybody came')
  const opens = [...Object.values(clients), ...Object.values(clients)]
  const opened = await Promise.all(opens.map((open) => open(t, origin, ['note'])))
  assert.equal(broadcaster.subscriberCount, 4)
  broadcaster.publish('one')
  broadcaster.publish('note', 'two\nlines')
  for (const { events } of opened) {
    assert.deepEqual(await events.take(2), [
      { type: 'message', data: 'one' },
      { type: 'note', data: 'two\nlines' },
    ])
  }
  broadcaster.publish('last')
  assert.equal((await server.shutDown()).outcome, 'clean')
  for (const { events, ended } of opened) {
    assert.deepEqual(await events.take(1), [{ type: 'message', data: 'last' }])
    await ended
    assert.deepEqual(events.rest, [])
  }
  assert.equal(broadcaster.subscriberCount, 0)
})

test('a client that leaves is forgotten, without an event that finds it gone', async (t) => {
  const broadcaster = new Broadcaster()
  const { origin } = await start(t, (options) => serve(app(broadcaster), options))
  const controller = new AbortController()
  await fetch(origin, { signal: controller.signal })
  assert.equal(broadcaster.subscriberCount, 1)
  controller.abort()
  while (broadcaster.subscriberCount > 0) await new Promise((resolve) => setTimeout(resolve, 5))
})
