/** Every socket of a server, and what it is doing. */

import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import type { Listener } from '@wakerobin/core'

import { maxTimerMs } from './clock.ts'
import type { OpenRequest } from './open-report.ts'
import { excessMs } from './places.ts'
import type { Places } from './places.ts'

interface Begun {
  readonly response: ServerResponse
  readonly startTime: number
}

/** Who is told what becomes of a connection. */
export interface Watcher {
  /** It is gone. */
  gone(): void
  /** The client has ended its side, which is all that is seen of one that left in good order. */
  ended?(): void
}

/** What a connection has come in on. */
export interface Entrance {
  readonly listener: Listener
}

/** A client's connection. */
export class Connection {
  readonly socket: Socket
  readonly entrance: Entrance
  /** The client's address, IPv4 as such also where the socket has it mapped into IPv6. */
  readonly peerIp: string | undefined
  /** When the newest request came, as `performance.now()` has it. */
  startTime = 0
  /** Whether part of a request's head has come, and not the rest. Only known while the server stops. */
  isReceiving = false
  /** Whether it is one too many: what it asks for is refused. */
  isExcess = false
  /** How much had come, and was no part of another request, when node got the connection back behind an answer to an
   * Upgrade: from then on it waits for a head. */
  heardBefore = 0
  /** The response to the newest request. Responses are sent in the order of the requests, so when
   * this one is finished, all are. */
  #response: ServerResponse | undefined
  /** The oldest of the requests before it that are not answered yet, where the client pipelines:
   * RFC 9112 §9.3.2. For the report. */
  #earlier: Begun[] | undefined
  /** The last of those, of which the list may have no place left. */
  #before: ServerResponse | undefined
  /** The response after which the connection ends, and whether it would have been kept. */
  #last: ServerResponse | undefined
  #wasKept = false
  /** Whether that response says so. */
  #saysClose = false
  // Mostly none or one, and no list then: memory that an open connection holds is memory times ten thousand.
  #watchers: Watcher | Set<Watcher> | undefined
  readonly #halfClosedMs: number
  #isEnding = false
  #isCorked = false
  /** Set while the client of an idle connection is still reading. */
  #reader: ReturnType<typeof setInterval> | undefined

  constructor(socket: Socket, entrance: Entrance, halfClosedMs: number) {
    this.socket = socket
    this.entrance = entrance
    this.#halfClosedMs = Math.min(halfClosedMs, maxTimerMs)
    // Node's own way to close after the last response, which would destroy the socket at once.
    socket.destroySoon = endSoon
    const ip = socket.remoteAddress
    this.peerIp = ip?.startsWith('::ffff:') === true && ip.includes('.') ? ip.slice(7) : ip
  }

  /** Whether no request has come. */
  get isNew(): boolean {
    return this.#response === undefined
  }

  /** Whether nothing has come since node has waited for the head of a request, be it on a new connection or on one that
   * it got back. */
  get isSilent(): boolean {
    return this.socket.bytesRead === this.heardBefore
  }

  /** Whether no request is being answered. */
  get isIdle(): boolean {
    return this.#response === undefined || isFinished(this.#response)
  }

  /** Whether it has said goodbye: a request that comes now cannot be answered any more. RFC 9112 §9.6. */
  get isOver(): boolean {
    return this.#isEnding || (this.#saysClose && this.#last!.headersSent)
  }

  /** A request has come. */
  began(response: ServerResponse): void {
    const previous = this.#response
    // Without a socket: it has to wait for the one before it.
    if (previous !== undefined && response.socket === null) {
      this.#before = previous
      const earlier = (this.#earlier ??= [])
      while (earlier.length > 0 && isFinished(earlier[0]!.response)) earlier.shift()
      if (earlier.length < mostEarlier)
        earlier.push({ response: previous, startTime: this.startTime })
    } else if (this.#earlier !== undefined) {
      this.#earlier = undefined
      this.#before = undefined
    }
    this.#response = response
    this.startTime = performance.now()
    this.isReceiving = false
  }

  /** Calls back for each request in progress that is answered, when it is. */
  countAnswers(answered: () => void): void {
    for (const response of this.unfinished()) this.countAnswer(response, answered)
  }

  /** Calls back when a response is sent. */
  countAnswer(response: ServerResponse, answered: () => void): void {
    response.once('finish', () => {
      if (!this.socket.destroyed) answered()
    })
  }

  /** The linger time is over. Whether the connection can end is looked at by whether it is idle. */
  lingered(): void {}

  /** The response to the newest request; undefined where there was none. */
  get newest(): ServerResponse | undefined {
    return this.#response
  }

  /** The responses that are not finished, the oldest first. */
  unfinished(): ServerResponse[] {
    return this.#open().map(({ response }) => response)
  }

  /** The requests in progress, the oldest first.
   * @param isStream Tells of a response whether it is an event stream. */
  requests(isStream: (response: object) => boolean): OpenRequest[] {
    return this.#open().map(({ response, startTime }) => ({
      method: response.req.method!,
      path: pathOf(response.req.url!),
      startTime,
      isStream: isStream(response),
    }))
  }

  #open(): Begun[] {
    if (this.isIdle) return []
    const earlier = this.#earlier?.filter(({ response }) => !isFinished(response)) ?? []
    return [...earlier, { response: this.#response!, startTime: this.startTime }]
  }

  /** Ends the connection after the newest response, which says `Connection: close` where its head is
   * not made yet. Called again when another request has come, it moves that on.
   * @param onKept Called when the response is finished, where its head had said that the connection is kept:
   * the client may have sent another request by then. Without it, the connection ends all the same. */
  closeAfterResponse(onKept?: (response: ServerResponse) => void): void {
    const response = this.#response
    if (response === undefined || isFinished(response) || response === this.#last) return
    if (this.#last !== undefined) this.#last.shouldKeepAlive = this.#wasKept
    const saysKept = response.headersSent && response.shouldKeepAlive
    this.#last = response
    this.#wasKept = response.shouldKeepAlive
    this.#saysClose = !response.headersSent
    response.shouldKeepAlive = false
    // Also by hand: a handler may have set a Connection of its own.
    response.once('finish', () => {
      if (this.#response !== response) return
      if (saysKept && onKept !== undefined) onKept(response)
      else this.end()
    })
  }

  /** Deals with bytes that are no request, or with a request that does not come.
   * @param answer What to say, as bytes on the wire; undefined where nobody would hear it. */
  refuse(answer: string | undefined): void {
    if (this.#isEnding) return
    const newest = this.#response
    if (answer === undefined) this.destroy()
    // All was said, and that it was the last.
    else if (this.isOver && newest!.writableEnded) return
    // What is left of the body of a request that was answered: a second answer would be taken for the next one's.
    else if (this.isIdle && newest?.req.complete === false) this.end()
    else if (newest === undefined || newest.req.complete) this.sayInTurn(answer)
    else {
      // The newest request is itself broken.
      const before = this.#before
      if (before === undefined || isFinished(before)) this.#refuseNewest(answer)
      else before.once('finish', () => process.nextTick(() => this.#refuseNewest(answer)))
    }
  }

  /** Its answer may have begun, and cannot be mended then. */
  #refuseNewest(answer: string): void {
    if (!this.#isEnding && !this.#response!.headersSent) this.socket.write(answer)
    this.destroy()
  }

  /** Ends the connection at once. What was written in this turn still goes out. */
  destroy(): void {
    this.uncork()
    this.socket.destroy()
  }

  /** Lets what is written in this turn go out together.
   * @param stallMs As `limits.writeStallMs`.
   * @returns Whether it is the first in this turn. */
  cork(stallMs: number): boolean {
    if (this.#isCorked) return false
    this.#isCorked = true
    this.socket.cork()
    process.nextTick(uncork, this, stallMs)
    return true
  }

  uncork(): void {
    if (!this.#isCorked) return
    this.#isCorked = false
    this.socket.uncork()
  }

  /** Keeps node from taking the connection for idle, and closing it, while its client is still reading: the time of an
   * idle one begins when that has read all.
   * @param stallMs As `limits.writeStallMs`. */
  waitForReader(stallMs: number): void {
    const { socket } = this
    const idleMs = socket.timeout ?? 0 // which node has set with the response
    const timeoutMs = stallMs === Infinity ? 0 : stallMs
    socket.setTimeout(timeoutMs)
    // Looked at, as a socket tells of it only where it was told to wait. One timer at a time.
    clearInterval(this.#reader)
    this.#reader = setInterval(() => {
      if (socket.writableLength > 0 && !socket.destroyed) return
      clearInterval(this.#reader)
      this.#reader = undefined
      if (this.isIdle && socket.timeout === timeoutMs) socket.setTimeout(idleMs)
    }, readerMs).unref()
  }

  /** Says the last words behind the responses that are still to come. No request must follow. */
  sayInTurn(answer: string): void {
    const last = this.unfinished().at(-1)
    if (last === undefined) this.say(answer)
    else last.once('finish', () => process.nextTick(() => this.say(answer)))
  }

  /** Says the last words on the connection. */
  say(answer: string): void {
    if (this.#isEnding) return
    this.socket.write(answer)
    this.end()
  }

  /** Tells somebody what becomes of the connection, until `unwatch`. */
  watch(watcher: Watcher): void {
    const watchers = this.#watchers
    if (watchers === undefined) this.#watchers = watcher
    else if (watchers instanceof Set) watchers.add(watcher)
    else this.#watchers = new Set([watchers, watcher])
  }

  unwatch(watcher: Watcher): void {
    if (this.#watchers === watcher) this.#watchers = undefined
    else if (this.#watchers instanceof Set) this.#watchers.delete(watcher)
  }

  ended(): void {
    for (const watcher of listOf(this.#watchers)) watcher.ended?.()
    if (!this.isIdle && !this.socket.destroyed) this.#waitHalfClosed()
  }

  closed(): void {
    const watchers = listOf(this.#watchers)
    this.#watchers = undefined
    for (const watcher of watchers) watcher.gone()
  }

  /** Says goodbye: FIN, and the end of the socket soon after. Reading goes on meanwhile: a socket that
   * is destroyed with unread input is reset, and the client may lose what it was sent before. A client
   * that is still sending is heard for two seconds more. */
  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.socket.end()
    // A slow client takes what is written first.
    if (this.socket.writableLength === 0) this.waitForItsEnd()
    else this.socket.once('finish', () => this.waitForItsEnd())
  }

  /** Destroys the socket soon, where the client does not end its side. */
  waitForItsEnd(): void {
    let rounds = 10
    this.#whileItMoves(
      200,
      () => this.socket.bytesRead,
      () => rounds-- > 0,
    )
  }

  /** The client has ended its side. It may still read; if nothing moves towards it, it has left. */
  #waitHalfClosed(): void {
    this.#whileItMoves(
      this.#halfClosedMs,
      () => this.socket.bytesWritten,
      () => true,
    )
  }

  /** Destroys the socket as soon as a count stands still for some time, or `goesOn` says so. */
  #whileItMoves(ms: number, count: () => number, goesOn: () => boolean): void {
    let before = count()
    const timer = setInterval(() => {
      if (!this.socket.destroyed && count() !== before && goesOn()) {
        before = count()
      } else {
        clearInterval(timer)
        this.socket.destroy()
      }
    }, ms).unref()
    this.socket.once('close', () => clearInterval(timer))
  }
}

/** Whether a response is over. From Node 24 on, `writableFinished` only knows of those that node itself has ended. */
export function isFinished(response: ServerResponse): boolean {
  const { writableFinished, writableEnded, writableLength, socket } = response
  return writableFinished || (writableEnded && socket === null && writableLength === 0)
}

/** Those who watch now: a copy, as they may leave while they are told. */
function listOf(watchers: Watcher | Set<Watcher> | undefined): readonly Watcher[] {
  if (watchers === undefined) return []
  return watchers instanceof Set ? [...watchers] : [watchers]
}

/** How often to look whether a client has read all, in milliseconds. */
const readerMs = 1000

/** More is not looked at: a client may pipeline thousands. */
const mostEarlier = 100

/** Without the query, and without the scheme, authority and user of an absolute target. */
export function pathOf(target: string): string {
  return target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').split('?', 1)[0]!
}

const connectionOf = Symbol('connection')
type SocketWithConnection = Socket & { [connectionOf]?: Connection }

function uncork(connection: Connection, stallMs: number): void {
  connection.uncork()
  // A connection with another request has no time that runs: node gives it one with the last response.
  if (connection.socket.writableLength > 0 && connection.isIdle) connection.waitForReader(stallMs)
}

// Listeners for all sockets, rather than closures for each.
function endSoon(this: SocketWithConnection): void {
  this[connectionOf]!.end()
}

function onSocketEnd(this: SocketWithConnection): void {
  this[connectionOf]!.ended()
}

type ListenerMethods = Pick<Socket, 'on' | 'addListener' | 'prependListener'>

function methodsOf({ on, addListener, prependListener }: Socket): ListenerMethods {
  return { on, addListener, prependListener }
}

/** The connections of a server. */
export class Connections implements Iterable<Connection> {
  readonly #open = new Set<Connection>()
  readonly #halfClosedMs: number
  readonly #places: Places
  readonly #onSocketClose: (this: SocketWithConnection) => void
  #onEmpty: (() => void) | undefined
  #empty: Promise<void> | undefined
  #listenerMethods: ListenerMethods | undefined
  /** How many have come. */
  accepted = 0

  /** @param halfClosedMs How long a client that has ended its side is waited for. */
  constructor(halfClosedMs: number, places: Places) {
    this.#halfClosedMs = halfClosedMs
    this.#places = places
    const forget = (connection: Connection): void => this.#forget(connection)
    this.#onSocketClose = function () {
      forget(this[connectionOf]!)
    }
  }

  /** Takes in a new socket until it closes, also where it goes on as something else.
   * @returns Undefined where there is no place for it, not even to say so: then it is destroyed. */
  add(socket: Socket, entrance: Entrance): Connection | undefined {
    this.accepted++
    const place = this.#places.take()
    if (place === 'none') {
      socket.destroy()
      return undefined
    }
    const connection = new Connection(socket, entrance, this.#halfClosedMs)
    ;(socket as SocketWithConnection)[connectionOf] = connection
    this.#shareListenerMethods(socket)
    if (place === 'excess') this.#limitExcess(connection)
    this.#open.add(connection)
    socket.on('end', onSocketEnd)
    socket.on('close', this.#onSocketClose)
    return connection
  }

  /** Gives a connection that is one too many a moment to say something, and to be told so. */
  #limitExcess(connection: Connection): void {
    connection.isExcess = true
    // It may speak HTTP/2 by then, and be another one.
    const timeout = setTimeout(() => this.of(connection.socket).end(), excessMs).unref()
    connection.socket.once('close', () => clearTimeout(timeout))
  }

  /** Node gives each socket three closures that know nothing of it: 300 bytes that all sockets can share. */
  #shareListenerMethods(socket: Socket): void {
    if (!Object.hasOwn(socket, 'on')) return
    const { on, addListener, prependListener } = (this.#listenerMethods ??= methodsOf(socket))
    socket.on = on
    socket.addListener = addListener
    socket.prependListener = prependListener
  }

  #forget(connection: Connection): void {
    this.#open.delete(connection)
    this.#places.leave(connection.isExcess)
    connection.closed()
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  /** Puts a connection in the place of the one that it was taken for. */
  replace(former: Connection, connection: Connection): void {
    this.#open.delete(former)
    this.#open.add(connection)
    ;(connection.socket as SocketWithConnection)[connectionOf] = connection
  }

  /** Lets go of a connection that goes on as something else: how that ends is not for us to say. Who watches it is
   * still told when it is gone, and until then it keeps its place. */
  letGo(connection: Connection): void {
    const { socket } = connection
    Reflect.deleteProperty(socket, 'destroySoon')
    socket.off('end', onSocketEnd)
    this.#open.delete(connection)
    if (this.#open.size === 0) this.#onEmpty?.()
  }

  /** Whether a socket was added before. */
  has(socket: Socket): boolean {
    return connectionOf in socket
  }

  /** The connection of a socket that was added. */
  of(socket: Socket): Connection {
    return (socket as SocketWithConnection)[connectionOf]!
  }

  /** The connection of a socket; undefined where it was not added. */
  find(socket: Socket): Connection | undefined {
    return (socket as SocketWithConnection)[connectionOf]
  }

  get size(): number {
    return this.#open.size
  }

  [Symbol.iterator](): Iterator<Connection> {
    return this.#open.values()
  }

  /** Resolves when the last connection is gone; at once when there is none. */
  empty(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve()
    this.#empty ??= new Promise((resolve) => {
      this.#onEmpty = resolve
    })
    return this.#empty
  }
}
