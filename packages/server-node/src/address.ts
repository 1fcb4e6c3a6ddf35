/** Where to listen: from the options, else from HOST and PORT, else `localhost` and 8080. */

import { describe } from '@wakerobin/core/adapter'

/** Why a server did not start: for people, in one line. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

/** Where to listen. */
export interface AddressOptions {
  /** The host name or address to listen on. One that begins with `.`, `/` or `~` is the path of a
   * Unix socket, and the port is ignored. Default: HOST, else `localhost`, which is both loopback
   * addresses, 127.0.0.1 and ::1. */
  host?: string
  /** The port, 0 for any that is free. Default: PORT, else 8080. */
  port?: number
}

/** One socket to bind. */
export type Bind =
  | { readonly host: string; readonly port: number; readonly isOptional: boolean }
  | { readonly path: string }

/** The sockets to bind, all of them on one port.
 * @throws {StartError} When the port is none. */
export function addressToBind(
  options: AddressOptions,
  env: Readonly<Record<string, string | undefined>>,
): Bind[] {
  const host = options.host || env.HOST || 'localhost'
  if (/^[./~]/.test(host)) return [{ path: host }]
  const port =
    options.port === undefined
      ? portFrom(env.PORT)
      : checkPort(options.port, `port ${describe(options.port)}`)
  if (host !== 'localhost') return [{ host, port, isOptional: false }]
  return [
    { host: '127.0.0.1', port, isOptional: false },
    { host: '::1', port, isOptional: true }, // a machine may have no IPv6
  ]
}

function portFrom(text: string | undefined): number {
  if (text === undefined || text === '') return 8080
  return checkPort(/^\d+$/.test(text) ? Number(text) : NaN, `PORT ${describe(text)}`)
}

function checkPort(port: number, what: string): number {
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new StartError(`Cannot listen on ${what}: it must be an integer from 0 to 65535`)
}
