/** Binds http servers to their addresses. */

import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { Listener } from '@wakerobin/core'

import { StartError } from './address.ts'
import type { Bind } from './address.ts'

/** A server that listens. */
export interface Bound {
  readonly server: Server
  readonly listener: Listener
}

/** Binds a server to each address, all of them on the port of the first.
 * @throws {StartError} When one cannot be bound; none is left bound then. */
export async function bindAll(binds: readonly Bind[], makeServer: () => Server): Promise<Bound[]> {
  // Port 0: the port that the first address gets may be taken on the second.
  for (let attempts = isAnyPort(binds) ? 10 : 1; ; attempts--) {
    const bound: Bound[] = []
    try {
      for (const bind of binds) {
        const one = await bindOne(withPortOf(bind, bound), makeServer())
        if (one !== undefined) bound.push(one)
      }
      return bound
    } catch (error) {
      for (const { server } of bound) server.close()
      if (attempts === 1 || codeOf(error) !== 'EADDRINUSE') throw startError(error)
    }
  }
}

function isAnyPort(binds: readonly Bind[]): boolean {
  return binds.some((bind) => 'port' in bind && bind.port === 0)
}

function withPortOf(bind: Bind, bound: readonly Bound[]): Bind {
  const first = bound[0]?.listener
  return 'port' in bind && first?.kind === 'tcp' ? { ...bind, port: first.port } : bind
}

async function bindOne(bind: Bind, server: Server): Promise<Bound | undefined> {
  try {
    await listening(server, bind)
  } catch (error) {
    const isMissing = ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(codeOf(error) ?? '')
    if ('port' in bind && bind.isOptional && isMissing) return undefined
    throw error
  }
  if ('path' in bind)
    return { server, listener: { kind: 'unix', path: bind.path, isSecure: false } }
  const { address, port } = server.address() as AddressInfo
  return { server, listener: { kind: 'tcp', host: address, port, isSecure: false } }
}

function listening(server: Server, bind: Bind): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(
      'path' in bind ? { path: bind.path } : { host: bind.host, port: bind.port },
      () => {
        server.off('error', reject)
        // What goes wrong from here on concerns one connection that was not accepted.
        server.on('error', (error) =>
          console.error('Wakerobin: cannot accept a connection:', error),
        )
        resolve()
      },
    )
  })
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is in use; stop the other process, or choose another with PORT',
  EACCES: 'there is no permission for it; ports below 1024 need one',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
  ENOENT: 'there is no such folder',
}

const pathInUse =
  'something is there; stop the process that listens on it, or remove what a former one has left'

function startError(error: unknown): StartError {
  const { address, port, hostname } = error as {
    address?: string
    port?: number
    hostname?: string
  }
  const where = [address ?? hostname, port]
    .filter((part) => part !== undefined && part !== -1)
    .join(':')
  const code = codeOf(error) ?? ''
  const isPath =
    code === 'EADDRINUSE' && address !== undefined && (port === undefined || port === -1)
  const reason = isPath ? pathInUse : (reasons[code] ?? (error as Error).message)
  return new StartError(`Cannot listen on ${where}: ${reason}`, { cause: error })
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

/** Where a browser on this machine reaches a server; undefined for a Unix socket.
 *
 * `localhost` only where that leads to it, whichever of the loopback addresses it is taken for. */
export function urlOf(listeners: readonly Listener[]): string | undefined {
  const [listener] = listeners
  if (listener?.kind !== 'tcp') return undefined
  const { host, port } = listener
  const isLocal = listeners.length > 1 || host === '0.0.0.0' || host === '::'
  const name = isLocal ? 'localhost' : host.includes(':') ? `[${host}]` : host
  return `http://${name}${port === 80 ? '' : `:${port}`}/`
}
