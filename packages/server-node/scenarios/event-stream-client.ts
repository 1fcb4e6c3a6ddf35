/** A client of an event stream that sees every byte, and judges with a parser that others wrote. */

import type { Socket } from 'node:net'

import { createParser } from 'eventsource-parser'

import { dial } from './dial.ts'
import type { Where } from './dial.ts'

/** Reads an event stream of the target until the server ends it. */
export class EventStreamClient {
  /** How many events have come whole. */
  eventCount = 0
  /** The `retry` that came last. */
  retryMs: number | undefined
  /** Whether the terminator of the chunked coding has come. */
  isTerminated = false
  /** Whether the server has said FIN. */
  isEnded = false
  isClosed = false
  error: NodeJS.ErrnoException | undefined
  readonly #socket: Socket
  readonly #strange: string[] = []
  readonly #parser = createParser({
    onEvent: ({ data }) => this.#event(data),
    onRetry: (retryMs) => (this.retryMs = retryMs),
    onError: (error) => this.#strange.push(`a line that is no field: ${error.message}`),
  })
  #isHeadRead = false
  #lastNumber: number | undefined
  /** What is not decoded yet. */
  #text = ''
  /** The end of what is decoded. */
  #tail = ''

  private constructor(socket: Socket, path: string) {
    this.#socket = socket
    socket.setEncoding('latin1').on('data', (text: string) => this.#read(text))
    socket.on('end', () => (this.isEnded = true))
    socket.on('close', () => (this.isClosed = true))
    socket.on('error', (error) => (this.error = error))
    socket.write(`GET ${path} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n`)
  }

  static open(where: Where, path: string): Promise<EventStreamClient> {
    return new Promise((resolve, reject) => {
      const socket = dial(where, () => resolve(new EventStreamClient(socket, path)))
      socket.once('error', reject)
    })
  }

  /** What is wrong with the end of the stream, in words. Empty where all its events were whole and without a
   * gap, and a `retry` of 1 to 5 s, the terminator and FIN came last. */
  get problems(): readonly string[] {
    const problems = [...this.#strange]
    if (this.error !== undefined) problems.push(`an error: ${this.error.message}`)
    if (this.eventCount === 0) problems.push('no event')
    const last = /\n\nretry: (\d+)\n+$/.exec(this.#tail)?.[1]
    if (last === undefined) problems.push(`no last retry, but ${JSON.stringify(this.#tail)}`)
    else if (Number(last) < 1000 || Number(last) > 5000) problems.push(`a retry of ${last}`)
    else if (Number(last) !== this.retryMs) problems.push('a retry that the parser did not see')
    if (!this.isTerminated) problems.push('no terminator')
    if (!this.isEnded) problems.push('no FIN')
    if (this.#text !== '') problems.push(`more after it: ${JSON.stringify(this.#text)}`)
    return problems
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#text += text
    if (!this.#isHeadRead) {
      const length = this.#text.indexOf('\r\n\r\n') + 4
      if (length === 3) return
      const head = this.#text.slice(0, length)
      this.#text = this.#text.slice(length)
      this.#isHeadRead = true
      if (!/^HTTP\/1\.1 200 .*\r\nTransfer-Encoding: chunked\r\n/is.test(head))
        this.#strange.push(`another head: ${head}`)
    }
    this.#decode()
  }

  /** Takes the body out of the chunked coding: RFC 9112 §7.1. */
  #decode(): void {
    while (!this.isTerminated) {
      const line = /^([0-9a-f]+)\r\n/i.exec(this.#text)
      if (line === null) return
      const start = line[0].length
      const end = start + Number.parseInt(line[1]!, 16)
      if (this.#text.length < end + 2) return
      const chunk = this.#text.slice(start, end)
      if (this.#text.slice(end, end + 2) !== '\r\n') this.#strange.push('a chunk of another length')
      this.#text = this.#text.slice(end + 2)
      if (chunk === '') this.isTerminated = true
      this.#tail = (this.#tail + chunk).slice(-200)
      this.#parser.feed(chunk)
    }
  }

  #event(data: string): void {
    this.eventCount++
    const number = Number(/^event (\d+)\n-*\nend of \1$/.exec(data)?.[1])
    if (Number.isNaN(number)) this.#strange.push(`not a whole event: ${JSON.stringify(data)}`)
    else if (this.#lastNumber !== undefined && number !== this.#lastNumber + 1)
      this.#strange.push(`event ${number} after ${this.#lastNumber}`)
    this.#lastNumber = number
  }
}
