/** A log in files: what is added to it outlives the process. */

import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

import { callSafely, describe } from '@wakerobin/core/adapter'
import type { EventLog, LogBounds, LogEvent, LogPage, LogRecord } from '@wakerobin/sse'

import { Clock } from './clock.ts'
import { damageOf } from './damage.ts'
import { newEpoch, type Epochs } from './epochs.ts'
import { close, create, dataSync, syncFolder, syncFolderNow, truncate, write } from './files.ts'
import { eventLine, eventOf, headerLine, payloadOf } from './line.ts'
import { Lock, LogInUseError } from './lock.ts'
import { checkOptions } from './options.ts'
import type { CheckedOptions, FileLogOptions } from './options.ts'
import { recover } from './recover.ts'
import { Segment, type Hole } from './segment.ts'

/** Opens a log in a folder, which is made where there is none. One process may have it open at a time.
 *
 * ```ts
 * import { mkdtempSync } from 'node:fs'
 * import { tmpdir } from 'node:os'
 * import { Broadcaster } from '@wakerobin/sse'
 * import { fileLog } from '@wakerobin/sse-file'
 *
 * const path = mkdtempSync(`${tmpdir()}/events-`) // in earnest: '/var/lib/app/events'
 * const log = fileLog(path, { maxAgeMs: 24 * 60 * 60 * 1000 })
 * const news = new Broadcaster({ log })
 * await news.publish('hello') // a client that has seen it comes back to the next process, and misses nothing
 * news.close()
 * await log.close()
 * ```
 *
 * It has read the newest file when this returns, and cut what was not written to its end: see `onRecovery`. An open log
 * does not keep the process alive.
 * @param path The folder; a relative one is that to the working directory of the process.
 * @throws {TypeError | RangeError} When an option cannot be used.
 * @throws {LogInUseError} When another process has it open, or this one has.
 * @throws {Error} When the folder cannot be read and written, or was written by a later release. */
export function fileLog(path: string, options?: FileLogOptions): EventLog {
  if (typeof path !== 'string' || path === '')
    throw new TypeError(
      `Cannot open the event log ${describe(path)}: expected the path of a folder`,
    )
  const checked = checkOptions(options)
  const folder = resolve(path) // the working directory may change
  try {
    return new FileLog(folder, checked)
  } catch (error) {
    if (error instanceof LogInUseError) throw error
    throw errorOf('open', folder, error)
  }
}

/** What was given to `append`. */
interface Appended {
  readonly payload: string
  readonly resolve: (id: string) => void
  readonly reject: (error: Error) => void
}

class FileLog implements EventLog {
  readonly #folder: string
  readonly #options: CheckedOptions
  readonly #lock: Lock
  readonly #epochs: Epochs
  /** The name of the epoch that this process begins with its first event. */
  readonly #epoch: string
  readonly #clock: Clock
  /** The oldest first. The last is written to. */
  readonly #segments: Segment[]
  /** The descriptor of the last. */
  #file: number
  /** When the first event was added to it; undefined where it has none. */
  #begun: number | undefined
  readonly #segmentBytes: number
  /** The count of the newest event that was added. */
  #end: number
  /** The newest events, for those who follow: at most as many as are worth a page. */
  #recent: LogRecord[] = []
  #recentLength = 0
  /** Waits to be written. */
  #queue: Appended[] = []
  /** Set while there is something to write, or to remove. */
  #writing: Promise<void> | undefined
  /** Whether what stands behind the end of the file has to be cut before anything is written. */
  #isRagged = false
  /** Whether something was written since it was last forced to the disk. */
  #isDirty = false
  #syncing: Promise<void> | undefined
  #syncTimer: NodeJS.Timeout | undefined
  readonly #ageTimer: NodeJS.Timeout | undefined
  /** Whether it is time to look for what is too old. */
  #isTrimDue = false
  #closing: Promise<void> | undefined
  /** Called once, when there is more, or nothing more to wait for. */
  readonly #waiting = new Set<() => void>()

  constructor(folder: string, options: CheckedOptions) {
    this.#folder = folder
    this.#options = options
    const made = mkdirSync(folder, { recursive: true })
    if (made !== undefined && options.fsync !== 'never') syncFolderNow(dirname(made))
    this.#lock = new Lock(folder, (error) =>
      this.#report(errorOf('write any more to', folder, error)),
    )
    try {
      const { segments, epochs, end, time, damages } = recover(folder)
      this.#segments = segments
      this.#epochs = epochs
      this.#end = end
      this.#clock = new Clock(time)
      this.#segmentBytes = Math.min(Math.ceil(options.maxBytes / pieces), maxSegmentBytes)
      const isNew = segments.length === 0
      if (isNew) segments.push(this.#makeFirst())
      this.#epoch = isNew ? epochs.entries.at(-1)![0] : newEpoch()
      this.#begun = end >= this.#last.first ? this.#last.time : undefined
      this.#file = openSync(this.#last.path, 'r+')
      for (const damage of damages) callSafely(() => options.onRecovery(damage))
    } catch (error) {
      this.#lock.release()
      throw error
    }
    if (options.maxAgeMs === Infinity) return
    const checkMs = Math.min(Math.ceil(options.maxAgeMs / pieces), longestCheckMs)
    this.#ageTimer = setInterval(() => this.#startTrimming(), checkMs).unref()
    this.#startTrimming()
  }

  append(event: LogEvent): Promise<string> {
    if (this.#closing !== undefined) return Promise.reject(closedError('add to'))
    if (typeof event.text !== 'string')
      return Promise.reject(
        new TypeError(`Cannot add ${describe(event)} to the log: expected an event with a text`),
      )
    return new Promise((resolve, reject) => {
      this.#queue.push({ payload: payloadOf(event), resolve, reject })
      this.#startWriting()
    })
  }

  async read(after: string, limit: number): Promise<LogPage> {
    if (this.#closing !== undefined) throw closedError('read')
    return this.#page(after, limit)
  }

  async *tail(after: string, signal: AbortSignal): AsyncGenerator<LogPage, void> {
    if (this.#closing !== undefined) throw closedError('follow')
    for (let at = after; !signal.aborted && this.#closing === undefined;) {
      const page = await this.#page(at, tailRecords)
      at = page.next
      if (page.records.length > 0 || page.missed !== 0) yield page
      else if (this.#epochs.countOf(at) === this.#end) await this.#more(signal)
    }
  }

  async bounds(): Promise<LogBounds> {
    if (this.#closing !== undefined) throw closedError('read')
    const start = this.#start
    return {
      first: start < this.#end ? this.#epochs.idOf(start + 1) : undefined,
      last: this.#epochs.idOf(this.#end),
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearInterval(this.#ageTimer)
    this.#wake()
    await this.#writing
    clearTimeout(this.#syncTimer)
    await this.#syncing
    try {
      if (this.#isRagged) await this.#cut(this.#last.bytes)
      if (this.#isDirty && this.#options.fsync !== 'never') await dataSync(this.#file)
    } catch (error) {
      throw errorOf('close', this.#folder, error)
    } finally {
      await close(this.#file).finally(() => this.#lock.release())
    }
  }

  get #last(): Segment {
    return this.#segments.at(-1)!
  }

  /** The count of the event before the oldest that is kept. */
  get #start(): number {
    return Math.max(this.#segments[0]!.first - 1, this.#end - this.#options.maxEvents)
  }

  // ---------------------------------------------------------------------------------------- reading

  async #page(after: string, limit: number): Promise<LogPage> {
    const read = after === '' ? this.#start : this.#epochs.countOf(after)
    if (read === undefined || read > this.#end)
      return { records: [], missed: null, next: this.#epochs.idOf(this.#end) }
    const pageOf = (records: readonly LogRecord[], from: number): LogPage => ({
      records,
      missed: after === '' ? 0 : from - read,
      next: this.#epochs.idOf(from + records.length),
    })
    for (let from = read; ;) {
      from = Math.max(from, this.#start)
      const recent = this.#end - this.#recent.length
      if (from >= recent)
        return pageOf(this.#recent.slice(from - recent, from - recent + limit), from)
      const at = this.#segments.findLastIndex(({ first }) => first <= from + 1)
      const segment = this.#segments[at]!
      const last = (this.#segments[at + 1]?.first ?? this.#end + 1) - 1
      let stored
      try {
        stored = await segment.read(from, last, limit, (hole) => this.#tellOf(hole))
      } catch (error) {
        if (!this.#segments.includes(segment)) continue // removed meanwhile
        throw errorOf('read', this.#folder, error)
      }
      if (stored.length === 0) from = Math.max(from, last)
      else return pageOf(stored.map(recordOf), stored[0]!.count - 1)
    }
  }

  #tellOf({ segment, offset, bytes, events, after }: Hole): void {
    const kind = bytes > 0 ? 'corrupt' : 'missing'
    const id = this.#epochs.idOf(after)
    const damage = damageOf({ kind, path: segment.path, offset, bytes, events, after: id })
    callSafely(() => this.#options.onRecovery(damage))
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

  // ---------------------------------------------------------------------------------------- writing

  /** Writes what waits, at the end of the turn, so that all of it is one write. */
  #startWriting(): void {
    this.#writing ??= Promise.resolve().then(() => this.#write())
  }

  #startTrimming(): void {
    this.#isTrimDue = true
    this.#startWriting()
  }

  async #write(): Promise<void> {
    while (this.#queue.length > 0 || this.#isTrimDue) {
      if (this.#isTrimDue) await this.#trim()
      const batch = this.#take()
      try {
        if (batch.length > 0) await this.#add(batch)
      } catch (error) {
        for (const { reject } of batch) reject(errorOf('add to', this.#folder, error))
      }
    }
    this.#writing = undefined // at once: what is added from now on begins anew
  }

  /** Takes from the queue what is written at once: to one file, so not much more than a file has. */
  #take(): Appended[] {
    const most = Math.min(batchLength, this.#segmentBytes)
    let [taken, length] = [0, 0]
    while (taken < this.#queue.length && length < most)
      length += this.#queue[taken++]!.payload.length + idLength
    return this.#queue.splice(0, taken)
  }

  /** Writes events, and settles those that were taken.
   * @throws {Error} (rejects) Where not all were: the others are not settled. */
  async #add(batch: Appended[]): Promise<void> {
    this.#lock.check()
    const time = this.#clock.now()
    const lines = batch.map(({ payload }, at) =>
      eventLine(`${this.#epoch}-${this.#end + 1 + at}`, time, payload),
    )
    const buffer = Buffer.concat(lines)
    if (this.#isRagged) await this.#cut(this.#last.bytes)
    if (this.#isFull(time)) await this.#makeNext(time)
    await this.#removeOld(time, buffer.length)
    const segment = this.#last

    let { written, error } = await write(this.#file, buffer, segment.bytes)
    let [taken, length] = [0, 0]
    while (taken < lines.length && length + lines[taken]!.length <= written)
      length += lines[taken++]!.length
    if (taken > 0 && this.#options.fsync === 'each') {
      try {
        await dataSync(this.#file)
      } catch (failure) {
        ;[error, taken, length] = [failure, 0, 0]
      }
    }
    if (error !== undefined) {
      this.#isRagged = true
      await this.#cut(segment.bytes + length).catch((failure: unknown) => this.#report(failure))
    }
    if (taken > 0) this.#accept(batch.splice(0, taken), lines, time)
    if (error !== undefined) throw error
  }

  /** What was written is in the log. */
  #accept(taken: readonly Appended[], lines: readonly Buffer[], time: number): void {
    const segment = this.#last
    this.#epochs.see(this.#epoch, this.#end)
    this.#begun ??= time
    segment.newest = time
    for (const [at, { payload, resolve }] of taken.entries()) {
      const id = `${this.#epoch}-${++this.#end}`
      segment.note(this.#end, segment.bytes)
      segment.bytes += lines[at]!.length
      const event = eventOf(payload)
      this.#recent.push({ id, ...event })
      this.#recentLength += event.text.length
      resolve(id)
    }
    this.#forget()
    this.#isDirty = this.#options.fsync !== 'each'
    if (this.#options.fsync === 'interval') this.#syncSoon()
    this.#wake()
  }

  /** Keeps no more in memory than it may. */
  #forget(): void {
    let dropped = 0
    const { length } = this.#recent
    while (length - dropped > tailRecords || this.#recentLength > recentLength)
      this.#recentLength -= this.#recent[dropped++]!.text.length
    this.#recent.splice(0, dropped)
  }

  async #cut(length: number): Promise<void> {
    await truncate(this.#file, length)
    this.#isRagged = false
  }

  #syncSoon(): void {
    if (this.#closing !== undefined) return // which does it
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined
      this.#syncing ??= this.#sync()
    }, this.#options.fsyncIntervalMs).unref()
  }

  async #sync(): Promise<void> {
    this.#isDirty = false
    try {
      await dataSync(this.#file)
    } catch (error) {
      this.#isDirty = true
      this.#report(errorOf('force to the disk', this.#folder, error))
    }
    this.#syncing = undefined
    if (this.#isDirty) this.#syncSoon() // also what was added meanwhile
  }

  // ----------------------------------------------------------------------------------------- bounds

  /** Lets go of what is too old, also where nothing is added. */
  async #trim(): Promise<void> {
    this.#isTrimDue = false
    try {
      this.#lock.check()
      const time = this.#clock.now()
      if (this.#isFull(time)) await this.#makeNext(time)
      await this.#removeOld(time, 0)
    } catch (error) {
      this.#report(errorOf('remove old events from', this.#folder, error))
    }
  }

  /** Whether what comes next goes to a new file. */
  #isFull(time: number): boolean {
    if (this.#begun === undefined) return false
    const { maxAgeMs } = this.#options
    return this.#last.bytes >= this.#segmentBytes || time - this.#begun >= maxAgeMs / pieces
  }

  /** Makes the file that is written to from then on.
   * @throws {Error} (rejects) When it cannot be made: all is as it was. */
  async #makeNext(time: number): Promise<void> {
    const segment = new Segment(this.#folder, this.#end + 1, time)
    const header = headerLine({ first: segment.first, time, epochs: this.#epochs.entries })
    const isSynced = this.#options.fsync !== 'never'
    await this.#syncing
    if (isSynced && this.#isDirty) await dataSync(this.#file)
    this.#isDirty = false
    const file = await create(segment.path)
    try {
      const { written, error } = await write(file, header, 0)
      if (error !== undefined) throw error
      segment.bytes = written
      if (isSynced) await syncFolder(this.#folder)
    } catch (error) {
      await close(file)
      await unlink(segment.path)
      throw error
    }
    const former = this.#file
    this.#file = file
    this.#isRagged = false
    this.#begun = undefined
    this.#segments.push(segment)
    await close(former)
  }

  #makeFirst(): Segment {
    const time = this.#clock.now()
    const segment = new Segment(this.#folder, this.#end + 1, time)
    const header = headerLine({ first: segment.first, time, epochs: this.#epochs.entries })
    const file = openSync(segment.path, 'w')
    try {
      writeSync(file, header)
      segment.bytes = header.length
    } finally {
      closeSync(file)
    }
    if (this.#options.fsync !== 'never') syncFolderNow(this.#folder)
    return segment
  }

  /** Removes the oldest files, until there is room for what comes.
   * @param length How many bytes that is. */
  async #removeOld(time: number, length: number): Promise<void> {
    const { maxBytes, maxAgeMs } = this.#options
    let bytes = this.#segments.reduce((sum, segment) => sum + segment.bytes, length)
    for (;;) {
      const [oldest, next] = this.#segments
      if (next === undefined) return
      const isOld = time - (oldest!.newest ?? next.time) >= maxAgeMs
      if (!isOld && bytes <= maxBytes && next.first - 1 > this.#start) return
      this.#segments.shift()
      bytes -= oldest!.bytes
      await unlink(oldest!.path).catch((error: unknown) =>
        this.#report(errorOf('remove old events from', this.#folder, error)),
      )
    }
  }

  #report(error: unknown): void {
    callSafely(() => this.#options.onError(error))
  }
}

function recordOf({
  epoch,
  count,
  event,
}: {
  epoch: string
  count: number
  event: LogEvent
}): LogRecord {
  return { id: `${epoch}-${count}`, ...event }
}

function closedError(action: string): TypeError {
  return new TypeError(`Cannot ${action} the log: it is closed`)
}

function errorOf(action: string, folder: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new Error(`Cannot ${action} the event log ${folder}: ${why}`, { cause })
}

/** Of how many pieces a full log consists, about. */
const pieces = 16
const maxSegmentBytes = 8 * 1024 * 1024
/** How many characters of events are written at once, at most. */
const batchLength = 1024 * 1024
/** How many characters of a line are not the event, about. */
const idLength = 40
/** How many events are kept in memory for those who follow, and how many characters of them. */
const tailRecords = 1_000
const recentLength = 1024 * 1024
/** The longest time after which is looked for what is too old, in milliseconds. */
const longestCheckMs = 60 * 60 * 1000
