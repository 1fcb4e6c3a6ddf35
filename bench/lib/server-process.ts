/** A contestant: a server in a process of its own, which tells how much CPU time it has used. */

import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export class ServerProcess implements AsyncDisposable {
  readonly name: string
  readonly port: number
  readonly #child: ChildProcess

  private constructor(name: string, port: number, child: ChildProcess) {
    this.name = name
    this.port = port
    this.#child = child
  }

  /** Starts `bench/servers/<name>.ts`, which reports its port when it listens. */
  static async start(name: string): Promise<ServerProcess> {
    const child = fork(join(import.meta.dirname, `../servers/${name}.ts`), {
      execArgv: ['--import', 'tsx', '--expose-gc'],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    const [port] = (await once(child, 'message')) as [number]
    return new ServerProcess(name, port, child)
  }

  /** The CPU time that the process has used since its start, in microseconds. */
  cpuMicros(): Promise<number> {
    return this.#ask('cpu')
  }

  /** What is alive on its heap, in bytes. */
  heapBytes(): Promise<number> {
    return this.#ask('heap')
  }

  async #ask(question: 'cpu' | 'heap'): Promise<number> {
    const answer = once(this.#child, 'message')
    this.#child.send(question)
    const [number] = (await answer) as [number]
    return number
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

/** In the contestant: reports the port, and what is asked for. */
export function report(port: number): void {
  process.on('message', (question) => process.send!(question === 'cpu' ? cpuMicros() : heapBytes()))
  process.send!(port)
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

function heapBytes(): number {
  for (let times = 0; times < 3; times++) gc!()
  return process.memoryUsage().heapUsed
}
