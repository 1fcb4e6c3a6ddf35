/** The log of a run: what the work has made, with the signs by which every process knows how it goes.
 *
 * A sign is a record with a key of its own; to clients it is an empty comment, or the last event. The first end in the log
 * is the end, whoever has added it; what comes after that is not read. */

import { emptyComment } from './encode.ts'
import type { EventLog, LogBounds, LogEvent, LogPage, LogRecord } from './event-log.ts'

/** Why a run is over.
 *
 * `done`: the work has ended. `failed`: it has thrown, or what it made could not be kept. `stopped`: somebody has called
 * `stop`. `shutdown`: its process was stopped. `lost`: its process has given no sign of life for `leaseMs`. */
export type RunEndReason = 'done' | 'failed' | 'stopped' | 'shutdown' | 'lost'

const startKey = 'run start'
const beatKey = 'run beat'
const endPrefix = 'run end '

/** The first record. One that is not the first is nothing. */
export const startSign: LogEvent = { text: emptyComment, key: startKey }

/** The process of the work is alive. */
export const beatSign: LogEvent = { text: emptyComment, key: beatKey }

/** @param text The last event; undefined for none. */
export function endSign(reason: RunEndReason, text: string | undefined): LogEvent {
  return { text: text ?? emptyComment, key: endPrefix + reason }
}

export function isStart({ key }: LogEvent): boolean {
  return key === startKey
}

/** Where a run is read from whose first records are gone. */
const cutOff = 'cut-off'

/** Where to read the run from its beginning.
 * @param first The oldest record that is kept. */
export function beginningOf(first: LogRecord): string {
  return isStart(first) ? first.id : cutOff
}

/** How a run has ended. */
export interface LogEnd {
  readonly id: string
  readonly reason: RunEndReason
}

/** Who is told of what is read. */
export interface RunLogTarget {
  /** There are new records: somebody is alive. */
  onRecords(): void
  /** The end was read, and everything before it: once. */
  onEnd(): void
}

/** The log as a feed may read it: from the beginning of the run to its end. */
export class RunLog implements EventLog {
  /** Where the run begins. */
  readonly beginning: string
  readonly #log: EventLog
  readonly #target: RunLogTarget
  #end: LogEnd | undefined
  #hasTold = false
  /** The id of the newest record that is known; that of none, where the log has lost it. */
  #last: string

  constructor(log: EventLog, beginning: string, target: RunLogTarget) {
    this.#log = log
    this.beginning = this.#last = beginning
    this.#target = target
  }

  /** How the run has ended, as far as it is known. */
  get end(): LogEnd | undefined {
    return this.#end
  }

  append(event: LogEvent): Promise<string> {
    return this.#log.append(event)
  }

  async read(after: string, limit: number): Promise<LogPage> {
    if (after === this.#end?.id) return { records: [], missed: 0, next: after }
    const page = cut(await this.#readAll(after, limit))
    const isNowhere = page.records.length === 0 && this.#end !== undefined
    return isNowhere ? { ...page, next: this.#end!.id } : page
  }

  /** Where the run stands, or has ended. */
  async bounds(): Promise<LogBounds> {
    const { first } = await this.#log.bounds()
    const end = await this.findEnd()
    if (end !== undefined) this.#tell()
    return { first, last: end?.id ?? this.#last }
  }

  async *tail(after: string, signal: AbortSignal): AsyncGenerator<LogPage, void> {
    if (!this.#hasTold)
      for await (const given of this.#log.tail(after, signal)) {
        const page = cut(given)
        yield page
        this.#look(page)
        if (page.next === this.#end?.id) this.#tell()
        if (this.#hasTold) break
      }
    // A tail that ends would be begun anew.
    if (this.#hasTold && !signal.aborted) await aborted(signal)
  }

  close(): Promise<void> {
    return this.#log.close()
  }

  /** Looks for the end in what is not known yet. There may be records after it, of a process that did not know. */
  async findEnd(): Promise<LogEnd | undefined> {
    for (let at = this.#last; this.#end === undefined;) {
      const page = await this.read(at, 1_000)
      this.#look(page)
      if (page.records.length === 0) break
      at = page.next
    }
    return this.#end
  }

  /** Whether the log can be read, and has nothing that is not known, or nothing at all any more. */
  async isSilent(): Promise<boolean> {
    const { first, last } = await this.#log.bounds()
    return last === this.#last || first === undefined
  }

  /** Whether nothing is left to read after an id: the run is over, and only signs come after that. */
  async isRead(after: string): Promise<boolean> {
    for (let at = after; at !== this.#end?.id;) {
      const isEndKnown = this.#end !== undefined
      const { records, missed, next } = await this.read(at, 100)
      if (missed !== 0 || records.some(({ text }) => text !== emptyComment)) return false
      if (records.length === 0) {
        if (isEndKnown) return true
        if ((await this.findEnd()) === undefined) return false
        continue // what it has got, or was added since
      }
      if (endOf(records) !== undefined) return true
      at = next
    }
    return true
  }

  async #readAll(after: string, limit: number): Promise<LogPage> {
    if (after !== cutOff) return this.#log.read(after, limit)
    return { ...(await this.#log.read('', limit)), missed: null }
  }

  #look({ records, next }: LogPage): void {
    this.#last = next
    this.#end ??= endOf(records)
    if (records.length > 0) this.#target.onRecords()
  }

  #tell(): void {
    if (this.#hasTold) return
    this.#hasTold = true
    this.#target.onEnd()
  }
}

/** A page as far as the end. */
function cut(page: LogPage): LogPage {
  const at = page.records.findIndex((record) => reasonOf(record) !== undefined)
  if (at === -1) return page
  return { ...page, records: page.records.slice(0, at + 1), next: page.records[at]!.id }
}

/** The end, where it is the last of some records. */
function endOf(records: readonly LogRecord[]): LogEnd | undefined {
  const last = records.at(-1)
  const reason = last && reasonOf(last)
  return reason && { id: last.id, reason }
}

function reasonOf({ key }: LogRecord): RunEndReason | undefined {
  if (!key?.startsWith(endPrefix)) return undefined
  return key.slice(endPrefix.length) as RunEndReason
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
