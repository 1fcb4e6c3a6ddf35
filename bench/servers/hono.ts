/** Hono 4 on @hono/node-server, as their documentation has them. */

import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { SSEStreamingApi } from 'hono/streaming'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'
import type { FiveFields } from '../lib/state.ts'

const app = new Hono<{ Variables: FiveFields }>()

app.get('/', (c) => c.text('hello, world'))

app.post('/echo', async (c) => c.json(await c.req.json()))

app.use('/handlers', async (c, next) => {
  c.set('requestId', new RequestId(c.req.header('x-request-id')))
  await next()
})
app.use('/handlers', async (c, next) => {
  c.set('user', new User(c.req.header('x-user')))
  await next()
})
app.use('/handlers', async (c, next) => {
  c.set('tenant', new Tenant(c.req.header('x-tenant')))
  await next()
})
app.use('/handlers', async (c, next) => {
  c.set('locale', new Locale(c.req.header('accept-language')))
  await next()
})
app.use('/handlers', async (c, next) => {
  c.set('plan', new Plan(c.req.header('x-plan')))
  await next()
})
app.get('/handlers', (c) => c.json(answerOf(c.var)))

const streams = new Set<SSEStreamingApi>()
app.get('/events', (c) =>
  streamSSE(c, async (stream) => {
    streams.add(stream)
    // The stream ends with this function.
    await new Promise<void>((resolve) => {
      stream.onAbort(resolve)
    })
    streams.delete(stream)
  }),
)

serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
  report(port, (message) => {
    const data = JSON.stringify(message)
    for (const stream of streams) void stream.writeSSE({ data })
  }),
)
