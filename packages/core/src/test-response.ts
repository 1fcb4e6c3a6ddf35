/** What the client of an app under test gets: a response that is whole, or one that is on its way. */

import { AssertionError } from './assertion-error.ts'
import type { BodyCollector, ReceivedBody } from './body-collector.ts'
import type { Conn } from './conn.ts'
import { describe } from './describe.ts'
import type { FinalResponse } from './finalize.ts'
import { HeaderMap } from './header-map.ts'
import type { HeaderValue } from './header-map.ts'
import type { Place } from './program.ts'
import type { Key, ValueOf } from './state.ts'

/** An error that the app did not catch, and the place where it happened. */
export interface TestError {
  readonly error: unknown
  readonly place: Place
}

/** The status and the headers of a response, and what can be asserted of them.
 *
 * Assertions return the response, for chaining; they throw an `AssertionError` that says what came instead, and why,
 * where a handler has failed. */
export abstract class TestResponseHead {
  readonly status: number
  readonly headers: HeaderMap
  /** The conn: in the end, as it was when everything was done. */
  readonly conn: Conn
  readonly #failure: TestError | undefined

  /** @param failure What may have made the response what it is. */
  constructor(conn: Conn, response: FinalResponse, failure: TestError | undefined) {
    this.conn = conn
    this.status = response.status
    this.headers = HeaderMap.fromRawHeaders(response.rawHeaders)
    if (response.contentLength !== undefined)
      this.headers.set('Content-Length', response.contentLength)
    this.#failure = failure
  }

  /** What has come of the body. */
  abstract readonly bytes: Uint8Array

  /** `bytes` as text. */
  get body(): string {
    return new TextDecoder().decode(this.bytes)
  }

  /** What the conn holds. */
  state<K extends Key>(key: K): ValueOf<K> | undefined {
    return this.conn.state(key) as ValueOf<K> | undefined
  }

  /** Asserts that the status is 200. */
  assertOk(): this {
    return this.#assertStatus(200, this.assertOk)
  }

  /** Asserts that the status is this one. */
  assertStatus(status: number): this {
    return this.#assertStatus(status, this.assertStatus)
  }

  /** Asserts that a header has this value; an array is one value per line. */
  assertHeader(name: string, value: HeaderValue): this {
    const expected = typeof value === 'object' ? value.map(String) : String(value)
    const actual = typeof value === 'object' ? this.headers.getAll(name) : this.headers.get(name)
    if (canonical(actual) === canonical(expected)) return this
    const got = this.headers.has(name) ? shown(actual) : 'none'
    return this.fail(`the header ${name} ${shown(expected)}`, got, {
      assertion: this.assertHeader,
      actual,
      expected,
    })
  }

  /** Asserts that a header is not there. */
  assertNoHeader(name: string): this {
    const actual = this.headers.get(name)
    if (actual === undefined) return this
    return this.fail(`no header ${name}`, shown(actual), {
      assertion: this.assertNoHeader,
      actual,
      expected: undefined,
    })
  }

  #assertStatus(expected: number, assertion: (...args: never[]) => unknown): this {
    const { status: actual, body } = this
    if (actual === expected) return this
    const got = body === '' ? `${actual}` : `${actual} with the body ${describe(body)}`
    return this.fail(`status ${expected}`, got, { assertion, actual, expected })
  }

  /** For assertions.
   * @throws {AssertionError} Always. */
  protected fail(
    expectation: string,
    got: string,
    failure: { assertion: (...args: never[]) => unknown; actual: unknown; expected: unknown },
  ): never {
    const { method, pathAndQuery } = this.conn
    const cause = this.#failure
    const because = cause === undefined ? '' : `: ${cause.place} has failed: ${String(cause.error)}`
    const message = `Expected ${method} ${pathAndQuery} to answer with ${expectation}, but got ${got}${because}`
    throw new AssertionError(message, { ...failure, cause: cause?.error })
  }
}

/** A response, whole. */
export class TestResponse extends TestResponseHead {
  readonly bytes: Uint8Array
  /** Whether the body broke off: its source failed, or the client left. */
  readonly isCut: boolean

  constructor(
    conn: Conn,
    response: FinalResponse,
    received: ReceivedBody,
    failure: TestError | undefined,
  ) {
    super(conn, response, failure)
    this.bytes = received.bytes
    this.isCut = received.isCut
  }

  /** The body as JSON. */
  json<T = unknown>(): T {
    return JSON.parse(this.body)
  }

  /** Asserts that the body is this text. */
  assertBody(expected: string): this {
    const { body } = this
    if (body === expected) return this
    return this.#failBody(`the body ${describe(expected)}`, this.assertBody, expected)
  }

  /** Asserts that the body has this text in it. */
  assertBodyIncludes(expected: string): this {
    if (this.body.includes(expected)) return this
    const expectation = `a body that has ${describe(expected)} in it`
    return this.#failBody(expectation, this.assertBodyIncludes, expected)
  }

  /** Asserts that the body is what this value is as JSON, whatever the order of its keys. */
  assertJson(value: unknown): this {
    const expected = canonical(value)
    const actual = this.#canonicalBody()
    if (actual === undefined)
      return this.#failBody(`the JSON ${shown(value)}`, this.assertJson, value)
    if (actual === expected) return this
    return this.fail(`the JSON ${shown(value)}`, `${short(actual)}${this.#cut()}`, {
      assertion: this.assertJson,
      actual: JSON.parse(actual),
      expected: expected === undefined ? undefined : JSON.parse(expected),
    })
  }

  /** Undefined where the body is no JSON. */
  #canonicalBody(): string | undefined {
    try {
      return canonical(this.json())
    } catch {
      return undefined // the assertion says so
    }
  }

  #failBody(
    expectation: string,
    assertion: (...args: never[]) => unknown,
    expected: unknown,
  ): never {
    const { body: actual } = this
    return this.fail(expectation, `the body ${describe(actual)}${this.#cut()}`, {
      assertion,
      actual,
      expected,
    })
  }

  #cut(): string {
    return this.isCut ? ', which broke off' : ''
  }
}

/** The exchange of an open response, from the side of its client. */
interface Client {
  readonly body: BodyCollector
  readonly endedUnread: Promise<void>
  readonly leave: () => void
  readonly ended: Promise<TestResponse>
}

/** A response that is on its way: its head is out, its body may go on.
 *
 * An async iterable of the bytes from the beginning, as they come, until there will be no more. */
export class OpenResponse extends TestResponseHead implements AsyncIterable<Uint8Array> {
  /** The whole response, when it is over. */
  readonly ended: Promise<TestResponse>
  /** Resolves when the body ends while the client stalls, and never where it does not: `ended` then waits until the
   * client reads on or leaves. */
  readonly endedUnread: Promise<void>
  readonly #client: Client

  constructor(conn: Conn, response: FinalResponse, client: Client, failure: TestError | undefined) {
    super(conn, response, failure)
    this.#client = client
    this.ended = client.ended
    this.endedUnread = client.endedUnread
  }

  get bytes(): Uint8Array {
    return this.#client.body.bytes
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, void, undefined> {
    return this.#client.body[Symbol.asyncIterator]()
  }

  /** The client stops reading: what is written from now on is kept for it, and the source is told to wait. */
  stall(): void {
    this.#client.body.stall()
  }

  /** The client reads on, what was kept for it first. */
  resume(): void {
    this.#client.body.resume()
  }

  /** The client leaves. Where the response was complete before, nothing happens. */
  leave(): void {
    this.#client.leave()
  }
}

/** JSON with its keys in order; undefined for what has no JSON. */
function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    return Object.fromEntries(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))
  })
}

function shown(value: unknown): string {
  return short(JSON.stringify(value) ?? describe(value))
}

function short(text: string): string {
  return text.length > 200 ? `${text.slice(0, 197)}...` : text
}
