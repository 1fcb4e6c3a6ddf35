/** What does it cost to hold an event stream? What is alive on the server's heap after three collections, with 2,000
 * silent streams and without.
 *
 *   npm run bench heap
 */

import type { Socket } from 'node:net'

import { openStream } from './lib/browser.ts'
import { hold } from './lib/contest.ts'
import { everyone } from './lib/contestants.ts'
import { lengthOf, publishTables } from './lib/results.ts'
import { ServerProcess } from './lib/server-process.ts'

const held = 2000

export async function heap(): Promise<void> {
  const length = lengthOf({ starts: 3, rounds: 1 })
  const { heap: rows } = await hold({
    ...length,
    contestants: everyone,
    open: async (name) => {
      const server = await ServerProcess.start(name)
      // What is compiled and cached on the way is not a stream's.
      await letGo(await openMany(server.port), server)
      return server
    },
    measures: { heap: heapPerStream },
  })
  publishTables('heap', length, [{ title: 'heap', unit: 'KiB per stream', rows: rows! }])
}

async function heapPerStream(server: ServerProcess): Promise<number> {
  const before = await server.heapBytes()
  const sockets = await openMany(server.port)
  const during = await server.heapBytes()
  await letGo(sockets, server)
  return (during - before) / held / 1024
}

async function openMany(port: number): Promise<Socket[]> {
  const sockets: Socket[] = []
  while (sockets.length < held)
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => openStream(port)))))
  return sockets
}

/** Resolves when the server has had a moment to notice. */
async function letGo(sockets: readonly Socket[], server: ServerProcess): Promise<void> {
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => setTimeout(resolve, 500))
  await server.collect()
}
