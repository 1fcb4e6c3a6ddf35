/** A restart on a socket that the parent process keeps, as systemd does: see requests.test.ts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { BoundSocket } from '../fixtures/bound-socket.ts'
import { visit } from './load.ts'
import { until } from './patience.ts'
import { startTarget, success } from './server-process.ts'

test('[stopping 10.4] clients that connect anew for each request lose nothing while the server is restarted, with the next one beside it or after it', async (t) => {
  const socket = new BoundSocket('127.0.0.1', 0)
  t.after(() => socket.close())
  let server = await startTarget(t, {}, socket)
  const { port } = server
  const outcomes = new Map<string, number>()
  const over = new AbortController()
  const clients = Array.from({ length: 8 }, async () => {
    while (!over.signal.aborted) {
      const outcome = await visit(port)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
  })
  const answered = (): number => outcomes.get('answered') ?? 0
  const someMore = async (): Promise<void> => {
    const enough = answered() + 100
    await until(
      () => `there are answers: ${JSON.stringify([...outcomes])}`,
      () => answered() >= enough,
    )
  }
  await someMore()
  for (const isBeside of [true, false, true]) {
    const former = server
    if (isBeside) server = await startTarget(t, {}, socket)
    former.kill('SIGTERM')
    await former.ends(success)
    assert.equal(former.err, '')
    if (!isBeside) server = await startTarget(t, {}, socket)
    await someMore()
  }
  over.abort()
  await Promise.all(clients)
  t.diagnostic(JSON.stringify([...outcomes]))
  assert.deepEqual([...outcomes.keys()], ['answered'])
  server.kill('SIGTERM')
  await server.ends(success)
})
