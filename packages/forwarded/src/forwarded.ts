/** The handler that believes trusted proxies. */

import type { Conn, HandlerObject } from '@wakerobin/core'
import { State, type StateKey } from '@wakerobin/core'
import { checkNames, describe, forwardConn, listed, type Client } from '@wakerobin/core/adapter'

import { forwardedHops, parseNode, xForwardedHops } from './hops.ts'
import type { Hop } from './hops.ts'
import { formatIp, parseIp } from './ip-address.ts'
import { Trust } from './trust.ts'

/** A header in which a proxy says for whom it asks. */
export type ForwardingHeader = (typeof headerNames)[number]

const headerNames = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
] as const

/** Whom `forwarded` believes, and what. */
export interface ForwardedOptions {
  /** The proxies: addresses, ranges (`10.0.0.0/8`, `fd00::/8`), or names: `loopback`, `private` (RFC 1918 and
   * RFC 4193), `link-local`, and `unix` for whoever connects to a Unix socket of ours. What anybody else says is ignored. */
  trust: readonly string[]
  /** The headers that your proxies set, whatever the client has sent, and all of them in the same way: each adds to a header,
   * or each replaces it. No other is read. Where `forwarded` is one of
   * them and a request has it, it wins over `x-forwarded-…`. Default: all of them, but a request that has both
   * kinds is refused, as one of them may be the client's own. */
  headers?: readonly ForwardingHeader[]
  /** Told why a request was answered with 400. Default: nobody is. */
  onRefused?: (error: SyntaxError, conn: Conn) => void
}

/** Lets `peerIp`, `isSecure` and `host` of a conn be the client's, where a trusted proxy has said what they are.
 *
 * The header is read from its right end, which our own proxy has written: the first address that is not trusted is
 * the client's. What stands left of it came from the client, and is not believed. From a peer that is not trusted
 * the headers mean nothing. One that a trusted proxy has sent and that does not parse is a 400.
 *
 * ```ts
 * import { forwarded } from '@wakerobin/forwarded'
 * import { run } from '@wakerobin/server-node'
 *
 * run([forwarded({ trust: ['loopback'] }), (conn) => conn.ok(`hello, ${conn.peerIp}`)])
 * ```
 * @throws {TypeError | RangeError} When an option cannot be used: the message says which entry, and what would be
 * right. */
export function forwarded(options: ForwardedOptions): HandlerObject {
  const { trust: entries, headers, onRefused } = checkOptions(options)
  const trust = new Trust(entries)
  return {
    name: 'forwarded',
    run(conn) {
      // Twice on one way, the second would take the client for a proxy.
      if (conn.state(Seen) !== undefined || !trust.hasPeer(conn)) return
      conn.withState(Seen, true)
      try {
        const client = clientOf(conn, trust, headers)
        if (client !== undefined) forwardConn(conn, client)
      } catch (error) {
        if (!(error instanceof SyntaxError)) throw error
        conn.withStatus(400).halt()
        onRefused?.(error, conn)
      }
    },
  }
}

const Seen: StateKey<'forwarded', true> = State.key<true>()('forwarded')

function checkOptions(options: ForwardedOptions): ForwardedOptions {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(
      `Cannot read forwarded headers with ${describe(options)}: expected options, as { trust: ['10.0.0.0/8'] }`,
    )
  }
  checkNames('Cannot read forwarded headers with ', options, ['trust', 'headers', 'onRefused'])
  const { headers } = options
  if (headers === undefined) return options
  const isList = Array.isArray(headers) && headers.length > 0
  const wrong = isList ? headers.find((name) => !headerNames.includes(name)) : headers
  if (!isList || wrong !== undefined) {
    throw new TypeError(
      `Cannot read forwarded headers from ${describe(wrong)}: headers is an array of one or more of ${listed(headerNames, 'and')}`,
    )
  }
  return options
}

/** What is said of the client; undefined where nothing is. */
function clientOf(
  conn: Conn,
  trust: Trust,
  headers: readonly string[] | undefined,
): Client | undefined {
  const isRead = (name: string): boolean => headers === undefined || headers.includes(name)
  const standard = isRead('forwarded') ? forwardedHops(conn.requestHeaders) : []
  const others = xForwardedHops(conn.requestHeaders, isRead)
  const isStandard = standard.length > 0
  if (headers === undefined && isStandard && others.length > 0) {
    throw new SyntaxError(
      'Cannot tell whether Forwarded or X-Forwarded-… is from the proxy: the option headers says which of them are',
    )
  }
  const hops = isStandard ? standard : others
  if (hops.length === 0) return undefined
  const said = walk(hops, trust, conn.peerIp, isStandard)
  const isSecure = said.proto === undefined ? conn.isSecure : isSecureProto(said.proto)
  return { peerIp: said.peerIp, isSecure, host: hostOf(said, conn.host, isSecure) }
}

interface Said {
  readonly peerIp: string | undefined
  readonly proto: string | undefined
  readonly host: string | undefined
  readonly port: string | undefined
}

/** Goes from proxy to proxy, beginning with our peer, while they are trusted. Of what they say the farthest counts:
 * it has talked to the client. */
function walk(
  hops: readonly Hop[],
  trust: Trust,
  peerIp: string | undefined,
  isStrict: boolean,
): Said {
  let said: Said = { peerIp, proto: undefined, host: undefined, port: undefined }
  for (const hop of hops.toReversed()) {
    said = {
      peerIp: said.peerIp,
      proto: hop.proto ?? said.proto,
      host: hop.host ?? said.host,
      port: hop.port ?? said.port,
    }
    if (hop.from === undefined) break // it does not say, and who was before it is not known
    const address = parseNode(hop.from, isStrict)
    said = { ...said, peerIp: address === undefined ? undefined : formatIp(address) }
    if (address === undefined || !trust.has(address)) break
  }
  return said
}

/** RFC 3986 §3.1. */
function isSecureProto(proto: string): boolean {
  if (!/^[a-z][a-z\d+.-]*$/i.test(proto))
    throw new SyntaxError(`Cannot read the protocol ${describe(proto)} of a forwarded request`)
  return /^(?:https|wss)$/i.test(proto)
}

function hostOf(said: Said, received: string | undefined, isSecure: boolean): string | undefined {
  if (said.host !== undefined && !isHost(said.host))
    throw new SyntaxError(`Cannot read the host ${describe(said.host)} of a forwarded request`)
  const host = said.host ?? received
  const { port } = said
  if (port === undefined) return host
  const number = /^\d{1,5}$/.test(port) ? Number(port) : NaN
  if (!(number >= 1 && number <= 65_535))
    throw new SyntaxError(`Cannot read the port ${describe(port)} of a forwarded request`)
  const isUsual = number === (isSecure ? 443 : 80)
  return host === undefined || isUsual || /:\d+$/.test(host) ? host : `${host}:${number}`
}

/** RFC 9110 §7.2, RFC 3986 §3.2.2. */
function isHost(host: string): boolean {
  const match = /^(?:\[([^\]]*)\]|[\w.~!$&'()*+,;=%-]+)(?::(\d{1,5}))?$/.exec(host)
  if (match === null) return false
  const [, literal, port = '0'] = match
  if (Number(port) > 65_535) return false
  return literal === undefined || (literal.includes(':') && parseIp(literal) !== undefined)
}
