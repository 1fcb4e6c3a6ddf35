/** Reads an event stream as a client does: for tests, which look at what came.
 *
 * Source: WHATWG HTML §9.2.6 (#event-stream-interpretation). */

/** An event as a client dispatches it. */
export interface ReceivedEvent<Data = unknown> {
  /** `message` where the stream says none. */
  readonly type: string
  readonly data: string
  /** The id that the client would go on from: that of this event, or of the last one before it that had one. */
  readonly id: string
  /** The data as JSON. Not enumerable, so that an event is equal to `{ type, data, id }`. */
  json<T = Data>(): T
}

export class EventParser {
  readonly events: ReceivedEvent[] = []
  readonly comments: string[] = []
  /** The last reconnection time that was said, in milliseconds. */
  retryMs: number | undefined
  /** What the client would say when it reconnects. */
  lastEventId: string
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  #hasBegun = false
  #line = ''
  /** Whether a CR was the last character: a LF that follows belongs to it. */
  #hasCr = false
  #data = ''
  #type = ''
  #id: string

  /** @param lastEventId What the client has said in `Last-Event-ID`: clients keep it over a reconnection. */
  constructor(lastEventId = '') {
    this.lastEventId = this.#id = lastEventId
  }

  /** Takes the next bytes; an event may be in pieces, and so may a character. */
  feed(bytes: Uint8Array): void {
    let text = this.#decoder.decode(bytes, { stream: true })
    if (text === '') return
    // "Streams must be decoded using the UTF-8 decode algorithm", which drops one byte order mark. Not left to the
    // decoder: that of Node 24 drops a second one, where the first comes in pieces.
    if (!this.#hasBegun) text = text.replace(/^\ufeff/, '')
    this.#hasBegun = true
    if (this.#hasCr && text.startsWith('\n')) text = text.slice(1)
    this.#hasCr = text.endsWith('\r')
    const lines = (this.#line + text).split(/\r\n|\r|\n/)
    this.#line = lines.pop()!
    for (const line of lines) this.#read(line)
  }

  #read(line: string): void {
    if (line === '') return this.#dispatch()
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (colon === 0) this.comments.push(value)
    else if (name === 'event') this.#type = value
    else if (name === 'data') this.#data += `${value}\n`
    else if (name === 'id' && !value.includes('\0')) this.#id = value
    else if (name === 'retry' && /^[0-9]+$/.test(value)) this.retryMs = Number(value)
  }

  #dispatch(): void {
    this.lastEventId = this.#id
    if (this.#data !== '') {
      const data = this.#data.slice(0, -1)
      const event = { type: this.#type === '' ? 'message' : this.#type, data, id: this.#id }
      this.events.push(
        Object.defineProperty(event, 'json', { value: () => JSON.parse(data) }) as never,
      )
    }
    this.#data = this.#type = ''
  }
}
