/** What does it cost to begin an event stream? Server CPU time from connection to first bytes.
 *
 *   npm run bench connect
 *
 * Clients send the twelve header fields of a browser, and leave when the first bytes are there. */

import { openStream } from './lib/browser.ts'
import { hold } from './lib/contest.ts'
import { everyone } from './lib/contestants.ts'
import { lengthOf, publishTables } from './lib/results.ts'
import { ServerProcess } from './lib/server-process.ts'

const connects = 1000
const atOnce = 20

export async function connect(): Promise<void> {
  const length = lengthOf({ starts: 4, rounds: 6 })
  const { connect: rows } = await hold({
    ...length,
    contestants: everyone,
    open: async (name) => {
      const server = await ServerProcess.start(name)
      // Until all of it is compiled: what that takes is not the cost of a stream.
      await connectMany(server.port, 10 * connects)
      return server
    },
    measures: {
      connect: (server) => server.microsPer(connects, () => connectMany(server.port, connects)),
    },
  })
  publishTables('connect', length, [{ title: 'connect', unit: 'CPU µs per stream', rows: rows! }])
}

async function connectMany(port: number, count: number): Promise<void> {
  let left = count
  const worker = async (): Promise<void> => {
    while (left-- > 0) (await openStream(port)).destroy()
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}
