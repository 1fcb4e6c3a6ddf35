/** Bodies that middleware writes as they come, and those of others that go through what it has put on its response. */

import type { ServerResponse } from 'node:http'

import type { BodySink, BodySource } from '@wakerobin/core'
import type { Chunk, CloseCause } from '@wakerobin/core/adapter'

import type { ResponseSocket } from './response-socket.ts'

/** A body that goes through a response, in which middleware has replaced methods. */
interface Passed {
  readonly source: BodySource
  readonly response: ServerResponse
}

/** What comes out of a response of node's, as a body of the conn. */
export class ResponseBody implements BodySource {
  readonly isEndless: boolean
  readonly inner?: BodySource
  readonly #socket: ResponseSocket
  readonly #passed: Passed | undefined
  /** Whether the body that goes through knows how it ended. */
  #isInnerOver = false

  /** @param passed What goes in, where not middleware writes it. */
  constructor(socket: ResponseSocket, isEndless: boolean, passed?: Passed) {
    this.#socket = socket
    this.isEndless = isEndless
    this.#passed = passed
    if (passed !== undefined) this.inner = passed.source
  }

  start(sink: BodySink): void {
    const passed = this.#passed
    if (passed === undefined) return this.#socket.flow(sink)
    const innerOver = (): boolean => {
      const wasOver = this.#isInnerOver
      this.#isInnerOver = true
      return wasOver
    }
    // What breaks here concerns the source, too. It is told when its own call has returned.
    this.#socket.flow({
      write: (chunk) => sink.write(chunk),
      end: () => sink.end(),
      cut: () => sink.cut(),
      abort(error) {
        if (!innerOver()) process.nextTick(() => passed.source.closed('failure', error))
        sink.abort(error)
      },
    })
    passed.source.start(new PassingSink(passed, this.#socket, sink, innerOver))
  }

  drained(): void {
    this.#socket.drained()
  }

  /** A stream of events that middleware writes ends where it is: it knows nothing of the stop. */
  stop(): void {
    if (this.#passed !== undefined) {
      if (!this.#isInnerOver) this.#passed.source.stop()
    } else if (this.isEndless) this.#socket.cutShort()
  }

  closed(cause: CloseCause, error?: unknown): void {
    if (this.#passed !== undefined && !this.#isInnerOver) {
      this.#isInnerOver = true
      this.#passed.source.closed(cause, error)
    }
    this.#socket.over(false)
  }
}

/** Writes a body to a response whose methods middleware has replaced. */
class PassingSink implements BodySink {
  readonly #source: BodySource
  readonly #response: ServerResponse & { flush?: unknown }
  readonly #socket: ResponseSocket
  readonly #sink: BodySink
  /** Notes that the source is over. Returns whether it was before. */
  readonly #innerOver: () => boolean
  #isWaiting = false
  #isFlushing = false
  #isOver = false

  constructor(
    { source, response }: Passed,
    socket: ResponseSocket,
    sink: BodySink,
    innerOver: () => boolean,
  ) {
    this.#source = source
    this.#response = response
    this.#socket = socket
    this.#sink = sink
    this.#innerOver = innerOver
  }

  write(chunk: Chunk | Uint8Array): boolean {
    const bytes = chunk instanceof Uint8Array ? chunk : chunk.bytes
    if (this.#isOver || this.#socket.destroyed) return false
    if (bytes.length === 0) return true
    let hasRoom = false
    this.#call(() => {
      hasRoom = this.#response.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
      if (!hasRoom) this.#waitForRoom()
    })
    this.#flush()
    return hasRoom
  }

  end(): void {
    if (this.#isOver) return
    this.#finish()
    this.#call(() => this.#response.end())
  }

  abort(error: unknown): void {
    if (this.#isOver) return
    this.#finish()
    this.#sink.abort(error)
  }

  cut(): void {
    if (this.#isOver) return
    this.#finish()
    this.#sink.cut()
  }

  /** What is in an encoder would wait there until there is more. */
  #flush(): void {
    const { flush } = this.#response
    if (typeof flush !== 'function' || this.#isFlushing) return
    this.#isFlushing = true
    setImmediate(() => {
      this.#isFlushing = false
      if (!this.#isOver && !this.#socket.destroyed) this.#call(() => flush.call(this.#response))
    })
  }

  #waitForRoom(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#response.once('drain', () => {
      this.#isWaiting = false
      if (!this.#isOver) this.#source.drained()
    })
  }

  #finish(): void {
    this.#isOver = true
    this.#innerOver()
  }

  /** Calls what middleware has put there. What it throws breaks the body. */
  #call(part: () => void): void {
    try {
      part()
    } catch (error) {
      this.#socket.destroy(error instanceof Error ? error : new Error(String(error)))
    }
  }
}
