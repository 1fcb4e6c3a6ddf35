/** Guards: holds on the completion of a swansong, each with a record of what it is. */

import { callSafely } from '../call-safely.ts'

/** A hold on completion: release it when the work is done, best by `using guard = swansong.guard()`. */
export interface Guard extends Disposable {
  /** What the work is, as given to `guard(label)`. */
  readonly label: string | undefined
  readonly isReleased: boolean
  /** Lets the stop complete as far as this guard is concerned. A second call does nothing. */
  release(): void
  /** Takes another one for the same work: it counts for itself and is as old as it is. */
  clone(): Guard
}

/** What a swansong keeps of a guard: not the guard itself, so that one that was lost can be found. */
export interface GuardRecord {
  readonly label: string | undefined
  /** Where it was taken, as `file:line:column`; undefined where that is not known. */
  readonly site: string | undefined
  /** When, on the clock of `performance.now()`. */
  readonly since: number
}

/** The swansong of a guard, as its guards know it. */
export interface GuardHolder {
  add(record: GuardRecord): void
  release(record: GuardRecord): void
  leak(record: GuardRecord): void
}

export class HeldGuard implements Guard {
  readonly #hold: Hold

  constructor(record: GuardRecord, holder: GuardHolder) {
    this.#hold = { record, holder, isReleased: false }
    holder.add(record)
    // Only those that people take one by one and may forget. See captureSite.
    if (record.site !== undefined) lost.register(this, this.#hold, this.#hold)
  }

  get label(): string | undefined {
    return this.#hold.record.label
  }

  get isReleased(): boolean {
    return this.#hold.isReleased
  }

  release(): void {
    if (this.#hold.isReleased) return
    if (this.#hold.record.site !== undefined) lost.unregister(this.#hold)
    letGo(this.#hold)
  }

  clone(): Guard {
    const { record, holder } = this.#hold
    return new HeldGuard({ ...record, since: performance.now() }, holder)
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** What outlives a guard that nobody released. */
interface Hold {
  readonly record: GuardRecord
  readonly holder: GuardHolder
  isReleased: boolean
}

const lost = new FinalizationRegistry<Hold>((hold) => {
  callSafely(() => hold.holder.leak(hold.record))
  letGo(hold)
})

function letGo(hold: Hold): void {
  hold.isReleased = true
  hold.holder.release(hold.record)
}

/** The place that called `caller`.
 *
 * Read at once, which costs 10 microseconds more than the capture: until it is read, V8's stack keeps
 * the `this` of that place, so that an object that has its guard in a field would never be collected. */
export function captureSite(caller: Function): string | undefined {
  const holder: { stack?: string } = {}
  if (errors.captureStackTrace === undefined) holder.stack = new Error('site').stack ?? ''
  else withShortStack(() => errors.captureStackTrace!(holder, caller))
  // `at (name \()?file:line:column\)?`: a path may have spaces.
  return /^\s*at (?:.*? \()?(.+:\d+:\d+)\)?$/m.exec(holder.stack ?? '')?.[1]
}

// V8's own additions to Error; other engines have no captureStackTrace, and give the whole stack.
const errors = Error as {
  captureStackTrace?: (holder: object, caller: Function) => void
  stackTraceLimit?: number
}

function withShortStack(capture: () => void): void {
  const limit = errors.stackTraceLimit
  errors.stackTraceLimit = 1
  try {
    capture()
  } finally {
    errors.stackTraceLimit = limit!
  }
}
