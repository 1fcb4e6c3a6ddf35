/** `run(app, options)`: the program around an app. */

import type { AppFunction } from '@wakerobin/core'

import { addressToBind, StartError } from './address.ts'
import type { Bind } from './address.ts'
import { plural } from './open-report.ts'
import type { NodeServer } from './server.ts'
import { prepare } from './serve.ts'
import type { ServeOptions } from './serve.ts'
import type { ShutdownReport } from './shutdown.ts'
import { onSignals } from './signals.ts'

/** How `run` runs: all of `ServeOptions`, and what a program needs besides. */
export interface RunOptions extends ServeOptions {
  /** The signals that stop the server. The first begins the stop, the next one ends the process at
   * once. `[]` for none. Default SIGINT, SIGTERM and SIGQUIT. */
  signals?: readonly NodeJS.Signals[]
  /** The signal at which it prints what is open, on stderr. `null` for none. Default SIGUSR2. */
  reportSignal?: NodeJS.Signals | null
  /** Whether an error that nobody catches, or a rejection that nobody handles, begins the stop, with exit
   * code 1 in the end, after it was printed. `false`: node ends the process at once. Default true. */
  stopOnUncaught?: boolean
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
 * exit code 0; or 1 if something had to be cut, which is named on stderr, or a hook has failed. Where it
 * cannot start, it prints one line on stderr and the exit code is 1.
 *
 * ```ts
 * import { run } from '@wakerobin/server-node'
 *
 * run((conn) => conn.ok('hello'))
 * ```
 * @returns A promise that resolves when the server has stopped, to how that went, or could not start, to
 * undefined. It never rejects. */
export const run: AppFunction<RunOptions, Promise<ShutdownReport | undefined>> = async (
  app: unknown,
  options: RunOptions = {},
) => {
  const log = options.log ?? ((line: string) => console.log(line))
  let binds: readonly Bind[]
  let server: NodeServer
  let forget: () => void
  try {
    binds = addressToBind(options, process.env)
    server = prepare(app, options)
    // Before init: a stop that comes during it must find somebody at home.
    forget = listen(server, options, log)
  } catch (error) {
    printFailure(error)
    exitSoon(options)
    return undefined
  }
  let isStarted = false
  const { shutdown } = server
  try {
    await server.start(binds)
    isStarted = true
    for (const line of startedLines(server)) log(line)
  } catch (error) {
    // A stop that came while it was starting is no failure; one that this error has begun is.
    if (shutdown.reason?.kind === 'init') printFailure(error)
  }
  const report = await shutdown.done
  forget()
  if (isStarted || shutdown.reason?.kind !== 'init') printOutcome(report, log)
  exitSoon(options)
  return report
}

/** Listens to the process. Returns the way to end that, but for signals: one that comes late must not end
 * in anything else. */
function listen(
  { shutdown }: NodeServer,
  options: RunOptions,
  log: (line: string) => void,
): () => void {
  onSignals(
    options.signals ?? ['SIGINT', 'SIGTERM', 'SIGQUIT'],
    (signal) => {
      const open = shutdown.report()
      void shutdown.begin({ kind: 'signal', signal })
      const waits = open.isEmpty ? open.summary : `waiting for ${open.summary}; once more to force`
      log(`${signal}: ${shutdown.phase}, ${waits}`)
    },
    (signal) => console.error(`${signal}: ending at once, ${shutdown.report()}`),
  )
  const { reportSignal = 'SIGUSR2', stopOnUncaught = true } = options
  if (reportSignal !== null)
    process.on(reportSignal, () => console.error(shutdown.report().toString()))
  shutdown.onDeadline((open) => console.error(`The deadline has passed. Cut while ${open}`))

  const onUncaught = (error: unknown): void => {
    process.exitCode = 1
    console.error('Uncaught:', error)
    void shutdown.begin({ kind: 'error', error })
  }
  if (stopOnUncaught) process.on('uncaughtException', onUncaught)
  return () => process.off('uncaughtException', onUncaught)
}

function printFailure(error: unknown): void {
  process.exitCode = 1
  if (error instanceof StartError) console.error(error.message)
  else console.error(error)
}

function printOutcome(report: ShutdownReport, log: (line: string) => void): void {
  const { outcome, code, streamsCut } = report
  for (const hook of report.hooks) {
    if ('error' in hook) console.error(`The hook ${hook.name} (${hook.phase}) failed:`, hook.error)
  }
  if (code !== 0) process.exitCode = code
  const lines = {
    clean: 'Stopped',
    cut: `Stopped; ${plural(streamsCut, 'event stream')} had to be cut, as the client did not read`,
    deadline: 'Stopped at the deadline: not everything had ended',
    'hook-failed': 'Stopped; a hook has failed',
  }
  log(lines[outcome])
}

function startedLines(server: NodeServer): string[] {
  const where = server.listeners.map((listener) => {
    if (listener.kind === 'tcp')
      return `${listener.host.includes(':') ? `[${listener.host}]` : listener.host}:${listener.port}`
    return listener.kind === 'unix' ? listener.path : listener.description
  })
  return [`Listening at ${server.url ?? where[0]} (${where.join(', ')})`, 'Ctrl-C to stop']
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
