/** Hello world on Fastify. */

import type { AddressInfo } from 'node:net'

import { fastify } from 'fastify'

import { report } from '../lib/server-process.ts'

const app = fastify()
app.get('/', (_request, reply) => {
  reply.type('text/plain').send('hello, world')
})
await app.listen({ port: 0, host: '127.0.0.1' })
report((app.server.address() as AddressInfo).port)
