/** What proxies say, as a list of hops: the first is the farthest from us, the last was added by our peer.
 *
 * Source: RFC 7239 §4 (`Forwarded`), §6 (nodes); `X-Forwarded-…` have no standard. */

import type { HeaderMap } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import { parseIp } from './ip-address.ts'
import type { IpAddress } from './ip-address.ts'

/** What one proxy says of the request that it was sent. */
export interface Hop {
  /** Who has sent it. Not looked into: only those that a trusted proxy has added are. */
  readonly from?: string | undefined
  readonly proto?: string | undefined
  readonly host?: string | undefined
  readonly port?: string | undefined
}

/** The hops of `Forwarded`. Each line is whole in itself: none can end in the middle of another.
 * @throws {SyntaxError} When a line does not parse. */
export function forwardedHops(headers: HeaderMap): Hop[] {
  return headers.getAll('forwarded').flatMap(parseLine)
}

/** The hops of those of the `X-Forwarded-…` headers that are believed.
 * @param isRead Whether a header is. */
export function xForwardedHops(headers: HeaderMap, isRead: (name: string) => boolean): Hop[] {
  const listOf = (name: string): string[] =>
    isRead(name) ? headers.getAll(name).flatMap(itemsOf).toReversed() : []
  const from = listOf('x-forwarded-for')
  const proto = listOf('x-forwarded-proto')
  const host = listOf('x-forwarded-host')
  const port = listOf('x-forwarded-port')
  const hasAny = [from, proto, host, port].some((list) => list.length > 0)
  // A list to which every proxy has added one is as long as that of the addresses. Of any other nobody knows which value
  // is whose, but the last is our proxy's.
  const valueOf = (list: readonly string[], at: number): string | undefined =>
    list.length === from.length ? list[at] : list[0]
  // From the right: what stands to the left of what our proxies have added is anybody's.
  return Array.from({ length: Math.max(from.length, hasAny ? 1 : 0) }, (_, at) => {
    return {
      from: from[at],
      proto: valueOf(proto, at),
      host: valueOf(host, at),
      port: valueOf(port, at),
    }
  }).toReversed()
}

/** The address in `for`, or undefined where it says that it does not say.
 * @param isStrict Whether IPv6 has to stand in brackets: RFC 7239 §6.
 * @throws {SyntaxError} When it is no node. */
export function parseNode(node: string, isStrict: boolean): IpAddress | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}|_[\w.-]+))?$/.exec(node)
  const bracketed = match?.[1]
  const plain = match?.[2] ?? (isStrict || match !== null ? undefined : node)
  // RFC 7239 §6.2, §6.3: `unknown`, and identifiers that mean something to their proxy alone.
  if (plain !== undefined && /^(?:unknown|_[\w.-]+)$/i.test(plain)) return undefined
  const address = parseIp(bracketed ?? plain ?? '')
  if (address === undefined || (bracketed !== undefined && !bracketed.includes(':')))
    throw new SyntaxError(`Cannot read the address ${describe(node)} of a forwarded request`)
  return address
}

/** One line of `Forwarded`: RFC 7239 §4. */
function parseLine(line: string): Hop[] {
  const hops: Hop[] = []
  let hop: Record<string, string> = Object.create(null)
  let isEmpty = true
  const push = (): void => {
    // Empty elements of a list are to be passed over: RFC 9110 §5.6.1.2.
    if (!isEmpty) hops.push({ from: hop['for'], proto: hop['proto'], host: hop['host'] })
    hop = Object.create(null)
    isEmpty = true
  }
  let at = 0
  while (at < line.length) {
    pair.lastIndex = at
    const match = pair.exec(line)
    if (match === null) throw malformed(line, at)
    const [text, name, token, quoted, delimiter] = match
    if (name !== undefined) {
      const key = name.toLowerCase()
      if (key in hop) throw malformed(line, at) // once per proxy: RFC 7239 §4
      hop[key] = token ?? quoted!.replaceAll(/\\(.)/gs, '$1')
      isEmpty = false
    }
    at += text.length
    if (delimiter === ',') push()
  }
  push()
  return hops
}

const tchar = "[!#$%&'*+\\-.^_`|~\\dA-Za-z]"
/** `name=value`, or nothing, and what follows. Space around the semicolon is none of the grammar, and harmless. There is
 * one way only to read each blank: with two, the time to fail would grow with their square. */
const pair = new RegExp(
  `[ \\t]*(?:(${tchar}+)=(?:(${tchar}+)|"((?:[^"\\\\]|\\\\.)*)")[ \\t]*)?([;,]|$)`,
  'y',
)

function malformed(line: string, at: number): SyntaxError {
  return new SyntaxError(`Cannot read the header Forwarded ${describe(line)} from position ${at}`)
}

function itemsOf(line: string): string[] {
  return line
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
}
