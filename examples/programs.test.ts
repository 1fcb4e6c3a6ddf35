import assert from 'node:assert/strict'
import { test } from 'node:test'

import { openFetch } from './testing/event-client.ts'
import { startProgram } from './testing/child-program.ts'

const programs = [
  'strings.ts',
  'typed-events.ts',
  'shared-broadcaster.ts',
  'separate-handler.ts',
] as const

test('every seed program serves an event when it is run, and ends by itself at SIGTERM', async (t) => {
  const ends = programs.map(async (path) => {
    const program = await startProgram(t, path)
    const { events } = await openFetch(t, `http://127.0.0.1:${program.port}/`)
    await events.take(1)
    program.process.kill('SIGTERM')
    assert.equal(await program.exited, 0, path)
    assert.equal(program.lines.at(-1), 'Stopped')
    assert.deepEqual(program.errors, [])
  })
  await Promise.all(ends)
})
