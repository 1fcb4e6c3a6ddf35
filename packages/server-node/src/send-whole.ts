/** Responses that are in memory, on connections that are kept: most of all responses.
 *
 * Written to the socket in one piece. node's own way puts a head together from parts that are known here, tells of
 * every step by events and ticks, and takes up a pipelined request a tick after the one before it: together a quarter
 * of the CPU time of a small response, and nine tenths where ten are pipelined (`npm run bench hello`). */

import { ServerResponse, STATUS_CODES } from 'node:http'

import type { FinalResponse } from '@wakerobin/core/adapter'

import type { Exchange } from './exchange.ts'

/** Longer bodies are node's, which knows whether they are taken: a client that does not read must be seen. */
const mostBytes = 16 * 1024

/** The parts of node's response that are its own business, and have been the same since 0.10. */
interface InnerResponse {
  _header: string | null
  readonly _expect_continue: boolean
}

/** Sends a response in one go.
 * @param onSent Called when it was handed to the network, or with an error when it will not be.
 * @returns False where node must do it, and nothing was done: the connection ends with this response, its turn has not
 * come, the client is slow or the body long, somebody has changed the response's methods or speaks of the connection
 * in its header fields. */
export function sendWhole(
  final: FinalResponse,
  exchange: Exchange,
  onSent: ((error?: Error | null) => void) | undefined,
): boolean {
  const { response, connection } = exchange
  const { socket } = connection
  const { status, body, bodyLength = 0 } = final
  if (response.socket === null || socket.writableNeedDrain || bodyLength > mostBytes) return false
  if (!isOrdinary(response)) return false
  const head = headOf(final, exchange.server.keepAliveFields)
  if (head === undefined) return false
  // With what follows in this turn, as the responses to pipelined requests.
  connection.cork()
  if (typeof body === 'string' && body.length === bodyLength) {
    // As many bytes as characters: ASCII, which is latin1 too.
    socket.write(head + body, 'latin1', onSent)
  } else if (typeof body === 'string') {
    socket.write(head, 'latin1')
    socket.write(Buffer.from(body), onSent)
  } else if (body instanceof Uint8Array && body.length > 0) {
    socket.write(head, 'latin1')
    socket.write(Buffer.from(body.buffer, body.byteOffset, body.byteLength), onSent)
  } else {
    socket.write(head, 'latin1', onSent)
  }
  response.statusCode = status
  ;(response as unknown as InnerResponse)._header = head
  response.finished = true
  // At which node lets go of the request, and takes up the next one.
  response.emit('finish')
  return true
}

/** The fields that say that the connection is kept, as node says it, and the end of a head. */
export function keepAliveFieldsOf(keepAliveMs: number): string {
  const seconds = Math.floor(keepAliveMs / 1000)
  const timeout = keepAliveMs === Infinity ? '' : `Keep-Alive: timeout=${seconds}\r\n`
  return `Connection: keep-alive\r\n${timeout}\r\n`
}

const { writeHead, write, end } = ServerResponse.prototype

function isOrdinary(response: ServerResponse): boolean {
  return (
    response.shouldKeepAlive &&
    response.req.httpVersionMinor === 1 &&
    response.writeHead === writeHead &&
    response.write === write &&
    response.end === end &&
    !(response as unknown as InnerResponse)._expect_continue
  )
}

/** The head of a response, with the fields that node would add; undefined where the fields speak of the connection. */
function headOf(
  { status, rawHeaders, contentLength }: FinalResponse,
  keepAliveFields: string,
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
  return text + keepAliveFields
}

/** Those that node acts on: RFC 9110 §7.6.1, §6.6.2, §7.8. A Transfer-Encoding is never among them. */
function speaksOfTheConnection(name: string): boolean {
  const { length } = name
  if (length !== 10 && length !== 7) return false
  return ['connection', 'keep-alive', 'trailer', 'upgrade'].includes(name.toLowerCase())
}

const statusLines: string[] = []

function statusLineOf(status: number): string {
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
