/** Wakerobin. Its broadcaster's options are those of the program. */

import type { Conn, Halted, Handler, Has } from '@wakerobin/core'
import { serve } from '@wakerobin/server-node'
import { Broadcaster, sse } from '@wakerobin/sse'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'

const broadcaster = new Broadcaster(JSON.parse(process.argv[2]!))

const requestId: Handler<never, Has<RequestId>> = (conn) =>
  conn.withState(new RequestId(conn.requestHeaders.get('x-request-id')))
const user: Handler<never, Has<User>> = (conn) =>
  conn.withState(new User(conn.requestHeaders.get('x-user')))
const tenant: Handler<never, Has<Tenant>> = (conn) =>
  conn.withState(new Tenant(conn.requestHeaders.get('x-tenant')))
const locale: Handler<never, Has<Locale>> = (conn) =>
  conn.withState(new Locale(conn.requestHeaders.get('accept-language')))
const plan: Handler<never, Has<Plan>> = (conn) =>
  conn.withState(new Plan(conn.requestHeaders.get('x-plan')))

const echo = async (conn: Conn): Promise<Halted> => conn.json(await conn.requestBody.json())

const events = sse(() => broadcaster)

const server = await serve(
  [
    (conn) =>
      conn.path === '/'
        ? conn.withResponseHeader('Content-Type', 'text/plain').ok('hello, world')
        : conn,
    (conn) => (conn.path === '/echo' ? echo(conn) : conn),
    (conn) => (conn.path === '/events' ? events.run(conn) : conn),
    requestId,
    user,
    tenant,
    locale,
    plan,
    (conn) =>
      conn.json(
        answerOf({
          requestId: conn.state(RequestId),
          user: conn.state(User),
          tenant: conn.state(Tenant),
          locale: conn.state(Locale),
          plan: conn.state(Plan),
        }),
      ),
  ],
  { port: 0, host: '127.0.0.1' },
)
report(Number(new URL(server.url!).port), (message) => broadcaster.publish(JSON.stringify(message)))
