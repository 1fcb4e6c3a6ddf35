/** The time by which a log tells how old its events are: it never goes back, and never stands still. */

export class Clock {
  #time: number
  /** When that was, on the clock that nobody can set. */
  #at = performance.now()

  /** @param time The time of the newest event. */
  constructor(time: number) {
    this.#time = time
  }

  /** That of the system; where somebody has set it back, what it would be by now. In milliseconds since 1970. */
  now(): number {
    const at = performance.now()
    this.#time = Math.max(Date.now(), this.#time + at - this.#at)
    this.#at = at
    return Math.floor(this.#time)
  }
}
