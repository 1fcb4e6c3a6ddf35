/** What becomes of a request body that no handler reads to its end. */

import { framing } from './examine.ts'
import { drop, unreadMs } from './exchange.ts'
import type { Exchange } from './exchange.ts'

/** How often to look how much was dropped, in milliseconds. */
const lookMs = 100

/** Decides, before the response of a request with a body goes out, whether the connection can go on behind it.
 *
 * What is left of a body is read and dropped, as the next request comes behind it: as much as the server would have
 * read at most. A longer one ends the connection, and so does one that the client keeps until it is asked for it. */
export function limitUnread(exchange: Exchange): void {
  const { response, connection } = exchange
  if (response.req.complete || exchange.isRead) return
  const isTooLong = exchange.framing === framing.long || exchange.isTooLong
  if (isTooLong || exchange.awaitsContinue) {
    connection.closeAfterResponse()
    return
  }
  response.once('finish', () => {
    dropWhenLeft(exchange)
    if (exchange.framing === framing.chunked) endWhenTooLong(exchange)
  })
}

/** Drops the rest of a body that somebody has begun to read and then left: node takes care of those alone that nobody
 * has touched, and the next request comes behind it. Whoever goes on reading is left to it; who comes back later is told
 * that it was dropped. */
function dropWhenLeft({ response, connection }: Exchange): void {
  const { req } = response
  const { socket } = connection
  if (req.complete) return
  let before = 0
  let receivedBefore = 0
  const timer = setInterval(() => {
    const { readableLength } = req
    // A reader has more come in the place of what it has taken, and mostly as much.
    const isLeft =
      readableLength > 0 && readableLength === before && socket.bytesRead === receivedBefore
    before = readableLength
    receivedBefore = socket.bytesRead
    if (isLeft && !req.complete) drop(req)
    if (isLeft || req.complete || socket.destroyed) clearInterval(timer)
  }, unreadMs / 2).unref() // twice in that time
}

/** Ends the connection when too much of a body has come behind the response. */
function endWhenTooLong({ response, connection, server }: Exchange): void {
  const { req } = response
  if (req.complete) return
  const { socket } = connection
  const mostRead = socket.bytesRead + server.maxBodyBytes
  const timer = setInterval(() => {
    if (!req.complete && socket.bytesRead > mostRead) connection.end()
    if (req.complete || socket.destroyed || connection.isOver) clearInterval(timer)
  }, lookMs).unref()
}
