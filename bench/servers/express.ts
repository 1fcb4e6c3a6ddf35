/** Express 5, with better-sse, as their documentation has them. */

import type { AddressInfo } from 'node:net'

import { createChannel, createSession } from 'better-sse'
import express from 'express'
import type { RequestHandler } from 'express'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'
import type { FiveFields } from '../lib/state.ts'

const app = express()

app.get('/', (_request, response) => {
  response.type('text/plain').send('hello, world')
})

app.post('/echo', express.json(), (request, response) => {
  response.json(request.body)
})

type Step = RequestHandler<object, unknown, unknown, unknown, FiveFields>

const steps: Step[] = [
  (request, response, next) => {
    response.locals.requestId = new RequestId(request.get('x-request-id'))
    next()
  },
  (request, response, next) => {
    response.locals.user = new User(request.get('x-user'))
    next()
  },
  (request, response, next) => {
    response.locals.tenant = new Tenant(request.get('x-tenant'))
    next()
  },
  (request, response, next) => {
    response.locals.locale = new Locale(request.get('accept-language'))
    next()
  },
  (request, response, next) => {
    response.locals.plan = new Plan(request.get('x-plan'))
    next()
  },
]
app.get('/handlers', ...steps, (_request, response) => {
  response.json(answerOf(response.locals as FiveFields))
})

const channel = createChannel()
// oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 takes them
app.get('/events', async (request, response) => {
  channel.register(await createSession(request, response))
})

const server = app.listen(0, '127.0.0.1', () =>
  report((server.address() as AddressInfo).port, (message) => channel.broadcast(message)),
)
