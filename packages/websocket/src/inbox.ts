/** Messages that have come and were not read yet. */

/** A message as it came: text, or bytes. */
export type Message = string | Uint8Array

/** A queue with one end for whoever reads it in a loop. It holds little: when it is full, the sender waits. */
export class Inbox {
  readonly #messages: Message[] = []
  #bytes = 0
  #isOver = false
  #waiting: ((result: IteratorResult<Message, undefined>) => void)[] = []

  /** Whether no more should come for now. */
  get isFull(): boolean {
    return this.#bytes >= mostBytes
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0
  }

  push(message: Message): void {
    if (this.#isOver) return
    const waiting = this.#waiting.shift()
    if (waiting !== undefined) return waiting({ done: false, value: message })
    this.#messages.push(message)
    this.#bytes += costOf(message)
  }

  /** Nothing comes any more. What has come is still read. */
  end(): void {
    this.#isOver = true
    for (const waiting of this.#waiting.splice(0)) waiting(over)
  }

  /** Drops what has come. */
  clear(): void {
    this.#messages.length = 0
    this.#bytes = 0
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    const message = this.#messages.shift()
    if (message !== undefined) {
      this.#bytes -= costOf(message)
      return Promise.resolve({ done: false, value: message })
    }
    if (this.#isOver) return Promise.resolve(over)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

const over = { done: true, value: undefined } as const

const mostBytes = 64 * 1024

/** With something for the message itself: small ones must not be for nothing. */
function costOf(message: Message): number {
  return message.length + 64
}
