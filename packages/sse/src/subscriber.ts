/** What can be said of a subscriber. */

import type { Conn } from '@wakerobin/core'

/** A subscriber of a broadcaster, at the moment in which it was asked for. */
export interface Subscriber {
  /** The request that it streams to; undefined for a loop. */
  readonly conn: Conn | undefined
  /** The topics it is subscribed to; undefined for all. */
  readonly topics: readonly string[] | undefined
  /** How many events it has got. */
  readonly sent: number
  /** How many events it was too slow for, and has not got. */
  readonly dropped: number
  /** How many events are kept that it has not read: 0 for one that keeps up. */
  readonly behind: number
}
