/** One of several processes that share a log: whichever a client comes to, it misses nothing.
 *
 *     npm run example examples/rolling/server.ts
 *     curl -N localhost:8080/events
 *     curl -d '{"n":1}' localhost:8080/publish
 *
 * `REDIS_URL` names the Redis whose stream is the log; without it, the log is a folder, for one process: `LOG_FOLDER`, else
 * `events.log` in the temporary folder. See rehearse.ts, which starts several and restarts them under load. */

import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { handlers, Init, type Conn, type Handler } from '@wakerobin/core'
import { onShutdown, readiness, run } from '@wakerobin/server-node'
import { Broadcaster, sse, type EventLog } from '@wakerobin/sse'
import { fileLog } from '@wakerobin/sse-file'
import { redisLog } from '@wakerobin/sse-redis'
import { createClient } from 'redis'

/** What is sent. */
export interface Ticks {
  tick: { n: number }
}

/** @param log Is closed when the server has stopped. */
export function app(log: EventLog): Handler {
  const ticks = new Broadcaster<Ticks>({
    log,
    onLogError: (error) => console.error(`The log cannot be read, and is tried again: ${error}`),
  })
  return handlers(
    Init.new(({ swansong }) => {
      onShutdown(swansong, 'closing', () => log.close(), { name: 'the log' })
    }),
    readiness('/ready'),
    sse((conn) => (conn.path === '/events' ? ticks : undefined), {
      retryMs: 100, // for a rehearsal; in earnest some seconds
      stopRetryMs: [0, 500],
    }),
    async (conn: Conn) => {
      if (conn.method !== 'POST' || conn.path !== '/publish') return
      const { n } = (await conn.requestBody.json()) as Ticks['tick']
      // Answered when the log has it.
      return conn.json({ id: await ticks.publish('tick', { n }) })
    },
  )
}

function openLog(): EventLog {
  const { REDIS_URL: url, LOG_FOLDER: folder = join(tmpdir(), 'events.log') } = process.env
  return url === undefined ? fileLog(folder) : redisLog(createClient({ url }), { key: 'ticks' })
}

if (process.argv[1] === import.meta.filename) {
  // Longer than a proxy keeps idle connections: it sends no request into one that has just been closed.
  const drainDelayMs = Number(process.env.DRAIN_MS ?? 0)
  run(app(openLog()), { shutdown: { drainDelayMs } })
}
