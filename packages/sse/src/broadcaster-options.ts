/** The options of a broadcaster, and their check. */

import { checkNames, describe, listed } from '@wakerobin/core/adapter'

import type { EventLog } from './event-log.ts'
import type { FeedOptions, WhenBehind } from './feed.ts'

/** What a broadcaster remembers, and what becomes of those who are too slow. */
export interface BroadcasterOptions<Events = Record<string, string>> {
  /** How many events are kept: for subscribers that have not read them yet, and for clients that come back. Default
   * 1,024. */
  historyEvents?: number
  /** How many bytes of events are kept, whichever limit is met first. Default 4 MiB. The newest event is kept in any
   * case. */
  historyBytes?: number
  /** How long events are kept, in milliseconds. Default `Infinity`. */
  historyMs?: number
  /** What becomes of a subscriber that has not read an event when it is dropped from the history.
   *
   * `disconnect`: it is cut, and comes back with its `Last-Event-ID`. `drop-oldest`: it goes on with what is kept, after
   * an event of type `gap` that tells how many it has missed. `coalesce`: the same; and of events with one key it gets
   * the newest alone, from when it is behind until it has caught up. Default `disconnect`. */
  whenBehind?: WhenBehind
  /** For `coalesce`: the types whose events replace each other, with what tells which of them do. `true`: all of the
   * type. */
  coalesce?: { readonly [K in keyof Events]?: true | ((data: Events[K]) => string) }
  /** Whether events have ids, and a client that comes back with one gets what it has missed. Default true. With false
   * a client that comes back begins anew: for what is worth nothing a moment later. */
  replay?: boolean
  /** Makes text of the data of `publish(type, data)`. Default: a string as it is, and anything else as JSON. */
  serialize?: (data: unknown, type: string) => string
  /** What keeps the events beyond this process: `fileLog`, `redisLog`, `natsLog`, or a log of your own. Events have the ids
   * of the log then, and are sent in its order, whoever has published them; `publish` resolves when the log has the event.
   * Whom the history cannot serve gets from the log what it has missed. The log stays open when the broadcaster is closed.
   * Default: none. */
  log?: EventLog
  /** Is told when the log cannot be read, once until it can be read again. It is tried again, after 0.1 to 5 seconds.
   * Default: a line on `console.error`. */
  onLogError?: (error: unknown) => void
}

/** Options that were checked, with the defaults filled in. */
export interface CheckedOptions extends FeedOptions {
  readonly serialize: (data: unknown, type: string) => unknown
  /** The key of an event that replaces others, or is replaced. */
  readonly keyOf: (type: string, data: unknown) => string | undefined
}

/** @throws {TypeError | RangeError} When an option cannot be used. */
export function checkBroadcasterOptions<Events>(
  options: BroadcasterOptions<Events>,
): CheckedOptions {
  if (typeof options !== 'object' || options === null)
    throw refusal('the options', options, 'an object such as { historyEvents: 100 }', TypeError)
  checkNames('Cannot make a Broadcaster with ', options, names)
  const { historyEvents = 1024, historyBytes = 4 * 1024 * 1024, historyMs = Infinity } = options
  const { log, onLogError = printLogError } = options
  const { whenBehind = 'disconnect', coalesce, replay = true, serialize = toText } = options
  if (!policies.includes(whenBehind))
    throw refusal('whenBehind', whenBehind, listed(policies.map(describe), 'or'), RangeError)
  if (typeof replay !== 'boolean') throw refusal('replay', replay, 'true or false', TypeError)
  if (typeof serialize !== 'function')
    throw refusal('serialize', serialize, 'a function', TypeError)
  if (log !== undefined && !isEventLog(log))
    throw refusal('log', log, 'an EventLog, such as memoryLog() makes', TypeError)
  if (typeof onLogError !== 'function')
    throw refusal('onLogError', onLogError, 'a function', TypeError)
  if (log !== undefined && !replay)
    throw new TypeError(
      'Cannot make a Broadcaster with a log and replay false: a log is for replays',
    )
  if (coalesce !== undefined && whenBehind !== 'coalesce')
    throw new TypeError(
      `Cannot make a Broadcaster with coalesce and whenBehind ${describe(whenBehind)}: it needs whenBehind: 'coalesce'`,
    )
  if (coalesce === undefined && whenBehind === 'coalesce')
    throw new TypeError(
      "Cannot make a Broadcaster with whenBehind 'coalesce' alone: it needs coalesce, an object such as { price: true }",
    )
  return {
    events: checkCount('historyEvents', historyEvents),
    bytes: checkCount('historyBytes', historyBytes),
    ms: checkMs(historyMs),
    whenBehind,
    isReplayed: replay,
    log,
    onLogError,
    serialize,
    keyOf: coalesce === undefined ? noKey : keysBy(coalesce),
  }
}

const names: readonly (keyof BroadcasterOptions)[] = [
  'historyEvents',
  'historyBytes',
  'historyMs',
  'whenBehind',
  'coalesce',
  'replay',
  'serialize',
  'log',
  'onLogError',
]

type Key = true | ((data: never) => string)

function keysBy(coalesce: object): CheckedOptions['keyOf'] {
  if (typeof coalesce !== 'object' || coalesce === null)
    throw refusal('coalesce', coalesce, 'an object such as { price: true }', TypeError)
  const keys = new Map<string, Key>(Object.entries(coalesce))
  for (const [type, key] of keys)
    if (key !== true && typeof key !== 'function')
      throw refusal(`coalesce.${type}`, key, 'true or a function of the data', TypeError)
  return (type, data) => {
    const key = keys.get(type)
    if (key === undefined) return undefined
    if (key === true) return JSON.stringify([type])
    const text: unknown = key(data as never)
    if (typeof text === 'string') return JSON.stringify([type, text]) // a type may have spaces
    throw new TypeError(
      `Cannot publish ${describe(data)} as ${describe(type)}: its coalesce key is ${describe(text)}, not a string`,
    )
  }
}

function noKey(): undefined {
  return undefined
}

function toText(data: unknown): unknown {
  return typeof data === 'string' ? data : JSON.stringify(data)
}

function isEventLog(log: unknown): log is EventLog {
  return (
    typeof log === 'object' &&
    log !== null &&
    ['append', 'read', 'tail', 'bounds', 'close'].every(
      (method) => typeof (log as Record<string, unknown>)[method] === 'function',
    )
  )
}

function printLogError(error: unknown): void {
  console.error('The event log of a Broadcaster cannot be read, and is tried again:', error)
}

const policies: readonly WhenBehind[] = ['disconnect', 'drop-oldest', 'coalesce']

function checkCount(option: string, value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number
  throw refusal(option, value, 'an integer from 1', RangeError)
}

function checkMs(value: unknown): number {
  if (typeof value === 'number' && value > 0) return value
  throw refusal('historyMs', value, 'a number of milliseconds above 0', RangeError)
}

function refusal(
  option: string,
  value: unknown,
  right: string,
  ErrorClass: ErrorConstructor,
): Error {
  return new ErrorClass(
    `Cannot make a Broadcaster with ${option} ${describe(value)}: it must be ${right}`,
  )
}
