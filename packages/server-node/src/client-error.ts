/** What is said to a client whose bytes are no request: a status, and then the end. */

const refusals: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Content Too Large',
}

/** The answer to an error of node's parser, as bytes on the wire; undefined where the connection itself has failed. */
export function refusalOf({ code = '' }: NodeJS.ErrnoException): string | undefined {
  const status = refusals[code] ?? (code.startsWith('HPE_') ? '400 Bad Request' : undefined)
  return status === undefined ? undefined : closing(status)
}

/** RFC 9110 §15.5.1. */
export const badRequest: string = closing('400 Bad Request')

/** RFC 9110 §15.5.9. */
export const requestTimeout: string = closing('408 Request Timeout')

/** RFC 9110 §15.6.2. */
export const notImplemented: string = closing('501 Not Implemented')

function closing(status: string): string {
  return `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
}
