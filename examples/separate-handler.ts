/** A handler written apart from its app: it says what it needs, and the compiler checks the tuple.
 *
 *     npm run example examples/separate-handler.ts
 *     curl -N localhost:8080 */

import { State, type Handler, type Has } from '@wakerobin/core'
import { logger } from '@wakerobin/logger'
import { run } from '@wakerobin/server-node'
import { Broadcaster } from '@wakerobin/sse'

export const events: Handler<Has<Broadcaster>> = (conn) =>
  conn.withSseStream(conn.state(Broadcaster))

if (process.argv[1] === import.meta.filename) {
  const broadcaster = new Broadcaster()
  setInterval(() => broadcaster.publish('tick', new Date().toISOString()), 1000).unref()
  run([logger(), State.new(broadcaster), events])
}
