/** Binds http servers to their sockets. */

import { readFileSync, readlinkSync } from 'node:fs'
import type { Server } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { AddressInfo, ListenOptions } from 'node:net'
import type { Server as TlsServer } from 'node:tls'

import type { Listener } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import { StartError } from './address.ts'
import type { Bind } from './address.ts'
import { SocketFile } from './socket-file.ts'
import { Tls } from './tls.ts'
import type { TlsSource } from './tls.ts'

/** Makes the http server of a socket, HTTPS where it has a `tls`. */
export type MakeServer = (bound: Bound) => Server

/** A socket that is listened on, and the http server behind it. */
export class Bound {
  readonly tls: Tls | undefined
  readonly server: Server
  /** What it is called; known when it listens, and so before the first connection. */
  listener!: Listener
  /** What takes the connections in: the http server itself, or one that was given. */
  readonly #acceptor: NetServer
  #file: SocketFile | undefined

  private constructor(tls: Tls | undefined, makeServer: MakeServer, given?: NetServer) {
    this.tls = tls
    this.server = makeServer(this)
    this.#acceptor = given ?? this.server
    tls?.serve(this.server as unknown as TlsServer)
  }

  static async toPort(
    address: { readonly host: string; readonly port: number },
    tls: Tls | undefined,
    makeServer: MakeServer,
  ): Promise<Bound> {
    const bound = new Bound(tls, makeServer)
    await bound.#listen(address, () => listenerOf(bound.#acceptor.address()))
    return bound
  }

  static async toPath(
    { path, mode }: { readonly path: string; readonly mode?: number | undefined },
    tls: Tls | undefined,
    makeServer: MakeServer,
  ): Promise<Bound> {
    const bound = new Bound(tls, makeServer)
    const listen = (hidden: string): Promise<void> =>
      bound.#listen({ path: hidden }, () => listenerOf(path))
    try {
      bound.#file = await SocketFile.bind(path, mode, listen)
    } catch (error) {
      bound.finish()
      throw error
    }
    return bound
  }

  static async toFd(fd: number, tls: Tls | undefined, makeServer: MakeServer): Promise<Bound> {
    const path = pathOf(fd)
    const bound = new Bound(tls, makeServer)
    await bound.#listen({ fd }, () =>
      listenerOf(bound.#acceptor.address() ?? path, `the socket of file descriptor ${fd}`),
    )
    return bound
  }

  /** Takes over a server that listens. */
  static toServer(given: NetServer, tls: Tls | undefined, makeServer: MakeServer): Bound {
    const bound = new Bound(tls, makeServer, given)
    const { server } = bound
    bound.#isBound(listenerOf(given.address(), 'a server of node:net'))
    given.on('connection', (socket) => {
      // As an http server has its sockets made.
      socket.allowHalfOpen = tls === undefined
      socket.setNoDelay(true)
      server.emit('connection', socket)
    })
    server.emit('listening') // it begins to look for requests that are too slow
    return bound
  }

  #listen(
    options: ListenOptions | { readonly fd: number },
    listener: () => Listener,
  ): Promise<void> {
    const acceptor = this.#acceptor
    return new Promise((resolve, reject) => {
      acceptor.once('error', reject)
      acceptor.listen(options, () => {
        acceptor.off('error', reject)
        this.#isBound(listener())
        resolve()
      })
    })
  }

  #isBound(listener: Listener): void {
    this.listener = { ...listener, isSecure: this.tls !== undefined }
    // What goes wrong from here on concerns one connection that was not accepted.
    this.#acceptor.on('error', (error) =>
      console.error('Wakerobin: cannot accept a connection:', error),
    )
  }

  /** Takes no more connections, and removes the file of the socket. Those that are open go on. */
  close(): void {
    this.#file?.remove()
    this.#file = undefined
    // Not http.Server's close: it destroys sockets whose request is already on its way.
    NetServer.prototype.close.call(this.#acceptor)
  }

  /** Ends all that is left of it, when no connection is open. */
  finish(): void {
    this.close()
    // Nothing is left for it to cut: it only ends node's timer that looks for slow requests.
    this.server.close()
    this.tls?.[Symbol.dispose]()
  }
}

/** Binds a server to each socket, in order.
 * @throws {StartError} When one cannot be bound; none is left bound then. */
export async function bindAll(binds: readonly Bind[], makeServer: MakeServer): Promise<Bound[]> {
  const bound: Bound[] = []
  const opened = new Map<TlsSource, Tls>()
  try {
    for (const bind of binds) {
      const tls = await openTls(bind, opened)
      bound.push(...(await bindOne(bind, tls, makeServer)))
    }
    return bound
  } catch (error) {
    for (const one of bound) one.finish()
    for (const tls of opened.values()) tls[Symbol.dispose]()
    closeGiven(binds)
    throw error
  }
}

/** Closes the servers that were given, whether they were taken over or not, and whatever else is wrong.
 * @param listen What to listen on, before it was looked at or after. */
export function closeGiven(listen: unknown): void {
  if (!Array.isArray(listen)) return
  for (const given of listen as readonly ({ readonly server?: unknown } | null | undefined)[])
    if (given?.server instanceof NetServer) given.server.close()
}

async function openTls(bind: Bind, opened: Map<TlsSource, Tls>): Promise<Tls | undefined> {
  const source = bind.tls
  if (source === undefined) return undefined
  let tls = opened.get(source)
  if (tls !== undefined) return tls
  try {
    tls = await Tls.open(source)
  } catch (error) {
    throw startError(bind, error, {})
  }
  opened.set(source, tls)
  return tls
}

async function bindOne(
  bind: Bind,
  tls: Tls | undefined,
  makeServer: MakeServer,
): Promise<readonly Bound[]> {
  try {
    if ('hosts' in bind) return await bindPort(bind, tls, makeServer)
    if ('path' in bind) return [await Bound.toPath(bind, tls, makeServer)]
    if ('fd' in bind) return [await Bound.toFd(bind.fd, tls, makeServer)]
    return [Bound.toServer(bind.server, tls, makeServer)]
  } catch (error) {
    throw startError(bind, error)
  }
}

/** Binds a port of one host or several. */
async function bindPort(
  { hosts, port }: { readonly hosts: readonly string[]; readonly port: number },
  tls: Tls | undefined,
  makeServer: MakeServer,
): Promise<Bound[]> {
  // Port 0: the port that the first host gets may be taken on the second.
  for (let attempts = port === 0 ? 10 : 1; ; attempts--) {
    const bound: Bound[] = []
    try {
      for (const host of hosts) {
        const first = bound[0]?.listener
        const same = first?.kind === 'tcp' ? first.port : port
        const one = await Bound.toPort({ host, port: same }, tls, makeServer).catch((error) => {
          if (bound.length > 0 && isMissing(error)) return undefined
          throw error
        })
        if (one !== undefined) bound.push(one)
      }
      return bound
    } catch (error) {
      for (const one of bound) one.close()
      for (const { server } of bound) server.close()
      if (attempts === 1 || codeOf(error) !== 'EADDRINUSE') throw error
    }
  }
}

function isMissing(error: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(codeOf(error) ?? '')
}

/** @param name What it is called where its address is not known. */
function listenerOf(address: AddressInfo | string | null, name = ''): Listener {
  if (typeof address === 'string') return { kind: 'unix', path: address, isSecure: false }
  if (address === null) return { kind: 'other', description: name, isSecure: false }
  return { kind: 'tcp', host: address.address, port: address.port, isSecure: false }
}

/** The path of a Unix socket that was made elsewhere, which node does not tell: proc(5). Null where it has none, or
 * the system is no Linux. */
function pathOf(fd: number): string | null {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1]
    // Num, RefCount, Protocol, Flags, Type, St, Inode, Path
    const line = new RegExp(`^(?:\\S+ +){6}${inode} (.+)$`, 'm')
    return line.exec(readFileSync('/proc/net/unix', 'utf8'))?.[1] ?? null
  } catch {
    return null // then it has no name for people
  }
}

const addressReasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use; stop the other process, or choose another port',
  EACCES: 'there is no permission for it; ports below 1024 need one',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
}

const envReasons: typeof addressReasons = {
  ...addressReasons,
  EADDRINUSE: 'it is in use; stop the other process, or choose another with PORT',
}

const pathReasons: typeof addressReasons = {
  EACCES: 'there is no permission for it',
  EPERM: 'there is no permission for it',
}

const fdReasons: typeof addressReasons = {
  EBADF: 'it is not open',
  EINVAL: 'it is no socket that can be listened on',
  ENOTSOCK: 'it is no socket that can be listened on',
  EEXIST: 'this process listens on it already',
}

function startError(bind: Bind, error: unknown, reasons = reasonsOf(bind)): StartError {
  const known = reasons[codeOf(error) ?? '']
  const reason = known ?? (error instanceof Error ? error.message : describe(error))
  return new StartError(`Cannot listen on ${nameOf(bind, error)}: ${reason}`, { cause: error })
}

function reasonsOf(bind: Bind): typeof addressReasons {
  if ('path' in bind) return pathReasons
  if ('fd' in bind) return fdReasons
  return 'hosts' in bind && bind.isFromEnv === true ? envReasons : addressReasons
}

function nameOf(bind: Bind, error: unknown): string {
  if ('path' in bind) return bind.path
  if ('fd' in bind) return `file descriptor ${bind.fd}`
  if ('server' in bind) return 'the server that was given'
  const {
    address,
    hostname,
    port = bind.port,
  } = (error ?? {}) as {
    address?: string
    hostname?: string
    port?: number
  }
  return `${address ?? hostname ?? bind.hosts[0]!}:${port}`
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null | undefined)?.code
}

/** Where a browser on this machine reaches a server: at its first port. Undefined where it has none.
 *
 * `localhost` only where that leads to it, whichever of the loopback addresses it is taken for. */
export function urlOf(listeners: readonly Listener[]): string | undefined {
  const ports = listeners.filter((listener) => listener.kind === 'tcp')
  const [first] = ports
  if (first === undefined) return undefined
  const { host, port, isSecure } = first
  const hasHost = (name: string): boolean =>
    ports.some((each) => each.host === name && each.port === port)
  const isBoth = ['127.0.0.1', '::1'].includes(host) && hasHost('127.0.0.1') && hasHost('::1')
  const isLocal = host === '0.0.0.0' || host === '::' || isBoth
  const name = isLocal ? 'localhost' : host.includes(':') ? `[${host}]` : host
  const standardPort = isSecure ? 443 : 80
  return `http${isSecure ? 's' : ''}://${name}${port === standardPort ? '' : `:${port}`}/`
}
