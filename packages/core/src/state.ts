/** What a conn holds, by class or by key, and how the compiler keeps account of it.
 *
 * `Conn<P>` has one type parameter: P is a union of tokens, one for each value in the conn's state.
 * The token of a class T is `Has<T>`; a `StateKey` is its own token. */

import type { Conn } from './conn.ts'
import { describe } from './describe.ts'
import { isPromiseLike } from './is-promise-like.ts'

// Phantoms: declared, never assigned. They cost nothing at run time and clash with no name.
declare const has: unique symbol
declare const keyed: unique symbol

/** The token for "the conn holds a value stored under its class T".
 *
 * Invariant in T: a conn with a `User` does not satisfy a need for `Admin`, nor the other way round. */
export interface Has<in out T> {
  readonly [has]: (value: T) => T
}

/** A key for values that have no class of their own: interfaces, primitives, two of a kind.
 *
 * Made by `State.key<T>()('name')`. It is its own token: write `Conn<typeof Messages>`. */
export interface StateKey<in out Name extends string, in out T> {
  /** The name given to `State.key`, shown in messages. Two keys of one name are two keys at run time,
   * but one to the compiler if their types are the same: name them `package/name`. */
  readonly name: Name
  readonly [keyed]: (value: T) => T
}

interface AnyStateKey {
  readonly name: string
  readonly [keyed]: (value: any) => any
}

/** A class used as a key.
 *
 * Told by its `prototype`, not by a construct signature, so that private and abstract constructors
 * work, and because the prototype of a generic class is `Generic<any>`: that is how
 * `conn.state(Broadcaster)` finds a stored `Broadcaster<Orders>` and gives back exactly that type. */
export interface Class<T = unknown> {
  readonly prototype: T
}

/** What state can be stored under: a class or a `StateKey`. */
export type Key = Class | AnyStateKey

/** The type of the value that a key reads when the conn's type says nothing about it. */
export type ValueOf<K> = K extends { readonly [keyed]: (value: any) => infer T }
  ? T
  : K extends abstract new (...args: any) => infer I
    ? I
    : K extends Class<infer I>
      ? I
      : never

/** The token of a value's class; none for `any`, which would meet every need. */
export type ClassToken<T> = boolean extends (T extends never ? true : false) ? never : Has<T>

/** The token that a key stands for. */
export type Token<K> = K extends AnyStateKey ? K : ClassToken<ValueOf<K>>

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false

type Find<P, K> =
  P extends Has<infer T>
    ? K extends Class<infer I>
      ? Same<T, I> extends true
        ? T
        : never
      : never
    : P extends AnyStateKey
      ? Same<P, K> extends true
        ? ValueOf<P>
        : never
      : never

/** `T` where the tokens P provide it, else `T | undefined`. */
export type Lookup<P, K> = unknown extends P
  ? ValueOf<K> | undefined // a halted conn, which may hold nothing
  : [Find<P, K>] extends [never]
    ? ValueOf<K> | undefined
    : Find<P, K>

/** The tokens of a conn type; of a union of conn types those that every one of them has. */
export type Provided<C> = Shared<C, TokenOf<C>>
type TokenOf<C> = C extends Conn<infer P> ? P : never
type Shared<C, T> = T extends unknown ? ([C] extends [Conn<T>] ? T : never) : never

/** The handler that puts one value on every conn.
 *
 * The value is shared by reference: every request sees the same object. */
export class State<in T> {
  readonly #key: Key
  readonly #value: unknown

  private constructor(key: Key, value: unknown) {
    this.#key = key
    this.#value = value
  }

  /** Makes a handler that stores `value` under its class, the one it was made by: for a `RedisStore`
   * that is to be found as its base `Store`, use `State.new(Store, value)`.
   *
   * ```ts
   * import { State, handlers, type Handler } from '@wakerobin/core'
   *
   * class Hits { #count = 0; add(): number { return ++this.#count } }
   * const app: Handler = handlers(State.new(new Hits()), (conn) => conn.ok(`hit ${conn.state(Hits).add()}`))
   * ```
   * @throws {TypeError} When `value` is a plain object, an array, a function or a primitive: those
   * have no class of their own, use `State.new(key, value)`. */
  static new<T extends object>(value: T): State<ClassToken<T>>
  /** Makes a handler that stores `value` under `key`, a class or a `State.key`. */
  static new<const K extends Key>(key: K, value: ValueOf<K>): State<Token<K>>
  static new(...args: [unknown] | [unknown, unknown]): State<any> {
    const [key, value] = keyAndValue(args)
    return new State(key, value)
  }

  /** Makes a key for values of type T that have no class of their own.
   *
   * Curried because TypeScript infers all type arguments of a call or none.
   *
   * ```ts
   * import { State } from '@wakerobin/core'
   *
   * interface Config { title: string }
   * const Config = State.key<Config>()('config')
   * const title = State.new(Config, { title: 'Wakerobin' })
   * ``` */
  static key<T>(): <const Name extends string>(name: Name) => StateKey<Name, T> {
    return (name) => Object.freeze(new NamedKey(name)) as never
  }

  /** `State(Broadcaster)`, as it shows in reports. */
  get name(): string {
    return `State(${nameOfKey(this.#key)})`
  }

  run(conn: Conn): Conn<T> {
    return conn.withState(this.#key as Class, this.#value) as Conn<any>
  }
}

class NamedKey {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

/** Values by class or key: the store behind conn state, shared state and `Info`. */
export class StateMap {
  readonly #values = new Map<Key, unknown>()

  get(key: Key): unknown {
    return this.#values.get(key)
  }

  /** Stores a value and returns the one it replaces, or undefined. */
  insert(args: readonly unknown[]): unknown {
    const [key, value] = keyAndValue(args)
    const former = this.#values.get(key)
    this.#values.set(key, value)
    return former
  }

  /** Removes and returns. */
  take(key: Key): unknown {
    const value = this.#values.get(key)
    this.#values.delete(key)
    return value
  }
}

/** Reads `(value)` or `(key, value)`, the two forms in which state is given. */
function keyAndValue(args: readonly unknown[]): [Key, unknown] {
  if (args.length < 2) return [classOf(args[0]), args[0]]
  const key = args[0]
  if (!isKey(key)) {
    throw new TypeError(`Cannot store state under ${describe(key)}: ${useAKey}`)
  }
  return [key, args[1]]
}

const useAKey =
  "use a class of your own, or make a key: const Config = State.key<Config>()('config'), then State.new(Config, value) and conn.state(Config)"

/** Builtins that are nobody's class in particular: what is stored under them would collide. */
const classless: ReadonlySet<unknown> = new Set<unknown>([
  Object,
  Array,
  Function,
  String,
  Number,
  Boolean,
  BigInt,
  Symbol,
  Map,
  Set,
  WeakMap,
  WeakSet,
  Promise,
  Date,
  RegExp,
  Error,
])

function isKey(key: unknown): key is Key {
  if (key instanceof NamedKey) return true
  return typeof key === 'function' && key.prototype !== undefined && !classless.has(key)
}

function classOf(value: unknown): Key {
  const isObject = typeof value === 'object' && value !== null
  const constructor: unknown = isObject ? Object.getPrototypeOf(value)?.constructor : undefined
  if (!isKey(constructor) || constructor instanceof NamedKey) {
    const hint = isPromiseLike(value) ? 'await it first' : useAKey
    throw new TypeError(`Cannot store ${describe(value)} under its class: ${hint}`)
  }
  return constructor
}

function nameOfKey(key: Key): string {
  return String((key as { name?: unknown }).name)
}
