/** A client's connection that counts what it asked and what it was answered, as fast as it can. */

import type { Socket } from 'node:net'

import { dial } from './dial.ts'
import type { Where } from './dial.ts'

/** What a server has answered. */
export interface Answer {
  readonly status: number
  readonly body: string
  /** Whether it said `Connection: close`. */
  readonly saysClose: boolean
}

/** Reads answers that have a Content-Length. It never closes by itself, and reads on until the server does. */
export class HttpConnection {
  /** How many requests were written. */
  sent = 0
  readonly answers: Answer[] = []
  /** Whether an answer has said `Connection: close`. */
  isTold = false
  /** Whether the server has said FIN, or the connection is gone. */
  isOver = false
  error: NodeJS.ErrnoException | undefined
  onAnswer: ((answer: Answer) => void) | undefined
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  #text = ''

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1').on('data', (text: string) => this.#read(text))
    socket.on('end', () => (this.isOver = true))
    socket.on('error', (error) => (this.error = error))
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.isOver = true
        resolve()
      })
    })
  }

  /** @throws The error of the socket, where it cannot connect. */
  static open(where: Where): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = dial(where, () => resolve(connection))
      const connection = new HttpConnection(socket)
      socket.once('error', reject)
    })
  }

  get(target: string, ...fields: string[]): void {
    this.sent++
    this.#socket.write([`GET ${target} HTTP/1.1`, 'Host: test', ...fields, '', ''].join('\r\n'))
  }

  /** How many requests have no complete answer: once the connection is over, the lost ones. */
  get unanswered(): number {
    return this.sent - this.answers.length
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#text += text
    for (;;) {
      const headLength = this.#text.indexOf('\r\n\r\n') + 4
      if (headLength === 3) return
      const head = this.#text.slice(0, headLength)
      const bodyLength = Number(/\r\nContent-Length: (\d+)\r\n/i.exec(head)![1])
      if (this.#text.length < headLength + bodyLength) return
      const body = this.#text.slice(headLength, headLength + bodyLength)
      this.#text = this.#text.slice(headLength + bodyLength)
      const status = Number(head.split(' ', 2)[1])
      const saysClose = /\r\nConnection: close\r\n/i.test(head)
      if (saysClose) this.isTold = true
      const answer = { status, body, saysClose }
      this.answers.push(answer)
      this.onAnswer?.(answer)
    }
  }
}
