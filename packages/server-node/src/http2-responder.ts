/** From a conn that is done to frames on the wire. */

import { constants } from 'node:http2'

import type { Conn } from '@wakerobin/core'
import { failConn, isBodySource } from '@wakerobin/core/adapter'

import type { Http2Exchange } from './http2-exchange.ts'
import { sendFailureHttp2, sendWholeHttp2 } from './http2-respond.ts'
import { Http2Sink } from './http2-sink.ts'
import type { Responder } from './requests.ts'
import { finalOf, settle } from './respond.ts'

/** Sends responses in HTTP/2, each on its stream. */
export const http2Responder: Responder<Http2Exchange> = {
  respond(conn, exchange) {
    try {
      respondHttp2(conn, exchange)
    } catch (error) {
      // Not known to happen; but one request must not end the process.
      exchange.reset(constants.NGHTTP2_INTERNAL_ERROR)
      exchange.onError(error, { conn, place: 'the response' })
    }
  },
  expire(conn, exchange) {
    this.respond(conn, exchange)
  },
  settleLate(conn, exchange) {
    if (exchange.isClosed) settle(conn, exchange, false)
    else exchange.onOver((isSent) => settle(conn, exchange, isSent))
  },
}

/** Sends the response of a conn, and runs its `afterSend` when that is over. */
function respondHttp2(conn: Conn, exchange: Http2Exchange): void {
  if (conn.status === 101) refuseSwitch(conn, exchange)
  const final = finalOf(conn, exchange)
  const { body } = final
  if (exchange.isClosed) {
    if (isBodySource(body)) body.closed(exchange.bodies.closeCause)
    settle(conn, exchange, false)
    return
  }
  const sink = isBodySource(body) ? new Http2Sink(conn, body, final, exchange) : undefined
  // Only behind the sink's: `afterSend` finds a source that is closed, and has counted what it had to.
  exchange.onOver((isSent) => settle(conn, exchange, isSent))
  if (sink !== undefined) {
    sink.start()
    return
  }
  try {
    sendWholeHttp2(final, exchange)
  } catch (error) {
    // What node refuses, as two values of a field that has one.
    exchange.onError(error, { conn, place: 'the response' })
    sendFailureHttp2(conn, exchange)
  }
}

/** HTTP/2 has no Upgrade: RFC 9113 §8.6. */
function refuseSwitch(conn: Conn, { onError }: Http2Exchange): void {
  failConn(conn, 500)
  const error = new TypeError('Cannot answer with a 101 in HTTP/2: it has no Upgrade')
  onError(error, { conn, place: 'the response' })
}
