/** Waits for more in a stream, for everyone who follows it: on a connection that is blocked while it waits. */

import { LostError } from './connection.ts'
import type { Link } from './link.ts'
import { beginning, compareIds } from './stream-id.ts'

interface Waiting {
  readonly after: string
  readonly go: (error?: unknown) => void
}

export class Watch {
  readonly #link: Link
  readonly #key: string
  readonly #waiting = new Set<Waiting>()
  #turn = 0
  #isReading = false

  constructor(link: Link, key: string) {
    this.#link = link
    this.#key = key
  }

  /** Another one as soon as there may be more. */
  get turn(): number {
    return this.#turn
  }

  /** Resolves when there may be more than when it was that turn, or it is time to look whether the stream still is what it
   * was; and when the signal aborts.
   * @param after An id of the stream, after which there was nothing.
   * @throws {Error} When Redis does not allow to wait. */
  more(turn: number, after: string, signal: AbortSignal): Promise<void> {
    if (turn !== this.#turn || signal.aborted) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const go = (error?: unknown): void => {
        this.#waiting.delete(waiting)
        signal.removeEventListener('abort', onAbort)
        if (error === undefined) resolve()
        else reject(error as Error)
      }
      const onAbort = (): void => go()
      const waiting: Waiting = { after, go }
      signal.addEventListener('abort', onAbort)
      this.#waiting.add(waiting)
      void this.#read()
    })
  }

  async #read(): Promise<void> {
    if (this.#isReading) return // whoever waits already has been told of all that comes
    this.#isReading = true
    const failure = await this.#wait()
    this.#isReading = false
    this.#turn++
    for (const { go } of this.#waiting) go(failure)
  }

  /** Resolves when it is time to look, with the error where Redis does not allow to wait. */
  async #wait(): Promise<unknown> {
    const connection = await this.#link.connection(longestWaitMs).catch(() => undefined)
    if (connection === undefined) return undefined // without it, it is looked now and then
    const [first = beginning] = Array.from(this.#waiting, ({ after }) => after).sort(compareIds)
    const block = ['BLOCK', String(longestWaitMs), 'COUNT', '1']
    try {
      await connection.command(['XREAD', ...block, 'STREAMS', this.#key, first])
      return undefined
    } catch (error) {
      return error instanceof LostError ? undefined : error
    }
  }
}

/** How long nothing has to come until it is looked whether the stream was lost. */
export const longestWaitMs = 2_000
