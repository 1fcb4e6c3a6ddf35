/** The body of a request: read once, as text, bytes, JSON, a form, a stream or as it arrives, up to a limit. */

import { concatBytes } from './body.ts'
import { describe } from './describe.ts'
import { BodyAbortedError, BodyTooLongError, MalformedBodyError } from './errors.ts'
import type { HeaderMap } from './header-map.ts'
import type { Incoming } from './incoming.ts'
import { lazyStream } from './lazy-stream.ts'
import { parseJson } from './parse-json.ts'

/** The body of a request. Nothing is read until it is asked for.
 *
 * It can be read once: a second read throws a TypeError. Every way of reading throws
 * `BodyTooLongError` as soon as the limit is passed, before reading where the request says its length. */
export class RequestBody implements AsyncIterable<Uint8Array> {
  readonly #incoming: Incoming
  readonly #headers: HeaderMap
  #limitBytes: number
  #isRead = false

  constructor(incoming: Incoming, headers: HeaderMap) {
    this.#incoming = incoming
    this.#headers = headers
    this.#limitBytes = incoming.server.maxBodyBytes
  }

  /** The length that the request declares, in bytes: 0 without a body, undefined where it declares none. */
  get contentLength(): number | undefined {
    if (this.#headers.has('transfer-encoding')) return undefined
    const value = this.#headers.getSingle('content-length')
    if (value !== undefined) return Number(value)
    return this.#incoming.hasUnsizedBody === true ? undefined : 0
  }

  /** Whether the body has been read, or begun to be. */
  get isRead(): boolean {
    return this.#isRead
  }

  /** Sets the limit for this body.
   * @param limitBytes The longest body to accept, in bytes; a body of just that length is fine.
   * `Infinity` for none. Default: the server's `maxBodyBytes`, 1 MiB unless set.
   * @throws {RangeError} When it is no number from 0. */
  withLimit(limitBytes: number): this {
    if (!(typeof limitBytes === 'number' && limitBytes >= 0)) {
      throw new RangeError(
        `Cannot limit the request body to ${describe(limitBytes)} bytes: the limit must be a number from 0`,
      )
    }
    this.#limitBytes = limitBytes
    return this
  }

  /** Reads the whole body. */
  async bytes(): Promise<Uint8Array> {
    return this.#whole()
  }

  /** Reads the whole body as text, in the charset that the request names, else UTF-8.
   *
   * What does not decode becomes U+FFFD; a byte order mark is dropped. An absent body is `''`. */
  async text(): Promise<string> {
    return this.#decode(await this.#whole())
  }

  /** Reads the whole body as JSON, which is always UTF-8 (RFC 8259 §8.1).
   *
   * The type is what you say it is: check what comes from strangers.
   * @throws {MalformedBodyError} When it is not JSON, or when an object in it has a key `__proto__`,
   * which would change the prototype of whatever the object is copied to. */
  async json<T = unknown>(): Promise<T> {
    const text = utf8.decode(await this.#whole())
    try {
      return parseJson(text) as T
    } catch (error) {
      throw new MalformedBodyError(
        `Cannot read the request body as JSON: ${(error as Error).message}`,
        { cause: error },
      )
    }
  }

  /** Reads the whole body as a form, `application/x-www-form-urlencoded` or `multipart/form-data`.
   * @throws {MalformedBodyError} When it is neither. */
  async formData(): Promise<FormData> {
    const contentType = this.#headers.getSingle('content-type') ?? ''
    const bytes = await this.bytes()
    try {
      // The platform's parser, reached through a Response, which is the way to it without a stream.
      return await new Response(bytes as Uint8Array<ArrayBuffer>, {
        headers: { 'content-type': contentType },
      }).formData()
    } catch (error) {
      throw new MalformedBodyError(
        `Cannot read the request body as a form: its content type is ${JSON.stringify(contentType)}`,
        { cause: error },
      )
    }
  }

  /** The body as a web stream, as it arrives. What a read throws is the error of the stream; who cancels it does
   * without the rest.
   *
   * Nothing is read before somebody reads the stream: until then the body can be read in any other way. */
  stream(): ReadableStream<Uint8Array> {
    return lazyStream(this)
  }

  /** Reads the body as it arrives. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#begin() === 0) return
    let length = 0
    for await (const chunk of this.#received()) {
      length += chunk.length
      if (length > this.#limitBytes) throw new BodyTooLongError(this.#limitBytes)
      yield chunk
    }
  }

  #whole(): Promise<Uint8Array> {
    const incoming = this.#incoming
    if (incoming.readBody === undefined) return this.#joined()
    const contentLength = this.#begin()
    if (contentLength === 0) return Promise.resolve(new Uint8Array())
    return incoming.readBody(this.#limitBytes, contentLength)
  }

  async #joined(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    for await (const chunk of this) chunks.push(chunk)
    return concatBytes(chunks)
  }

  /** Returns the length of what there is to read, where it is known. */
  #begin(): number | undefined {
    if (this.#isRead) {
      throw new TypeError(
        'Cannot read the request body: it has been read before; keep what the first read returned',
      )
    }
    this.#isRead = true
    const { contentLength } = this
    if ((contentLength ?? 0) > this.#limitBytes) throw new BodyTooLongError(this.#limitBytes)
    return contentLength
  }

  async *#received(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* this.#incoming.openBody()
    } catch (error) {
      throw new BodyAbortedError({ cause: error })
    }
  }

  #decode(bytes: Uint8Array): string {
    const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(
      this.#headers.getSingle('content-type') ?? '',
    )?.[1]
    if (charset === undefined) return utf8.decode(bytes)
    try {
      return new TextDecoder(charset).decode(bytes)
    } catch {
      return utf8.decode(bytes) // a label that names no encoding
    }
  }
}

const utf8 = new TextDecoder()
