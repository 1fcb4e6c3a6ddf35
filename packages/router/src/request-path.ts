/** The path of a request, as routes are compared with it: pure, and never throws. */

/** Brings a path into the form that counts its segments: with a slash in front, and never two in a row. */
export function collapseSlashes(path: string): string {
  if (path.startsWith('/') && !path.includes('//')) return path
  return `/${path}`.replace(/\/{2,}/g, '/')
}

/** Writes the path of a request in one way, as `normalizeText` does. What a client has not escaped is UTF-8, one char a
 * byte: node lets it through over HTTP/2. Where it is none, it is taken for text. */
export function normalizePath(path: string): string {
  return normalizeText(bytes.test(path) ? textOf(path) : path)
}

// oxlint-disable-next-line no-control-regex -- those of ASCII are among the bytes
const bytes = /^[\x00-\xff]*[\x80-\xff][\x00-\xff]*$/

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function textOf(bytes: string): string {
  try {
    return utf8.decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)))
  } catch {
    return bytes
  }
}

/** Writes text of a path in one way: what a client should have escaped is, and nothing is that need not be.
 *
 * RFC 3986 §6.2.2 has it for letters, digits, `-`, `.`, `_` and `~`. Others that stand for themselves in a path, as `:`
 * and `@`, are taken for the same escaped or not. `%2F` stays: an escape never makes a segment of its own, and never
 * one of two. */
export function normalizeText(text: string): string {
  if (!unusual.test(text)) return text
  return text
    .replace(/[^\w.~!$&'()*+,;=:@/%-]+/g, escapeText)
    .replace(/%[0-9a-f]{2}/gi, normalizeEscape)
}

// Neither a `pchar` of RFC 3986 §3.3 nor a slash.
const unusual = /[^\w.~!$&'()*+,;=:@/-]/

function escapeText(text: string): string {
  return encodeURIComponent(text.replace(/\p{Surrogate}/gu, '\ufffd'))
}

function normalizeEscape(escape: string): string {
  const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16))
  return character === '/' || unusual.test(character) ? escape.toUpperCase() : character
}

/** What a path is behind its first segments, for handlers that are mounted there: `/` where there is nothing. */
export function restOfPath(path: string, segments: number): string {
  let at = 0
  for (let passed = 0; passed < segments; passed++) {
    at = path.indexOf('/', at + 1)
    if (at === -1) return '/'
  }
  return path.slice(at)
}

/** Decodes percent escapes. A value with one that is malformed, or no UTF-8, stays as it is. */
export function decodeValue(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    // Who sent it gets what belongs to this very text: most likely nothing.
    return value
  }
}
