/** `run(app, options)`: the program around an app. */

import type { AppFunction } from '@wakerobin/core'

import { addressToBind, StartError } from './address.ts'
import type { Bind } from './address.ts'
import type { NodeServer } from './server.ts'
import { prepare } from './serve.ts'
import type { ServeOptions } from './serve.ts'
import { onSignals } from './signals.ts'
import type { Signals } from './signals.ts'

/** How `run` runs: all of `ServeOptions`, and what a program needs besides. */
export interface RunOptions extends ServeOptions {
  /** The signals that stop the server. The first begins the stop, the next one ends the process at
   * once. `[]` for none. Default SIGINT, SIGTERM and SIGQUIT. */
  signals?: readonly NodeJS.Signals[]
  /** How long the process may go on when the server has stopped, in milliseconds: what is still open
   * then is named on stderr, and the process ended. `Infinity`: until it ends by itself, for programs
   * that have more to do after `await run(app)`. Default 1000. */
  exitGraceMs?: number
  /** Where lines for people go: where it listens, what it waits for. Default `console.log`. */
  log?: (line: string) => void
}

/** Runs an app until a signal stops it.
 *
 * Listens where `options`, HOST and PORT say, and prints where that is. SIGTERM and Ctrl-C stop it:
 * event streams end whole, requests that were read are answered, and the process ends by itself with
 * exit code 0, or 1 if something had to be cut at the deadline. Where it cannot start, it prints one
 * line on stderr and the exit code is 1.
 *
 * ```ts
 * import { run } from '@wakerobin/server-node'
 *
 * run((conn) => conn.ok('hello'))
 * ```
 * @returns A promise that resolves when the server has stopped, or could not start. It never rejects. */
export const run: AppFunction<RunOptions, Promise<void>> = async (
  app: unknown,
  options: RunOptions = {},
) => {
  const log = options.log ?? ((line: string) => console.log(line))
  let binds: readonly Bind[]
  let server: NodeServer
  let signals: Signals
  try {
    binds = addressToBind(options, process.env)
    server = prepare(app, options)
    // Before init: a stop that comes during it must find somebody at home.
    signals = onSignals(options.signals ?? ['SIGINT', 'SIGTERM', 'SIGQUIT'], (signal) => {
      const line = stoppingLine(server, signal)
      void server.swansong.shutDown()
      log(line)
    })
  } catch (error) {
    reportFailure(error)
    exitSoon(options)
    return
  }
  try {
    await server.start(binds)
    for (const line of startedLines(server)) log(line)
  } catch (error) {
    // A stop that came while it was starting is no failure.
    if (!signals.isStopping) reportFailure(error)
  }
  const outcome = await server.stopped
  if (outcome === 'deadline') {
    process.exitCode = 1
    log('Stopped at the deadline: not everything had ended')
  } else if (process.exitCode === undefined) {
    log('Stopped')
  }
  exitSoon(options)
}

function reportFailure(error: unknown): void {
  process.exitCode = 1
  if (error instanceof StartError) console.error(error.message)
  else console.error(error)
}

function startedLines(server: NodeServer): string[] {
  const where = server.listeners.map((listener) => {
    if (listener.kind === 'tcp')
      return `${listener.host.includes(':') ? `[${listener.host}]` : listener.host}:${listener.port}`
    return listener.kind === 'unix' ? listener.path : listener.description
  })
  return [`Listening at ${server.url ?? where[0]} (${where.join(', ')})`, 'Ctrl-C to stop']
}

function stoppingLine(server: NodeServer, signal: NodeJS.Signals): string {
  const { size } = server.connections
  if (size === 0) return `${signal}: stopping, nothing is open`
  const streams = plural(server.bodies.endlessCount, 'event stream')
  return `${signal}: stopping, with ${plural(size, 'connection')} open, ${streams} among them; once more to force`
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Lets the process end by itself; where something of the app keeps it, says what and ends it. */
function exitSoon({ exitGraceMs = 1000 }: RunOptions): void {
  if (exitGraceMs === Infinity) return
  setTimeout(() => {
    console.error(
      `Ending the process: still open are ${process.getActiveResourcesInfo().join(', ')}`,
    )
    process.exit()
  }, exitGraceMs).unref()
}
