/** Sends responses in HTTP/1: one after the other on each connection, or as a switch of protocols. */

import { AsyncResource } from 'node:async_hooks'

import type { Conn } from '@wakerobin/core'

import { isFinished } from './connections.ts'
import type { Exchange } from './exchange.ts'
import type { Responder } from './requests.ts'
import { settle, settleWhenOver } from './respond.ts'
import { send } from './send.ts'
import { limitUnread } from './unread-body.ts'
import { maySwitch } from './upgrade.ts'
import type { Upgrades } from './upgrade.ts'

export class Http1Responder implements Responder<Exchange> {
  readonly #upgrades: Upgrades
  /** Whether every connection ends with its newest response. */
  isLeaving = false

  constructor(upgrades: Upgrades) {
    this.#upgrades = upgrades
  }

  respond(conn: Conn, exchange: Exchange): void {
    const { response, connection } = exchange
    const waits = this.isLeaving || maySwitch(conn)
    if (!waits || response.socket !== null || connection.socket.destroyed) {
      this.#send(conn, exchange)
      return
    }
    // It waits for a response before it, and another request may come meanwhile: whether this is the last on
    // the connection is known when its turn has come. Nor can protocols be switched before.
    const go = AsyncResource.bind((): void => {
      connection.unwatch(watcher)
      response.off('socket', onTurn)
      this.#send(conn, exchange)
    })
    const watcher = { gone: go }
    const onTurn = (): void => process.nextTick(go)
    connection.watch(watcher)
    response.once('socket', onTurn)
  }

  expire(conn: Conn, exchange: Exchange): void {
    const { response, connection } = exchange
    // Nobody may be left who reads the rest.
    if (!response.req.complete) connection.closeAfterResponse()
    this.#send(conn, exchange)
  }

  settleLate(conn: Conn, exchange: Exchange): void {
    const { response } = exchange
    if (isFinished(response) || response.destroyed) settle(conn, exchange, false)
    else settleWhenOver(conn, exchange)
  }

  #send(conn: Conn, exchange: Exchange): void {
    try {
      if (maySwitch(conn) && this.#upgrades.take(conn, exchange)) return
      if (exchange.framing !== 0) limitUnread(exchange)
      send(conn, exchange)
    } catch (error) {
      // Not known to happen; but one request must not end the process.
      exchange.connection.destroy()
      exchange.onError(error, { conn, place: 'the response' })
    }
  }
}
