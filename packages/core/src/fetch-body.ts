/** A body source as a web stream. */

import { BodyDriver } from './body-driver.ts'
import type { BodyListener, Ending } from './body-driver.ts'
import { concatBytes } from './body.ts'
import type { BodySource, Chunk } from './body.ts'

/** Told of what happens to a body. */
export interface FetchBodyListener extends BodyListener {
  /** It has failed before the head was out. */
  onFailed(): void
  /** It is over: handed over whole, or not. */
  onOver(isSent: boolean): void
  /** Whoever reads it has cancelled it. */
  onCancel(): void
}

/** What is written waits here until the stream is read: so it is known what was handed over, and all that was written
 * in the meantime goes on as one chunk. */
export class FetchBody extends BodyDriver {
  readonly stream: ReadableStream<Uint8Array>
  readonly #listener: FetchBodyListener
  #controller!: ReadableStreamDefaultController<Uint8Array>
  readonly #parts: Uint8Array[] = []
  #length = 0
  /** Set while the reader waits. */
  #onGiven: (() => void) | undefined
  #ending: Ending | undefined
  #isOver = false

  constructor(source: BodySource, length: number | undefined, listener: FetchBodyListener) {
    super(source, length, listener)
    this.#listener = listener
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () =>
          new Promise<void>((resolve) => {
            this.#onGiven = resolve
            this.#give()
          }),
        cancel: () => {
          // A reader may know that this was all.
          if (this.#ending === 'whole' && this.#parts.length === 0) this.#over(true)
          else if (!this.#isOver) listener.onCancel()
        },
      },
      { highWaterMark: 0 }, // pulled when there is a reader that has taken everything
    )
  }

  protected take(chunk: Chunk | Uint8Array): boolean {
    // A chunk is shared with other clients, and a reader may transfer what it gets.
    const bytes = chunk instanceof Uint8Array ? chunk : chunk.bytes.slice()
    this.#parts.push(bytes)
    this.#length += bytes.length
    this.#give()
    return this.#length < maxWaitingBytes
  }

  protected ended(ending: Ending): void {
    this.#ending = ending
    if (ending === 'failed') {
      this.#listener.onFailed()
      return
    }
    // Nothing is waited for any more; but what was written before a failure still goes out.
    if (ending !== 'whole') this.#over(false)
    // A turn later: a runtime whose client has left cancels the stream, and would complain of its error.
    if (ending === 'cut') queueMicrotask(() => this.#break())
    else this.#give()
  }

  /** Gives the reader what there is, if it waits. */
  #give(): void {
    const given = this.#onGiven
    if (given === undefined) return
    if (this.#parts.length > 0) {
      this.#controller.enqueue(concatBytes(this.#parts.splice(0)))
      this.#length = 0
    } else if (this.#ending === 'whole') {
      this.#controller.close()
      this.#over(true)
    } else if (this.#ending === 'broken') {
      this.#break()
    } else {
      return // until something is written
    }
    this.#onGiven = undefined
    given()
    this.drain()
  }

  #break(): void {
    this.#parts.length = 0
    // What was wrong has been reported: it is nothing that a client should see.
    this.#controller.error(new TypeError('The response body broke off'))
    this.#onGiven?.()
  }

  #over(isSent: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#listener.onOver(isSent)
  }
}

/** What a source may write ahead of the reader, in bytes, before it is told to wait. */
const maxWaitingBytes = 64 * 1024
