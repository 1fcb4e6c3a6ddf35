/** h3 2 on srvx, as their documentation has them. */

import { createEventStream, defineHandler, H3 } from 'h3'
import type { EventStream, Middleware } from 'h3'
import { serve } from 'srvx'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'
import type { FiveFields } from '../lib/state.ts'

declare module 'h3' {
  interface H3EventContext extends FiveFields {}
}

const app = new H3()

app.get('/', () => 'hello, world')

app.post('/echo', (event) => event.req.json())

const middleware: Middleware[] = [
  (event) => {
    event.context.requestId = new RequestId(event.req.headers.get('x-request-id'))
  },
  (event) => {
    event.context.user = new User(event.req.headers.get('x-user'))
  },
  (event) => {
    event.context.tenant = new Tenant(event.req.headers.get('x-tenant'))
  },
  (event) => {
    event.context.locale = new Locale(event.req.headers.get('accept-language'))
  },
  (event) => {
    event.context.plan = new Plan(event.req.headers.get('x-plan'))
  },
]
app.get('/handlers', defineHandler({ middleware, handler: (event) => answerOf(event.context) }))

const streams = new Set<EventStream>()
app.get('/events', (event) => {
  const stream = createEventStream(event)
  streams.add(stream)
  stream.onClosed(() => {
    streams.delete(stream)
  })
  // The head goes out with the first bytes.
  void stream.pushComment('')
  return stream.send()
})

const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1', silent: true })
await server.ready()
report(Number(new URL(server.url!).port), (message) => {
  const data = JSON.stringify(message)
  for (const stream of streams) void stream.push(data)
})
