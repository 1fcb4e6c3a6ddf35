/** From a conn that is done to bytes on the wire. */

import type { Conn } from '@wakerobin/core'
import { hasAfterSend, isBodySource } from '@wakerobin/core/adapter'

import { ResponseSink } from './body-sink.ts'
import type { Exchange } from './exchange.ts'
import {
  finalOf,
  isTaken,
  sendFailure,
  settle,
  settleWhenOver,
  writeBody,
  writeHead,
} from './respond.ts'
import { sendWhole } from './send-whole.ts'

/** Sends the response of a conn, and runs its `afterSend` when that is over. */
export function send(conn: Conn, exchange: Exchange): void {
  const final = finalOf(conn, exchange)
  const { body } = final
  if (exchange.connection.socket.destroyed) {
    if (isBodySource(body)) body.closed(exchange.bodies.closeCause)
    settle(conn, exchange, false)
    return
  }
  if (isBodySource(body)) {
    // What is written together is taken together: a short response must not wait for a long one.
    exchange.connection.uncork()
    new ResponseSink(conn, body, final, exchange).start()
    return
  }
  const hasCallbacks = hasAfterSend(conn)
  const onSent = hasCallbacks
    ? (error?: Error | null) => settle(conn, exchange, !error && isTaken(exchange))
    : undefined
  if (sendWhole(final, exchange, onSent)) return
  exchange.connection.uncork() // as above
  if (hasCallbacks) settleWhenOver(conn, exchange)
  try {
    writeHead(final, exchange)
  } catch (error) {
    // What node refuses, as a Trailer where no trailers can be.
    exchange.onError(error, { conn, place: 'the response' })
    sendFailure(conn, exchange)
    return
  }
  writeBody(final, exchange)
}
