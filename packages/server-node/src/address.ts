/** Where to listen: on what `listen` says, else the sockets that the parent process has handed over, else `host` and
 * `port`, else HOST and PORT, else `localhost` and 8080. */

import { Server as HttpServer } from 'node:http'
import { Server as NetServer } from 'node:net'
import { homedir } from 'node:os'
import { Server as TlsServer } from 'node:tls'

import { describe, unknownName } from '@wakerobin/core/adapter'

import type { TlsSource } from './tls.ts'

/** Why a server did not start: for people, in one line. */
export class StartError extends Error {
  override readonly name = 'StartError'
}

/** Where to listen. Sockets that the parent process has handed over (LISTEN_FDS, LISTEN_FD) come before `host` and
 * `port`. */
export interface AddressOptions {
  /** The host name or address to listen on. One that begins with `.`, `/` or `~` is the path of a
   * Unix socket, and the port is ignored; `~/` is the home folder. Default: HOST, else `localhost`, which is
   * both loopback addresses, 127.0.0.1 and ::1. */
  host?: string
  /** The port, 0 for any that is free. Default: PORT, else 8080. */
  port?: number
  /** HTTPS in place of HTTP, with this certificate. Default: HTTP. */
  tls?: TlsSource
  /** Several sockets for one app, in place of `host`, `port` and `tls`; bound in this order, all or none. Nothing
   * of the environment is looked at then: not HOST, not PORT, not LISTEN_FDS. */
  listen?: readonly ListenOptions[]
}

/** One of several sockets to listen on. */
export type ListenOptions =
  | TcpListenOptions
  | UnixListenOptions
  | FdListenOptions
  | ServerListenOptions

/** A port of this machine. */
export interface TcpListenOptions {
  /** A host name or address. Default: `localhost`, which is both loopback addresses. */
  host?: string
  /** 0 for any that is free. */
  port: number
  /** HTTPS, with this certificate. Default: HTTP. */
  tls?: TlsSource
}

/** A Unix socket. The file of a server that has died is replaced, that of one that lives is not; the stop removes it. */
export interface UnixListenOptions {
  /** Its path; `~/` is the home folder. */
  path: string
  /** Who may connect, as the mode of the file: `0o660` for its owner and group. Default: what the umask leaves. */
  mode?: number
  tls?: TlsSource
}

/** A socket that the parent process has opened. It goes on with the parent when this server stops, and so do the
 * connections that wait in it: the next server takes them. */
export interface FdListenOptions {
  /** The number of its file descriptor. */
  fd: number
  tls?: TlsSource
}

/** A server of node:net that listens. From here on it is this server's: the stop closes it, and a start that fails. */
export interface ServerListenOptions {
  server: NetServer
  tls?: TlsSource
}

/** A socket to bind. */
export type Bind = { readonly tls?: TlsSource | undefined } & (
  | {
      /** All on one port. Only the first must be one that this machine has. */
      readonly hosts: readonly string[]
      readonly port: number
      /** Whether PORT can say another. */
      readonly isFromEnv?: boolean
    }
  | { readonly path: string; readonly mode?: number | undefined }
  | { readonly fd: number }
  | { readonly server: NetServer }
)

/** The environment of a process. */
export type Env = Record<string, string | undefined>

/** The sockets to bind, in order. Sockets that were handed over are taken out of the environment: they are those
 * of one server.
 * @throws {StartError} When what is given says nowhere, or two things. */
export function addressToBind(options: AddressOptions, env: Env): Bind[] {
  if (options.listen !== undefined) return bindsOf(options)
  const { tls } = options
  const inherited = takeInherited(env)
  if (inherited.length > 0) return inherited.map((fd) => ({ fd, tls }))
  if (options.host !== undefined && typeof options.host !== 'string')
    throw new StartError(
      `Cannot listen on host ${describe(options.host)}: it must be a host name, an address or the path of a Unix socket`,
    )
  const host = options.host || env.HOST || 'localhost'
  if (isPath(host)) return [{ path: expandHome(host), tls }]
  const { port } = options
  const hosts = hostsOf(host)
  if (port === undefined) return [{ hosts, port: portFrom(env.PORT), isFromEnv: true, tls }]
  return [{ hosts, port: checkPort(port, `port ${describe(port)}`), tls }]
}

function bindsOf({ listen, host, port, tls }: AddressOptions): Bind[] {
  for (const [name, value] of Object.entries({ host, port, tls })) {
    if (value !== undefined)
      throw new StartError(
        `Cannot listen with both listen and ${name}: put the ${name} into listen`,
      )
  }
  if (!Array.isArray(listen) || listen.length === 0)
    throw new StartError(
      `Cannot listen on ${Array.isArray(listen) ? 'no socket' : describe(listen)}: listen must be an array of sockets, such as [{ port: 8080 }]`,
    )
  return listen.map((given: unknown, at) => bindOf(given, `listen[${at}]`))
}

const kinds = ['port', 'path', 'fd', 'server'] as const

/** What there may be besides. */
const optionsOf: Readonly<Record<(typeof kinds)[number], readonly string[]>> = {
  port: ['host', 'tls'],
  path: ['mode', 'tls'],
  fd: ['tls'],
  server: ['tls'],
}

function bindOf(given: unknown, place: string): Bind {
  const entry = (typeof given === 'object' ? given : null) as Partial<
    TcpListenOptions & UnixListenOptions & FdListenOptions & ServerListenOptions
  > | null
  const named = kinds.filter((kind) => entry?.[kind] !== undefined)
  const [kind] = named
  if (entry === null || kind === undefined || named.length > 1)
    throw new StartError(
      `Cannot listen on ${place}, ${entry === null ? describe(given) : `with ${named.join(' and ') || 'nothing'}`}: it must have one of port, path, fd and server`,
    )
  const wrong = unknownName(entry, [kind, ...optionsOf[kind]])
  if (wrong !== undefined)
    throw new StartError(
      `Cannot listen on ${place} with ${wrong}: beside ${kind} it may have ${optionsOf[kind].join(' and ')}`,
    )
  const { tls } = entry
  if (kind === 'port') {
    const { host = 'localhost', port } = entry
    if (typeof host !== 'string' || host === '' || isPath(host))
      throw new StartError(
        `Cannot listen on ${place}.host ${describe(host)}: it must be a host name or an address; a Unix socket is { path }`,
      )
    return { hosts: hostsOf(host), port: checkPort(port!, `${place}.port ${describe(port)}`), tls }
  }
  if (kind === 'path') {
    const { path, mode } = entry
    if (typeof path !== 'string' || path === '' || path.includes('\0'))
      throw new StartError(`Cannot listen on ${place}.path ${describe(path)}: it must be a path`)
    if (mode !== undefined && !isWithin(mode, 0, 0o777))
      throw new StartError(
        `Cannot listen with ${place}.mode ${describe(mode)}: it must be an integer from 0 to 0o777`,
      )
    return { path: expandHome(path), mode, tls }
  }
  if (kind === 'fd') {
    const { fd } = entry
    if (!isWithin(fd, 0, 2 ** 31 - 1))
      throw new StartError(
        `Cannot listen on ${place}.fd ${describe(fd)}: it must be the number of a file descriptor`,
      )
    return { fd, tls }
  }
  return { server: checkServer(entry.server, `${place}.server`), tls }
}

function checkServer(server: unknown, place: string): NetServer {
  if (!(server instanceof NetServer))
    throw new StartError(
      `Cannot listen on ${place} ${describe(server)}: it must be a Server of node:net`,
    )
  if (server instanceof HttpServer || server instanceof TlsServer)
    throw new StartError(
      `Cannot listen on ${place}, a server that reads its connections itself: it must be a Server of node:net, with tls beside it for HTTPS`,
    )
  if (!server.listening)
    throw new StartError(
      `Cannot listen on ${place}, which does not listen: call its listen() and wait for 'listening', or give its address in its place`,
    )
  return server
}

/** The file descriptors that the parent process has handed over: LISTEN_FDS of them from 3 on, as systemd does
 * (sd_listen_fds(3)), or the one of the number LISTEN_FD. Those are variables of one process: where LISTEN_PID names
 * another, they are meant for that one; some tools for developers leave it out. */
function takeInherited(env: Env): number[] {
  const { LISTEN_FDS: count, LISTEN_FD: one, LISTEN_PID: pid } = env
  if (pid !== undefined && pid !== '' && pid !== String(process.pid)) return []
  for (const name of ['LISTEN_FDS', 'LISTEN_FD', 'LISTEN_PID', 'LISTEN_FDNAMES']) delete env[name]
  if (count !== undefined && count !== '') {
    const length = intFrom(count)
    if (!isWithin(length, 0, 1000))
      throw new StartError(
        `Cannot listen on LISTEN_FDS ${describe(count)}: it must be the number of sockets, from 0 to 1000`,
      )
    if (length > 0) return Array.from({ length }, (_, at) => firstInherited + at)
  }
  if (one === undefined || one === '') return []
  const fd = intFrom(one)
  if (!isWithin(fd, firstInherited, 2 ** 31 - 1))
    throw new StartError(
      `Cannot listen on LISTEN_FD ${describe(one)}: it must be the number of a file descriptor, from 3`,
    )
  return [fd]
}

/** SD_LISTEN_FDS_START: those before it are stdin, stdout and stderr. */
const firstInherited = 3

function isPath(host: string): boolean {
  return /^[./~]/.test(host)
}

/** `~` and `~/`, which no shell has expanded in a unit file or an image. */
function expandHome(path: string): string {
  if (path[0] !== '~') return path
  if (path !== '~' && path[1] !== '/')
    throw new StartError(
      `Cannot listen on ${path}: of home folders only one's own is known, as in ~/app.sock; ./${path} for a file of that name`,
    )
  return homedir() + path.slice(1)
}

function hostsOf(host: string): readonly string[] {
  return host === 'localhost' ? ['127.0.0.1', '::1'] : [host] // a machine may have no IPv6
}

function portFrom(text: string | undefined): number {
  if (text === undefined || text === '') return 8080
  return checkPort(intFrom(text), `PORT ${describe(text)}`)
}

function intFrom(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : NaN
}

function checkPort(port: number, what: string): number {
  if (isWithin(port, 0, 65_535)) return port
  throw new StartError(`Cannot listen on ${what}: it must be an integer from 0 to 65535`)
}

function isWithin(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most
}
