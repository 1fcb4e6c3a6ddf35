/** What a server gives to core for one request. Nothing in it is parsed before it is asked for. */

import type { Listener } from './info.ts'
import type { OnError } from './program.ts'
import type { StateMap } from './state.ts'
import type { Swansong } from './swansong.ts'

/** A request as a server has received it. */
export interface Incoming {
  /** As on the wire; the server has refused what is no method. */
  readonly method: string
  /** The request target as on the wire: RFC 9112 §3.2. */
  readonly target: string
  /** `name, value, name, value…`, as on the wire. */
  readonly rawHeaders: readonly string[]
  /** `1.0`, `1.1` or `2.0`. */
  readonly httpVersion: string
  /** The client's address; IPv4 as such, also where the socket has it mapped into IPv6. */
  readonly peerIp: string | undefined
  readonly isSecure: boolean
  /** What it came in on. Undefined where the server has no sockets of its own. */
  readonly listener?: Listener | undefined
  /** When the request was received, as `performance.now()` has it, in milliseconds. */
  readonly startTime: number
  readonly server: ServerContext
  /** Whether the client has left, or can no longer be answered: also where it was, as the handlers took too long. */
  readonly isDisconnected: boolean
  /** Calls back once when the client leaves before its response is complete, or can no longer be answered. */
  onDisconnect(callback: () => void): void
  /** The same for a client that cannot be answered any more, at once where it is one: not for one that has only ended its
   * side. In place of `onDisconnect` where a server knows the difference. */
  onGone?(callback: () => void): void
  /** Keeps what was received in as little memory as it takes: the response is one that goes on for long. */
  pack?(): void
  /** Whether there is a body though no field says so, as there may be in HTTP/2. Default false. */
  readonly hasUnsizedBody?: boolean
  /** The trailer fields, `name, value…`, as on the wire; undefined until the body was read to its end. */
  readonly rawTrailers?: readonly string[] | undefined
  /** The request body, as it arrives. Called once at most. */
  openBody(): AsyncIterable<Uint8Array>
  /** The whole request body, in place of `openBody` where there is a faster way than by parts.
   * @param contentLength What the request says, in bytes; undefined where it does not.
   * @throws {BodyTooLongError} When it is longer than `limitBytes`.
   * @throws {BodyAbortedError} When it does not come to its end. */
  readBody?(limitBytes: number, contentLength: number | undefined): Promise<Uint8Array>
}

/** What all requests of a server share. */
export interface ServerContext {
  readonly swansong: Swansong
  readonly sharedState: StateMap
  /** The limit of a request body that is not given another, in bytes. */
  readonly maxBodyBytes: number
  /** Told of what handlers did not catch. It never throws. */
  readonly onError: OnError
}
