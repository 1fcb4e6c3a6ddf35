/** A line for every request, when its response is over. */

import { State } from '@wakerobin/core'
import type { Conn, HandlerObject, StateKey } from '@wakerobin/core'

/** How `logger` logs. */
export interface LoggerOptions {
  /** Where lines go. Default `console.log`. */
  log?: (line: string) => void
}

/** Logs every request, when its response is over: put it first.
 *
 * A line is version, method, target, status and time, as `HTTP/1.1 GET /events?a=b 200 12.3ms`. An
 * event stream is over when it ends, so its time is how long it was open; ` (cut)` follows when the
 * client did not get all of it.
 *
 * ```ts
 * import { logger } from '@wakerobin/logger'
 * import { run } from '@wakerobin/server-node'
 *
 * run([logger(), (conn) => conn.ok('hello')])
 * ``` */
export function logger(options: LoggerOptions = {}): HandlerObject {
  const log = options.log ?? ((line: string) => console.log(line))
  return {
    name: 'logger',
    run: (conn) => void conn.withState(Logged, true),
    // Here and not in run: the logger stands first, so this is after every other beforeSend.
    beforeSend(conn) {
      // A handler that halts before the logger is reached is not logged.
      if (conn.state(Logged) === undefined) return
      conn.afterSend((isSent) => log(line(conn, isSent)))
    },
  }
}

const Logged: StateKey<'logged', true> = State.key<true>()('logged')

function line(conn: Conn, isSent: boolean): string {
  const { httpVersion, method, pathAndQuery, status, startTime } = conn
  const text = `HTTP/${httpVersion} ${method} ${pathAndQuery} ${status ?? 404} ${duration(performance.now() - startTime)}`
  return isSent ? text : `${text} (cut)`
}

function duration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(1)}ms` : `${(ms / 1000).toFixed(1)}s`
}
