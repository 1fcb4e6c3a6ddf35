/** Coordinates a stop: one flag that says "stop", and an account of the work that must finish first.
 *
 * A guard is work that delays completion. An interrupt ends what it wraps when the stop begins. A
 * child is a part that can stop by itself: stops flow down, guards are accounted for upwards.
 *
 * The promises are numbered in docs/spec/swansong.md. */

import { callSafely } from './call-safely.ts'
import { describe } from './describe.ts'
import { isPromiseLike } from './is-promise-like.ts'
import { captureSite, HeldGuard } from './swansong/guard.ts'
import type { Guard, GuardRecord } from './swansong/guard.ts'
import { GuardedIterator } from './swansong/guarded-iterator.ts'
import {
  interruptedIterable,
  InterruptedIterator,
  interruptedReadable,
} from './swansong/interrupt.ts'
import { GuardReport } from './swansong/report.ts'
import type { GuardEntry } from './swansong/report.ts'

/** `running` until the stop begins, then `shutting-down` while guards remain, then `complete`. */
export type ShutdownState = 'running' | 'shutting-down' | 'complete'

/** Why a stop began. */
export interface StopReason {
  /** `call`: somebody called `shutDown`. `parent`: the stop of a parent reached this one. */
  readonly kind: 'call' | 'signal' | 'error' | 'init' | 'parent'
  /** The signal that the process got, as `SIGTERM`. */
  readonly signal?: string
  /** What went wrong. */
  readonly error?: unknown
}

/** How a swansong reports. */
export interface SwansongOptions {
  /** What it is called in reports. Default `''`. */
  name?: string
  /** Whether guards remember where they were taken, which costs some 20 microseconds each. Default
   * true. Children do as their parent. */
  sites?: boolean
  /** Told of a guard that was garbage-collected before it was released, which it is now. Default: a
   * line on the console. Children do as their parent. */
  onLeak?: (entry: GuardEntry) => void
  /** Told of a guard that is released after the stop has begun. Default: nobody. Children do as their
   * parent. */
  onLateRelease?: (entry: GuardEntry) => void
}

/** How `interrupt` wraps. */
export interface InterruptOptions {
  /** Whether what is wrapped also delays completion until it has ended. Default false. */
  guard?: boolean
}

/** The reason of `swansong.signal`. */
export class ShuttingDown extends Error {
  override readonly name = 'ShuttingDown'
  readonly reason: StopReason

  constructor(reason: StopReason) {
    super('The stop has begun')
    this.reason = reason
  }
}

/** Stops things in good order.
 *
 * ```ts
 * import { Swansong } from '@wakerobin/core'
 *
 * const swansong = new Swansong()
 * const guard = swansong.guard('writing the report')
 * const stopped = swansong.shutDown() // resolves when every guard is released
 * guard.release()
 * await stopped
 * ``` */
export class Swansong {
  readonly name: string
  readonly #options: SwansongOptions
  readonly #parent: Swansong | undefined
  #reason: StopReason | undefined
  // While callbacks run the stop is not complete: any of them may still take a guard.
  #isCallingBack = false
  // Made when first used: most children use few of these, and a request none at all.
  #guards: Set<GuardRecord> | undefined
  #callbacks: Set<(reason: StopReason) => void> | undefined
  #children: Set<Swansong> | undefined
  #controller: AbortController | undefined
  #stopping: Promise<StopReason> | undefined
  #completion: PromiseWithResolver | undefined
  #busyChildren = 0
  #isBusy = false
  #isAttached = false

  constructor(options: SwansongOptions = {}, parent?: Swansong) {
    this.name = options.name ?? ''
    this.#options = options
    this.#parent = parent
  }

  // ---------------------------------------------------------------------------------- the stop

  get state(): ShutdownState {
    if (!this.#isStopped) return 'running'
    return this.#isBusy ? 'shutting-down' : 'complete'
  }

  /** Why the stop began; undefined until it has. */
  get reason(): StopReason | undefined {
    // A child that has nothing to be told is not known to its parent: it asks.
    if (this.#reason === undefined && this.#parent?.reason !== undefined) {
      this.#reason = { ...this.#parent.reason, kind: 'parent' }
    }
    return this.#reason
  }

  /** Begins the stop of this swansong and its children: ends what was interrupted and calls every
   * `onStop`, before it returns. The whole tree is stopped before the first callback runs.
   *
   * A second call changes nothing.
   * @returns `completion`. */
  shutDown(reason: StopReason = { kind: 'call' }): Promise<void> {
    if (!this.#isStopped) {
      const stopped = [...this.#mark(reason)]
      for (const swansong of stopped) swansong.#callBack()
      for (const swansong of stopped) {
        swansong.#isCallingBack = false
        swansong.#changed()
      }
    }
    return this.completion
  }

  /** Calls back when the stop begins, at most once; at once if it has begun.
   *
   * An error that the callback throws is reported as uncaught and stops no other callback.
   * @returns A registration: dispose it when the call is no longer wanted. */
  onStop(callback: (reason: StopReason) => void): Disposable {
    const { reason } = this
    if (reason !== undefined) {
      callSafely(() => callback(reason))
      return { [Symbol.dispose]() {} }
    }
    // A function of its own, so that one callback can be registered twice.
    const entry = (why: StopReason): void => callback(why)
    this.#callbacks ??= new Set()
    this.#callbacks.add(entry)
    this.#changed()
    return {
      [Symbol.dispose]: () => {
        if (this.#callbacks!.delete(entry)) this.#changed()
      },
    }
  }

  /** Resolves when the stop begins. Does not begin it, and waits for no guard. */
  get stopping(): Promise<StopReason> {
    this.#stopping ??= new Promise((resolve) => {
      this.onStop(resolve)
    })
    return this.#stopping
  }

  /** Resolves when the stop has begun and no guard is left, here or in a child. Does not begin it.
   *
   * Not one promise for ever: a guard that is taken after completion delays those who ask afterwards. */
  get completion(): Promise<void> {
    if (this.state === 'complete') return Promise.resolve()
    this.#completion ??= promiseWithResolver()
    this.#changed()
    return this.#completion.promise
  }

  /** Aborts when the stop begins, with a `ShuttingDown` as its reason. Made when first read. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.reason !== undefined) this.#controller.abort(new ShuttingDown(this.reason))
      this.#changed()
    }
    return this.#controller.signal
  }

  // -------------------------------------------------------------------------------- the account

  /** Takes a guard: completion waits until it is released. Allowed in every state.
   *
   * ```ts
   * import { Swansong } from '@wakerobin/core'
   *
   * const swansong = new Swansong()
   * {
   *   using guard = swansong.guard('a job')
   * }
   * console.log(swansong.guardCount) // 0
   * ```
   * @param label What the work is, for people who wonder why the stop takes so long. */
  guard(label?: string): Guard {
    return this.#hold(label, this.#options.sites === false ? undefined : captureSite(this.guard))
  }

  /** Guards a promise until it settles. */
  guarded<T>(work: PromiseLike<T>, label?: string): Promise<T>
  /** Calls `work` and guards it until it returns, throws, or its promise settles. */
  guarded<T>(work: () => T | PromiseLike<T>, label?: string): Promise<T>
  /** Guards a stream from now until it ends, fails or is closed. Nothing is read. */
  guarded<T>(stream: AsyncIterable<T>, label?: string): AsyncIterableIterator<T>
  guarded(work: unknown, label?: string): unknown {
    return this.#guardedFor(this.guarded, work, label)
  }

  /** How many guards are held, here and in children. */
  get guardCount(): number {
    let count = this.#guards?.size ?? 0
    for (const child of this.#children ?? []) count += child.guardCount
    return count
  }

  /** What delays completion: where guards were taken, how many, and how long ago. */
  report(): GuardReport {
    return new GuardReport([...this.#records()])
  }

  // ------------------------------------------------------------------------------- interruption

  /** Wraps a promise: resolves to undefined when the stop begins first.
   *
   * The work itself goes on; a late rejection is ignored. To be able to end it, give a function. */
  interrupt<T>(promise: PromiseLike<T>, options?: InterruptOptions): Promise<T | undefined>
  /** Calls `work` with a signal that aborts when the stop begins, and wraps its promise. Not called at all
   * after the stop. */
  interrupt<T>(
    work: (signal: AbortSignal) => PromiseLike<T>,
    options?: InterruptOptions,
  ): Promise<T | undefined>
  /** Wraps a web stream: it ends, cleanly, when the stop begins, and the source is cancelled. */
  interrupt<T>(stream: ReadableStream<T>, options?: InterruptOptions): ReadableStream<T>
  /** Wraps a stream: it ends, cleanly, when the stop begins, even while an item is awaited.
   *
   * An item that is ready at that moment is dropped. The source's `return()` is called once and not
   * waited for; a Node stream is destroyed. */
  interrupt<T>(stream: AsyncIterable<T>, options?: InterruptOptions): AsyncIterableIterator<T>
  /** Wraps an iterable: it ends when the stop has begun. */
  interrupt<T>(items: Iterable<T>): IterableIterator<T>
  interrupt(source: unknown, { guard = false }: InterruptOptions = {}): unknown {
    if (typeof source === 'function') {
      if (this.#isStopped) return Promise.resolve(undefined)
      const call = (): Promise<unknown> =>
        this.#interruptWork(source as (signal: AbortSignal) => unknown)
      return guard ? this.#guardedFor(this.interrupt, call) : call()
    }
    if (typeof source === 'object' && source !== null) {
      if (source instanceof ReadableStream) {
        const items = new InterruptedIterator<unknown>(this, source)
        return interruptedReadable(this.#maybeGuarded(items, guard))
      }
      if (Symbol.asyncIterator in source) {
        const items = new InterruptedIterator(this, source as AsyncIterable<unknown>)
        return this.#maybeGuarded(items, guard)
      }
      if (Symbol.iterator in source) return interruptedIterable(this, source as Iterable<unknown>)
      if (isPromiseLike(source)) return this.#maybeGuarded(this.#interruptPromise(source), guard)
    }
    throw new TypeError(
      `Cannot interrupt ${describe(source)}: expected a promise, a function of an AbortSignal, a stream or an iterable object`,
    )
  }

  // ------------------------------------------------------------------------------------ the tree

  /** Makes a part that can stop by itself. It stops when this one does, and this one waits for its
   * guards.
   *
   * A child that holds nothing and waits for nothing costs its parent nothing, and needs no disposal.
   * @param name What it is called in reports, after the names of those above it. */
  child(name = ''): Swansong {
    return new Swansong({ ...this.#options, name }, this)
  }

  /** Begins the stop and waits for completion: `await using swansong = new Swansong()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutDown()
  }

  get #isStopped(): boolean {
    return this.reason !== undefined
  }

  /** Marks this and what is below it as stopped; parents come before their children. */
  *#mark(reason: StopReason): Generator<Swansong> {
    this.#reason = reason
    this.#isCallingBack = true
    this.#changed()
    yield this
    const childReason: StopReason = { ...reason, kind: 'parent' }
    for (const child of this.#children ?? []) {
      if (child.#reason === undefined) yield* child.#mark(childReason)
    }
  }

  #callBack(): void {
    const reason = this.#reason!
    for (const callback of this.#callbacks ?? []) {
      this.#callbacks!.delete(callback)
      callSafely(() => callback(reason))
    }
    this.#controller?.abort(new ShuttingDown(reason))
  }

  #guardedFor(caller: Function, work: unknown, label?: string): unknown {
    const site = this.#options.sites === false ? undefined : captureSite(caller)
    if (typeof work === 'object' && work !== null && Symbol.asyncIterator in work) {
      return new GuardedIterator(work as AsyncIterable<unknown>, this.#hold(label, site))
    }
    if (typeof work !== 'function' && !isPromiseLike(work)) {
      throw new TypeError(
        `Cannot guard ${describe(work)}: expected a promise, a function or an async iterable`,
      )
    }
    return settled(work as PromiseLike<unknown> | (() => unknown), this.#hold(label, site))
  }

  #hold(label: string | undefined, site: string | undefined): Guard {
    return new HeldGuard(
      { label, site, since: performance.now() },
      {
        add: (record) => {
          this.#guards ??= new Set()
          this.#guards.add(record)
          this.#changed()
        },
        release: (record) => {
          this.#guards!.delete(record)
          this.#changed()
          const { onLateRelease } = this.#options
          if (onLateRelease !== undefined && this.#isStopped)
            callSafely(() => onLateRelease(this.#entryOf(record)))
        },
        leak: (record) => (this.#options.onLeak ?? warnOfLeak)(this.#entryOf(record)),
      },
    )
  }

  #entryOf(record: GuardRecord): GuardEntry {
    return new GuardReport([{ record, path: this.#path }]).entries[0]!
  }

  get #path(): string {
    const above = this.#parent === undefined ? '' : this.#parent.#path
    return [above, this.name].filter((name) => name !== '').join('/')
  }

  *#records(): Generator<{ record: GuardRecord; path: string }> {
    const path = this.#path
    for (const record of this.#guards ?? []) yield { record, path }
    for (const child of this.#children ?? []) yield* child.#records()
  }

  /** Works out anew whether this delays its parent and whether its parent must know it, and settles.
   *
   * Called after each change; goes on upwards only where the answer is another, so a guard among many
   * costs nothing above. */
  #changed(): void {
    const isBusy = (this.#guards?.size ?? 0) > 0 || this.#busyChildren > 0 || this.#isCallingBack
    const hasToldBusy = isBusy !== this.#isBusy
    this.#isBusy = isBusy
    if (this.#completion !== undefined && this.state === 'complete') {
      this.#completion.resolve()
      this.#completion = undefined
    }
    const isAttached =
      isBusy ||
      (this.#callbacks?.size ?? 0) > 0 ||
      (this.#children?.size ?? 0) > 0 ||
      this.#completion !== undefined ||
      (this.#controller !== undefined && !this.#controller.signal.aborted)
    const hasMoved = isAttached !== this.#isAttached
    this.#isAttached = isAttached

    const parent = this.#parent
    if (parent === undefined || (!hasToldBusy && !hasMoved)) return
    if (hasToldBusy) parent.#busyChildren += isBusy ? 1 : -1
    if (hasMoved && isAttached) {
      parent.#children ??= new Set()
      parent.#children.add(this)
    } else if (hasMoved) {
      parent.#children!.delete(this)
    }
    parent.#changed()
  }

  #maybeGuarded<T extends object>(interrupted: T, guard: boolean): T {
    return guard ? (this.#guardedFor(this.interrupt, interrupted) as T) : interrupted
  }

  /** With a signal of its own, which is let go with the work: listeners of much work on the one signal of
   * the swansong would be many, and would keep a child known to its parent. */
  #interruptWork(work: (signal: AbortSignal) => unknown): Promise<unknown> {
    const controller = new AbortController()
    // In an async function, so that a work that throws at once rejects.
    return this.#interruptPromise((async () => work(controller.signal))(), (reason) =>
      controller.abort(new ShuttingDown(reason)),
    )
  }

  #interruptPromise<T>(
    promise: PromiseLike<T>,
    atStop?: (reason: StopReason) => void,
  ): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const registration = this.onStop((reason) => {
        resolve(undefined)
        atStop?.(reason)
      })
      // After a stop these two still run and change nothing: a late rejection is never unhandled.
      Promise.resolve(promise).then(
        (value) => {
          registration[Symbol.dispose]()
          resolve(value)
        },
        (error: unknown) => {
          registration[Symbol.dispose]()
          reject(error as Error)
        },
      )
    })
  }
}

async function settled(
  work: PromiseLike<unknown> | (() => unknown),
  guard: Guard,
): Promise<unknown> {
  try {
    return await (typeof work === 'function' ? work() : work)
  } finally {
    guard.release()
  }
}

function warnOfLeak(entry: GuardEntry): void {
  console.warn(`A guard was lost before it was released: ${GuardReport.lineOf(entry)}`)
}

// Promise.withResolvers is not in Node 20.
interface PromiseWithResolver {
  readonly promise: Promise<void>
  readonly resolve: () => void
}

function promiseWithResolver(): PromiseWithResolver {
  let resolve!: () => void
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
