import assert from 'node:assert/strict'
import { test } from 'node:test'

import { State } from '@wakerobin/core'
import { logger } from '@wakerobin/logger'
import { serve } from '@wakerobin/server-node'
import { Broadcaster } from '@wakerobin/sse'

import { events as handler } from './separate-handler.ts'
import { clients } from './testing/event-client.ts'
import { start } from './testing/start.ts'

test('a handler that was written apart streams the broadcaster that its app provides', async (t) => {
  const broadcaster = new Broadcaster()
  const log: string[] = []
  const { origin, server } = await start(t, (options) =>
    serve([logger({ log: (line) => log.push(line) }), State.new(broadcaster), handler], options),
  )
  const opened = await Promise.all(
    Object.values(clients).map((open) => open(t, `${origin}/ticks`, ['tick'])),
  )
  broadcaster.publish('tick', '1')
  broadcaster.publish('tick', '2')
  for (const { events } of opened) {
    assert.deepEqual(await events.take(2), [
      { type: 'tick', data: '1' },
      { type: 'tick', data: '2' },
    ])
  }
  const line = /^HTTP\/1\.1 GET \/ticks 200 [\d.]+m?s \((.*)\)$/
  const notes = (): (string | undefined)[] => log.splice(0).map((text) => line.exec(text)?.[1])
  assert.deepEqual(notes(), ['stream opened', 'stream opened'])
  await server.shutDown()
  for (const { ended } of opened) await ended
  assert.deepEqual(notes(), ['stream ended: server stop', 'stream ended: server stop'])
})
