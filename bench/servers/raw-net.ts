/** node:net alone: what the sockets cost, and a bound for what a server could reach.
 *
 * It is no HTTP server: it looks for the ends of heads and at the path, and nowhere else. No field is read, no
 * request body, no method; nothing is refused, nothing times out, and a path that is not known is answered as `/`. */

import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

import { report } from '../lib/server-process.ts'

const maxQueuedBytes = 1024 * 1024

const server = createServer({ noDelay: true }, (socket) => {
  let rest = ''
  socket.on('data', (bytes) => {
    const text = rest + bytes.toString('latin1')
    let answers = ''
    let at = 0
    for (let end; (end = text.indexOf('\r\n\r\n', at)) !== -1; at = end + 4) {
      if (text.startsWith('GET /events', at)) stream(socket)
      else answers += hello
    }
    rest = at === text.length ? '' : text.slice(at)
    if (answers !== '') socket.write(answers, 'latin1')
  })
  socket.on('error', () => {})
})
server.listen(0, '127.0.0.1', () => report((server.address() as AddressInfo).port, publish))

let hello = ''
renewDate()
setInterval(renewDate, 1000).unref()

function renewDate(): void {
  hello = [
    'HTTP/1.1 200 OK',
    'Content-Type: text/plain',
    'Content-Length: 12',
    `Date: ${new Date().toUTCString()}`,
    'Connection: keep-alive',
    '',
    'hello, world',
  ].join('\r\n')
}

const opening = Buffer.from(
  [
    'HTTP/1.1 200 OK',
    'Content-Type: text/event-stream',
    'Cache-Control: no-cache, no-transform',
    'X-Accel-Buffering: no',
    'Connection: keep-alive',
    'Transfer-Encoding: chunked',
    '',
    '2',
    ':\n',
    '',
  ].join('\r\n'),
)
const streams = new Set<Socket>()

function stream(socket: Socket): void {
  socket.write(opening)
  streams.add(socket)
  socket.once('close', () => streams.delete(socket))
}

function publish(message: object): void {
  const event = `data: ${JSON.stringify(message)}\n\n`
  const chunk = Buffer.from(`${Buffer.byteLength(event).toString(16)}\r\n${event}\r\n`)
  for (const socket of streams) {
    if (!socket.write(chunk) && socket.writableLength > maxQueuedBytes) socket.destroy()
  }
}
