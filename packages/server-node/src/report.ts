/** What becomes of errors that nobody catches: a report for people, on stderr. */

import { inspect } from 'node:util'

import type { ErrorContext } from '@wakerobin/core'

/** The default `onError`: the place, the request and the error with its stack. Nothing of it reaches
 * the client. */
export function reportOnStderr(error: unknown, { conn, place }: ErrorContext): void {
  console.error(
    `Wakerobin: error in ${place}, on ${conn.method} ${conn.pathAndQuery}\n${shown(error)}`,
  )
}

/** An error for people, with its stack. */
export function shown(error: unknown): string {
  try {
    return inspect(error)
  } catch {
    return 'an error that cannot be shown' // its stack is a getter that throws, say
  }
}
