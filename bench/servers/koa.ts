/** Koa 3. It has neither a router nor a body parser nor event streams: paths are compared, a body is read by hand,
 * which costs less than its parsers do, and a stream is a PassThrough, as in its documentation. */

import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'

import Koa from 'koa'
import type { ParameterizedContext } from 'koa'
import compose from 'koa-compose'
import type { Middleware } from 'koa-compose'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'
import type { FiveFields } from '../lib/state.ts'

type Context = ParameterizedContext<FiveFields>

const app = new Koa<FiveFields>()
// A client that leaves a stream would be an error on stderr.
app.silent = true
app.use((ctx) => {
  switch (ctx.path) {
    case '/':
      ctx.type = 'text/plain'
      ctx.body = 'hello, world'
      return undefined
    case '/handlers':
      return handle(ctx)
    case '/echo':
      return echo(ctx)
    case '/events':
      stream(ctx)
      return undefined
    default:
      return undefined
  }
})

const handle: (ctx: Context) => Promise<void> = compose<Context>([
  async (ctx, next) => {
    ctx.state.requestId = new RequestId(ctx.get('x-request-id'))
    await next()
  },
  async (ctx, next) => {
    ctx.state.user = new User(ctx.get('x-user'))
    await next()
  },
  async (ctx, next) => {
    ctx.state.tenant = new Tenant(ctx.get('x-tenant'))
    await next()
  },
  async (ctx, next) => {
    ctx.state.locale = new Locale(ctx.get('accept-language'))
    await next()
  },
  async (ctx, next) => {
    ctx.state.plan = new Plan(ctx.get('x-plan'))
    await next()
  },
  (ctx) => {
    ctx.body = answerOf(ctx.state)
  },
] satisfies Middleware<Context>[])

async function echo(ctx: Context): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of ctx.req) chunks.push(chunk)
  ctx.body = JSON.parse(Buffer.concat(chunks).toString())
}

const streams = new Set<PassThrough>()

function stream(ctx: Context): void {
  const body = new PassThrough()
  ctx.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
  ctx.body = body
  streams.add(body)
  body.once('close', () => streams.delete(body))
  // The head goes out with the first bytes.
  body.write(':\n\n')
}

const server = app.listen(0, '127.0.0.1', () =>
  report((server.address() as AddressInfo).port, (message) => {
    const event = `data: ${JSON.stringify(message)}\n\n`
    for (const body of streams) body.write(event)
  }),
)
