/** Which route a request takes. The tree of paths is rou3's. */

import { isMethod, type Method } from '@wakerobin/core'
import { describe, type Program } from '@wakerobin/core/adapter'
import { addRoute, createRouter, findAllRoutes, findRoute } from 'rou3'

import { comparePatterns, type Pattern } from './pattern.ts'

/** What a route answers to. */
export type RouteMethods = readonly Method[] | 'all'

/** A route: methods, a path, and what handles its requests. */
export interface Route {
  readonly methods: RouteMethods
  readonly pattern: Pattern
  readonly program: Program
}

/** `GET`, `GET|POST` or `all`, as it stands in places. */
export function labelOf(methods: RouteMethods): string {
  return methods === 'all' ? 'all' : methods.join('|')
}

/** @throws {TypeError} When it is not a list of methods, or an empty one. */
export function checkMethods(methods: unknown): readonly Method[] {
  if (!Array.isArray(methods) || methods.length === 0)
    throw new TypeError(
      `Cannot add a route for ${describe(methods)}: expected methods, as ['GET', 'QUERY']`,
    )
  for (const method of methods) {
    if (typeof method !== 'string' || !isMethod(method))
      throw new TypeError(
        `Cannot add a route for the method ${describe(method)}: it is none, they are written as "GET"`,
      )
  }
  return [...new Set(methods as Method[])]
}

// rou3's own word for a route of every method.
const everyMethod = ''

// They are read when they are asked for: 300 ns for a wildcard that nobody reads, Node 20.
const withoutParams = { params: false }

/** Routes to choose from, built once. */
export class RouteTable {
  readonly #routes: readonly Route[]
  /** By method, most specific path first. GET routes stand for HEAD, too. */
  readonly #byMethod = createRouter<Route>()
  /** By path alone, to tell which methods there are. Built when first asked. */
  #byPath: ReturnType<typeof createRouter<Route>> | undefined
  /** The place of each route in the order of their paths. */
  readonly #rank: ReadonlyMap<Route, number>
  readonly #hasMixed: boolean

  constructor(routes: readonly Route[]) {
    this.#routes = routes
    this.#hasMixed = routes.some(({ pattern }) => pattern.isMixed)
    const sorted = routes.toSorted(compareRoutes)
    this.#rank = new Map(sorted.map((route, at) => [route, at]))
    const ownHead = new Set(
      routes.filter((route) => isFor(route, 'HEAD')).map(({ pattern }) => pattern.shape),
    )
    for (const route of routes) {
      for (const method of route.methods === 'all' ? [everyMethod] : route.methods)
        addRoute(this.#byMethod, method, route.pattern.rou3, route)
      // RFC 9110 §9.3.2: HEAD is GET without the content, which core leaves out.
      if (isFor(route, 'GET') && !ownHead.has(route.pattern.shape))
        addRoute(this.#byMethod, 'HEAD', route.pattern.rou3, route)
    }
  }

  /** The most specific route of those that match the path and the method.
   * @param path As `normalizePath` has it. */
  find(method: string, path: string): Route | undefined {
    if (!this.#hasMixed) return findRoute(this.#byMethod, method, path, withoutParams)?.data
    // rou3 weighs text within segments at the end of the path; here it counts where it stands.
    let best: Route | undefined
    for (const { data } of findAllRoutes(this.#byMethod, method, path, withoutParams)) {
      if (best === undefined || this.#rank.get(data)! < this.#rank.get(best)!) best = data
    }
    return best
  }

  /** The methods that the routes of a path answer to, in alphabetical order; undefined where no route has the path.
   *
   * OPTIONS is not among them, and of the routes for all methods only those that an API has. */
  methodsAt(path: string): readonly Method[] | undefined {
    this.#byPath ??= this.#indexByPath()
    const found = findAllRoutes(this.#byPath, everyMethod, path, withoutParams)
    return found.length === 0 ? undefined : methodsOf(found.map(({ data }) => data))
  }

  /** The methods that any route answers to. */
  allMethods(): readonly Method[] {
    return methodsOf(this.#routes)
  }

  #indexByPath(): ReturnType<typeof createRouter<Route>> {
    const index = createRouter<Route>()
    for (const route of this.#routes) addRoute(index, everyMethod, route.pattern.rou3, route)
    return index
  }
}

function isFor({ methods }: Route, method: Method): boolean {
  return methods !== 'all' && methods.includes(method)
}

/** Of one path, the route for all methods comes last. */
function compareRoutes(one: Route, other: Route): number {
  return (
    comparePatterns(one.pattern, other.pattern) ||
    Number(one.methods === 'all') - Number(other.methods === 'all')
  )
}

function methodsOf(routes: readonly Route[]): readonly Method[] {
  const methods = new Set<Method>()
  for (const route of routes) {
    for (const method of route.methods === 'all' ? methodsOfAll : route.methods) methods.add(method)
  }
  if (methods.has('GET')) methods.add('HEAD')
  methods.delete('OPTIONS')
  return [...methods].sort()
}

const methodsOfAll: readonly Method[] = ['DELETE', 'GET', 'PATCH', 'POST', 'PUT']
