/** `serve(app, options)`: a server for those who drive it themselves. */

import type { AppFunction, Listener, OnError } from '@wakerobin/core'
import { Swansong } from '@wakerobin/core'
import { compile, describe, StateMap } from '@wakerobin/core/adapter'

import { addressToBind } from './address.ts'
import type { AddressOptions } from './address.ts'
import { reportOnStderr } from './report.ts'
import { NodeServer } from './server.ts'
import type { StopOutcome } from './server.ts'

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

/** What a client may ask of the server. */
export interface LimitOptions {
  /** The longest request body that is read, in bytes, where a handler sets no other limit; a longer
   * one is a 413. `Infinity` for none. Default 1 MiB. */
  bodyBytes?: number
  /** How long a client that has ended its side of the connection is waited for without a byte being
   * sent to it, in milliseconds. Some clients end their side after the request and read on; most have
   * left, and a handler that does not look at `conn.signal` may never notice. Default 10 000. */
  halfClosedMs?: number
}

/** How long a stop takes. */
export interface ShutdownOptions {
  /** How long idle connections are kept for requests that are on their way, in milliseconds.
   * Default 500. */
  lingerMs?: number
  /** When what has not ended is cut, in milliseconds from the beginning of the stop. Default 10 000. */
  deadlineMs?: number
}

/** A server that is listening. */
export interface ServerHandle extends AsyncDisposable {
  /** Where a browser on this machine reaches it, as `http://localhost:8080/`; undefined for a Unix socket. */
  readonly url: string | undefined
  /** The addresses it is bound to; the first is the primary one. */
  readonly listeners: readonly Listener[]
  readonly swansong: Swansong
  /** Resolves when the server has stopped, however the stop began: `clean`, or `deadline` when
   * something had to be cut. */
  readonly stopped: Promise<StopOutcome>
  /** Stops the server: event streams end whole, requests that were read are answered.
   * @returns `stopped`. */
  shutDown(): Promise<StopOutcome>
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
  const { url, listeners, swansong, stopped } = server
  const shutDown = (): Promise<StopOutcome> => {
    void swansong.shutDown()
    return stopped
  }
  return {
    url,
    listeners,
    swansong,
    stopped,
    shutDown,
    [Symbol.asyncDispose]: async () => void (await shutDown()),
  }
}

/** Compiles the app and makes its server, which is not started yet. */
export function prepare(app: unknown, options: ServeOptions): NodeServer {
  const swansong = options.swansong ?? new Swansong()
  const onError = options.onError ?? reportOnStderr
  const maxBodyBytes = checkAtLeastZero(
    'limits.bodyBytes',
    options.limits?.bodyBytes ?? 1024 * 1024,
  )
  const times = {
    halfClosedMs: checkAtLeastZero('limits.halfClosedMs', options.limits?.halfClosedMs ?? 10_000),
    lingerMs: checkAtLeastZero('shutdown.lingerMs', options.shutdown?.lingerMs ?? 500),
    deadlineMs: checkAtLeastZero('shutdown.deadlineMs', options.shutdown?.deadlineMs ?? 10_000),
  }
  const program = compile(app, 'app', onError)
  const context = { swansong, sharedState: new StateMap(), maxBodyBytes }
  return new NodeServer(program, context, times)
}

function checkAtLeastZero(option: string, value: number): number {
  if (typeof value === 'number' && value >= 0) return value
  throw new RangeError(`Cannot serve with ${option} ${describe(value)}: it must be a number from 0`)
}
