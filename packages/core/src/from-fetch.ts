/** `fromFetch(app)`: an app that speaks fetch, as a handler. */

import { encodeText } from './body.ts'
import { checkNames } from './check-names.ts'
import type { Conn } from './conn.ts'
import { describe } from './describe.ts'
import { clientErrorStatus } from './errors.ts'
import type { HandlerObject } from './handler.ts'
import { HeaderMap } from './header-map.ts'
import { lazyStream } from './lazy-stream.ts'
import { toBodySource } from './pull-source.ts'
import type { RequestBody } from './request-body.ts'

/** A function that answers a `Request`, or returns nothing where the request is not for it. Its second argument is the
 * conn, with its state: `c.env` in Hono. */
export type FetchHandler<In = never> = (
  request: Request,
  conn: Conn<In>,
) => FetchResult | Promise<FetchResult>

type FetchResult = Response | null | undefined | void

/** How an app is mounted. */
export interface FromFetchOptions {
  /** Whether a response is none, so that the handlers after this one get the conn as it was:
   * `({ status }) => status === 404`. Default: every response is the answer. */
  passOn?: (response: Response) => boolean | Promise<boolean>
  /** Whether the app sees the whole path of the request where a router has matched the beginning of it. Default false:
   * it sees `conn.path`, which is the rest. */
  fullPath?: boolean
}

/** Mounts an app that speaks fetch (Hono, h3, any function from `Request` to `Response`) as a handler.
 *
 * ```ts
 * import assert from 'node:assert/strict'
 * import { fromFetch } from '@wakerobin/core/fetch'
 * import { testApp } from '@wakerobin/core/testing'
 *
 * const legacy = (request: Request) =>
 *   new URL(request.url).pathname === '/old' ? new Response('still here') : undefined
 *
 * const app = testApp([fromFetch(legacy), 'new'])
 * assert.equal((await app.get('/old')).body, 'still here')
 * assert.equal((await app.get('/')).body, 'new')
 * ```
 *
 * The request has an absolute URL of `isSecure`, `conn.host` and `conn.path`, the headers, the body as it arrives, and
 * `conn.signal`. It halts with the response: its headers replace those of the same name, apart from `Set-Cookie` and
 * `Vary`, which are added; its body is read as the client reads, and cancelled when the client leaves. An event stream
 * ends when the server stops, any other body goes on to its end.
 *
 * A request that a `Request` cannot be (CONNECT, TRACE, the target `*`) is passed on; one with a `Host` that is none
 * is a 400, and so is a path with a segment `.` or `..`, escaped or not: a URL would resolve it, and the app see another
 * path than the handlers before it. What the app throws is a 500, and reported; what was wrong with the client's body is a 413 or a 400, also where
 * the app makes a 5xx of it. Those errors have a `getResponse` with that status in the app, so that Hono does not log them.
 * @param app A function, or an object with a method `fetch`, such as a Hono.
 * @throws {TypeError} When `app` is neither, or an option cannot be used. */
export function fromFetch<In = never>(
  app: FetchHandler<In> | { readonly fetch: FetchHandler<In> },
  options: FromFetchOptions = {},
): HandlerObject<In> {
  const mounted = mountedOf(app, options)
  return { name: mounted.name, run: (conn) => run(conn, mounted) }
}

interface Mounted<In> extends FromFetchOptions {
  readonly name: string
  readonly fetch: FetchHandler<In>
}

function mountedOf<In>(
  app: FetchHandler<In> | { readonly fetch: FetchHandler<In> },
  options: FromFetchOptions,
): Mounted<In> {
  checkNames('Cannot mount an app with ', options, ['passOn', 'fullPath'])
  const { passOn, fullPath } = options
  if (passOn !== undefined && typeof passOn !== 'function')
    throw new TypeError(`Cannot pass on by ${describe(passOn)}: passOn must be a function`)
  if (fullPath !== undefined && typeof fullPath !== 'boolean') {
    throw new TypeError(
      `Cannot mount an app with fullPath ${describe(fullPath)}: it must be true or false`,
    )
  }
  if (typeof app === 'function') return { ...options, name: `fromFetch(${app.name})`, fetch: app }
  if (typeof app !== 'object' || app === null || typeof app.fetch !== 'function') {
    throw new TypeError(
      `Cannot mount ${describe(app)}: expected a function of a Request, or an object with a method fetch`,
    )
  }
  const { name } = app.constructor ?? {}
  return {
    ...options,
    name: `fromFetch(${name ?? ''})`,
    fetch: (request, conn) => app.fetch(request, conn),
  }
}

async function run<In>(conn: Conn<In>, mounted: Mounted<In>): Promise<Conn | void> {
  if (!isExpressible(conn)) return
  const body = new WatchedBody(conn.requestBody)
  const request = requestOf(conn, body, mounted.fullPath === true)
  if (request === undefined) return conn.withStatus(400).halt()
  const response = await called(mounted, request, conn, body)
  if (response === undefined || response === null) return
  if (!isResponse(response)) {
    throw new TypeError(
      `Expected ${mounted.name} to return a Response, or nothing to pass on, got ${describe(response)}`,
    )
  }
  if (response.status >= 500 && isOfClient(body.error)) {
    discard(response)
    throw body.error
  }
  if (mounted.passOn !== undefined && (await mounted.passOn(response))) {
    discard(response)
    return
  }
  if (response.bodyUsed || response.body?.locked === true) {
    throw new TypeError(
      `Expected ${mounted.name} to return a Response whose body nobody has read, got one that is read: return a clone`,
    )
  }
  return answer(conn, response)
}

async function called<In>(
  { fetch }: Mounted<In>,
  request: Request,
  conn: Conn<In>,
  body: WatchedBody,
): Promise<FetchResult> {
  try {
    return await fetch(request, conn)
  } catch (error) {
    throw isOfClient(body.error) ? body.error : error
  }
}

function isOfClient(error: unknown): boolean {
  return clientErrorStatus(error) !== undefined
}

// ------------------------------------------------------------------------------------- the request

/** Whether there is a `Request` for it: not with these methods (WHATWG Fetch, #forbidden-method), nor without a path. */
function isExpressible({ method, path }: Conn): boolean {
  return method !== 'CONNECT' && method !== 'TRACE' && path !== '*'
}

/** Undefined where the client has sent what cannot be one. */
function requestOf(conn: Conn, body: WatchedBody, isFullPath: boolean): Request | undefined {
  const host = hostOf(conn)
  const target = targetOf(conn, isFullPath)
  if (host === undefined || dotSegment.test(target)) return undefined
  const { method, signal } = conn
  const hasBody = method !== 'GET' && method !== 'HEAD' && conn.requestBody.contentLength !== 0
  const init: RequestInit & { duplex: 'half' } = { method, signal, duplex: 'half' }
  if (hasBody) init.body = lazyStream(body) as ReadableStream<Uint8Array<ArrayBuffer>>
  try {
    init.headers = headersOf(conn)
    const scheme = conn.isSecure ? 'https' : 'http'
    return new Request(`${scheme}://${host}${target}`, init)
  } catch {
    return undefined
  }
}

/** What a URL resolves, wherever it stands in a path: WHATWG URL, #double-dot-path-segment. */
const dotSegment = /^[^?]*\/(?:\.|%2e){1,2}(?:[/?]|$)/i

/** The host for the URL: `localhost` for a client that names none, as HTTP/1.0 allows; undefined where it is broken. */
function hostOf({ host = 'localhost', requestHeaders }: Conn): string | undefined {
  // RFC 9112 §3.2: one line, and nothing in it that would be another part of the URL.
  return requestHeaders.getAll('host').length <= 1 && validHost.test(host) ? host : undefined
}

const validHost = /^(?:\[[\da-f:.]+\]|[\w.~%!$&'()*+,;=-]+)(?::\d*)?$/i

function targetOf(conn: Conn, isFullPath: boolean): string {
  const { path, querystring, pathAndQuery } = conn
  const inner = querystring === '' ? path : `${path}?${querystring}`
  const target = isFullPath ? pathAndQuery : inner
  // As bytes, as they came: a URL would take them for characters, and a # for the end.
  const escaped = target.replace(/[^!-~]|[#\\]/gu, percentEncoded)
  return escaped.startsWith('/') ? escaped : `/${escaped}`
}

function percentEncoded(char: string): string {
  const code = char.codePointAt(0)!
  const bytes = code > 0xff ? encodeText(char) : [code]
  return Array.from(bytes, (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(
    '',
  )
}

function headersOf({ requestHeaders }: Conn): Headers {
  const headers = new Headers()
  const lines = requestHeaders.toRawHeaders()
  for (let at = 0; at < lines.length; at += 2) {
    const name = lines[at]!
    const value = lines[at + 1]!
    if (name.startsWith(':')) continue // HTTP/2's own: RFC 9113 §8.3
    // HTTP/2 may have them on many lines: RFC 9113 §8.2.3.
    const cookies = name.toLowerCase() === 'cookie' ? headers.get(name) : null
    if (cookies === null) headers.append(name, value)
    else headers.set(name, `${cookies}; ${value}`)
  }
  return headers
}

/** A request body that remembers what was wrong with it: many apps make a 500 of it. */
class WatchedBody implements AsyncIterable<Uint8Array> {
  error: unknown
  readonly #body: RequestBody

  constructor(body: RequestBody) {
    this.#body = body
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const part of this.#body) yield part
    } catch (error) {
      this.error = error
      giveResponse(error)
      throw error
    }
  }
}

/** Hono answers an error that has a `getResponse` with that, as it does with its own `HTTPException`, and logs the stack
 * of any other. */
function giveResponse(error: unknown): void {
  const status = clientErrorStatus(error)
  if (status === undefined) return
  Reflect.defineProperty(error as Error, 'getResponse', {
    value: () => new Response(null, { status }),
    configurable: true,
  })
}

// ------------------------------------------------------------------------------------ the response

function answer(conn: Conn, response: Response): Conn {
  conn.withStatus(response.status)
  setHeaders(conn.responseHeaders, response)
  if (response.body !== null) {
    const isEndless = isEventStream(response)
    conn.withBody(isEndless ? toBodySource(response.body, { isEndless }) : response.body)
  } else {
    // The answer to a HEAD has the length of what a GET would get, which is not known.
    conn.withBody(conn.method === 'HEAD' ? toBodySource(lazyStream(nothing)) : '')
  }
  return conn.halt()
}

const nothing: AsyncIterable<Uint8Array> = {
  async *[Symbol.asyncIterator]() {},
}

function setHeaders(headers: HeaderMap, response: Response): void {
  const lines: string[] = []
  for (const [name, value] of response.headers) lines.push(name, value)
  const left = leftOut(response)
  const names = new Set<string>()
  // As text: what a Response has are bytes.
  for (const [name, value] of HeaderMap.fromRawHeaders(lines)) {
    if (left.has(name)) continue
    if (!names.has(name) && !added.has(name)) headers.delete(name)
    names.add(name)
    headers.append(name, value)
  }
}

/** What is not true of the response as it is sent. */
function leftOut({ headers, status, url }: Response): ReadonlySet<string> {
  const left = new Set(ofConnection)
  // RFC 9110 §7.6.1: those that it names are of the connection, too.
  for (const name of headers.get('connection')?.split(',') ?? [])
    left.add(name.trim().toLowerCase())
  if (status === 204 || status === 205) left.add('content-length')
  // It comes from fetch(), which has decoded its body.
  if (url !== '' && headers.has('content-encoding')) {
    left.add('content-encoding')
    left.add('content-length')
  }
  return left
}

/** Of the connection, which is the server's own: RFC 9110 §7.6.1. A `Response` has no trailers either. */
const ofConnection = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/** Those that handlers before have a share in. */
const added = new Set(['set-cookie', 'vary'])

/** A body that has no end of its own. */
function isEventStream({ headers }: Response): boolean {
  return /^\s*text\/event-stream\s*(;|$)/i.test(headers.get('content-type') ?? '')
}

/** By its parts: libraries bring a `Response` of their own. */
function isResponse(value: unknown): value is Response {
  return (
    typeof value === 'object' &&
    value !== null &&
    'status' in value &&
    'headers' in value &&
    'body' in value
  )
}

function discard({ body }: Response): void {
  body?.cancel().catch(() => {}) // it is locked: somebody reads it
}
