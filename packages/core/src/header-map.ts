/** Header fields of a request or a response: case-insensitive, many values to a name, in order.
 *
 * Source: RFC 9110 §5 (fields), §5.5 (values), §5.6.2 (tokens). */

import { describe } from './describe.ts'

/** What a field may be set to. Numbers are written in decimal, an array gives one line per item. */
export type HeaderValue = string | number | readonly (string | number)[]

/** What a `HeaderMap` can be made from. A web `Headers` is an iterable of pairs. */
export type HeadersInput =
  | HeaderMap
  | Iterable<readonly [string, HeaderValue]>
  | Readonly<Record<string, HeaderValue>>

/** Header fields, with the method names of the web's `Headers`.
 *
 * Unlike the web's it keeps the order and the case in which fields were set, gives one entry per
 * line when iterated, and answers `undefined` where the web answers `null`.
 *
 * Names are checked to be tokens and values to be free of line breaks and control characters, so
 * that nothing can be injected. Values are written as UTF-8 and read as UTF-8 where they are. */
export class HeaderMap implements Iterable<[name: string, value: string]> {
  // Name, value, name, value, exactly as on the wire: what node gives and what it takes. Values are
  // byte strings (one char a byte), because that is what a field is. See toWire and fromWire.
  #lines: string[]
  // Whether #lines belongs to somebody else (node's rawHeaders) and must be copied before a change.
  #isBorrowed = false
  // Whether there are lines in it that nobody here has checked.
  #isUnchecked = false

  /** Makes a header map, empty or with the fields of `init`.
   * @throws {TypeError} When `init` holds no fields, or a name or a value is not valid in HTTP. */
  constructor(init?: HeadersInput) {
    this.#lines = []
    if (init !== undefined) this.appendAll(init)
  }

  /** Wraps `name, value, name, value…` as a server received it, without copying or checking it. */
  static fromRawHeaders(rawHeaders: readonly string[]): HeaderMap {
    const headers = new HeaderMap()
    headers.#lines = rawHeaders as string[]
    headers.#isBorrowed = true
    headers.#isUnchecked = true
    return headers
  }

  /** The fields as `name, value, name, value…`, as they go on the wire. Not a copy: do not change it. */
  toRawHeaders(): readonly string[] {
    return this.#lines
  }

  /** The value of a field, or undefined when it is absent.
   *
   * Several lines of one name are joined with `", "`, as RFC 9110 §5.3 allows. Where more than one
   * line would be an attack or a mistake (Host, Content-Length, Authorization), use `getSingle`. */
  get(name: string): string | undefined {
    const at = this.#find(name, 0)
    if (at === -1) return undefined
    if (this.#find(name, at + 2) === -1) return fromWire(this.#lines[at + 1]!)
    return this.getAll(name).join(', ')
  }

  /** The value of a field that stands on exactly one line; undefined when it is absent or repeated. */
  getSingle(name: string): string | undefined {
    const at = this.#find(name, 0)
    return at === -1 || this.#find(name, at + 2) !== -1 ? undefined : fromWire(this.#lines[at + 1]!)
  }

  /** The values of a field, one per line, in order. */
  getAll(name: string): string[] {
    const values: string[] = []
    for (let at = this.#find(name, 0); at !== -1; at = this.#find(name, at + 2)) {
      values.push(fromWire(this.#lines[at + 1]!))
    }
    return values
  }

  /** The values of `Set-Cookie`, which is never joined. */
  getSetCookie(): string[] {
    return this.getAll('set-cookie')
  }

  has(name: string): boolean {
    return this.#find(name, 0) !== -1
  }

  /** Whether it is what a server has received, and nothing was changed. */
  get isAsReceived(): boolean {
    return this.#isBorrowed
  }

  /** True when there is no field at all. */
  get isEmpty(): boolean {
    return this.#lines.length === 0
  }

  /** Sets a field, in place of every line it had. An empty array removes it.
   * @throws {TypeError} When the name is not a token, or a value holds a line break or a control
   * character. Nothing has changed then. */
  set(name: string, value: HeaderValue): this {
    const values = wireValues(name, value)
    const at = this.#find(name, 0)
    if (at === -1) return this.#push(name, values)
    if (typeof values === 'string' && this.#find(name, at + 2) === -1) {
      this.#own()
      this.#lines[at + 1] = values
      return this
    }
    this.delete(name)
    return this.#push(name, values)
  }

  /** Adds lines to a field and keeps those it has.
   * @throws {TypeError} As `set`. */
  append(name: string, value: HeaderValue): this {
    return this.#push(name, wireValues(name, value))
  }

  /** Appends every field of another map, a web `Headers`, an iterable of pairs or a record. */
  appendAll(fields: HeadersInput): this {
    if (fields instanceof HeaderMap) {
      // As they are: what was received may be no UTF-8, and stays what it is. It was not checked by us.
      if (fields.#isUnchecked) checkLines(fields.#lines)
      this.#own()
      this.#lines.push(...fields.#lines)
      return this
    }
    if (typeof fields !== 'object' || fields === null) throw noFields(fields)
    const entries = isIterable(fields) ? fields : Object.entries(fields)
    for (const entry of entries) {
      if (typeof entry !== 'object' || entry === null) throw noFields(fields)
      this.append(entry[0], entry[1])
    }
    return this
  }

  /** Removes a field. Returns whether it was there. */
  delete(name: string): boolean {
    if (this.#find(name, 0) === -1) return false
    const lower = name.toLowerCase()
    const kept: string[] = []
    for (let at = 0; at < this.#lines.length; at += 2) {
      if (this.#lines[at]!.toLowerCase() !== lower)
        kept.push(this.#lines[at]!, this.#lines[at + 1]!)
    }
    this.#lines = kept
    this.#isBorrowed = false
    return true
  }

  *entries(): IterableIterator<[name: string, value: string]> {
    const lines = this.#lines
    // What is appended meanwhile is left out: a map that is appended to itself would never end.
    for (let at = 0, end = lines.length; at < end; at += 2)
      yield [lines[at]!, fromWire(lines[at + 1]!)]
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.entries()) yield name
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.entries()) yield value
  }

  [Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    return this.entries()
  }

  /** A record of lower-case names, for logs: one value as a string, several as an array. */
  toJSON(): Record<string, string | string[]> {
    // No prototype: a field may well be called __proto__.
    const record: Record<string, string | string[]> = Object.create(null)
    for (const [name, value] of this) {
      const key = name.toLowerCase()
      const former = record[key]
      record[key] = former === undefined ? value : [former, value].flat()
    }
    return record
  }

  #find(name: string, from: number): number {
    const lines = this.#lines
    for (let at = from; at < lines.length; at += 2) {
      const candidate = lines[at]!
      if (candidate === name) return at
      if (candidate.length === name.length && candidate.toLowerCase() === name.toLowerCase())
        return at
    }
    return -1
  }

  #push(name: string, values: string | readonly string[]): this {
    // The first line as a literal: an array that grows from nothing makes room for seventeen.
    if (typeof values === 'string' && this.#lines.length === 0) {
      this.#lines = [name, values]
      this.#isBorrowed = false
      return this
    }
    this.#own()
    if (typeof values === 'string') this.#lines.push(name, values)
    else for (const value of values) this.#lines.push(name, value)
    return this
  }

  #own(): void {
    if (!this.#isBorrowed) return
    this.#lines = [...this.#lines]
    this.#isBorrowed = false
  }
}

function noFields(fields: unknown): TypeError {
  return new TypeError(
    `Cannot make header fields of ${describe(fields)}: expected an object of names and values, pairs of them, or a HeaderMap or Headers`,
  )
}

function isIterable(fields: HeadersInput): fields is Iterable<readonly [string, HeaderValue]> {
  return Symbol.iterator in fields
}

// RFC 9110 §5.6.2: token = 1*tchar
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// RFC 9110 §5.5: field-content is VCHAR, SP, HTAB and obs-text; everything else may not be written.
const plainValue = /^[\t\x20-\x7e]*$/
// oxlint-disable-next-line no-control-regex -- the control characters are the point
const forbiddenInValue = /[\x00-\x08\x0a-\x1f\x7f]/
// The same for one char a byte: what is no byte would become another one, perhaps a line break.
const forbiddenOnWire = /[^\t\x20-\x7e\x80-\xff]/

/** What goes on the wire: one value as it is, which is nearly always, an array as an array. */
function wireValues(name: string, value: HeaderValue): string | string[] {
  if (!isValidName(name)) throw invalidName(name)
  return Array.isArray(value) ? value.map((item) => toWire(name, item)) : toWire(name, value)
}

// Programs use few names: looking one up costs a third of matching it. Bounded, as names may be made up.
const validNames = new Set<string>()

function isValidName(name: string): boolean {
  if (validNames.has(name)) return true
  if (typeof name !== 'string' || !token.test(name)) return false
  if (validNames.size < 500) validNames.add(name)
  return true
}

/** Checks names and values that are as on the wire. */
function checkLines(lines: readonly string[]): void {
  for (let at = 0; at < lines.length; at += 2) {
    const name = lines[at]!
    if (!isValidName(name)) throw invalidName(name)
    const bad = forbiddenOnWire.exec(lines[at + 1]!)
    if (bad !== null) throw invalidValue(name, bad)
  }
}

function toWire(name: string, value: unknown): string {
  if (typeof value !== 'string' && !(typeof value === 'number' && Number.isFinite(value))) {
    throw new TypeError(
      `Cannot set the header ${describe(name)} to ${describe(value)}: it must be a string, a finite number or an array of those`,
    )
  }
  const text = trimmed(String(value))
  if (plainValue.test(text)) return text
  const bad = forbiddenInValue.exec(text)
  if (bad !== null) throw invalidValue(name, bad)
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('')
}

function invalidName(name: unknown): TypeError {
  return new TypeError(
    `Cannot set the header ${describe(name)}: a name is one or more of A-Z a-z 0-9 ! # $ % & ' * + - . ^ _ \` | ~`,
  )
}

function invalidValue(name: string, { 0: character, index }: RegExpExecArray): TypeError {
  const code = character.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase()
  return new TypeError(
    `Cannot set the header ${describe(name)}: its value has the control character U+${code} at position ${index}`,
  )
}

/** Whitespace around a value is not part of it: RFC 9110 §5.5. */
function trimmed(text: string): string {
  return isBlank(text.charCodeAt(0)) || isBlank(text.charCodeAt(text.length - 1))
    ? text.replace(/^[ \t]+|[ \t]+$/g, '')
    : text
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function fromWire(value: string): string {
  if (plainValue.test(value)) return value
  try {
    return utf8.decode(Uint8Array.from(value, (char) => char.charCodeAt(0)))
  } catch {
    return value // not UTF-8: the bytes as latin1, which is how node gives them
  }
}
