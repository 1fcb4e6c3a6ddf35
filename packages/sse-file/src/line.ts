/** The lines of which the files of a log consist: a checksum, and what it is of.
 *
 *     7a1c09fe {"log":"wakerobin","version":1,"first":1,"time":1764489000000,"epochs":[["k3f0x9q2",0]]}
 *     09b1f5c2 k3f0x9q2-1 1764489000123 ["data: hello\n\n",["plants"]]
 *
 * The first line of a file is its header. An event has its id, the time at which it was added, and its text, topics and key as
 * JSON, which has no line break in it: so after any damage the next line is found. The checksum is the CRC-32 of the rest of
 * the line, in UTF-8. */

import { crc32 } from 'node:zlib'

import type { LogEvent } from '@wakerobin/sse'

/** The name of an epoch, and after which event it begins. */
export type Epoch = readonly [name: string, after: number]

/** The first line of a file. */
export interface Header {
  /** The count of the first event in the file. */
  readonly first: number
  /** When the file was made: no event of an earlier file is newer, and none in this one older. */
  readonly time: number
  /** The epochs of the log until then. */
  readonly epochs: readonly Epoch[]
}

/** An event that is in a file. */
export interface StoredEvent {
  readonly epoch: string
  readonly count: number
  readonly time: number
  readonly event: LogEvent
}

export function headerLine(header: Header): Buffer {
  return lineOf(JSON.stringify({ log: 'wakerobin', version, ...header }))
}

/** @param payload What `payloadOf` has made of the event. */
export function eventLine(id: string, time: number, payload: string): Buffer {
  return lineOf(`${id} ${time} ${payload}`)
}

/** An event as it is written: what becomes of its fields later does not matter. */
export function payloadOf({ text, topics, key }: LogEvent): string {
  if (key !== undefined) return JSON.stringify([text, topics, key])
  return JSON.stringify(topics === undefined ? [text] : [text, topics])
}

export function eventOf(payload: string): LogEvent {
  const [text, topics, key] = JSON.parse(payload) as [string, string[] | null, string]
  return { text, topics: topics ?? undefined, key }
}

/** Whether a piece of a buffer, without the line break, is a line as it was written. */
export function isWhole(buffer: Buffer, start: number, end: number): boolean {
  return (
    end - start > prefix &&
    buffer.toString('latin1', start, start + prefix) ===
      prefixOf(buffer.subarray(start + prefix, end))
  )
}

/** Whether a whole line is a header. */
export function isWholeHeader(buffer: Buffer, start: number): boolean {
  return buffer[start + prefix] === brace
}

/** The header that a whole line is.
 * @throws {RangeError} When it is of a later version. */
export function headerOf(buffer: Buffer, start: number, end: number): Header {
  const header = JSON.parse(buffer.toString('utf8', start + prefix, end)) as Header & {
    version: number
  }
  const { version: found, first, time, epochs } = header
  if (found === version) return { first, time, epochs }
  throw new RangeError(
    `Cannot read an event log of version ${found}: it is of a later release, expected ${version}`,
  )
}

/** The count of the event that a whole line is, without a look at the rest. */
export function countOf(buffer: Buffer, start: number, end: number): number {
  let at = start + prefix
  while (at < end && buffer[at] !== dash) at++
  let count = 0
  for (at++; at < end && buffer[at] !== space; at++) count = 10 * count + buffer[at]! - zero
  return count
}

/** The place and the time of the event that a whole line is, without a look at the event. */
export function placeOf(
  buffer: Buffer,
  start: number,
): Omit<StoredEvent, 'event'> & { at: number } {
  const afterId = buffer.indexOf(space, start + prefix)
  const afterTime = buffer.indexOf(space, afterId + 1)
  const [epoch, count] = buffer.toString('latin1', start + prefix, afterId).split('-')
  const time = Number(buffer.toString('latin1', afterId + 1, afterTime))
  return { epoch: epoch!, count: Number(count), time, at: afterTime + 1 }
}

/** The event that a whole line is. */
export function storedEventOf(buffer: Buffer, start: number, end: number): StoredEvent {
  const { at, ...place } = placeOf(buffer, start)
  return { ...place, event: eventOf(buffer.toString('utf8', at, end)) }
}

/** Goes through the lines of a buffer that end in it, until the visit of one returns true.
 * @returns Where what was not visited begins. */
export function eachLine(
  buffer: Buffer,
  visit: (start: number, end: number) => boolean | void,
): number {
  let start = 0
  for (let end; (end = buffer.indexOf(lineBreak, start)) !== -1; start = end + 1)
    if (visit(start, end) === true) break
  return start
}

function lineOf(body: string): Buffer {
  const line = Buffer.from(`${blank}${body}\n`)
  line.write(prefixOf(line.subarray(prefix, -1)), 'latin1')
  return line
}

function prefixOf(body: Buffer): string {
  return `${crc32(body).toString(16).padStart(8, '0')} `
}

const version = 1
const blank = '00000000 '
const prefix = blank.length
const [lineBreak, space, dash, zero, brace] = [0x0a, 0x20, 0x2d, 0x30, 0x7b]
