/** `serve(app, options)`: a server for those who drive it themselves. */

import type { AppFunction, Listener, OnError } from '@wakerobin/core'
import { Swansong } from '@wakerobin/core'
import { checkNames, compile, describe, StateMap } from '@wakerobin/core/adapter'

import { addressToBind } from './address.ts'
import type { AddressOptions, Bind } from './address.ts'
import { checkObject } from './check-options.ts'
import { reportOnStderr } from './report.ts'
import type { Hook, HookOptions, HookPhase } from './hooks.ts'
import { checkLimits } from './limits.ts'
import type { LimitOptions } from './limits.ts'
import { closeGiven } from './listen.ts'
import type { OpenReport } from './open-report.ts'
import type { Phase } from './phase.ts'
import { NodeServer } from './server.ts'
import { defaultTimes } from './shutdown.ts'
import type { ShutdownReport } from './shutdown.ts'

/** How `serve` serves. */
export interface ServeOptions extends AddressOptions {
  /** The swansong whose stop is the server's, for several servers with one stop: a server that cannot
   * start stops it, and so the others. Default: a new one. */
  swansong?: Swansong
  /** Told of every error that the app did not catch. Default: a report on stderr. */
  onError?: OnError
  /** Whether HTTP/2 is spoken with clients that do, on the same ports as HTTP/1.1: over TLS those that choose `h2`
   * (RFC 7301), without it those that begin with its preface (RFC 9113 §3.3). Default true. */
  http2?: boolean
  limits?: LimitOptions
  shutdown?: ShutdownOptions
}

/** How a stop goes: see [the guide](../../../docs/guide/stopping.md). Of several servers on one swansong
 * with different times, the longest `drainDelayMs`, `deadlineMs` and `hookTimeoutMs` count. */
export interface ShutdownOptions {
  /** How long everything is still served when the stop has begun, new connections too, in milliseconds:
   * the time in which a load balancer finds out that it must send requests elsewhere. Default 0: none. */
  drainDelayMs?: number
  /** When what has not ended is cut, in milliseconds from the end of the drain delay. `Infinity` for never.
   * Default 10 000. */
  deadlineMs?: number
  /** How long idle connections are kept for requests that are on their way, in milliseconds.
   * Default 500. */
  lingerMs?: number
  /** How long a request of which a part has come is then waited for, in milliseconds, before it gets a
   * 408. Default 500. */
  headTimeoutMs?: number
  /** How long a hook is waited for that has no `timeoutMs` of its own, in milliseconds; and how long those of
   * `closing` have after the deadline, together. Default 2000. */
  hookTimeoutMs?: number
  /** How many event streams are ended at a time. Default 500. */
  streamsPerBatch?: number
  /** The time between one batch of event streams and the next, in milliseconds. Default 50. */
  batchIntervalMs?: number
}

/** A server that is listening. */
export interface ServerHandle extends AsyncDisposable {
  /** Where a browser on this machine reaches it, as `http://localhost:8080/`: at its first port. Undefined where it
   * has none, but Unix sockets alone. */
  readonly url: string | undefined
  /** What it is bound to, in the order of the options. */
  readonly listeners: readonly Listener[]
  readonly swansong: Swansong
  /** Where it is in its life. Servers on one swansong share it. */
  readonly phase: Phase
  /** Resolves when the stop is done, however it began. */
  readonly stopped: Promise<ShutdownReport>
  /** Stops the server, and the others on its swansong: event streams end whole, requests that were
   * read are answered.
   * @returns `stopped`. */
  shutDown(): Promise<ShutdownReport>
  /** Reads every certificate anew, from its files or from the function that gives it: new connections get the new
   * one, open ones keep theirs. Files are looked at without this too: see `checkFilesMs` of `tls`.
   * @throws {Error} When one cannot be used, or options have changed that a running server does not take: the former
   * one is kept then. */
  reloadTls(): Promise<void>
  /** Calls back at the stop: see the function of that name. */
  onShutdown(phase: HookPhase, hook: Hook, options?: HookOptions): Disposable
  /** What is open now, on all servers of its swansong. */
  report(): OpenReport
}

/** Starts a server, and resolves when it is listening and every `init` is done.
 *
 * ```ts
 * import { serve } from '@wakerobin/server-node'
 *
 * const server = await serve((conn) => conn.ok('hello'), { port: 0 })
 * console.log(await (await fetch(server.url!)).text()) // hello
 * await server.shutDown()
 * ```
 * @throws {StartError} When an address is not valid or cannot be bound, or a certificate cannot be used.
 * @throws {TypeError} When something in the app is no handler, or an option is no option, or of the wrong kind.
 * @throws {RangeError} When the number of an option is out of bounds. */
export const serve: AppFunction<ServeOptions, Promise<ServerHandle>> = async (
  app: unknown,
  options: ServeOptions = {},
) => {
  const { server, binds } = prepare(app, options, serveNames)
  await server.start(binds)
  const { url, listeners, swansong, shutdown } = server
  const shutDown = (): Promise<ShutdownReport> => shutdown.begin({ kind: 'call' })
  return {
    url,
    listeners,
    swansong,
    get phase() {
      return shutdown.phase
    },
    stopped: shutdown.done,
    shutDown,
    reloadTls: () => server.reloadTls(),
    onShutdown: (phase, hook, hookOptions) => shutdown.onShutdown(phase, hook, hookOptions),
    report: () => shutdown.report(),
    [Symbol.asyncDispose]: async () => void (await shutDown()),
  }
}

/** The names of `ServeOptions`. */
export const serveNames: readonly string[] = Object.keys({
  host: true,
  port: true,
  tls: true,
  listen: true,
  swansong: true,
  onError: true,
  http2: true,
  limits: true,
  shutdown: true,
} satisfies Record<keyof ServeOptions, true>)

/** Compiles the app and makes its server, which is not started yet, and says where it is to listen.
 * @param names Those that options may have. */
export function prepare(
  app: unknown,
  options: ServeOptions,
  names: readonly string[],
): { readonly server: NodeServer; readonly binds: readonly Bind[] } {
  try {
    checkObject('options', options)
    checkNames('Cannot serve with ', options, names)
    const server = makeServer(app, options)
    // Last: sockets of the parent process are there for another one, where this one does not start.
    return { server, binds: addressToBind(options, process.env) }
  } catch (error) {
    closeGiven(options?.listen)
    throw error
  }
}

function makeServer(app: unknown, options: ServeOptions): NodeServer {
  const { swansong = new Swansong(), onError = reportOnStderr, http2 = true } = options
  if (!(swansong instanceof Swansong))
    throw new TypeError(`Cannot serve with swansong ${describe(swansong)}: it must be a Swansong`)
  if (typeof onError !== 'function')
    throw new TypeError(`Cannot serve with onError ${describe(onError)}: it must be a function`)
  const limits = checkLimits(options.limits)
  const settings = {
    limits,
    http2: checkBoolean('http2', http2),
    ...checkShutdown(options.shutdown),
  }
  const program = compile(app, 'app', onError)
  const { onError: report } = program
  const context = {
    swansong,
    sharedState: new StateMap(),
    maxBodyBytes: limits.bodyBytes,
    onError: report,
  }
  return new NodeServer(program, context, settings)
}

/** The times and numbers of a stop, with the defaults where none are given.
 * @throws {RangeError} When one is out of bounds. @throws {TypeError} When there is no such option. */
export function checkShutdown(options: ShutdownOptions = {}): Required<ShutdownOptions> {
  checkObject('shutdown', options)
  const {
    drainDelayMs = defaultTimes.drainDelayMs,
    deadlineMs = defaultTimes.deadlineMs,
    hookTimeoutMs = defaultTimes.hookTimeoutMs,
    lingerMs = 500,
    headTimeoutMs = 500,
    streamsPerBatch = 500,
    batchIntervalMs = 50,
  } = options
  const checked = {
    drainDelayMs: fromZero('drainDelayMs', drainDelayMs),
    deadlineMs: fromZero('deadlineMs', deadlineMs),
    hookTimeoutMs: fromZero('hookTimeoutMs', hookTimeoutMs),
    lingerMs: fromZero('lingerMs', lingerMs),
    headTimeoutMs: fromZero('headTimeoutMs', headTimeoutMs),
    streamsPerBatch: fromOne('streamsPerBatch', streamsPerBatch),
    batchIntervalMs: fromZero('batchIntervalMs', batchIntervalMs),
  }
  checkNames('Cannot serve with shutdown.', options, Object.keys(checked))
  return checked
}

function fromZero(option: keyof ShutdownOptions, value: number): number {
  return check(option, value, 0)
}

function fromOne(option: keyof ShutdownOptions, value: number): number {
  return check(option, value, 1)
}

function check(option: keyof ShutdownOptions, value: number, least: number): number {
  if (typeof value === 'number' && value >= least) return value
  throw new RangeError(
    `Cannot serve with shutdown.${option} ${describe(value)}: it must be a number from ${least}`,
  )
}

function checkBoolean(option: string, value: boolean): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError(`Cannot serve with ${option} ${describe(value)}: it must be true or false`)
}
