/** What routes a conn has taken, so that the `beforeSend` and the upgrade of their handlers find them again. */

import { State, type Conn, type StateKey } from '@wakerobin/core'
import { isPromiseLike, type Upgrader } from '@wakerobin/core/adapter'

import { readParam } from './pattern.ts'
import { decodeValue } from './request-path.ts'
import type { Route } from './route-table.ts'

/** One router's choice for one conn. */
export interface Match {
  readonly router: object
  readonly route: Route
  /** The path that the route has matched, as `normalizePath` has it. */
  readonly path: string
  /** The match of the router around, in whose handlers this one was made. */
  readonly outer: Match | undefined
  /** What `conn.path` is to the handlers of the route; undefined where it stays as it is. */
  readonly pushedPath: string | undefined
  /** Whether every `beforeSend` of the route has been told. */
  isSent: boolean
  /** The handler of the route that takes the connection over. */
  upgrader: Upgrader | undefined
}

/** The matches of one conn, in the order in which they were made. */
export class Matches {
  readonly #conn: Conn
  readonly #all: Match[] = []
  /** The match whose handlers are at work. */
  #current: Match | undefined

  constructor(conn: Conn) {
    this.#conn = conn
  }

  /** The matches of a conn. */
  static of(conn: Conn): Matches | undefined {
    return conn.state(ConnMatches)
  }

  /** The matches of a conn, where there were none before. */
  static begin(conn: Conn): Matches {
    const matches = new Matches(conn)
    conn.withState(ConnMatches, matches)
    return matches
  }

  add(router: object, route: Route, path: string, pushedPath: string | undefined): Match {
    const match: Match = {
      router,
      route,
      path,
      outer: this.#current,
      pushedPath,
      isSent: false,
      upgrader: undefined,
    }
    this.#all.push(match)
    return match
  }

  /** The matches that a router has made in the handlers that are now at work: several where it stands in them more
   * than once. */
  madeHereBy(router: object): readonly Match[] {
    return this.#all.filter((match) => match.router === router && match.outer === this.#current)
  }

  /** Of those, the last one whose `beforeSend` is still to be run: where a router stands several times, they are run in
   * reverse order. */
  lastUnsentBy(router: object): Match | undefined {
    for (let at = this.#all.length - 1; at >= 0; at--) {
      const match = this.#all[at]!
      if (match.router === router && match.outer === this.#current && !match.isSent) return match
    }
    return undefined
  }

  /** Does what the handlers of a match are to do, with its parameters and its path. Both are what they were before
   * when it is done, or has failed. */
  within<T>(match: Match, work: () => T): T {
    const former = this.#current
    this.#current = match
    if (match.pushedPath !== undefined) this.#conn.pushPath(match.pushedPath)
    let isPending = false
    try {
      const result = work()
      if (!isPromiseLike(result)) return result
      isPending = true
      return this.#leaveAfter(result, match, former) as T
    } finally {
      if (!isPending) this.#leave(match, former)
    }
  }

  async #leaveAfter<T>(
    result: PromiseLike<T>,
    match: Match,
    former: Match | undefined,
  ): Promise<T> {
    try {
      return await result
    } finally {
      this.#leave(match, former)
    }
  }

  #leave({ pushedPath }: Match, former: Match | undefined): void {
    this.#current = former
    if (pushedPath !== undefined) this.#conn.popPath()
  }

  /** A parameter of the match whose handlers are at work, or of one around it; where none is at work, of the last that
   * has one of this name. */
  param(name: string): string | undefined {
    for (let match = this.#current; match !== undefined; match = match.outer) {
      const value = valueOf(match, name)
      if (value !== undefined) return value
    }
    if (this.#current !== undefined) return undefined
    for (const match of this.#all.toReversed()) {
      const value = valueOf(match, name)
      if (value !== undefined) return value
    }
    return undefined
  }

  /** The path of the route that was taken last, behind those of the routes around it. */
  get route(): string | undefined {
    const match = this.#current ?? this.#all.at(-1)
    return match === undefined ? undefined : routeOf(match)
  }
}

const ConnMatches: StateKey<'@wakerobin/router', Matches> =
  State.key<Matches>()('@wakerobin/router')

function valueOf({ route, path, pushedPath }: Match, name: string): string | undefined {
  const value = name === '*' ? pushedPath?.slice(1) : readParam(route.pattern, path, name)
  return value === undefined ? undefined : decodeValue(value)
}

function routeOf({ route, outer }: Match): string {
  const { text } = route.pattern
  let prefix = ''
  for (let around = outer; around !== undefined; around = around.outer) {
    // Without a wildcard, the inner router has matched the same path as the outer one.
    if (around.pushedPath !== undefined)
      prefix = around.route.pattern.text.slice(0, -'/*'.length) + prefix
  }
  // `/api/*` and `/users/:id` are `/api/users/:id`.
  return text === '/' && prefix !== '' ? prefix : prefix + text
}
