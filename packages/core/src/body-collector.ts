/** The client of an app under test, as far as it reads a body that comes in parts. */

import { BodyDriver } from './body-driver.ts'
import type { Ending } from './body-driver.ts'
import { concatBytes } from './body.ts'
import type { Chunk } from './body.ts'

/** A body as the client has it in the end. */
export interface ReceivedBody {
  readonly bytes: Uint8Array
  /** Whether it broke off. */
  readonly isCut: boolean
}

/** Reads a source to its end, to its failure, or until the client leaves. */
export class BodyCollector extends BodyDriver implements AsyncIterable<Uint8Array> {
  /** Undefined where the source has failed before the head was out, which is a 500 then. */
  readonly received: Promise<ReceivedBody | undefined>
  readonly #parts: Uint8Array[] = []
  /** What was written while the client did not read. */
  readonly #unread: Uint8Array[] = []
  #onNews: (() => void)[] = []
  #room = bytesPerTurn
  #isStalled = false
  /** Whether the source has ended while the client did not read. */
  #hasEndedUnread = false
  /** Whether the client is done, too. */
  #isOver = false
  #resolve!: (received: ReceivedBody | undefined) => void

  constructor(...args: ConstructorParameters<typeof BodyDriver>) {
    super(...args)
    this.received = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** What has come so far. */
  get bytes(): Uint8Array {
    return concatBytes(this.#parts)
  }

  /** The bytes from the beginning, as they come, until the body is over. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let at = 0; ; at++) {
      while (at === this.#parts.length) {
        if (this.#isOver) return
        await new Promise<void>((resolve) => this.#onNews.push(resolve))
      }
      yield this.#parts[at]!
    }
  }

  /** The client stops reading. */
  stall(): void {
    this.#isStalled = true
  }

  /** The client reads on. */
  resume(): void {
    if (!this.#isStalled || this.#isOver) return
    this.#isStalled = false
    for (const bytes of this.#unread.splice(0)) this.#receive(bytes)
    if (this.#hasEndedUnread) this.#settle('whole')
    else this.drain()
  }

  protected take(chunk: Chunk | Uint8Array): boolean {
    const bytes = chunk instanceof Uint8Array ? chunk : chunk.bytes
    if (this.#isStalled) {
      this.#unread.push(bytes)
      return false
    }
    this.#receive(bytes)
    this.#room -= bytes.length
    if (this.#room > 0) return true
    // A source that always has more must leave a turn to the test, which may want to stop it.
    this.#room = bytesPerTurn
    setTimeout(() => {
      if (!this.#isStalled) this.drain()
    }, 0)
    return false
  }

  protected ended(ending: Ending): void {
    if (ending === 'whole' && this.#isStalled) this.#hasEndedUnread = true
    else this.#settle(ending)
  }

  #receive(bytes: Uint8Array): void {
    this.#parts.push(bytes)
    this.#tellNews()
  }

  #settle(ending: Ending): void {
    this.#isOver = true
    const { bytes } = this
    this.#resolve(ending === 'failed' ? undefined : { bytes, isCut: ending !== 'whole' })
    this.#tellNews()
  }

  #tellNews(): void {
    for (const resolve of this.#onNews.splice(0)) resolve()
  }
}

const bytesPerTurn = 1024 * 1024
