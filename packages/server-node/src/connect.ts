/** Connect and Express middleware as handlers.
 *
 * Middleware gets a request and a response of node:http that are made for the conn: what it answers becomes the conn's
 * response, and is sent as every other. See docs/decisions/025-middleware-answers-the-conn.md. */

import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Conn, HandlerObject } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import { NodePair } from './node-pair.ts'

/** Goes on to the next handler; with an error, that is the handler's. */
export type Next = (error?: any) => void

/** Middleware as Connect, Express and their like have it. Its types may ask for more of the request and the response than
 * node's have, as those of Express do. */
export type Middleware = {
  call(request: IncomingMessage, response: ServerResponse, next: Next): unknown
}['call'] // as a method's, the parameters of a function may be narrower

/** Mounts middleware: `(req, res, next)`. An app of Express or the callback of a Koa app is middleware, too.
 *
 * It may answer: that is the conn's status, headers and body then, and halts the conn. Or call `next()`: what it has set on
 * `res` is on the conn then, and later handlers may change it. `next(error)`, a throw and a rejection are errors of the
 * handler; one that carries a status from 400 to 499, as those of body parsers do, is the client's and answered with
 * that. Middleware that does neither is waited for until the client leaves or the time of the handlers is over.
 *
 * Where middleware has replaced `res.write`, `res.end` or `res.writeHead`, as compression and sessions do, the response
 * goes through `res`. Within a wildcard route `req.url` is the path behind it. What middleware puts on `req` is seen by
 * later middleware, and by handlers with `nodeRequest(conn)`; the conn itself does not follow it.
 *
 * ```ts
 * import assert from 'node:assert/strict'
 * import { testApp } from '@wakerobin/core/testing'
 * import { connect } from '@wakerobin/server-node'
 *
 * const poweredBy = connect((_request, response, next) => {
 *   response.setHeader('X-Powered-By', 'wakes')
 *   next()
 * })
 * const response = await testApp([poweredBy, 'hello']).get('/')
 * assert.equal(response.headers.get('x-powered-by'), 'wakes')
 * ```
 * @throws {TypeError} When `middleware` is no function, or one that takes an error first. */
export function connect(middleware: Middleware): HandlerObject {
  checkMiddleware(middleware)
  const name = `connect(${middleware.name})`
  const handler: HandlerObject = {
    name,
    run: (conn: Conn) => NodePair.of(conn).run(middleware, name, handler),
    // The outermost one: what handlers behind the middleware have done is done then.
    beforeSend: (conn: Conn) => NodePair.find(conn)?.beforeSend(handler) ?? conn,
  }
  return handler
}

/** The request that middleware gets: for what it has put there, as `nodeRequest<Express.Request>(conn).session`.
 *
 * Made for this conn, and the same for all of its middleware. Its body is the conn's: it can be read once, here or there. */
export function nodeRequest<Extra = Record<never, never>>(conn: Conn): IncomingMessage & Extra {
  return NodePair.of(conn).request as IncomingMessage & Extra
}

function checkMiddleware(middleware: unknown): void {
  if (typeof middleware !== 'function') {
    throw new TypeError(
      `Cannot mount ${describe(middleware)} as middleware: it must be a function of a request, a response and next`,
    )
  }
  if (middleware.length > 3) {
    throw new TypeError(
      `Cannot mount ${describe(middleware)} as middleware: it takes an error first, and errors do not come to handlers; see onError`,
    )
  }
}
