/** Statuses: reason phrases, kinds, and a status as a handler.
 *
 * Source: RFC 9110 §15 and the IANA HTTP Status Code Registry. */

import type { Conn } from './conn.ts'
import { describe } from './describe.ts'

const reasonPhrases: Readonly<Record<number, string>> = {
  100: 'Continue',
  101: 'Switching Protocols',
  102: 'Processing',
  103: 'Early Hints',
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  203: 'Non-Authoritative Information',
  204: 'No Content',
  205: 'Reset Content',
  206: 'Partial Content',
  207: 'Multi-Status',
  208: 'Already Reported',
  226: 'IM Used',
  300: 'Multiple Choices',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  305: 'Use Proxy',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  407: 'Proxy Authentication Required',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  417: 'Expectation Failed',
  418: "I'm a teapot",
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  423: 'Locked',
  424: 'Failed Dependency',
  425: 'Too Early',
  426: 'Upgrade Required',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  451: 'Unavailable For Legal Reasons',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
  506: 'Variant Also Negotiates',
  507: 'Insufficient Storage',
  508: 'Loop Detected',
  510: 'Not Extended',
  511: 'Network Authentication Required',
}

/** The registered reason phrase of a status, or `''` where there is none. */
export function reasonPhrase(code: number): string {
  return reasonPhrases[code] ?? ''
}

/** The five kinds of status, by the first digit: RFC 9110 §15. */
export type StatusKind =
  | 'informational'
  | 'success'
  | 'redirection'
  | 'client-error'
  | 'server-error'

/** A status as a handler: sets the status and does not halt. Made by `status(code)`. */
export class Status {
  /** An integer from 200 to 599, or 101. */
  readonly code: number

  constructor(code: number) {
    this.code = checkStatus(code)
  }

  get reasonPhrase(): string {
    return reasonPhrase(this.code)
  }

  get kind(): StatusKind {
    return statusKind(this.code)
  }

  /** `status(201)`, as it shows in reports. */
  get name(): string {
    return `status(${this.code})`
  }

  run(conn: Conn): Conn {
    return conn.withStatus(this.code)
  }

  toString(): string {
    return `${this.code} ${this.reasonPhrase}`.trimEnd()
  }
}

/** A handler that sets the status, and does not halt.
 *
 * ```ts
 * import { status, type Handler, handlers } from '@wakerobin/core'
 *
 * const teapot: Handler = handlers(status(418), (conn) => conn.withBody('short and stout').halt())
 * ```
 * @throws {RangeError} When `code` is neither an integer from 200 to 599 nor 101. */
export function status(code: number): Status {
  return new Status(code)
}

/** The kind of a status. */
export function statusKind(code: number): StatusKind {
  if (code < 200) return 'informational'
  if (code < 300) return 'success'
  if (code < 400) return 'redirection'
  return code < 500 ? 'client-error' : 'server-error'
}

/** Returns `code` where it can be the status of a response.
 *
 * 1xx are interim: a client that gets one goes on waiting (RFC 9110 §15.2). Not so 101, after which the connection is
 * none of HTTP any more.
 * @throws {RangeError} When it is neither an integer from 200 to 599 nor 101. */
export function checkStatus(code: number): number {
  if (Number.isInteger(code) && ((code >= 200 && code <= 599) || code === 101)) return code
  throw new RangeError(
    `Cannot set the status ${describe(code)}: it must be an integer from 200 to 599, or 101`,
  )
}
