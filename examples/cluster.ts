/** As many processes as there are cores, on one port, with a log that they share.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 npm run example examples/cluster.ts
 *     curl -N localhost:8080/events
 *     curl -d 'hello' localhost:8080/
 *
 * Whichever process a request comes to, everyone hears of it. A process that dies is replaced; one that cannot begin, as
 * where the port is in use, is not. */

import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'

import { handlers, Init, type Conn, type Handler } from '@wakerobin/core'
import { onShutdown, run } from '@wakerobin/server-node'
import { Broadcaster, sse, type EventLog } from '@wakerobin/sse'
import { redisLog } from '@wakerobin/sse-redis'
import { createClient } from 'redis'

/** @param log Is closed when the server has stopped. */
export function app(log: EventLog): Handler {
  const said = new Broadcaster({ log })
  return handlers(
    Init.new(({ swansong }) => {
      onShutdown(swansong, 'closing', () => log.close(), { name: 'log' })
      // Which keeps the process.
      onShutdown(swansong, 'closing', () => cluster.worker?.disconnect(), { name: 'cluster' })
    }),
    sse((conn) => (conn.path === '/events' ? said : undefined)),
    async (conn: Conn) => {
      if (conn.method !== 'POST') return
      await said.publish(await conn.requestBody.withLimit(1000).text())
      return conn.ok(`said by process ${process.pid}\n`)
    },
  )
}

/** Starts the processes, replaces those that die, and ends when all have stopped. */
function lead(count: number): void {
  let isStopping = false
  const begun = new Set<number>()
  cluster.on('listening', (worker) => begun.add(worker.id))
  cluster.on('exit', (worker) => {
    if (isStopping || worker.exitedAfterDisconnect === true) return
    if (begun.delete(worker.id)) cluster.fork()
    else process.exitCode = 1 // the next would fare no better
  })
  for (let left = count; left > 0; left--) cluster.fork()
  // Ctrl-C reaches all of them by itself; that they are told twice does no harm.
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      isStopping = true
      for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill(signal)
    })
}

if (process.argv[1] === import.meta.filename) {
  if (cluster.isPrimary) lead(availableParallelism())
  else run(app(redisLog(createClient({ url: process.env.REDIS_URL! }), { key: 'said' })))
}
