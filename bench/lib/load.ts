/** Sends requests over kept-alive connections, one at a time on each, and checks every answer. */

import { connect } from 'node:net'

export interface Load {
  readonly port: number
  readonly connections: number
  readonly requestsPerConnection: number
  /** How many requests are sent in one go, before the answer to the first is awaited. */
  readonly pipelined: number
  readonly path: string
  /** What every response body must be. */
  readonly body: string
}

/** Resolves when every request was answered.
 * @throws {Error} When an answer is not the expected one. */
export async function sendLoad(load: Load): Promise<void> {
  await Promise.all(Array.from({ length: load.connections }, () => oneConnection(load)))
}

function oneConnection({
  port,
  requestsPerConnection,
  pipelined,
  path,
  body,
}: Load): Promise<void> {
  const request = Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`.repeat(pipelined),
  )
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let answered = 0
    let received = ''
    socket.on('error', reject)
    socket.on('connect', () => socket.write(request))
    socket.on('data', (data) => {
      received += data.toString('latin1')
      if (!received.endsWith(body) || received.split('HTTP/1.1 ').length <= pipelined) return
      if (received.split('HTTP/1.1 200 OK').length !== pipelined + 1)
        reject(new Error(`Unexpected answer: ${received.slice(0, 200)}`))
      received = ''
      answered += pipelined
      if (answered < requestsPerConnection) socket.write(request)
      else socket.end(resolve)
    })
    socket.on('close', () => {
      if (answered < requestsPerConnection)
        reject(new Error(`Closed after ${answered} of ${requestsPerConnection} answers`))
    })
  })
}
