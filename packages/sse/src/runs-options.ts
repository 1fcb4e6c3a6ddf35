/** The options of runs, and their check. */

import type { Swansong } from '@wakerobin/core'
import { callSafely, checkNames, describe, isPromiseLike } from '@wakerobin/core/adapter'

import { encodeEvent } from './encode.ts'
import { SseEvent } from './event.ts'
import type { Eventable } from './event.ts'
import type { EventLog } from './event-log.ts'
import { memoryLog } from './memory-log.ts'
import { sseNames, type SseOptions } from './options.ts'
import type { RunEndReason } from './run-log.ts'

/** How a run has ended. */
export interface RunEnd {
  readonly reason: RunEndReason
  /** What the work has thrown, where the reason is `failed`. */
  readonly error?: unknown
}

/** Where runs are kept, and for how long. */
export interface RunsOptions {
  /** Opens the log of a run, which is that run's alone; called also for ids that nobody has ever used, where a client
   * asks for one. The log is closed when the run is dropped here. Default: a `memoryLog()`, which other processes cannot
   * open. */
  open?: (id: string) => EventLog | PromiseLike<EventLog>
  /** How long a run is kept when it is over and nobody reads it, in milliseconds, by the process that has done the work. It
   * is dropped then: its log is closed, and `remove` called. Default 600 000, ten minutes; `Infinity` for ever. */
  keepMs?: number
  /** How long a run may give no sign of life, in milliseconds, until its process is taken for dead. Its process gives one
   * when a third of that has passed without an event. Default 15 000; from 1,000. */
  leaseMs?: number
  /** Makes the last event of a run, in whichever process ends it; undefined for none. Choose what the client learns:
   * never the message of an error that you do not know. Default: an event of type `end` with the data
   * `{"reason":"done"}`, or another reason. */
  mapEnd?: (end: RunEnd) => Eventable | undefined
  /** Removes what the closed log of a run has left: a file, a key. Default: nothing is removed. */
  remove?: (id: string) => unknown
  /** Is told what the work has failed with; and when a log cannot be used, once until it can be again. Default: a line on
   * `console.error`. */
  onError?: (error: unknown, id: string) => void
}

/** How the process of a run holds its work. */
export interface StartOptions {
  /** The stop of the server: `conn.swansong`. It waits for the end of the run, up to the server's deadline. Default: none,
   * and a run that goes on when the process exits is lost. */
  swansong?: Swansong
  /** Whether the work goes on when the stop begins. With false its signal aborts, and it ends for `shutdown`. Default
   * true. */
  finish?: boolean
}

/** How a client reads a run: as for `withSseStream`. */
export interface AttachOptions extends SseOptions {
  /** The id of the last event it has got; `''` for none. Default: what the request says in `Last-Event-ID`. */
  lastEventId?: string | undefined
}

/** The names of `AttachOptions`. */
export const attachNames: readonly string[] = [...sseNames, 'lastEventId']

/** Options that were checked, with the defaults filled in. */
export type CheckedRunsOptions = Required<RunsOptions>

/** @throws {TypeError | RangeError} When an option cannot be used. */
export function checkRunsOptions(options: RunsOptions): CheckedRunsOptions {
  if (typeof options !== 'object' || options === null)
    throw refusal('the options', options, 'an object such as { keepMs: 60_000 }', TypeError)
  checkNames('Cannot make Runs with ', options, names)
  const { open = openInMemory, keepMs = 600_000, leaseMs = 15_000 } = options
  const { mapEnd = defaultEnd, remove = removeNothing, onError = printError } = options
  if (!(typeof keepMs === 'number' && keepMs >= 0))
    throw refusal('keepMs', keepMs, 'a number of milliseconds from 0', RangeError)
  if (!(Number.isFinite(leaseMs) && leaseMs >= 1_000))
    throw refusal('leaseMs', leaseMs, 'a number of milliseconds from 1,000', RangeError)
  for (const [option, value] of Object.entries({ open, mapEnd, remove, onError }))
    if (typeof value !== 'function') throw refusal(option, value, 'a function', TypeError)
  // What it throws is not to keep a run from its end.
  const tell = (error: unknown, id: string): void => callSafely(() => onError(error, id))
  return { open, keepMs, leaseMs, mapEnd, remove, onError: tell }
}

const names: readonly (keyof RunsOptions)[] = [
  'open',
  'keepMs',
  'leaseMs',
  'mapEnd',
  'remove',
  'onError',
]

/** @throws {TypeError} When an option cannot be used. */
export function checkStart(options: StartOptions): StartOptions & { finish: boolean } {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(
      `Cannot start a run with ${describe(options)}: expected an object such as { swansong: conn.swansong }`,
    )
  checkNames('Cannot start a run with ', options, ['swansong', 'finish'])
  const { swansong, finish = true } = options
  if (swansong !== undefined && typeof Object(swansong).onStop !== 'function')
    throw new TypeError(
      `Cannot start a run with swansong ${describe(swansong)}: expected a Swansong, such as conn.swansong`,
    )
  if (typeof finish !== 'boolean')
    throw new TypeError(
      `Cannot start a run with finish ${describe(finish)}: it must be true or false`,
    )
  return swansong === undefined ? { finish } : { swansong, finish }
}

/** The text of an event of a run.
 * @throws {TypeError | RangeError} When it may not be sent, has an id of its own, or a type that tells of what was
 * missed. */
export function textOf(eventable: Eventable): string {
  if (isPromiseLike(eventable)) eventable.then(undefined, () => {}) // refused below, however it ends
  const event = SseEvent.from(eventable)
  if (event.id !== undefined)
    throw new TypeError(
      `Cannot add an event with the id ${describe(event.id)} to a run: its events have the ids of its log`,
    )
  if (event.type === 'gap')
    throw new TypeError(
      'Cannot add an event of type "gap" to a run: it tells a client that it has missed events',
    )
  return encodeEvent(event)
}

export function defaultEnd({ reason }: RunEnd): Eventable {
  return { type: 'end', data: JSON.stringify({ reason }) }
}

function openInMemory(): EventLog {
  return memoryLog()
}

function removeNothing(): void {}

function printError(error: unknown, id: string): void {
  console.error(`The run ${describe(id)} has failed, or its log:`, error)
}

function refusal(
  option: string,
  value: unknown,
  right: string,
  ErrorClass: ErrorConstructor,
): Error {
  return new ErrorClass(`Cannot make Runs with ${option} ${describe(value)}: it must be ${right}`)
}
