/** Fastify 5, with @fastify/sse, as their documentation has them. */

import type { AddressInfo } from 'node:net'

import { fastifySSE } from '@fastify/sse'
import { fastify } from 'fastify'
import type { FastifyReply, onRequestHookHandler } from 'fastify'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'
import type { FiveFields } from '../lib/state.ts'

declare module 'fastify' {
  interface FastifyRequest extends FiveFields {}
}

const app = fastify()
await app.register(fastifySSE)

app.get('/', (_request, reply) => {
  reply.type('text/plain').send('hello, world')
})

app.post('/echo', (request, reply) => {
  reply.send(request.body)
})

for (const name of ['requestId', 'user', 'tenant', 'locale', 'plan'])
  app.decorateRequest(name, null)

const onRequest: onRequestHookHandler[] = [
  (request, _reply, done) => {
    request.requestId = new RequestId(request.headers['x-request-id'] as string)
    done()
  },
  (request, _reply, done) => {
    request.user = new User(request.headers['x-user'] as string)
    done()
  },
  (request, _reply, done) => {
    request.tenant = new Tenant(request.headers['x-tenant'] as string)
    done()
  },
  (request, _reply, done) => {
    request.locale = new Locale(request.headers['accept-language'])
    done()
  },
  (request, _reply, done) => {
    request.plan = new Plan(request.headers['x-plan'] as string)
    done()
  },
]
app.get('/handlers', { onRequest }, (request, reply) => {
  reply.send(answerOf(request))
})

const streams = new Set<FastifyReply>()
app.get('/events', { sse: 'only' }, async (_request, reply) => {
  reply.sse.keepAlive()
  streams.add(reply)
  reply.sse.onClose(() => streams.delete(reply))
  // The head goes out with a first event.
  await reply.sse.send({ data: 'connected' })
})

await app.listen({ port: 0, host: '127.0.0.1' })
report((app.server.address() as AddressInfo).port, (message) => {
  for (const reply of streams) void reply.sse.send({ data: message })
})
