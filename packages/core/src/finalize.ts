/** What a response is when every handler and every `beforeSend` is done: pure, the same for every server. */

import type { BodySource } from './body.ts'
import { rawResponseHeaders } from './conn.ts'
import type { Conn } from './conn.ts'
import { describe } from './describe.ts'
import { discardBody, toBodySource } from './pull-source.ts'

/** A response, ready to be written. */
export interface FinalResponse {
  readonly status: number
  /** `name, value…`, without Date, Content-Length and Transfer-Encoding unless a handler set them. */
  readonly rawHeaders: readonly string[]
  /** The Content-Length to add: undefined where a handler set it, where the length is not known, or
   * where the status has none. */
  readonly contentLength: number | undefined
  /** How many bytes the body must amount to, whoever said so; undefined where that is not known, or
   * nothing is sent. */
  readonly bodyLength: number | undefined
  /** The bytes to send, text as a string, or a source to start; undefined where nothing may be sent. */
  readonly body: string | Uint8Array | BodySource | undefined
}

/** Decides the status, the length and the body of a response.
 *
 * A conn without a status is a 404 (a 501 for CONNECT, as nobody made a tunnel). HEAD, 204 and 304
 * have no body, and what would have been one is let go; HEAD keeps its length: RFC 9110 §8.6, §9.3.2.
 * 205 has an empty one: §15.3.6. A switch of protocols has none either: §8.6, §15.2.2.
 * @param byteLength The length of text in UTF-8: the platform's own way is the fastest.
 * @param isTaken Whether a handler takes the connection over: with a 101, or a 200 to CONNECT.
 * @throws {TypeError} When a handler has set framing that is not true, or a 101 that no handler makes good. */
export function finalize(
  conn: Conn,
  byteLength: (text: string) => number,
  isTaken = false,
): FinalResponse {
  const status = conn.status ?? (conn.method === 'CONNECT' ? 501 : 404)
  if (status === 101 && !isTaken) throw new TypeError(nobodySwitches)
  const rawHeaders = rawResponseHeaders(conn)
  const body = conn.responseBody
  const mayHaveLength = status !== 204 && status !== 304 && !isTaken
  const mayBeSent = mayHaveLength && status !== 205 && conn.method !== 'HEAD'

  const final =
    body === undefined || typeof body === 'string' || body instanceof Uint8Array
      ? body
      : toBodySource(body)
  const length =
    final === undefined ? 0 : typeof final === 'string' ? byteLength(final) : final.length
  if (length !== undefined && !(Number.isSafeInteger(length) && length >= 0)) {
    throw new TypeError(
      `Cannot send a body of length ${describe(length)}: it must be a whole number of bytes`,
    )
  }
  const declared = declaredLength(rawHeaders)
  if (declared !== undefined && length !== undefined && declared !== length && mayBeSent) {
    throw new TypeError(
      `Cannot send a body of ${length} bytes with the Content-Length ${declared}: leave the header out, it is set from the body`,
    )
  }
  // RFC 9110 §8.6, §15.3.6: a client would take what follows on the connection for the body.
  if (declared !== undefined && (status === 204 || isTaken || (status === 205 && declared > 0))) {
    throw new TypeError(
      `Cannot send a ${status} with the Content-Length ${declared}: it has no body`,
    )
  }
  const lengthToAdd = status === 205 ? 0 : length
  const contentLength = mayHaveLength && declared === undefined ? lengthToAdd : undefined
  if (mayBeSent) {
    return { status, rawHeaders, contentLength, bodyLength: declared ?? length, body: final }
  }
  discardBody(final)
  return { status, rawHeaders, contentLength, bodyLength: undefined, body: undefined }
}

const nobodySwitches =
  'Cannot answer with a 101: the client has asked for no other protocol, or no handler takes the connection over'

/** The Content-Length that a handler has set, and a refusal of a Transfer-Encoding, which is the server's. */
function declaredLength(rawHeaders: readonly string[]): number | undefined {
  let length: number | undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      const value = rawHeaders[at + 1]!
      if (length !== undefined || !/^\d{1,15}$/.test(value)) {
        throw new TypeError(
          `Cannot send the Content-Length ${describe(value)}: it must be one decimal number`,
        )
      }
      length = Number(value)
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      throw new TypeError(
        "Cannot send a Transfer-Encoding that a handler has set: framing is the server's",
      )
    }
  }
  return length
}
