/** Signals: the first begins the stop, the second ends the process. */

import { constants } from 'node:os'

/** Signals that come together are one: npm passes on a Ctrl-C that the terminal has sent us as well. */
const togetherMs = 200

/** Handles signals for as long as the process lives: one that comes when the stop is just over must not
 * end in anything else.
 * @param onFirst Called with the first one.
 * @param onSecond Called with the next, from another moment on, before it ends the process with 128 and
 * its number. */
export function onSignals(
  signals: readonly NodeJS.Signals[],
  onFirst: (signal: NodeJS.Signals) => void,
  onSecond: (signal: NodeJS.Signals) => void,
): void {
  let firstAt: number | undefined
  const handle = (signal: NodeJS.Signals): void => {
    const now = performance.now()
    if (firstAt === undefined) {
      firstAt = now
      onFirst(signal)
    } else if (now - firstAt > togetherMs) {
      onSecond(signal)
      process.exit(128 + constants.signals[signal])
    }
  }
  for (const signal of signals) process.on(signal, handle)
}
