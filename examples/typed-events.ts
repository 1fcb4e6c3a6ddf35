/** Events with a type: clients listen for each by its name.
 *
 *     npm run example examples/typed-events.ts
 *     curl -N localhost:8080 */

import type { Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'
import { SseEvent } from '@wakerobin/sse'

export const app: Handler = (conn) =>
  conn.withSseStream([
    SseEvent.new('connection established').withType('status'),
    SseEvent.new('{"user":"alice","action":"joined"}').withType('message'),
  ])

if (process.argv[1] === import.meta.filename) run(app)
