/** What is said to a client whose bytes are no request: a status, and then the end. */

import { statusLineOf } from './head.ts'

const refusals: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
}

/** An error of node's parser. */
export interface ParserError extends NodeJS.ErrnoException {
  /** What it was parsing, and how much of that was right. */
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

/** The answer to an error of node's parser, as bytes on the wire; undefined where the connection itself has failed. */
export function refusalOf(error: ParserError): string | undefined {
  const { code = '' } = error
  if (code === 'HPE_INVALID_METHOD' && isOtherMethod(error)) return notImplemented
  const status = refusals[code] ?? (code.startsWith('HPE_') ? 400 : undefined)
  return status === undefined ? undefined : closing(status)
}

/** RFC 9110 §15.5.1. */
export const badRequest: string = closing(400)

/** RFC 9110 §15.5.9. */
export const requestTimeout: string = closing(408)

/** RFC 9110 §15.6.2. */
export const notImplemented: string = closing(501)

// RFC 9110 §9.1: a method is a token.
const otherMethod = /^[\r\n]*[\w!#$%&'*+.^`|~-]{1,64} [\x21-\x7e]+ HTTP\/1\.[01]\r\n/

/** Whether the parser stumbled over a method that it does not know, in what is a request otherwise. */
function isOtherMethod({ rawPacket, bytesParsed = Infinity }: ParserError): boolean {
  if (rawPacket === undefined) return false
  const line = rawPacket.toString('latin1', 0, 16 * 1024)
  // What was parsed before may be a request of its own, and this line the first of it.
  return otherMethod.test(line) && bytesParsed <= line.indexOf(' ')
}

/** @param body Plain text, in ASCII. */
export function closing(status: number, body = ''): string {
  const type = body === '' ? '' : 'Content-Type: text/plain\r\n'
  return `${statusLineOf(status)}Connection: close\r\n${type}Content-Length: ${body.length}\r\n\r\n${body}`
}
