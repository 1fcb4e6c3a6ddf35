/** What a consumer is sent, gathered: all that has come in a turn is taken together. */

import { setImmediate as nextTurn } from 'node:timers/promises'

import type { ConsumerMessages, JsMsg } from '@nats-io/jetstream'

export class Arrivals {
  readonly #messages: ConsumerMessages
  #gathered: JsMsg[] = []
  #delivered = 0
  #isOver = false
  #error: unknown
  /** Called when there is something to take, or nothing more to wait for. */
  #onChange: (() => void) | undefined
  /** Called when there is room again. */
  #onRoom: (() => void) | undefined

  constructor(messages: ConsumerMessages) {
    this.#messages = messages
    void this.#gather()
  }

  /** Resolves with what has come, oldest first; with nothing after a time, or at the end.
   * @throws {Error} (rejects) When no more will come, and all that did was taken. */
  async take(waitMs: number): Promise<JsMsg[]> {
    if (this.#gathered.length === 0 && !this.#isOver) await this.#change(waitMs)
    if (this.#gathered.length > 0) await nextTurn()
    const taken = this.#gathered
    if (taken.length === 0 && this.#error !== undefined) throw this.#error
    this.#gathered = []
    this.#onRoom?.()
    return taken
  }

  end(): void {
    if (this.#isOver) return
    this.#finish(undefined)
    void this.#messages.close()
  }

  async #gather(): Promise<void> {
    try {
      for await (const message of this.#messages) {
        if (this.#isOver) return
        if (message.info.deliverySequence !== ++this.#delivered)
          throw new Error('a message of its consumer was lost')
        this.#gathered.push(message)
        this.#onChange?.()
        if (this.#gathered.length >= mostGathered)
          await new Promise<void>((resolve) => (this.#onRoom = resolve))
      }
      throw new Error('the connection to NATS was lost')
    } catch (error) {
      if (!this.#isOver) this.#finish(error)
    }
  }

  #finish(error: unknown): void {
    this.#isOver = true
    this.#error = error
    this.#onChange?.()
    this.#onRoom?.()
  }

  #change(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        clearTimeout(timer)
        this.#onChange = undefined
        resolve()
      }
      const timer = setTimeout(go, waitMs)
      this.#onChange = go
    })
  }
}

/** How many are kept for who does not take them; as many are on their way. */
const mostGathered = 1_000
