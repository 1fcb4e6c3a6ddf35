/** A stream that goes on where its client was: an id with each event, `lastEventId`, and an end that is meant.
 *
 * Two lines at a time, as if the connection broke in between.
 *
 *     npm run example examples/reconnect.ts
 *     curl -N localhost:8080
 *     curl -N -H 'Last-Event-ID: 1' localhost:8080 */

import { run } from '@wakerobin/server-node'
import { sse, SseEvent } from '@wakerobin/sse'

const lines = ['one', 'two', 'three', 'four', 'five']

export const app = sse(
  (conn, { lastEventId }) => {
    const from = lastEventId === undefined ? 0 : Number(lastEventId) + 1
    if (!(from < lines.length)) return conn.sseDone()
    return lines
      .slice(from, from + 2)
      .map((line, index) => SseEvent.new(line).withId(String(from + index)))
  },
  { retryMs: 250 },
)

if (process.argv[1] === import.meta.filename) run(app)
