/** Whose pages may open a WebSocket: RFC 6455 §10.2.
 *
 * A browser lets any page connect to any server, and sends the cookies of that server along. Only the `Origin` that it
 * adds tells the one page from the other. */

import type { Conn } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

/** Which pages may connect: their origins, as `https://example.com`, or a function that is given the `Origin` as it was
 * sent, and is not async. `() => true` is for data that everybody may have. */
export type OriginPolicy = readonly string[] | ((origin: string, conn: Conn) => boolean)

/** Whether a request may be answered with a WebSocket. */
export type OriginTest = (conn: Conn) => boolean

/** Makes a test of an option.
 * @throws {TypeError | RangeError} When it cannot be used. */
export function checkOrigins(origins: OriginPolicy | undefined): OriginTest {
  if (origins === undefined) return whereSaid(isSameHost)
  if (typeof origins === 'function') return whereSaid(origins)
  if (!Array.isArray(origins)) {
    throw new TypeError(
      `Cannot open WebSockets with origins ${describe(origins)}: it must be a list of origins, or a function`,
    )
  }
  const listed = new Set(origins.map(checkOrigin))
  return whereSaid((origin) => listed.has(origin.toLowerCase()))
}

/** A client that says no origin is no browser, and could say any. */
function whereSaid(isAllowed: (origin: string, conn: Conn) => boolean): OriginTest {
  return (conn) => {
    const [origin, ...others] = conn.requestHeaders.getAll('origin')
    if (origin === undefined || others.length > 0) return origin === undefined
    const answer: unknown = isAllowed(origin, conn)
    if (typeof answer === 'boolean') return answer
    throw new TypeError(
      `Expected the function origins to return true or false, got ${describe(answer)}`,
    )
  }
}

/** Whether a page is from the host that it connects to. The scheme is not compared: what stands in front of the server
 * may have done the encryption. */
function isSameHost(origin: string, { host }: Conn): boolean {
  const page = urlOf(origin)
  if (page === undefined || host === undefined) return false
  return page.host !== '' && page.host === urlOf(`${page.protocol}//${host}`)?.host
}

/** An origin as browsers send it: RFC 6454 §6.2. */
function checkOrigin(origin: unknown): string {
  const url = typeof origin === 'string' ? urlOf(origin) : undefined
  // Not its `origin`, which is "null" for the pages of extensions.
  if (url !== undefined && url.host !== '' && `${url.protocol}//${url.host}` === origin)
    return origin
  throw new RangeError(
    `Cannot open WebSockets with the origin ${describe(origin)}: it must be a scheme and a host in lower case, and a port where it is not the usual, as "https://example.com"`,
  )
}

function urlOf(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined // "null", say, of a page in a sandbox
  }
}
