import assert from 'node:assert/strict'
import { createReadStream, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { test, type TestContext } from 'node:test'

import type { Conn, Handler } from '@wakerobin/core'

import { Gate, start, turns, until } from '../fixtures/harness.ts'

import { connect, nodeRequest, type Middleware } from './connect.ts'
import { HandlerTimeoutError } from './handler-timeout.ts'

const hello: Middleware = (_request, response) => void response.end('hello')

test('a connection is kept behind answers of middleware, also where they are pipelined', async (t) => {
  const server = await start(t, [
    connect((request, response, next) => {
      if (request.url !== '/streamed') return next()
      response.setHeader('Connection', 'keep-alive')
      response.setHeader('Transfer-Encoding', 'chunked')
      response.write('a')
      setImmediate(() => response.end('b'))
    }),
    connect(hello),
  ])
  const client = await server.connect()
  client.get('/').get('/streamed').request('HEAD', '/').get('/')
  const first = await client.response()
  assert.equal(first.body, 'hello')
  assert.equal(first.field('content-length'), '5')
  assert.match(first.field('date')!, /GMT$/)
  const second = await client.response()
  assert.equal(second.body, 'ab')
  assert.equal(second.field('transfer-encoding'), 'chunked')
  assert.equal(
    second.fields.filter(([name]) => name.toLowerCase() === 'transfer-encoding').length,
    1,
  )
  const third = await client.response({ isHead: true })
  assert.equal(third.body, '')
  assert.equal(third.field('content-length'), undefined)
  assert.equal((await client.response()).body, 'hello')
  assert.deepEqual(server.errors, [])
})

test('middleware may end the connection with its answer', async (t) => {
  const server = await start(
    t,
    connect(
      (_request, response) => void response.writeHead(200, { Connection: 'close' }).end('bye'),
    ),
  )
  const client = await server.connect()
  const response = await client.get('/').response()
  assert.equal(response.field('connection'), 'close')
  await client.ended()
})

test('HTTP/1.0 clients are answered in their way', async (t) => {
  const server = await start(
    t,
    connect((_request, response) => {
      response.write('a')
      setImmediate(() => response.end('b'))
    }),
  )
  const client = await server.connect()
  const response = await client.send('GET / HTTP/1.0\r\n\r\n').response()
  assert.equal(response.field('transfer-encoding'), undefined)
  assert.equal(response.body, 'ab')
})

test('middleware that does neither is told when the client leaves, and the conn is over', async (t) => {
  const gate = new Gate()
  const seen: string[] = []
  let isSent: boolean | undefined
  const server = await start(t, [
    (conn) => void conn.afterSend((sent) => (isSent = sent)),
    connect((request, response) => {
      request.on('close', () => seen.push('request'))
      response.on('close', () => seen.push('response'))
      response.on('finish', () => seen.push('finish'))
      void gate.pass()
    }),
  ])
  const client = await server.connect()
  client.get('/')
  await gate.reached()
  client.socket.resetAndDestroy()
  await until('middleware was told', () => seen.length === 2)
  assert.deepEqual(seen.sort(), ['request', 'response'])
  assert.equal(isSent, false)
  assert.deepEqual(server.errors, [])
})

test('a client that has ended its side is answered', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    connect(async (_request, response) => {
      await gate.pass()
      response.end('hello')
    }),
  )
  const client = await server.connect()
  client.get('/').socket.end()
  await gate.reached()
  await turns()
  gate.open()
  const response = await client.response()
  assert.deepEqual([response.status, response.body], [200, 'hello'])
})

test('middleware that heeds the leaving of its client by an AbortError is not reported', async (t) => {
  const gate = new Gate()
  let isOver = false
  const server = await start(
    t,
    connect(async (_request, response) => {
      const aborted = new AbortController()
      response.on('close', () => aborted.abort())
      const left = new Promise((_resolve, reject) => {
        aborted.signal.addEventListener('abort', () => reject(aborted.signal.reason))
      })
      void gate.pass()
      await left.finally(() => (isOver = true))
    }),
  )
  const client = await server.connect()
  client.get('/')
  await gate.reached()
  client.socket.resetAndDestroy()
  await until('it was told', () => isOver)
  await turns()
  assert.deepEqual(server.errors, [])
})

test('middleware that answers when the client has left does no harm', async (t) => {
  const gate = new Gate()
  const answered = new Gate()
  const server = await start(
    t,
    connect(async (request, response) => {
      const left = new Promise((resolve) => response.on('close', resolve))
      void gate.pass()
      await left
      response.setHeader('X-Late', '1')
      response.write('a')
      response.end('b')
      void answered.pass()
      assert.equal(response.destroyed, true)
      assert.equal(request.destroyed, true)
    }),
  )
  const client = await server.connect()
  client.get('/')
  await gate.reached()
  client.socket.resetAndDestroy()
  await answered.reached()
  await turns()
  assert.deepEqual(server.errors, [])
})

test('middleware is not waited for when the client has left before', async (t) => {
  const gate = new Gate()
  let isOver = false
  const server = await start(t, [
    async (conn) => {
      conn.afterSend(() => (isOver = true))
      const left = new Promise((resolve) => conn.signal.addEventListener('abort', resolve))
      await Promise.all([gate.pass(), left])
      await turns()
    },
    connect(() => {}),
  ])
  const client = await server.connect()
  client.get('/')
  await gate.reached()
  client.socket.resetAndDestroy()
  gate.open()
  await until('the conn is over', () => isOver)
  assert.deepEqual(server.errors, [])
})

test('a file is closed when the client leaves in the middle of it', async (t) => {
  const path = join(tmpdir(), `wakerobin-connect-${process.pid}`)
  writeFileSync(path, Buffer.alloc(20_000_000))
  t.after(async () => (await import('node:fs')).rmSync(path))
  let file: ReturnType<typeof createReadStream> | undefined
  const server = await start(
    t,
    connect((_request, response) => {
      file = createReadStream(path)
      file.pipe(response)
    }),
  )
  const client = await server.connect()
  client.socket.pause()
  client.get('/')
  await until('the file is being read', () => (file?.bytesRead ?? 0) > 0)
  client.socket.resetAndDestroy()
  await until('the file is closed', () => file!.closed)
  assert.ok(file!.bytesRead < 20_000_000)
  assert.deepEqual(server.errors, [])
})

test('a slow client slows middleware down', async (t) => {
  let written = 0
  let isDone = false
  const server = await start(
    t,
    connect(async (_request, response) => {
      for (; written < 500; written++) {
        const hasRoom = response.write(Buffer.alloc(50_000, 'x'))
        if (!hasRoom) await new Promise((resolve) => response.once('drain', resolve))
      }
      response.end()
      isDone = true
    }),
  )
  const client = await server.connect()
  client.socket.pause()
  client.get('/')
  await until('something was written', () => written > 0)
  let before = -1
  await until('nothing more is written', () => {
    const isSame = before === written
    before = written
    return isSame
  })
  await turns(500)
  assert.ok(written < 400, `${written} pieces were written for a client that does not read`)
  client.socket.resume()
  const { body } = await client.response()
  assert.equal(body.length, 25_000_000)
  assert.ok(isDone)
})

test('a stop lets middleware finish, and its answer is the last of the connection', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    connect(async (_request, response) => {
      await gate.pass()
      response.setHeader('Connection', 'keep-alive')
      response.setHeader('Keep-Alive', 'timeout=5')
      response.end('done')
    }),
    { shutdown: { lingerMs: 0 } },
  )
  const client = await server.connect()
  client.get('/slow')
  await gate.reached()
  const stopped = server.handle.shutDown()
  await turns()
  assert.deepEqual(
    server.handle.report().requests.map(({ path }) => path),
    ['/slow'],
  )
  gate.open()
  const response = await client.response()
  assert.equal(response.body, 'done')
  assert.equal(response.field('connection'), 'close')
  assert.equal(response.field('keep-alive'), undefined)
  assert.equal((await stopped).outcome, 'clean')
})

test('a time that middleware sets itself is told to it, or ends its answer', async (t) => {
  const server = await start(
    t,
    connect(function patient(request, response) {
      const answer = (): void => void response.end('too late')
      if (request.method === 'POST') request.setTimeout(5, answer)
      else response.setTimeout(5, request.url === '/heard' ? answer : undefined)
      // A write begins it anew.
      if (request.url === '/half') response.write('half')
    }),
  )
  const client = await server.connect()
  assert.equal((await client.get('/heard').response()).body, 'too late')
  client.request('POST', '/', 'Content-Length: 2')
  assert.equal((await client.response()).body, 'too late')
  assert.equal(server.errors.length, 0)
  const other = await server.connect()
  assert.equal((await other.get('/').response()).status, 500)
  assert.match(
    String(server.errors[0]!.error),
    /connect\(patient\) has taken longer than it has set itself/,
  )
  await other.get('/half').received('half')
  await other.closed()
})

test('a stop cuts middleware that does neither at the deadline, and names it', async (t) => {
  const gate = new Gate()
  let isClosed = false
  const server = await start(
    t,
    connect((_request, response) => {
      response.on('close', () => (isClosed = true))
      void gate.pass()
    }),
    { shutdown: { lingerMs: 0, deadlineMs: 50 } },
  )
  const client = await server.connect()
  client.get('/never')
  await gate.reached()
  const { outcome, cut } = await server.handle.shutDown()
  assert.equal(outcome, 'deadline')
  assert.deepEqual(
    cut!.requests.map(({ method, path }) => `${method} ${path}`),
    ['GET /never'],
  )
  await until('middleware was told', () => isClosed)
  assert.deepEqual(server.errors, [])
})

test('a stop ends an event stream that middleware writes, whole', async (t) => {
  let response: ServerResponse | undefined
  const server = await start(
    t,
    connect((_request, res) => {
      response = res
      res.writeHead(200, { 'Content-Type': 'text/event-stream' })
      res.write('data: one\n\n')
    }),
    { shutdown: { lingerMs: 0 } },
  )
  const client = await server.connect()
  client.get('/events')
  await client.received('data: one')
  const stopped = server.handle.shutDown()
  assert.equal((await client.response()).body, 'data: one\n\n')
  const { outcome, streamsEnded } = await stopped
  assert.deepEqual([outcome, streamsEnded], ['clean', 1])
  assert.ok(response!.destroyed)
  assert.deepEqual(server.errors, [])
})

test('middleware that takes too long is answered for with a 503, and named', async (t) => {
  const seen: string[] = []
  const server = await start(
    t,
    connect(function slow(_request, response) {
      response.on('close', () => seen.push('close'))
    }),
    { limits: { handlerMs: 20 } },
  )
  const client = await server.connect()
  assert.equal((await client.get('/').response()).status, 503)
  await until('middleware was told', () => seen.length === 1)
  const [{ error, context }] = server.errors as [(typeof server.errors)[0]]
  assert.ok(error instanceof HandlerTimeoutError)
  assert.equal(context.place, 'app "connect(slow)"')
  assert.equal(server.errors.length, 1)
})

/** Sends a request by HTTP/2. */
async function request2(
  t: TestContext,
  url: string,
  headers: Record<string, string>,
  body?: string,
): Promise<{ headers: Record<string, unknown>; body: string }> {
  const session = connectHttp2(url)
  t.after(() => session.destroy())
  const stream = session.request(headers, { endStream: body === undefined })
  if (body !== undefined) stream.end(body)
  let received: Record<string, unknown> = {}
  let text = ''
  stream.on('response', (fields) => (received = fields))
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  await finished(stream, { writable: false })
  return { headers: received, body: text }
}

test('middleware answers in HTTP/2 as in HTTP/1.1', async (t) => {
  const versions: unknown[] = []
  const app = [
    connect((request, response, next) => {
      versions.push(
        request.httpVersion,
        request.httpVersionMajor,
        request.headers.host !== undefined,
      )
      response.setHeader('X-Set', '1')
      const { writeHead } = response
      response.writeHead = ((...args: Parameters<typeof writeHead>) => {
        response.setHeader('X-Hook', '1')
        return writeHead.apply(response, args)
      }) as typeof writeHead
      next()
    }),
    connect((request, response, next) => {
      if (request.url !== '/streamed') return next()
      response.setHeader('Connection', 'keep-alive')
      response.write('a')
      setImmediate(() => response.end('b'))
    }),
    connect((request: IncomingMessage, _response, next) => {
      let text = ''
      request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      request.on('end', () => {
        Object.assign(request, { text })
        next()
      })
    }),
    (conn: Conn) => conn.ok(`${conn.method} ${nodeRequest<{ text: string }>(conn).text}`),
  ]
  const server = await start(t, app as Handler)
  const got = await request2(t, server.url, { ':path': '/' })
  assert.equal(got.body, 'GET ')
  assert.equal(got.headers['x-set'], '1')
  assert.equal(got.headers['x-hook'], '1')
  assert.deepEqual(versions.splice(0), ['2.0', 2, true])
  const posted = await request2(t, server.url, { ':path': '/', ':method': 'POST' }, 'hällo')
  assert.equal(posted.body, 'POST hällo')
  const streamed = await request2(t, server.url, { ':path': '/streamed' })
  assert.equal(streamed.body, 'ab')
  assert.equal(streamed.headers['x-hook'], '1')
  assert.deepEqual(server.errors, [])
})

test('an HTTP/2 client that leaves is seen by middleware', async (t) => {
  const gate = new Gate()
  let isClosed = false
  const server = await start(
    t,
    connect((_request, response) => {
      response.on('close', () => (isClosed = true))
      response.write('a')
      void gate.pass()
    }),
  )
  const session = connectHttp2(server.url)
  t.after(() => session.destroy())
  const stream = session.request({ ':path': '/' })
  stream.on('error', () => {})
  await gate.reached()
  stream.close(8)
  await until('middleware was told', () => isClosed)
  assert.deepEqual(server.errors, [])
})

test('what is left of a body that middleware does not read is dropped, and the next request is seen', async (t) => {
  const server = await start(t, [
    connect((request, response, next) => {
      if (request.url !== '/partly') return next()
      request.once('data', () => {
        request.pause()
        response.end('partly')
      })
    }),
    connect(hello),
  ])
  const client = await server.connect()
  const body = 'x'.repeat(200_000)
  for (const [path, expected] of [
    ['/partly', 'partly'],
    ['/unread', 'hello'],
  ] as const) {
    client.request('POST', path, `Content-Length: ${body.length}`).send(body)
    assert.equal((await client.response()).body, expected)
  }
  assert.equal((await client.get('/').response()).body, 'hello')
})
