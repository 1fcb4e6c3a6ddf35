/** The client of an app under test, as far as it reads a body that comes in parts. */

import { concatBytes } from './body.ts'
import type { BodySink, BodySource, Chunk, CloseCause } from './body.ts'

/** A body as the client has it in the end. */
export interface ReceivedBody {
  readonly bytes: Uint8Array
  /** Whether it broke off. */
  readonly isCut: boolean
}

/** Told of what happens to a body. */
export interface BodyListener {
  /** The head is out: the source has written, or has begun and waits. */
  onHead(): void
  onError(error: unknown): void
}

/** Reads a source to its end, to its failure, or until the client leaves. */
export class BodyCollector implements BodySink, AsyncIterable<Uint8Array> {
  /** Undefined where the source has failed before the head was out, which is a 500 then. */
  readonly received: Promise<ReceivedBody | undefined>
  readonly #source: BodySource
  readonly #length: number | undefined
  readonly #listener: BodyListener
  readonly #parts: Uint8Array[] = []
  /** What was written while the client did not read. */
  readonly #unread: Uint8Array[] = []
  readonly #calls: (() => void)[] = []
  #onNews: (() => void)[] = []
  #room = bytesPerTurn
  #isHeadOut = false
  #isStalled = false
  /** Whether the source waits for `drained`. */
  #isFull = false
  /** Whether the source is done: it neither writes nor is called any more. */
  #hasEnded = false
  /** Whether the client is done, too. */
  #isOver = false
  #resolve!: (received: ReceivedBody | undefined) => void

  /** @param length What the body must amount to, in bytes, where it is known. */
  constructor(source: BodySource, length: number | undefined, listener: BodyListener) {
    this.#source = source
    this.#length = length
    this.#listener = listener
    this.received = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  /** Whether it is endless, and goes on. */
  get isStream(): boolean {
    return this.#source.isEndless === true && !this.#hasEnded
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
    this.#finish(true)
    if (!hadEnded) this.#call(() => this.#source.closed(cause))
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
    if (this.#hasEnded) this.#finish(false)
    else this.#drain()
  }

  // ----------------------------------------------------------------------------- for the source

  write(chunk: Chunk | Uint8Array): boolean {
    if (this.#hasEnded) return false
    this.#sendHead()
    const bytes = chunk instanceof Uint8Array ? chunk : chunk.bytes
    if (this.#isStalled) {
      this.#unread.push(bytes)
      this.#isFull = true
      return false
    }
    this.#receive(bytes)
    this.#room -= bytes.length
    if (this.#room > 0) return true
    // A source that always has more must leave a turn to the test, which may want to stop it.
    this.#room = bytesPerTurn
    this.#isFull = true
    setTimeout(() => this.#drain(), 0)
    return false
  }

  end(): void {
    if (this.#hasEnded) return
    const error = lengthError(concatBytes([...this.#parts, ...this.#unread]).length, this.#length)
    if (error !== undefined) return this.abort(error)
    this.#sendHead()
    this.#hasEnded = true
    if (!this.#isStalled) this.#finish(false)
  }

  abort(error: unknown): void {
    if (this.#hasEnded) return
    this.#listener.onError(error)
    if (this.#isHeadOut) this.#finish(true)
    else this.#settle(undefined)
  }

  cut(): void {
    if (this.#hasEnded) return
    this.#sendHead()
    this.#finish(true)
  }

  #sendHead(): void {
    if (this.#isHeadOut) return
    this.#isHeadOut = true
    this.#listener.onHead()
  }

  #receive(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#parts.push(bytes)
    this.#tellNews()
  }

  #finish(isCut: boolean): void {
    this.#settle({ bytes: this.bytes, isCut })
  }

  #settle(received: ReceivedBody | undefined): void {
    this.#hasEnded = true
    this.#isOver = true
    this.#resolve(received)
    this.#tellNews()
  }

  #tellNews(): void {
    for (const resolve of this.#onNews.splice(0)) resolve()
  }

  /** There is room again, once for every time that there was none. */
  #drain(): void {
    if (!this.#isFull || this.#isStalled) return
    this.#isFull = false
    this.#callWhileOpen(() => this.#source.drained())
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

const bytesPerTurn = 1024 * 1024

/** A body that is not what it promised to be, which a server cuts. */
function lengthError(length: number, promised: number | undefined): RangeError | undefined {
  if (promised === undefined || promised === length) return undefined
  return new RangeError(`Cannot send a body of ${length} bytes: its length promised ${promised}`)
}
