/** Sends requests over kept-alive connections, and checks every answer. */

import { connect } from 'node:net'

export interface Load {
  readonly port: number
  readonly connections: number
  readonly requestsPerConnection: number
  /** How many requests are sent in one go, before the answer to the first is awaited. */
  readonly pipelined: number
  readonly path: string
  readonly fields?: Readonly<Record<string, string>>
  /** Makes it a POST of JSON. */
  readonly requestBody?: string
  /** What every response body must be. */
  readonly body: string
}

/** Resolves when every request was answered.
 * @throws {Error} When an answer is not the expected one. */
export async function sendLoad(load: Load): Promise<void> {
  await Promise.all(Array.from({ length: load.connections }, () => oneConnection(load)))
}

function oneConnection(load: Load): Promise<void> {
  const { port, requestsPerConnection, pipelined, body } = load
  const request = Buffer.from(requestText(load).repeat(pipelined))
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let answered = 0
    let inGo = 0
    let received = ''
    socket.on('error', reject)
    socket.on('connect', () => socket.write(request))
    socket.on('data', (data) => {
      received += data.toString('latin1')
      for (;;) {
        const answer = firstAnswer(received)
        if (answer === undefined) return
        if (!answer.isOk || answer.body !== body) {
          reject(new Error(`Unexpected answer: ${received.slice(0, 300)}`))
          socket.destroy()
          return
        }
        received = received.slice(answer.length)
        answered++
        if (++inGo < pipelined) continue
        inGo = 0
        if (answered < requestsPerConnection) socket.write(request)
        else socket.end(resolve)
      }
    })
    socket.on('close', () => {
      if (answered < requestsPerConnection)
        reject(new Error(`Closed after ${answered} of ${requestsPerConnection} answers`))
    })
  })
}

function requestText({ port, path, fields = {}, requestBody }: Load): string {
  const content =
    requestBody === undefined
      ? {}
      : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(requestBody) }
  const head = Object.entries({ Host: `localhost:${port}`, ...fields, ...content })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
  const method = requestBody === undefined ? 'GET' : 'POST'
  return `${method} ${path} HTTP/1.1\r\n${head}\r\n${requestBody ?? ''}`
}

interface HttpAnswer {
  readonly isOk: boolean
  readonly body: string
  /** Of head and body, on the wire. */
  readonly length: number
}

/** The first whole answer in a text; undefined where it is not whole yet. */
function firstAnswer(text: string): HttpAnswer | undefined {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd === -1) return undefined
  const head = text.slice(0, headEnd)
  const isOk = head.startsWith('HTTP/1.1 200 ')
  const bodyAt = headEnd + 4
  const contentLength = /\r\ncontent-length: *(\d+)/i.exec(head)
  if (contentLength !== null) {
    const length = bodyAt + Number(contentLength[1])
    return text.length < length ? undefined : { isOk, body: text.slice(bodyAt, length), length }
  }
  const end = text.indexOf('0\r\n\r\n', bodyAt)
  if (end === -1) return undefined
  return { isOk, body: unchunked(text.slice(bodyAt, end)), length: end + 5 }
}

function unchunked(text: string): string {
  let body = ''
  let at = 0
  while (at < text.length) {
    const sizeEnd = text.indexOf('\r\n', at)
    const size = Number.parseInt(text.slice(at, sizeEnd), 16)
    body += text.slice(sizeEnd + 2, sizeEnd + 2 + size)
    at = sizeEnd + 2 + size + 2
  }
  return body
}
