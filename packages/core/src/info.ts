/** What `init` is given: where the server listens, what its conns share, and the stop. */

import type { Key, StateKey, ValueOf } from './state.ts'
import { State, StateMap } from './state.ts'
import { describe } from './describe.ts'
import type { Swansong } from './swansong.ts'

/** An address that the server is bound to. */
export type Listener =
  | {
      readonly kind: 'tcp'
      readonly host: string
      readonly port: number
      readonly isSecure: boolean
    }
  | { readonly kind: 'unix'; readonly path: string; readonly isSecure: boolean }
  | { readonly kind: 'other'; readonly description: string; readonly isSecure: boolean }

/** Shared by a handler that has said where the server listens: nobody need say it again. */
export const Announced: StateKey<'announced', true> = State.key<true>()('announced')

/** For servers: shared state is read-only from here on. */
export let closeInfo: (info: Info) => void

/** The server, as handlers meet it once, before anything is served. */
export class Info {
  /** The addresses it is bound to, in the order of the options; the first is the primary one. */
  readonly listeners: readonly Listener[]
  /** Where a browser on this machine reaches it, as `http://localhost:8080/`; undefined where none can. */
  readonly url: string | undefined
  readonly swansong: Swansong
  readonly #shared: StateMap
  #isReady = false

  /** For servers: the conns they make read the same `shared`. */
  constructor(server: {
    readonly listeners: readonly Listener[]
    readonly url: string | undefined
    readonly swansong: Swansong
    readonly shared: StateMap
  }) {
    this.listeners = server.listeners
    this.url = server.url
    this.swansong = server.swansong
    this.#shared = server.shared
  }

  /** A value that an earlier `init` has put there. */
  sharedState<K extends Key>(key: K): ValueOf<K> | undefined {
    return this.#shared.get(key) as ValueOf<K> | undefined
  }

  /** Stores a value for all conns, under its class, and returns this info.
   * @throws {TypeError} When every `init` is done, or when the value has no class of its own. */
  withSharedState<T extends object>(value: T): this
  /** Stores a value for all conns, under a class or a key, and returns this info. */
  withSharedState<const K extends Key>(key: K, value: ValueOf<K>): this
  withSharedState(...args: unknown[]): this {
    this.#insert(args)
    return this
  }

  /** Stores a value for all conns, under its class, and returns the one it replaces. */
  insertSharedState<T extends object>(value: T): T | undefined
  /** Stores a value for all conns, under a class or a key, and returns the one it replaces. */
  insertSharedState<const K extends Key>(key: K, value: ValueOf<K>): ValueOf<K> | undefined
  insertSharedState(...args: unknown[]): unknown {
    return this.#insert(args)
  }

  #insert(args: readonly unknown[]): unknown {
    if (this.#isReady) {
      throw new TypeError(
        `Cannot share ${describe(args.at(-1))}: shared state is set by init, and every init is done`,
      )
    }
    return this.#shared.insert(args)
  }

  static {
    closeInfo = (info) => {
      info.#isReady = true
    }
  }
}

/** Runs once, before anything is served. It may return the info, for chaining. */
export type InitFn = (info: Info) => Info | void | Promise<Info | void>

/** A handler that runs once, before anything is served, and lets every conn pass. */
export class Init {
  readonly init: InitFn

  private constructor(init: InitFn) {
    this.init = init
  }

  /** Makes a handler of a function that runs once, in the order of the tuple.
   *
   * ```ts
   * import { Init, handlers, type Handler } from '@wakerobin/core'
   *
   * class Started { readonly at = new Date() }
   * const app: Handler = handlers(
   *   Init.new((info) => info.withSharedState(new Started())),
   *   (conn) => conn.ok(`up since ${conn.sharedState(Started)?.at.toISOString()}`),
   * )
   * ``` */
  static new(init: InitFn): Init {
    if (typeof init !== 'function')
      throw new TypeError(
        `Cannot make an Init of ${describe(init)}: expected a function of the info`,
      )
    return new Init(init)
  }

  get name(): string {
    return `Init(${this.init.name})`
  }
}
