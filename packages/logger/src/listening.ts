/** A line that says where the server listens. */

import type { HandlerWithoutRun, Info, Listener } from '@wakerobin/core'
import { Announced, checkNames, describe, isPromiseLike } from '@wakerobin/core/adapter'

import { jsonLine } from './escape.ts'
import { targetOf, type Log } from './target.ts'

/** How `listening` logs. */
export interface ListeningOptions {
  /** `text` for people, or `json` for an object a line. Default `text`. */
  format?: 'text' | 'json'
  /** Where the line goes: a function, or anything with `info` and `error`, of which `info` is called.
   * Default `console.log`. */
  log?: Log
}

/** Logs where the server listens, once, when its sockets are bound: for `serve`, which prints nothing, and for programs
 * whose log is not the console. `run` prints its own line only where this has not.
 *
 * ```ts
 * import { listening, logger } from '@wakerobin/logger'
 * import { serve } from '@wakerobin/server-node'
 *
 * const server = await serve([listening(), logger(), 'hello'], { port: 0 })
 * await server.shutDown()
 * ```
 * @throws {TypeError} When an option cannot be used. */
export function listening(options: ListeningOptions = {}): HandlerWithoutRun {
  checkNames('Cannot log where it listens with ', options, ['format', 'log'])
  const { format = 'text' } = options
  const { target } = targetOf(options.log)
  if (format !== 'text' && format !== 'json') {
    throw new TypeError(
      `Cannot log where it listens in the format ${describe(format)}: it must be text or json`,
    )
  }
  return {
    name: 'listening',
    init(info) {
      try {
        const pending = target.info(format === 'json' ? jsonOf(info) : textOf(info))
        if (isPromiseLike(pending)) pending.then(undefined, report)
        info.withSharedState(Announced, true)
      } catch (error) {
        report(error) // a server that cannot log serves all the same
      }
    },
  }
}

function textOf({ url, listeners }: Info): string {
  const [first] = listeners
  if (first === undefined) return url === undefined ? 'Started' : `Listening at ${url}`
  const where = listeners.map(
    (listener) => `${addressOf(listener)}${listener.isSecure ? ' with TLS' : ''}`,
  )
  return `Listening at ${url ?? addressOf(first)} (${where.join(', ')})`
}

function jsonOf(info: Info): string {
  return jsonLine({
    timestamp: new Date().toISOString(),
    severity: 'INFO',
    message: textOf(info),
    'event.name': 'server.listening',
    'url.full': info.url,
    listeners: info.listeners.map(addressOf),
  })
}

function addressOf(listener: Listener): string {
  if (listener.kind === 'unix') return listener.path
  if (listener.kind === 'other') return listener.description
  const { host, port } = listener
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

function report(error: unknown): void {
  console.error('Cannot log where the server listens:', error)
}
