/** Coordinates a stop: one flag that says "stop", and a count of the work that must finish first.
 *
 * A guard is work that delays completion. An interrupt ends what it wraps when the stop begins. */

import { callSafely } from './call-safely.ts'
import { describe } from './describe.ts'
import { InterruptedIterator, interruptedIterable } from './swansong/interrupt.ts'

/** `running` until `shutDown()`, then `shutting-down` while guards remain, then `complete`. */
export type ShutdownState = 'running' | 'shutting-down' | 'complete'

/** A hold on completion: release it when the work is done, best by `using guard = swansong.guard()`. */
export interface Guard extends Disposable {
  /** What the work is, as given to `guard(label)`. */
  readonly label: string
  readonly isReleased: boolean
  /** Lets the stop complete as far as this guard is concerned. A second call does nothing. */
  release(): void
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
  #isStopped = false
  // While callbacks run the stop is not complete: any of them may still take a guard.
  #isCallingBack = false
  readonly #guards = new Set<Guard>()
  readonly #callbacks = new Set<() => void>()
  #controller: AbortController | undefined
  #completion: PromiseWithResolver | undefined

  get state(): ShutdownState {
    if (!this.#isStopped) return 'running'
    return this.#guards.size === 0 && !this.#isCallingBack ? 'complete' : 'shutting-down'
  }

  /** Begins the stop: ends what was interrupted and calls every `onStop`, before it returns.
   *
   * A second call changes nothing.
   * @returns `completion`. */
  shutDown(): Promise<void> {
    if (!this.#isStopped) {
      this.#isStopped = true
      this.#isCallingBack = true
      for (const callback of this.#callbacks) {
        this.#callbacks.delete(callback)
        callSafely(callback)
      }
      this.#controller?.abort()
      this.#isCallingBack = false
      this.#settle()
    }
    return this.completion
  }

  /** Resolves when the stop has begun and no guard is left. Does not begin the stop. */
  get completion(): Promise<void> {
    // Not one promise for ever: a guard taken after completion delays those who ask afterwards.
    if (this.state === 'complete') return Promise.resolve()
    this.#completion ??= promiseWithResolver()
    return this.#completion.promise
  }

  /** Calls back when the stop begins, at most once; at once if it has begun.
   *
   * An error that the callback throws is reported as uncaught and stops no other callback.
   * @returns A registration: dispose it when the call is no longer wanted. */
  onStop(callback: () => void): Disposable {
    if (this.#isStopped) {
      callSafely(callback)
      return { [Symbol.dispose]() {} }
    }
    // A function of its own, so that one callback can be registered twice.
    const entry = (): void => callback()
    this.#callbacks.add(entry)
    return { [Symbol.dispose]: () => void this.#callbacks.delete(entry) }
  }

  /** Aborts when the stop begins. Made when first read. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#isStopped) this.#controller.abort()
    }
    return this.#controller.signal
  }

  /** Takes a guard: completion waits until it is released. Allowed in every state.
   * @param label What the work is, for people who wonder why the stop takes so long. */
  guard(label = 'a guard'): Guard {
    const guard = new HeldGuard(label, () => {
      this.#guards.delete(guard)
      this.#settle()
    })
    this.#guards.add(guard)
    return guard
  }

  /** How many guards are held. */
  get guardCount(): number {
    return this.#guards.size
  }

  /** Wraps a promise: resolves to undefined when the stop begins first.
   *
   * The work itself goes on; a late rejection is ignored. To be able to end it, give a function. */
  interrupt<T>(promise: PromiseLike<T>): Promise<T | undefined>
  /** Calls `work` with `signal` and wraps its promise. Not called at all after the stop. */
  interrupt<T>(work: (signal: AbortSignal) => PromiseLike<T>): Promise<T | undefined>
  /** Wraps a stream: it ends, cleanly, when the stop begins, even while an item is awaited.
   *
   * An item that is ready at that moment is dropped. The source's `return()` is called once and not
   * waited for; a `ReadableStream` is cancelled, a Node stream destroyed. */
  interrupt<T>(stream: AsyncIterable<T> | ReadableStream<T>): AsyncIterableIterator<T>
  /** Wraps an iterable: it ends when the stop has begun. */
  interrupt<T>(items: Iterable<T>): IterableIterator<T>
  interrupt(source: unknown): unknown {
    if (typeof source === 'function') {
      if (this.#isStopped) return Promise.resolve(undefined)
      // In an async function, so that a work that throws at once rejects.
      return this.#interruptPromise((async () => source(this.signal))())
    }
    if (typeof source === 'object' && source !== null) {
      if (Symbol.asyncIterator in source)
        return new InterruptedIterator(this, source as AsyncIterable<unknown>)
      if (Symbol.iterator in source) return interruptedIterable(this, source as Iterable<unknown>)
      if ('then' in source) return this.#interruptPromise(source as PromiseLike<unknown>)
    }
    throw new TypeError(
      `Cannot interrupt ${describe(source)}: expected a promise, a function of an AbortSignal, an async iterable or an iterable object`,
    )
  }

  /** Begins the stop and waits for completion: `await using swansong = new Swansong()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.shutDown()
  }

  #interruptPromise<T>(promise: PromiseLike<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const registration = this.onStop(() => resolve(undefined))
      // After a stop these two still run and change nothing: a late rejection is never unhandled.
      promise.then(
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

  #settle(): void {
    if (this.state !== 'complete') return
    this.#completion?.resolve()
    this.#completion = undefined
  }
}

class HeldGuard implements Guard {
  readonly label: string
  #release: (() => void) | undefined

  constructor(label: string, release: () => void) {
    this.label = label
    this.#release = release
  }

  get isReleased(): boolean {
    return this.#release === undefined
  }

  release(): void {
    const release = this.#release
    this.#release = undefined
    release?.()
  }

  [Symbol.dispose](): void {
    this.release()
  }
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
