/** The session of a log: made when it is needed, and anew when it was lost. */

import type { Settings } from './options.ts'
import { Session } from './session.ts'

export class Link {
  readonly #settings: Settings
  #current: Session | undefined
  #opening: Promise<Session> | undefined
  #isClosed = false

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** @throws {Error} (rejects) When there is none now: after one attempt, which all share who ask meanwhile. */
  session(): Promise<Session> {
    if (this.#isClosed) return Promise.reject(new Error('the log is closed'))
    if (this.#current?.isOver === false) return Promise.resolve(this.#current)
    return (this.#opening ??= this.#open())
  }

  /** Waits for an attempt that is under way. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#opening?.catch(() => {})
    await this.#current?.close()
  }

  async #open(): Promise<Session> {
    try {
      this.#current = await Session.open(this.#settings)
      if (this.#isClosed) this.#current.end()
      return this.#current
    } finally {
      this.#opening = undefined
    }
  }
}
