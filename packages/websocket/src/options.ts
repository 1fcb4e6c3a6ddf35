/** The options of `websocket`: their defaults, and their check. */

import { checkNames, describe, maxTimerMs } from '@wakerobin/core/adapter'

import { checkOrigins } from './origin.ts'
import type { OriginPolicy, OriginTest } from './origin.ts'

/** How `websocket` deals with its clients. */
export interface WebSocketOptions {
  /** The one path at which it answers, without the query; requests to others pass. Default: every path that comes to
   * it, as in a router. */
  path?: string
  /** Whether a request that asks for no WebSocket is refused, with a 426, instead of passed on. Default false. */
  required?: boolean
  /** The subprotocols that the app speaks. The first of the client's that is among them is chosen: `socket.protocol`.
   * Default none. */
  protocols?: readonly string[]
  /** Which pages may connect: browsers say from where a page is, and send cookies whosever page it is. A list of origins,
   * as `https://example.com`, or a function. Others get a 403; clients that say no origin are no browsers, and are
   * not asked. Default: pages of the host that they connect to. */
  origins?: OriginPolicy
  /** The longest message, in bytes. A longer one ends the connection, with 1009. Default 1 MiB. */
  messageBytes?: number
  /** How much may wait for the client to read it, in bytes. A client that is further behind when more is sent to it
   * is cut. `Infinity` for any amount. Default 4 MiB. */
  bufferBytes?: number
  /** Whether messages are compressed, where the client can do that: it takes memory for every connection, and time.
   * Those that wait to be read are not inflated. Default false. */
  compress?: boolean
  /** The time between one ping and the next, in milliseconds. A client that has not answered one when the next is due
   * is cut. `0` for no pings. Default 30 000. */
  pingMs?: number
  /** How long a client is waited for when it was told at the stop, or because the handler has failed, that the connection
   * closes, in milliseconds. It is cut then. Default 1000. */
  closeTimeoutMs?: number
}

/** Options that were checked, with the defaults filled in. */
export interface CheckedOptions {
  readonly path: string | undefined
  readonly required: boolean
  readonly protocols: ReadonlySet<string>
  readonly mayConnect: OriginTest
  readonly messageBytes: number
  readonly bufferBytes: number
  readonly compress: boolean
  readonly pingMs: number
  readonly closeTimeoutMs: number
}

/** Reads every option once.
 * @throws {TypeError} When one is of the wrong type, or `options` is no object.
 * @throws {RangeError} When a number or a text is out of its bounds. */
export function checkOptions(options: WebSocketOptions = {}): CheckedOptions {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot open WebSockets with ${describe(options)} as options: expected an object such as { path: '/chat' }`,
    )
  }
  checkNames('Cannot open WebSockets with ', options, names)
  const { path, required = false, protocols = [], origins, compress = false } = options
  const { messageBytes = 1024 * 1024, bufferBytes = 4 * 1024 * 1024 } = options
  const { pingMs = 30_000, closeTimeoutMs = 1000 } = options
  if (path !== undefined && !(typeof path === 'string' && path.startsWith('/')))
    refuse('path', path, 'a path, as "/chat"')
  for (const [name, value] of Object.entries({ required, compress }))
    if (typeof value !== 'boolean') refuse(name, value, 'true or false')
  return {
    path,
    required,
    protocols: checkProtocols(protocols),
    mayConnect: checkOrigins(origins),
    // ws takes 0 for any length.
    messageBytes: checkWhole('messageBytes', messageBytes),
    bufferBytes: checkNumber('bufferBytes', bufferBytes, 0, 'a number of bytes from 0', Infinity),
    compress,
    pingMs: checkNumber('pingMs', pingMs, 0, milliseconds),
    closeTimeoutMs: checkNumber('closeTimeoutMs', closeTimeoutMs, 0, milliseconds),
  }
}

const names: readonly (keyof WebSocketOptions)[] = [
  'path',
  'required',
  'protocols',
  'origins',
  'messageBytes',
  'bufferBytes',
  'compress',
  'pingMs',
  'closeTimeoutMs',
]

function checkProtocols(protocols: unknown): ReadonlySet<string> {
  if (!Array.isArray(protocols)) return refuse('protocols', protocols, 'a list of names')
  for (const protocol of protocols) {
    // RFC 6455 §4.1: a token.
    if (typeof protocol !== 'string' || !/^[\w!#$%&'*+.^`|~-]+$/.test(protocol))
      refuse('the protocol', protocol, 'a name of letters, digits and signs, as "chat.v1"')
  }
  return new Set(protocols)
}

const milliseconds = `a number of milliseconds from 0 to ${maxTimerMs}`

function checkNumber(
  option: string,
  value: unknown,
  least: number,
  right: string,
  most = maxTimerMs,
): number {
  if (typeof value === 'number' && value >= least && value <= most) return value
  return refuse(option, value, right, typeof value === 'number')
}

function checkWhole(option: string, value: unknown): number {
  const right = 'a whole number of bytes from 1'
  const number = checkNumber(option, value, 1, right)
  return Number.isInteger(number) ? number : refuse(option, value, right, true)
}

/** @throws {RangeError} Where the value is of the right kind. @throws {TypeError} Where it is not. */
function refuse(
  option: string,
  value: unknown,
  right: string,
  isRightKind = typeof value === 'string',
): never {
  const ErrorClass = isRightKind ? RangeError : TypeError
  throw new ErrorClass(
    `Cannot open WebSockets with ${option} ${describe(value)}: it must be ${right}`,
  )
}
