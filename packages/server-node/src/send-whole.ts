/** Responses that are in memory, on connections that are kept: most of all responses.
 *
 * Written to the socket in one piece. node's own way puts a head together from parts that are known here, tells of
 * every step by events and ticks, and takes up a pipelined request a tick after the one before it: together a quarter
 * of the CPU time of a small response, and nine tenths where ten are pipelined (`npm run bench hello`). */

import { AsyncResource } from 'node:async_hooks'

import type { FinalResponse } from '@wakerobin/core/adapter'

import type { Exchange } from './exchange.ts'
import { headOf, isOrdinary, markSent, tellOfFinish } from './head.ts'

/** Longer bodies are node's, which knows whether they are taken: a client that does not read must be seen. */
const mostBytes = 16 * 1024

/** Sends a response in one go.
 * @param onSent Called when it was handed to the network, or with an error when it will not be.
 * @returns False where node must do it, and nothing was done: the connection ends with this response, its turn has not
 * come, the client is slow or the body long, somebody has changed the response's methods or speaks of the connection
 * in its header fields. */
export function sendWhole(
  final: FinalResponse,
  exchange: Exchange,
  onSent: ((error?: Error | null) => void) | undefined,
): boolean {
  const { response, connection } = exchange
  const { socket } = connection
  const { status, body, bodyLength = 0 } = final
  if (!isOrdinary(response) || socket.writableNeedDrain || bodyLength > mostBytes) return false
  const head = headOf(final, exchange.server.keepAliveFields)
  if (head === undefined) return false
  // With what follows in this turn, as the responses to pipelined requests: then it is the first that they are written by.
  const isFirst = connection.cork(exchange.server.writeStallMs)
  const sent = isFirst || onSent === undefined ? onSent : AsyncResource.bind(onSent)
  if (typeof body === 'string' && body.length === bodyLength) {
    // As many bytes as characters: ASCII, which is latin1 too.
    socket.write(head + body, 'latin1', sent)
  } else if (typeof body === 'string') {
    socket.write(head, 'latin1')
    socket.write(Buffer.from(body), sent)
  } else if (body instanceof Uint8Array && body.length > 0) {
    socket.write(head, 'latin1')
    socket.write(Buffer.from(body.buffer, body.byteOffset, body.byteLength), sent)
  } else {
    socket.write(head, 'latin1', sent)
  }
  markSent(response, status, head)
  response.finished = true
  tellOfFinish(response)
  // At which node lets go of the request, and takes up the next one.
  response.emit('finish')
  return true
}
