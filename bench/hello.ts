/** What does a request cost beyond node:http itself? Hello world, server CPU time per request.
 *
 *   npm run bench hello
 *
 * The contestants run side by side, each in a process of its own, and take turns in rounds, so that a
 * machine that gets slower gets slower for all. A ratio is taken within a round, against raw node:http.
 * After some rounds all start anew: two processes of one program differ by more than what is measured,
 * as each is compiled and laid out in its own way. */

import { sendLoad } from './lib/load.ts'
import { ServerProcess } from './lib/server-process.ts'
import { median, printTable, withRange } from './lib/stats.ts'

const names = ['hello-raw', 'hello-fastify', 'hello-wakerobin']
const starts = 7
const rounds = 5
const load = { connections: 20, requestsPerConnection: 500, path: '/', body: 'hello, world' }
const requests = load.connections * load.requestsPerConnection

/** How many requests a connection sends in one go. One at a time, much of the time goes into waking the
 * client; ten at a time show the server alone. */
const depths = [1, 10]

/** CPU microseconds per request, by round, of each contestant. */
type Micros = ReadonlyMap<string, number[]>

export async function hello(): Promise<void> {
  for (const pipelined of depths) await helloAt(pipelined)
}

async function helloAt(pipelined: number): Promise<void> {
  const micros: Micros = new Map(names.map((name) => [name, []]))
  for (let start = 0; start < starts; start++) {
    const contestants = await Promise.all(names.map((name) => ServerProcess.start(name)))
    try {
      await measure(contestants, micros, pipelined)
    } finally {
      for (const contestant of contestants) await contestant[Symbol.asyncDispose]()
    }
  }
  report(micros, pipelined)
}

async function measure(
  contestants: readonly ServerProcess[],
  micros: Micros,
  pipelined: number,
): Promise<void> {
  for (const { port } of contestants)
    for (let warmUp = 0; warmUp < 3; warmUp++) await sendLoad({ ...load, pipelined, port })

  for (let round = 0; round < rounds; round++) {
    // Another one goes first each time.
    for (let turn = 0; turn < contestants.length; turn++) {
      const contestant = contestants[(round + turn) % contestants.length]!
      const before = await contestant.cpuMicros()
      await sendLoad({ ...load, pipelined, port: contestant.port })
      micros.get(contestant.name)!.push(((await contestant.cpuMicros()) - before) / requests)
    }
  }
}

function report(micros: Micros, pipelined: number): void {
  console.log(
    `hello: ${starts} starts, ${rounds} rounds each, of ${requests} requests on ${load.connections} connections, ${pipelined} at a time, Node ${process.version}\n`,
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
