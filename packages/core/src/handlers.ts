/** Groups handlers into one, with the checks of a tuple. */

import type { HandlersFunction } from './app.ts'
import type { AnyHandler } from './handler.ts'
import { compile } from './program.ts'
import { HandlerSequence } from './sequence.ts'

/** Groups handlers: a handler tuple as one handler.
 *
 * ```ts
 * import { handlers, State, type Handler, type Has } from '@wakerobin/core'
 *
 * class User { readonly #name: string; constructor(name: string) { this.#name = name } get name(): string { return this.#name } }
 *
 * const guest: Handler<never, Has<User>> = handlers(State.new(new User('guest')))
 * const app: Handler = handlers(guest, (conn) => conn.ok(`hello, ${conn.state(User).name}`))
 * ```
 *
 * Calls with inline functions belong inside `handlers(…)`, not inside an array literal: there the
 * compiler resolves them before their siblings and sees no state. */
export const handlers: HandlersFunction = (...app: readonly unknown[]): any =>
  new HandlerSequence(app as readonly AnyHandler[], (sequence) => compile(sequence, 'handlers'))
