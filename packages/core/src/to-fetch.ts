/** `toFetch(app)`: an app as a function from a web `Request` to a `Response`, for Bun, Deno, workers and tests. */

import type { AppFunction } from './app.ts'
import { encodeText, isBodySource } from './body.ts'
import type { BodySource } from './body.ts'
import { checkNames } from './check-names.ts'
import { Conn, failConn, settleConn } from './conn.ts'
import { describe } from './describe.ts'
import { FetchBody } from './fetch-body.ts'
import { FetchIncoming } from './fetch-incoming.ts'
import type { Origin } from './fetch-incoming.ts'
import type { FinalResponse } from './finalize.ts'
import { Host } from './host.ts'
import { isAbort } from './is-abort.ts'
import { maxTimerMs } from './max-timer-ms.ts'
import { isMethod } from './method.ts'
import type { ErrorContext, OnError, Place } from './program.ts'
import { Swansong } from './swansong.ts'
import type { Guard } from './swansong/guard.ts'

/** How an app is served by something that speaks fetch. */
export interface FetchOptions {
  /** The swansong whose stop is the app's. Default: a new one, `swansong` of the function. */
  swansong?: Swansong
  /** Told of every error that the app did not catch. Default: `console.error`. */
  onError?: OnError
  /** The client's address, for `conn.peerIp`. It is called with the request and with whatever else the function was
   * called with.
   *
   * Default: what the second argument says where it is the server of `Bun.serve` or the info of `Deno.serve`, else
   * undefined. */
  peerIp?: (request: Request, ...context: any[]) => string | undefined
  /** Whether the connection is encrypted, for `conn.isSecure`. Called as `peerIp` is. Default: whether the URL of the
   * request says `https:`. */
  isSecure?: (request: Request, ...context: any[]) => boolean
  limits?: FetchLimits
  shutdown?: FetchShutdown
}

/** What a client may ask for. */
export interface FetchLimits {
  /** The longest request body that is read, in bytes, where a handler sets no other limit; a longer one is a 413.
   * `Infinity` for none. Default 1 MiB. */
  bodyBytes?: number
}

/** How a stop goes. */
export interface FetchShutdown {
  /** When what has not ended is cut, in milliseconds from the beginning of the stop: bodies break off, and requests whose
   * handlers are not done are answered with a 503. `Infinity` for never. Default 10 000. */
  deadlineMs?: number
}

/** An app as a function that answers requests: made by `toFetch`. */
export interface FetchFunction {
  /** Answers a request.
   *
   * Errors that handlers do not catch are reported, and are a 500. A 101, or a tunnel (200 to a CONNECT), is such an
   * error: a `Response` cannot hand a connection over. Where the client has left before its answer began, the answer is
   * an empty 499, for nobody.
   * @param context What the runtime tells of the request, for `peerIp` and `isSecure`.
   * @throws {TypeError} When the body of the request was read by somebody else. */
  (request: Request, ...context: any[]): Promise<Response>
  readonly swansong: Swansong
  /** Runs every `init`, once. The first request does it by itself, and then every request is a 500 where one fails: to
   * know it before, wait for this.
   * @throws What an `init` throws, with its place as the message of an Error around it. */
  init(): Promise<void>
  /** Begins the stop: event streams end whole, requests in progress are answered. New requests are still answered: it
   * is for the runtime to take no more.
   *
   * Resolves when nothing is open any more and every guard is released; at the latest when the deadline has passed. */
  shutDown(): Promise<void>
}

/** Makes a function of an app, from `Request` to `Response`.
 *
 * ```ts
 * import assert from 'node:assert/strict'
 * import { toFetch } from '@wakerobin/core/fetch'
 *
 * const fetch = toFetch((conn) => conn.ok(`hello, ${conn.query.get('name')}`))
 * const response = await fetch(new Request('http://localhost/?name=Fern'))
 * assert.equal(await response.text(), 'hello, Fern')
 * ```
 *
 * `Bun.serve({ fetch: toFetch(app) })`, `Deno.serve(toFetch(app))` and `export default { fetch: toFetch(app) }` serve
 * it. A response begins as soon as its head is known. Its body is written as it is read; whoever cancels it, or aborts
 * `request.signal`, is a client that leaves. A body that fails half-way errors its stream.
 * @throws {TypeError} When something in the app is no handler, or an option is not what it must be.
 * @throws {RangeError} When a number in the options is none from 0. */
export const toFetch: AppFunction<FetchOptions, FetchFunction> = (
  app: unknown,
  options: FetchOptions = {},
) => {
  const served = new FetchApp(app, options)
  return Object.assign(
    (request: Request, ...context: unknown[]) => served.fetch(request, context),
    {
      swansong: served.swansong,
      init: () => served.init(),
      shutDown: () => served.shutDown(),
    },
  )
}

class FetchApp {
  readonly swansong: Swansong
  readonly #host: Host
  readonly #peerIp: NonNullable<FetchOptions['peerIp']>
  readonly #isSecure: NonNullable<FetchOptions['isSecure']>
  readonly #deadlineMs: number
  readonly #open = new Set<Exchange>()
  /** Resolves when the deadline of the stop has passed. */
  readonly #cut: Promise<void>
  #tellCut!: () => void
  #isReady = false

  constructor(app: unknown, options: FetchOptions) {
    const { limits = {}, shutdown = {} } = options
    checkNames('Cannot make a fetch function with ', options, optionNames)
    checkNames('Cannot make a fetch function with limits.', limits, ['bodyBytes'])
    checkNames('Cannot make a fetch function with shutdown.', shutdown, ['deadlineMs'])
    this.swansong = options.swansong ?? new Swansong()
    this.#peerIp = checkFunction('peerIp', options.peerIp ?? peerIpOf)
    this.#isSecure = checkFunction('isSecure', options.isSecure ?? isHttps)
    this.#deadlineMs = checkAtLeastZero('shutdown.deadlineMs', shutdown.deadlineMs ?? 10_000)
    this.#host = new Host(app, {
      swansong: this.swansong,
      maxBodyBytes: checkAtLeastZero('limits.bodyBytes', limits.bodyBytes ?? 1024 * 1024),
      listeners: [], // they are the runtime's
      url: undefined,
      onError: checkFunction('onError', options.onError ?? reportOnConsole),
    })
    this.#cut = new Promise((resolve) => {
      this.#tellCut = resolve
    })
    this.swansong.onStop(() => this.#stop())
  }

  async init(): Promise<void> {
    await this.#host.init()
    this.#isReady = true
  }

  shutDown(): Promise<void> {
    return Promise.race([this.swansong.shutDown(), this.#cut])
  }

  async fetch(request: Request, context: readonly unknown[]): Promise<Response> {
    if (request.bodyUsed)
      throw new TypeError('Cannot handle a request whose body has been read: hand over a clone')
    if (!isMethod(request.method)) return new Response(null, { status: 501 }) // RFC 9110 §15.6.2
    const { origin, error } = this.#originOf(request, context)
    const exchange = new Exchange(new FetchIncoming(request, origin, this.#host.context), request)
    this.#open.add(exchange)
    if (this.swansong.state !== 'running') exchange.hold()
    const { conn } = exchange
    if (error !== undefined) this.#fail(conn, error.cause, error.place)
    else {
      const handled = this.#handle(conn)
      if (handled instanceof Promise && !(await exchange.inTime(handled)))
        return this.#tooLate(exchange, handled)
    }
    if (isUpgrade(conn)) this.#fail(conn, cannotUpgrade(conn), 'the response')
    return this.#respond(exchange)
  }

  #originOf(
    request: Request,
    context: readonly unknown[],
  ): { origin: Origin; error?: { cause: unknown; place: Place } } {
    let place = 'peerIp'
    try {
      const peerIp = this.#peerIp(request, ...context)
      if (peerIp !== undefined && typeof peerIp !== 'string')
        throw wrongAnswer(place, 'a string, or undefined', peerIp)
      place = 'isSecure'
      const isSecure = this.#isSecure(request, ...context)
      if (typeof isSecure !== 'boolean') throw wrongAnswer(place, 'true or false', isSecure)
      return { origin: { peerIp: unmapped(peerIp), isSecure } }
    } catch (cause) {
      return { origin: { peerIp: undefined, isSecure: false }, error: { cause, place } }
    }
  }

  /** Never rejects. */
  #handle(conn: Conn): Conn | Promise<Conn> {
    return this.#isReady ? this.#host.handle(conn) : this.#handleFirst(conn)
  }

  async #handleFirst(conn: Conn): Promise<Conn> {
    try {
      await this.init()
    } catch (error) {
      this.#fail(conn, error, 'init')
      return conn
    }
    return this.#host.handle(conn)
  }

  /** Answers for handlers that are not done at the deadline of the stop. */
  #tooLate(exchange: Exchange, handled: Promise<Conn>): Response {
    const fail = (): void => {
      failConn(exchange.conn, 503)
      this.#over(exchange, true)
    }
    fail()
    // What they make after all is let go, and whoever waits for the end of the response is told.
    void handled.then(fail)
    return new Response(null, { status: 503 })
  }

  async #respond(exchange: Exchange): Promise<Response> {
    const { conn } = exchange
    for (;;) {
      const response = await this.#send(exchange)
      if (response !== undefined) return response
      conn.takeResponseBody() // it has ended by itself
      failConn(conn, 500)
    }
  }

  /** Returns undefined where the body has failed before the head was out. */
  #send(exchange: Exchange): Promise<Response | undefined> | Response {
    const { conn } = exchange
    const { final, headers } = this.#finalOf(conn)
    const { body, status } = final
    if (conn.isDisconnected) {
      if (isBodySource(body)) this.#tellGone(conn, body)
      this.#over(exchange, false)
      return new Response(null, { status: clientClosedRequest })
    }
    if (isBodySource(body)) return this.#stream(exchange, body, final, headers)
    this.#over(exchange, true)
    return new Response(bodyInit(body, headers), { status, headers })
  }

  #stream(
    exchange: Exchange,
    source: BodySource,
    { status, bodyLength }: FinalResponse,
    headers: Headers,
  ): Promise<Response | undefined> {
    const isStopping = this.swansong.state !== 'running' // a stop from now on finds it by itself
    return new Promise((resolve) => {
      const body = new FetchBody(source, bodyLength, {
        onHead: () => resolve(new Response(body.stream, { status, headers })),
        onFailed: () => {
          exchange.body = undefined
          resolve(undefined)
        },
        onError: (error) => this.#reportBody(exchange.conn, error),
        onOver: (isSent) => this.#over(exchange, isSent),
        onCancel: () => exchange.leave(),
      })
      exchange.body = body
      body.start()
      if (isStopping) body.stop()
    })
  }

  #finalOf(conn: Conn): { final: FinalResponse; headers: Headers } {
    const final = this.#host.finalize(conn)
    try {
      return { final, headers: headersOf(final) }
    } catch (error) {
      this.#fail(conn, error, 'the response') // what came on a wire may be nothing for another
      const failure = this.#host.finalize(conn)
      return { final: failure, headers: headersOf(failure) }
    }
  }

  #tellGone(conn: Conn, source: BodySource): void {
    try {
      source.closed('client')
    } catch (error) {
      this.#reportBody(conn, error)
    }
  }

  #fail(conn: Conn, error: unknown, place: Place): void {
    failConn(conn, 500)
    this.#host.onError(error, { conn, place })
  }

  #reportBody(conn: Conn, error: unknown): void {
    // A source that heeds conn.signal fails when the client leaves: that is no news.
    const isNews = !(conn.isDisconnected && isAbort(error))
    if (isNews) this.#host.onError(error, { conn, place: 'the response body' })
  }

  #over(exchange: Exchange, isSent: boolean): void {
    const { conn } = exchange
    settleConn(conn, isSent, (error) => this.#host.onError(error, { conn, place: 'afterSend' }))
    this.#open.delete(exchange)
    exchange.over()
  }

  #stop(): void {
    for (const exchange of this.#open) exchange.hold()
    // After the callbacks of the app's own onStop: what they publish still reaches the streams.
    queueMicrotask(() => {
      for (const exchange of this.#open) exchange.body?.stop()
    })
    if (this.#deadlineMs === Infinity) return
    const timeout = setTimeout(
      () => {
        for (const exchange of this.#open) exchange.leave('stop')
        this.#tellCut()
      },
      Math.min(this.#deadlineMs, maxTimerMs),
    )
    void this.swansong.completion.then(() => clearTimeout(timeout))
  }
}

/** A request on its way to its response. */
class Exchange {
  readonly conn: Conn
  /** The body of the response, once it flows. */
  body: FetchBody | undefined
  readonly #incoming: FetchIncoming
  readonly #signal: AbortSignal
  #guard: Guard | undefined
  #onCut: () => void = () => {}

  constructor(incoming: FetchIncoming, { signal }: Request) {
    this.conn = new Conn(incoming)
    this.#incoming = incoming
    this.#signal = signal
    if (signal.aborted) incoming.leave()
    else signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Delays the completion of the stop until it is over. */
  hold(): void {
    const { method, pathAndQuery, swansong } = this.conn
    // Without the place where it is taken, which is always here.
    this.#guard ??= new Swansong({ sites: false }, swansong).guard(`${method} ${pathAndQuery}`)
  }

  /** Waits for the handlers, but not beyond the deadline of the stop.
   * @returns Whether they are done. */
  inTime(handled: PromiseLike<unknown>): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#onCut = () => resolve(false)
      handled.then(() => resolve(true), reject)
    })
  }

  /** The client leaves, or is cut at the deadline. */
  leave(cause: 'client' | 'stop' = 'client'): void {
    this.#incoming.leave()
    this.body?.leave(cause)
    if (cause === 'stop') this.#onCut()
  }

  over(): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#guard?.release()
  }

  readonly #onAbort = (): void => this.leave()
}

function headersOf({ rawHeaders, contentLength }: FinalResponse): Headers {
  const headers = new Headers()
  for (let at = 0; at < rawHeaders.length; at += 2)
    headers.append(rawHeaders[at]!, rawHeaders[at + 1]!)
  if (contentLength !== undefined) headers.set('content-length', String(contentLength))
  return headers
}

/** As bytes: of text, a `Response` would make a content type. */
function bodyInit(body: string | Uint8Array | undefined, headers: Headers): BodyInit | null {
  if (body === undefined) return null
  const bytes = (typeof body === 'string' ? encodeText(body) : body) as Uint8Array<ArrayBuffer>
  // Of bytes without a type, Bun makes application/octet-stream, which browsers do not show.
  return headers.has('content-type') ? bytes : streamOf(bytes)
}

function streamOf(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes)
      controller.close()
    },
  })
}

/** RFC 9110 §7.8, §9.3.6. */
function isUpgrade({ method, status }: Conn): boolean {
  return status === 101 || (method === 'CONNECT' && status === 200)
}

function cannotUpgrade({ status }: Conn): TypeError {
  return new TypeError(
    `Cannot hand the connection over with a ${status}: a Response cannot; upgrade it by the runtime, before the app is called`,
  )
}

/** What Bun and Deno tell of the client, in the second argument. */
function peerIpOf(request: Request, context: unknown): string | undefined {
  if (typeof context !== 'object' || context === null) return undefined
  const { requestIP, remoteAddr } = context as {
    requestIP?: (request: Request) => { address?: unknown } | null
    remoteAddr?: { hostname?: unknown }
  }
  const address =
    typeof requestIP === 'function'
      ? requestIP.call(context, request)?.address
      : remoteAddr?.hostname
  return typeof address === 'string' ? address : undefined
}

/** IPv4 as such, also where the socket has it mapped into IPv6: RFC 4291 §2.5.5.2. */
function unmapped(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}

function isHttps({ url }: Request): boolean {
  return url.startsWith('https:')
}

function reportOnConsole(error: unknown, { conn, place }: ErrorContext): void {
  console.error(`Wakerobin: error in ${place}, on ${conn.method} ${conn.pathAndQuery}\n`, error)
}

/** Most likely it is async. */
function wrongAnswer(option: string, right: string, got: unknown): TypeError {
  return new TypeError(`Expected ${option} to return ${right}, got ${describe(got)}`)
}

const optionNames: readonly (keyof FetchOptions)[] = [
  'swansong',
  'onError',
  'peerIp',
  'isSecure',
  'limits',
  'shutdown',
]

function checkFunction<F>(option: string, value: F): F {
  if (typeof value === 'function') return value
  throw new TypeError(
    `Cannot make a fetch function with ${option} ${describe(value)}: it must be a function`,
  )
}

function checkAtLeastZero(option: string, value: number): number {
  if (typeof value === 'number' && value >= 0) return value
  throw new RangeError(
    `Cannot make a fetch function with ${option} ${describe(value)}: it must be a number from 0`,
  )
}

/** As nginx has it in its log: no status of HTTP, and none that anybody gets to see. */
const clientClosedRequest = 499
