/** A body source on its way to a client in this process: the rules of `BodySource` and `BodySink`, whatever the client
 * is. */

import type { BodySink, BodySource, Chunk, CloseCause } from './body.ts'

/** Told of what happens to a body. */
export interface BodyListener {
  /** The head is out: the source has written, or has begun and waits. */
  onHead(): void
  onError(error: unknown): void
}

/** How a source has ended.
 *
 * `whole`: the body is complete. `broken`: the source has failed; what it wrote before still counts. `cut`: nobody
 * reads any more. `failed`: before the head was out, which is a 500 then. */
export type Ending = 'whole' | 'broken' | 'cut' | 'failed'

export abstract class BodyDriver implements BodySink {
  readonly #source: BodySource
  readonly #length: number | undefined
  readonly #listener: BodyListener
  readonly #calls: (() => void)[] = []
  #written = 0
  #isHeadOut = false
  /** Whether the source waits for `drained`. */
  #isFull = false
  /** Whether the source is done: it neither writes nor is called any more. */
  #hasEnded = false

  /** @param length What the body must amount to, in bytes, where it is known. */
  constructor(source: BodySource, length: number | undefined, listener: BodyListener) {
    this.#source = source
    this.#length = length
    this.#listener = listener
  }

  /** Whether it is endless, and goes on. */
  get isStream(): boolean {
    return this.#source.isEndless === true && !this.#hasEnded
  }

  // -------------------------------------------------------------------------------- the client

  /** Takes what the source has written. Returns whether there is room for more; where there is none, `drain` is
   * called when there is. */
  protected abstract take(chunk: Chunk | Uint8Array): boolean

  /** The source is done. */
  protected abstract ended(ending: Ending): void

  /** There is room again, once for every time that there was none. */
  protected drain(): void {
    if (!this.#isFull) return
    this.#isFull = false
    this.#callWhileOpen(() => this.#source.drained())
  }

  // ---------------------------------------------------------------------------- what befalls it

  start(): void {
    this.#call(() => this.#source.start(this))
    if (!this.#hasEnded) this.#sendHead()
  }

  /** The server stops. */
  stop(): void {
    this.#callWhileOpen(() => this.#source.stop())
  }

  /** The client leaves, before it is over, or is cut. */
  leave(cause: CloseCause = 'client'): void {
    const hadEnded = this.#hasEnded
    this.#hasEnded = true
    // First: `afterSend` finds a source that has counted what it had to.
    if (!hadEnded) this.#call(() => this.#source.closed(cause))
    this.ended('cut')
  }

  // ----------------------------------------------------------------------------- for the source

  write(chunk: Chunk | Uint8Array): boolean {
    if (this.#hasEnded) return false
    const { length } = chunk instanceof Uint8Array ? chunk : chunk.bytes
    this.#written += length
    if (this.#length !== undefined && this.#written > this.#length) {
      this.#refuse(lengthError(this.#written, this.#length))
      return false
    }
    this.#sendHead()
    if (length === 0 || this.take(chunk)) return true
    this.#isFull = true
    return false
  }

  end(): void {
    if (this.#hasEnded) return
    if (this.#length !== undefined && this.#written !== this.#length)
      return this.abort(lengthError(this.#written, this.#length))
    this.#sendHead()
    this.#end('whole')
  }

  abort(error: unknown): void {
    if (this.#hasEnded) return
    this.#listener.onError(error)
    this.#end(this.#isHeadOut ? 'broken' : 'failed')
  }

  cut(): void {
    if (this.#hasEnded) return
    this.#sendHead()
    this.#end('cut')
  }

  /** Aborts for an error that the source does not know of. Its `closed` comes when its own call has returned. */
  #refuse(error: unknown): void {
    queueMicrotask(() => this.#call(() => this.#source.closed('failure', error)))
    this.abort(error)
  }

  #sendHead(): void {
    if (this.#isHeadOut) return
    this.#isHeadOut = true
    this.#listener.onHead()
  }

  #end(ending: Ending): void {
    this.#hasEnded = true
    this.ended(ending)
  }

  #callWhileOpen(part: () => void): void {
    this.#call(() => {
      if (!this.#hasEnded) part()
    })
  }

  /** Calls the source, or, from within a call of it, as soon as that has returned. */
  #call(part: () => void): void {
    this.#calls.push(part)
    if (this.#calls.length > 1) return
    for (let call; (call = this.#calls[0]) !== undefined; this.#calls.shift()) {
      try {
        call()
      } catch (error) {
        if (this.#hasEnded) this.#listener.onError(error)
        else this.abort(error)
      }
    }
  }
}

/** A body that is not what it promised to be, which a server cuts. */
function lengthError(length: number, promised: number): RangeError {
  return new RangeError(`Cannot send a body of ${length} bytes: its length promised ${promised}`)
}
