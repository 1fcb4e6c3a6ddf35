/** A request as node:http2 has received it, on its way to its response: RFC 9113 §8. */

import type { ServerHttp2Stream } from 'node:http2'
import { constants } from 'node:http2'

import { BodyAbortedError } from '@wakerobin/core'
import type { Listener, OnError } from '@wakerobin/core'
import type { Incoming } from '@wakerobin/core/adapter'

import type { ActiveBodies } from './body-sink.ts'
import { collect } from './collect.ts'
import type { NodeContext } from './exchange.ts'
import { expectationFrom } from './expect.ts'
import type { Expectation } from './expect.ts'
import type { Http2Connection } from './http2-connection.ts'

/** The parts of a request's head. */
export interface Http2Head {
  readonly method: string
  readonly target: string
  /** The authority that was named, by `:authority` or by Host; undefined where none was. */
  readonly authority: string | undefined
  /** `name, value…`, with a Host, and without those that begin with a colon. */
  readonly rawHeaders: readonly string[]
  readonly expectation: Expectation
}

/** Reads a head as node has received it, `name, value…`. */
export function headOf(received: readonly string[]): Http2Head {
  const pseudo: Record<string, string> = {}
  const rawHeaders: string[] = []
  let cookies: string | undefined
  let host: string | undefined
  let expectation: Expectation = 'none'
  for (let at = 0; at < received.length; at += 2) {
    const name = received[at]!
    const value = received[at + 1]!
    if (name.startsWith(':')) pseudo[name] = value
    // One line again: RFC 9113 §8.2.3.
    else if (name === 'cookie') cookies = cookies === undefined ? value : `${cookies}; ${value}`
    else {
      if (name === 'host') host = value
      else if (name === 'expect') expectation = expectationFrom(value)
      rawHeaders.push(name, value)
    }
  }
  const { ':method': method = '', ':path': path, ':authority': authority } = pseudo
  if (cookies !== undefined) rawHeaders.push('cookie', cookies)
  // What handlers know it by: RFC 9113 §8.3.1.
  if (authority !== undefined && host === undefined) rawHeaders.unshift('host', authority)
  const target = method === 'CONNECT' ? (authority ?? '') : (path ?? '')
  return { method, target, authority: authority ?? host, rawHeaders, expectation }
}

/** A request and its response, on a stream of its own. */
export class Http2Exchange implements Incoming {
  readonly startTime: number = performance.now()
  readonly httpVersion = '2.0'
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  readonly server: NodeContext
  readonly stream: ServerHttp2Stream
  readonly connection: Http2Connection
  /** Whether all of the response was given to node. */
  hasEnded = false
  /** Whether the client keeps the body until it is asked for it: RFC 9110 §10.1.1. */
  #awaitsContinue: boolean
  #isGone = false
  readonly #onGone: (() => void)[] = []
  readonly #onOver: ((isSent: boolean) => void)[] = []
  #rawTrailers: readonly string[] = []

  constructor(
    head: Http2Head,
    stream: ServerHttp2Stream,
    connection: Http2Connection,
    server: NodeContext,
  ) {
    this.method = head.method
    this.target = head.target
    this.rawHeaders = head.rawHeaders
    this.server = server
    this.stream = stream
    this.connection = connection
    this.#awaitsContinue = head.expectation === 'continue'
    stream.once('close', () => this.#close())
    stream.once('trailers', (_fields: unknown, _flags: number, raw: unknown) => {
      if (Array.isArray(raw)) this.#rawTrailers = raw
    })
    // What is wrong with a stream is told by its close.
    stream.on('error', () => {})
  }

  get bodies(): ActiveBodies {
    return this.server.bodies
  }

  get onError(): OnError {
    return this.server.onError
  }

  get peerIp(): string | undefined {
    return this.connection.peerIp
  }

  get isSecure(): boolean {
    return 'encrypted' in this.connection.socket
  }

  get listener(): Listener {
    return this.connection.entrance.listener
  }

  get hasUnsizedBody(): boolean {
    return !this.stream.endAfterHeaders
  }

  get rawTrailers(): readonly string[] | undefined {
    return this.stream.readableEnded ? this.#rawTrailers : undefined
  }

  get isDisconnected(): boolean {
    return this.#isGone
  }

  /** Whether nothing can be sent on the stream any more. */
  get isClosed(): boolean {
    return this.stream.destroyed || this.stream.closed
  }

  onDisconnect(callback: () => void): void {
    this.#onGone.push(callback)
  }

  /** Calls back when the stream is closed, with whether all of the response was sent. */
  onOver(callback: (isSent: boolean) => void): void {
    this.#onOver.push(callback)
  }

  /** The client counts as gone: its time is over. */
  expire(): void {
    if (this.#isGone) return
    this.#isGone = true
    for (const callback of this.#onGone.splice(0)) callback()
  }

  async *openBody(): AsyncGenerator<Uint8Array, void, undefined> {
    this.#askForBody()
    // Not destroyed when a handler reads no further: that would take the answer with it.
    yield* this.stream.iterator({ destroyOnReturn: false })
  }

  async readBody(limitBytes: number): Promise<Uint8Array> {
    if (this.isClosed) throw new BodyAbortedError()
    this.#askForBody()
    return collect(this.stream, limitBytes)
  }

  #askForBody(): void {
    if (!this.#awaitsContinue) return
    this.#awaitsContinue = false
    if (!this.isClosed && !this.stream.headersSent)
      this.stream.additionalHeaders({ ':status': 100 })
  }

  #close(): void {
    const { stream } = this
    // A stream that was reset says that its writing has finished all the same.
    const isSent =
      this.hasEnded && stream.writableFinished && stream.rstCode === constants.NGHTTP2_NO_ERROR
    if (!isSent) this.expire()
    for (const callback of this.#onOver.splice(0)) callback(isSent)
  }
}
