/** `@wakerobin/server-node/testing`: the stop of an app under test, on a clock that the test owns and
 * without sockets. */

import { setMaxListeners } from 'node:events'

import type { AppFunction, Method } from '@wakerobin/core'
import { DeadlineError, TestApp } from '@wakerobin/core/testing'
import type { TestAppOptions, TestRequest, TestResponse } from '@wakerobin/core/testing'

import type { Clock } from './clock.ts'
import type { Hook, HookOptions, HookPhase } from './hooks.ts'
import type { OpenReport, OpenWork } from './open-report.ts'
import type { Phase } from './phase.ts'
import { checkShutdown } from './serve.ts'
import type { ShutdownOptions } from './serve.ts'
import { Shutdown } from './shutdown.ts'
import type { Part, ShutdownReport, Tally } from './shutdown.ts'

/** The server that the app believes to be on, and its stop. */
export interface TestShutdownOptions extends Omit<TestAppOptions, 'swansong'> {
  /** As for `serve`. What concerns connections (`lingerMs`, `headTimeoutMs`, and the batches of streams)
   * changes nothing here, as there are none. */
  shutdown?: ShutdownOptions
}

/** Wraps an app for tests of its stop: hooks, drain delay, deadline, report.
 *
 * ```ts
 * import assert from 'node:assert/strict'
 * import { readiness } from '@wakerobin/server-node'
 * import { testShutdown } from '@wakerobin/server-node/testing'
 *
 * const test = testShutdown([readiness(), 'hello'], { shutdown: { drainDelayMs: 5_000 } })
 * assert.equal((await test.app.get('/ready')).status, 200)
 *
 * const stopped = test.shutDown()
 * assert.equal(test.phase, 'draining')
 * assert.equal((await test.app.get('/ready')).status, 503)
 * assert.equal((await test.app.get('/')).body, 'hello')
 *
 * await test.advance(5_000)
 * assert.equal((await stopped).outcome, 'clean')
 * ``` */
export const testShutdown: AppFunction<TestShutdownOptions, TestShutdown> = (
  app: unknown,
  options: TestShutdownOptions = {},
) => new TestShutdown(app, options)

/** An app and its stop under test: made by `testShutdown`. */
export class TestShutdown {
  /** For requests. What is in flight at the deadline is cut: it rejects where nothing of its response had come,
   * else its response `isCut`. */
  readonly app: TestApp
  readonly #clock = new TestClock()
  readonly #shutdown: Shutdown

  /** Use `testShutdown(app)`, which also checks the tuple. */
  constructor(app: unknown, { shutdown, ...options }: TestShutdownOptions) {
    const cuttable = new CuttableApp(app, options)
    this.app = cuttable
    this.#shutdown = Shutdown.of(cuttable.swansong, this.#clock)
    this.#shutdown.join(cuttable, checkShutdown(shutdown))
  }

  get phase(): Phase {
    return this.#shutdown.phase
  }

  /** Resolves when the stop is done, however it began. */
  get stopped(): Promise<ShutdownReport> {
    return this.#shutdown.done
  }

  /** Begins the stop, as `handle.shutDown()` and a signal do. It goes on as far as it needs no time; for
   * the rest, `advance`.
   * @returns `stopped`. */
  shutDown(): Promise<ShutdownReport> {
    return this.#shutdown.begin({ kind: 'call' })
  }

  /** Registers a hook, as `handle.onShutdown` does. */
  onShutdown(phase: HookPhase, hook: Hook, options?: HookOptions): Disposable {
    return this.#shutdown.onShutdown(phase, hook, options)
  }

  /** What is open now. */
  report(): OpenReport {
    return this.#shutdown.report()
  }

  /** Lets time pass for the stop: its delays, timeouts and deadline. Timers of the app's own are none of it.
   * @returns A promise that resolves when all that follows from it by itself has happened. */
  advance(ms: number): Promise<void> {
    return this.#clock.advance(ms)
  }
}

class CuttableApp extends TestApp implements Part {
  readonly isServing = true
  readonly #cut = new AbortController()
  /** How many requests wait for their response. */
  #open = 0
  #onIdle: (() => void) | undefined
  #isStopping = false
  #answered = 0
  #streamsEnded = 0

  constructor(app: unknown, options: TestAppOptions) {
    super(app, options)
    setMaxListeners(0, this.#cut.signal) // one for each request
  }

  override async request(
    method: Method,
    target: string,
    request: TestRequest = {},
  ): Promise<TestResponse> {
    const cut = this.#cut.signal
    const signal = request.signal === undefined ? cut : AbortSignal.any([request.signal, cut])
    this.#open++
    const response = await super.request(method, target, { ...request, signal }).finally(() => {
      if (--this.#open === 0) this.#onIdle?.()
    })
    if (this.#isStopping && !response.isCut) {
      this.#answered++
      if (response.headers.get('content-type') === 'text/event-stream') this.#streamsEnded++
    }
    return response
  }

  begin(): void {
    this.#isStopping = true
  }

  drain(): void {}

  /** A turn of the loop, as on a server: hooks and callbacks of the app come before its streams end. */
  async close(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
  }

  override stopping(): void {} // stop() follows

  /** Whose client has left is not waited for, as by a server. */
  async stop(): Promise<void> {
    this.stopStreams()
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
  }

  async cut(): Promise<void> {
    this.#cut.abort(new DeadlineError())
  }

  work(): OpenWork {
    const { openRequests } = this
    return { connections: openRequests.length, idle: 0, requests: openRequests }
  }

  tally(): Tally {
    return { answered: this.#answered, refused: 0, streamsEnded: this.#streamsEnded, streamsCut: 0 }
  }
}

interface Timer {
  readonly at: number
  readonly callback: () => void
}

class TestClock implements Clock {
  #now = 0
  readonly #timers = new Set<Timer>()
  #advanced: Promise<void> = Promise.resolve()

  now(): number {
    return this.#now
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** One after the other, where several are asked for. */
  advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new RangeError(`Cannot advance by ${ms}: it must be a number from 0`)
    this.#advanced = this.#advanced.then(() => this.#advance(ms))
    return this.#advanced
  }

  async #advance(ms: number): Promise<void> {
    const to = this.#now + ms
    await settled()
    for (let timer = this.#next(to); timer !== undefined; timer = this.#next(to)) {
      this.#now = timer.at
      this.#timers.delete(timer)
      timer.callback()
      await settled()
    }
    this.#now = to
  }

  /** The timer that is due first, up to a time. */
  #next(to: number): Timer | undefined {
    const due = [...this.#timers].filter(({ at }) => at <= to)
    return due.sort((a, b) => a.at - b.at)[0]
  }
}

/** Some turns of the event loop: what happens by itself has then happened. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
}
