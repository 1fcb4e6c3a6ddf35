/** `serve(app, options)`: a server for those who drive it themselves. */

import type { AppFunction, Listener, OnError } from '@wakerobin/core'
import { Swansong } from '@wakerobin/core'
import { compile, describe, StateMap } from '@wakerobin/core/adapter'

import { addressToBind } from './address.ts'
import type { AddressOptions } from './address.ts'
import { reportOnStderr } from './report.ts'
import type { Hook, HookOptions, HookPhase } from './hooks.ts'
import { checkLimits } from './limits.ts'
import type { LimitOptions } from './limits.ts'
import type { OpenReport } from './open-report.ts'
import type { Phase } from './phase.ts'
import { NodeServer } from './server.ts'
import { defaultTimes } from './shutdown.ts'
import type { ShutdownReport, ShutdownTimes } from './shutdown.ts'

/** How `serve` serves. */
export interface ServeOptions extends AddressOptions {
  /** The swansong whose stop is the server's, for several servers with one stop: a server that cannot
   * start stops it, and so the others. Default: a new one. */
  swansong?: Swansong
  /** Told of every error that the app did not catch. Default: a report on stderr. */
  onError?: OnError
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
  /** Where a browser on this machine reaches it, as `http://localhost:8080/`; undefined for a Unix socket. */
  readonly url: string | undefined
  /** The addresses it is bound to; the first is the primary one. */
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
 * @throws {StartError} When the address is not valid or cannot be bound.
 * @throws {TypeError} When something in the app is no handler. */
export const serve: AppFunction<ServeOptions, Promise<ServerHandle>> = async (
  app: unknown,
  options: ServeOptions = {},
) => {
  const binds = addressToBind(options, process.env)
  const server = prepare(app, options)
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
    onShutdown: (phase, hook, hookOptions) => shutdown.onShutdown(phase, hook, hookOptions),
    report: () => shutdown.report(),
    [Symbol.asyncDispose]: async () => void (await shutDown()),
  }
}

/** Compiles the app and makes its server, which is not started yet. */
export function prepare(app: unknown, options: ServeOptions): NodeServer {
  const swansong = options.swansong ?? new Swansong()
  const onError = options.onError ?? reportOnStderr
  const { shutdown = {} } = options
  const limits = checkLimits(options.limits ?? {})
  const settings = {
    limits,
    ...checkTimes(shutdown),
    lingerMs: checkAtLeastZero('shutdown.lingerMs', shutdown.lingerMs ?? 500),
    headTimeoutMs: checkAtLeastZero('shutdown.headTimeoutMs', shutdown.headTimeoutMs ?? 500),
    streamsPerBatch: checkAtLeastOne('shutdown.streamsPerBatch', shutdown.streamsPerBatch ?? 500),
    batchIntervalMs: checkAtLeastZero('shutdown.batchIntervalMs', shutdown.batchIntervalMs ?? 50),
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

/** The times of a stop, with the defaults where none are given.
 * @throws {RangeError} When one is no number from 0. */
export function checkTimes(options: ShutdownOptions): ShutdownTimes {
  const timeOf = (name: keyof ShutdownTimes): number =>
    checkAtLeastZero(`shutdown.${name}`, options[name] ?? defaultTimes[name])
  return {
    drainDelayMs: timeOf('drainDelayMs'),
    deadlineMs: timeOf('deadlineMs'),
    hookTimeoutMs: timeOf('hookTimeoutMs'),
  }
}

function checkAtLeastZero(option: string, value: number): number {
  if (typeof value === 'number' && value >= 0) return value
  throw new RangeError(`Cannot serve with ${option} ${describe(value)}: it must be a number from 0`)
}

function checkAtLeastOne(option: string, value: number): number {
  if (typeof value === 'number' && value >= 1) return value
  throw new RangeError(`Cannot serve with ${option} ${describe(value)}: it must be a number from 1`)
}
