/** The options of an event stream, and their check. */

import type { Conn } from '@wakerobin/core'
import { checkNames, describe } from '@wakerobin/core/adapter'

import type { Eventable } from './event.ts'
import { tickFor } from './ticker.ts'

/** Why a stream has ended: what came first.
 *
 * `client`: it left. `done`: the source ended, or there was nothing to begin. `shutdown`: the server stopped.
 * `slow`: the client did not read. `max-age`: the stream was as old as it may get. `revoked`: `until` had come, or
 * `disconnect` of a broadcaster has chosen it.
 * `error`: the source failed, or what it sent could not be. */
export type EndReason = 'client' | 'done' | 'shutdown' | 'slow' | 'max-age' | 'revoked' | 'error'

/** How a stream went. */
export interface StreamEnd {
  readonly reason: EndReason
  /** What the source failed with, where the reason is `error`. */
  readonly error?: unknown
  /** How many events were written. */
  readonly sent: number
  /** How many events of a broadcaster the client was too slow for, and did not get. */
  readonly dropped: number
  /** How long the stream was open, in milliseconds. */
  readonly ms: number
}

/** How an event stream behaves beyond its events. One timer serves all streams, so a time may be a tenth of it off, and
 * never more than a second: behind an event, a heartbeat of 15 000 comes after 15 to 16 seconds of silence. */
export interface SseOptions<In = never> {
  /** How long nothing may be sent before a comment is, in milliseconds since the last event: proxies close
   * what is silent, and a client that is gone is noticed by it. A busy stream sends none. Default 15 000;
   * 0 for none. */
  heartbeatMs?: number
  /** How long the client waits before it reconnects, in milliseconds: said when the stream opens. Default: the
   * client's own time, a few seconds; with `maxAgeMs` 3000. */
  retryMs?: number
  /** The range, in milliseconds, of the `retry` that a stream says last when the server stops: an
   * integer that is drawn for each stream, every one as likely. Default `[1000, 5000]`.
   *
   * Clients whose streams end together would come back together, as a herd, to a server that is just
   * starting: the draw spreads them over the range. They keep the time for later reconnects, until
   * they are told another, as by `retryMs`. Two equal numbers are one time for all. */
  stopRetryMs?: readonly [min: number, max: number]
  /** Whether the stream goes on when the server stops, to its own end or until the server's deadline
   * cuts it: for answers that cannot be resumed. A `Broadcaster` then has to be closed by the app.
   *
   * Default false: the stop ends the stream. With true it says no last `retry`. */
  finish?: boolean
  /** How old the stream may get, in milliseconds; a range is drawn from, so that not all end together. It then ends
   * whole, with a `retry` of at most a second, and the client comes back: to another server, perhaps, or
   * with a new token. It then is told `retryMs`, which must not stay that short. Default `Infinity`. */
  maxAgeMs?: number | readonly [min: number, max: number]
  /** When the stream ends because the client may not have it any longer: the expiry of its token, say. Exact to
   * a second; where it has come before the stream begins, nothing is sent of it. What the client gets when it
   * comes back is for the handlers before this one to say. Default: never. */
  until?: Date | ((conn: Conn<In>) => Date | undefined)
  /** How long the client may leave what was written to it unread, in milliseconds, before it is cut. Default
   * 60 000; `Infinity` for ever. */
  writeTimeoutMs?: number
  /** Told once when the stream begins, and its client has a place: not of one that `sseLimits` refuses, nor for HEAD, nor
   * where the client has left before. A broadcaster has the client among its `subscribers()` then. What it throws is
   * reported to the server's `onError`. */
  onStart?: (conn: Conn<In>) => void
  /** Told once how the stream went, when all is over, also of one that was never begun, as for HEAD: then `sent` is
   * 0. */
  onEnd?: (conn: Conn<In>, end: StreamEnd) => void
  /** Turns an error of the source into a last event, after which the stream ends whole; undefined for a cut, which
   * is what happens without this option, and is reported to the server's `onError`. What was made an event is not
   * reported: `onEnd` has it. Choose what the client learns: never the message of an error that you do not know. The
   * client comes back all the same. */
  mapError?: (error: unknown) => Eventable | undefined
}

/** Options that were checked, with the defaults filled in. */
export interface StreamOptions {
  /** `Infinity` for none. */
  readonly heartbeatMs: number
  readonly retryMs: number | undefined
  readonly stopRetryMs: readonly [min: number, max: number]
  readonly finish: boolean
  readonly maxAgeMs: readonly [min: number, max: number]
  readonly until: SseOptions['until']
  readonly writeTimeoutMs: number
  readonly onStart: SseOptions['onStart']
  readonly onEnd: SseOptions['onEnd']
  readonly mapError: SseOptions['mapError']
  /** How exact its times are. */
  readonly tickMs: number
}

/** Reads every option once, and throws where one cannot be used.
 * @param names Those that there may be.
 * @returns What was read, with the defaults filled in.
 * @throws {TypeError} When an option is of the wrong type, or `options` is no object.
 * @throws {RangeError} When a number is out of its bounds. */
export function checkOptions<In>(
  options: SseOptions<In> | undefined,
  names: readonly string[] = sseNames,
): StreamOptions {
  if (options === undefined) return defaults
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot stream with ${describe(options)} as options: expected an object such as { heartbeatMs: 15_000 }`,
    )
  }
  checkNames('Cannot stream with ', options, names)
  const { heartbeatMs = 15_000, retryMs, stopRetryMs = [1000, 5000], finish = false } = options
  const { maxAgeMs = Infinity, until, writeTimeoutMs = 60_000 } = options
  const { onStart, onEnd, mapError } = options
  if (typeof finish !== 'boolean') refuse('finish', finish, 'true or false')
  for (const [name, value] of Object.entries({ onStart, onEnd, mapError }))
    if (value !== undefined && typeof value !== 'function') refuse(name, value, 'a function')
  if (until !== undefined && typeof until !== 'function') checkDate(until)
  const ages = checkAge(maxAgeMs)
  // Else the short time that a client is told when its stream is too old would be its time for ever.
  const retry = retryMs === undefined && ages[0] < Infinity ? 3000 : retryMs
  const heartbeat = checkTime('heartbeatMs', heartbeatMs, 0) || Infinity
  return {
    heartbeatMs: heartbeat,
    retryMs: retry === undefined ? undefined : checkWhole('retryMs', retry),
    stopRetryMs: checkRange('stopRetryMs', stopRetryMs, isWhole),
    finish,
    maxAgeMs: ages,
    until: until as StreamOptions['until'],
    writeTimeoutMs: checkTime('writeTimeoutMs', writeTimeoutMs, 1),
    onStart: onStart as StreamOptions['onStart'],
    onEnd: onEnd as StreamOptions['onEnd'],
    mapError,
    tickMs: tickFor([heartbeat, ages[0], writeTimeoutMs]),
  }
}

/** The names of `SseOptions`. */
export const sseNames: readonly string[] = [
  'heartbeatMs',
  'retryMs',
  'stopRetryMs',
  'finish',
  'maxAgeMs',
  'until',
  'writeTimeoutMs',
  'onStart',
  'onEnd',
  'mapError',
] satisfies readonly (keyof SseOptions)[]

/** Returns a point in time.
 * @throws {TypeError} When it is none. */
export function checkDate(until: unknown): Date {
  if (until instanceof Date && !Number.isNaN(until.getTime())) return until
  if (until instanceof Date) throw new RangeError('Cannot stream until an invalid Date')
  return refuse('until', until, 'a Date')
}

function checkAge(maxAgeMs: unknown): readonly [min: number, max: number] {
  if (Array.isArray(maxAgeMs)) return checkRange('maxAgeMs', maxAgeMs)
  const age = checkTime('maxAgeMs', maxAgeMs, 1)
  return [age, age]
}

function checkTime(option: string, value: unknown, least: number): number {
  if (typeof value === 'number' && value >= least) return value
  const right = `a number of milliseconds from ${least}`
  return refuse(option, value, right, typeof value === 'number')
}

function checkWhole(option: string, value: unknown): number {
  if (isWhole(value)) return value
  const right = 'a whole number of milliseconds from 0'
  return refuse(option, value, right, typeof value === 'number')
}

/** Returns a copy of a range, which nobody else can change. */
function checkRange(
  option: string,
  range: unknown,
  isBound: (value: unknown) => value is number = isTime,
): readonly [min: number, max: number] {
  const [min, max]: unknown[] = Array.isArray(range) && range.length === 2 ? range : []
  if (isBound(min) && isBound(max) && min <= max && (max < Infinity || min === max))
    return [min, max]
  const bounds =
    isBound === isWhole ? 'two whole numbers of milliseconds from 0' : 'milliseconds from 1'
  const right = `[min, max], ${bounds}, the lesser first`
  return refuse(option, range, right, typeof min === 'number' && typeof max === 'number')
}

/** The same rule as for the `retry` of an event. */
function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 1
}

/** @throws {RangeError} Where the value is of the right kind. @throws {TypeError} Where it is not. */
function refuse(option: string, value: unknown, right: string, isRightKind = false): never {
  const shown =
    Array.isArray(value) && value.length === 2
      ? `[${value.map(describe).join(', ')}]`
      : describe(value)
  const ErrorClass = isRightKind ? RangeError : TypeError
  throw new ErrorClass(`Cannot stream with ${option} ${shown}: it must be ${right}`)
}

const defaults: StreamOptions = checkOptions({})
