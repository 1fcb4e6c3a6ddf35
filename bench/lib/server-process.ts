/** A contestant: a server in a process of its own, which publishes what it is told to, and tells what it has used. */

import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import { messageOf } from './message.ts'
import type { Message } from './message.ts'

/** Events to publish. */
export interface Publication {
  readonly count: number
  readonly eventBytes: number
  /** All in one turn of the event loop, or one in each. */
  readonly how: 'burst' | 'turns'
}

/** In bytes. */
export interface Memory {
  readonly rss: number
  /** Objects, and the buffers outside of the heap. */
  readonly held: number
}

export class ServerProcess implements AsyncDisposable {
  readonly name: string
  readonly port: number
  readonly #child: ChildProcess
  readonly #ended: AbortSignal

  private constructor(name: string, port: number, child: ChildProcess, ended: AbortSignal) {
    this.name = name
    this.port = port
    this.#child = child
    this.#ended = ended
  }

  /** Starts `bench/servers/<name>.ts`, which reports its port when it listens.
   * @param options What the program finds as JSON in its first argument. */
  static async start(name: string, options: object = {}): Promise<ServerProcess> {
    const program = join(import.meta.dirname, `../servers/${name}.ts`)
    const child = fork(program, [JSON.stringify(options)], {
      // No warnings: some peers get thousands about their listeners, where a client does not read.
      execArgv: ['--import', 'tsx', '--expose-gc', '--no-warnings'],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    const ended = new AbortController()
    child.once('exit', () => ended.abort())
    const [port] = (await once(child, 'message', { signal: ended.signal })) as [number]
    return new ServerProcess(name, port, child, ended.signal)
  }

  /** The CPU time that the process has used since its start, in microseconds. */
  cpuMicros(): Promise<number> {
    return this.#ask('cpu')
  }

  /** The CPU time of something, in microseconds per unit. */
  async microsPer(units: number, work: () => Promise<unknown>): Promise<number> {
    const before = await this.cpuMicros()
    await work()
    return ((await this.cpuMicros()) - before) / units
  }

  /** What is alive on its heap, in bytes. */
  heapBytes(): Promise<number> {
    return this.#ask('heap')
  }

  /** What it holds now, garbage and all; after `collect()`, without. */
  memory(): Promise<Memory> {
    return this.#ask('memory')
  }

  async collect(): Promise<void> {
    await this.heapBytes()
  }

  /** Has it publish. Does not wait for it: who has got it knows. */
  publish(publication: Publication): void {
    this.#child.send(publication)
  }

  async #ask<T>(question: 'cpu' | 'heap' | 'memory'): Promise<T> {
    const answer = once(this.#child, 'message', { signal: this.#ended })
    this.#child.send(question)
    const [value] = (await answer) as [T]
    return value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended.aborted) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}

/** In the contestant: reports the port, and what is asked for.
 * @param publish Sends a message to everyone who reads `/events`. */
export function report(port: number, publish: (message: Message) => void): void {
  // As in production: what makes TypeScript run here has turned them on, and the stack of an error costs ten times more.
  process.setSourceMapsEnabled(false)
  let seq = 0
  const publishNext = (eventBytes: number): void => publish(messageOf(++seq, eventBytes))
  process.on('message', (asked: 'cpu' | 'heap' | 'memory' | Publication) => {
    if (asked === 'cpu') process.send!(cpuMicros())
    else if (asked === 'heap') process.send!(heapBytes())
    else if (asked === 'memory') process.send!(memory())
    else publishAll(asked, publishNext)
  })
  // The bench is gone.
  process.once('disconnect', () => process.exit())
  process.send!(port)
}

function publishAll(
  { count, eventBytes, how }: Publication,
  publishNext: (eventBytes: number) => void,
): void {
  if (how === 'burst') {
    for (let left = count; left > 0; left--) publishNext(eventBytes)
    return
  }
  let left = count
  const turn = (): void => {
    publishNext(eventBytes)
    if (--left > 0) setImmediate(turn)
  }
  turn()
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

function heapBytes(): number {
  for (let times = 0; times < 3; times++) gc!()
  return process.memoryUsage().heapUsed
}

function memory(): Memory {
  // `external` has what `arrayBuffers` has, and more.
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, held: heapUsed + external }
}
