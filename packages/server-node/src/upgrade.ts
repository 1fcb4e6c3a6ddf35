/** Connections that go on as something else, by an Upgrade (RFC 9110 §7.8) or as a tunnel (CONNECT, §9.3.6).
 *
 * Whether one does is known when the handlers are done; node has to let go of it when the head has come. It is read
 * here meanwhile, and given back to node after an answer like any other. */

import { IncomingMessage, ServerResponse } from 'node:http'
import type { Server, ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

import { Swansong } from '@wakerobin/core'
import type { Conn, Upgrade } from '@wakerobin/core'
import { askedPlaceOf, failConn, finalize } from '@wakerobin/core/adapter'
import type { FinalResponse, Program, Upgrader } from '@wakerobin/core/adapter'

import { maxTimerMs } from './clock.ts'
import { badRequest, notImplemented } from './client-error.ts'
import { isFinished } from './connections.ts'
import type { Connection, Connections } from './connections.ts'
import type { Exchange } from './exchange.ts'
import { statusLineOf } from './head.ts'
import { upgradeGuardLabel } from './open-report.ts'
import { settle } from './respond.ts'

/** What `takeTransport` returns on this server. */
export interface NodeTransport {
  /** The connection. What comes on it comes after `head`. Its errors are heard already: that it closes is what is left
   * to see. */
  readonly socket: Duplex
  /** What had come before: to be read first. */
  readonly head: Buffer
}

declare module '@wakerobin/core' {
  interface Transport extends NodeTransport {}
}

/** Whether the response of a conn may be a switch of protocols. */
export function maySwitch(conn: Conn): boolean {
  return conn.status === 101 || conn.method === 'CONNECT'
}

/** Takes a request that node has parsed to its response. */
type Receive = (request: IncomingMessage, response: ServerResponse) => void

/** The connections of a server that may go on as something else, and those that do. */
export class Upgrades {
  readonly #program: Program
  readonly #connections: Connections
  /** For the guards: where they are taken tells nothing. */
  readonly #swansong: Swansong
  readonly #detached = new WeakMap<ServerResponse, Detached>()
  readonly #open = new Set<Socket>()

  constructor(program: Program, connections: Connections, swansong: Swansong) {
    this.#program = program
    this.#connections = connections
    this.#swansong = new Swansong({ sites: false }, swansong)
  }

  /** Has node let go of the connections of requests that may switch protocols. */
  watch(server: Server, receive: Receive): void {
    const detach = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
      const connection = this.#connections.of(request.socket)
      if (socket !== request.socket) {
        // Node 26 has not let go of it: a CONNECT with a body, which has no meaning (RFC 9110 §9.3.6).
        request.resume()
        connection.sayInTurn(badRequest)
        return
      }
      const detached = new Detached(server, connection, request, head)
      if (request.method === 'CONNECT' && !this.#program.mayUpgrade) {
        detached.drop()
        connection.sayInTurn(notImplemented)
        return
      }
      // Too late: nothing is said, and node may have given the socket to a request before it that came too late, too.
      if (connection.isOver) detached.drop()
      else detached.waitForTurn()
      this.#detached.set(detached.response, detached)
      receive(request, detached.response)
    }
    server.on('upgrade', detach)
    server.on('connect', detach)
  }

  /** Switches protocols, where the response of a conn is that and a handler takes the connection over. Its turn among
   * the responses of the connection has come.
   * @returns False where the response, which may have become another, is yet to be sent. */
  take(conn: Conn, exchange: Exchange): boolean {
    const { response } = exchange
    const detached = this.#detached.get(response)
    if (detached === undefined) return false
    const isTunnel = conn.method === 'CONNECT'
    // What a client sends behind it is meant for the other end, and no request.
    if (isTunnel) response.shouldKeepAlive = false
    if (conn.status !== (isTunnel ? 200 : 101)) return false
    const { socket } = detached
    // Also where the client has only ended its side: that was said to us, not to the other protocol.
    if (socket.destroyed || socket.readableEnded) {
      exchange.connection.destroy()
      settle(conn, exchange, false)
      return true
    }
    const handover = new Handover(conn, detached)
    const upgrader = this.#upgraderOf(handover, exchange)
    if (upgrader === undefined) {
      if (isTunnel && conn.status === 200) failConn(conn, 501) // an app that says 200 to everything
      return false
    }
    // RFC 9110 §6.6.1. Not with 1xx.
    if (isTunnel && !conn.responseHeaders.has('date'))
      conn.withResponseHeader('Date', new Date().toUTCString())
    const final = finalOf(conn, exchange)
    if (final === undefined) return false
    const closed = this.#switch(conn, exchange, final, detached)
    // Until then it is work that the stop waits for: for what the handler does last, too.
    const guard = this.#swansong.guard(upgradeGuardLabel(conn.method, pathOf(conn)))
    void Promise.all([closed, handover.to(upgrader, exchange)]).then(() => guard.release())
    return true
  }

  #upgraderOf(upgrade: Handover, { onError }: Exchange): Upgrader | undefined {
    const { conn } = upgrade
    try {
      return this.#program.upgraderOf(upgrade)
    } catch (error) {
      failConn(conn, 500)
      onError(error, { conn, place: askedPlaceOf(upgrade) })
      return undefined
    }
  }

  /** Sends the head, and lets go of the connection. Resolves when it is closed. */
  #switch(conn: Conn, exchange: Exchange, final: FinalResponse, detached: Detached): Promise<void> {
    const { socket } = detached
    this.#open.add(socket)
    this.#connections.letGo(exchange.connection)
    detached.letGo()
    // latin1: each character of a header is a byte.
    socket.write(headOf(final), 'latin1', (error) => settle(conn, exchange, error == null))
    return new Promise((resolve) => {
      socket.once('close', () => {
        this.#open.delete(socket)
        resolve()
      })
    })
  }

  /** The deadline has passed. */
  cut(): void {
    for (const socket of this.#open) socket.destroy()
  }
}

/** A connection that node has let go of, until it is known what becomes of it. */
class Detached {
  readonly response: ServerResponse
  readonly socket: Socket
  readonly #server: Server
  readonly #connection: Connection
  #chunks: Buffer[] = []
  #length = 0

  constructor(server: Server, connection: Connection, request: IncomingMessage, head: Buffer) {
    const { socket } = connection
    this.#server = server
    this.#connection = connection
    this.socket = socket
    // Of what node listens for, it leaves these, and adds others when it gets the connection back.
    socket.removeAllListeners('pause').removeAllListeners('resume')
    // Never taken off where another protocol follows: an error that nobody hears would end the process.
    socket.on('error', ignore)
    socket.on('drain', this.#onDrain)
    socket.on('data', this.#onData)
    if (head.length > 0) this.#onData(head)

    this.response = new ServerResponse(request)
  }

  /** Waits for its turn among the responses of the connection. */
  waitForTurn(): void {
    const { response, socket } = this
    const before = this.#connection.newest
    // It may have been sent, and node not have been told yet: then it still has the socket.
    if (before === undefined || (isFinished(before) && before.socket === null))
      response.assignSocket(socket)
    else before.once('finish', () => process.nextTick(() => this.#onTurn()))
    response.once('finish', () => this.#onFinish())
    socket.on('end', this.#onEnd)
  }

  /** The responses before this one are sent. The last of them may have been the last of the connection. */
  #onTurn(): void {
    const { response, socket } = this
    // It was refused before its turn, and is itself the last.
    const isMade = response.headersSent && !socket.writableEnded
    if (socket.destroyed || (this.#connection.isOver && !isMade)) this.drop()
    else response.assignSocket(socket)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    if (this.#length >= mostAheadBytes) this.socket.pause()
  }

  /** As node does, for the responses of the connection. */
  readonly #onDrain = (): void => {
    for (const response of this.#connection.unfinished())
      if (response.socket === this.socket && response.writableNeedDrain) response.emit('drain')
  }

  /** Node can be given back nothing then. */
  readonly #onEnd = (): void => {
    this.response.shouldKeepAlive = false
  }

  /** What has come. From now on it is somebody else who reads. */
  take(): Buffer {
    const { socket } = this
    socket.off('data', this.#onData).pause()
    ;(socket as { readableFlowing: boolean | null }).readableFlowing = null // as it is when nobody has read yet
    const ahead = Buffer.concat(this.#chunks)
    this.#chunks = []
    return ahead
  }

  /** Reads on, and drops what comes: a socket with unread bytes would be reset. */
  drop(): void {
    this.#chunks = []
    this.socket.off('data', this.#onData).resume()
  }

  destroy(): void {
    this.#connection.destroy()
  }

  /** There is no response any more. */
  letGo(): void {
    const { response, socket } = this
    socket.off('drain', this.#onDrain).off('end', this.#onEnd)
    socket.setTimeout(0) // the response before may have set node's time for idle connections
    response.detachSocket(socket)
    process.nextTick(() => response.emit('close'))
  }

  #onFinish(): void {
    const { response, socket } = this
    this.letGo()
    // oxlint-disable-next-line no-underscore-dangle -- whether it has said Connection: close, whoever has set that
    const isLast = (response as ServerResponse & { _last: boolean })._last
    // When all who wait for the end of the response have been told: one may end the connection.
    process.nextTick(() => {
      if (socket.destroyed) return
      if (isLast || socket.readableEnded) this.#connection.end()
      if (this.#connection.isOver) this.drop()
      else this.#giveBack()
    })
  }

  #giveBack(): void {
    const { socket } = this
    const server = this.#server
    const ahead = this.take()
    socket.off('error', ignore)
    this.#connection.heardBefore = socket.bytesRead - ahead.length
    if (ahead.length > 0) socket.unshift(ahead)
    // Where node itself takes its connections from.
    const isSecure = server.listenerCount('secureConnection') > 0
    server.emit(isSecure ? 'secureConnection' : 'connection', socket)
    socket.resume()
    this.#endWhenIdle()
  }

  /** To node the connection is a new one, which it would keep for as long as a head may take. */
  #endWhenIdle(): void {
    const { keepAliveTimeout } = this.#server
    if (keepAliveTimeout === 0) return // for ever
    const connection = this.#connection
    const { heardBefore } = connection
    const end = (): void => {
      const isUnused = connection.isSilent && connection.heardBefore === heardBefore
      if (isUnused && !connection.socket.destroyed) connection.end()
    }
    setTimeout(end, Math.min(keepAliveTimeout, maxTimerMs)).unref()
  }
}

/** A connection that is handed over, once. */
class Handover implements Upgrade {
  readonly conn: Conn
  readonly #detached: Detached
  #state: 'early' | 'ready' | 'taken' = 'early'

  constructor(conn: Conn, detached: Detached) {
    this.conn = conn
    this.#detached = detached
  }

  takeTransport(): NodeTransport {
    if (this.#state === 'early')
      throw new TypeError(
        'Cannot take the connection over in hasUpgrade: it is for upgrade to take',
      )
    if (this.#state === 'taken')
      throw new TypeError('Cannot take the connection over: it was taken before')
    this.#state = 'taken'
    return { socket: this.#detached.socket, head: this.#detached.take() }
  }

  /** Calls the handler. Where it fails, or does not take the connection, that is closed. */
  async to({ upgrade, place }: Upgrader, { onError }: Exchange): Promise<void> {
    this.#state = 'ready'
    const { conn } = this
    try {
      await upgrade(this)
      if (this.#state === 'ready')
        throw new TypeError(
          `Expected upgrade of ${place} to take the connection, with takeTransport()`,
        )
    } catch (error) {
      this.#detached.destroy()
      onError(error, { conn, place: `upgrade of ${place}` })
    }
  }
}

/** The head of a switch of protocols; undefined where it claims what is not true, and has become a 500. */
function finalOf(conn: Conn, { onError }: Exchange): FinalResponse | undefined {
  try {
    return finalize(conn, Buffer.byteLength, true)
  } catch (error) {
    failConn(conn, 500)
    onError(error, { conn, place: 'the response' })
    return undefined
  }
}

/** By hand: node would add what is none of a switch's. */
function headOf({ status, rawHeaders }: FinalResponse): string {
  let text = statusLineOf(status)
  for (let at = 0; at < rawHeaders.length; at += 2)
    text += `${rawHeaders[at]}: ${rawHeaders[at + 1]}\r\n`
  return `${text}\r\n`
}

/** Without the query, which may hold what is not for everybody. */
function pathOf({ pathAndQuery }: Conn): string {
  return pathAndQuery.split('?', 1)[0]!
}

function ignore(): void {}

/** More is not read until it is known what becomes of the connection. */
const mostAheadBytes = 64 * 1024

/** Options by which a version of node asks, before it lets go of a connection, whether its request may switch.
 *
 * One with a body may not: it could only switch behind that, and is served as if it had not asked, but for its being the
 * last of its connection: see `hidesWhatFollows`. */
export function upgradeOptionsFor(version: string): ServerOptions {
  const options: ServerOptions & { shouldUpgradeCallback: typeof maySwitchProtocols } = {
    shouldUpgradeCallback: maySwitchProtocols,
  }
  return version.startsWith('20.') ? { IncomingMessage: AskedMessage } : options
}

interface HidingMessage extends IncomingMessage {
  hidesWhatFollows?: true
}

/** Whether node's parser ends behind the body of a request: what the client has sent after it, nobody sees. */
export function hidesWhatFollows(request: IncomingMessage): boolean {
  return (request as HidingMessage).hidesWhatFollows === true
}

/** HTTP/1.0 has no Upgrade: RFC 9110 §7.8. What node answers by itself is left to it. */
function maySwitchProtocols(request: IncomingMessage): boolean {
  const { httpVersion, headers } = request
  if (httpVersion !== '1.1' || headers.host === undefined || headers.expect !== undefined)
    return false
  if (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined) {
    ;(request as HidingMessage).hidesWhatFollows = true
    return false
  }
  // Close wins: RFC 9112 §9.6.
  return !/(?:^|,)\s*close\s*(?:,|$)/i.test(headers.connection ?? '')
}

/** Node 20 has no such option. It looks at a property. */
class AskedMessage extends IncomingMessage {
  #asks = false

  get upgrade(): boolean {
    return this.#asks && (this.method === 'CONNECT' || maySwitchProtocols(this))
  }

  set upgrade(asks: boolean) {
    if (#asks in this) this.#asks = asks // it is first set before there is such a field
  }
}
