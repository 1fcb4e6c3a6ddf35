/** One request, its response and its state, in one object that flows through the handlers. */

import { checkBody, encodeText } from './body.ts'
import type { Body } from './body.ts'
import { describe } from './describe.ts'
import { HeaderMap } from './header-map.ts'
import type { HeaderValue } from './header-map.ts'
import type { Incoming } from './incoming.ts'
import type { Listener } from './info.ts'
import { isPromiseLike } from './is-promise-like.ts'
import type { Method } from './method.ts'
import type { OnError } from './program.ts'
import { discardBody } from './pull-source.ts'
import { RequestBody } from './request-body.ts'
import { StateMap } from './state.ts'
import type { ClassToken, Key, Lookup, Provided, Token, ValueOf } from './state.ts'
import { checkStatus } from './status.ts'
import type { Swansong } from './swansong.ts'

declare const provides: unique symbol
declare const isHaltedConn: unique symbol

/** Called when the response is over: `isSent` tells whether all of it was handed to the network. */
export type AfterSend = (isSent: boolean) => void

/** The interface that packages augment to add methods to every conn.
 *
 * ```ts
 * import { Conn, type Halted } from '@wakerobin/core'
 *
 * declare module '@wakerobin/core' {
 *   interface ConnExtensions { teapot(): Halted }
 * }
 * Conn.prototype.teapot = function (this: Conn) { return this.withStatus(418).halt() }
 * ``` */
export interface ConnExtensions {}

/** What `halt()` returns: a conn that no later handler will see, so it may claim to hold any state. */
export interface Halted extends Conn<unknown> {
  readonly [isHaltedConn]: true
}

// What core and servers may do to a conn and handlers may not. Each is set in the class below, where
// the private fields are in reach.

/** Drops the status, headers and body set so far, sets `status` and halts. */
export let failConn: (conn: Conn, status: number) => void

/** Runs the `afterSend` callbacks, each on its own. A second call finds none. */
export let settleConn: (conn: Conn, isSent: boolean, onError: (error: unknown) => void) => void

/** What is told of errors of a conn's handlers. */
export let onErrorOf: (conn: Conn) => OnError

/** Whether anybody wants to know how the response ended. */
export let hasAfterSend: (conn: Conn) => boolean

/** Notes the place of the handler whose promise is waited for. */
export let markPending: (conn: Conn, place: string) => void

/** The place of the handler whose promise was waited for last; undefined where none was. */
export let pendingPlaceOf: (conn: Conn) => string | undefined

/** Keeps the request in as little memory as it takes. What was changed in its headers is kept as it is. */
export let packConn: (conn: Conn) => void

/** The response headers as `name, value…`, without making a map where none was set. */
export let rawResponseHeaders: (conn: Conn) => readonly string[]

/** Sets response headers. Where there are none yet they are not copied: what many responses have in common is kept once.
 * @param raw `name, value…` as on the wire, each name once. */
export let presetHeaders: (conn: Conn, raw: readonly string[]) => void

/** Calls back when the client cannot be answered any more, at once where it is so already. A client that has only ended
 * its side can be. */
export let onGone: (conn: Conn, callback: () => void) => void

/** What a request says of its client, where somebody in front of us was asked in its place. */
export interface Client {
  /** In place of `peerIp`; undefined where nobody knows it. */
  readonly peerIp: string | undefined
  /** In place of `isSecure`. */
  readonly isSecure: boolean
  /** In place of `host`. */
  readonly host: string | undefined
}

/** Lets a conn say of its client what a trusted proxy has said, in place of what the connection says. The headers
 * stay what they were. */
export let forwardConn: (conn: Conn, client: Client) => void

const noHeaders: readonly string[] = []

// `in P`: a conn that holds more may stand wherever one that holds less is asked for. The annotation
// also makes the compiler compare P alone, never the members.
export interface Conn<in P = never> extends ConnExtensions {
  readonly [provides]: (need: P) => void
}

/** A request, its response and its state.
 *
 * P is what its state is known to hold, as a union of tokens: `Conn<Has<User> | Has<Session>>`.
 * `with…` methods change this conn and return it. */
export class Conn<in P = never> {
  readonly #incoming: Incoming
  #method: string
  #status: number | undefined
  #responseBody: Body | undefined
  #isHalted = false
  // Made when first used: most requests use few of these.
  #requestHeaders: HeaderMap | undefined
  #responseHeaders: HeaderMap | undefined
  #requestBody: RequestBody | undefined
  #state: StateMap | undefined
  #target: Target | undefined
  #pushedPaths: string[] | undefined
  #afterSend: AfterSend[] | undefined
  #controller: AbortController | undefined
  /** What is said instead of what the connection says. */
  #client: Client | undefined
  #pendingPlace: string | undefined

  /** For servers: wraps what they received. */
  constructor(incoming: Incoming) {
    this.#incoming = incoming
    this.#method = incoming.method
  }

  // ------------------------------------------------------------------------------- the request

  get method(): Method {
    return this.#method as Method
  }

  /** The path, without the query and not percent-decoded; the innermost one that was pushed. */
  get path(): string {
    return this.#pushedPaths?.at(-1) ?? this.#splitTarget().path
  }

  /** What stands after the first `?` of the target, or `''`. */
  get querystring(): string {
    return this.#splitTarget().querystring
  }

  /** The query, parsed anew at each call as `application/x-www-form-urlencoded`. */
  get query(): URLSearchParams {
    return new URLSearchParams(this.querystring)
  }

  /** The target in origin form: the whole path and, where there is one, `?` and the query. Scheme and
   * host, as a client of a proxy sends them, are left out. */
  get pathAndQuery(): string {
    const { path, querystring, hasQuery } = this.#splitTarget()
    return hasQuery ? `${path}?${querystring}` : path
  }

  /** Makes `path` what it is given until `popPath()`: for handlers that mount others below a path. */
  pushPath(path: string): this {
    this.#pushedPaths ??= []
    this.#pushedPaths.push(path)
    return this
  }

  /** Undoes the last `pushPath` and returns the path it pushed, or undefined when there is none. */
  popPath(): string | undefined {
    return this.#pushedPaths?.pop()
  }

  get requestHeaders(): HeaderMap {
    this.#requestHeaders ??= HeaderMap.fromRawHeaders(this.#incoming.rawHeaders)
    return this.#requestHeaders
  }

  get requestBody(): RequestBody {
    this.#requestBody ??= new RequestBody(this.#incoming, this.requestHeaders)
    return this.#requestBody
  }

  /** The fields that came after the body: undefined until it was read to its end, and where there were none.
   *
   * They are never merged into `requestHeaders`: whoever sent them could not know what to leave out. */
  get requestTrailers(): HeaderMap | undefined {
    const { rawTrailers } = this.#incoming
    return rawTrailers === undefined || rawTrailers.length === 0
      ? undefined
      : HeaderMap.fromRawHeaders(rawTrailers)
  }

  /** The `Host` of the request, where it has exactly one; else the host of a target that names it. Or what a
   * trusted proxy says it was. */
  get host(): string | undefined {
    if (this.#client !== undefined) return this.#client.host
    const { requestHeaders } = this
    if (requestHeaders.has('host')) return requestHeaders.getSingle('host')
    return authorityOf(this.#incoming.target)
  }

  /** `1.0`, `1.1` or `2.0`. */
  get httpVersion(): string {
    return this.#incoming.httpVersion
  }

  /** The client's address, or that of the proxy in front of us, unless it is trusted to say the client's.
   * Undefined on a Unix socket. */
  get peerIp(): string | undefined {
    return this.#client !== undefined ? this.#client.peerIp : this.#incoming.peerIp
  }

  /** Whether the connection is encrypted; or that of the client to a trusted proxy. */
  get isSecure(): boolean {
    return this.#client !== undefined ? this.#client.isSecure : this.#incoming.isSecure
  }

  /** The one of `info.listeners` that the request came in on, the very object. Undefined where the app runs
   * without sockets of its own, as in a test that names none. */
  get listener(): Listener | undefined {
    return this.#incoming.listener
  }

  /** When the request was received, in milliseconds on the clock of `performance.now()`. */
  get startTime(): number {
    return this.#incoming.startTime
  }

  /** Whether the client has left before its response was complete, or was answered because the handlers took too
   * long. One that has only ended its side of the connection counts as gone, too, and is answered all the same. */
  get isDisconnected(): boolean {
    return this.#incoming.isDisconnected
  }

  /** Aborts when the client leaves before its response is complete, or when the time that the server gives to handlers
   * is over; see `isDisconnected`. A stop does
   * not abort it: a request that was read completes; see `conn.swansong.signal`. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController()
      this.#controller = controller
      if (this.#incoming.isDisconnected) controller.abort()
      else this.#incoming.onDisconnect(() => controller.abort())
    }
    return this.#controller.signal
  }

  /** Calls `work` with `signal`, and waits for it until it is done or the client leaves.
   *
   * ```ts
   * import assert from 'node:assert/strict'
   * import { testApp } from '@wakerobin/core/testing'
   *
   * const search = async (signal: AbortSignal): Promise<string> => signal.aborted ? 'nothing' : 'three ferns'
   * const app = testApp(async (conn) => {
   *   const found = await conn.cancelOnDisconnect(search)
   *   return found === undefined ? conn.halt() : conn.ok(found)
   * })
   * assert.equal((await app.get('/')).body, 'three ferns')
   * ```
   * @returns What it returns; undefined where the client has left first. The work is then told by its signal, and how
   * it ends is nobody's business. Where the client has left before, it is not called at all. */
  cancelOnDisconnect<T>(work: (signal: AbortSignal) => PromiseLike<T> | T): Promise<T | undefined> {
    const { signal } = this
    if (signal.aborted) return Promise.resolve(undefined)
    return new Promise((resolve, reject) => {
      // After what is done already, and before what the signal causes.
      const onAbort = (): void => queueMicrotask(() => resolve(undefined))
      const forget = (): void => signal.removeEventListener('abort', onAbort)
      signal.addEventListener('abort', onAbort, { once: true })
      const done = (value: T): void => (forget(), resolve(value))
      const failed = (error: unknown): void => (forget(), reject(error as Error))
      try {
        Promise.resolve(work(signal)).then(done, failed)
      } catch (error) {
        failed(error)
      }
    })
  }

  /** The server's swansong. */
  get swansong(): Swansong {
    return this.#incoming.server.swansong
  }

  // ------------------------------------------------------------------------------ the response

  /** The status, undefined until one is set. A response without one is a 404. */
  get status(): number | undefined {
    return this.#status
  }

  /** Sets the status. Leaves the body and `isHalted` as they are.
   *
   * A 101 is for handlers that take the connection over: see `hasUpgrade`.
   * @throws {RangeError} When `status` is neither an integer from 200 to 599 nor 101. */
  withStatus(status: number): this {
    this.#status = checkStatus(status)
    return this
  }

  get responseHeaders(): HeaderMap {
    this.#responseHeaders ??= new HeaderMap()
    return this.#responseHeaders
  }

  /** Sets a response header, in place of what it had. To add a line, use `responseHeaders.append`.
   * @throws {TypeError} When the name or the value is not valid in HTTP. */
  withResponseHeader(name: string, value: HeaderValue): this {
    this.responseHeaders.set(name, value)
    return this
  }

  get responseBody(): Body | undefined {
    return this.#responseBody
  }

  /** The length of the response body in bytes: 0 without one, undefined where it is not known. */
  get responseLength(): number | undefined {
    const body = this.#responseBody
    if (body === undefined) return 0
    if (typeof body === 'string') return encodeText(body).length
    return 'length' in body ? body.length : undefined
  }

  /** Sets the body. Sets no status and no content type, and does not halt.
   *
   * A stream that was the body before is let go; to wrap it, take it with `takeResponseBody`.
   * @throws {TypeError} When `body` is none of the kinds that `Body` names. */
  withBody(body: Body): this {
    const former = this.#responseBody
    this.#responseBody = checkBody(body)
    if (former !== body) discardBody(former)
    return this
  }

  /** Removes the body and returns it: for handlers that transform it in `beforeSend`. */
  takeResponseBody(): Body | undefined {
    const body = this.#responseBody
    this.#responseBody = undefined
    return body
  }

  /** Sets status 200 and the body, and halts. Sets no content type. */
  ok(body: Body): Halted {
    return this.withStatus(200).withBody(body).halt()
  }

  /** Sets the body, and halts. The status is 200 and the content type `application/json` unless others
   * are set: `conn.withStatus(201).json(order)`.
   * @throws {TypeError} When `value` has no JSON form, as `undefined` or a cycle. */
  json(value: unknown): Halted {
    const text: string | undefined = JSON.stringify(value)
    if (text === undefined)
      throw new TypeError(`Cannot send ${describe(value)} as JSON: it has no JSON form`)
    this.#status ??= 200
    if (this.#responseHeaders === undefined)
      this.#responseHeaders = HeaderMap.fromRawHeaders(jsonHeaders)
    else if (!this.#responseHeaders.has('content-type'))
      this.#responseHeaders.set('Content-Type', 'application/json')
    return this.withBody(text).halt()
  }

  get isHalted(): boolean {
    return this.#isHalted
  }

  /** Ends the run: no later handler runs, in this tuple or around it. Every `beforeSend` still does. */
  halt(): Halted {
    this.#isHalted = true
    return this as unknown as Halted
  }

  /** Calls back once when the response is over, sent or not, in the order of registration.
   *
   * Register it before the response is sent: in `run` or in `beforeSend`. */
  afterSend(callback: AfterSend): this {
    this.#afterSend ??= []
    this.#afterSend.push(callback)
    return this
  }

  // --------------------------------------------------------------------------------- the state

  // `This` instead of P: under a conditional type inside the class, P would lose its variance.
  /** The value stored under a class or a key; its type says `undefined` unless an earlier handler is
   * known to provide it. */
  state<K extends Key, This>(this: This, key: K): Lookup<Provided<This>, K>
  state(key: Key): unknown {
    return this.#state?.get(key)
  }

  /** Removes a value from the state and returns it. The types do not follow the removal. */
  takeState<K extends Key, This>(this: This, key: K): Lookup<Provided<This>, K>
  takeState(key: Key): unknown {
    return this.#state?.take(key)
  }

  /** Stores a value under its class, the one it was made by, in place of a former one.
   * @throws {TypeError} When it has no class of its own: a plain object, an array, a function or a
   * primitive. Use a key for those. */
  withState<T extends object>(value: T): Conn<P | ClassToken<T>>
  /** Stores a value under a class or a key, in place of a former one. */
  withState<const K extends Key>(key: K, value: ValueOf<K>): Conn<P | Token<K>>
  withState(...args: unknown[]): Conn<any> {
    this.#state ??= new StateMap()
    this.#state.insert(args)
    return this
  }

  /** Stores a value under its class and returns the one it replaces. */
  insertState<T extends object>(value: T): T | undefined
  /** Stores a value under a class or a key and returns the one it replaces. */
  insertState<const K extends Key>(key: K, value: ValueOf<K>): ValueOf<K> | undefined
  insertState(...args: unknown[]): unknown {
    this.#state ??= new StateMap()
    return this.#state.insert(args)
  }

  /** A value that all requests share, put there by an `init`. */
  sharedState<K extends Key>(key: K): ValueOf<K> | undefined {
    return this.#incoming.server.sharedState.get(key) as ValueOf<K> | undefined
  }

  // ------------------------------------------------------------------------------ for servers

  #splitTarget(): Target {
    this.#target ??= splitTarget(this.#incoming.target)
    return this.#target
  }

  static {
    failConn = (conn, status) => {
      const body = conn.#responseBody
      conn.#status = status
      conn.#responseHeaders = undefined
      conn.#responseBody = undefined
      conn.#isHalted = true
      discardBody(body)
    }
    settleConn = (conn, isSent, onError) => {
      // A callback may register another: until none is left.
      for (let callback; (callback = conn.#afterSend?.shift()) !== undefined;) {
        try {
          // It may be async for all that its type says: its rejection is an error like any other.
          const pending: unknown = callback(isSent)
          if (isPromiseLike(pending)) pending.then(undefined, onError)
        } catch (error) {
          onError(error)
        }
      }
      conn.#afterSend = undefined
    }
    packConn = (conn) => {
      if (conn.#requestHeaders?.isAsReceived === false) return
      conn.#requestHeaders = undefined
      conn.#target = undefined
      conn.#incoming.pack?.()
    }
    forwardConn = (conn, client) => {
      conn.#client = client
    }
    onGone = (conn, callback) => {
      const incoming = conn.#incoming
      if (incoming.onGone !== undefined) incoming.onGone(callback)
      else if (incoming.isDisconnected) callback()
      else incoming.onDisconnect(callback)
    }
    markPending = (conn, place) => {
      conn.#pendingPlace = place
    }
    pendingPlaceOf = (conn) => conn.#pendingPlace
    onErrorOf = (conn) => conn.#incoming.server.onError
    hasAfterSend = (conn) => conn.#afterSend !== undefined
    presetHeaders = (conn, raw) => {
      if (conn.#responseHeaders === undefined || conn.#responseHeaders.isEmpty) {
        conn.#responseHeaders = HeaderMap.fromRawHeaders(raw)
        return
      }
      for (let at = 0; at < raw.length; at += 2) conn.#responseHeaders.set(raw[at]!, raw[at + 1]!)
    }
    rawResponseHeaders = (conn) => conn.#responseHeaders?.toRawHeaders() ?? noHeaders
  }
}

const jsonHeaders = ['Content-Type', 'application/json']

interface Target {
  readonly path: string
  readonly querystring: string
  readonly hasQuery: boolean
}

function splitTarget(target: string): Target {
  const origin = originForm(target)
  const at = origin.indexOf('?')
  return at === -1
    ? { path: origin, querystring: '', hasQuery: false }
    : { path: origin.slice(0, at), querystring: origin.slice(at + 1), hasQuery: true }
}

/** `http://host/path?query`, as clients of proxies send it: RFC 9112 §3.2.2. */
const absoluteForm = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?@]*@)?([^/?]*)/i

/** The target without scheme and host. */
function originForm(target: string): string {
  if (target.startsWith('/')) return target
  const absolute = absoluteForm.exec(target)
  if (absolute === null) return target // `*`, or the authority of CONNECT
  const rest = target.slice(absolute[0].length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** The host and port that the target names, without the user. */
function authorityOf(target: string): string | undefined {
  return absoluteForm.exec(target)?.[1]
}
