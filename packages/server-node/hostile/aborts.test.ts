/** Clients that leave, in each phase of a request: what they started is ended, and nothing of it is left.
 *
 *     WAKEROBIN_ABORTS=2000 npm test -- hostile/aborts        default 200, in each phase */

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'

import type { Handler } from '@wakerobin/core'

import { start, turns, until } from '../fixtures/harness.ts'
import type { TestServer } from '../fixtures/harness.ts'
import { setting } from './settings.ts'

const count = setting('WAKEROBIN_ABORTS', 200, 1, 1_000_000)
/** How many are there at a time. */
const atOnce = 100

const unhandled: unknown[] = []
process.on('unhandledRejection', (error) => unhandled.push(error))
process.on('uncaughtException', (error) => unhandled.push(error))

/** What handlers have seen. */
interface Seen {
  begun: number
  aborted: number
  /** Handlers, sources and reads that have not come to their end. */
  alive: number
  /** Of the responses: how many were not sent. */
  unsent: number
}

interface Phase {
  readonly name: string
  readonly sent: string
  readonly app: (seen: Seen) => Handler
  /** Whether a client has come as far as it should, before all leave. */
  readonly isThere?: (received: string) => boolean
  readonly isStalled?: boolean
  /** Whether handlers are reached. */
  readonly isHandled: boolean
}

const head = 'POST /upload?x HTTP/1.1\r\nHost: a.test\r\n'
const get = 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'

/** Counts a request, and resolves when its signal aborts. */
function aborted(signal: AbortSignal, seen: Seen): Promise<void> {
  seen.begun++
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      seen.aborted++
      resolve()
    })
  })
}

const phases: readonly Phase[] = [
  {
    name: 'before the head is complete',
    sent: head,
    app: () => () => assert.fail('handled'),
    isHandled: false,
  },
  {
    name: 'while the handler waits',
    sent: get,
    app: (seen) => async (conn) => {
      conn.afterSend((isSent) => void (seen.unsent += isSent ? 0 : 1))
      seen.alive++
      await aborted(conn.signal, seen)
      seen.alive--
      return conn.ok('for nobody')
    },
    isHandled: true,
  },
  {
    name: 'after the head of a streamed response',
    sent: get,
    app: (seen) => (conn) => {
      conn.afterSend((isSent) => void (seen.unsent += isSent ? 0 : 1))
      return conn.ok(waiting(aborted(conn.signal, seen), seen))
    },
    isThere: (received) => received.includes('first'),
    isHandled: true,
  },
  {
    name: 'while a write is stalled',
    sent: get,
    app: (seen) => (conn) => {
      conn.afterSend((isSent) => void (seen.unsent += isSent ? 0 : 1))
      void aborted(conn.signal, seen)
      return conn.ok(endless(seen))
    },
    isStalled: true,
    isHandled: true,
  },
  {
    name: 'while the request body is uploaded',
    sent: `${head}Content-Length: 100000\r\n\r\n${'x'.repeat(1000)}`,
    app: (seen) => async (conn) => {
      conn.afterSend((isSent) => void (seen.unsent += isSent ? 0 : 1))
      void aborted(conn.signal, seen)
      seen.alive++
      try {
        await conn.requestBody.bytes()
      } finally {
        seen.alive--
      }
      return assert.fail('it was read to its end')
    },
    isHandled: true,
  },
]

/** Says one thing, and then nothing until its client has left. */
async function* waiting(left: Promise<void>, seen: Seen): AsyncGenerator<string> {
  seen.alive++
  try {
    yield 'first'
    await left
  } finally {
    seen.alive--
  }
}

async function* endless(seen: Seen): AsyncGenerator<Uint8Array> {
  seen.alive++
  try {
    for (;;) yield new Uint8Array(256 * 1024)
  } finally {
    seen.alive--
  }
}

describe(`of ${count} clients in each phase that leave`, () => {
  for (const phase of phases) {
    test(`[requests 5.1] ${phase.name}: every handler is told, and nothing is left`, async (t) => {
      const seen: Seen = { begun: 0, aborted: 0, alive: 0, unsent: 0 }
      const server = await start(t, phase.app(seen), {
        shutdown: { lingerMs: 0, deadlineMs: 8_000 },
      })
      for (let left = count; left > 0; left -= atOnce) {
        const size = Math.min(left, atOnce)
        const clients = await Promise.all(
          Array.from({ length: size }, () => open(t, server, phase)),
        )
        if (phase.isHandled) {
          const begun = count - left + size
          await until('all are handled', () => seen.begun === begun)
        } else {
          await until('all have come', () => server.handle.report().connections === size)
        }
        // Each its own way: in order, without a word, and with a reset.
        for (const [at, { socket }] of clients.entries())
          socket[(['end', 'destroy', 'resetAndDestroy'] as const)[at % 3]!]()
        if (phase.isHandled)
          await until('all signals have aborted', () => seen.aborted === seen.begun)
        // Those that have ended their side could still read.
        for (const { socket } of clients) socket.destroy()
        await until('no request is left', () => server.handle.report().requestCount === 0)
      }
      await until('nothing is open', () => server.handle.report().isEmpty)
      await turns()
      const handled = phase.isHandled ? count : 0
      assert.deepEqual(
        { ...seen, unsent: phase.isHandled && seen.unsent > 0 },
        { begun: handled, aborted: handled, alive: 0, unsent: phase.isHandled },
      )
      assert.deepEqual(server.errors, [])
      assert.deepEqual(unhandled, [])
      const report = await server.handle.shutDown()
      assert.equal(report.outcome, 'clean')
    })
  }
})

interface Client {
  readonly socket: Socket
}

async function open(t: TestContext, server: TestServer, phase: Phase): Promise<Client> {
  const socket = connect({ host: '127.0.0.1', port: server.port })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  let received = ''
  if (phase.isStalled === true) socket.pause()
  else socket.on('data', (chunk) => (received += chunk.toString()))
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(phase.sent)
  const { isThere } = phase
  if (isThere !== undefined) await until('a client is there', () => isThere(received))
  return { socket }
}
