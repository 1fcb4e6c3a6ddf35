/** Sessions by `express-session`: who signs in is known until he or she signs out.
 *
 *     npm run example examples/sessions.ts
 *     curl -c cookies.txt -b cookies.txt -d Fern localhost:8080/sign-in
 *     curl -c cookies.txt -b cookies.txt localhost:8080 */

import { handlers, State, type Conn, type Handler } from '@wakerobin/core'
import { router } from '@wakerobin/router'
import { connect, nodeRequest, run } from '@wakerobin/server-node'
import session from 'express-session'
import type { Session, SessionData } from 'express-session'

declare module 'express-session' {
  interface SessionData {
    name: string
    visits: number
  }
}

/** The session of a request, for handlers that the compiler checks. */
const Visitor = State.key<Session & Partial<SessionData>>()('visitor')

const name = ({ requestBody }: Conn): Promise<string> => requestBody.withLimit(100).text()

/** Does what takes a callback. */
function done(call: (callback: (error?: unknown) => void) => unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error === undefined || error === null ? resolve() : reject(error)))
  })
}

const pages = router<typeof Visitor>()
  .get('/', (conn) => {
    const visitor = conn.state(Visitor)
    if (visitor.name === undefined) return conn.withStatus(401).withBody('Who are you?\n').halt()
    visitor.visits = (visitor.visits ?? 0) + 1
    return conn.ok(`Hello, ${visitor.name}: visit ${visitor.visits}\n`)
  })
  .post('/sign-in', async (conn) => {
    const signedIn = await name(conn)
    // A new id: one that somebody else has put into the browser is worth nothing then.
    await done((callback) => conn.state(Visitor).regenerate(callback))
    nodeRequest<Express.Request>(conn).session.name = signedIn
    return conn.withStatus(204).halt()
  })
  .post('/sign-out', async (conn) => {
    await done((callback) => conn.state(Visitor).destroy(callback))
    return conn.withStatus(204).halt()
  })

/** @param secret What cookies are signed with. */
export const app = (secret: string): Handler =>
  handlers(
    // Kept in memory here: for more than one process, give it a store.
    connect(
      session({
        secret,
        resave: false,
        saveUninitialized: false,
        cookie: { sameSite: 'lax', secure: 'auto' },
      }),
    ),
    (conn: Conn) => conn.withState(Visitor, nodeRequest<Express.Request>(conn).session),
    pages,
  )

if (process.argv[1] === import.meta.filename)
  run(app(process.env['SESSION_SECRET'] ?? crypto.randomUUID()))
