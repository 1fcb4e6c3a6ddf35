/** An event stream of strings: three messages, and the end.
 *
 *     npm run example examples/strings.ts
 *     curl -N localhost:8080 */

import type { Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'
import '@wakerobin/sse'

export const app: Handler = (conn) => conn.withSseStream(['one', 'two', 'three'])

if (process.argv[1] === import.meta.filename) run(app)
