/** Several listeners for one app: a public port with an event stream, and a Unix socket on which an administrator
 * speaks to everybody.
 *
 *     npm run example examples/listeners.ts
 *     curl -N localhost:8080
 *     curl --unix-socket admin.sock -d 'Closed for repairs at nine' http://admin/ */

import { handlers, type Conn, type Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'
import { Broadcaster, sse } from '@wakerobin/sse'

export const app = (): Handler => {
  const news = new Broadcaster()
  return handlers(
    // curl --unix-socket admin.sock -d 'Closed for repairs at nine' http://admin/
    async (conn: Conn) => {
      if (conn.listener?.kind !== 'unix') return conn
      if (conn.method !== 'POST') return conn.ok(`${news.subscriberCount} listen\n`)
      news.publish(await conn.requestBody.withLimit(500).text())
      return conn.withStatus(204).halt()
    },
    sse(() => news),
  )
}

if (process.argv[1] === import.meta.filename)
  run(app(), {
    listen: [
      { port: Number(process.env.PORT ?? 8080) },
      // Whoever may write to the file may speak.
      { path: 'admin.sock', mode: 0o600 },
    ],
  })
