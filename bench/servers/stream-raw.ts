/** An event stream that stays silent, on node:http as one who knows it would write it. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { report } from '../lib/server-process.ts'

const opening = Buffer.from(':\n')
const open = new Set<object>()

const server = createServer((_request, response) => {
  response.writeHead(200, [
    'Content-Type',
    'text/event-stream',
    'Cache-Control',
    'no-cache, no-transform',
    'X-Accel-Buffering',
    'no',
  ])
  response.write(opening)
  open.add(response)
  response.once('close', () => open.delete(response))
})
server.listen(0, '127.0.0.1', () => report((server.address() as AddressInfo).port))
