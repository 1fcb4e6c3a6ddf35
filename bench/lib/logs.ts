/** The logs that are measured, and the servers behind them. */

import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { memoryLog, type EventLog } from '@wakerobin/sse'
import { fileLog } from '@wakerobin/sse-file'
import { natsLog } from '@wakerobin/sse-nats'
import { redisLog } from '@wakerobin/sse-redis'
import { createClient } from 'redis'

/** Which log, and where it is: what another process needs to open it. */
export interface LogPlace {
  readonly kind: LogKind
  /** A folder, or the address of a server. */
  readonly at: string
  /** One that nobody has used before. */
  readonly name: string
}

export const logKinds = [
  'memory',
  'file, never',
  'file, interval',
  'file, each',
  'redis',
  'nats',
] as const
export type LogKind = (typeof logKinds)[number]

/** Whether two processes can have it at once. */
export function isShared(kind: LogKind): boolean {
  return kind === 'redis' || kind === 'nats'
}

export async function openLog({ kind, at, name }: LogPlace): Promise<EventLog> {
  const kept = 200_000
  switch (kind) {
    case 'memory':
      return memoryLog({ maxEvents: kept })
    case 'redis':
      return redisLog(createClient({ url: at }), { key: name, maxEvents: kept })
    case 'nats':
      return natsLog(name, { connection: { servers: at }, maxEvents: kept })
    default:
      return fileLog(join(at, name), { fsync: kind.slice('file, '.length) as 'never' })
  }
}

/** A server, or a folder, for the time of the bench. */
export class LogHost implements AsyncDisposable {
  readonly at: string
  readonly #child: ChildProcess | undefined
  readonly #folder: string

  private constructor(at: string, folder: string, child: ChildProcess | undefined) {
    this.at = at
    this.#folder = folder
    this.#child = child
  }

  /** @returns Undefined where its server is not installed. */
  static async start(kind: LogKind): Promise<LogHost | undefined> {
    const folder = mkdtempSync(join(tmpdir(), 'wakerobin-bench-'))
    if (!isShared(kind)) return new LogHost(folder, folder, undefined)
    const port = await freePort()
    const [program, ...args] =
      kind === 'redis'
        ? [
            'redis-server',
            '--port',
            `${port}`,
            '--bind',
            '127.0.0.1',
            '--dir',
            folder,
            '--save',
            '',
            '--appendonly',
            'no',
          ]
        : ['nats-server', '-a', '127.0.0.1', '-p', `${port}`, '-js', '-sd', folder]
    if (spawnSync(program!, ['--version']).error !== undefined) return undefined
    const child = spawn(program!, args, { stdio: 'ignore' })
    while (!(await isOpen(port))) await sleep(20)
    const scheme = kind === 'redis' ? 'redis' : 'nats'
    return new LogHost(`${scheme}://127.0.0.1:${port}`, folder, child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) {
      const exited = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await exited
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
