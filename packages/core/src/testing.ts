/** `@wakerobin/core/testing`: an app under test, without sockets.
 *
 * Runs `init`, the handlers, every `beforeSend` and the same finalisation as a server. */

import type { AppFunction } from './app.ts'
import { concatBytes, encodeText } from './body.ts'
import type { BodySource, Chunk } from './body.ts'
import { Conn, failConn, settleConn } from './conn.ts'
import { finalize } from './finalize.ts'
import type { FinalResponse } from './finalize.ts'
import { HeaderMap } from './header-map.ts'
import type { HeadersInput } from './header-map.ts'
import type { Incoming, ServerContext } from './incoming.ts'
import { closeInfo, Info } from './info.ts'
import type { Listener } from './info.ts'
import type { Method } from './method.ts'
import { compile } from './program.ts'
import type { Place, Program } from './program.ts'
import { StateMap } from './state.ts'
import type { Key, ValueOf } from './state.ts'
import { Swansong } from './swansong.ts'

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
  /** Default `127.0.0.1`. */
  peerIp?: string
  /** Default false. */
  isSecure?: boolean
  /** Default `1.1`. */
  httpVersion?: string
}

/** An error that the app did not catch, and the place where it happened. */
export interface TestError {
  readonly error: unknown
  readonly place: Place
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
  readonly #program: Program
  readonly #context: ServerContext
  readonly #info: Info
  readonly #streams = new Set<BodySource>()
  #ready: Promise<void> | undefined

  /** Use `testApp(app)`, which also checks the tuple. */
  constructor(app: unknown, options: TestAppOptions) {
    this.swansong = options.swansong ?? new Swansong()
    this.#program = compile(app, 'app', (error, { place }) => this.errors.push({ error, place }))
    const shared = new StateMap()
    const { swansong } = this
    this.#context = {
      swansong,
      sharedState: shared,
      maxBodyBytes: options.maxBodyBytes ?? 1024 * 1024,
    }
    this.#info = new Info({
      listeners: options.listeners ?? [],
      url: options.url,
      swansong,
      shared,
    })
    swansong.onStop(() => {
      for (const stream of this.#streams) stream.stop()
    })
  }

  /** Runs every `init`, once. Requests do it by themselves. */
  init(): Promise<void> {
    this.#ready ??= this.#program.init(this.#info).then(() => closeInfo(this.#info))
    return this.#ready
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

  /** Sends a request and waits for the whole response. An endless stream ends with `shutDown()`. */
  async request(method: Method, target: string, request: TestRequest = {}): Promise<TestResponse> {
    await this.init()
    const conn = await this.#program.handle(
      new Conn(incoming(method, target, request, this.#context)),
    )
    const response = this.#finalize(conn)
    const received = await this.#receive(response, conn)
    settleConn(conn, !received.isCut, (error) => this.errors.push({ error, place: 'afterSend' }))
    return new TestResponse(conn, response, received)
  }

  /** Begins the stop, as a server does: endless streams end. */
  shutDown(): Promise<void> {
    return this.swansong.shutDown()
  }

  #finalize(conn: Conn): FinalResponse {
    try {
      return finalize(conn, byteLength)
    } catch (error) {
      this.errors.push({ error, place: 'the response' })
      failConn(conn, 500)
      return finalize(conn, byteLength)
    }
  }

  async #receive({ body, bodyLength }: FinalResponse, conn: Conn): Promise<ReceivedBody> {
    if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) {
      const bytes =
        body === undefined ? new Uint8Array() : typeof body === 'string' ? encodeText(body) : body
      return { bytes, isCut: false }
    }
    this.#streams.add(body)
    try {
      const received = collect(body)
      if (conn.swansong.state !== 'running') body.stop()
      const { bytes, end } = await received
      const error = typeof end === 'object' ? end.cause : lengthError(bytes.length, bodyLength)
      if (error !== undefined) this.errors.push({ error, place: 'the response body' })
      return { bytes, isCut: end !== 'done' || error !== undefined }
    } finally {
      this.#streams.delete(body)
    }
  }
}

interface ReceivedBody {
  readonly bytes: Uint8Array
  readonly isCut: boolean
}

/** A response, whole. */
export class TestResponse {
  readonly status: number
  readonly headers: HeaderMap
  readonly bytes: Uint8Array
  /** Whether the body broke off, because its source failed. */
  readonly isCut: boolean
  /** The conn as it was when everything was done. */
  readonly conn: Conn

  constructor(conn: Conn, response: FinalResponse, received: ReceivedBody) {
    this.conn = conn
    this.status = response.status
    this.headers = HeaderMap.fromRawHeaders(response.rawHeaders)
    if (response.contentLength !== undefined)
      this.headers.set('Content-Length', response.contentLength)
    this.bytes = received.bytes
    this.isCut = received.isCut
  }

  /** The body as text. */
  get body(): string {
    return new TextDecoder().decode(this.bytes)
  }

  /** The body as JSON. */
  json<T = unknown>(): T {
    return JSON.parse(this.body)
  }

  /** What the conn held in the end. */
  state<K extends Key>(key: K): ValueOf<K> | undefined {
    return this.conn.state(key) as ValueOf<K> | undefined
  }
}

function incoming(
  method: Method,
  target: string,
  request: TestRequest,
  server: ServerContext,
): Incoming {
  const headers = new HeaderMap(request.headers)
  let { body } = request
  if ('json' in request) {
    body = JSON.stringify(request.json)
    if (!headers.has('content-type')) headers.set('Content-Type', 'application/json')
  }
  if (!headers.has('host')) headers.set('Host', 'wakerobin.test')
  const bytes = typeof body === 'string' ? encodeText(body) : body
  const isFramed = headers.has('content-length') || headers.has('transfer-encoding')
  if (bytes instanceof Uint8Array && !isFramed) headers.set('Content-Length', bytes.length)
  else if (bytes !== undefined && !isFramed) headers.set('Transfer-Encoding', 'chunked')
  return {
    method,
    target,
    rawHeaders: headers.toRawHeaders(),
    httpVersion: request.httpVersion ?? '1.1',
    peerIp: request.peerIp ?? '127.0.0.1',
    isSecure: request.isSecure ?? false,
    startTime: performance.now(),
    server,
    isDisconnected: false,
    onDisconnect() {},
    async *openBody() {
      if (bytes instanceof Uint8Array) yield bytes
      else if (bytes !== undefined) yield* bytes
    },
  }
}

function byteLength(text: string): number {
  return encodeText(text).length
}

/** A body that is not what it promised to be, which a server cuts. */
function lengthError(length: number, promised: number | undefined): RangeError | undefined {
  if (promised === undefined || promised === length) return undefined
  return new RangeError(`Cannot send a body of ${length} bytes: its length promised ${promised}`)
}

type BodyEnd = 'done' | 'cut' | { readonly cause: unknown }

/** Reads a source to its end, or to its failure. */
function collect(source: BodySource): Promise<{ bytes: Uint8Array; end: BodyEnd }> {
  const parts: Uint8Array[] = []
  let room = bytesPerTurn
  return new Promise((resolve) => {
    const settle = (end: BodyEnd): void => resolve({ bytes: concatBytes(parts), end })
    source.start({
      write(chunk: Chunk | Uint8Array): boolean {
        const bytes = chunk instanceof Uint8Array ? chunk : chunk.bytes
        parts.push(bytes)
        room -= bytes.length
        if (room > 0) return true
        // A source that always has more must leave a turn to the test, which may want to stop it.
        room = bytesPerTurn
        setTimeout(() => source.drained(), 0)
        return false
      },
      end: () => settle('done'),
      abort: (cause) => settle({ cause }),
      cut: () => settle('cut'),
    })
  })
}

const bytesPerTurn = 1024 * 1024
