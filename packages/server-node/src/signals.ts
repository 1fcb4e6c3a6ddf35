/** Signals: the first begins the stop, the second ends the process. */

import { constants } from 'node:os'

/** Signals that come together are one: npm passes on a Ctrl-C that the terminal has sent us as well. */
const togetherMs = 200

/** Handles signals for as long as the process lives, to its last moment: one that comes when the stop is just over must
 * not end in anything else.
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
      process.on('beforeExit', keepSignals)
      onFirst(signal)
    } else if (now - firstAt > togetherMs) {
      onSecond(signal)
      process.exit(128 + constants.signals[signal])
    }
  }
  for (const signal of signals) process.on(signal, handle)
}

/** Node hands the signals back to the system when nothing is left to do, and takes some milliseconds more to end: a signal
 * that comes then kills the process, which has stopped in good order. It does not where the process ends by `exit`. */
function keepSignals(): void {
  process.off('exit', exit)
  process.on('exit', exit) // behind the listeners of everybody else, which must be called
}

/** With the exit code that is set. */
function exit(): void {
  if (process.listeners('exit').at(-1) === exit) process.exit()
}
