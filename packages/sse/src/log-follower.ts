/** Reads the log of a broadcaster: what is new, for all, and what a single reader has missed.
 *
 * What fails is tried again, ever more rarely, for as long as the broadcaster is open. */

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
  /** The first failure after something has worked. */
  failed(error: unknown): void
}

export class LogFollower {
  readonly #log: EventLog
  readonly #target: LogTarget
  readonly #closing = new AbortController()
  /** Reads that are under way, by where they begin: clients that come back together ask for the same. */
  readonly #reads = new Map<string, Promise<EntryPage>>()
  /** How many of them have their turn. */
  #readers = 0
  /** Those that wait for theirs. */
  readonly #queue: (() => void)[] = []
  /** Called once, when there is something new. */
  readonly #waiting = new Set<() => void>()
  #hasBegun = false
  #isFailing = false

  constructor(log: EventLog, target: LogTarget) {
    this.#log = log
    this.#target = target
    void this.#follow()
  }

  /** Whether it is known where the log stands. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** Reads a piece of the log. Resolves when it could be read, which may be late; never, where the follower is closed.
   * @param after See `EventLog.read`. */
  read(after: string): Promise<EntryPage> {
    let read = this.#reads.get(after)
    if (read === undefined) {
      read = this.#inTurn(async () => encoded(await this.#log.read(after, pageRecords))).finally(
        () => this.#reads.delete(after),
      )
      this.#reads.set(after, read)
    }
    return read
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
    this.#hasBegun = true
    this.#target.begin(last)
    this.#wake()
    let at = last
    await this.#untilItWorks(async () => {
      for await (const page of this.#log.tail(at, signal)) {
        if (signal.aborted) return
        at = page.next
        this.#isFailing = false
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

  async #inTurn<T>(read: () => Promise<T>): Promise<T> {
    if (this.#readers < maxReads) this.#readers++
    else await new Promise<void>((go) => this.#queue.push(go))
    try {
      return await this.#untilItWorks(read)
    } finally {
      const next = this.#queue.shift()
      if (next === undefined) this.#readers--
      else next() // in its place
    }
  }

  /** Tries until it works. Where the follower is closed meanwhile, it never resolves: nobody waits for it any more. */
  async #untilItWorks<T>(work: () => Promise<T>): Promise<T> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        const result = await work()
        this.#isFailing = false
        return result
      } catch (error) {
        if (this.#closing.signal.aborted) return new Promise(() => {})
        if (!this.#isFailing) {
          this.#target.failed(error)
          pauseMs = firstPauseMs // something has worked since
        }
        this.#isFailing = true
      }
      await pause(pauseMs * (0.5 + Math.random() / 2))
    }
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
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, ms)
    ;(timer as { unref?: () => void }).unref?.() // a number, outside of Node
  })
}
