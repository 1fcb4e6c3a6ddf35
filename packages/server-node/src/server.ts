/** A running server: http servers on one or more addresses, one app, one stop. */

import { setMaxListeners } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

import { Info } from '@wakerobin/core'
import type { Guard, Listener, Swansong } from '@wakerobin/core'
import { Announced, closeInfo } from '@wakerobin/core/adapter'
import type { Program, ServerContext } from '@wakerobin/core/adapter'

import { StartError } from './address.ts'
import type { Bind } from './address.ts'
import { ActiveBodies } from './body-sink.ts'
import { maxTimerMs } from './clock.ts'
import { Connections } from './connections.ts'
import type { Connection } from './connections.ts'
import { refusalOf, requestTimeout } from './client-error.ts'
import { examine, examineHttp2 } from './examine.ts'
import { Exchange, type NodeContext } from './exchange.ts'
import { expectationOf, type Expectation } from './expect.ts'
import { Handshakes } from './handshakes.ts'
import { Http1Responder } from './http1-responder.ts'
import { Http2Connection } from './http2-connection.ts'
import { headOf, Http2Exchange } from './http2-exchange.ts'
import { http2Responder } from './http2-responder.ts'
import { nodeHeadersCount, nodeOptions, sessionOptions } from './limits.ts'
import type { Limits } from './limits.ts'
import { bindAll, closeGiven, urlOf } from './listen.ts'
import type { Bound } from './listen.ts'
import { makeHttpServer } from './make-http-server.ts'
import { serverGuardLabel } from './open-report.ts'
import type { OpenWork } from './open-report.ts'
import { Places } from './places.ts'
import { refuse, refuseStream } from './refuse.ts'
import { Requests } from './requests.ts'
import { keepAliveFieldsOf } from './head.ts'
import { Shutdown } from './shutdown.ts'
import type { Part, ShutdownTimes, Tally } from './shutdown.ts'
import { behindPreface, takeOver } from './take-over.ts'
import { hidesWhatFollows, upgradeOptionsFor, Upgrades } from './upgrade.ts'
import { WriteStalls } from './write-stalls.ts'

/** The times and numbers of the options, all of them given. */
export interface ServerSettings extends ShutdownTimes {
  readonly limits: Limits
  readonly http2: boolean
  readonly lingerMs: number
  readonly headTimeoutMs: number
  readonly streamsPerBatch: number
  readonly batchIntervalMs: number
}

export class NodeServer implements Part {
  readonly shutdown: Shutdown
  readonly #connections: Connections
  readonly #handshakes: Handshakes
  readonly #bodies: ActiveBodies = new ActiveBodies()
  /** Resolves when nothing of this server is open any more. */
  readonly #closed: Promise<void>
  readonly #program: Program
  readonly #requests: Requests
  readonly #upgrades: Upgrades
  readonly #http1: Http1Responder
  readonly #context: NodeContext
  readonly #settings: ServerSettings
  #guard: Guard | undefined
  #bound: readonly Bound[] = []
  /** Whether every `init` is done. */
  isServing = false
  /** Requests that wait: for every `init` to be done, or for the listeners to be closed. */
  #held: (Exchange | Http2Exchange)[] | undefined = []
  #init: Promise<void> | undefined
  /** Whether the stop has begun. */
  #isStopping = false
  /** Whether responses say `Connection: close`. */
  #isLeaving = false
  /** Whether node tells us of half heads. */
  #isWatching = false
  #isCut = false
  /** Whether connections are ended as soon as they are idle. */
  #isEnding = false
  #answered = 0
  #refused = 0
  #resolveClosed!: () => void

  constructor(program: Program, context: ServerContext, settings: ServerSettings) {
    this.#program = program
    const { halfClosedMs, connections, writeStallMs, keepAliveMs } = settings.limits
    this.#context = {
      ...context,
      bodies: this.#bodies,
      stalls: new WriteStalls(writeStallMs, (response) => this.#bodies.isStream(response)),
      writeStallMs: writeStallMs === Infinity ? Infinity : Math.min(writeStallMs, maxTimerMs),
      keepAliveFields: keepAliveFieldsOf(keepAliveMs),
    }
    this.#settings = settings
    const places = new Places(connections)
    this.#connections = new Connections(halfClosedMs, places)
    this.#handshakes = new Handshakes(places)
    this.#requests = new Requests(program, settings.limits.handlerMs)
    this.#upgrades = new Upgrades(program, this.#connections, context.swansong)
    this.#http1 = new Http1Responder(this.#upgrades)
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

  /** Whether a handler has said where it listens. */
  get isAnnounced(): boolean {
    return this.#context.sharedState.get(Announced) === true
  }

  /** Binds the sockets, runs every `init` and begins to serve.
   * @throws {StartError} When a socket cannot be bound. @throws What an `init` throws. Nothing is
   * left open then. */
  async start(binds: readonly Bind[]): Promise<void> {
    const { swansong, shutdown } = this
    if (shutdown.phase !== 'running') {
      closeGiven(binds)
      throw new StartError(stoppedBefore)
    }
    this.#guard = swansong.guard(serverGuardLabel)
    shutdown.join(this, this.#settings)
    try {
      this.#bound = await bindAll(binds, (bound) => this.#makeServer(bound))
      // A stop that came before has found nothing to close.
      if (shutdown.phase !== 'running') for (const bound of this.#bound) bound.finish()
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
    for (const exchange of held) this.#handle(exchange)
  }

  #makeServer(bound: Bound): Server {
    const { limits } = this.#settings
    const options = {
      noDelay: true,
      ...nodeOptions(limits),
      ...upgradeOptionsFor(process.versions.node),
    }
    const protocols = this.#settings.http2 ? ['h2', 'http/1.1'] : ['http/1.1']
    const server = makeHttpServer(bound.tls?.options, options, protocols)
    server.maxHeadersCount = nodeHeadersCount(limits)
    if (bound.tls === undefined) server.on('connection', (socket) => this.#accept(socket, bound))
    else {
      server.on('connection', (socket) => this.#shakeHands(socket, bound.tls!.handshakeTimeoutMs))
      server.on('secureConnection', (socket: TLSSocket) => {
        this.#handshakes.end(socket)
        this.#accept(socket, bound)
      })
    }
    const receive = (request: IncomingMessage, response: ServerResponse): void =>
      this.#receive(request, response, 'none')
    server.on('request', receive)
    this.#upgrades.watch(server, receive)
    // Node would say "100 Continue" before anybody wants the body.
    for (const event of ['checkContinue', 'checkExpectation'])
      server.on(event, (request: IncomingMessage, response: ServerResponse) =>
        this.#receive(request, response, expectationOf(request)),
      )
    server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      const connection = this.#connections.find(socket)
      if (connection === undefined) return this.#handshakes.refuse(error, socket as TLSSocket)
      const ahead = this.#settings.http2 ? behindPreface(error) : undefined
      if (ahead !== undefined && connection.isNew) return this.#beginSession(connection, ahead)
      const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      // Before the first byte node counts as late what only is silent.
      const isSilent = isLate && connection.isSilent
      if (isLate && this.#isWatching) connection.isReceiving = !isSilent
      else if (!isSilent) connection.refuse(refusalOf(error))
      else if (connection.isNew) connection.end() // any other is kept for as long as it may be idle: see upgrade.ts
    })
    return server
  }

  #accept(socket: Socket, bound: Bound): void {
    if (this.#connections.has(socket)) return // given back to node: see upgrade.ts
    const connection = this.#connections.add(socket, bound)
    if (connection === undefined) return
    // Taken in by the system in the moment in which the listener was closed.
    if (this.#isRefusing) return void socket.destroy()
    if (this.#isEnding)
      this.#after(this.#settings.lingerMs, () => this.#endIdle([this.#connections.of(socket)]))
    if ('alpnProtocol' in socket && socket.alpnProtocol === 'h2') this.#beginSession(connection)
  }

  /** Goes on in HTTP/2 on a connection on which no request has come.
   * @param ahead What has come behind the preface; undefined where nothing has come at all. */
  #beginSession(former: Connection, ahead?: Buffer): void {
    const { limits, lingerMs } = this.#settings
    if (former.socket.destroyed) return
    const session = takeOver(former.socket, sessionOptions(limits), ahead)
    const connection = new Http2Connection(former, session, limits)
    this.#connections.replace(former, connection)
    session.on('stream', (...[stream, , , raw]: StreamEvent) =>
      this.#receiveStream(stream, raw, connection),
    )
    if (this.#isLeaving) connection.closeAfterResponse()
    if (this.#isEnding) this.#after(lingerMs, () => connection.lingered())
  }

  /** A socket that is to be a connection when its client has shown that it speaks TLS. */
  #shakeHands(socket: Socket, timeoutMs: number): void {
    this.#handshakes.begin(socket, timeoutMs)
    if (this.#isRefusing) socket.destroy()
  }

  get #isRefusing(): boolean {
    return this.#isCut || (this.#isLeaving && !this.isServing)
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
    if (hidesWhatFollows(request)) response.shouldKeepAlive = false
    if (this.#isStopping) connection.countAnswer(response, () => this.#answered++)
    const framing = connection.isExcess ? 503 : examine(request, this.#settings.limits)
    if (framing >= 400 || expects === 'other') {
      refuse(response, connection, framing >= 400 ? framing : 417)
      return
    }
    const isAwaiting = expects === 'continue'
    this.#take(new Exchange(response, connection, this.#context, framing, isAwaiting))
  }

  #receiveStream(
    stream: ServerHttp2Stream,
    raw: readonly string[],
    connection: Http2Connection,
  ): void {
    // One that has failed before anybody listened would end the process.
    stream.on('error', () => {})
    // Reset before it was looked at.
    if (stream.destroyed || stream.closed || stream.aborted) return connection.countReset()
    const head = headOf(raw)
    const exchange = new Http2Exchange(head, stream, connection, this.#context)
    connection.add(exchange)
    if (this.#isStopping) exchange.onOver((isSent) => isSent && this.#answered++)
    const status = connection.isExcess ? 503 : examineHttp2(head, this.#settings.limits)
    if (status >= 400) refuseStream(exchange, status)
    else this.#take(exchange)
  }

  #take(exchange: Exchange | Http2Exchange): void {
    if (this.#held === undefined) this.#handle(exchange)
    else this.#held.push(exchange)
  }

  #handle(exchange: Exchange | Http2Exchange): void {
    if (exchange instanceof Http2Exchange) this.#requests.handle(exchange, http2Responder)
    else if (this.#isLeaving) this.#handleLast(exchange)
    else this.#requests.handle(exchange, this.#http1)
  }

  /** Handles what may be the last request of its connection. */
  #handleLast(exchange: Exchange): void {
    this.#closeAfterResponse(exchange.connection)
    // When all that has come is parsed, the last of it is known: that one says close.
    setImmediate(() => this.#requests.handle(exchange, this.#http1))
  }

  // ------------------------------------------------------------------ its part in the stop

  begin(): void {
    this.#isStopping = true
    for (const connection of this.#connections) connection.countAnswers(() => this.#answered++)
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
    const { lingerMs, headTimeoutMs, streamsPerBatch, batchIntervalMs } = this.#settings
    this.#leave()
    if (this.isServing) this.#release()
    else this.#destroyAll()
    this.#bodies.stop(streamsPerBatch, batchIntervalMs)
    this.#watchHeads()
    this.#isEnding = true
    this.#after(lingerMs, () => {
      for (const connection of this.#connections) connection.lingered()
      this.#endIdle([...this.#connections])
      this.#handshakes.destroySilent()
      this.#after(headTimeoutMs, () => this.#handshakes.destroyAll())
    })
    // An init in progress may finish what it has begun, as a request may.
    await Promise.allSettled([this.#isEmpty(), this.#init])
    this.#finish()
  }

  async cut(): Promise<void> {
    this.#isCut = true
    this.#bodies.closeCause = 'stop'
    this.#closeListeners()
    this.#destroyAll()
    this.#upgrades.cut()
    await this.#isEmpty()
    this.#finish()
  }

  #destroyAll(): void {
    for (const connection of this.#connections) connection.destroy()
    this.#handshakes.destroyAll()
  }

  /** Resolves when no client is connected any more. */
  async #isEmpty(): Promise<void> {
    await this.#handshakes.empty() // first: those that succeed are connections then
    await this.#connections.empty()
  }

  work(): OpenWork {
    const isStream = (key: object): boolean => this.#bodies.isStream(key)
    const connections = [...this.#connections]
    return {
      connections: connections.length + this.#handshakes.size,
      idle: this.#handshakes.size + connections.filter(({ isIdle }) => isIdle).length,
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
    this.#http1.isLeaving = true
    for (const connection of this.#connections) this.#closeAfterResponse(connection)
  }

  #closeAfterResponse(connection: Connection): void {
    connection.closeAfterResponse((response) => {
      // An event stream says its own goodbye. Any other client takes the connection for kept.
      if (this.#bodies.isStream(response)) connection.end()
      else this.#after(this.#settings.lingerMs, () => this.#endIdle([connection]))
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
      const before = this.#accepted
      await new Promise((resolve) => setImmediate(resolve))
      quiet = this.#accepted === before ? quiet + 1 : 0
    }
  }

  get #accepted(): number {
    return this.#connections.accepted + this.#handshakes.begun
  }

  #closeListeners(): void {
    for (const bound of this.#bound) bound.close()
  }

  /** Reads the certificates anew.
   * @throws {Error} When one cannot be used: the former one is kept then, and every other one is read. */
  async reloadTls(): Promise<void> {
    const all = new Set(this.#bound.flatMap(({ tls }) => tls ?? []))
    const results = await Promise.allSettled([...all].map((tls) => tls.reload()))
    for (const result of results) if (result.status === 'rejected') throw result.reason
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
          // One that has begun to speak HTTP/2 meanwhile has a linger time of its own.
          if (this.#connections.of(connection.socket) !== connection) continue
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
        const isStill = this.#connections.of(connection.socket) === connection
        if (isStill && connection.isIdle) connection.say(requestTimeout)
      }),
    )
  }

  #after(ms: number, callback: () => void): void {
    const timeout = setTimeout(callback, Math.min(ms, maxTimerMs))
    void this.#closed.then(() => clearTimeout(timeout))
  }

  #finish(): void {
    this.#bodies.cancel()
    for (const bound of this.#bound) bound.finish()
    this.#guard?.release()
    this.#resolveClosed()
  }
}

/** What node tells of a new stream: with the fields, once more, as they have come. */
type StreamEvent = [
  stream: ServerHttp2Stream,
  fields: IncomingHttpHeaders,
  flags: number,
  raw: readonly string[],
]

/** How often node looks for half heads while the server stops, in milliseconds. */
const watchMs = 25

const stoppedBefore = 'The server was stopped before it had started'
