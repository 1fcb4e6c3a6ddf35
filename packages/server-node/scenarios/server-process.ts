/** The target in a process of its own: started, stopped by signals, and never left behind. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import type { BoundSocket } from '../fixtures/bound-socket.ts'
import { until } from './patience.ts'
import type { TargetOptions } from './target-contract.ts'

/** How a process ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** As this process itself runs: coverage cannot join what tsx makes with what Node makes by itself. */
const [loader = '--no-warnings=ExperimentalWarning'] =
  /--import=[^=]+/.exec(process.execArgv.join('=')) ?? []

/** A running target. */
export class ServerProcess implements AsyncDisposable {
  /** All that it has printed on stdout. */
  out = ''
  /** All that it has printed on stderr. */
  err = ''
  /** How it ended; undefined until it has, and all that it has printed is here. */
  exit: Exit | undefined
  /** Resolves when it has ended. */
  readonly closed: Promise<void>
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.out += text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.err += text))
    this.closed = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.exit = { code, signal }
        resolve()
      })
    })
  }

  /** Starts the target, and does not wait for it.
   * @param socket One that is handed over to it. */
  static spawn(options: TargetOptions = {}, socket?: BoundSocket): ServerProcess {
    const child = spawn(
      process.execPath,
      [
        '--conditions=@wakerobin/source',
        '--enable-source-maps',
        loader,
        fileURLToPath(new URL('target.ts', import.meta.url)),
        JSON.stringify(options),
      ],
      {
        cwd: fileURLToPath(new URL('..', import.meta.url)),
        env: { ...process.env, NODE_OPTIONS: '', ...(socket && { LISTEN_FD: '4' }) },
        stdio: ['ignore', 'pipe', 'pipe', 'ipc', ...(socket ? [socket.fd] : [])],
      },
    )
    return new ServerProcess(child)
  }

  /** Starts the target, and waits until it listens. */
  static async start(options: TargetOptions = {}, socket?: BoundSocket): Promise<ServerProcess> {
    const server = ServerProcess.spawn(options, socket)
    try {
      await server.prints('Listening at http')
      return server
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  get port(): number {
    return Number(/^Listening at https?:\/\/127\.0\.0\.1:(\d+)\/ /m.exec(this.out)![1])
  }

  /** Waits until it has printed a text on stdout, that many times. */
  async prints(text: string, times = 1): Promise<void> {
    await until(
      () => `it prints ${text}${this.#printed}`,
      () => {
        if (this.out.split(text).length > times) return true
        assert.equal(this.exit, undefined, `It ended before it printed ${text}${this.#printed}`)
        return false
      },
    )
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Lets what waits at a gate of the target go on. */
  open(gate: string): void {
    this.#child.send(gate)
  }

  /** Waits until connections are refused: the listener is closed. */
  async refuses(): Promise<void> {
    for (;;) {
      const outcome = await attempt(this.port)
      if (outcome === 'ECONNREFUSED') return
      assert.equal(this.exit, undefined, `It ended before a connection was refused${this.#printed}`)
      // Seldom enough for the accept queue to be empty in between.
      await sleep(20)
    }
  }

  /** Waits for its end, and asserts how it ended. */
  async ends(expected: Exit): Promise<void> {
    await until(
      () => `it ends${this.#printed}`,
      () => this.exit !== undefined,
    )
    assert.deepEqual(this.exit, expected, `It ended in another way${this.#printed}`)
  }

  /** Kills it, where it has not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.exit === undefined) this.#child.kill('SIGKILL')
    await this.closed
  }

  get #printed(): string {
    return `. It has printed:\n${this.out}${this.err}`
  }
}

/** The end of a stop in which all was well. */
export const success: Exit = { code: 0, signal: null }

/** The end of a stop in which something was cut. */
export const failure: Exit = { code: 1, signal: null }

/** Starts a target that ends with a test, whatever happens. */
export async function startTarget(
  t: { after(callback: () => Promise<void>): void },
  options: TargetOptions = {},
  socket?: BoundSocket,
): Promise<ServerProcess> {
  const server = await ServerProcess.start(options, socket)
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

/** Tries to connect. Returns `accepted`, or the code of the error. */
export function attempt(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve('accepted')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}
