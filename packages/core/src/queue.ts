/** A queue that may be long: to take its first takes no longer then, as it does with an array. */

export class Queue<T> {
  #items: T[]
  /** The index of the first that was not taken. */
  #at = 0

  constructor(items: T[] = []) {
    this.#items = items
  }

  get first(): T | undefined {
    return this.#items[this.#at]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** Takes the first; undefined where there is none. */
  shift(): T | undefined {
    const { first } = this
    if (this.#at < this.#items.length) this.#at++
    // Lets go of those that were taken, when they are the most.
    if (this.#at >= leastTaken && 2 * this.#at > this.#items.length) {
      this.#items = this.rest()
      this.#at = 0
    }
    return first
  }

  /** All that were not taken. */
  rest(): T[] {
    return this.#items.slice(this.#at)
  }
}

const leastTaken = 1_000
