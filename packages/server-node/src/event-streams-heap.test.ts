import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { setting } from '../hostile/settings.ts'

// WAKEROBIN_STREAMS=10000 npm test -- event-streams-heap       CI does, on one version of Node
const streams = Math.ceil(setting('WAKEROBIN_STREAMS', 3_000, 1_000, 1_000_000) / 300) * 300

test(`after ${streams} event streams the heap is where it was, and no timer, connection or guard is left`, async () => {
  const program = fileURLToPath(new URL('../fixtures/connects.ts', import.meta.url))
  const flags = process.execArgv.filter((flag) => !flag.startsWith('--test'))
  const child = spawn(process.execPath, ['--expose-gc', ...flags, program, String(streams)], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_V8_COVERAGE: undefined },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  const [code] = await once(child, 'close')
  assert.equal(code, 0)
  const { bytesEach, ...left } = JSON.parse(output)
  assert(bytesEach < 100, `${bytesEach} bytes of heap are left of each stream`)
  assert.deepEqual(left, { ends: streams, guards: 1, connections: 0, timers: [] })
})
