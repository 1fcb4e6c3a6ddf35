/** `run(app, options)`: the program around an app. */

import { constants } from 'node:os'

import { GuardReport, Swansong } from '@wakerobin/core'
import type { AppFunction, Listener, StopReason } from '@wakerobin/core'
import { checkNames, describe } from '@wakerobin/core/adapter'

import { StartError } from './address.ts'
import type { Bind } from './address.ts'
import { checkObject } from './check-options.ts'
import { maxTimerMs } from './clock.ts'
import { closeGiven } from './listen.ts'
import { isServerGuard, plural } from './open-report.ts'
import type { NodeServer } from './server.ts'
import { prepare, serveNames } from './serve.ts'
import type { ServeOptions } from './serve.ts'
import { shown } from './report.ts'
import { Shutdown } from './shutdown.ts'
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
 * Listens where `options`, the parent process (LISTEN_FDS), HOST and PORT say, and prints where that is. SIGTERM and Ctrl-C stop it:
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
  const log = safely(options?.log ?? ((line: string) => console.log(line)))
  let binds: readonly Bind[]
  let server: NodeServer
  let forget: () => void
  try {
    checkRunOptions(options)
    const { swansong = reportingSwansong() } = options
    ;({ server, binds } = prepare(app, { ...options, swansong }, runNames))
    // Before init: a stop that comes during it must find somebody at home.
    forget = listen(server, options, log)
  } catch (error) {
    closeGiven(options?.listen)
    printFailure(error)
    exitSoon(options ?? {})
    return undefined
  }
  const { shutdown } = server
  let failure: { readonly error: unknown } | undefined
  try {
    await server.start(binds)
    for (const line of startedLines(server)) log(line)
  } catch (error) {
    failure = { error }
  }
  // A stop that came while it was starting is no failure; one that this error has begun is.
  const isFailed = failure !== undefined && shutdown.reason?.kind === 'init'
  if (isFailed) printFailure(failure!.error)
  const report = await shutdown.done
  forget()
  if (!isFailed) printOutcome(report, log)
  exitSoon(options)
  return isFailed ? undefined : report
}

/** Listens to the process. Returns the way to end that, but for signals: one that comes late must not end
 * in anything else. */
function listen(
  { shutdown }: NodeServer,
  options: RunOptions,
  log: (line: string) => void,
): () => void {
  if (listened.has(shutdown)) return () => {}
  listened.add(shutdown)
  const begin = (reason: StopReason, why: string): void => {
    const open = shutdown.report()
    const isFirst = shutdown.phase === 'running'
    void shutdown.begin(reason)
    const waits = open.isEmpty ? open.summary : `waiting for ${open.summary}; once more to force`
    if (isFirst) log(`${why}: ${shutdown.phase}, ${waits}`)
  }
  onSignals(
    options.signals ?? stopSignals,
    (signal) => begin({ kind: 'signal', signal }, signal),
    (signal) => console.error(`${signal}: ending at once, ${shutdown.report()}`),
  )
  const { reportSignal = 'SIGUSR2', stopOnUncaught = true } = options
  if (reportSignal !== null)
    process.on(reportSignal, () => console.error(shutdown.report().toString()))
  shutdown.onDeadline((open) => console.error(`The deadline has passed. Cut while ${open}`))

  const onUncaught = (error: unknown): void => {
    process.exitCode = 1
    console.error(`Uncaught: ${shown(error)}`)
    begin({ kind: 'error', error }, 'An uncaught error')
  }
  if (stopOnUncaught) process.on('uncaughtException', onUncaught)
  return () => process.off('uncaughtException', onUncaught)
}

/** The stops that are listened for: of several servers on one swansong, the first listens for all. */
const listened = new WeakSet<Shutdown>()

/** A swansong that tells of guards that are released when nobody waits for them any more. */
function reportingSwansong(): Swansong {
  let isLate = false
  const swansong = new Swansong({
    onLateRelease(entry) {
      if (isLate && !isServerGuard(entry))
        console.error(`Released after the deadline: ${GuardReport.lineOf(entry)}`)
    },
  })
  Shutdown.of(swansong).onDeadline(() => (isLate = true))
  return swansong
}

/** A log that fails must not keep the program from stopping. */
function safely(log: (line: string) => void): (line: string) => void {
  return (line) => {
    try {
      log(line)
    } catch (error) {
      console.error(`Cannot log ${JSON.stringify(line)}: ${shown(error)}`)
    }
  }
}

/** Those that stop it by default. */
const stopSignals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGQUIT']

/** The names of `RunOptions`. */
const runNames: readonly string[] = [
  ...serveNames,
  ...Object.keys({
    signals: true,
    reportSignal: true,
    stopOnUncaught: true,
    exitGraceMs: true,
    log: true,
  } satisfies Record<Exclude<keyof RunOptions, keyof ServeOptions>, true>),
]

/** @throws {TypeError | RangeError} When one cannot be used. */
function checkRunOptions(options: RunOptions): void {
  checkObject('options', options)
  checkNames('Cannot run with ', options, runNames)
  const { signals = stopSignals, reportSignal = 'SIGUSR2', stopOnUncaught = true } = options
  const { exitGraceMs = 0, log } = options
  if (!Array.isArray(signals))
    throw new TypeError(`Cannot run with signals ${describe(signals)}: expected an array of names`)
  if (reportSignal !== null && typeof reportSignal !== 'string')
    throw new TypeError(
      `Cannot run with reportSignal ${describe(reportSignal)}: it must be the name of a signal, or null for none`,
    )
  for (const signal of [...signals, ...(reportSignal === null ? [] : [reportSignal])]) {
    if (!Object.hasOwn(constants.signals, signal))
      throw new RangeError(`Cannot run with the signal ${describe(signal)}: this system has none`)
    if (unheard.includes(signal))
      throw new RangeError(`Cannot run with the signal "${signal}": no process gets to hear of it`)
  }
  if (reportSignal !== null && signals.includes(reportSignal))
    throw new RangeError(
      `Cannot run with reportSignal ${describe(reportSignal)}: it is one of signals, which stop the server; choose another, or null for none`,
    )
  if (typeof stopOnUncaught !== 'boolean') {
    throw new TypeError(
      `Cannot run with stopOnUncaught ${describe(stopOnUncaught)}: it must be true or false`,
    )
  }
  if (!(typeof exitGraceMs === 'number' && exitGraceMs >= 0)) {
    throw new RangeError(
      `Cannot run with exitGraceMs ${describe(exitGraceMs)}: it must be a number from 0`,
    )
  }
  if (log !== undefined && typeof log !== 'function')
    throw new TypeError(`Cannot run with log ${describe(log)}: it must be a function`)
}

/** The system ends or halts the process itself: signal(7). */
const unheard: readonly string[] = ['SIGKILL', 'SIGSTOP']

function printFailure(error: unknown): void {
  process.exitCode = 1
  if (error instanceof StartError) console.error(error.message)
  else console.error(shown(error))
}

function printOutcome(report: ShutdownReport, log: (line: string) => void): void {
  const { outcome, code, streamsCut } = report
  for (const hook of report.hooks) {
    if ('error' in hook)
      console.error(`The hook ${hook.name} (${hook.phase}) failed: ${shown(hook.error)}`)
  }
  if (code !== 0) process.exitCode = code
  const lines = {
    clean: 'Stopped',
    cut: `Stopped; ${plural(streamsCut, 'event stream')} had to be cut, as the client did not read`,
    deadline: 'Stopped at the deadline: not everything had ended',
    'hook-failed': 'Stopped; a hook has failed',
  }
  log(outcome === 'clean' && code !== 0 ? 'Stopped, after an error' : lines[outcome])
}

function startedLines(server: NodeServer): string[] {
  const where = server.listeners.map(
    (listener) => `${nameOf(listener)}${listener.isSecure ? ' with TLS' : ''}`,
  )
  const listening = `Listening at ${server.url ?? nameOf(server.listeners[0]!)} (${where.join(', ')})`
  return server.isAnnounced ? ['Ctrl-C to stop'] : [listening, 'Ctrl-C to stop']
}

function nameOf(listener: Listener): string {
  if (listener.kind === 'tcp')
    return `${listener.host.includes(':') ? `[${listener.host}]` : listener.host}:${listener.port}`
  return listener.kind === 'unix' ? listener.path : listener.description
}

/** Lets the process end by itself; where something of the app keeps it, says what and ends it. */
function exitSoon({ exitGraceMs = 1000 }: RunOptions): void {
  if (exitGraceMs === Infinity) return
  setTimeout(
    () => {
      console.error(
        `Ending the process, which is still kept by: ${process.getActiveResourcesInfo().join(', ')}`,
      )
      process.exit()
    },
    Math.min(exitGraceMs, maxTimerMs),
  ).unref()
}
