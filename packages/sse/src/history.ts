/** The events that a broadcaster keeps: a ring, bounded by their number, their bytes and their age. */

import type { Chunk } from '@wakerobin/core/adapter'

/** An event as it is kept. */
export interface Entry {
  /** What is sent of it, the same for every client. */
  readonly chunk: Chunk
  /** What it is about. Undefined: whoever is subscribed to anything gets it. */
  readonly topics: readonly string[] | undefined
  /** The id that the app has given it. */
  readonly ownId: string | undefined
  /** Whether it is sent with an id. */
  readonly hasId: boolean
  /** Events of one key replace each other for who is behind. */
  readonly key: string | undefined
  /** Whether a newer event of its key is there, or was. */
  isSuperseded: boolean
  /** When it was published, in milliseconds on the clock of `performance.now()`. */
  readonly time: number
}

/** How much is kept. */
export interface HistoryLimits {
  readonly events: number
  /** Of the encoded events. The newest one is kept, however long it is. */
  readonly bytes: number
  readonly ms: number
}

/** A queue of entries. Each has a position: they count from 0, and never come again. */
export class History {
  readonly #limits: HistoryLimits
  /** The entry of a position stands at its remainder; the length is a power of 2, and grows as it is needed. */
  #slots: (Entry | undefined)[] = Array.from({ length: 16 })
  #start = 0
  #end = 0
  #bytes = 0
  readonly #positionOfId = new Map<string, number>()
  /** The app's id of the event before the oldest: who has got that has missed nothing. */
  #idBefore: string | undefined
  readonly #positionOfKey = new Map<string, number>()

  constructor(limits: HistoryLimits) {
    this.#limits = limits
  }

  /** The position of the oldest entry. */
  get start(): number {
    return this.#start
  }

  /** The position after the newest one. */
  get end(): number {
    return this.#end
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The entry of a position from `start` to `end`. */
  at(position: number): Entry {
    return this.#slots[position & (this.#slots.length - 1)]!
  }

  /** The position of the event that the app has given an id: of one that is kept, or was the last before those. */
  positionOf(ownId: string): number | undefined {
    const position = this.#positionOfId.get(ownId)
    return position === undefined && ownId === this.#idBefore ? this.#start - 1 : position
  }

  /** Says which id an event had that came before all that will be kept. */
  begin(id: string): void {
    this.#idBefore = id
  }

  /** The id of the newest event with one of its own before a position; undefined where nobody knows. */
  ownIdBefore(position: number): string | undefined {
    for (let before = position - 1; before >= this.#start; before--) {
      const { ownId } = this.at(before)
      if (ownId !== undefined) return ownId
    }
    return this.#idBefore
  }

  append(entry: Entry): void {
    if (this.#end - this.#start === this.#slots.length) this.#grow()
    const position = this.#end++
    this.#slots[position & (this.#slots.length - 1)] = entry
    this.#bytes += entry.chunk.bytes.length
    if (entry.ownId !== undefined) this.#positionOfId.set(entry.ownId, position)
    if (entry.key === undefined) return
    const former = this.#positionOfKey.get(entry.key)
    if (former !== undefined) this.at(former).isSuperseded = true
    this.#positionOfKey.set(entry.key, position)
  }

  /** Whether the oldest entry has to go. */
  isOver(now: number): boolean {
    const { events, bytes, ms } = this.#limits
    const count = this.#end - this.#start
    if (count === 0) return false
    return (
      count > events ||
      (this.#bytes > bytes && count > 1) ||
      (ms < Infinity && now - this.at(this.#start).time > ms)
    )
  }

  /** Drops the oldest entry. */
  shift(): void {
    const position = this.#start
    const { chunk, ownId, key } = this.at(position)
    this.#slots[position & (this.#slots.length - 1)] = undefined
    this.#start++
    this.#bytes -= chunk.bytes.length
    this.#idBefore = ownId
    if (ownId !== undefined && this.#positionOfId.get(ownId) === position)
      this.#positionOfId.delete(ownId)
    if (key !== undefined && this.#positionOfKey.get(key) === position)
      this.#positionOfKey.delete(key)
  }

  #grow(): void {
    const slots: (Entry | undefined)[] = Array.from({ length: 2 * this.#slots.length })
    for (let position = this.#start; position < this.#end; position++)
      slots[position & (slots.length - 1)] = this.at(position)
    this.#slots = slots
  }
}
