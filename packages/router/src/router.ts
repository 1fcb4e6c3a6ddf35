/** `router()`: routes as one handler. */

import type { Conn, HandlerObject, Info, Upgrade } from '@wakerobin/core'
import { checkNames, compile, describe, isPromiseLike, listed } from '@wakerobin/core/adapter'

import { parsePattern } from './pattern.ts'
import { collapseSlashes, normalizePath, restOfPath } from './request-path.ts'
import type { MethodsRouteFunction, RouteFunction } from './route-functions.ts'
import { Matches } from './route-matches.ts'
import { checkMethods, labelOf, RouteTable } from './route-table.ts'
import type { Route, RouteMethods } from './route-table.ts'

/** How a router answers where it has no route. */
export interface RouterOptions {
  /** Whether OPTIONS is answered for the paths that have routes, with a 204 whose `Allow` names their methods, and for
   * `*` with those of all routes. A route for OPTIONS, or for all methods, comes before it. Default true. */
  options?: boolean
  /** Whether a path that has routes, but none for the method, is a 405 with an `Allow`. `true`: where no later handler
   * answers; until then the conn is as it was. `'halt'`: at once, and no later handler is asked, so that one that answers
   * all requests with a page of its own, as a 404, may stand behind the router. Default false: it is passed on as any that
   * fits no route, and is a 404 where nobody answers. */
  methodNotAllowed?: boolean | 'halt'
}

/** Makes a router: a handler that takes each request to the one route that fits it best, and passes on a conn that fits
 * none.
 *
 * ```ts
 * import { router } from '@wakerobin/router'
 *
 * const app = router()
 *   .get('/users/:id', (conn) => conn.ok(`user ${conn.param('id')}`))
 *   .post('/users', (conn) => conn.withStatus(201).halt())
 * ```
 *
 * In: the tokens it needs, for its handlers: `router<Has<Database>>()`. Inside `handlers(…)` and routes they come from
 * where the router stands, if it is built by a function: `router((routes) => routes.get('/', …))`, or with options
 * `router({ methodNotAllowed: true }, (routes) => …)`.
 * @throws {TypeError} When an option cannot be used. */
export function router<In = never>(options?: RouterOptions): Router<In>
export function router<In = never>(build: Build<In>): Router<In>
export function router<In = never>(options: RouterOptions, build: Build<In>): Router<In>
export function router(first?: RouterOptions | Build<any>, second?: Build<any>): Router<any> {
  const [options, build] = typeof first === 'function' ? [undefined, first] : [first, second]
  const made = new Router<any>(options)
  if (build === undefined) return made
  if (typeof build !== 'function')
    throw new TypeError(
      `Cannot build a router with ${describe(build)}: expected a function of the router`,
    )
  if (isPromiseLike(build(made)))
    throw new TypeError(
      'Cannot build a router with an async function: its routes must be there when it returns',
    )
  return made
}

/** Adds the routes of a router. */
type Build<In> = (routes: Router<In>) => unknown

/** A router, as `router()` makes it.
 *
 * A route is chosen by its path and its method: of those that match both, the one whose path is the most specific,
 * segment by segment: text before `v:x`, `:x.json`, `:a.:b`, `:x` and `*`. The order in which they were added does
 * not count. GET routes answer HEAD, too. */
export class Router<in out In = never> implements HandlerObject<In> {
  readonly name: string = 'router'

  /** Adds a route for GET, and for HEAD where no other route has that for the same path. */
  readonly get: RouteFunction<In, Router<In>> = this.#adder(['GET'])
  /** Adds a route for POST. */
  readonly post: RouteFunction<In, Router<In>> = this.#adder(['POST'])
  /** Adds a route for PUT. */
  readonly put: RouteFunction<In, Router<In>> = this.#adder(['PUT'])
  /** Adds a route for DELETE. */
  readonly delete: RouteFunction<In, Router<In>> = this.#adder(['DELETE'])
  /** Adds a route for PATCH. */
  readonly patch: RouteFunction<In, Router<In>> = this.#adder(['PATCH'])
  /** Adds a route for every method, OPTIONS and HEAD among them. Of routes of the same path, it is the last choice. */
  readonly all: RouteFunction<In, Router<In>> = this.#adder('all')
  /** Adds a route for some methods: `any(['GET', 'QUERY'], '/search', …)`. */
  readonly any: MethodsRouteFunction<In, Router<In>> = (
    methods: unknown,
    path: unknown,
    ...app: readonly unknown[]
  ) => this.#add(checkMethods(methods), path, app)

  readonly #answersOptions: boolean
  readonly #methodNotAllowed: boolean | 'halt'
  readonly #routes: Route[] = []
  /** Method and shape of what was added, and its label. */
  readonly #taken = new Map<string, string>()
  #table: RouteTable | undefined
  /** What is allowed in place of what was asked for. */
  readonly #allowed = new WeakMap<Conn, string>()

  constructor(options?: RouterOptions) {
    const { answersOptions, methodNotAllowed } = checkOptions(options)
    this.#answersOptions = answersOptions
    this.#methodNotAllowed = methodNotAllowed
  }

  /** Runs the `init` of the handlers of every route, in the order in which they were added. */
  async init(info: Info): Promise<void> {
    this.#start()
    for (const { program } of this.#routes) await program.init(info)
  }

  /** Takes a conn through the handlers of the route that fits it. */
  run(conn: Conn<In>): Conn | Promise<Conn> {
    const table = this.#start()
    const path = collapseSlashes(conn.path)
    const comparable = normalizePath(path)
    const route = table.find(conn.method, comparable)
    if (route === undefined) return this.#pass(conn, table, comparable)
    const { program, pattern } = route
    const pushedPath =
      pattern.wildcardAt === undefined ? undefined : restOfPath(path, pattern.wildcardAt)
    const matches = Matches.of(conn) ?? Matches.begin(conn)
    const match = matches.add(this, route, comparable, pushedPath)
    return matches.within(match, () => program.runPart(conn))
  }

  /** Runs every `beforeSend` of the route that was taken. Where there was none, nor an answer by a later handler, the
   * response is what `methodNotAllowed: true` says. */
  beforeSend(conn: Conn): Conn | Promise<Conn> {
    this.#answerNotAllowed(conn)
    const matches = Matches.of(conn)
    const match = matches?.lastUnsentBy(this)
    if (matches === undefined || match === undefined) return conn
    match.isSent = true
    return matches.within(match, () => match.route.program.beforeSend(conn))
  }

  /** Whether a handler of the route that was taken takes the connection over. */
  hasUpgrade(upgrade: Upgrade): boolean {
    const matches = Matches.of(upgrade.conn)
    if (matches === undefined) return false
    return matches.madeHereBy(this).some((match) => {
      match.upgrader = matches.within(match, () => match.route.program.upgraderOf(upgrade))
      return match.upgrader !== undefined
    })
  }

  /** Has that handler take it over. */
  upgrade(upgrade: Upgrade): void | Promise<void> {
    const matches = Matches.of(upgrade.conn)!
    const match = matches.madeHereBy(this).find(({ upgrader }) => upgrader !== undefined)!
    return matches.within(match, () => match.upgrader!.upgrade(upgrade) as void | Promise<void>)
  }

  #adder(methods: RouteMethods): RouteFunction<In, Router<In>> {
    return (path: unknown, ...app: readonly unknown[]) => this.#add(methods, path, app)
  }

  #add(methods: RouteMethods, path: unknown, app: readonly unknown[]): this {
    const method = labelOf(methods)
    const pattern = parsePattern(path, `the route ${method}`)
    const label = `${method} ${pattern.text}`
    if (this.#table !== undefined)
      throw new Error(`Cannot add the route ${label}: the router is in use; add all routes before`)
    if (app.length === 0) throw new TypeError(`Cannot add the route ${label}: it has no handlers`)
    const keys = methods === 'all' ? ['all'] : methods
    for (const key of keys) {
      const other = this.#taken.get(`${key} ${pattern.shape}`)
      if (other !== undefined)
        throw new TypeError(`Cannot add the route ${label}: ${other} has its requests`)
    }
    const program = compile(app, `router ${label}`)
    for (const key of keys) this.#taken.set(`${key} ${pattern.shape}`, label)
    this.#routes.push({ methods, pattern, program })
    return this
  }

  /** From now on, the routes are what they are. */
  #start(): RouteTable {
    this.#table ??= new RouteTable(this.#routes)
    return this.#table
  }

  #pass(conn: Conn, table: RouteTable, path: string): Conn {
    const isOptions = conn.method === 'OPTIONS' && this.#answersOptions
    if (!isOptions && this.#methodNotAllowed === false) return conn
    // `OPTIONS *` asks about the server: RFC 9110 §9.3.7.
    const methods = isOptions && conn.path === '*' ? table.allMethods() : table.methodsAt(path)
    if (methods === undefined) return conn
    const allowed = methods.join(', ')
    if (isOptions || this.#methodNotAllowed === 'halt')
      return conn
        .withResponseHeader('Allow', allowed)
        .withStatus(isOptions ? 204 : 405)
        .halt()
    // Not yet: a later handler that answers would keep the status, and the header.
    this.#allowed.set(conn, allowed)
    return conn
  }

  #answerNotAllowed(conn: Conn): void {
    const allowed = this.#methodNotAllowed === true ? this.#allowed.get(conn) : undefined
    if (allowed === undefined || conn.isHalted) return
    if (conn.status === undefined && conn.responseBody === undefined)
      conn.withResponseHeader('Allow', allowed).withStatus(405)
  }
}

function checkOptions(options: RouterOptions = {}): {
  readonly answersOptions: boolean
  readonly methodNotAllowed: boolean | 'halt'
} {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot make a router with ${describe(options)} as options: expected an object such as { methodNotAllowed: true }`,
    )
  }
  checkNames('Cannot make a router with ', options, ['options', 'methodNotAllowed'])
  const { options: answersOptions = true, methodNotAllowed = false } = options
  checkOption('options', answersOptions, [true, false])
  checkOption('methodNotAllowed', methodNotAllowed, [true, false, 'halt'])
  return { answersOptions, methodNotAllowed }
}

function checkOption(option: string, value: unknown, right: readonly unknown[]): void {
  if (right.includes(value)) return
  throw new TypeError(
    `Cannot make a router with ${option} ${describe(value)}: it must be ${listed(right.map(describe), 'or')}`,
  )
}
