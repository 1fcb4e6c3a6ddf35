/** The ids of a log: an epoch, and a count that goes on from one epoch to the next.
 *
 * Every process that adds to a log begins an epoch. What a loss of power or a damaged disk has taken from the end is added anew
 * under the same counts, but never under the same ids: who has an id of what is gone is told so. */

import { randomInt } from 'node:crypto'

import type { Epoch } from './line.ts'

export class Epochs {
  /** The name of each, and after which event it begins. */
  readonly #entries: Epoch[]

  constructor(entries: readonly Epoch[]) {
    this.#entries = [...entries]
  }

  /** What comes after an event is of an epoch, which may be new. */
  see(name: string, after: number): void {
    if (this.#entries.at(-1)?.[0] === name) return
    this.#entries.push([name, after])
    if (this.#entries.length > maxEpochs) this.#entries.shift()
  }

  /** For the header of a file. */
  get entries(): readonly Epoch[] {
    return this.#entries
  }

  /** The id of the event of that count. */
  idOf(count: number): string {
    let at = this.#entries.length - 1
    while (at > 0 && this.#entries[at]![1] >= count) at--
    return `${this.#entries[at]![0]}-${count}`
  }

  /** The count of an id; undefined where it is none of this log's, or of an event that was lost. */
  countOf(id: string): number | undefined {
    const [, name, digits] = /^([0-9a-z]+)-(0|[1-9]\d{0,14})$/.exec(id) ?? []
    const at = this.#entries.findIndex(([known]) => known === name)
    if (at === -1) return undefined
    const count = Number(digits)
    const isBefore = at > 0 && count <= this.#entries[at]![1]
    return isBefore || count > (this.#entries[at + 1]?.[1] ?? Infinity) ? undefined : count
  }
}

export function newEpoch(): string {
  return randomInt(2 ** 40)
    .toString(36)
    .padStart(8, '0')
}

/** Ids of epochs before that are as good as foreign. */
const maxEpochs = 1_000
