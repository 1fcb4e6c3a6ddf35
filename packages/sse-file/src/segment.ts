/** A file of a log: some events in a row, and where in it they are. */

import { open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

import { countOf, eachLine, isWhole, isWholeHeader, placeOf, storedEventOf } from './line.ts'
import type { StoredEvent } from './line.ts'

/** Bytes that are no events any more, or events that are not there. */
export interface Hole {
  readonly segment: Segment
  readonly offset: number
  readonly bytes: number
  /** How many events are gone. */
  readonly events: number
  /** The count of the event before it. */
  readonly after: number
}

type OnHole = (hole: Hole) => void

export class Segment {
  readonly path: string
  /** The count of the first event in it. */
  readonly first: number
  /** When it was made: no event of an earlier one is newer. */
  readonly time: number
  /** How many bytes of it count: what is beyond is being written. */
  bytes = 0
  /** When its newest event was added; undefined where that is not known. */
  newest: number | undefined
  /** The index: at these offsets are the events of these counts. It grows with what is written and read. */
  readonly #counts: number[] = []
  readonly #offsets: number[] = []
  /** The offsets of the holes that were told. */
  readonly #told = new Set<number>()

  constructor(folder: string, first: number, time: number) {
    this.path = join(folder, `${String(first).padStart(16, '0')}.log`)
    this.first = first
    this.time = time
  }

  /** Says where an event is. */
  note(count: number, offset: number): void {
    if (offset - (this.#offsets.at(-1) ?? -Infinity) < indexBytes) return
    this.#counts.push(count)
    this.#offsets.push(offset)
  }

  /** Goes through all that is in it.
   * @returns Where the last whole line ends. */
  scan(
    buffer: Buffer,
    onEvent: (place: Omit<StoredEvent, 'event'>) => void,
    onHole: OnHole,
  ): number {
    const walk = new Walk(this, this.first - 1, this.#told, onHole)
    let whole = 0
    eachLine(buffer, (start, end) => {
      const count = walk.look(buffer, start, end, 0)
      if (count !== undefined) {
        walk.pass(count, start)
        this.note(count, start)
        onEvent(placeOf(buffer, start))
      }
      if (!walk.isInHole) whole = end + 1
    })
    return whole
  }

  /** Reads on in it.
   * @param after The count of the event after which to begin.
   * @param last The count of the last event that is to be in it.
   * @param limit The most events; there are fewer where they are long, and where some are gone that follow.
   * @param onHole Called with each hole, the first time that it is met.
   * @throws {Error} (rejects) When the file cannot be read. */
  async read(after: number, last: number, limit: number, onHole: OnHole): Promise<StoredEvent[]> {
    const events: StoredEvent[] = []
    let [previous, offset] = this.#before(after)
    const walk = new Walk(this, previous, this.#told, onHole)
    let taken = 0
    let isEnough = false
    const file = await open(this.path)
    try {
      for (let size = chunkBytes; offset < this.bytes;) {
        const buffer = await readAt(file, offset, Math.min(size, this.bytes - offset))
        const from = offset
        const read = eachLine(buffer, (start, end) => {
          const count = walk.look(buffer, start, end, from)
          if (count === undefined) return
          // What comes after a hole is for the next page, which tells of it.
          if (events.length > 0 && count > walk.previous + 1) return (isEnough = true)
          walk.pass(count, from + start)
          this.note(count, from + start)
          if (count <= after) return
          events.push(storedEventOf(buffer, start, end))
          taken += end - start
          return (isEnough = events.length === limit || taken >= pageBytes)
        })
        if (isEnough) return events
        offset += read
        if (read > 0) size = chunkBytes
        else if (buffer.length < size) break // what is left is no line
        else size *= 2 // a long one
      }
    } finally {
      await file.close()
    }
    if (events.length > 0) return events
    if (offset < this.bytes) walk.miss(offset)
    walk.pass(last + 1, this.bytes)
    return []
  }

  /** From where to read for what is after an event: the count of an event before that, and where what follows it begins. */
  #before(after: number): [previous: number, offset: number] {
    let [low, high] = [0, this.#counts.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#counts[middle]! <= after + 1) low = middle + 1
      else high = middle
    }
    return low === 0 ? [this.first - 1, 0] : [this.#counts[low - 1]! - 1, this.#offsets[low - 1]!]
  }
}

/** A way through the lines of a segment, with an eye on what is not there. */
class Walk {
  /** The count of the last event that was passed. */
  previous: number
  readonly #segment: Segment
  readonly #told: Set<number>
  readonly #onHole: OnHole
  /** Where lines begin that are none of ours. */
  #hole: number | undefined

  constructor(segment: Segment, previous: number, told: Set<number>, onHole: OnHole) {
    this.#segment = segment
    this.previous = previous
    this.#told = told
    this.#onHole = onHole
  }

  get isInHole(): boolean {
    return this.#hole !== undefined
  }

  /** The count of the event that a line is; undefined where it is none, or one that has come before.
   * @param from The offset of the buffer in the file. */
  look(buffer: Buffer, start: number, end: number, from: number): number | undefined {
    if (isWhole(buffer, start, end)) {
      if (isWholeHeader(buffer, start)) return undefined
      const count = countOf(buffer, start, end)
      if (count > this.previous) return count
    }
    this.miss(from + start)
    return undefined
  }

  /** What begins there is nothing of ours. */
  miss(offset: number): void {
    this.#hole ??= offset
  }

  /** Goes on to an event, past what is before it. */
  pass(count: number, offset: number): void {
    const begin = this.#hole ?? offset
    const events = count - this.previous - 1
    if (events > 0 && !this.#told.has(begin)) {
      this.#told.add(begin)
      this.#onHole({
        segment: this.#segment,
        offset: begin,
        bytes: offset - begin,
        events,
        after: this.previous,
      })
    }
    this.#hole = undefined
    this.previous = count
  }
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, offset)
  return buffer.subarray(0, bytesRead)
}

/** How far apart the events are of which the index knows. */
const indexBytes = 64 * 1024
/** How much is read at once. */
const chunkBytes = 64 * 1024
/** A page has not much more. */
const pageBytes = 1024 * 1024
