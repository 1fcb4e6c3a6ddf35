/** A line for every request, when its response is over; and one when a stream opens. */

import type { Conn, HandlerObject } from '@wakerobin/core'
import { State } from '@wakerobin/core'
import { checkNames, describe, isPromiseLike, onErrorOf } from '@wakerobin/core/adapter'

import { LogEntry } from './entry.ts'
import { formatOf, type FormatName } from './formats.ts'
import { lineOf, type Formatter } from './line.ts'
import { targetOf, type Log } from './target.ts'
import { WatchedBody } from './watched-body.ts'

/** How `logger` logs. */
export interface LoggerOptions<Line = string> {
  /** What a line looks like: `dev` for people, `common` or `combined` as Apache writes them, `json` for one object a
   * line; or a function of the entry, as `logLine` and `apache` make it. Of text that it returns control characters
   * are written out, unless it is a line as one of these has made it; an object goes to the log as it is; nothing is logged where it returns undefined. Default `dev`. */
  format?: FormatName | Formatter<Line>
  /** Where lines go: a function of the line, or anything with `info` and `error`. `error` is called for a status of 500
   * or more and for responses that the server has cut, `info` for all others. Default `console.log`, for all. */
  log?: Log<Line>
  /** Whether there are colours. Default: where lines go to the console, and that is a terminal; `NO_COLOR` and
   * `FORCE_COLOR` are heeded. */
  colors?: boolean
  /** Whether there is a line also when an event stream opens, or another body without an end of its own: the other one
   * may come hours later. `common` and `combined` have none in any case. Default true. */
  streamOpenings?: boolean
}

/** Logs every request, when its response is over: put it first.
 *
 * A line is version, method, target, status and time, as `HTTP/1.1 GET /a?b 200 12.3ms`. An event stream has two, which
 * say that they are `(stream opened)` and `(stream ended: client left)`, or how else it has ended; the time of the second
 * is how long it was open. ` (client left)` or ` (cut)` follows where the client did not get all of another response.
 *
 * A log or a format that throws is reported to `onError`, and the request goes on.
 *
 * ```ts
 * import { logger } from '@wakerobin/logger'
 * import { run } from '@wakerobin/server-node'
 *
 * run([logger(), (conn) => conn.ok('hello')])
 * ```
 * @throws {TypeError} When an option cannot be used. */
export function logger<Line = string>(options: LoggerOptions<Line> = {}): HandlerObject {
  checkNames('Cannot log with ', options, ['format', 'log', 'colors', 'streamOpenings'])
  const streamOpenings = booleanFrom('streamOpenings', options.streamOpenings) ?? true
  const format = formatFrom(options.format)
  const { target, hasColors } = targetOf(options.log)
  const chosen = booleanFrom('colors', options.colors)
  const colors = chosen === undefined ? hasColors : { info: chosen, error: chosen }
  // Its own: two loggers may stand at two places.
  const Logged = State.key<Logging>()('logged')

  function log(conn: Conn, body: WatchedBody | undefined, isSent?: boolean): void {
    const report = (error: unknown): void => onErrorOf(conn)(error, { conn, place: 'logger' })
    try {
      const entry = new LogEntry(conn, body, isSent, colors)
      const line = lineOf(format, entry) as Line | undefined
      if (line === undefined) return
      const pending = target[entry.level](line)
      if (isPromiseLike(pending)) pending.then(undefined, report)
    } catch (error) {
      report(error)
    }
  }

  return {
    name: 'logger',
    run(conn) {
      const logging: Logging = { body: undefined, isOver: false }
      conn.withState(Logged, logging)
      // Here and not in beforeSend, which a handler that hangs never comes to.
      conn.afterSend((isSent) => {
        logging.isOver = true
        // The line comes after what other handlers have registered.
        conn.afterSend(() => log(conn, logging.body, isSent))
      })
    },
    // The logger stands first, so this is after every other beforeSend.
    beforeSend(conn) {
      const logging = conn.state(Logged)
      // A handler may have halted before the logger, or be done when its request was answered without it.
      if (logging === undefined || logging.isOver) return
      logging.body = WatchedBody.of(conn, (opened) => {
        if (streamOpenings && opened.isEndless) log(conn, opened)
      })
    },
  }
}

/** What is kept of a request that is to be logged. */
interface Logging {
  /** What is sent, where it is a stream. */
  body: WatchedBody | undefined
  /** Whether the response is over. */
  isOver: boolean
}

function formatFrom<Line>(format: LoggerOptions<Line>['format'] = 'dev'): Formatter<any> {
  if (typeof format === 'function') return format
  if (['dev', 'common', 'combined', 'json'].includes(format)) return formatOf(format)
  throw new TypeError(
    `Cannot log in the format ${describe(format)}: it must be dev, common, combined, json or a function of the entry`,
  )
}

function booleanFrom(option: string, value: boolean | undefined): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw new TypeError(`Cannot log with ${option} ${describe(value)}: it must be true or false`)
}
