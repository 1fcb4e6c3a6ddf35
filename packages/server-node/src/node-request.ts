/** A request of node:http that is made for a conn. */

import { IncomingMessage } from 'node:http'

import type { Conn } from '@wakerobin/core'

import type { ResponseSocket } from './response-socket.ts'

/** What Express, and what parses targets for it, has on a request. */
interface Mounted extends IncomingMessage {
  /** The whole target, whatever `url` is. */
  originalUrl?: string
  /** What stands before `url` in it. */
  baseUrl?: string
}

/** The methods that it looks for on itself: Express gives its requests another prototype. */
interface Own {
  _read(): void
  _destroy(error: Error | null, done: (error?: Error | null) => void): void
}

export interface NodeRequest {
  readonly message: IncomingMessage
  /** What was wrong with the body, where its reading has failed. */
  readonly error: unknown
  /** Makes it say what the conn says now. What middleware has made of `url` stays, for as long as the conn's is the same. */
  follow(conn: Conn): void
  /** The response is over. */
  close(): void
}

/** Makes a request. Its body is that of the conn, with its limit, and is asked for when somebody reads.
 * @param onFailure Told when that fails, before the request is. */
export function requestFor(
  conn: Conn,
  socket: ResponseSocket,
  onFailure: (error: unknown) => void,
): NodeRequest {
  const message: Mounted = new IncomingMessage(socket)
  message.method = conn.method
  const [major, minor] = conn.httpVersion.split('.')
  message.httpVersion = conn.httpVersion
  message.httpVersionMajor = Number(major)
  message.httpVersionMinor = Number(minor)
  message.originalUrl = conn.pathAndQuery

  let body: AsyncIterator<Uint8Array> | undefined
  let isReading = false
  let isOver = false
  let failure: unknown
  const fail = (error: unknown): void => {
    isReading = false
    if (isOver) return
    failure = error
    onFailure(error)
    message.destroy(error as Error)
  }
  const take = ({ done, value }: IteratorResult<Uint8Array>): void => {
    isReading = false
    message.complete = done === true
    message.push(
      done === true ? null : Buffer.from(value.buffer, value.byteOffset, value.byteLength),
    )
  }
  const own: Own = {
    _read() {
      // oxlint-disable-next-line no-underscore-dangle -- node's own notes that somebody reads
      IncomingMessage.prototype._read.call(message, 0)
      if (isReading) return
      isReading = true
      body ??= conn.requestBody[Symbol.asyncIterator]()
      body.next().then(take, fail)
    },
    _destroy(error, done) {
      const isCut = !message.complete && !message.readableEnded
      if (isCut) {
        message.aborted = true
        message.emit('aborted')
      }
      // As node does: a client that is not heard to the end cannot be answered. Unless it is its body that cannot be read.
      if (isCut && failure === undefined && !isOver) socket.destroy(error ?? undefined)
      // Where it is read at this moment, it lets go when that has come.
      body?.return?.().catch(() => {}) // told by the read
      done(message.listenerCount('error') > 0 ? error : null)
    },
  }
  Object.assign(message, own)
  if (conn.requestBody.contentLength === 0) {
    message.complete = true
    message.push(null)
  }

  let rawHeaders: readonly string[] = []
  let url: string | undefined
  return {
    message,
    get error() {
      return failure
    },
    follow(conn) {
      const raw = conn.requestHeaders.toRawHeaders()
      if (!isSame(raw, rawHeaders)) {
        rawHeaders = [...raw]
        setHeaders(message, rawHeaders)
      }
      const now = innerUrl(conn)
      if (now === url) return
      url = now
      message.url = now
      const whole = conn.pathAndQuery
      message.baseUrl = whole.endsWith(now) ? whole.slice(0, -now.length) : ''
    },
    close() {
      isOver = true
      message.destroy()
    },
  }
}

/** The target as the handler sees it: the path that a router has left, and the query. */
function innerUrl(conn: Conn): string {
  const { path, pathAndQuery } = conn
  const at = pathAndQuery.indexOf('?')
  return at === -1 ? path : path + pathAndQuery.slice(at)
}

/** Has node make `headers` and all the others of them. */
function setHeaders(message: IncomingMessage, rawHeaders: readonly string[]): void {
  const { complete } = message
  message.complete = false // what comes when it is complete are trailers
  message.headers = {}
  const inner = message as IncomingMessage & {
    _addHeaderLines(lines: readonly string[], count: number): void
  }
  // oxlint-disable-next-line no-underscore-dangle -- as its parser does; node alone knows which fields may be joined, and how
  inner._addHeaderLines([...rawHeaders], rawHeaders.length)
  message.complete = complete
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((item, at) => item === other[at])
}
