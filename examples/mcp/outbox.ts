/** The messages of one stream, kept for a client that loses its connection. */

import { SseEvent } from '@wakerobin/sse'

const keptEvents = 1000

/** What the server says in one stream: in answer to one request, or of its own accord.
 *
 * It has one reader at a time, and the newest: the one before may be a connection that nobody knows to be dead. */
export class Outbox {
  /** What its event ids begin with; unique within the session. */
  readonly name: string
  readonly #isPrimed: boolean
  /** The latest of them. */
  readonly #events: SseEvent[] = []
  #sent = 0
  /** How many a reader was given. */
  #given = 0
  #isClosed = false
  #reader: ReadableStreamDefaultController<SseEvent> | undefined

  /** @param isPrimed Whether a stream begins with an event that has nothing but an id, so that the client can resume
   * one of which it got nothing else. */
  constructor(name: string, isPrimed: boolean) {
    this.name = name
    this.#isPrimed = isPrimed
  }

  /** Whether nothing follows an event, now or later. */
  isOver(after: number): boolean {
    return this.#isClosed && after === this.#sent
  }

  send(message: object): void {
    if (this.#isClosed) return
    const event = SseEvent.new(JSON.stringify(message)).withId(`${this.name}.${++this.#sent}`)
    if (this.#events.push(event) > keptEvents) this.#events.shift()
    this.#give(event)
  }

  /** Nothing will follow. */
  close(): void {
    this.#isClosed = true
    this.#reader?.close()
    this.#reader = undefined
  }

  /** Reads on after an event; after all that readers were given before, where none is named.
   * @returns undefined where what follows is no longer kept, or there was no such event. */
  read(after = this.#given): ReadableStream<SseEvent> | undefined {
    const oldest = this.#sent - this.#events.length
    if (!(after >= oldest && after <= this.#sent)) return undefined
    this.#reader?.close()
    let mine: ReadableStreamDefaultController<SseEvent>
    return new ReadableStream({
      start: (controller) => {
        this.#reader = mine = controller
        if (this.#isPrimed) controller.enqueue(SseEvent.new('').withId(`${this.name}.${after}`))
        for (const event of this.#events.slice(after - oldest)) this.#give(event)
        if (this.#isClosed) this.close()
      },
      cancel: () => {
        if (this.#reader === mine) this.#reader = undefined
      },
    })
  }

  #give(event: SseEvent): void {
    if (this.#reader === undefined) return
    this.#reader.enqueue(event)
    this.#given = this.#sent
  }
}
