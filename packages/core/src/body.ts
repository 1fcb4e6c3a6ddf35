/** Response bodies: what a handler may give, and how a body that is not in memory reaches the wire.
 *
 * A streaming body is a `BodySource` that pushes into a `BodySink`. The sink is the server's; it is
 * the one place that writes to a socket. Neither makes a promise or an iterator result per chunk. */

import { describe } from './describe.ts'

/** What can be a response body. Text is sent as UTF-8. */
export type Body =
  | string
  | Uint8Array
  | AsyncIterable<Uint8Array | string>
  | ReadableStream<Uint8Array | string>
  | BodySource

/** A body that is written as it comes.
 *
 * The sink and the source call each other, never from within a call of the other's: `drained`, `stop`
 * and `closed` come when `write` has returned. None of the source's methods may throw.
 *
 * A server calls `start` once, or, where no body may be sent (HEAD, 204, 304) or the response was
 * replaced, never. It calls `closed` at most once, and nothing after it. */
export interface BodySource {
  /** The length in bytes, where it is known: the response then has a Content-Length. */
  readonly length?: number
  /** Whether the body goes on until somebody stops it, as an event stream does.
   *
   * Default false. The client's half-close then means that it has left. */
  readonly isEndless?: boolean
  /** The body that this one passes on, where it is a wrapper: for those who look for a body of theirs. */
  readonly inner?: BodySource
  /** The head is on its way: write, now or later, and call `sink.end()` when done. */
  start(sink: BodySink): void
  /** There is room again after `write` returned false. */
  drained(): void
  /** The server stops: an endless source says its last words and ends; a finite one, and one that is to finish, goes
   * on. */
  stop(): void
  /** Nobody reads any more, or nobody ever will: let go of everything. Called also without `start`.
   * @param error What was wrong with it, where the cause is `failure`. */
  closed(cause: CloseCause, error?: unknown): void
}

/** Why nobody reads a body.
 *
 * `client`: the client has left. `stop`: the server stops and waits no longer. `failure`: what was written could not be
 * sent. `unsent`: it was never begun, as for HEAD, or because another body took its place. */
export type CloseCause = 'client' | 'stop' | 'failure' | 'unsent'

/** Where a `BodySource` writes to. */
export interface BodySink {
  /** Writes some bytes; none at all is allowed and does nothing.
   * @returns False when the reader is slower than the writer: write on after `drained()`. What was
   * given is kept in any case. */
  write(chunk: Chunk | Uint8Array): boolean
  /** The body is complete. */
  end(): void
  /** The body cannot be completed: the connection is cut, so that nobody takes it for whole, and
   * the error is reported. */
  abort(error: unknown): void
  /** Cuts the connection as `abort` does, where there is no error to report: a reader too slow. */
  cut(): void
}

/** Bytes for many sinks: what each framing adds is made once, for all of them. */
export class Chunk {
  #bytes: Uint8Array
  #framed: Uint8Array | undefined

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get bytes(): Uint8Array {
    return this.#bytes
  }

  /** The bytes as one chunk of HTTP/1.1 chunked coding (RFC 9112 §7.1).
   * @param native Turns the frame into what the platform writes best; called once per chunk. */
  framed(native: (bytes: Uint8Array) => Uint8Array): Uint8Array {
    if (this.#framed === undefined) {
      const { length } = this.#bytes
      const frame = frameOf(this.#bytes)
      this.#framed = native(frame)
      // One piece of memory for both.
      this.#bytes = frame.subarray(frame.length - 2 - length, frame.length - 2)
    }
    return this.#framed
  }
}

/** Whether `body` pushes by itself: it has the four methods, and cannot be iterated. */
export function isBodySource(body: unknown): body is BodySource {
  if (typeof body !== 'object' || body === null || Symbol.asyncIterator in body) return false
  const { start, drained, stop, closed } = body as Partial<BodySource>
  return [start, drained, stop, closed].every((method) => typeof method === 'function')
}

/** Returns `body` where it can be one.
 * @throws {TypeError} When it cannot. */
export function checkBody(body: unknown): Body {
  if (typeof body === 'string' || body instanceof Uint8Array) return body
  if (typeof body === 'object' && body !== null) {
    if (Symbol.asyncIterator in body || isBodySource(body) || body instanceof ReadableStream)
      return body as Body
  }
  throw new TypeError(
    `Cannot use ${describe(body)} as a response body: it must be a string, a Uint8Array, a ReadableStream, an async iterable or a BodySource`,
  )
}

const encoder = new TextEncoder()

/** Text as UTF-8. */
export function encodeText(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Several runs of bytes as one. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function frameOf(bytes: Uint8Array): Uint8Array {
  const size = bytes.length.toString(16)
  const framed = new Uint8Array(size.length + 2 + bytes.length + 2)
  encoder.encodeInto(`${size}\r\n`, framed)
  framed.set(bytes, size.length + 2)
  framed.set(crlf, framed.length - 2)
  return framed
}

const crlf = encoder.encode('\r\n')
