/** `@wakerobin/core/testing`: an app under test, without sockets.
 *
 * Runs `init`, the handlers, every `beforeSend` and the same finalisation as a server. */

import type { AppFunction } from './app.ts'
import { ArrivingBody } from './arriving-body.ts'
import { BodyCollector } from './body-collector.ts'
import type { ReceivedBody } from './body-collector.ts'
import { encodeText, isBodySource } from './body.ts'
import type { BodySink, BodySource } from './body.ts'
import { Conn, failConn, packConn, settleConn } from './conn.ts'
import type { FinalResponse } from './finalize.ts'
import { HeaderMap } from './header-map.ts'
import type { HeadersInput } from './header-map.ts'
import { Host } from './host.ts'
import type { Incoming, ServerContext } from './incoming.ts'
import type { Listener } from './info.ts'
import type { Method } from './method.ts'
import type { Place } from './program.ts'
import type { Key, ValueOf } from './state.ts'
import { Swansong } from './swansong.ts'
import { OpenResponse, TestResponse } from './test-response.ts'
import type { TestError } from './test-response.ts'

export { OpenResponse, TestResponse } from './test-response.ts'
export type { TestError, TestResponseHead } from './test-response.ts'

/** The server that the app believes to be on. */
export interface TestAppOptions {
  /** The server's swansong. Default: a new one. */
  swansong?: Swansong
  /** What `info.listeners` says. Default: none. */
  listeners?: readonly Listener[]
  /** What `info.url` says. Default: undefined. */
  url?: string
  /** The longest request body, in bytes. Default 1 MiB. */
  maxBodyBytes?: number
}

/** What a request is made of, beyond its method and target. */
export interface TestRequest {
  /** Request headers. A `Host` and, with a body, a `Content-Length` are added where they are missing. */
  headers?: HeadersInput
  /** The request body. An async iterable is sent chunked. */
  body?: string | Uint8Array | AsyncIterable<Uint8Array>
  /** The request body as a value: sent as JSON, with its content type. */
  json?: unknown
  /** What is sent after the body, which is chunked then. Default: nothing. */
  trailers?: HeadersInput
  /** Default `127.0.0.1`. */
  peerIp?: string
  /** Default: as the listener is; false without one. */
  isSecure?: boolean
  /** What the request comes in on. Default: the first of the app's `listeners`. */
  listener?: Listener
  /** Default `1.1`. */
  httpVersion?: string
  /** The client leaves when it aborts. Default: it stays to the end. */
  signal?: AbortSignal
}

/** A request whose response is watched as it comes. */
export interface TestOpenRequest extends TestRequest {
  /** Default `GET`. */
  method?: Method
}

/** A request that is not over yet. */
export interface OpenRequest {
  readonly method: string
  /** The whole path, without the query. */
  readonly path: string
  /** When it was sent, in milliseconds on the clock of `performance.now()`. */
  readonly startTime: number
  /** Whether its response is an endless body that flows, as an event stream is. */
  readonly isStream: boolean
}

/** Wraps an app for tests.
 *
 * ```ts
 * import assert from 'node:assert/strict'
 * import { testApp } from '@wakerobin/core/testing'
 *
 * const app = testApp((conn) => conn.ok(`hello, ${conn.query.get('name')}`))
 * const response = await app.get('/?name=Fern')
 * assert.equal(response.status, 200)
 * assert.equal(response.body, 'hello, Fern')
 * ``` */
export const testApp: AppFunction<TestAppOptions, TestApp> = (
  app: unknown,
  options: TestAppOptions = {},
) => new TestApp(app, options)

/** An app under test: made by `testApp`. */
export class TestApp {
  readonly swansong: Swansong
  /** Errors that handlers did not catch, in the order in which they happened. */
  readonly errors: TestError[] = []
  readonly #host: Host
  readonly #open = new Set<Exchange>()
  /** The first error of a request, which explains its response. */
  readonly #failures = new WeakMap<Conn, TestError>()
  readonly #onIdle: (() => void)[] = []

  /** Use `testApp(app)`, which also checks the tuple. */
  constructor(app: unknown, options: TestAppOptions) {
    this.swansong = options.swansong ?? new Swansong()
    const { swansong } = this
    this.#host = new Host(app, {
      swansong,
      maxBodyBytes: options.maxBodyBytes ?? 1024 * 1024,
      listeners: options.listeners ?? [],
      url: options.url,
      onError: (error, { conn, place }) => this.#report(conn, error, place),
    })
    // After the callbacks of the app's own onStop: what they publish still reaches the streams.
    swansong.onStop(() => queueMicrotask(() => this.stopping()))
  }

  /** The stop has begun: ends endless streams, as a server does. For subclasses, which may have more to do. */
  stopping(): void {
    this.stopStreams()
  }

  /** Ends endless streams. */
  stopStreams(): void {
    for (const exchange of this.#open) exchange.body?.stop()
  }

  /** Runs every `init`, once. Requests do it by themselves. */
  init(): Promise<void> {
    return this.#host.init()
  }

  get(target: string, request?: TestRequest): Promise<TestResponse> {
    return this.request('GET', target, request)
  }

  post(target: string, request?: TestRequest): Promise<TestResponse> {
    return this.request('POST', target, request)
  }

  put(target: string, request?: TestRequest): Promise<TestResponse> {
    return this.request('PUT', target, request)
  }

  patch(target: string, request?: TestRequest): Promise<TestResponse> {
    return this.request('PATCH', target, request)
  }

  delete(target: string, request?: TestRequest): Promise<TestResponse> {
    return this.request('DELETE', target, request)
  }

  head(target: string, request?: TestRequest): Promise<TestResponse> {
    return this.request('HEAD', target, request)
  }

  /** Sends a request and waits for the whole response. An endless stream ends with `shutDown()`.
   *
   * When `request.signal` aborts, the client leaves, and the app sees of it what it sees on a server.
   * @returns The response. Where its body was flowing when the client left, what had come until then.
   * @throws The reason of `request.signal`, where the client left before it was answered; the handlers
   * go on. What an `init` throws. */
  request(method: Method, target: string, request: TestRequest = {}): Promise<TestResponse> {
    return new Promise((resolve, reject) => {
      const { signal } = request
      const incoming = new TestIncoming(
        method,
        target,
        request,
        this.#host.context,
        this.#host.listeners[0],
      )
      if (signal?.aborted === true) {
        incoming.leave()
        reject(signal.reason)
        return
      }
      const exchange = new Exchange(incoming, request, resolve, reject)
      this.#open.add(exchange)
      void this.#run(exchange)
    })
  }

  /** Sends a request, and does not wait for the end of its response: for streams, and for clients that stall or
   * leave. A response in memory is whole by then.
   * @returns The response, as soon as its head is out.
   * @throws As `request`. */
  open(
    target: string,
    { method = 'GET', ...request }: TestOpenRequest = {},
  ): Promise<OpenResponse> {
    const client = new AbortController()
    const signals = request.signal === undefined ? [] : [request.signal]
    const signal = AbortSignal.any([...signals, client.signal])
    return new Promise((resolve, reject) => {
      const opening: OpeningRequest = {
        ...request,
        signal,
        [onHead]: ({ conn, response, body }) => {
          const leave = (): void => client.abort()
          const failure = this.#failures.get(conn)
          const { endedUnread } = body
          resolve(new OpenResponse(conn, response, { body, endedUnread, leave, ended }, failure))
        },
      }
      const ended = this.request(method, target, opening)
      ended.catch(reject) // which it does before the head is out, or not at all
    })
  }

  /** What an `init` has put into the shared state. */
  sharedState<K extends Key>(key: K): ValueOf<K> | undefined {
    return this.#host.context.sharedState.get(key) as ValueOf<K> | undefined
  }

  /** The requests that are not over, as they are now, oldest first.
   *
   * One is over when its handlers are done, its body has ended and its `afterSend` has run: one whose
   * client has left is here for as long as its handlers go on. */
  get openRequests(): readonly OpenRequest[] {
    return Array.from(this.#open, ({ method, path, startTime, isStream }) => {
      return { method, path, startTime, isStream }
    })
  }

  /** Resolves when no request is open; at once when none is. */
  async idle(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
  }

  /** Begins the stop, as a server does: endless streams end. */
  shutDown(): Promise<void> {
    const completion = this.swansong.shutDown()
    this.stopping()
    return completion
  }

  async #run(exchange: Exchange): Promise<void> {
    try {
      await this.init()
      exchange.resolve(await this.#respond(exchange))
    } catch (error) {
      exchange.reject(error) // an init failed
    }
    exchange.forgetSignal()
    this.#open.delete(exchange)
    // After the response, so that those who wait for it are told first.
    if (this.#open.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve()
  }

  async #respond(exchange: Exchange): Promise<TestResponse> {
    const { conn } = exchange
    await this.#host.handle(conn)
    for (;;) {
      const response = this.#host.finalize(conn, this.#host.hasUpgrader(conn))
      const received = await this.#send(response, exchange)
      if (received !== undefined) {
        exchange.forgetSignal() // who leaves now has got all there was
        const failure = this.#failures.get(conn)
        settleConn(conn, !received.isCut, (error) => this.#report(conn, error, 'afterSend'))
        return new TestResponse(conn, response, received, failure)
      }
      conn.takeResponseBody() // it has ended by itself
      failConn(conn, 500)
    }
  }

  #report(conn: Conn, error: unknown, place: Place): void {
    const failure = { error, place }
    this.errors.push(failure)
    if (!this.#failures.has(conn)) this.#failures.set(conn, failure)
  }

  /** Returns undefined where the body has failed before the head was out. */
  #send(response: FinalResponse, exchange: Exchange): Promise<ReceivedBody | undefined> {
    const { conn } = exchange
    const source = isBodySource(response.body) ? response.body : new WholeBody(response.body)
    const body = new ClientBody(source, response.bodyLength, {
      onHead: () => exchange.onHead?.({ conn, response, body }),
      onError: (error) => this.#report(conn, error, 'the response body'),
    })
    exchange.body = body
    if (conn.isDisconnected) {
      body.leave()
    } else {
      const isStopping = this.swansong.state !== 'running' // a stop from now on finds it by itself
      body.start()
      if (body.isStream) packConn(conn)
      if (isStopping) body.stop()
    }
    return body.received
  }
}

/** A response whose head is out. */
interface Head {
  readonly conn: Conn
  readonly response: FinalResponse
  readonly body: ClientBody
}

/** What `open` adds to a request. A symbol, so that it is no option, and that whoever overrides `request` passes it
 * on with the rest. */
const onHead = Symbol('onHead')

interface OpeningRequest extends TestRequest {
  [onHead]?: (head: Head) => void
}

/** A body that may end while its client stalls. */
class ClientBody extends BodyCollector {
  /** Resolves when it does. */
  readonly endedUnread: Promise<void>
  #tellEnd!: () => void

  constructor(...args: ConstructorParameters<typeof BodyCollector>) {
    super(...args)
    this.endedUnread = new Promise((resolve) => {
      this.#tellEnd = resolve
    })
  }

  override end(): void {
    super.end()
    if (!this.isOver) this.#tellEnd()
  }
}

/** A body that is in memory. */
class WholeBody implements BodySource {
  readonly #body: string | Uint8Array | undefined

  constructor(body: string | Uint8Array | undefined) {
    this.#body = body
  }

  start(sink: BodySink): void {
    sink.write(typeof this.#body === 'string' ? encodeText(this.#body) : (this.#body ?? noBytes))
    sink.end()
  }

  drained(): void {}

  stop(): void {}

  closed(): void {}
}

const noBytes = new Uint8Array()

/** A request on its way to its response. */
class Exchange implements OpenRequest {
  readonly conn: Conn
  readonly method: string
  readonly path: string
  readonly startTime: number
  readonly resolve: (response: TestResponse) => void
  readonly reject: (reason: unknown) => void
  /** The body of the response, once it flows. */
  body: ClientBody | undefined
  /** Told when the head is out, by whom it concerns. */
  readonly onHead: ((head: Head) => void) | undefined
  readonly #incoming: TestIncoming
  readonly #signal: AbortSignal | undefined

  constructor(
    incoming: TestIncoming,
    request: OpeningRequest,
    resolve: (response: TestResponse) => void,
    reject: (reason: unknown) => void,
  ) {
    this.conn = new Conn(incoming)
    this.method = incoming.method
    this.path = this.conn.path // now: a handler may push another
    this.startTime = incoming.startTime
    this.resolve = resolve
    this.reject = reject
    this.onHead = request[onHead]
    this.#incoming = incoming
    this.#signal = request.signal
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get isStream(): boolean {
    return this.body?.isStream === true
  }

  forgetSignal(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => {
    if (this.body?.isOver === true) return
    this.#incoming.leave()
    if (this.body === undefined) this.reject(this.#signal!.reason)
    else this.body.leave(this.#signal!.reason instanceof DeadlineError ? 'stop' : 'client')
  }
}

/** What the signal of a request aborts with where not the client leaves, but the deadline of a stop cuts it. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError'

  constructor() {
    super('The deadline of the stop has passed')
  }
}

/** A request as its client sends it. */
class TestIncoming implements Incoming {
  readonly method: string
  readonly target: string
  rawHeaders: readonly string[]
  readonly httpVersion: string
  readonly peerIp: string
  readonly isSecure: boolean
  readonly listener: Listener | undefined
  readonly startTime: number = performance.now()
  readonly server: ServerContext
  isDisconnected = false
  readonly #onDisconnect: (() => void)[] = []
  readonly #bytes: Uint8Array | undefined
  readonly #trailers: readonly string[]
  #isReadToEnd = false
  /** The body where it comes in parts. */
  readonly #arriving: ArrivingBody

  constructor(
    method: Method,
    target: string,
    request: TestRequest,
    server: ServerContext,
    listener: Listener | undefined,
  ) {
    const headers = new HeaderMap(request.headers)
    let { body } = request
    if ('json' in request) {
      body = JSON.stringify(request.json)
      if (!headers.has('content-type')) headers.set('Content-Type', 'application/json')
    }
    if (!headers.has('host')) headers.set('Host', 'wakerobin.test')
    const bytes = typeof body === 'string' ? encodeText(body) : body
    const isFramed = headers.has('content-length') || headers.has('transfer-encoding')
    const { trailers } = request
    // Trailers belong to chunked bodies: RFC 9112 §7.1.2.
    if (trailers !== undefined && !isFramed) headers.set('Transfer-Encoding', 'chunked')
    else if (bytes instanceof Uint8Array && !isFramed) headers.set('Content-Length', bytes.length)
    else if (bytes !== undefined && !isFramed) headers.set('Transfer-Encoding', 'chunked')
    this.#trailers = new HeaderMap(trailers).toRawHeaders()
    this.method = method
    this.target = target
    this.rawHeaders = headers.toRawHeaders()
    this.httpVersion = request.httpVersion ?? '1.1'
    this.peerIp = request.peerIp ?? '127.0.0.1'
    this.listener = request.listener ?? listener
    this.isSecure = request.isSecure ?? this.listener?.isSecure ?? false
    this.server = server
    const isWhole = bytes instanceof Uint8Array
    this.#bytes = isWhole ? bytes : undefined
    this.#arriving = new ArrivingBody(isWhole ? undefined : bytes)
  }

  /** As on a server: what is read from now on has been packed and unpacked. */
  pack(): void {
    this.rawHeaders = this.rawHeaders.join('\n').split('\n')
  }

  onDisconnect(callback: () => void): void {
    this.#onDisconnect.push(callback)
  }

  async *openBody(): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#bytes !== undefined) yield this.#bytes // all of it is here, even if the client is not
    else yield* this.#arriving.read()
    this.#isReadToEnd = true
  }

  get rawTrailers(): readonly string[] | undefined {
    return this.#isReadToEnd ? this.#trailers : undefined
  }

  /** The client leaves. A body that was not in parts has arrived, and can still be read. */
  leave(): void {
    this.isDisconnected = true
    for (const callback of this.#onDisconnect.splice(0)) callback()
    this.#arriving.leave()
  }
}
