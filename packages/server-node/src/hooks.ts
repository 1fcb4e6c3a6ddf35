/** What an app does at its stop: functions with a name and a timeout, the last first. */

import type { StopReason } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import type { Clock } from './clock.ts'

/** The phases of a stop in which hooks run. */
export type HookPhase = 'draining' | 'stopping' | 'closing'

/** What a hook is called with, and what it may return: a promise is waited for. */
export type Hook = (reason: StopReason) => unknown

/** How a hook runs. */
export interface HookOptions {
  /** What it is called in reports. Default: the name of the function, else `hook`. */
  name?: string
  /** How long it is waited for, in milliseconds. Default: `hookTimeoutMs` of the server. Hooks of `draining` can
   * make that phase longer, and the deadline counts from its end. No other hook is waited for beyond the
   * deadline; those of `closing` have `hookTimeoutMs` more, together. */
  timeoutMs?: number
}

/** How a hook went. */
export interface HookReport {
  readonly phase: HookPhase
  readonly name: string
  /** How long it took, or was waited for, in milliseconds. */
  readonly ms: number
  /** What it threw, or that it was not done in time. */
  readonly error?: unknown
}

/** When hooks run, and how long they are waited for. */
export interface HookRun {
  readonly reason: StopReason
  readonly clock: Clock
  /** For those that have no timeout of their own. */
  readonly timeoutMs: number
  /** When none is waited for any more, on the clock. */
  readonly until: number
}

interface Entry {
  readonly call: Hook
  readonly name: string
  readonly timeoutMs: number | undefined
}

/** The hooks of a stop. Each is called once. */
export class Hooks {
  /** How those went that have run, in that order. */
  readonly reports: HookReport[] = []
  readonly #waiting: Record<HookPhase, Entry[]> = { draining: [], stopping: [], closing: [] }
  readonly #over = new Set<HookPhase>()
  #reason: StopReason | undefined

  /** Registers a hook. One that comes when its phase is over is called at once, and not waited for.
   * @throws {TypeError} When an argument is not what it should be. */
  add(phase: HookPhase, call: Hook, options: HookOptions = {}): Disposable {
    const entry = check(phase, call, options)
    if (this.#over.has(phase)) {
      void callAfterwards(entry, this.#reason!)
      return { [Symbol.dispose]() {} }
    }
    const entries = this.#waiting[phase]
    entries.push(entry)
    return {
      [Symbol.dispose]() {
        const at = entries.indexOf(entry)
        if (at !== -1) entries.splice(at, 1)
      },
    }
  }

  has(phase: HookPhase): boolean {
    return this.#waiting[phase].length > 0
  }

  /** Calls those of a phase, the last first, each when the one before it is done. One that fails or is
   * not done in time stops no other. Those that register meanwhile are called too. */
  async run(phase: HookPhase, run: HookRun): Promise<void> {
    this.#reason = run.reason
    for (let entry = this.#waiting[phase].pop(); entry; entry = this.#waiting[phase].pop()) {
      this.reports.push(await runHook(phase, entry, run))
    }
    this.#over.add(phase)
  }
}

async function runHook(phase: HookPhase, entry: Entry, run: HookRun): Promise<HookReport> {
  const { reason, clock, until } = run
  const { name } = entry
  const start = clock.now()
  const ms = Math.max(0, Math.min(entry.timeoutMs ?? run.timeoutMs, until - start))
  try {
    await inTime(entry, reason, clock, ms)
    return { phase, name, ms: clock.now() - start }
  } catch (error) {
    return { phase, name, ms: clock.now() - start, error }
  }
}

function inTime(
  { call, name }: Entry,
  reason: StopReason,
  clock: Clock,
  ms: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () =>
      reject(
        new Error(`Cannot wait any longer for ${name}: it is not done after ${Math.round(ms)} ms`),
      ),
    )
    const done = async (): Promise<void> => void (await call(reason))
    done().then(resolve, reject).finally(cancel)
  })
}

/** As an event listener is called: what it throws is uncaught. */
async function callAfterwards({ call }: Entry, reason: StopReason): Promise<void> {
  await call(reason)
}

const phases: readonly unknown[] = ['draining', 'stopping', 'closing'] satisfies HookPhase[]

function check(phase: HookPhase, call: Hook, { name, timeoutMs }: HookOptions): Entry {
  if (!phases.includes(phase)) {
    throw new TypeError(
      `Cannot register a hook for ${describe(phase)}: expected "draining", "stopping" or "closing"`,
    )
  }
  if (typeof call !== 'function')
    throw new TypeError(`Cannot call ${describe(call)} at the stop: expected a function`)
  if (name !== undefined && typeof name !== 'string')
    throw new TypeError(`Cannot name a hook ${describe(name)}: expected a string`)
  if (timeoutMs !== undefined && !(typeof timeoutMs === 'number' && timeoutMs >= 0)) {
    throw new RangeError(
      `Cannot wait ${describe(timeoutMs)} for a hook: timeoutMs must be a number from 0`,
    )
  }
  return { call, name: name ?? (call.name === '' ? 'hook' : call.name), timeoutMs }
}
