/** Reads the log of a broadcaster: what is new, for all, and what a single reader has missed.
 *
 * What fails is tried again, ever more rarely, for as long as the broadcaster is open. */

import { callSafely } from '@wakerobin/core/adapter'

import type { EventLog, LogPage } from './event-log.ts'
import type { Missed } from './gap.ts'
import type { Entry } from './history.ts'
import { entryOf } from './log-entry.ts'

/** A page of a log, encoded. */
export interface EntryPage {
  readonly entries: readonly Entry[]
  readonly missed: Missed
  readonly next: string
}

/** What is done with what is read. */
export interface LogTarget {
  /** Where the log stood when it was first read: what is new comes after that. */
  begin(id: string): void
  /** What is new, in order and without a gap, but for those of which a page tells. */
  take(page: EntryPage): void
  /** The first failure of something, after something has worked. */
  failed(error: unknown): void
}

/** What is tried until it works. */
interface Attempt {
  /** How long it is waited after the next failure, in milliseconds. */
  pauseMs: number
  /** Whether it has failed, and not worked since. */
  hasFailed: boolean
}

/** A piece of the log that somebody waits for. */
interface Read extends Attempt {
  readonly after: string
  /** Clients that come back together ask for the same. */
  readonly waiting: Set<(page: EntryPage) => void>
  /** Whether the log has been asked, and has not answered. */
  isAsked: boolean
  pause: ReturnType<typeof setTimeout> | undefined
}

export class LogFollower {
  readonly #log: EventLog
  readonly #target: LogTarget
  readonly #closing = new AbortController()
  /** What is to be read, by where it begins. */
  readonly #reads = new Map<string, Read>()
  /** Those that wait for their turn. */
  readonly #queue = new Set<Read>()
  /** How many have it. */
  #readers = 0
  /** Called once, when there is something new. */
  readonly #waiting = new Set<() => void>()
  #beginning: string | undefined
  #isFailing = false

  constructor(log: EventLog, target: LogTarget) {
    this.#log = log
    this.#target = target
    void this.#follow()
  }

  /** Whether it is known where the log stands. */
  get hasBegun(): boolean {
    return this.#beginning !== undefined
  }

  /** Where the log stood when it was first read, once that is known. */
  get beginning(): string | undefined {
    return this.#beginning
  }

  /** Reads a piece of the log, and calls back once with it: as soon as it can be read, which may be late; never, where the
   * follower is closed.
   * @param after See `EventLog.read`.
   * @returns What takes that back. What nobody waits for any more is not read. */
  read(after: string, callback: (page: EntryPage) => void): () => void {
    const read = this.#reads.get(after) ?? this.#newRead(after)
    read.waiting.add(callback)
    return () => {
      if (read.waiting.delete(callback) && read.waiting.size === 0 && !read.isAsked)
        this.#forget(read)
    }
  }

  /** Calls back once, as soon as there is something new, or the log has been read for the first time.
   * @returns What takes that back. */
  whenMore(callback: () => void): () => void {
    this.#waiting.add(callback)
    return () => this.#waiting.delete(callback)
  }

  close(): void {
    this.#closing.abort()
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing
    const { last } = await this.#untilItWorks(() => this.#log.bounds())
    this.#beginning = last
    this.#target.begin(last)
    this.#wake()
    let at = last
    await this.#untilItWorks(async (attempt) => {
      for await (const page of this.#log.tail(at, signal)) {
        if (signal.aborted) return
        at = page.next
        this.#worked(attempt)
        this.#target.take(encoded(page))
        this.#wake()
      }
    })
    this.close() // so is the log
  }

  #wake(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const callback of waiting) callback()
  }

  /** Tries until it works. Where the follower is closed meanwhile, it never resolves: nobody waits for it any more. */
  async #untilItWorks<T>(work: (attempt: Attempt) => Promise<T>): Promise<T> {
    const attempt: Attempt = { pauseMs: firstPauseMs, hasFailed: false }
    for (;;) {
      try {
        const result = await work(attempt)
        this.#worked(attempt)
        return result
      } catch (error) {
        if (this.#closing.signal.aborted) return new Promise(() => {})
        await pause(this.#failed(attempt, error))
      }
    }
  }

  // ---------------------------------------------------------------------------------- single reads

  #newRead(after: string): Read {
    const read: Read = {
      after,
      waiting: new Set(),
      isAsked: false,
      pause: undefined,
      pauseMs: firstPauseMs,
      hasFailed: false,
    }
    this.#reads.set(after, read)
    this.#queue.add(read)
    this.#readNext()
    return read
  }

  #readNext(): void {
    for (const read of this.#queue) {
      if (this.#readers >= maxReads) return
      this.#queue.delete(read)
      void this.#read(read)
    }
  }

  /** Asks the log once. A read that has failed gives up its turn until it is tried again: there may be places that cannot be
   * read, and others that can. */
  async #read(read: Read): Promise<void> {
    this.#readers++
    read.isAsked = true
    try {
      const page = encoded(await this.#log.read(read.after, pageRecords))
      this.#worked(read)
      this.#forget(read)
      for (const callback of read.waiting) callback(page)
    } catch (error) {
      read.isAsked = false
      if (read.waiting.size === 0 || this.#closing.signal.aborted) this.#forget(read)
      else read.pause = later(() => this.#queueAgain(read), this.#failed(read, error))
    } finally {
      this.#readers--
      this.#readNext()
    }
  }

  #queueAgain(read: Read): void {
    this.#queue.add(read)
    this.#readNext()
  }

  #forget(read: Read): void {
    this.#reads.delete(read.after)
    this.#queue.delete(read)
    clearTimeout(read.pause)
  }

  // ------------------------------------------------------------------------------------- failures

  #worked(attempt: Attempt): void {
    attempt.pauseMs = firstPauseMs
    attempt.hasFailed = false
    this.#isFailing = false
  }

  /** @returns After how many milliseconds it is to be tried again. */
  #failed(attempt: Attempt, error: unknown): number {
    const isNew = !this.#isFailing && !attempt.hasFailed
    this.#isFailing = attempt.hasFailed = true
    if (isNew) callSafely(() => this.#target.failed(error))
    const { pauseMs } = attempt
    attempt.pauseMs = Math.min(2 * pauseMs, longestPauseMs)
    return pauseMs * (0.5 + Math.random() / 2)
  }
}

function encoded({ records, missed, next }: LogPage): EntryPage {
  return { entries: records.map(entryOf), missed, next }
}

/** How many records are read at once. */
const pageRecords = 256
/** How many pieces are read at once. */
const maxReads = 16
const firstPauseMs = 100
const longestPauseMs = 5_000

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => later(resolve, ms))
}

/** A timer that keeps no process alive. */
function later(callback: () => void, ms: number): ReturnType<typeof setTimeout> {
  const timer = setTimeout(callback, ms)
  ;(timer as { unref?: () => void }).unref?.() // a number, outside of Node
  return timer
}
