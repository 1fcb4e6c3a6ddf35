/** A group of handlers that stands where one handler stands. */

import type { Conn } from './conn.ts'
import type { AnyHandler, Result } from './handler.ts'
import type { Program } from './program.ts'

/** What `handlers(…)` makes. In a tuple its handlers are compiled into the program around it. */
export class HandlerSequence {
  readonly handlers: readonly AnyHandler[]
  readonly #compile: (sequence: HandlerSequence) => Program
  #program: Program | undefined

  constructor(handlers: readonly AnyHandler[], compile: (sequence: HandlerSequence) => Program) {
    this.handlers = handlers
    this.#compile = compile
  }

  /** Runs the group by itself, for handlers that call others. Runs no `beforeSend`, and throws what
   * a handler throws. */
  readonly run = (conn: Conn): Result => {
    this.#program ??= this.#compile(this)
    return this.#program.run(conn)
  }
}
