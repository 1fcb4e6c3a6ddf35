/** Heads of responses, as texts that we write: see docs/decisions/023. */

import { channel } from 'node:diagnostics_channel'
import { ServerResponse, STATUS_CODES } from 'node:http'

import type { FinalResponse } from '@wakerobin/core/adapter'

/** The parts of node's response that are its own business, and have been the same since 0.10. */
interface InnerResponse {
  _header: string | null
  _headerSent: boolean
  readonly _expect_continue: boolean
  _finish(): void
}

/** The fields that say that the connection is kept, as node says it, and the end of a head. */
export function keepAliveFieldsOf(keepAliveMs: number): string {
  const seconds = Math.floor(keepAliveMs / 1000)
  // Node, too, says no less than a second.
  const timeout =
    keepAliveMs === Infinity || seconds === 0 ? '' : `Keep-Alive: timeout=${seconds}\r\n`
  return `Connection: keep-alive\r\n${timeout}\r\n`
}

const { writeHead, write, end } = ServerResponse.prototype

/** Whether we write by ourselves at all: not where a tool that was loaded before us has wrapped node's methods, which it
 * can be seen by that they are not node's own. */
export const isPlain: boolean =
  /\b_storeHeader\b/.test(String(writeHead)) &&
  /\bwrite_\(/.test(String(write)) &&
  /\b_implicitHeader\b/.test(String(end))

/** Who listens there may set fields on node's response, before we are told of it. */
const requestStart = channel('http.server.request.start')
const responseCreated = channel('http.server.response.created')

/** Whether we may write a response by ourselves: its connection is kept, its turn has come, and nobody has wrapped its
 * methods to see it go by. */
export function isOrdinary(response: ServerResponse): boolean {
  return (
    isPlain &&
    response.socket !== null &&
    response.shouldKeepAlive &&
    response.req.httpVersionMinor === 1 &&
    response.writeHead === writeHead &&
    response.write === write &&
    response.end === end &&
    !(response as unknown as InnerResponse)._expect_continue &&
    !requestStart.hasSubscribers &&
    !responseCreated.hasSubscribers
  )
}

/** Tells node that a head is out. */
export function markSent(response: ServerResponse, status: number, head: string): void {
  response.statusCode = status
  const inner = response as unknown as InnerResponse
  inner._header = head
  inner._headerSent = true
}

/** Tells those who measure node's responses that one is done: `PerformanceObserver`, `prefinish`. */
export function tellOfFinish(response: ServerResponse): void {
  const inner = response as unknown as InnerResponse
  // oxlint-disable-next-line no-underscore-dangle -- node's own end() calls it
  inner._finish()
}

/** The head of a response, with the fields that node would add; undefined where the fields speak of the connection.
 * @param end What speaks of the connection and the framing, and the empty line. */
export function headOf(
  { status, rawHeaders, contentLength }: FinalResponse,
  end: string,
): string | undefined {
  let text = statusLineOf(status)
  let hasDate = false
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    if (speaksOfTheConnection(name)) return undefined
    if (name.length === 4 && name.toLowerCase() === 'date') hasDate = true
    text += `${name}: ${rawHeaders[at + 1]!}\r\n`
  }
  if (contentLength !== undefined) text += `Content-Length: ${contentLength}\r\n`
  if (!hasDate) text += dateField()
  return text + end
}

/** Those that node acts on: RFC 9110 §7.6.1, §6.6.2, §7.8. A Transfer-Encoding is never among them. */
function speaksOfTheConnection(name: string): boolean {
  const { length } = name
  if (length !== 10 && length !== 7) return false
  return ['connection', 'keep-alive', 'trailer', 'upgrade'].includes(name.toLowerCase())
}

const statusLines: string[] = []

/** In node's words, which it also says where it writes a head itself. */
export function statusLineOf(status: number): string {
  return (statusLines[status] ??= `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`)
}

let dateText = ''
let dateFrom = 0

/** RFC 9110 §6.6.1. Made once a second. */
function dateField(): string {
  const now = Date.now()
  if (now < dateFrom || now >= dateFrom + 1000) {
    dateFrom = now - (now % 1000)
    dateText = `Date: ${new Date(now).toUTCString()}\r\n`
  }
  return dateText
}
