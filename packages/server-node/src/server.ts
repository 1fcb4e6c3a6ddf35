/** A running server: http servers on one or more addresses, one app, one stop. */

import { setMaxListeners } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { Socket } from 'node:net'

import { Conn, Info } from '@wakerobin/core'
import type { Guard, Listener, Swansong } from '@wakerobin/core'
import { closeInfo, failConn, pendingPlaceOf } from '@wakerobin/core/adapter'
import type { Program, ServerContext } from '@wakerobin/core/adapter'

import { StartError } from './address.ts'
import type { Bind } from './address.ts'
import { ActiveBodies } from './body-sink.ts'
import { maxTimerMs } from './clock.ts'
import { Connections } from './connections.ts'
import type { Connection } from './connections.ts'
import { notImplemented, refusalOf, requestTimeout } from './client-error.ts'
import { examine } from './examine.ts'
import { Exchange, type NodeContext } from './exchange.ts'
import { expectationOf, type Expectation } from './expect.ts'
import { HandlerTimeoutError } from './handler-timeout.ts'
import { nodeHeadersCount, nodeOptions } from './limits.ts'
import type { Limits } from './limits.ts'
import { bindAll, urlOf } from './listen.ts'
import type { Bound } from './listen.ts'
import { serverGuardLabel } from './open-report.ts'
import type { OpenWork } from './open-report.ts'
import { refuse } from './refuse.ts'
import { settle, settleWhenOver } from './respond.ts'
import { send } from './send.ts'
import { Shutdown } from './shutdown.ts'
import type { Part, ShutdownTimes, Tally } from './shutdown.ts'
import { limitUnread } from './unread-body.ts'
import { WriteStalls } from './write-stalls.ts'

/** The times and numbers of the options, all of them given. */
export interface ServerSettings extends ShutdownTimes {
  readonly limits: Limits
  readonly lingerMs: number
  readonly headTimeoutMs: number
  readonly streamsPerBatch: number
  readonly batchIntervalMs: number
}

type Held = [
  response: ServerResponse,
  connection: Connection,
  framing: number,
  awaitsContinue: boolean,
]

export class NodeServer implements Part {
  readonly shutdown: Shutdown
  readonly #connections: Connections
  readonly #bodies: ActiveBodies = new ActiveBodies()
  /** Resolves when nothing of this server is open any more. */
  readonly #closed: Promise<void>
  readonly #program: Program
  readonly #context: NodeContext
  readonly #settings: ServerSettings
  #guard: Guard | undefined
  #bound: readonly Bound[] = []
  /** Whether every `init` is done. */
  isServing = false
  /** Requests that wait: for every `init` to be done, or for the listeners to be closed. */
  #held: Held[] | undefined = []
  #init: Promise<void> | undefined
  /** Whether the stop has begun. */
  #isStopping = false
  /** Whether responses say `Connection: close`. */
  #isLeaving = false
  /** Whether node tells us of half heads. */
  #isWatching = false
  #isCut = false
  #answered = 0
  #refused = 0
  #resolveClosed!: () => void

  constructor(program: Program, context: ServerContext, settings: ServerSettings) {
    this.#program = program
    const { halfClosedMs, connections, writeStallMs } = settings.limits
    this.#context = {
      ...context,
      bodies: this.#bodies,
      stalls: new WriteStalls(writeStallMs, (response) => this.#bodies.isStream(response)),
      onError: program.onError,
    }
    this.#settings = settings
    this.#connections = new Connections(halfClosedMs, connections)
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.shutdown = Shutdown.of(context.swansong)
    // Every handler may listen for the stop: any number of listeners is right.
    setMaxListeners(0, context.swansong.signal)
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
    const { swansong, shutdown } = this
    if (shutdown.phase !== 'running') throw new StartError(stoppedBefore)
    this.#guard = swansong.guard(serverGuardLabel)
    shutdown.join(this, this.#settings)
    try {
      this.#bound = await bindAll(binds, () => this.#makeServer())
      // A stop that came before has found nothing to close.
      if (shutdown.phase !== 'running') {
        this.#closeListeners()
        for (const { server } of this.#bound) server.close()
      }
      const { listeners, url } = this
      const info = new Info({ listeners, url, swansong, shared: this.#context.sharedState })
      if (shutdown.phase === 'running') {
        this.#init = this.#program.init(info)
        await Promise.race([this.#init, this.#closed])
      }
      closeInfo(info)
    } catch (error) {
      const wasStopped = shutdown.phase !== 'running'
      if (!wasStopped) void shutdown.begin({ kind: 'init', error })
      await this.#closed
      throw wasStopped ? new StartError(stoppedBefore, { cause: error }) : error
    }
    if (shutdown.phase !== 'running') {
      await this.#closed
      throw new StartError(stoppedBefore)
    }
    this.isServing = true
    this.#release()
  }

  /** Handles the requests that were held, and holds no more. */
  #release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const request of held) {
      if (this.#isLeaving) this.#handleLast(...request)
      else this.#handle(...request)
    }
  }

  #makeServer(): Server {
    const { limits } = this.#settings
    const server = createServer({ noDelay: true, ...nodeOptions(limits) })
    server.maxHeadersCount = nodeHeadersCount(limits)
    // A client may shut down its side after the request and still wait for the answer.
    ;(server as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true
    server.on('connection', (socket) => this.#accept(socket))
    server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      this.#receive(request, response, 'none'),
    )
    // Node would say "100 Continue" before anybody wants the body.
    for (const event of ['checkContinue', 'checkExpectation'])
      server.on(event, (request: IncomingMessage, response: ServerResponse) =>
        this.#receive(request, response, expectationOf(request)),
      )
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      const connection = this.#connections.of(socket)
      const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      // Before the first byte node counts as late what only is silent.
      if (isLate && this.#isWatching) connection.isReceiving = socket.bytesRead > 0
      else if (isLate && socket.bytesRead === 0) connection.end()
      else connection.refuse(refusalOf(error))
    })
    // A tunnel, which nobody makes here. Node has let go of the socket, its errors and its bytes.
    server.on('connect', (_request, socket: Socket) => {
      socket.on('error', () => {}).resume()
      this.#connections.of(socket).say(notImplemented)
    })
    return server
  }

  #accept(socket: Socket): void {
    this.#connections.add(socket)
    // Taken in by the system in the moment in which the listener was closed.
    if (this.#isCut || (this.#isLeaving && !this.isServing)) socket.destroy()
  }

  #receive(request: IncomingMessage, response: ServerResponse, expects: Expectation): void {
    const connection = this.#connections.of(request.socket)
    if (connection.isOver) {
      // Too late. Not handled, because nobody would hear of it; but read, because a socket with unread
      // bytes is reset, and what was sent before may be lost.
      this.#refused++
      request.resume()
      return
    }
    connection.began(response)
    if (this.#isStopping) this.#countAnswer(response)
    const framing = connection.isExcess ? 503 : examine(request, this.#settings.limits)
    if (framing >= 400 || expects === 'other') {
      refuse(response, connection, framing >= 400 ? framing : 417)
      return
    }
    const isAwaiting = expects === 'continue'
    if (this.#held !== undefined) this.#held.push([response, connection, framing, isAwaiting])
    else if (this.#isLeaving) this.#handleLast(response, connection, framing, isAwaiting)
    else this.#handle(response, connection, framing, isAwaiting)
  }

  /** Handles what may be the last request of its connection. */
  #handleLast(
    response: ServerResponse,
    connection: Connection,
    framing: number,
    awaitsContinue: boolean,
  ): void {
    this.#closeAfterResponse(connection)
    // When all that has come is parsed, the last of it is known: that one says close.
    setImmediate(() => this.#handle(response, connection, framing, awaitsContinue))
  }

  #handle(
    response: ServerResponse,
    connection: Connection,
    framing: number,
    awaitsContinue: boolean,
  ): void {
    const exchange = new Exchange(response, connection, this.#context, framing, awaitsContinue)
    const conn = new Conn(exchange)
    const handled = this.#program.handle(conn)
    if (handled === conn) this.#respond(conn, exchange)
    else if (this.#settings.limits.handlerMs === Infinity)
      void (handled as Promise<Conn>).then(() => this.#respond(conn, exchange))
    else void this.#respondInTime(handled as Promise<Conn>, conn, exchange)
  }

  /** Responds when the handlers are done, or with a 503 when their time is over. */
  async #respondInTime(handled: Promise<Conn>, conn: Conn, exchange: Exchange): Promise<void> {
    const { handlerMs } = this.#settings.limits
    let isLate = false
    const timeout = setTimeout(
      () => {
        isLate = true
        this.#expire(conn, exchange)
      },
      Math.min(handlerMs, maxTimerMs),
    )
    await handled
    clearTimeout(timeout)
    if (!isLate) return this.#respond(conn, exchange)
    // What it has made meanwhile is let go. Whoever waits for the end of the response is told.
    failConn(conn, 503)
    const { response } = exchange
    if (response.writableFinished || response.destroyed) settle(conn, exchange, false)
    else settleWhenOver(conn, exchange)
  }

  /** Answers with a 503 for handlers that are not done. */
  #expire(conn: Conn, exchange: Exchange): void {
    const { response, connection, onError } = exchange
    const place = pendingPlaceOf(conn) ?? 'the handlers'
    // Nobody may be left who reads the rest.
    if (!response.req.complete) connection.closeAfterResponse()
    failConn(conn, 503)
    // Before anybody hears of it: what a handler sets on the conn from now on is too late.
    this.#send(conn, exchange)
    onError(new HandlerTimeoutError(place, this.#settings.limits.handlerMs), { conn, place })
    exchange.expire()
  }

  #respond(conn: Conn, exchange: Exchange): void {
    const { response, connection } = exchange
    if (!this.#isLeaving || response.socket !== null || connection.socket.destroyed) {
      this.#send(conn, exchange)
      return
    }
    // It waits for a response before it, and another request may come meanwhile: whether this is the last on
    // the connection is known when its turn has come.
    const go = (): void => {
      connection.unwatch(watcher)
      response.off('socket', onTurn)
      this.#send(conn, exchange)
    }
    const watcher = { gone: go }
    const onTurn = (): void => process.nextTick(go)
    connection.watch(watcher)
    response.once('socket', onTurn)
  }

  #send(conn: Conn, exchange: Exchange): void {
    try {
      if (exchange.framing !== 0) limitUnread(exchange)
      send(conn, exchange)
    } catch (error) {
      // Not known to happen; but one request must not end the process.
      exchange.connection.socket.destroy()
      exchange.onError(error, { conn, place: 'the response' })
    }
  }

  // ------------------------------------------------------------------ its part in the stop

  begin(): void {
    this.#isStopping = true
    for (const connection of this.#connections)
      for (const response of connection.unfinished()) this.#countAnswer(response)
  }

  drain(): void {
    this.#leave()
  }

  async close(): Promise<void> {
    // Answers given now would bring clients back before the door is closed.
    this.#held ??= []
    await this.#acceptQueueIsEmpty()
    this.#closeListeners()
  }

  async stop(): Promise<void> {
    const { lingerMs, streamsPerBatch, batchIntervalMs } = this.#settings
    this.#leave()
    if (this.isServing) this.#release()
    else for (const connection of this.#connections) connection.socket.destroy()
    this.#bodies.stop(streamsPerBatch, batchIntervalMs)
    this.#watchHeads()
    this.#after(lingerMs, () => this.#endIdle([...this.#connections]))
    // An init in progress may finish what it has begun, as a request may.
    await Promise.allSettled([this.#connections.empty(), this.#init])
    this.#finish()
  }

  async cut(): Promise<void> {
    this.#isCut = true
    this.#bodies.closeCause = 'stop'
    this.#closeListeners()
    for (const connection of this.#connections) connection.socket.destroy()
    await this.#connections.empty()
    this.#finish()
  }

  work(): OpenWork {
    const isStream = (response: ServerResponse): boolean => this.#bodies.isStream(response)
    const connections = [...this.#connections]
    return {
      connections: connections.length,
      idle: connections.filter(({ isIdle }) => isIdle).length,
      requests: connections.flatMap((connection) => connection.requests(isStream)),
    }
  }

  tally(): Tally {
    const { streamsEnded, streamsCut } = this.#bodies
    return { answered: this.#answered, refused: this.#refused, streamsEnded, streamsCut }
  }

  /** From now on every connection ends with its newest response, which says so. */
  #leave(): void {
    this.#isLeaving = true
    for (const connection of this.#connections) this.#closeAfterResponse(connection)
  }

  #closeAfterResponse(connection: Connection): void {
    connection.closeAfterResponse((response) => {
      // An event stream says its own goodbye. Any other client takes the connection for kept.
      if (this.#bodies.isStream(response)) connection.end()
      else this.#after(this.#settings.lingerMs, () => this.#endIdle([connection]))
    })
  }

  #countAnswer(response: ServerResponse): void {
    response.once('finish', () => {
      if (!response.req.socket.destroyed) this.#answered++
    })
  }

  /** The system has taken in connections that we have not seen yet, one of which comes with each turn of the
   * loop: closing the listener would reset them. Bounded, as new ones may come for ever; by turns too,
   * because on a busy machine there are few of them in any time. */
  async #acceptQueueIsEmpty(): Promise<void> {
    const start = performance.now()
    const isPatient = (turns: number): boolean => {
      const elapsed = performance.now() - start
      return elapsed < 250 || (turns < 100 && elapsed < 1000)
    }
    let quiet = 0
    for (let turns = 0; quiet < 3 && isPatient(turns) && !this.#isCut; turns++) {
      const before = this.#connections.accepted
      await new Promise((resolve) => setImmediate(resolve))
      quiet = this.#connections.accepted === before ? quiet + 1 : 0
    }
  }

  #closeListeners(): void {
    // Not http.Server's close: it destroys sockets whose request is already on its way.
    for (const { server } of this.#bound) NetServer.prototype.close.call(server)
  }

  /** Has node tell us of requests whose head is not complete: only its parser knows. It looks for heads that take
   * too long, as often as it was told when it began to listen. */
  #watchHeads(): void {
    this.#isWatching = true
    for (const { server } of this.#bound) {
      server.headersTimeout = 1
      ;(server as Server & { connectionsCheckingInterval: number }).connectionsCheckingInterval =
        watchMs
      server.emit('listening')
    }
  }

  /** Ends connections that are idle, and stay so while we look twice. What came while a timer was late is read
   * before we look: an immediate comes after the poll. */
  #endIdle(connections: readonly Connection[]): void {
    const idle = connections.filter(({ isIdle, isOver }) => isIdle && !isOver)
    const read = idle.map(({ socket }) => socket.bytesRead)
    if (idle.length === 0) return
    this.#after(2 * watchMs, () =>
      setImmediate(() => {
        const moved: Connection[] = []
        for (const [at, connection] of idle.entries()) {
          if (!connection.isIdle || connection.isOver) continue
          if (connection.isReceiving) this.#waitForHead(connection)
          else if (connection.socket.bytesRead === read[at]) connection.end()
          else moved.push(connection)
        }
        this.#endIdle(moved)
      }),
    )
  }

  #waitForHead(connection: Connection): void {
    this.#after(this.#settings.headTimeoutMs, () =>
      setImmediate(() => {
        if (connection.isIdle) connection.say(requestTimeout)
      }),
    )
  }

  #after(ms: number, callback: () => void): void {
    const timeout = setTimeout(callback, Math.min(ms, maxTimerMs))
    void this.#closed.then(() => clearTimeout(timeout))
  }

  #finish(): void {
    this.#bodies.cancel()
    // Nothing is left for it to cut: it only ends node's timer that looks for slow requests.
    for (const { server } of this.#bound) server.close()
    this.#guard?.release()
    this.#resolveClosed()
  }
}

/** How often node looks for half heads while the server stops, in milliseconds. */
const watchMs = 25

const stoppedBefore = 'The server was stopped before it had started'
