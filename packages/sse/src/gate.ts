/** What stands between a request and its stream: a limit on how many there may be. */

import { State } from '@wakerobin/core'
import type { Conn, StateKey } from '@wakerobin/core'

/** A limit, as one request meets it. */
export interface Gate {
  readonly isFull: boolean
  /** The range of the time after which who is refused comes back, in milliseconds. */
  readonly retryMs: readonly [min: number, max: number]
  enter(): void
  leave(): void
}

const Gates: StateKey<'sse gates', readonly Gate[]> = State.key<readonly Gate[]>()('sse gates')

/** Puts a gate before the stream that a later handler may make of this request. */
export function addGate(conn: Conn, gate: Gate): void {
  conn.withState(Gates, [...gatesOf(conn), gate])
}

export function gatesOf(conn: Conn): readonly Gate[] {
  return conn.state(Gates) ?? []
}
