/** What is in the folder of a log when it is opened: its files, and what is left of them. */

import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'

import { damageOf, type Damage } from './damage.ts'
import { Epochs, newEpoch } from './epochs.ts'
import { eachLine, headerOf, isWhole, isWholeHeader } from './line.ts'
import type { Header } from './line.ts'
import { Segment } from './segment.ts'

export interface Recovered {
  /** The oldest first. There may be none. */
  readonly segments: Segment[]
  readonly epochs: Epochs
  /** The count of the newest event. */
  readonly end: number
  /** When it was added, or the newest file was made. */
  readonly time: number
  readonly damages: readonly Damage[]
}

/** Reads the heads of all files and all of the newest, and cuts what it has at its end that is no whole event.
 * @throws {Error} When a file cannot be read, or is of a later version. */
export function recover(folder: string): Recovered {
  const files = readdirSync(folder)
    .filter((name) => /^\d{16}\.log$/.test(name))
    .toSorted()
    .map((name) => ({ first: Number.parseInt(name, 10), ...readHeader(join(folder, name)) }))
  const damages: Damage[] = []
  let madeAt = 0
  const segments = files.map(({ first, header }) => {
    madeAt = header?.time ?? madeAt
    const segment = new Segment(folder, first, madeAt)
    segment.bytes = statSync(segment.path).size
    return segment
  })

  // The newest that says which epochs there are; those since then are in the events that follow.
  const from = files.findLastIndex(({ header }) => header !== undefined)
  const known = files[from]?.header?.epochs ?? [[newEpoch(), (files[0]?.first ?? 1) - 1]]
  const epochs = new Epochs(known)
  let [end, time] = [(files[Math.max(from, 0)]?.first ?? 1) - 1, madeAt]
  for (const segment of segments.slice(Math.max(from, 0))) {
    const isLast = segment === segments.at(-1)
    const buffer = readFileSync(segment.path)
    end = Math.max(end, segment.first - 1)
    const whole = segment.scan(
      buffer,
      (place) => {
        epochs.see(place.epoch, place.count - 1)
        end = place.count
        time = segment.newest = place.time
      },
      ({ offset, bytes, events, after }) =>
        damages.push(
          damageOf({
            kind: bytes > 0 ? 'corrupt' : 'missing',
            path: segment.path,
            offset,
            bytes,
            events,
            after: epochs.idOf(after),
          }),
        ),
    )
    if (!isLast || whole === buffer.length) continue
    damages.push(
      damageOf({
        kind: 'torn',
        path: segment.path,
        offset: whole,
        bytes: buffer.length - whole,
        events: null,
        after: epochs.idOf(end),
      }),
    )
    truncateSync(segment.path, whole)
    segment.bytes = whole
  }
  // One that was being made when the process died, or of which nothing is left.
  if (segments.at(-1)?.bytes === 0) rmSync(segments.pop()!.path)
  for (const [at, { path, first }] of segments.entries()) {
    const { header, length } = files[at]!
    if (header === undefined)
      damages.push(
        damageOf({
          kind: 'corrupt',
          path,
          offset: 0,
          bytes: length,
          events: 0,
          after: epochs.idOf(first - 1),
        }),
      )
  }
  return { segments, epochs, end, time, damages }
}

/** The first line of a file: its header, undefined where it is not whole, and its length in bytes. */
function readHeader(path: string): { header: Header | undefined; length: number } {
  const buffer = Buffer.alloc(headerBytes)
  const file = openSync(path, 'r')
  let length
  try {
    length = readSync(file, buffer, 0, headerBytes, 0)
  } finally {
    closeSync(file)
  }
  let header: Header | undefined
  eachLine(buffer.subarray(0, length), (start, end) => {
    length = end + 1
    if (isWhole(buffer, start, end) && isWholeHeader(buffer, start))
      header = headerOf(buffer, start, end)
    return true
  })
  return { header, length }
}

/** A header is not longer: it has at most a thousand epochs. */
const headerBytes = 64 * 1024
