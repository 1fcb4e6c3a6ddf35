/** The event-stream vectors in a browser, and the clauses of docs/spec/event-stream.md about HTTP/1.1. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { test, type TestContext } from 'node:test'

import { serve } from '@wakerobin/server-node'
import { Broadcaster, encodeEvent, withSseStream } from '@wakerobin/sse'
import type { Eventable, SseSource } from '@wakerobin/sse'

import { launchChromium, skipReason } from './testing/chromium.ts'
import { start } from './testing/start.ts'

interface Vector {
  readonly about: string
  readonly event: Eventable
  readonly bytes: string
  readonly client: {
    readonly type?: string
    readonly data?: string
    readonly lastEventId?: string
  }
}

interface Dispatched {
  readonly type: string
  readonly data: string
  readonly lastEventId: string
}

const vectors: readonly Vector[] = JSON.parse(
  readFileSync(new URL('../packages/sse/testdata/encode.json', import.meta.url), 'utf8'),
  (_key, value: unknown) => (isJoin(value) ? textOf(value) : value),
)

/** The type of the event that follows each vector: its data is the vector's number, its id the id that was last. */
const marker = 'wakerobin-marker'

/** What a browser has to dispatch, vector by vector: the last id goes before the next one. */
const expected = vectors.map(({ client }, number): readonly Dispatched[] => {
  const { type = 'message', data, lastEventId = '' } = client
  const mark = { type: marker, data: String(number), lastEventId }
  return data === undefined ? [mark] : [{ type, data, lastEventId }, mark]
})

// ---------------------------------------------------------------------------------- in a browser

test(
  "[event-stream 3.3] the browser's own EventSource reads the bytes of every vector",
  { skip: skipReason },
  async (t) => {
    const blocks = vectors.map(
      ({ bytes }, number) => `${bytes}event: ${marker}\ndata: ${number}\n\nid:\n\n`,
    )
    const server = createServer((request, response) => {
      if (request.url === '/') {
        response.setHeader('Content-Type', 'text/html').end('<!doctype html>')
      } else {
        response.setHeader('Content-Type', 'text/event-stream')
        response.write(`:\n${blocks.join('')}`) // and stays open
      }
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close().closeAllConnections())
    await compare(t, `http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  },
)

test(
  "the browser's own EventSource reads every vector from our own stream",
  { skip: skipReason },
  async (t) => {
    const events = vectors.flatMap(({ event }, number): Eventable[] => [
      event,
      { type: marker, data: String(number) },
      { id: '' },
    ])
    const { origin } = await start(t, (options) =>
      serve(
        (conn) =>
          conn.path === '/'
            ? conn.withResponseHeader('Content-Type', 'text/html').ok('<!doctype html>')
            : withSseStream(conn, async function* () {
                yield* events
                await new Promise(() => {}) // stays open
              }),
        options,
      ),
    )
    await compare(t, origin)
  },
)

/** Loads a page of this origin, and compares what an EventSource of `/events` there has with the vectors. */
async function compare(t: TestContext, origin: string): Promise<void> {
  const browser = await launchChromium(t)
  const page = await browser.newPage()
  await page.goto(origin)
  // What an injected event would be called is listened to as well.
  const types = new Set(['message', 'admin', 'owned', ...expected.flat().map(({ type }) => type)])
  const received = await page.evaluate(
    ([types, marker, last]) =>
      new Promise<Dispatched[]>((resolve) => {
        const received: Dispatched[] = []
        const source = new EventSource('/events')
        for (const type of types) {
          source.addEventListener(type, (event: Event) => {
            // `open` and `error` are also events of the connection, which are no messages.
            if (!(event instanceof MessageEvent)) return
            const { data, lastEventId } = event as MessageEvent<string>
            received.push({ type: event.type, data, lastEventId })
            if (event.type !== marker || data !== last) return
            source.close()
            resolve(received)
          })
        }
        source.addEventListener('error', (event) => {
          if (event instanceof MessageEvent) return
          source.close() // else it would begin anew
          resolve(received)
        })
      }),
    [[...types], marker, String(vectors.length - 1)] as const,
  )
  const byVector: Dispatched[][] = [[]]
  for (const event of received) {
    byVector.at(-1)!.push(event)
    if (event.type === marker) byVector.push([])
  }
  assert.deepEqual(byVector.pop(), [])
  for (const [number, { about }] of vectors.entries())
    assert.deepEqual(byVector[number], expected[number], about)
  assert.equal(byVector.length, vectors.length)
  t.diagnostic(
    `${vectors.length} vectors, ${received.length} events, by Chromium ${browser.version()}`,
  )
}

// --------------------------------------------------------------------------------- on the wire

test('[event-stream 6.1] head and opening come before the first event, chunked, with no Connection header', async (t) => {
  const response = await open(t, () => silence())
  await response.until(/:\n\r\n$/)
  const [head, body] = response.text.split('\r\n\r\n') as [string, string]
  assert.equal(body, '2\r\n:\n\r\n')
  const fields = head.toLowerCase().split('\r\n')
  assert.equal(fields.shift(), 'http/1.1 200 ok')
  assert.deepEqual(fields.filter((field) => !field.startsWith('date:')).toSorted(), [
    'cache-control: no-cache, no-transform',
    'content-type: text/event-stream',
    'transfer-encoding: chunked',
    'x-accel-buffering: no',
  ])
})

test('[event-stream 6.2] a chunk holds whole events, however long', async (t) => {
  const events: Eventable[] = [
    'a',
    { id: '1', data: 'b\nc' },
    'x'.repeat(200_000),
    { comment: 'n' },
    '😀'.repeat(50_000),
  ]
  const broadcaster = new Broadcaster({ replay: false })
  const subscription = broadcaster.subscribe()
  for (const event of events) broadcaster.publish(event)
  broadcaster.close()
  for (const source of [events, subscription] as SseSource[]) {
    const response = await open(t, source)
    await response.until(/\r\n0\r\n\r\n$/)
    const ends = endsOf([':\n', ...events.map(encodeEvent)])
    const chunkEnds = endsOf(chunksOf(response.bytes))
    assert.equal(chunkEnds.at(-1), ends.at(-1))
    for (const end of chunkEnds) assert(ends.includes(end), `a chunk ends within an event: ${end}`)
  }
})

test('[event-stream 6.3] a stream that ends says so in a last chunk, and one that is cut does not', async (t) => {
  const whole = await open(t, ['x'])
  await whole.until(/0\r\n\r\n$/)
  assert.equal(chunksOf(whole.bytes).join(''), ':\ndata: x\n\n')

  const errors: unknown[] = []
  const cut = await open(
    t,
    async function* () {
      yield 'x'
      await cut.until(/data: x/)
      throw new Error('secret')
    },
    errors,
  )
  await cut.closed
  assert.match(cut.text, /data: x\n\n\r\n$/)
  assert.doesNotMatch(cut.text, /secret/)
  assert.match(String(errors), /secret/)
})

test('[event-stream 6.4] for HTTP/1.0 it is the bytes alone, and the connection ends with them', async (t) => {
  const response = await open(t, ['x'], [], 'GET / HTTP/1.0')
  await response.closed
  assert.match(response.text, /\r\n\r\n:\ndata: x\n\n$/)
  assert.doesNotMatch(response.text, /transfer-encoding/i)
})

test('[event-stream 6.5] HEAD is answered by the head alone, and the next request by its own', async (t) => {
  const response = await open(t, () => assert.fail('it is read'), [], 'HEAD / HTTP/1.1')
  await response.until(/\r\n\r\n$/)
  response.send('HEAD /again HTTP/1.1')
  await response.until(/\r\n\r\n.*\r\n\r\n$/s)
  const heads = response.text.split('\r\n\r\n')
  assert.equal(heads.length, 3)
  for (const head of heads.slice(0, 2))
    assert.match(head, /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*content-type: text\/event-stream\r\n/i)
  assert.equal(heads[2], '')
})

// --------------------------------------------------------------------------------------- tools

interface OpenResponse {
  readonly bytes: Buffer
  /** One char a byte. */
  readonly text: string
  readonly closed: Promise<unknown>
  send(requestLine: string): void
  /** Waits until what has come matches. */
  until(pattern: RegExp): Promise<void>
}

/** Sends a request to a server of one stream. */
async function open(
  t: TestContext,
  source: SseSource,
  errors: unknown[] = [],
  requestLine = 'GET / HTTP/1.1',
): Promise<OpenResponse> {
  const server = await serve((conn) => withSseStream(conn, source), {
    host: '127.0.0.1',
    port: 0,
    shutdown: { lingerMs: 0 },
    onError: (error) => errors.push(error),
  })
  const socket = connect((server.listeners[0] as { port: number }).port, '127.0.0.1')
  t.after(async () => {
    socket.destroy()
    await server.shutDown()
  })
  const parts: Buffer[] = []
  socket.on('data', (part) => parts.push(part))
  const closed = once(socket, 'close')
  const response: OpenResponse = {
    closed,
    get bytes() {
      return Buffer.concat(parts)
    },
    get text() {
      return this.bytes.toString('latin1')
    },
    send: (line) => socket.write(`${line}\r\nHost: test\r\n\r\n`),
    async until(pattern) {
      while (!pattern.test(this.text)) await once(socket, 'data')
    },
  }
  response.send(requestLine)
  return response
}

/** The chunks of a whole chunked response: RFC 9112 §7.1. */
function chunksOf(response: Buffer): string[] {
  const chunks: string[] = []
  let at = response.indexOf('\r\n\r\n') + 4
  for (;;) {
    const end = response.indexOf('\r\n', at)
    const length = parseInt(response.toString('latin1', at, end), 16)
    if (length === 0) return chunks
    at = end + 2
    chunks.push(response.toString('utf8', at, at + length))
    at += length + 2
  }
}

/** How much text there is up to the end of each part. */
function endsOf(parts: readonly string[]): number[] {
  let end = 0
  return parts.map((part) => (end += part.length))
}

async function* silence(): AsyncGenerator<Eventable> {
  await new Promise(() => {})
}

function isJoin(value: unknown): value is { join: [text: string, times: number][] } {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'join')
}

function textOf({ join }: { join: [text: string, times: number][] }): string {
  return join.map(([text, times]) => text.repeat(times)).join('')
}
