/** A WebSocket, as its handler has it. */

import type { Conn } from '@wakerobin/core'
import { describe, parseJson } from '@wakerobin/core/adapter'

import { Inbox } from './inbox.ts'
import type { Message } from './inbox.ts'
import type { Keepalive } from './keepalive.ts'
import type { CheckedOptions } from './options.ts'
import { isOpen } from './ws.ts'
import type { RawWebSocket } from './ws.ts'

/** How a WebSocket has ended: RFC 6455 §7.1.5 and §7.1.6. */
export interface WebSocketClose {
  /** The code that the client has sent; 1005 where it has sent none, 1006 where the connection was cut. */
  readonly code: number
  readonly reason: string
}

// What the handler of upgrades may do, and handlers may not. Set in the class below.

/** Closes a WebSocket, and cuts it where the client does not close its side in time. Messages that have come are
 * still read. */
export let dismiss: (socket: WebSocketConn, code: number) => void

/** An open WebSocket, and the conn that it began with. */
export class WebSocketConn<in P = never> implements AsyncIterable<Message> {
  /** The request that it began with, with its state. */
  readonly conn: Conn<P>
  /** The subprotocol that was agreed on, of those in `protocols`. */
  readonly protocol: string | undefined
  /** Resolves when it is closed, however that came. A client that leaves while its messages are not read is noticed late. */
  readonly closed: Promise<WebSocketClose>
  readonly #raw: RawWebSocket
  readonly #options: CheckedOptions
  readonly #inbox = new Inbox()
  #controller: AbortController | undefined
  #isPaused = false
  /** Whether anything has come since the last ping. */
  #isAlive = true
  #isClosing = false

  /** Use `websocket(handler)`. */
  constructor(
    conn: Conn<P>,
    raw: RawWebSocket,
    protocol: string | undefined,
    options: CheckedOptions,
    keepalive: Keepalive,
  ) {
    this.conn = conn
    this.protocol = protocol
    this.#raw = raw
    this.#options = options
    raw.on('message', (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary))
    raw.on('ping', () => (this.#isAlive = true))
    raw.on('pong', () => (this.#isAlive = true))
    // The client's doing: bytes that are no frames, a message too long. ws closes with the code for it.
    raw.on('error', () => {})
    const peer = { tick: () => this.#tick() }
    keepalive.add(peer)
    this.closed = new Promise((resolve) => {
      raw.on('close', (code: number, reason: Buffer) => {
        registration[Symbol.dispose]()
        keepalive.delete(peer)
        this.#end()
        resolve({ code, reason: reason.toString() })
      })
    })
    // At once, where it has begun.
    const registration = conn.swansong.onStop(() => dismiss(this, 1001))
  }

  /** Aborts when nothing can be sent any more. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (!isOpen(this.#raw)) this.#controller.abort()
    }
    return this.#controller.signal
  }

  /** How many bytes wait for the client to read them. */
  get bufferedBytes(): number {
    return this.#raw.bufferedAmount
  }

  /** Sends a message: a string as text, bytes as they are.
   *
   * Where more than `bufferBytes` wait already, the client is cut: await what is sent, to be as fast as it is.
   * @returns Whether it was handed to the network, when it was; false where the connection has closed before. It
   * never rejects.
   * @throws {TypeError} When `message` is neither. */
  send(message: string | Uint8Array): Promise<boolean> {
    if (typeof message !== 'string' && !(message instanceof Uint8Array)) {
      throw new TypeError(
        `Cannot send ${describe(message)} over a WebSocket: expected a string or a Uint8Array; for values there is sendJson`,
      )
    }
    const raw = this.#raw
    if (!isOpen(raw)) return Promise.resolve(false)
    if (raw.bufferedAmount > this.#options.bufferBytes) {
      raw.terminate()
      return Promise.resolve(false)
    }
    return new Promise((resolve) => raw.send(message, (error) => resolve(error == null)))
  }

  /** Sends a value as JSON.
   * @returns As `send`.
   * @throws {TypeError} When `value` has no JSON form, as `undefined` or a cycle. */
  sendJson(value: unknown): Promise<boolean> {
    const text: string | undefined = JSON.stringify(value)
    if (text === undefined)
      throw new TypeError(`Cannot send ${describe(value)} as JSON: it has no JSON form`)
    return this.send(text)
  }

  /** Closes it, after what was sent before. Messages that were not read are dropped. The second call changes nothing.
   * @param code 1000, the default, is a normal end; 1008 a refusal; 4000 to 4999 are yours: RFC 6455 §7.4.
   * @param reason For the client, at most 123 bytes.
   * @returns `closed`.
   * @throws {RangeError} When the code or the reason cannot be sent. */
  close(code: number = 1000, reason: string = ''): Promise<WebSocketClose> {
    if (!isCloseCode(code)) {
      throw new RangeError(
        `Cannot close a WebSocket with the code ${describe(code)}: it must be 1000 to 1003, 1007 to 1014, or 3000 to 4999`,
      )
    }
    if (typeof reason !== 'string' || Buffer.byteLength(reason) > 123) {
      throw new RangeError(
        `Cannot close a WebSocket with the reason ${describe(reason)}: it must be a string of at most 123 bytes`,
      )
    }
    this.#inbox.clear()
    this.#close(code, reason)
    return this.closed
  }

  /** The messages, as they come, until it is closed: strings, and bytes as `Uint8Array`. A loop that takes its time
   * makes the client wait. */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return { next: () => this.#next() }
  }

  /** The messages as values, from JSON. One that is none, or has an object with a key `__proto__`, closes the
   * WebSocket, with 1007, and ends the loop.
   *
   * What is in them only the client knows: check it. */
  async *json(): AsyncGenerator<unknown, void, undefined> {
    for await (const message of this) {
      let value: unknown
      try {
        value = parseJson(typeof message === 'string' ? message : '')
      } catch {
        void this.close(1007, 'Expected JSON')
        return
      }
      yield value
    }
  }

  /** Reads and drops what comes, until it is closed: for handlers that only send.
   * @returns `closed`. */
  async discard(): Promise<WebSocketClose> {
    while ((await this.#next()).done !== true);
    return this.closed
  }

  /** The next ping is due. */
  #tick(): void {
    if (!isOpen(this.#raw)) return
    // While we do not read, no answer is seen.
    if (!this.#isAlive && !this.#isPaused) {
      this.#raw.terminate()
      return
    }
    this.#isAlive = false
    this.#raw.ping()
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#isAlive = true
    if (this.#isClosing) return
    this.#inbox.push(isBinary ? data : data.toString())
    if (!this.#inbox.isFull || this.#isPaused) return
    this.#isPaused = true
    this.#raw.pause()
  }

  #next(): Promise<IteratorResult<Message, undefined>> {
    const next = this.#inbox.next()
    if (this.#inbox.isEmpty) this.#resume()
    return next
  }

  #resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    this.#isAlive = true
    this.#raw.resume()
  }

  #close(code: number, reason: string): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#raw.close(code, reason)
    this.#end()
    this.#resume() // to see the client close
  }

  #end(): void {
    this.#inbox.end()
    this.#controller?.abort()
  }

  static {
    dismiss = (socket, code) => {
      socket.#close(code, '')
      const timeout = setTimeout(() => socket.#raw.terminate(), socket.#options.closeTimeoutMs)
      void socket.closed.then(() => clearTimeout(timeout))
    }
  }
}

/** RFC 6455 §7.4.1: 1004 to 1006 and 1015 are never sent. */
function isCloseCode(code: unknown): code is number {
  if (!Number.isInteger(code)) return false
  const number = code as number
  if (number >= 3000) return number <= 4999
  return number >= 1000 && number <= 1014 && !(number >= 1004 && number <= 1006)
}
