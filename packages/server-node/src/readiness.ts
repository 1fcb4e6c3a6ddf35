/** `readiness()`: tells a load balancer whether to send requests here. */

import type { HandlerObject } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import { Shutdown } from './shutdown.ts'

/** Answers the health check of a load balancer: 200 `ready` while the server runs, 503 `stopping` with
 * `Connection: close` from the beginning of the stop on, the drain delay included.
 *
 * Put it first. Other requests pass. To be alive is another thing than to be ready: answer that check with
 * any handler, as it may be 200 until the process ends.
 *
 * ```ts
 * import { readiness, run } from '@wakerobin/server-node'
 *
 * run([readiness(), (conn) => conn.ok('hello')], { shutdown: { drainDelayMs: 5_000 } })
 * ```
 * @param path Where it answers GET and HEAD. Default `/ready`.
 * @throws {TypeError} When `path` does not begin with a slash. */
export function readiness(path: string = '/ready'): HandlerObject {
  if (typeof path !== 'string' || !path.startsWith('/'))
    throw new TypeError(`Cannot answer at ${describe(path)}: expected a path, as "/ready"`)
  return {
    name: 'readiness',
    run(conn) {
      if (conn.path !== path || (conn.method !== 'GET' && conn.method !== 'HEAD')) return
      conn.responseHeaders.set('Cache-Control', 'no-store')
      if (Shutdown.of(conn.swansong).phase === 'running') return conn.ok('ready')
      conn.responseHeaders.set('Connection', 'close')
      return conn.withStatus(503).withBody('stopping').halt()
    },
  }
}
