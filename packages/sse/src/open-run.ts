/** A run as one process has it open: the one that does the work, or one that merely reads it.
 *
 * How it ends is read from the log by all of them alike, also by the one that has ended it. */

import { closeIterator, describe, iteratorOf } from '@wakerobin/core/adapter'
import type { AnyIterator, IterableSource } from '@wakerobin/core/adapter'

import { checkBroadcasterOptions } from './broadcaster-options.ts'
import type { Eventable } from './event.ts'
import type { EventLog } from './event-log.ts'
import { Feed } from './feed.ts'
import { beatSign, endSign, RunLog } from './run-log.ts'
import type { RunEndReason } from './run-log.ts'
import { defaultEnd, textOf } from './runs-options.ts'
import type { CheckedRunsOptions, RunEnd, StartOptions } from './runs-options.ts'
import { Subscription } from './subscription.ts'
import type { SubscribeOptions } from './subscription.ts'
import { ticker, tickFor } from './ticker.ts'
import type { Ticking } from './ticker.ts'

/** What a run does: it makes events, and ends. Its signal aborts when it has to end before that.
 *
 * What it makes is added to the log as it comes; the next event is asked for as soon as the log has the last one. */
export type RunWork = (
  signal: AbortSignal,
) => IterableSource<Eventable> | PromiseLike<IterableSource<Eventable>>

/** The work, while it goes on in this process. */
interface Working {
  readonly controller: AbortController
  iterator: AnyIterator<Eventable> | undefined
  /** Lets go of the stop of the server. */
  release: () => void
}

export class OpenRun implements Ticking {
  readonly id: string
  readonly tickMs: number
  readonly #options: CheckedRunsOptions
  readonly #log: RunLog
  readonly #feed: Feed
  readonly #onDropped: (run: OpenRun) => void
  #working: Working | undefined
  /** Whether it cleans up in the end: it has done the work, or has found it lost. */
  #isKeeper = false
  /** When there was the last sign of life, on the ticker's clock. */
  #signAt = ticker.now
  /** When it was last read here, or has ended. */
  #usedAt = ticker.now
  /** Whether the log could be used when it was last tried. */
  #isReachable = true
  /** Whether a sign is being added, or looked for. */
  #isBusy = false
  #isDropped = false

  /** @param beginning See `RunLog`. */
  constructor(
    id: string,
    log: EventLog,
    beginning: string,
    options: CheckedRunsOptions,
    onDropped: (run: OpenRun) => void,
  ) {
    this.id = id
    this.tickMs = tickFor([options.leaseMs])
    this.#options = options
    this.#onDropped = onDropped
    this.#log = new RunLog(log, beginning, {
      onRecords: () => this.#reached(),
      onEnd: () => this.#ended(),
    })
    const feedOptions = checkBroadcasterOptions({
      log: this.#log,
      onLogError: (error) => this.#unreachable(error),
    })
    this.#feed = new Feed({ ...feedOptions, whenBehind: 'replay' })
    ticker.add(this)
  }

  /** Why it is over, as far as it is known here. */
  get endReason(): RunEndReason | undefined {
    return this.#log.end?.reason
  }

  /** Finds out whether it is over. */
  async look(): Promise<void> {
    await this.#log.findEnd()
  }

  /** @throws {TypeError} When an option cannot be used, or it was dropped. */
  subscribe({ lastEventId, ...options }: SubscribeOptions): Subscription {
    if (this.#isDropped)
      throw new TypeError(
        `Cannot read the run ${describe(this.id)}: it was dropped here since; ask for it anew`,
      )
    this.#usedAt = ticker.now
    return new Subscription(this.#feed, {
      ...options,
      lastEventId: lastEventId || this.#log.beginning,
    })
  }

  /** Whether it is over, and who has got the event of this id has got all of it. */
  isRead(after: string): Promise<boolean> {
    this.#usedAt = ticker.now
    return this.#log.isRead(after)
  }

  // -------------------------------------------------------------------------------------- the work

  begin(work: RunWork, { swansong, finish }: StartOptions): void {
    const working: Working = {
      controller: new AbortController(),
      iterator: undefined,
      release: () => {},
    }
    this.#working = working
    this.#isKeeper = true
    if (swansong !== undefined) {
      const guard = swansong.guard(`run ${describe(this.id)}`)
      working.release = () => guard.release()
      if (finish === false) {
        const registration = swansong.onStop(() => void this.#end('shutdown'))
        working.release = () => {
          registration[Symbol.dispose]()
          guard.release()
        }
      }
    }
    void this.#work(work, working)
  }

  async #work(work: RunWork, working: Working): Promise<void> {
    const { signal } = working.controller
    try {
      // Before the stop, or never.
      if (!signal.aborted) await this.#pull(work, working)
    } catch (error) {
      closeIterator(working.iterator)
      if (signal.aborted) return // how it takes its end is its own business
      this.#options.onError(error, this.id)
      void this.#end('failed', error)
      return
    }
    if (!signal.aborted) void this.#end('done')
  }

  /** Adds all that the work makes, until its signal aborts. */
  async #pull(work: RunWork, working: Working): Promise<void> {
    const { signal } = working.controller
    const iterator = iteratorOf(await work(signal))
    if (signal.aborted) return closeIterator(iterator)
    working.iterator = iterator
    for (let count = 1; ; count++) {
      const step = await iterator.next()
      if (signal.aborted) return
      if (step.done === true) break
      await this.#log.append({ text: textOf(step.value) })
      this.#reached()
      // Where neither the work nor the log ever waits, others want their turn.
      if (count % 256 === 0) await new Promise((resolve) => setTimeout(resolve))
      if (signal.aborted) return
    }
    working.iterator = undefined // it has closed itself
  }

  /** Ends the work, and tells everyone: tries until the log has it. */
  async #end(reason: RunEndReason, error?: unknown): Promise<void> {
    if (!this.#endWork()) return
    const words = this.#lastWords({ reason, error })
    for (let pauseMs = 100; !this.#isOver; pauseMs = Math.min(2 * pauseMs, 5_000)) {
      try {
        await this.#log.append(endSign(reason, words))
        return
      } catch (error) {
        this.#unreachable(error)
      }
      await pause(pauseMs)
    }
  }

  /** Returns false where that was done before. */
  #endWork(): boolean {
    if (this.#working === undefined || this.#working.controller.signal.aborted) return false
    const { controller, iterator } = this.#working
    controller.abort()
    closeIterator(iterator)
    return true
  }

  /** Ends it, from whichever process.
   * @returns False where it was over before. */
  async stop(): Promise<boolean> {
    if (this.#working !== undefined) {
      if (this.#working.controller.signal.aborted) return false
      void this.#end('stopped')
      return true
    }
    if ((await this.#log.findEnd()) !== undefined) return false
    return this.#addEnd('stopped')
  }

  /** Adds an end to the log, once.
   * @returns Whether it is the one that counts. */
  async #addEnd(reason: RunEndReason): Promise<boolean> {
    const id = await this.#log.append(endSign(reason, this.#lastWords({ reason })))
    const end = await this.#log.findEnd()
    return end?.id === id
  }

  #lastWords(end: RunEnd): string | undefined {
    try {
      const event = this.#options.mapEnd(end)
      return event === undefined ? undefined : textOf(event)
    } catch (error) {
      this.#options.onError(new Error('mapEnd has failed', { cause: error }), this.id)
      return textOf(defaultEnd(end))
    }
  }

  /** The end was read, and everything before it. */
  #ended(): void {
    this.#usedAt = ticker.now
    this.#endWork() // where somebody else has ended it
    this.#working?.release()
    this.#working = undefined
    this.#feed.finish()
  }

  get #isOver(): boolean {
    return this.endReason !== undefined || this.#isDropped
  }

  // -------------------------------------------------------------------------------- signs of life

  tick(now: number): void {
    const { leaseMs, keepMs } = this.#options
    const isRead = this.#feed.readers.size > 0
    if (isRead) this.#usedAt = now
    const silentMs = now - this.#signAt
    if (this.#working !== undefined) {
      if (silentMs >= leaseMs / 3) void this.#beat()
    } else if (!isRead && now - this.#usedAt >= (this.#isKeeper ? keepMs : leaseMs)) {
      this.#drop()
    } else if (silentMs >= leaseMs && this.endReason === undefined) {
      void this.#checkLease()
    }
  }

  async #beat(): Promise<void> {
    if (this.#isBusy || this.#working!.controller.signal.aborted) return
    this.#isBusy = true
    try {
      await this.#log.append(beatSign)
      this.#reached()
    } catch (error) {
      this.#unreachable(error)
    } finally {
      this.#isBusy = false
    }
  }

  /** Ends it where its process is dead: where the log can be read, and could be all the time, and has nothing new. */
  async #checkLease(): Promise<void> {
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      const wasReachable = this.#isReachable
      const isSilent = await this.#log.isSilent()
      this.#reached() // the lease begins anew
      if (isSilent && wasReachable && !this.#isOver)
        this.#isKeeper = (await this.#addEnd('lost')) || this.#isKeeper
    } catch (error) {
      this.#unreachable(error)
    } finally {
      this.#isBusy = false
    }
  }

  #reached(): void {
    this.#isReachable = true
    this.#signAt = ticker.now
  }

  #unreachable(error: unknown): void {
    if (this.#isReachable) this.#options.onError(error, this.id)
    this.#isReachable = false
    this.#signAt = ticker.now
  }

  // ------------------------------------------------------------------------------------ the end

  /** Ends the work for `shutdown`, and lets go of everything. */
  async close(): Promise<void> {
    if (this.#endWork()) {
      try {
        await this.#addEnd('shutdown')
      } catch (error) {
        this.#unreachable(error)
      }
    }
    this.#isKeeper = false // its clients go to other processes, and read on there
    this.#drop()
  }

  #drop(): void {
    if (this.#isDropped) return
    this.#isDropped = true
    ticker.delete(this)
    this.#feed.close()
    this.#working?.release()
    this.#working = undefined
    this.#onDropped(this)
  }

  /** Closes the log of one that was dropped. */
  async closeLog(): Promise<void> {
    try {
      await this.#log.close()
      if (this.#isKeeper && this.endReason !== undefined) await this.#options.remove(this.id)
    } catch (error) {
      this.#options.onError(error, this.id)
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, ms)
    ;(timer as { unref?: () => void }).unref?.() // a number, outside of Node
  })
}
