/** Reads an event stream off the wire, and throws where an event is missing, doubled, damaged or out of order.
 *
 * As cheap as may be, because it shares the machine with what is measured: lines are compared in place. */

import { messageOf } from './message.ts'

const lf = 0x0a
const space = 0x20
const colon = 0x3a
const brace = 0x7b
const nothing = Buffer.alloc(0)

export class StreamReader {
  /** How many events have come. */
  got = 0
  /** Whether the head of the response has come. */
  isOpen = false
  readonly #eventBytes: number
  #head = nothing
  #isChunked = false
  /** How much of the chunk is still to come. */
  #left = 0
  #size = ''
  /** The beginning of a line whose end is still to come. */
  #rest = nothing
  #hasData = false

  constructor(eventBytes: number) {
    this.#eventBytes = eventBytes
  }

  /** @throws {Error} When it is not what must come next. */
  read(bytes: Buffer): void {
    if (this.isOpen) this.#readBody(bytes)
    else this.#readHead(bytes)
  }

  #readHead(bytes: Buffer): void {
    this.#head = Buffer.concat([this.#head, bytes])
    const end = this.#head.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = this.#head.toString('latin1', 0, end)
    if (!/^HTTP\/1\.1 200 [^]*\r\ncontent-type: *text\/event-stream/i.test(head))
      throw new Error(`Expected an event stream, got ${JSON.stringify(head)}`)
    this.#isChunked = /\r\ntransfer-encoding: *chunked/i.test(head)
    this.isOpen = true
    const body = this.#head.subarray(end + 4)
    this.#head = nothing
    if (body.length > 0) this.#readBody(body)
  }

  #readBody(bytes: Buffer): void {
    if (this.#isChunked) this.#readChunks(bytes)
    else this.#readLines(bytes, 0, bytes.length)
  }

  /** RFC 9112 §7.1, without extensions. */
  #readChunks(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#left > 0) {
        const end = Math.min(at + this.#left, bytes.length)
        this.#readLines(bytes, at, end)
        this.#left -= end - at
        at = end
        continue
      }
      const byte = bytes[at++]!
      if (byte !== lf) {
        this.#size += String.fromCharCode(byte)
        continue
      }
      // The line break behind a chunk comes this way, too.
      const size = this.#size.trim()
      this.#size = ''
      if (size === '') continue
      if (!/^[0-9a-f]+$/i.test(size))
        throw new Error(`Expected the size of a chunk, got ${JSON.stringify(size)}`)
      this.#left = Number.parseInt(size, 16)
      if (this.#left === 0) throw new Error('Expected events, got the end of the stream')
    }
  }

  #readLines(bytes: Buffer, from: number, to: number): void {
    let at = from
    while (at < to) {
      const end = bytes.indexOf(lf, at)
      if (end === -1 || end >= to) {
        this.#rest = Buffer.concat([this.#rest, bytes.subarray(at, to)])
        return
      }
      if (this.#rest.length === 0) this.#readLine(bytes, at, end)
      else {
        const line = Buffer.concat([this.#rest, bytes.subarray(at, end)])
        this.#rest = nothing
        this.#readLine(line, 0, line.length)
      }
      at = end + 1
    }
  }

  #readLine(bytes: Buffer, from: number, to: number): void {
    if (from === to) {
      if (this.#hasData) this.got++
      this.#hasData = false
    } else if (startsWithData(bytes, from)) {
      this.#readData(bytes, from + (bytes[from + 5] === space ? 6 : 5), to)
    } else if (bytes[from] !== colon && !/^(event|id|retry):/.test(textOf(bytes, from, to))) {
      throw new Error(`Expected a line of an event, got ${JSON.stringify(textOf(bytes, from, to))}`)
    }
  }

  #readData(bytes: Buffer, from: number, to: number): void {
    // What some send to greet a client, because nothing goes out before a first event.
    if (this.got === 0 && bytes[from] !== brace) return
    const expected = dataOf(this.got + 1, this.#eventBytes)
    if (this.#hasData || bytes.compare(expected, 0, expected.length, from, to) !== 0)
      throw new Error(
        `Expected event ${this.got + 1}, got ${JSON.stringify(textOf(bytes, from, Math.min(to, from + 40)))}`,
      )
    this.#hasData = true
  }
}

function startsWithData(bytes: Buffer, from: number): boolean {
  return bytes[from] === 0x64 && bytes[from + 1] === 0x61 && bytes[from + 4] === colon
}

function textOf(bytes: Buffer, from: number, to: number): string {
  return bytes.toString('latin1', from, to)
}

const kept = 256
const keptData: { seq: number; eventBytes: number; data: Buffer }[] = []

/** The data of an event, the same for all clients, which are at about the same. */
function dataOf(seq: number, eventBytes: number): Buffer {
  const found = keptData[seq % kept]
  if (found?.seq === seq && found.eventBytes === eventBytes) return found.data
  const data = Buffer.from(JSON.stringify(messageOf(seq, eventBytes)))
  keptData[seq % kept] = { seq, eventBytes, data }
  return data
}
