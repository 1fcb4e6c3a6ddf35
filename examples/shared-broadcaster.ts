/** One broadcaster for all clients, shared through the state: everyone hears the clock.
 *
 *     npm run example examples/shared-broadcaster.ts
 *     curl -N localhost:8080 */

import { handlers, State, type Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'
import { Broadcaster } from '@wakerobin/sse'

export const app = (broadcaster: Broadcaster): Handler =>
  handlers(State.new(broadcaster), (conn) => conn.withSseStream(conn.takeState(Broadcaster)))

if (process.argv[1] === import.meta.filename) {
  const broadcaster = new Broadcaster()
  setInterval(() => broadcaster.publish(new Date().toISOString()), 1000).unref()
  run(app(broadcaster))
}
