/** What do many clients need? The inputs of the estimate in docs/guide/scaling.md, and its arithmetic. What an event
 * costs is less here than among the others of `fanout`: the guide has that of `fanout`.
 *
 *   npm run bench scale
 *
 * One process of ours, with 10,000 silent event streams, then with 1,000 that get an event at a time. */

import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'

import { openStream } from './lib/browser.ts'
import { Crowd } from './lib/crowd.ts'
import { isQuick, lengthOf, save } from './lib/results.ts'
import { ServerProcess } from './lib/server-process.ts'
import { median, printTable } from './lib/stats.ts'

const held = isQuick ? 1_000 : 10_000
const listeners = 1_000
const eventBytes = 210
/** Events a turn: long, as in `fanout`, so that what was collected before it is a small part. */
const turnEvents = isQuick ? 20 : 100

interface Inputs {
  /** Of the process, per stream, in KiB. */
  readonly rssKiB: number
  /** Of the kernel, per connection of the server, in KiB. */
  readonly kernelKiB: number
  /** Of CPU time, per connection that is opened. */
  readonly connectMicros: number
  /** Of CPU time, per event and client. */
  readonly eventMicros: number
}

export async function scale(): Promise<void> {
  const length = lengthOf({ starts: 9, rounds: 1 })
  const measured: Inputs[] = []
  for (let start = 0; start < length.starts; start++)
    measured.push({ ...(await hold()), eventMicros: await fanOut() })
  const inputs: Inputs = {
    rssKiB: middle(measured.map(({ rssKiB }) => rssKiB)),
    kernelKiB: middle(measured.map(({ kernelKiB }) => kernelKiB)),
    connectMicros: middle(measured.map(({ connectMicros }) => connectMicros)),
    eventMicros: middle(measured.map(({ eventMicros }) => eventMicros)),
  }
  printTable([
    ['measured', 'median'],
    ['memory of the process for a silent stream', `${inputs.rssKiB} KiB`],
    ['memory of the kernel for it', `${inputs.kernelKiB} KiB`],
    ['CPU time to connect', `${inputs.connectMicros} µs`],
    ['CPU time for an event to a client', `${inputs.eventMicros} µs`],
  ])
  printTable([['a million clients', 'need'], ...estimate(inputs)])
  save('scale', length, [inputs])
}

/** The arithmetic: one event to everyone each second, half of a core for that, and all clients back within a minute. */
function estimate({ rssKiB, kernelKiB, connectMicros, eventMicros }: Inputs): string[][] {
  const clients = 1_000_000
  const cores = (clients * eventMicros) / 1e6
  const processes = Math.ceil(cores / 0.5)
  const perProcess = Math.ceil(clients / processes)
  return [
    ['CPU for an event to each, once a second', `${cores.toFixed(1)} cores`],
    [
      'processes, each half busy with that',
      `${processes}, of ${perProcess.toLocaleString('en')} clients`,
    ],
    ['memory of the processes', `${((clients * rssKiB) / 2 ** 20).toFixed(1)} GiB`],
    ['memory of the kernel', `${((clients * kernelKiB) / 2 ** 20).toFixed(1)} GiB`],
    ['CPU to take all in within 60 s', `${((clients * connectMicros) / 60e6).toFixed(1)} cores`],
    ['network', `${((clients * eventBytes * 8) / 1e9).toFixed(1)} Gbit/s`],
    ['readers of the log', `${processes}, each of which reads every event once`],
  ]
}

async function hold(): Promise<Omit<Inputs, 'eventMicros'>> {
  await using server = await ServerProcess.start('wakerobin')
  // What is compiled and cached on the way is not a stream's.
  for (const socket of await openMany(server.port, 2_000)) socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 500))
  await server.collect()
  const [rss, kernel] = [(await server.memory()).rss, kernelBytes()]
  let sockets: readonly Socket[] = []
  const connectMicros = await server.microsPer(held, async () => {
    sockets = await openMany(server.port, held)
  })
  await server.collect()
  const rssKiB = ((await server.memory()).rss - rss) / held / 1024
  // Both ends are on this machine.
  const kernelKiB = (kernelBytes() - kernel) / 2 / held / 1024
  for (const socket of sockets) socket.destroy()
  return { rssKiB, kernelKiB, connectMicros }
}

async function fanOut(): Promise<number> {
  await using server = await ServerProcess.start('wakerobin')
  await using crowd = await Crowd.open({ port: server.port, clients: listeners, eventBytes })
  const send = async (): Promise<void> => {
    for (let left = turnEvents; left > 0; left--) {
      server.publish({ count: 1, how: 'turns', eventBytes })
      await crowd.gets(1)
    }
  }
  await send()
  const micros: number[] = []
  for (let round = 0; round < 5; round++)
    micros.push(await server.microsPer(turnEvents * listeners, send))
  return median(micros)
}

async function openMany(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < count)
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => openStream(port)))))
  return sockets
}

/** What the kernel has for its own objects, as far as it says so: sockets, and what they are files by. */
function kernelBytes(): number {
  try {
    const slab = /^Slab: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]
    return Number(slab) * 1024
  } catch {
    return NaN
  }
}

function middle(values: readonly number[]): number {
  return Number(median(values).toPrecision(3))
}
