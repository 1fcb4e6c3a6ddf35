/** How many sockets a server holds at a time: connections, those that are still shaking hands, and those that have gone
 * on as something else. */

/** How long a client that is one too many may be silent, in milliseconds. */
export const excessMs = 1000

/** What there is for a new socket: a place; a moment, in which it is told that there is none; or not even that. */
export type Place = 'within' | 'excess' | 'none'

export class Places {
  readonly #most: number
  readonly #mostExcess: number
  #within = 0
  #excess = 0

  /** @param most How many there are. A tenth as many, but from 10 to 1000, are told that there are no more. */
  constructor(most: number) {
    this.#most = most
    this.#mostExcess = Math.max(10, Math.min(Math.floor(most / 10), 1000))
  }

  /** Gives a new socket what there is. */
  take(): Place {
    if (this.#within < this.#most) {
      this.#within++
      return 'within'
    }
    if (this.#excess >= this.#mostExcess) return 'none'
    this.#excess++
    return 'excess'
  }

  /** A socket leaves.
   * @param isExcess Whether it was one too many. */
  leave(isExcess: boolean): void {
    if (isExcess) this.#excess--
    else this.#within--
  }
}
