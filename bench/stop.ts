/** How long does a stop take? From the signal to the end of the process, which must be in order each time.
 *
 *   npm run bench stop
 *
 * The program is that of the scenarios (packages/server-node/scenarios): once with nothing connected, once with
 * 1,000 event streams, 100 idle keep-alive connections and 20 requests in progress, which are answered when the
 * signal has come. The clients share the machine. */

import assert from 'node:assert/strict'

import { Crowd, morning } from '../packages/server-node/scenarios/crowd.ts'
import { ServerProcess, success } from '../packages/server-node/scenarios/server-process.ts'
import { printTable, withRange } from './lib/stats.ts'

const idleStops = 20
const crowdedStops = 10

export async function stop(): Promise<void> {
  const rows = [
    ['nothing connected', await times(idleStops, stopIdle)],
    [
      '1,000 event streams, 100 idle connections, 20 requests',
      await times(crowdedStops, stopCrowded),
    ],
  ] as const
  printTable([
    [`a stop, Node ${process.version}`, 'ms (range)', 'times'],
    ...rows.map(([name, ms]) => [name, withRange(ms, 0), String(ms.length)]),
  ])
}

async function times(count: number, measure: () => Promise<number>): Promise<number[]> {
  const ms: number[] = []
  while (ms.length < count) ms.push(await measure())
  return ms
}

async function stopIdle(): Promise<number> {
  await using server = await ServerProcess.start()
  await server.prints('Ctrl-C to stop')
  const start = performance.now()
  server.kill('SIGTERM')
  return await endOf(server, start)
}

async function stopCrowded(): Promise<number> {
  await using server = await ServerProcess.start()
  using crowd = await Crowd.open(server.port, morning)
  await server.prints('GET /slow has begun', morning.slow)
  const start = performance.now()
  server.kill('SIGTERM')
  server.open('/slow')
  const ms = await endOf(server, start)
  await crowd.over()
  assert.deepEqual(
    crowd.streams.flatMap(({ problems }) => problems),
    [],
  )
  assert.ok([...crowd.idle, ...crowd.slow].every(({ unanswered }) => unanswered === 0))
  return ms
}

/** Not by polling, which would add to the time. */
async function endOf(server: ServerProcess, start: number): Promise<number> {
  await server.closed
  const ms = performance.now() - start
  await server.ends(success)
  return ms
}
