/** A log in memory: for tests, and for several broadcasters of one process. */

import { checkNames, describe } from '@wakerobin/core/adapter'

import type { EventLog, LogBounds, LogEvent, LogPage, LogRecord } from './event-log.ts'

/** How much a log in memory keeps. */
export interface MemoryLogOptions {
  /** How many events are kept. Default 10,000. */
  maxEvents?: number
}

/** Makes a log that lives as long as the process.
 *
 * ```ts
 * import { Broadcaster, memoryLog } from '@wakerobin/sse'
 *
 * // As two processes would, with a log that they share.
 * const log = memoryLog()
 * const here = new Broadcaster({ log })
 * const there = new Broadcaster({ log })
 * await here.publish('hello') // is sent by both
 * ```
 * @throws {RangeError} When `maxEvents` is not an integer from 1. @throws {TypeError} When there is no such option. */
export function memoryLog(options: MemoryLogOptions = {}): EventLog {
  checkNames('Cannot make a log in memory with ', options, ['maxEvents'])
  const { maxEvents = 10_000 } = options
  if (!Number.isSafeInteger(maxEvents) || maxEvents < 1)
    throw new RangeError(
      `Cannot make a log of ${describe(maxEvents)} events: expected an integer from 1`,
    )
  return new MemoryLog(maxEvents)
}

class MemoryLog implements EventLog {
  readonly #maxEvents: number
  readonly #prefix = `${Math.floor(Math.random() * 36 ** 7).toString(36)}-`
  #records: LogRecord[] = []
  /** How many events are not in the records any more: the first of these may be kept no longer either. */
  #gone = 0
  #isClosed = false
  /** Called once, when there is more, or nothing more to wait for. */
  readonly #waiting = new Set<() => void>()

  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents
  }

  append({ text, topics, key }: LogEvent): Promise<string> {
    if (this.#isClosed) return Promise.reject(closedError('add to'))
    const id = this.#idOf(this.#end + 1)
    this.#records.push({ id, text, topics, key })
    // Many at once: to take some off takes as long as there are others.
    if (this.#records.length > 2 * this.#maxEvents) {
      this.#records = this.#records.slice(-this.#maxEvents)
      this.#gone += this.#maxEvents + 1
    }
    this.#wake()
    return Promise.resolve(id)
  }

  async read(after: string, limit: number): Promise<LogPage> {
    if (this.#isClosed) throw closedError('read')
    return this.#page(after, limit)
  }

  async *tail(after: string, signal: AbortSignal): AsyncGenerator<LogPage, void> {
    if (this.#isClosed) throw closedError('follow')
    for (let at = after; !signal.aborted && !this.#isClosed;) {
      const page = this.#page(at, 1_000)
      at = page.next
      if (page.records.length > 0 || page.missed !== 0) yield page
      else await this.#more(signal)
    }
  }

  async bounds(): Promise<LogBounds> {
    if (this.#isClosed) throw closedError('read')
    return { first: this.#records[this.#start - this.#gone]?.id, last: this.#idOf(this.#end) }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#wake()
  }

  /** How many events were added. */
  get #end(): number {
    return this.#gone + this.#records.length
  }

  /** How many of them are not kept any more. */
  get #start(): number {
    return Math.max(this.#gone, this.#end - this.#maxEvents)
  }

  #idOf(count: number): string {
    return `${this.#prefix}${count}`
  }

  #page(after: string, limit: number): LogPage {
    const read = after === '' ? this.#start : this.#countOf(after)
    if (read === undefined || read > this.#end)
      return { records: [], missed: null, next: this.#idOf(this.#end) }
    const from = Math.max(read, this.#start)
    const records = this.#records.slice(from - this.#gone, from - this.#gone + limit)
    return { records, missed: from - read, next: this.#idOf(from + records.length) }
  }

  #countOf(id: string): number | undefined {
    const count = id.startsWith(this.#prefix) ? id.slice(this.#prefix.length) : ''
    return /^(0|[1-9]\d{0,14})$/.test(count) ? Number(count) : undefined
  }

  #wake(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const go of waiting) go()
  }

  /** Resolves when there is more, or when the signal aborts. */
  #more(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        signal.removeEventListener('abort', go)
        this.#waiting.delete(go)
        resolve()
      }
      signal.addEventListener('abort', go)
      this.#waiting.add(go)
    })
  }
}

function closedError(action: string): TypeError {
  return new TypeError(`Cannot ${action} the log: it is closed`)
}
