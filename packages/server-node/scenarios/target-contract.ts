/** What the target and its tests have agreed on. */

import type { ShutdownOptions } from '@wakerobin/server-node'

/** What the target's command line says, as JSON. */
export interface TargetOptions {
  /** Where a test says nothing of the deadline, it is 60 s: longer than a test waits. */
  shutdown?: ShutdownOptions
  /** Speak TLS, with the first of the fixtures' certificates. Default: no. */
  isSecure?: boolean
  /** Start with an `init` that waits for the stop, and what it does then. Default: start at once. */
  init?: 'returns' | 'rejects'
}

/** The length of the answer of `/big`. */
export const bigBytes: number = 24 * 1024 * 1024

/** What `/big` repeats: 64 bytes, in which a missing piece of any other length shows. */
export const bigPattern = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-\n'

/** The label of the guard that `/job` holds until its gate opens. */
export const jobLabel = 'the nightly export'

/** Printed by a target that goes on too long: only a timer of node's own, of 5 s or more, or the deadline
 * could end it afterwards. */
export const lateLine = 'late: 40 ticks since the stop began'
