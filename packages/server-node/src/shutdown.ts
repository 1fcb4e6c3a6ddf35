/** The stop of everything on one swansong, in phases. It knows no sockets: servers take part in it.
 *
 * `running` → `draining` (everything is still served, clients are told to go elsewhere) → `stopping` (the
 * listeners are closed, streams end, requests are answered) → `closing` (what the app has opened is closed)
 * → `done`. */

import type { StopReason, Swansong } from '@wakerobin/core'
import { callSafely } from '@wakerobin/core/adapter'

import type { Clock } from './clock.ts'
import { realClock } from './clock.ts'
import { Hooks } from './hooks.ts'
import type { Hook, HookOptions, HookPhase, HookReport, HookRun } from './hooks.ts'
import { OpenReport } from './open-report.ts'
import type { OpenWork } from './open-report.ts'
import type { Phase } from './phase.ts'

/** What takes part in a stop: a server. */
export interface Part {
  /** Whether it has begun to serve. */
  readonly isServing: boolean
  /** The stop begins: what is answered from now on counts. */
  begin(): void
  /** Goes on serving, and tells clients to connect elsewhere. */
  drain(): void
  /** Takes no new connections; resolves when that is so. */
  close(): Promise<void>
  /** Ends what is open, in good order; resolves when nothing is. */
  stop(): Promise<void>
  /** Cuts what is still open; resolves when nothing is. */
  cut(): Promise<void>
  /** What is open now. */
  work(): OpenWork
  /** What the stop has done. */
  tally(): Tally
}

/** What a stop has done. */
export interface Tally {
  /** Requests that were answered after the stop had begun. */
  readonly answered: number
  /** Requests that came when their connection had said `Connection: close` or had been ended: not handled. */
  readonly refused: number
  /** Event streams that have ended whole since the stop began. */
  readonly streamsEnded: number
  /** Event streams whose client was too slow to take the last events, and that were cut before the deadline. */
  readonly streamsCut: number
}

/** How long a stop takes, in milliseconds. */
export interface ShutdownTimes {
  readonly drainDelayMs: number
  readonly deadlineMs: number
  readonly hookTimeoutMs: number
}

/** How a stop went. */
export interface ShutdownReport extends Tally {
  /** Why it began. */
  readonly reason: StopReason
  /** `clean`; `cut` when a client too slow was cut before the deadline; `deadline` when something
   * had to be cut at it; `hook-failed` when nothing was cut, but a hook failed. */
  readonly outcome: 'clean' | 'cut' | 'deadline' | 'hook-failed'
  /** What `run` ends the process with: 0 when all is well, 1 when something was cut or has failed. */
  readonly code: 0 | 1
  /** How long each phase took, in milliseconds. */
  readonly ms: { readonly draining: number; readonly stopping: number; readonly closing: number }
  /** What was open at the deadline, and was cut; undefined when nothing was. */
  readonly cut: OpenReport | undefined
  /** How the hooks went, in the order in which they ran. */
  readonly hooks: readonly HookReport[]
}

export const defaultTimes: ShutdownTimes = {
  drainDelayMs: 0,
  deadlineMs: 10_000,
  hookTimeoutMs: 2_000,
}

const shutdowns = new WeakMap<Swansong, Shutdown>()

/** The one stop of a swansong and of the servers on it. */
export class Shutdown {
  readonly swansong: Swansong
  /** Resolves when the stop is done. */
  readonly done: Promise<ShutdownReport>
  readonly #clock: Clock
  readonly #hooks = new Hooks()
  readonly #parts = new Set<Part>()
  readonly #onDeadline = new Set<(open: OpenReport) => void>()
  #times: ShutdownTimes | undefined
  #phase: Phase = 'running'
  #reason: StopReason | undefined
  /** Whether an error has begun the stop, or come during it. */
  #hasFailed = false
  #resolveDone!: (report: ShutdownReport) => void

  private constructor(swansong: Swansong, clock: Clock) {
    this.swansong = swansong
    this.#clock = clock
    this.done = new Promise((resolve) => {
      this.#resolveDone = resolve
    })
    // Stopped by hand, without us: then there is no time to drain any more.
    swansong.onStop((reason) => void this.begin(reason))
  }

  /** The stop of a swansong. Made when first asked for. */
  static of(swansong: Swansong, clock: Clock = realClock): Shutdown {
    let shutdown = shutdowns.get(swansong)
    if (shutdown === undefined) {
      shutdown = new Shutdown(swansong, clock)
      shutdowns.set(swansong, shutdown)
    }
    return shutdown
  }

  get phase(): Phase {
    return this.#phase
  }

  /** Why the stop has begun; undefined until it has. */
  get reason(): StopReason | undefined {
    return this.#reason
  }

  /** Takes in a server. Of several with different times, the longest count. */
  join(part: Part, times: ShutdownTimes): void {
    this.#parts.add(part)
    const mine = this.#times ?? times
    this.#times = {
      drainDelayMs: Math.max(mine.drainDelayMs, times.drainDelayMs),
      deadlineMs: Math.max(mine.deadlineMs, times.deadlineMs),
      hookTimeoutMs: Math.max(mine.hookTimeoutMs, times.hookTimeoutMs),
    }
  }

  /** Registers a hook. */
  onShutdown(phase: HookPhase, hook: Hook, options?: HookOptions): Disposable {
    return this.#hooks.add(phase, hook, options)
  }

  /** Calls back at the deadline, with what is cut then. */
  onDeadline(callback: (open: OpenReport) => void): void {
    this.#onDeadline.add(callback)
  }

  /** What is open. */
  report(): OpenReport {
    const work = [...this.#parts].map((part) => part.work())
    return new OpenReport(this.#phase, work, this.swansong)
  }

  /** Begins the stop. A second call changes nothing. */
  begin(reason: StopReason): Promise<ShutdownReport> {
    if (reason.kind === 'error' || reason.kind === 'init') this.#hasFailed = true
    if (this.#phase !== 'running') return this.done
    this.#reason = reason
    const times = this.#times ?? defaultTimes
    this.#phase = this.#drains(reason, times) ? 'draining' : 'stopping'
    for (const part of this.#parts) part.begin()
    void this.#run(reason, times).then(this.#resolveDone)
    return this.done
  }

  async #run(reason: StopReason, times: ShutdownTimes): Promise<ShutdownReport> {
    await undefined // whoever has begun it may say so before the first hook speaks
    const clock = this.#clock
    const run = { reason, clock, timeoutMs: times.hookTimeoutMs }
    const beganAt = clock.now()
    const drained = this.#phase === 'draining' ? await this.#drain(times, run) : undefined

    this.#phase = 'stopping'
    const stoppingAt = clock.now()
    const deadlineAt = stoppingAt + times.deadlineMs
    const hooksDone = this.#runLeft(drained?.hooks, times, { ...run, until: deadlineAt })
    const isLate = await this.#isLate(this.#stop(reason), times.deadlineMs)
    const cut = isLate ? await this.#cut() : undefined
    await hooksDone

    this.#phase = 'closing'
    const closingAt = clock.now()
    const until = Math.max(closingAt, deadlineAt) + times.hookTimeoutMs
    await this.#hooks.run('closing', { ...run, until })

    this.#phase = 'done'
    const ms = {
      draining: stoppingAt - beganAt,
      stopping: closingAt - stoppingAt,
      closing: clock.now() - closingAt,
    }
    const tally = tallyOf(this.#parts)
    const hooks = this.#hooks.reports
    const outcome = outcomeOf(cut, tally, hooks)
    const code = outcome === 'clean' && !this.#hasFailed ? 0 : 1
    return { reason, outcome, code, ms, ...tally, cut, hooks }
  }

  /** Whether there is somebody to tell, and time for it. A phase of no time that no hook waits for is left out. */
  #drains(reason: StopReason, { drainDelayMs }: ShutdownTimes): boolean {
    if (this.swansong.state !== 'running' || reason.kind === 'init') return false
    if (![...this.#parts].some(({ isServing }) => isServing)) return false
    return drainDelayMs > 0 || this.#hooks.has('draining')
  }

  /** Waits for the drain delay and the hooks, unless somebody stops the swansong meanwhile.
   * @returns The hooks, in an object because a promise of a promise would wait for it. */
  async #drain(
    { drainDelayMs }: ShutdownTimes,
    run: Omit<HookRun, 'until'>,
  ): Promise<{ readonly hooks: Promise<void> }> {
    let cancel = (): void => {}
    const delay = new Promise<void>((resolve) => {
      if (drainDelayMs === 0) return resolve()
      cancel = this.#clock.after(drainDelayMs, resolve)
      for (const part of this.#parts) part.drain()
    })
    const hooks = this.#hooks.run('draining', { ...run, until: Infinity })
    await Promise.race([Promise.all([delay, hooks]), this.swansong.stopping])
    cancel()
    return { hooks }
  }

  /** The hooks of `stopping`, after those of `draining` where that phase was left out. */
  async #runLeft(
    draining: Promise<void> | undefined,
    { deadlineMs }: ShutdownTimes,
    run: HookRun,
  ): Promise<void> {
    if (draining !== undefined) await this.#isLate(draining, deadlineMs)
    await this.#hooks.run('draining', run)
    await this.#hooks.run('stopping', run)
  }

  async #stop(reason: StopReason): Promise<void> {
    const parts = [...this.#parts]
    // Before anybody is told to go: who comes back at once must find the door closed, not closing.
    await Promise.all(parts.map((part) => part.close()))
    void this.swansong.shutDown(reason)
    await Promise.all(parts.map((part) => part.stop()))
    await this.swansong.completion
  }

  #isLate(stopped: Promise<void>, deadlineMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(deadlineMs, () => resolve(true))
      void stopped.then(() => {
        cancel()
        resolve(false)
      })
    })
  }

  async #cut(): Promise<OpenReport> {
    const open = this.report()
    for (const callback of this.#onDeadline) callSafely(() => callback(open))
    await Promise.all([...this.#parts].map((part) => part.cut()))
    return open
  }
}

/** Calls back at the stop, in one of its phases; a promise is waited for. The last registered comes first.
 *
 * `draining`: at once, while everything is still served: to leave a service registry, say. `stopping`: the
 * listeners close, streams end. `closing`: every request is answered and no guard is held: to close what
 * those needed. A hook that throws or takes too long stops no other, and shows in the report.
 *
 * ```ts
 * import { Init } from '@wakerobin/core'
 * import { onShutdown } from '@wakerobin/server-node'
 *
 * class Database {
 *   async close(): Promise<void> {}
 * }
 *
 * const database = Init.new((info) => {
 *   const db = new Database()
 *   onShutdown(info.swansong, 'closing', () => db.close(), { name: 'database' })
 *   info.withSharedState(db)
 * })
 * ```
 * @param swansong The server's: `info.swansong`, `conn.swansong`, `handle.swansong`. A child of it has a stop of
 * its own, for which the server does not wait.
 * @returns A registration: dispose it when the call is no longer wanted.
 * @throws {TypeError} When `phase` or `hook` is none. @throws {RangeError} When `timeoutMs` is no number from 0. */
export function onShutdown(
  swansong: Swansong,
  phase: HookPhase,
  hook: Hook,
  options?: HookOptions,
): Disposable {
  return Shutdown.of(swansong).onShutdown(phase, hook, options)
}

function tallyOf(parts: Iterable<Part>): Tally {
  const total = { answered: 0, refused: 0, streamsEnded: 0, streamsCut: 0 }
  for (const part of parts) {
    const { answered, refused, streamsEnded, streamsCut } = part.tally()
    total.answered += answered
    total.refused += refused
    total.streamsEnded += streamsEnded
    total.streamsCut += streamsCut
  }
  return total
}

function outcomeOf(
  cut: OpenReport | undefined,
  { streamsCut }: Tally,
  hooks: readonly HookReport[],
): ShutdownReport['outcome'] {
  if (cut !== undefined) return 'deadline'
  if (streamsCut > 0) return 'cut'
  return hooks.some((hook) => 'error' in hook) ? 'hook-failed' : 'clean'
}
