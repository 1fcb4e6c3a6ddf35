/** The options of a log in files, and their check. */

import { checkNames, describe, maxTimerMs } from '@wakerobin/core/adapter'

import type { Damage } from './damage.ts'

/** When what was added is forced to the disk.
 *
 * `never`: the operating system decides; an event counts as added when that has it. It outlives the process, however that
 * ends, but not a loss of power. `interval`: the same, and a loss of power costs at most the events of the last
 * `fsyncIntervalMs`. `each`: an event counts as added when it is on the disk; those that come meanwhile are forced there
 * together. */
export type FsyncPolicy = 'never' | 'interval' | 'each'

/** How much a log in files keeps, and how well. */
export interface FileLogOptions {
  /** How many bytes of files are kept, from 1. The oldest go, in pieces of about a sixteenth; the newest event is kept in
   * any case. `Infinity` for any amount. Default 64 MiB. */
  maxBytes?: number
  /** How long events are kept, in milliseconds from 1. They go in pieces, when the newest of a piece is so old: an event is
   * gone when it is a quarter older at the latest, where a process has the log open. Default `Infinity`. */
  maxAgeMs?: number
  /** How many events are kept, from 1. What is older is not read any more; its bytes go with their piece. Default
   * `Infinity`. */
  maxEvents?: number
  /** When what was added is forced to the disk. Default `interval`. */
  fsync?: FsyncPolicy
  /** For `interval`: the time between an event and the moment in which it is forced to the disk, in milliseconds from 1.
   * Default 1000. */
  fsyncIntervalMs?: number
  /** Is told what was found damaged: a torn end, which was cut, when the log is opened; bytes in the middle that are no
   * events any more, which are passed over, when they are met. Default: a line on `console.warn`. */
  onRecovery?: (damage: Damage) => void
  /** Is told what fails in the background, beside what `append` rejects with: forcing to the disk with `interval`, removing
   * what is too old, or that the lock is gone. Default: a line on `console.error`. */
  onError?: (error: unknown) => void
}

/** Options that were checked, with the defaults filled in. */
export type CheckedOptions = Readonly<Required<FileLogOptions>>

/** @throws {TypeError} When one is of the wrong type, or `options` is no object.
 * @throws {RangeError} When a number or a word is none of those that may be. */
export function checkOptions(options: FileLogOptions = {}): CheckedOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new TypeError(
      `Cannot open a log with ${describe(options)} as options: expected an object such as { maxBytes: 2 ** 26 }`,
    )
  const { maxBytes = 64 * 1024 * 1024, maxAgeMs = Infinity, maxEvents = Infinity } = options
  const { fsync = 'interval', fsyncIntervalMs = 1000 } = options
  const { onRecovery = warn, onError = report } = options
  for (const [name, value] of Object.entries({ maxBytes, maxAgeMs, maxEvents }))
    if (value !== Infinity && !(Number.isSafeInteger(value) && value >= 1))
      refuse(name, value, 'an integer from 1, or Infinity', typeof value === 'number')
  if (
    !(Number.isSafeInteger(fsyncIntervalMs) && fsyncIntervalMs >= 1) ||
    fsyncIntervalMs > maxTimerMs
  )
    refuse(
      'fsyncIntervalMs',
      fsyncIntervalMs,
      `an integer of milliseconds from 1 to ${maxTimerMs}`,
      typeof fsyncIntervalMs === 'number',
    )
  if (!policies.includes(fsync))
    refuse('fsync', fsync, "'never', 'interval' or 'each'", typeof fsync === 'string')
  for (const [name, value] of Object.entries({ onRecovery, onError }))
    if (typeof value !== 'function') refuse(name, value, 'a function', false)
  const checked = { maxBytes, maxAgeMs, maxEvents, fsync, fsyncIntervalMs, onRecovery, onError }
  checkNames('Cannot open a log with ', options, Object.keys(checked))
  return checked
}

const policies: readonly unknown[] = ['never', 'interval', 'each']

function warn({ message }: Damage): void {
  console.warn(message)
}

function report(error: unknown): void {
  console.error(error)
}

function refuse(name: string, value: unknown, right: string, isRightKind: boolean): never {
  const ErrorClass = isRightKind ? RangeError : TypeError
  throw new ErrorClass(`Cannot open a log with ${name} ${describe(value)}: it must be ${right}`)
}
