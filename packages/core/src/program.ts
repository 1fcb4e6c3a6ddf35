/** A tuple of handlers, compiled once into a flat list of steps.
 *
 * Flattening keeps the meaning because `halt()` is one flag on the conn: what ends an inner tuple
 * ends the ones around it. Steps run synchronously until the first promise. */

import { callSafely } from './call-safely.ts'
import { Conn, failConn, markPending, onErrorOf } from './conn.ts'
import { describe } from './describe.ts'
import { clientErrorStatus } from './errors.ts'
import type { HandlerFn, HandlerParts, Result } from './handler.ts'
import { HeaderMap } from './header-map.ts'
import { isAbort } from './is-abort.ts'
import { isPromiseLike } from './is-promise-like.ts'
import type { Info, InitFn } from './info.ts'
import { HandlerSequence } from './sequence.ts'
import { Swansong } from './swansong.ts'
import type { Upgrade } from './upgrade.ts'

/** Where a handler stands and what it is called: `app[1][0] "auth"`. */
export type Place = string

/** Where an error happened. */
export interface ErrorContext {
  /** The conn that was being handled. Its response has become the error's. */
  readonly conn: Conn
  /** The handler's place in the tuple, or what else was at work: `afterSend`, `the response body`. */
  readonly place: Place
}

/** Told of every error that a handler, a body or a callback did not catch. Errors that are the
 * client's doing (a body too long, broken JSON) are answered and not reported. */
export type OnError = (error: unknown, context: ErrorContext) => void

interface Step {
  readonly run: HandlerFn
  readonly place: Place
}

/** The handler that takes a connection over. */
export interface Upgrader {
  readonly upgrade: (upgrade: Upgrade) => void | PromiseLike<void>
  readonly place: Place
}

/** Errors that say which `init` has failed. */
const told = new WeakSet<WeakKey>()

/** The handlers whose `init` has begun, of an app and of its parts: they are given the same info. */
function begunOf(info: Info): Set<object> {
  let handlers = begun.get(info)
  if (handlers === undefined) begun.set(info, (handlers = new Set()))
  return handlers
}

const begun = new WeakMap<Info, Set<object>>()

/** A compiled app, or part of one: made by `compile`. */
export class Program {
  readonly #runs: readonly HandlerFn[]
  readonly #places: readonly Place[]
  readonly #beforeSends: readonly Step[]
  readonly #inits: readonly PlannedInit[]
  readonly #upgraders: readonly PossibleUpgrader[]
  /** Told of what handlers did not catch. It never throws: what it throws itself is uncaught. */
  readonly onError: OnError

  constructor(plan: Plan, onError: OnError) {
    this.#runs = plan.steps.map((step) => step.run)
    this.#places = plan.steps.map((step) => step.place)
    this.#beforeSends = plan.beforeSends
      .map(({ run, place }) => ({ run, place: `beforeSend of ${place}` }))
      .toReversed()
    this.#inits = plan.inits
    this.#upgraders = plan.upgraders
    this.onError = onError
  }

  /** Runs every `init`, one after the other: that of a handler which stands at several places once.
   * @throws What an `init` throws, with its place as the message of an Error around it. */
  async init(info: Info): Promise<void> {
    // So that an init that never ends is named in the report of the stop.
    const starting = new Swansong({ sites: false }, info.swansong)
    const begun = begunOf(info)
    for (const { handler, init, place } of this.#inits) {
      if (begun.has(handler)) continue
      begun.add(handler)
      try {
        await starting.guarded(() => init(info), `init of ${place}`)
      } catch (error) {
        // Of a part of this program, as a route: it has said where.
        if (told.has(error as WeakKey)) throw error
        const message = `Cannot start: init of ${place} failed: ${messageOf(error)}`
        const failure = new Error(message, { cause: error })
        told.add(failure)
        throw failure
      }
    }
  }

  /** Takes a conn through the handlers and every `beforeSend`: what is left is to send it.
   *
   * Never throws: an error has become the response, and was reported.
   * @returns The conn; a promise of it only where a handler returned a promise. */
  handle(conn: Conn): Conn | Promise<Conn> {
    const pending = this.#step(conn, 0, true)
    if (pending !== undefined) return this.#rest(conn, pending, true, true)
    return this.beforeSend(conn)
  }

  /** Takes a conn through the handlers alone, for a handler that chooses among programs, as a router does. It
   * calls `beforeSend` and `upgraderOf` of the chosen one from its own `beforeSend` and `hasUpgrade`.
   *
   * Never throws: an error has become the response, and was reported with the place in this program. */
  runPart(conn: Conn): Conn | Promise<Conn> {
    const pending = this.#step(conn, 0, true)
    return pending === undefined ? conn : this.#rest(conn, pending, true, false)
  }

  /** Takes a conn through the handlers alone, for handlers that call others; throws what they throw. */
  run(conn: Conn): Conn | Promise<Conn> {
    const pending = this.#step(conn, 0, false)
    return pending === undefined ? conn : this.#rest(conn, pending, false, false)
  }

  /** Whether there is a handler that may take a connection over. */
  get mayUpgrade(): boolean {
    return this.#upgraders.length > 0
  }

  /** The handler that takes over the connection: the first, in the order of the tuple, whose `hasUpgrade` says so. Its
   * place is that in the part it stands in, where that was asked by `upgraderOf`, too.
   * @throws What a `hasUpgrade` throws; `askedPlaceOf` says where.
   * @throws {TypeError} When one returns anything but true or false. */
  upgraderOf(upgrade: Upgrade): Upgrader | undefined {
    for (const { hasUpgrade, upgrade: take, place } of this.#upgraders) {
      askedPlaces.set(upgrade, place)
      const isIt: unknown = hasUpgrade(upgrade)
      if (isIt === true) return { upgrade: take, place: askedPlaces.get(upgrade) ?? place }
      if (isIt === false) continue
      askedPlaces.set(upgrade, place)
      throw new TypeError(
        `Expected hasUpgrade of ${place} to return true or false, got ${describe(isIt)}`,
      )
    }
    askedPlaces.delete(upgrade)
    return undefined
  }

  /** Runs the steps from `at` on until one returns a promise.
   * @param answers Whether this program answers for its errors. */
  #step(conn: Conn, at: number, answers: boolean): Pending | undefined {
    const runs = this.#runs
    try {
      for (; at < runs.length && !conn.isHalted; at++) {
        // By a local, so that a stack trace names the handler: runs[at](conn) reads "Array.auth".
        const run = runs[at]!
        const before = marks
        const result = run(conn)
        if (result === conn || result === undefined) continue
        if (isPromiseLike(result)) {
          if (marks === before) mark(conn, this.#places[at]!)
          return { promise: result, at }
        }
        throw wrongResult(result, this.#places[at]!)
      }
    } catch (error) {
      if (!answers) throw error
      this.#fail(conn, error, this.#places[at]!)
    }
    return undefined
  }

  async #rest(conn: Conn, first: Pending, answers: boolean, isWhole: boolean): Promise<Conn> {
    for (let pending: Pending | undefined = first; pending !== undefined;) {
      const at: number = pending.at
      try {
        const result: unknown = await pending.promise
        if (result !== conn && result !== undefined) throw wrongResult(result, this.#places[at]!)
      } catch (error) {
        if (!answers) throw error
        this.#fail(conn, error, this.#places[at]!)
      }
      pending = this.#step(conn, at + 1, answers)
    }
    return isWhole ? this.beforeSend(conn) : conn
  }

  /** Runs every `beforeSend`, each on its own: one that throws does not stop the others. Never throws. */
  beforeSend(conn: Conn): Conn | Promise<Conn> {
    for (let at = 0; at < this.#beforeSends.length; at++) {
      const pending = this.#oneBeforeSend(conn, at)
      if (pending !== undefined) return this.#beforeSendRest(conn, pending, at)
    }
    return conn
  }

  async #beforeSendRest(conn: Conn, first: Promise<void>, at: number): Promise<Conn> {
    await first
    for (at++; at < this.#beforeSends.length; at++) await this.#oneBeforeSend(conn, at)
    return conn
  }

  #oneBeforeSend(conn: Conn, at: number): Promise<void> | undefined {
    const { run, place } = this.#beforeSends[at]!
    const before = marks
    try {
      const result = run(conn)
      if (result === conn || result === undefined) return undefined
      if (!isPromiseLike(result)) throw wrongResult(result, place)
      if (marks === before) mark(conn, place)
      return this.#awaitBeforeSend(conn, result, place)
    } catch (error) {
      this.#fail(conn, error, place)
      return undefined
    }
  }

  async #awaitBeforeSend(conn: Conn, pending: PromiseLike<unknown>, place: Place): Promise<void> {
    try {
      const result = await pending
      if (result !== conn && result !== undefined) throw wrongResult(result, place)
    } catch (error) {
      this.#fail(conn, error, place)
    }
  }

  #fail(conn: Conn, error: unknown, place: Place): void {
    const clientStatus = clientErrorStatus(error)
    failConn(conn, clientStatus ?? 500)
    // What fails because conn.signal has aborted is no news.
    const isOfClient = clientStatus !== undefined || (conn.isDisconnected && isAbort(error))
    if (!isOfClient) onErrorOf(conn)(error, { conn, place })
  }
}

/** Where the handler stands that was asked last. */
const askedPlaces = new WeakMap<Upgrade, Place>()

/** The place of a `hasUpgrade` that has thrown out of `upgraderOf`. */
export function askedPlaceOf(upgrade: Upgrade): Place {
  return `hasUpgrade of ${askedPlaces.get(upgrade)}`
}

/** How often a place was noted: whether it was by a handler within the one that has just run. */
let marks = 0

/** Notes the place of the handler whose promise is waited for. */
function mark(conn: Conn, place: Place): void {
  marks++
  markPending(conn, place)
}

interface Pending {
  readonly promise: PromiseLike<unknown>
  readonly at: number
}

interface Plan {
  readonly steps: Step[]
  readonly beforeSends: Step[]
  readonly inits: PlannedInit[]
  readonly upgraders: PossibleUpgrader[]
}

interface PlannedInit {
  readonly handler: object
  readonly init: InitFn
  readonly place: Place
}

interface PossibleUpgrader extends Upgrader {
  readonly hasUpgrade: (upgrade: Upgrade) => boolean
}

/** Compiles an app.
 * @param name What places begin with.
 * @param onError Told of errors that handlers do not catch. It is called within the request and must
 * not throw; where it does, that error is thrown from a task of its own, as uncaught.
 * @throws {TypeError} When something in the app is no handler; the message names its place. */
export function compile(app: unknown, name = 'app', onError: OnError = rethrow): Program {
  const plan: Plan = { steps: [], beforeSends: [], inits: [], upgraders: [] }
  addHandler(plan, app, name, new Set())
  return new Program(plan, guarded(onError))
}

/** @param around The tuples that this handler stands in: one of them again would never end. */
function addHandler(plan: Plan, handler: unknown, path: string, around: Set<unknown>): void {
  if (handler === undefined || handler === null || handler === false) return
  if (typeof handler === 'string') {
    plan.steps.push({
      run: (conn) => conn.ok(handler),
      place: placeOf(path, `conn.ok(${describe(handler)})`),
    })
  } else if (typeof handler === 'function') {
    if (isClass(handler)) throw notAHandler(handler, path, `make one: new ${handler.name}()`)
    plan.steps.push({ run: handler as HandlerFn, place: placeOf(path, handler.name) })
  } else if (handler instanceof HandlerSequence || Array.isArray(handler)) {
    if (around.has(handler)) throw notAHandler(handler, path, 'it contains itself')
    const children: readonly unknown[] = Array.isArray(handler) ? handler : handler.handlers
    around.add(handler)
    // By index: a hole in an array is undefined, and does nothing.
    for (let at = 0; at < children.length; at++)
      addHandler(plan, children[at], `${path}[${at}]`, around)
    around.delete(handler)
  } else if (handler instanceof HeaderMap || handler instanceof Headers) {
    const headers = new HeaderMap(handler)
    plan.steps.push({
      run: (conn) => void conn.responseHeaders.appendAll(headers),
      place: placeOf(path, 'headers'),
    })
  } else if (typeof handler === 'object') {
    addObject(plan, handler, path)
  } else {
    throw notAHandler(handler, path)
  }
}

function addObject(plan: Plan, handler: object, path: string): void {
  const { run, init, beforeSend, hasUpgrade, upgrade, name } = handler as HandlerParts & {
    readonly run?: (conn: Conn) => Result
  }
  const parts = { run, init, beforeSend, hasUpgrade, upgrade }
  if (Object.values(parts).every((part) => part === undefined)) throw notAHandler(handler, path)
  const place = placeOf(path, typeof name === 'string' ? name : classNameOf(handler))
  for (const [part, value] of Object.entries(parts)) {
    if (value !== undefined && typeof value !== 'function') {
      throw new TypeError(
        `Cannot use the handler ${place}: its ${part} must be a function, not ${describe(value)}`,
      )
    }
  }
  if ((hasUpgrade === undefined) !== (upgrade === undefined)) {
    throw new TypeError(
      `Cannot use the handler ${place}: it must have both hasUpgrade and upgrade, or neither`,
    )
  }
  if (init !== undefined)
    plan.inits.push({ handler, init: (info) => init.call(handler, info), place })
  if (beforeSend !== undefined)
    plan.beforeSends.push({ run: (conn) => beforeSend.call(handler, conn), place })
  if (hasUpgrade !== undefined && upgrade !== undefined) {
    plan.upgraders.push({
      hasUpgrade: (asked) => hasUpgrade.call(handler, asked),
      upgrade: (taken) => upgrade.call(handler, taken),
      place,
    })
  }
  if (run !== undefined) plan.steps.push({ run: (conn) => run.call(handler, conn), place })
}

function placeOf(path: string, name: string): Place {
  return name === '' ? path : `${path} ${JSON.stringify(name)}`
}

function classNameOf(handler: object): string {
  const { constructor } = handler
  return typeof constructor === 'function' && constructor !== Object ? constructor.name : ''
}

function isClass(value: Function): boolean {
  // Not `\b`: a method may be called `class`, or `class$`.
  return /^class[\s{]/.test(Function.prototype.toString.call(value))
}

function notAHandler(handler: unknown, path: string, hint = ''): TypeError {
  return new TypeError(
    `Cannot use ${describe(handler)} as a handler at ${path}: ${
      hint ||
      'expected a function, an object with run, init, beforeSend or upgrade, an array, a string, header fields, or undefined, null or false'
    }`,
  )
}

function wrongResult(result: unknown, place: Place): TypeError {
  const what = result instanceof Conn ? 'another conn' : describe(result)
  return new TypeError(
    `Expected ${place} to return its conn, nothing, or a promise of either, got ${what}`,
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : describe(error)
}

function guarded(onError: OnError): OnError {
  return (error, context) => callSafely(() => onError(error, context))
}

function rethrow(error: unknown): void {
  throw error
}
