/** Clients of an event stream, in a process of their own, which check all that they get. */

import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface CrowdOptions {
  readonly port: number
  readonly clients: number
  /** How many of them stop reading once they are connected; they are not waited for. Default 0. */
  readonly stalled?: number
  /** The size of the events that they will get. */
  readonly eventBytes: number
}

/** To the process: connect, or say when each client has got so many events in all. */
export type Order = { readonly open: CrowdOptions } | { readonly goal: number }

/** From the process: done, or what went wrong. */
export type Answer = { readonly problem?: string }

export class Crowd implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: AbortSignal
  #goal = 0

  private constructor(child: ChildProcess, ended: AbortSignal) {
    this.#child = child
    this.#ended = ended
  }

  /** Resolves when every client has the head of its stream. */
  static async open(options: CrowdOptions): Promise<Crowd> {
    const child = fork(join(import.meta.dirname, '../clients/crowd.ts'), {
      execArgv: ['--import', 'tsx'],
    })
    const ended = new AbortController()
    child.once('exit', () => ended.abort())
    const crowd = new Crowd(child, ended.signal)
    try {
      await crowd.#order({ open: options })
      return crowd
    } catch (error) {
      await crowd[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Resolves when each client that reads has got `count` events more.
   * @throws {Error} When one gets anything else, or nothing in time. */
  async gets(count: number): Promise<void> {
    await this.#order({ goal: (this.#goal += count) })
  }

  async #order(order: Order): Promise<void> {
    const answer = once(this.#child, 'message', { signal: this.#ended })
    this.#child.send(order)
    const [{ problem }] = (await answer) as [Answer]
    if (problem !== undefined) throw new Error(problem)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended.aborted) return
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
