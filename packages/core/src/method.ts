/** Request methods: the ones a conn can have, and what they promise.
 *
 * Source: RFC 9110 §9 and the IANA HTTP Method Registry, as Trillium lists them. */

const methods = [
  'ACL',
  'BASELINE-CONTROL',
  'BIND',
  'CHECKIN',
  'CHECKOUT',
  'CONNECT',
  'COPY',
  'DELETE',
  'GET',
  'HEAD',
  'LABEL',
  'LINK',
  'LOCK',
  'MERGE',
  'MKACTIVITY',
  'MKCALENDAR',
  'MKCOL',
  'MKREDIRECTREF',
  'MKWORKSPACE',
  'MOVE',
  'OPTIONS',
  'ORDERPATCH',
  'PATCH',
  'POST',
  'PRI',
  'PROPFIND',
  'PROPPATCH',
  'PUT',
  'QUERY',
  'REBIND',
  'REPORT',
  'SEARCH',
  'TRACE',
  'UNBIND',
  'UNCHECKOUT',
  'UNLINK',
  'UNLOCK',
  'UPDATE',
  'UPDATEREDIRECTREF',
  'VERSION-CONTROL',
] as const

/** A registered request method, in capitals as on the wire. */
export type Method = (typeof methods)[number]

const known: ReadonlySet<string> = new Set(methods)

const safe: ReadonlySet<string> = new Set<Method>([
  'GET',
  'HEAD',
  'OPTIONS',
  'PRI',
  'PROPFIND',
  'QUERY',
  'REPORT',
  'SEARCH',
  'TRACE',
])

/** Whether `text` is a registered method. Methods are case-sensitive: RFC 9110 §9.1. */
export function isMethod(text: string): text is Method {
  return text === 'GET' || text === 'POST' || known.has(text)
}

/** Whether a method asks for no change on the server: RFC 9110 §9.2.1. */
export function isSafe(method: Method): boolean {
  return safe.has(method)
}

/** Whether asking twice has the effect of asking once: RFC 9110 §9.2.2. */
export function isIdempotent(method: Method): boolean {
  return safe.has(method) || method === 'PUT' || method === 'DELETE'
}
