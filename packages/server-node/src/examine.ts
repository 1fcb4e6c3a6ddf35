/** Whether a request may be handled: what node's parser lets pass and HTTP does not.
 *
 * Sources: RFC 9112 §2.3 (versions), §3.2 (targets and Host), §6.1 and §6.3 (framing); RFC 9110 §7.2 (Host), §15.5
 * (statuses). The clauses are in docs/spec/requests.md. */

import type { IncomingMessage } from 'node:http'

import { isMethod } from '@wakerobin/core'

import type { Http2Head } from './http2-exchange.ts'
import type { Limits } from './limits.ts'

/** How the body of a request is framed; where it is none of these, it has no body. */
export const framing = {
  /** By a Content-Length, which the server's limit allows. */
  sized: 1,
  /** By a Content-Length above that limit. */
  long: 2,
  chunked: 3,
} as const

/** Looks at a request as node has parsed it, without making anything: this is done for every one.
 * @returns A status from 400 to refuse it with; below that, its `framing`, and 0 for no body. */
export function examine(request: IncomingMessage, limits: Limits): number {
  const { rawHeaders, httpVersionMinor } = request
  const method = request.method!
  const target = request.url!
  if (request.httpVersionMajor !== 1) return 400 // none at all is a 0.9 to node
  if (!isMethod(method)) return 501
  if (target.length > limits.targetBytes) return 414
  if (rawHeaders.length > 2 * limits.headerCount) return 431

  let host: string | undefined
  let length: string | undefined
  let coding: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    // By length first: few names have the length of one of these.
    if (name.length === 4 && is(name, 'Host', 'host')) {
      if (host !== undefined) return 400
      host = rawHeaders[at + 1]!
    } else if (name.length === 14 && is(name, 'Content-Length', 'content-length')) {
      if (length !== undefined) return 400
      length = rawHeaders[at + 1]!
    } else if (name.length === 17 && is(name, 'Transfer-Encoding', 'transfer-encoding')) {
      if (coding !== undefined) return 400
      coding = rawHeaders[at + 1]!
    }
  }

  if (host === undefined ? httpVersionMinor === 1 : !isHost(host)) return 400
  if (!isTarget(target, method, host)) return 400
  if (coding !== undefined) {
    const isFramed = httpVersionMinor === 1 && length === undefined && isChunked(coding)
    return isFramed ? framing.chunked : 400
  }
  if (length === undefined || length === '0') return 0
  return Number(length) > limits.bodyBytes ? framing.long : framing.sized
}

/** The same for a request of HTTP/2, of which node's library has checked most: RFC 9113 §8. */
export function examineHttp2(head: Http2Head, limits: Limits): number {
  const { method, target, authority, rawHeaders } = head
  // Tunnels are a matter of HTTP/1.
  if (!isMethod(method) || method === 'CONNECT') return 501
  if (target.length > limits.targetBytes) return 414
  if (rawHeaders.length > 2 * limits.headerCount) return 431
  let bytes = target.length
  let length: string | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    const value = rawHeaders[at + 1]!
    bytes += name.length + value.length
    if (name === 'host' && value.toLowerCase() !== authority?.toLowerCase()) return 400
    if (name === 'content-length') length = value
  }
  if (bytes > limits.headBytes || head.listBytes > limits.headerListBytes) return 431
  if (head.expectation === 'other') return 417
  if (authority === undefined || !isHost(authority)) return 400
  if (!isTarget(target, method, authority)) return 400
  if (length === undefined || length === '0') return 0
  return Number(length) > limits.bodyBytes ? framing.long : framing.sized
}

/** Whether a name is the one that is meant, in capitals as most write it, or as others do. */
function is(name: string, usual: string, lower: string): boolean {
  return name === usual || name === lower || name.toLowerCase() === lower
}

// Other codings before it would have to be undone, and nobody here does that.
function isChunked(coding: string): boolean {
  return coding === 'chunked' || coding.toLowerCase() === 'chunked'
}

// RFC 3986 §3.2.2, without the comma, which joins two Hosts into one, and without userinfo.
const hostPattern =
  /^(?:[a-z\d._~!$&'()*+;=-]|%[\da-f]{2})+(?::\d{0,5})?$|^\[(?:[\da-f:.]+|v[\da-f]+\.[a-z\d._~!$&'()*+;=:-]+)\](?::\d{0,5})?$/i

/** The Host that was right last: most requests to a server name the same. */
let lastHost = 'localhost'

function isHost(host: string): boolean {
  if (host === lastHost) return true
  if (!hostPattern.test(host) || !isPort(host)) return false
  lastHost = host
  return true
}

function isPort(host: string): boolean {
  const port = /:(\d*)$/.exec(host)?.[1]
  return port === undefined || Number(port) <= 65_535
}

function isTarget(target: string, method: string, host: string | undefined): boolean {
  if (method === 'CONNECT') return isHost(target) && /:\d+$/.test(target)
  if (target.charCodeAt(0) === 0x2f) return target.length === 1 || isPlain(target)
  if (target === '*') return method === 'OPTIONS'
  return isAbsolute(target, host)
}

/** Whether nothing in a target would be read as another one: `\` is a `/` to some, and a fragment is never sent. In the
 * query browsers send `\` as it is. */
function isPlain(target: string): boolean {
  if (target.includes('#')) return false
  const at = target.indexOf('\\')
  if (at === -1) return true
  const query = target.indexOf('?')
  return query !== -1 && query < at
}

const absolutePattern = /^(https?|wss?):\/\/(?:[^/?#@]*@)?([^/?#@]+)(?=$|[/?])/i

/** Whether a target is a whole URI, as clients of proxies send it, of the very host that `Host` names. */
function isAbsolute(target: string, host: string | undefined): boolean {
  const parts = absolutePattern.exec(target)
  if (parts === null || !isPlain(target)) return false
  const [, scheme, authority] = parts as unknown as [string, string, string]
  if (!isHost(authority)) return false
  return host === undefined || normal(authority, scheme) === normal(host, scheme)
}

/** An authority in small letters and without the port that goes without saying. */
function normal(authority: string, scheme: string): string {
  const port = /s$/i.test(scheme) ? ':443' : ':80'
  const lower = authority.toLowerCase()
  if (lower.endsWith(port)) return lower.slice(0, -port.length)
  return lower.endsWith(':') ? lower.slice(0, -1) : lower
}
