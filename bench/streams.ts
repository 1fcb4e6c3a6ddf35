/** What does an event stream cost beyond node:http itself? To connect, in server CPU time; and to hold, in heap.
 *
 *   npm run bench streams
 *
 * Clients send the twelve header fields of a browser, and leave when the first bytes are there. The contestants
 * take turns in rounds and start anew after some, as in the bench of hello. Heap is what is alive after three
 * collections, with 2,000 silent streams and without. */

import { connect } from 'node:net'
import type { Socket } from 'node:net'

import { ServerProcess } from './lib/server-process.ts'
import { median, printTable, withRange } from './lib/stats.ts'

const names = ['stream-raw', 'stream-wakerobin']
const starts = 5
const rounds = 5
const connects = 1000
const atOnce = 20
const held = 2000

const head = Buffer.from(
  [
    'GET /events HTTP/1.1',
    'Host: 127.0.0.1',
    'Connection: keep-alive',
    'sec-ch-ua-platform: "Linux"',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
    'sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"',
    'Accept: text/event-stream',
    'Cache-Control: no-cache',
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Dest: empty',
    'Accept-Encoding: gzip, deflate, br, zstd',
    'Accept-Language: en-GB,en;q=0.9',
    '',
    '',
  ].join('\r\n'),
)

export async function streams(): Promise<void> {
  const micros = new Map<string, number[]>(names.map((name) => [name, []]))
  const heap = new Map<string, number[]>(names.map((name) => [name, []]))
  for (let start = 0; start < starts; start++) {
    const contestants = await Promise.all(names.map((name) => ServerProcess.start(name)))
    try {
      for (const { port } of contestants) await connectMany(port, 3 * connects)
      for (let round = 0; round < rounds; round++) {
        for (let turn = 0; turn < contestants.length; turn++) {
          const contestant = contestants[(round + turn) % contestants.length]!
          const before = await contestant.cpuMicros()
          await connectMany(contestant.port, connects)
          micros.get(contestant.name)!.push(((await contestant.cpuMicros()) - before) / connects)
        }
      }
      for (const contestant of contestants)
        heap.get(contestant.name)!.push(await heapPerStream(contestant))
    } finally {
      for (const contestant of contestants) await contestant[Symbol.asyncDispose]()
    }
  }
  const raw = micros.get('stream-raw')!
  printTable([
    ['an event stream', 'µs to connect', 'ratio (range)', 'KiB of heap to hold (range)'],
    ...names.map((name) => [
      name,
      median(micros.get(name)!).toFixed(1),
      withRange(micros.get(name)!.map((each, at) => each / raw[at]!)),
      withRange(heap.get(name)!.map((bytes) => bytes / 1024)),
    ]),
  ])
}

async function connectMany(port: number, count: number): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) (await open(port)).destroy()
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

async function heapPerStream(contestant: ServerProcess): Promise<number> {
  const before = await contestant.heapBytes()
  const sockets: Socket[] = []
  while (sockets.length < held)
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => open(contestant.port)))))
  const during = await contestant.heapBytes()
  for (const socket of sockets) socket.destroy()
  return (during - before) / held
}

/** Resolves when the first bytes are there. */
function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('error', reject).write(head)
    socket.once('data', () => resolve(socket.off('error', reject).on('error', () => {})))
  })
}
