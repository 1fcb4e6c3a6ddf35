/** An MCP server over Streamable HTTP, with three tools. It answers as JSON; calls with progress, and what the server says
 * of its own accord, are event streams, which a client that has lost its connection resumes.
 *
 *     npm run example examples/mcp/server.ts
 *     curl localhost:8080/mcp -H 'Accept: application/json, text/event-stream' -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"1"}}}'
 *     npx @modelcontextprotocol/inspector --transport http --server-url http://localhost:8080/mcp
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http */

import { handlers, State, type Conn, type Handler, type Has } from '@wakerobin/core'
import { logger } from '@wakerobin/logger'
import { run } from '@wakerobin/server-node'
import { sse } from '@wakerobin/sse'

import { asked, failure, isRequest, progressTokenOf, result } from './json-rpc.ts'
import type { Notification, Request } from './json-rpc.ts'
import { Session, Sessions, versions } from './session.ts'
import { tools } from './tools.ts'

/** The app, at /mcp. */
export const app = (sessions: Sessions): Handler => {
  const endpoint = handlers(
    State.new(sessions),
    refuseForeignPages,
    readMessage,
    initialize,
    findSession,
    news,
    streamCall,
    answer,
    end,
    refuseRest,
  )
  return (conn) => (conn.path === '/mcp' ? endpoint.run(conn) : conn)
}

/** What was posted. */
const Message = State.key<Request | Notification>()('mcp/message')

/** A page of another site must not drive a server on this machine, by way of its own name for 127.0.0.1. */
const refuseForeignPages: Handler = (conn) => {
  const origin = conn.requestHeaders.get('origin')
  if (origin === undefined || /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/.test(origin))
    return conn
  return refuse(conn, 403, 'This page may not ask')
}

const readMessage: Handler = async (conn) => {
  if (conn.method !== 'POST') return conn
  const message = asked(await conn.requestBody.json())
  if (message === undefined) return refuse(conn, 400, 'Not a request or a notification')
  return conn.withState(Message, message)
}

const initialize: Handler<Has<Sessions>> = (conn) => {
  const message = conn.state(Message)
  if (message?.method !== 'initialize' || !isRequest(message)) return conn
  const session = conn.state(Sessions).begin(message.params?.protocolVersion)
  conn.responseHeaders.set('Mcp-Session-Id', session.id)
  return conn.json(
    result(message.id, {
      protocolVersion: session.version,
      capabilities: { tools: {}, logging: {} },
      serverInfo: { name: 'wakerobin-example', version: '1.0.0' },
    }),
  )
}

// A 404 tells the client to begin another session, as after a restart.
const findSession: Handler<Has<Sessions>, Has<Session>> = (conn) => {
  const id = conn.requestHeaders.get('mcp-session-id')
  if (id === undefined) return refuse(conn, 400, 'Mcp-Session-Id is missing')
  const session = conn.state(Sessions).find(id)
  if (session === undefined) return refuse(conn, 404, 'No such session')
  const version = conn.requestHeaders.get('mcp-protocol-version') ?? session.version
  if (!versions.includes(version)) return refuse(conn, 400, `Version ${version} is not spoken here`)
  return conn.withState(session)
}

/** `GET`: what the server says of its own accord, or the rest of a stream that broke off. */
const news = sse<Has<Session>>((conn, { lastEventId }) => {
  if (conn.method !== 'GET') return
  const session = conn.state(Session)
  if (lastEventId === undefined) return session.news.read()
  const found = session.locate(lastEventId)
  // As of a call that was taken back: it has no answer, and the client would come back for it for ever.
  if (found?.outbox.isOver(found.after)) return conn.sseDone()
  const events = found?.outbox.read(found.after)
  if (events === undefined) return refuse(conn, 400, 'What follows that event is not kept')
  // As where the call was made: the stop waits for its answer.
  return found?.outbox === session.news ? events : conn.withSseStream(events, { finish: true })
})

/** `POST` of a call that wants to know of its progress. */
const streamCall = sse<Has<Session>>(
  (conn) => {
    const message = conn.state(Message)
    if (message === undefined || !isRequest(message) || message.method !== 'tools/call') return
    if (progressTokenOf(message) === undefined) return
    return conn.state(Session).stream(message).read()
  },
  { finish: true },
)

/** `POST` of all else: one answer, as JSON. */
const answer: Handler<Has<Session> | Has<Sessions>> = async (conn) => {
  const message = conn.state(Message)
  if (message === undefined) return conn
  const session = conn.state(Session)
  if (!isRequest(message)) {
    if (message.method === 'notifications/cancelled')
      session.cancel(message.params?.requestId as string | number)
    return accept(conn)
  }
  switch (message.method) {
    case 'logging/setLevel':
      session.hearsInfo = ['debug', 'info'].includes(String(message.params?.level))
      return conn.json(result(message.id, {}))
    case 'ping':
      return conn.json(result(message.id, {}))
    case 'tools/list':
      return conn.json(result(message.id, { tools: listed(conn.state(Sessions)) }))
    case 'tools/call': {
      const called = await session.call(message, () => {})
      return called === undefined ? accept(conn) : conn.json(called)
    }
    default:
      return conn.json(failure(message.id, 'no such method', `No method ${message.method}`))
  }
}

/** There is nothing to answer. */
function accept(conn: Conn) {
  return conn.withStatus(202).withBody('').halt()
}

function listed({ tools }: Sessions): object[] {
  return Object.entries(tools).map(([name, { description, inputSchema }]) => {
    return { name, description, inputSchema }
  })
}

/** `DELETE`: the client needs its session no longer. */
const end: Handler<Has<Session> | Has<Sessions>> = (conn) => {
  if (conn.method !== 'DELETE') return conn
  conn.state(Sessions).end(conn.state(Session).id)
  return conn.withStatus(204).halt()
}

/** Other methods, and a `GET` that does not accept an event stream. */
const refuseRest: Handler = (conn) => {
  if (conn.method === 'GET') return refuse(conn, 406, 'There is an event stream here')
  conn.responseHeaders.set('Allow', 'GET, POST, DELETE')
  return refuse(conn, 405, 'GET, POST or DELETE')
}

function refuse(conn: Conn, status: number, message: string) {
  return conn.withStatus(status).json(failure(null, 'invalid request', message))
}

if (process.argv[1] === import.meta.filename) run([logger(), app(new Sessions(tools))])
