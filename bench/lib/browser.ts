/** Connects to an event stream as a browser does, with twelve header fields. */

import { connect } from 'node:net'
import type { Socket } from 'node:net'

export const head: Buffer = Buffer.from(
  [
    'GET /events HTTP/1.1',
    'Host: 127.0.0.1',
    'Connection: keep-alive',
    'sec-ch-ua-platform: "Linux"',
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36',
    'sec-ch-ua: "Chromium";v="142", "Not_A Brand";v="99"',
    'Accept: text/event-stream',
    'Cache-Control: no-cache',
    'Sec-Fetch-Site: same-origin',
    'Sec-Fetch-Mode: cors',
    'Sec-Fetch-Dest: empty',
    'Accept-Encoding: gzip, deflate, br, zstd',
    'Accept-Language: en-GB,en;q=0.9',
    '',
    '',
  ].join('\r\n'),
)

/** Resolves when the first bytes are there. Nothing is read after them but discarded. */
export function openStream(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    socket.once('error', reject).write(head)
    socket.once('data', (bytes) => {
      const text = bytes.toString('latin1')
      if (/^HTTP\/1\.1 200 [^]*\r\ncontent-type: text\/event-stream/i.test(text))
        resolve(socket.off('error', reject).on('error', () => {}))
      else reject(new Error(`Expected an event stream, got ${JSON.stringify(text.slice(0, 200))}`))
    })
  })
}
