/** Time as a stop sees it, so that tests can own it. */

export interface Clock {
  /** Milliseconds since some moment. */
  now(): number
  /** Calls back after some milliseconds. Returns the way to take that back. */
  after(ms: number, callback: () => void): () => void
}

/** Node turns a longer time, and so `Infinity`, into 1 ms. */
export const maxTimerMs: number = 2 ** 31 - 1

/** The time of this machine. Its timers keep the process, because what is waited for may not. */
export const realClock: Clock = {
  now: () => performance.now(),
  after(ms, callback) {
    const timeout = setTimeout(callback, Math.min(ms, maxTimerMs))
    return () => clearTimeout(timeout)
  },
}
