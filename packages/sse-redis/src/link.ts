/** Keeps a connection to Redis: opens another where one is over, ever more rarely while that fails. */

import { LostError, type Connection } from './connection.ts'

export interface LinkOptions {
  readonly open: () => Connection
  /** What is to be done on a new connection before it is used. */
  readonly prepare?: (connection: Connection) => Promise<void>
  /** It can be used. */
  readonly onReady?: (connection: Connection) => void
}

export class Link {
  readonly #options: LinkOptions
  #connection: Connection | undefined
  #isReady = false
  #isStarted = false
  /** Why there is no connection. */
  #reason: Error = new Error('Redis has not answered yet')
  #end: Error | undefined
  readonly #waiting = new Set<(connection?: Connection) => void>()
  #endPause: (() => void) | undefined

  constructor(options: LinkOptions) {
    this.#options = options
  }

  /** Why there is no connection, while there is none. */
  get reason(): Error {
    return this.#reason
  }

  /** Opens a connection, and then keeps one. A second call does nothing. */
  start(): void {
    if (this.#isStarted || this.#end !== undefined) return
    this.#isStarted = true
    void this.#keep()
  }

  /** Waits for the connection.
   * @throws {Error} With the reason, when there is none in that time. */
  connection(waitMs: number): Promise<Connection> {
    if (this.#end !== undefined) return Promise.reject(this.#end)
    if (this.#isReady) return Promise.resolve(this.#connection!)
    this.start()
    return new Promise((resolve, reject) => {
      const settle = (connection?: Connection): void => {
        this.#waiting.delete(settle)
        clearTimeout(timer)
        if (connection === undefined) reject(this.#end ?? this.#reason)
        else resolve(connection)
      }
      const timer = setTimeout(settle, waitMs)
      this.#waiting.add(settle)
    })
  }

  /** Ends it at once, for good. */
  close(): void {
    if (this.#end !== undefined) return
    this.#end = new LostError('the log is closed')
    this.#connection?.end(this.#end)
    this.#endPause?.()
    for (const settle of this.#waiting) settle()
  }

  async #keep(): Promise<void> {
    const { open, prepare, onReady } = this.#options
    let pauseMs = firstPauseMs
    while (this.#end === undefined) {
      const openedAt = performance.now()
      const connection = open()
      this.#connection = connection
      try {
        await connection.open()
        await prepare?.(connection)
        this.#isReady = true
        for (const settle of this.#waiting) settle(connection)
        await new Promise((resolve) => setImmediate(resolve)) // those who have waited come first
        onReady?.(connection)
        this.#reason = await connection.over
      } catch (error) {
        this.#reason = error as Error
        connection.end(this.#reason)
      }
      this.#isReady = false
      // One that breaks as soon as it is there is none.
      if (performance.now() - openedAt > longestPauseMs) pauseMs = firstPauseMs
      await this.#pause(pauseMs * (0.5 + Math.random() / 2))
      pauseMs = Math.min(2 * pauseMs, longestPauseMs)
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#end !== undefined) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

const firstPauseMs = 50
const longestPauseMs = 1_000
