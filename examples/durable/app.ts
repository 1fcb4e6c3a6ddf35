/** Notes that outlive the process: the events are in files, and clients go through a restart without missing one.
 *
 *     npm run example examples/durable/app.ts
 *     curl -N -H 'Accept: text/event-stream' localhost:8080/notes
 *     curl -d 'water the fern' localhost:8080/notes */

import { handlers, Init, type Handler } from '@wakerobin/core'
import { router } from '@wakerobin/router'
import { onShutdown, run } from '@wakerobin/server-node'
import { Broadcaster, sse } from '@wakerobin/sse'
import { fileLog } from '@wakerobin/sse-file'

/** @param path The folder for the events. One process has it at a time: the next can open it when this one has closed it,
 * or is dead. */
export const app = (path: string): Handler => {
  const log = fileLog(path, { maxAgeMs: 7 * 24 * 60 * 60 * 1000 })
  const notes = new Broadcaster({ log })
  return handlers(
    Init.new(({ swansong }) => {
      const close = async (): Promise<void> => {
        notes.close()
        await log.close()
      }
      onShutdown(swansong, 'closing', close, { name: 'log' })
    }),
    router()
      .get(
        '/notes',
        sse(() => notes, { retryMs: 500, stopRetryMs: [100, 500] }),
      )
      .post('/notes', async (conn) => {
        // A 201 is a promise: whoever comes back gets it, whatever becomes of this process.
        const id = await notes.publish(await conn.requestBody.withLimit(10_000).text())
        return conn.withStatus(201).json({ id })
      }),
  )
}

if (process.argv[1] === import.meta.filename) run(app(process.env['NOTES'] ?? '.scratch/notes'))
