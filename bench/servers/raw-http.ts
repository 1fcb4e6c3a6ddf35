/** node:http alone, as one who knows it writes it: fields as flat lists, bodies of known length, an event encoded once,
 * and a limit for whoever does not read or writes too much. */

import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import { report } from '../lib/server-process.ts'
import { answerOf, Locale, Plan, RequestId, Tenant, User } from '../lib/state.ts'
import type { FiveFields } from '../lib/state.ts'

const maxBodyBytes = 1024 * 1024
const maxQueuedBytes = 1024 * 1024

const server = createServer((request, response) => {
  switch (request.url) {
    case '/':
      response.writeHead(200, ['Content-Type', 'text/plain', 'Content-Length', '12'])
      // As latin1, which costs node the least.
      response.end('hello, world', 'latin1')
      break
    case '/handlers':
      handle(request, response)
      break
    case '/echo':
      echo(request, response)
      break
    case '/events':
      stream(response)
      break
    default:
      response.writeHead(404).end()
  }
})
server.listen(0, '127.0.0.1', () => report((server.address() as AddressInfo).port, publish))

type Step = (request: IncomingMessage, state: Partial<FiveFields>) => void

const steps: readonly Step[] = [
  ({ headers }, state) => {
    state.requestId = new RequestId(headers['x-request-id'] as string)
  },
  ({ headers }, state) => {
    state.user = new User(headers['x-user'] as string)
  },
  ({ headers }, state) => {
    state.tenant = new Tenant(headers['x-tenant'] as string)
  },
  ({ headers }, state) => {
    state.locale = new Locale(headers['accept-language'])
  },
  ({ headers }, state) => {
    state.plan = new Plan(headers['x-plan'] as string)
  },
]

function handle(request: IncomingMessage, response: ServerResponse): void {
  const state: Partial<FiveFields> = {}
  for (const step of steps) step(request, state)
  sendJson(response, answerOf(state as FiveFields))
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = []
  let length = 0
  request.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    length += chunk.length
    if (length > maxBodyBytes) request.destroy()
  })
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
    try {
      sendJson(response, JSON.parse(body.toString()))
    } catch {
      response.writeHead(400).end()
    }
  })
}

function sendJson(response: ServerResponse, value: unknown): void {
  const text = JSON.stringify(value)
  const length = String(Buffer.byteLength(text))
  response.writeHead(200, ['Content-Type', 'application/json', 'Content-Length', length])
  response.end(text)
}

const opening = Buffer.from(':\n')
const streams = new Set<ServerResponse>()

function stream(response: ServerResponse): void {
  response.writeHead(200, [
    'Content-Type',
    'text/event-stream',
    'Cache-Control',
    'no-cache, no-transform',
    'X-Accel-Buffering',
    'no',
  ])
  response.write(opening)
  streams.add(response)
  response.once('close', () => streams.delete(response))
}

function publish(message: object): void {
  const event = Buffer.from(`data: ${JSON.stringify(message)}\n\n`)
  for (const response of streams) {
    if (!response.write(event) && response.writableLength > maxQueuedBytes) response.destroy()
  }
}
