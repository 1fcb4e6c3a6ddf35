/** What does a request cost beyond node:http itself? Hello world, server CPU time per request.
 *
 *   npm run bench hello
 *
 * The contestants run side by side, each in a process of its own, and take turns in rounds, so that a
 * machine that gets slower gets slower for all. A ratio is taken within a round, against raw node:http. */

import { sendLoad } from './lib/load.ts'
import { ServerProcess } from './lib/server-process.ts'
import { median, printTable, withRange } from './lib/stats.ts'

const names = ['hello-raw', 'hello-fastify', 'hello-wakerobin']
const rounds = 15
const load = { connections: 20, requestsPerConnection: 500, path: '/', body: 'hello, world' }
const requests = load.connections * load.requestsPerConnection

export async function hello(): Promise<void> {
  const contestants = await Promise.all(names.map((name) => ServerProcess.start(name)))
  try {
    report(await measure(contestants))
  } finally {
    for (const contestant of contestants) await contestant[Symbol.asyncDispose]()
  }
}

/** CPU microseconds per request of each contestant, by round. */
async function measure(contestants: readonly ServerProcess[]): Promise<Map<string, number[]>> {
  for (const { port } of contestants)
    for (let warmUp = 0; warmUp < 3; warmUp++) await sendLoad({ ...load, port })

  const micros = new Map<string, number[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    // Another one goes first each time.
    for (let turn = 0; turn < contestants.length; turn++) {
      const contestant = contestants[(round + turn) % contestants.length]!
      const before = await contestant.cpuMicros()
      await sendLoad({ ...load, port: contestant.port })
      micros.get(contestant.name)!.push(((await contestant.cpuMicros()) - before) / requests)
    }
  }
  return micros
}

function report(micros: ReadonlyMap<string, readonly number[]>): void {
  console.log(
    `hello: ${rounds} rounds of ${requests} requests on ${load.connections} connections, Node ${process.version}\n`,
  )
  const raw = micros.get('hello-raw')!
  printTable([
    ['server', 'CPU us per request, median', 'ratio to raw node:http, median (range)'],
    ...names.map((name) => {
      const own = micros.get(name)!
      return [
        name,
        median(own).toFixed(1),
        withRange(own.map((value, round) => value / raw[round]!)),
      ]
    }),
  ])
}
