/** A folder of files, served by `sirv`, beside an API: what is no file goes on to the next handler.
 *
 *     npm run example examples/static-files.ts
 *     curl localhost:8080
 *     curl localhost:8080/api/time */

import { fileURLToPath } from 'node:url'

import { handlers, type Handler } from '@wakerobin/core'
import { router } from '@wakerobin/router'
import { connect, run } from '@wakerobin/server-node'
import sirv from 'sirv'

const folder = fileURLToPath(new URL('static-files', import.meta.url))

export const app: Handler = handlers(
  router().get('/api/time', (conn) => conn.json({ now: new Date().toISOString() })),
  // Looks at the folder once, when it begins; `dev: true` looks at every request.
  connect(sirv(folder, { etag: true, maxAge: 60 })),
  (conn) => conn.withStatus(404).withBody('There is no such page\n').halt(),
)

if (process.argv[1] === import.meta.filename) run(app)
