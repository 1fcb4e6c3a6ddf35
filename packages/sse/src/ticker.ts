/** One timer for all streams: what is due is found by asking each now and then.
 *
 * Asking ten thousand streams takes a tenth of a millisecond. A timer for each would cost memory, and have to
 * be set anew for every event. */

/** Who is asked. */
export interface Ticking {
  /** How exact its times are to be, in milliseconds. */
  readonly tickMs: number
  /** Looks whether something is due.
   * @param now In milliseconds, on a clock that only ticks while somebody is registered. */
  tick(now: number): void
}

/** Asks everybody who is registered. The timer keeps no process alive. */
export class Ticker {
  /** Milliseconds that were ticked. */
  now = 0
  readonly #registered = new Set<Ticking>()
  #timer: ReturnType<typeof setInterval> | undefined
  #tickMs = Infinity

  add(ticking: Ticking): void {
    this.#registered.add(ticking)
    if (ticking.tickMs < this.#tickMs) this.#restart(ticking.tickMs)
  }

  delete(ticking: Ticking): void {
    if (!this.#registered.delete(ticking) || this.#registered.size > 0) return
    clearInterval(this.#timer)
    this.#tickMs = Infinity
  }

  /** Lets time pass: for tests, and for the timer. */
  advance(ms: number): void {
    this.now += ms
    for (const ticking of this.#registered) ticking.tick(this.now)
  }

  get size(): number {
    return this.#registered.size
  }

  /** How much time passes between two ticks, in milliseconds. */
  get tickMs(): number {
    return this.#tickMs
  }

  #restart(tickMs: number): void {
    clearInterval(this.#timer)
    this.#tickMs = tickMs
    this.#timer = setInterval(() => this.advance(tickMs), tickMs)
    ;(this.#timer as { unref?: () => void }).unref?.() // a number, outside of Node
  }
}

/** How exact some times are to be: to a tenth of the shortest, and no less than to a second. */
export function tickFor(times: readonly number[]): number {
  return Math.min(1000, Math.max(1, Math.floor(Math.min(...times) / 10)))
}

/** That of all streams. */
export const ticker: Ticker = new Ticker()
