/** Mounting Hono: an app that moves to Wakerobin page by page. What Hono has no route for, the handlers after it answer.
 *
 *     npm run example examples/hono.ts
 *     curl localhost:8080/hello/Fern
 *     curl -N localhost:8080/old-events
 *     curl -N localhost:8080/events */

import { handlers, type Handler } from '@wakerobin/core'
import { fromFetch } from '@wakerobin/core/fetch'
import { run } from '@wakerobin/server-node'
import '@wakerobin/sse'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'

const old = new Hono()
  .get('/hello/:name', (c) => c.text(`hello, ${c.req.param('name')}`))
  .post('/shout', async (c) => c.text((await c.req.text()).toUpperCase()))
  .get('/old-events', (c) =>
    streamSSE(c, async (stream) => {
      await stream.writeSSE({ data: 'from Hono' })
      await new Promise<void>((resolve) => stream.onAbort(resolve))
    }),
  )

export const app: Handler = handlers(
  fromFetch(old, { passOn: ({ status }) => status === 404 }),
  (conn) => (conn.path === '/events' ? conn.withSseStream(['from Wakerobin']) : conn),
)

if (process.argv[1] === import.meta.filename) run(app)
