/** A running server: http servers on one or more addresses, one app, one stop. */

import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'

import { Info, isMethod } from '@wakerobin/core'
import type { Conn, Guard, Listener, Swansong } from '@wakerobin/core'
import { closeInfo } from '@wakerobin/core/adapter'
import type { Program, ServerContext } from '@wakerobin/core/adapter'

import { StartError } from './address.ts'
import type { Bind } from './address.ts'
import { ActiveBodies } from './body-sink.ts'
import { Connections, maxTimerMs } from './connections.ts'
import { bindAll, urlOf } from './listen.ts'
import type { Bound } from './listen.ts'
import { receive } from './receive.ts'
import { send } from './send.ts'
import type { Exchange } from './send.ts'

/** How a stop went: `clean`, or `deadline` when connections had to be cut. */
export type StopOutcome = 'clean' | 'deadline'

/** In milliseconds. */
export interface ServerTimes {
  readonly halfClosedMs: number
  readonly lingerMs: number
  readonly deadlineMs: number
}

type Held = [request: IncomingMessage, response: ServerResponse]

export class NodeServer {
  readonly connections: Connections
  readonly bodies: ActiveBodies = new ActiveBodies()
  /** Resolves when the stop is done: nothing is open, and no guard is held, or the deadline has passed. */
  readonly stopped: Promise<StopOutcome>
  /** Resolves when nothing of this server is open any more. */
  readonly #closed: Promise<void>
  readonly #program: Program
  readonly #context: ServerContext
  readonly #times: ServerTimes
  readonly #guard: Guard
  #bound: readonly Bound[] = []
  /** Requests that came before every `init` was done; undefined from then on. */
  #held: Held[] | undefined = []
  #init: Promise<void> | undefined
  #resolveStopped!: (outcome: StopOutcome) => void
  #resolveClosed!: () => void

  constructor(program: Program, context: ServerContext, times: ServerTimes) {
    this.#program = program
    this.#context = context
    this.#times = times
    this.connections = new Connections(times.halfClosedMs)
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve
    })
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#guard = context.swansong.guard('the server')
  }

  get swansong(): Swansong {
    return this.#context.swansong
  }

  get listeners(): readonly Listener[] {
    return this.#bound.map(({ listener }) => listener)
  }

  get url(): string | undefined {
    return urlOf(this.listeners)
  }

  /** Binds the sockets, runs every `init` and begins to serve.
   * @throws {StartError} When a socket cannot be bound. @throws What an `init` throws. Nothing is
   * left open then. */
  async start(binds: readonly Bind[]): Promise<void> {
    const { swansong } = this
    swansong.onStop(() => void this.#stop())
    try {
      this.#bound = await bindAll(binds, () => this.#makeServer())
      const { listeners, url } = this
      const info = new Info({ listeners, url, swansong, shared: this.#context.sharedState })
      if (swansong.state === 'running') {
        this.#init = this.#program.init(info)
        await Promise.race([this.#init, this.#closed])
      }
      closeInfo(info)
    } catch (error) {
      void swansong.shutDown()
      await this.#closed
      throw error
    }
    if (swansong.state !== 'running') {
      // Where the stop came before the sockets were bound, it has found none to close.
      this.#close()
      for (const connection of this.connections) connection.socket.destroy()
      throw new StartError('The server was stopped before it had started')
    }
    const held = this.#held!
    this.#held = undefined
    for (const [request, response] of held) this.#handle(request, response)
  }

  #makeServer(): Server {
    const server = createServer({
      noDelay: true,
      keepAliveTimeout: 5_000,
      headersTimeout: 10_000,
      requestTimeout: 60_000,
      connectionsCheckingInterval: 5_000,
    })
    // A client may shut down its side after the request and still wait for the answer.
    ;(server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true
    server.on('connection', (socket) => this.connections.add(socket))
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      if (this.#held === undefined) this.#handle(request, response)
      else this.#held.push([request, response])
    })
    // A tunnel, which nobody makes here; without a listener node would close the socket in silence.
    server.on('connect', (_request, socket) => socket.end(notImplemented))
    return server
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.connections.of(request.socket)
    connection.began(response)
    if (this.bodies.isStopping) connection.closeAfterResponse()
    if (!isMethod(request.method!)) {
      // node's parser knows methods that are not registered for HTTP: RFC 9110 §15.6.2.
      response.writeHead(501, ['Content-Length', '0']).end()
      return
    }
    const exchange = { response, connection, bodies: this.bodies, onError: this.#program.onError }
    const handled = this.#program.handle(receive(request, response, connection, this.#context))
    if (handled instanceof Promise) void handled.then((conn) => this.#send(conn, exchange))
    else this.#send(handled, exchange)
  }

  #send(conn: Conn, exchange: Exchange): void {
    try {
      send(conn, exchange)
    } catch (error) {
      // Not known to happen; but one request must not end the process.
      exchange.connection.socket.destroy()
      exchange.onError(error, { conn, place: 'the response' })
    }
  }

  /** Ends what is open, in good order; what has not ended by the deadline is cut. */
  async #stop(): Promise<void> {
    // The callbacks of the app's own onStop come first, whoever registered first: what they publish
    // still reaches the streams.
    await Promise.resolve()
    this.#close()
    const isServing = this.#held === undefined
    for (const connection of this.connections) {
      if (isServing) connection.closeAfterResponse()
      else connection.socket.destroy()
    }
    this.bodies.stop()
    const linger = timer(this.#times.lingerMs)
    void linger.done.then(() => this.#endIdle())
    const deadline = timer(this.#times.deadlineMs)
    const isLate = deadline.done.then(() => 'deadline' as const)

    // An init in progress may finish what it has begun, as a request may.
    const isQuiet = Promise.allSettled([this.connections.empty(), this.#init])
    let outcome = await Promise.race([isQuiet.then(() => 'clean' as const), isLate])
    linger.cancel()
    for (const connection of this.connections) connection.socket.destroy()
    // Nothing is left for it to cut: it only ends node's timer that looks for slow requests.
    for (const { server } of this.#bound) server.close()
    this.#guard.release()
    this.#resolveClosed()

    // And the guards of others: work that the app has asked to wait for.
    const { completion } = this.swansong
    if (outcome === 'clean') outcome = await Promise.race([completion.then(() => outcome), isLate])
    deadline.cancel()
    this.#resolveStopped(outcome)
  }

  #close(): void {
    // Not http.Server's close: it destroys sockets whose request is already on its way.
    for (const { server } of this.#bound) NetServer.prototype.close.call(server)
  }

  #endIdle(): void {
    for (const connection of this.connections) if (connection.isIdle) connection.end()
  }
}

const notImplemented =
  'HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'

/** A timer that keeps the process, because what is waited for may not. */
function timer(ms: number): { readonly done: Promise<void>; readonly cancel: () => void } {
  let cancel!: () => void
  const done = new Promise<void>((resolve) => {
    const timeout = setTimeout(resolve, Math.min(ms, maxTimerMs))
    cancel = () => clearTimeout(timeout)
  })
  return { done, cancel }
}
