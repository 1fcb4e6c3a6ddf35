/** What may stand in a tuple, and how the compiler follows state from one position to the next. */

import type { Conn, Halted } from './conn.ts'
import type { HeaderMap } from './header-map.ts'
import type { InitFn } from './info.ts'
import type { Provided } from './state.ts'
import type { Upgrade } from './upgrade.ts'

/** All that a handler function may return: the conn, nothing, or a promise of either. */
export type Result = Conn | void | Promise<Conn | void>

/** A handler as a function of the conn.
 *
 * In: the tokens it needs. R: what it returns, which tells what it provides. */
export type HandlerFn<out In = never, out R = Result> = (conn: Conn<In>) => R

/** The parts of a handler object that do not touch the request's way through the tuple. */
export interface HandlerParts {
  /** What it is called in reports. Default: the name of its class. */
  readonly name?: string
  /** Runs once, in the order of the tuple, after the sockets are bound and before anything is served: once also where the
   * handler stands at several places. */
  readonly init?: InitFn
  /** Runs when the run is over, in reverse order, whether this handler was reached or not and
   * whether the conn is halted or not: hence no state is known here. It may change the response. */
  readonly beforeSend?: (conn: Conn) => Result
  /** Whether it takes over the connection. Asked left to right, until one says true, when all handlers and every
   * `beforeSend` are done and the response is a switch of protocols: status 101, or 200 to a CONNECT. It cannot be async. */
  readonly hasUpgrade?: (upgrade: Upgrade) => boolean
  /** Takes the connection over, when the head of the response is out. Only called where `hasUpgrade` said true. */
  readonly upgrade?: (upgrade: Upgrade) => void | Promise<void>
}

/** A handler as an object with a `run`. */
export interface HandlerObject<out In = never, out R = Result> extends HandlerParts {
  // A property, not a method: a method's parameter is bivariant and would accept any need.
  readonly run: (conn: Conn<In>) => R
}

/** A handler that has no `run`, only other parts. */
export interface HandlerWithoutRun extends HandlerParts {
  readonly run?: never
}

type ResultOf<P> =
  | Conn<P>
  | Promise<Conn<P>>
  | ([P] extends [never] ? void | Promise<Conn<P> | void> : never)

/** A handler that needs In and, where it does not halt, provides P.
 *
 * `Handler`, `Handler<Has<Broadcaster>>`, `Handler<Has<Session>, Has<User>>`, `Handler<typeof Messages>`. */
export type Handler<In = never, P = never> =
  | HandlerFn<In, ResultOf<P>>
  | HandlerObject<In, ResultOf<P>>
  | ([P] extends [never] ? HandlerWithoutRun : never)

/** Handlers that neither need nor provide state: a string is `conn.ok(string)`, header fields are
 * appended to the response, `undefined`, `null` and `false` do nothing. */
export type Trivial = string | HeaderMap | Headers | HandlerWithoutRun | null | undefined | false

/** Any tree of handlers, with only the need known: for code that stores handlers. */
export type AnyHandler<In = never> =
  | HandlerFn<In>
  | HandlerObject<In>
  | Trivial
  | readonly AnyHandler<In>[]

/** A group of handlers, as `handlers(…)` makes it. */
export interface Sequence<out In, in P> extends HandlerObject<In, any> {
  readonly run: (conn: Conn<In>) => Conn<P> | Promise<Conn<P>>
}

/** The tokens that a handler guarantees to those after it, by its return type.
 *
 * `Conn<A> | Conn<A | B>` gives A; halted branches do not count; nested tuples add up; what a
 * generic handler provides is not known and gives nothing. */
export type Out<R> = IsAny<R> extends true ? never : OutOf<Awaited<R>>
type IsAny<T> = 0 extends 1 & T ? true : false
// `[R]`: what one path returns must not count for the others, as it would if R were taken apart.
type OutOf<R> = [R] extends [readonly unknown[]]
  ? number extends R['length']
    ? never // a list, which may be empty
    : OutEach<R[number]>
  : Known<Provided<Exclude<R, Halted>>>
type Known<P> = unknown extends P ? never : P
type OutEach<E> = E extends unknown ? Out<E> : never

/** What is provided before a tuple, from which its type is not to be inferred. Token by token: NoInfer of a union is
 * no union to a conditional type, and `conn.state` would find neither. */
export type Before<In> = In extends unknown ? NoInfer<In> : never

export type Given = Result | readonly unknown[]

/** One position of a tuple, where In is provided before it.
 *
 * R is inferred from what a function or `run` returns, or, through the mapped type, as the tuple of
 * what the handlers of a nested tuple return. The test for `keyof HandlerObject` keeps the mapped
 * type from claiming the parts of an inline object, whose parameters would be implicit any. */
export type HandlerAfter<In, R> =
  | HandlerFn<In, R>
  | HandlerObject<In, R>
  | Trivial
  | { readonly [K in keyof R]: K extends keyof HandlerObject ? never : HandlerAfter<In, R[K]> }
  | HandlerList

/** A position after the sixteenth: it sees what the first sixteen provide. */
export type HandlerAfterAll<In> = HandlerFn<In> | HandlerObject<In> | Trivial | HandlerList

/** An array of handlers that was built at run time.
 *
 * Not spelled as an array type: that would be a second contextual type for tuple literals, and turn
 * the `conn` of their handlers into an implicit any. */
export interface HandlerList {
  readonly length: number
  readonly forEach: (callback: (handler: AnyHandler) => void) => void
}
