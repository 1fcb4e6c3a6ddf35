/** Hello world on node:http alone, as one who knows it writes it. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { report } from '../lib/server-process.ts'

const server = createServer((_request, response) => {
  // Fields as a flat list and a body as latin1: what costs node the least.
  response.writeHead(200, ['Content-Type', 'text/plain', 'Content-Length', '12'])
  response.end('hello, world', 'latin1')
})
server.listen(0, '127.0.0.1', () => report((server.address() as AddressInfo).port))
