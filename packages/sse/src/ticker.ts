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

/** The timers of a platform. */
export interface Timers {
  readonly setInterval: (callback: () => void, ms: number) => unknown
  readonly clearInterval: (timer: any) => void
}

/** Asks everybody who is registered, as often as the most exact of them wants it. The timer keeps no process alive. */
export class Ticker {
  /** Milliseconds that have passed while somebody was registered. */
  now = 0
  readonly #registered = new Set<Ticking>()
  /** How many there are of each `tickMs`. */
  readonly #counts = new Map<number, number>()
  readonly #timers: Timers
  #timer: unknown
  #tickMs = Infinity

  /** @param timers Default: those of this platform. */
  constructor(timers: Timers = realTimers) {
    this.#timers = timers
  }

  add(ticking: Ticking): void {
    if (this.#registered.has(ticking)) return
    this.#registered.add(ticking)
    const { tickMs } = ticking
    this.#counts.set(tickMs, (this.#counts.get(tickMs) ?? 0) + 1)
    if (tickMs < this.#tickMs) this.#restart(tickMs)
  }

  delete(ticking: Ticking): void {
    if (!this.#registered.delete(ticking)) return
    const { tickMs } = ticking
    const left = this.#counts.get(tickMs)! - 1
    if (left > 0) {
      this.#counts.set(tickMs, left)
      return
    }
    this.#counts.delete(tickMs)
    if (tickMs === this.#tickMs) this.#restart(Math.min(...this.#counts.keys()))
  }

  /** Lets time pass: for tests, and for the timer. */
  advance(ms: number): void {
    this.now += ms
    for (const ticking of this.#registered) ticking.tick(this.now)
  }

  get size(): number {
    return this.#registered.size
  }

  /** How much time passes between two ticks, in milliseconds; `Infinity` where nobody is registered. */
  get tickMs(): number {
    return this.#tickMs
  }

  #restart(tickMs: number): void {
    const { setInterval, clearInterval } = this.#timers // those of a browser refuse to be called as methods
    clearInterval(this.#timer)
    this.#tickMs = tickMs
    if (tickMs === Infinity) return
    let last = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      // A timer on a busy machine is late, and that time has passed too. But a process that stood still for long
      // has not given its clients the time to read.
      this.advance(Math.max(tickMs, Math.min(now - last, mostMs)))
      last = now
    }, tickMs)
    ;(this.#timer as { unref?: () => void }).unref?.() // a number, outside of Node
  }
}

// Those of the world, also while a test has put a clock of its own in their place: it would take the one timer of all
// streams with it when it goes.
const realTimers: Timers = { setInterval, clearInterval }

/** The longest step, in milliseconds. */
const mostMs = 10_000

/** How exact some times are to be: to a tenth of the shortest, and no less than to a second. */
export function tickFor(times: readonly number[]): number {
  return Math.min(1000, Math.max(1, Math.floor(Math.min(...times) / 10)))
}

/** That of all streams. */
export const ticker: Ticker = new Ticker()
