/** A request body, read whole. */

import type { Readable } from 'node:stream'

import { BodyAbortedError, BodyTooLongError } from '@wakerobin/core'

/** Reads the body of a request to its end. What is too long is read and dropped, as by `openBody`.
 * @param onTooLong Called where it is. */
export function collect(
  request: Readable,
  limitBytes: number,
  onTooLong?: () => void,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      chunks.push(chunk)
      if (length <= limitBytes) return
      settle()
      onTooLong?.()
      reject(new BodyTooLongError(limitBytes))
    }
    const onEnd = (): void => {
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
      settle()
    }
    const onFail = (error?: Error): void => {
      settle()
      reject(new BodyAbortedError({ cause: error }))
    }
    const settle = (): void => {
      request.off('data', onData).off('end', onEnd).off('close', onFail)
      chunks.length = 0
    }
    if (request.destroyed) onFail()
    // Not taken off again: an error that comes later concerns nobody.
    else request.on('data', onData).on('end', onEnd).on('close', onFail).on('error', onFail)
  })
}
