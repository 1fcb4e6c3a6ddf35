/** Where lines go. */

import { describe } from '@wakerobin/core/adapter'

import { isColorTerminal } from './colors.ts'

/** A log with two levels: `console`, a pino or a winston logger, or anything that has both methods. What they return
 * may be a promise, whose rejection is reported. */
export interface LogTarget<Line = string> {
  info(line: Line): unknown
  error(line: Line): unknown
}

/** Where lines go: a function gets those of both levels. */
export type Log<Line = string> = ((line: Line) => unknown) | LogTarget<Line>

/** A target, and whether its lines have colours unless told otherwise. */
export interface ResolvedTarget<Line> {
  readonly target: LogTarget<Line>
  readonly hasColors: Readonly<Record<'info' | 'error', boolean>>
}

/** Decides where lines go. Default: `console.log`, for both levels.
 * @throws {TypeError} When nothing can be logged to `log`. */
export function targetOf<Line>(log: Log<Line> | undefined): ResolvedTarget<Line> {
  if (log === undefined) {
    const print = (line: Line): void => console.log(line)
    const isColored = isColorTerminal('stdout')
    return {
      target: { info: print, error: print },
      hasColors: { info: isColored, error: isColored },
    }
  }
  if (typeof log === 'function')
    return { target: { info: log, error: log }, hasColors: { info: false, error: false } }
  if (!isTarget(log)) {
    throw new TypeError(
      `Cannot log to ${describe(log)}: expected a function of the line, or an object with info and error, as console and a pino or winston logger are`,
    )
  }
  const isConsole = (log as unknown) === console
  return {
    target: log,
    hasColors: {
      info: isConsole && isColorTerminal('stdout'),
      error: isConsole && isColorTerminal('stderr'),
    },
  }
}

function isTarget(log: unknown): log is LogTarget<never> {
  if (typeof log !== 'object' || log === null) return false
  const { info, error } = log as Partial<LogTarget>
  return typeof info === 'function' && typeof error === 'function'
}
