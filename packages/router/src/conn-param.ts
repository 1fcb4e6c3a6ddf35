/** `conn.param(name)` and `conn.route`: what the routes that a conn has taken say of it. */

import { Conn } from '@wakerobin/core'

import type { ParamName, ParamValue } from './param.ts'
import { Matches } from './route-matches.ts'

declare module '@wakerobin/core' {
  interface ConnExtensions {
    /** A parameter of the path, percent-decoded: see `param` of `@wakerobin/router`. */
    param<This, Name extends ParamName<This>>(this: This, name: Name): ParamValue<This>
    /** The path of the route that the conn has taken, as `/users/:id`; with those of the routers around it, where they
     * are nested. It stays when the router is done, for logs and metrics. Undefined where there is none. */
    readonly route: string | undefined
  }
}

/** A parameter of the path that led to a handler: of its route or of a route around it, the inner ones first. `'*'` is
 * what the wildcard stands for, without the slash in front.
 *
 * It is percent-decoded, so it may hold any character, `/` among them; a value with a malformed escape is given as it
 * stands. Do not make a file name of it unchecked. Undefined where no route that was taken has such a parameter. */
export function param(conn: Conn, name: string): string | undefined {
  return Matches.of(conn)?.param(name)
}

Conn.prototype.param = function (this: Conn, name: string) {
  return param(this, name)
} as Conn['param']

Object.defineProperty(Conn.prototype, 'route', {
  configurable: true,
  get(this: Conn) {
    return Matches.of(this)?.route
  },
})
