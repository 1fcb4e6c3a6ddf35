/** What a response of node:http writes to where it has no connection: takes it apart into head and body. */

import { Socket } from 'node:net'

import type { BodySink, Conn } from '@wakerobin/core'

/** The head of a response, as it was written. */
export interface ResponseHead {
  readonly status: number
  /** `name, value…`, without what is the connection's. */
  readonly rawHeaders: readonly string[]
}

/** Who is told what comes. Each is called once at most. */
export interface ResponseReader {
  /** The head has come. */
  head(): void
  /** It was destroyed, by whoever has it, before all has come. */
  broken(error: Error | null): void
}

type WriteDone = (error?: Error | null) => void

interface Piece {
  readonly chunk: string | Buffer
  readonly encoding: BufferEncoding
}

/** A socket in the place of a client's. It says of the client what the conn says. */
export class ResponseSocket extends Socket {
  readonly conn: Conn
  head: ResponseHead | undefined
  readonly #reader: ResponseReader
  /** What has come of the body, and nobody has taken yet. */
  #bytes: Buffer[] = []
  /** What becomes of it: it waits; it is kept until all of it is here; it goes to a sink; nobody wants it. */
  #course: 'waits' | 'collects' | 'flows' | 'over' = 'waits'
  #sink: BodySink | undefined
  /** Tells node that what it wrote last was taken. */
  #written: WriteDone | undefined
  /** How much that was, as node counts it. */
  #writing = 0
  #hasEnded = false
  #hasRoom = true
  #onWhole: (() => void) | undefined
  #error: Error | undefined

  constructor(conn: Conn, reader: ResponseReader) {
    super()
    this.conn = conn
    this.#reader = reader
    this.on('error', ignore) // told by `broken`
  }

  /** Whether all of the response is here. */
  get isWhole(): boolean {
    return this.#hasEnded && this.head !== undefined && this.writableLength === this.#writing
  }

  /** What is wrong with a response that was destroyed before all of it was here. */
  get brokenBy(): Error | undefined {
    return this.#error
  }

  /** How much of the body waits to be taken, in bytes. */
  get bodyLength(): number {
    return this.#bytes.reduce((length, chunk) => length + chunk.length, 0)
  }

  /** Takes the body that has come. */
  takeBytes(): Buffer {
    const bytes = Buffer.concat(this.#bytes)
    this.#bytes = []
    return bytes
  }

  /** The response has written its end. */
  ended(): void {
    if (this.destroyed) return
    this.#hasEnded = true
    if (this.#course === 'waits') this.collect()
    else this.#step()
  }

  /** Takes all that comes. Calls back when it is whole, perhaps at once. */
  collect(onWhole?: () => void): void {
    if (onWhole !== undefined) this.#onWhole = onWhole
    if (this.#course === 'waits') this.#course = 'collects'
    this.#step()
  }

  /** Lets the body flow. */
  flow(sink: BodySink): void {
    if (this.#error !== undefined) return sink.abort(this.#error)
    this.#sink = sink
    this.#course = 'flows'
    const bytes = this.takeBytes()
    if (bytes.length > 0) this.#hasRoom = sink.write(bytes)
    this.#step()
  }

  /** The sink has room again. */
  drained(): void {
    this.#hasRoom = true
    this.#step()
  }

  /** Ends the body where it is. */
  cutShort(): void {
    const sink = this.#sink
    if (this.#course !== 'flows' || sink === undefined) return
    this.#course = 'over'
    sink.end()
    this.destroy()
  }

  /** The response is over, sent or not: tells the one who wrote it. */
  over(isSent: boolean): void {
    this.#course = 'over'
    this.#bytes = []
    if (isSent) this.#release()
    // When all who wait for the end of the response were told.
    process.nextTick(() => this.destroy())
  }

  override _read(): void {}

  override _write(chunk: string | Buffer, encoding: BufferEncoding, done: WriteDone): void {
    this.#take([{ chunk, encoding }], done)
  }

  override _writev(pieces: Piece[], done: WriteDone): void {
    this.#take(pieces, done)
  }

  /** Middleware has ended the connection, as it thinks. */
  override _final(done: WriteDone): void {
    done()
    this.destroy()
  }

  override _destroy(error: Error | null, done: WriteDone): void {
    if (this.#course !== 'over') {
      this.#course = 'over'
      if (!this.isWhole) {
        this.#error = error ?? broken()
        this.#bytes = []
        this.#sink?.abort(this.#error)
      }
      this.#reader.broken(error)
    }
    // oxlint-disable-next-line no-underscore-dangle -- the method that it overrides
    super._destroy(error, (error) => done(error))
  }

  #take(pieces: readonly Piece[], done: WriteDone): void {
    this.#written = done
    if (this.timeout !== undefined && this.timeout > 0) this.setTimeout(this.timeout) // from now on
    this.#writing = pieces.reduce((length, { chunk }) => length + chunk.length, 0)
    if (this.#course === 'over') return this.#release()
    const hadHead = this.head !== undefined
    const bytes = pieces.map((piece) => this.#bodyOf(piece)).filter(({ length }) => length > 0)
    if (this.#course === 'flows')
      for (const chunk of bytes) this.#hasRoom = this.#sink!.write(chunk)
    else this.#bytes.push(...bytes)
    if (!hadHead && this.head !== undefined) this.#reader.head()
    // Node tells of the end of a response when it has written all of it.
    process.nextTick(() => this.#step())
  }

  /** What belongs to the body of a piece. Heads are written whole, interim ones (1xx) too. */
  #bodyOf({ chunk, encoding }: Piece): Buffer {
    let text = typeof chunk === 'string' ? chunk : chunk.toString('latin1')
    let headLength = 0
    while (this.head === undefined && text !== '') {
      const length = text.indexOf('\r\n\r\n') + 4
      const head = headOf(text.slice(0, length))
      if (head.status >= 200 || head.status === 101) this.head = head
      headLength += length
      text = text.slice(length)
    }
    if (typeof chunk !== 'string') return chunk.subarray(headLength)
    return Buffer.from(text, encoding)
  }

  /** Goes on as far as it can. */
  #step(): void {
    if (this.#course === 'over' || (this.#course === 'waits' && this.head !== undefined)) return
    if (this.isWhole) {
      // What was written last is told to be taken when the response is sent: then it is finished to middleware.
      const sink = this.#sink
      const onWhole = this.#onWhole
      this.#sink = undefined
      this.#onWhole = undefined
      sink?.end()
      onWhole?.()
    } else if (this.#course !== 'flows' || this.#hasRoom) this.#release()
  }

  #release(): void {
    const written = this.#written
    this.#written = undefined
    this.#writing = 0
    written?.()
  }
}

Object.defineProperties(ResponseSocket.prototype, {
  remoteAddress: {
    get(this: ResponseSocket) {
      return this.conn.peerIp
    },
  },
  remoteFamily: {
    get(this: ResponseSocket) {
      const { peerIp } = this.conn
      return peerIp === undefined ? undefined : peerIp.includes(':') ? 'IPv6' : 'IPv4'
    },
  },
  /** As a TLSSocket has it. */
  encrypted: {
    get(this: ResponseSocket) {
      return this.conn.isSecure
    },
  },
})

/** Reads a head as node writes it, one char a byte. */
function headOf(text: string): ResponseHead {
  const [statusLine, ...lines] = text.slice(0, -4).split('\r\n')
  const status = Number(statusLine!.split(' ', 2)[1])
  const rawHeaders: string[] = []
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon)
    const value = line.slice(colon + 2)
    if (!isOfTheServer(name.toLowerCase(), value, status)) rawHeaders.push(name, value)
  }
  return { status, rawHeaders }
}

/** Framing, and whether the connection is kept, are the server's. That it is to be closed may be said. */
function isOfTheServer(name: string, value: string, status: number): boolean {
  if (name === 'transfer-encoding' || name === 'keep-alive') return true
  if (name === 'connection') return value.toLowerCase() === 'keep-alive'
  // RFC 9110 §8.6. Some set it to 0, for browsers of old.
  return name === 'content-length' && status === 204
}

function broken(): Error {
  return new Error('Cannot complete the response: the middleware that wrote it has destroyed it')
}

function ignore(): void {}
