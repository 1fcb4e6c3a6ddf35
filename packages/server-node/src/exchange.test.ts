import assert from 'node:assert/strict'
import { Agent, request as httpRequest } from 'node:http'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Conn } from '@wakerobin/core'

import { Gate, start, turns, until } from '../fixtures/harness.ts'
import type { RawClient } from '../fixtures/harness.ts'

// ----------------------------------------------------------------------- many on one connection

test('two requests share a connection', async (t) => {
  const server = await start(t, (conn) => conn.ok(conn.pathAndQuery))
  const client = await server.connect()
  assert.equal((await client.get('/one?a=1').response()).body, '/one?a=1')
  assert.equal((await client.get('/two').response()).body, '/two')
})

test('pipelined requests are answered in their order, whichever is done first', async (t) => {
  const go = new Map<string, () => void>()
  const server = await start(t, async (conn) => {
    if (conn.path !== '/now') await new Promise<void>((resolve) => go.set(conn.path, resolve))
    return conn.ok(conn.path)
  })
  const client = await server.connect()
  client.get('/a').get('/now').get('/b')
  await until('all handlers run', () => go.size === 2)
  go.get('/b')!()
  await turns()
  assert.equal(client.text, '')
  go.get('/a')!()
  const bodies: string[] = []
  for (let at = 0; at < 3; at++) bodies.push((await client.response()).body)
  assert.deepEqual(bodies, ['/a', '/now', '/b'])
})

test("node's keep-alive agent sends many requests over one connection", async (t) => {
  const server = await start(t, (conn) => conn.ok(conn.path))
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  const ports = new Set<number>()
  for (let at = 0; at < 20; at++) {
    await new Promise<void>((resolve, reject) => {
      httpRequest(`${server.url}/${at}`, { agent }, (response) => {
        ports.add(response.socket.localPort!)
        response.resume().on('end', resolve)
      })
        .on('error', reject)
        .end()
    })
  }
  assert.equal(ports.size, 1)
})

// ------------------------------------------------------------------------------- request bodies

test('a request body that has come in pieces before it is read is read whole', async (t) => {
  let read = (): void => {}
  const isReady = new Promise<void>((resolve) => (read = resolve))
  let isReached = false
  const server = await start(t, async (conn) => {
    isReached = true
    await isReady
    return conn.ok(await conn.requestBody.text())
  })
  const client = await server.connect()
  client.request('POST', '/', 'Content-Length: 6')
  await until('the handler runs', () => isReached)
  for (const piece of ['on', 'et', 'wo']) {
    client.send(piece)
    await turns()
  }
  read()
  assert.equal((await client.response()).body, 'onetwo')
})

test('trailers are there when the body was read to its end, in one go, as a stream or by parts', async (t) => {
  const ways: ((conn: Conn) => Promise<string>)[] = [
    (conn) => conn.requestBody.text(),
    (conn) => new Response(conn.requestBody.stream()).text(),
    async (conn) => {
      let text = ''
      for await (const chunk of conn.requestBody) text += Buffer.from(chunk).toString()
      return text
    },
  ]
  const server = await start(t, async (conn) => {
    const before = conn.requestTrailers
    const body = await ways[Number(conn.querystring)]!(conn)
    conn.json([before ?? 'none', body, conn.requestTrailers ?? 'none'])
  })
  const client = await server.connect()
  for (const way of ways.keys()) {
    client.request('POST', `/?${way}`, 'Transfer-Encoding: chunked')
    client.send('3\r\none\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\nHost: evil.test\r\n\r\n')
    assert.deepEqual(JSON.parse((await client.response()).body), [
      'none',
      'one',
      { 'x-sum': ['1', '2'], host: 'evil.test' },
    ])
    client.request('POST', `/?${way}`, 'Content-Length: 3').send('one')
    assert.deepEqual(JSON.parse((await client.response()).body), ['none', 'one', 'none'])
  }
})

test('cancelOnDisconnect() ends when the client closes its connection', async (t) => {
  const outcomes: unknown[] = []
  const signals: AbortSignal[] = []
  const server = await start(t, async (conn) => {
    outcomes.push(
      await conn.cancelOnDisconnect((signal) => {
        signals.push(signal)
        return new Promise(() => {})
      }),
    )
  })
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => signals.length === 1)
  client.socket.destroy()
  await until('the handler is done', () => outcomes.length === 1)
  assert.deepEqual(outcomes, [undefined])
  assert.equal(signals[0]!.aborted, true)
})

test('a request body is read as it was sent, with a length and in chunks', async (t) => {
  const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()))
  const client = await server.connect()
  client.request('POST', '/', 'Content-Length: 6').send('grün!')
  assert.equal((await client.response()).body, 'grün!')
  client.request('POST', '/', 'Transfer-Encoding: chunked').send('3\r\none\r\n3\r\ntwo\r\n')
  await turns()
  assert.equal(client.text, '')
  client.send('0\r\n\r\n')
  assert.equal((await client.response()).body, 'onetwo')
  const big = 'x'.repeat(900_000)
  assert.equal(await (await fetch(server.url, { method: 'POST', body: big })).text(), big)
})

test('a body that nobody reads is dropped, and the next request on the connection is answered', async (t) => {
  const server = await start(t, (conn) => conn.ok(conn.path))
  const client = await server.connect()
  for (const size of [10, 1024 * 1024]) {
    client.request('POST', '/unread', `Content-Length: ${size}`).send(Buffer.alloc(size, 'G'))
    assert.equal((await client.response()).body, '/unread')
    assert.equal((await client.get('/next').response()).body, '/next')
  }
})

test('a body that is read in part is dropped, and the next request on the connection is answered', async (t) => {
  const server = await start(t, async (conn) => {
    if (conn.path === '/next') return conn.ok('next')
    for await (const chunk of conn.requestBody) return conn.ok(`${chunk.length > 0}`)
    return conn.ok('nothing')
  })
  const client = await server.connect()
  const size = 900_000
  client.request('POST', '/part', `Content-Length: ${size}`).send(Buffer.alloc(size, 'G'))
  assert.equal((await client.response()).body, 'true')
  assert.equal((await client.get('/next').response()).body, 'next')
})

test('a body over the limit is a 413, which arrives, and the end of the connection', async (t) => {
  const server = await start(
    t,
    async (conn) => {
      if (conn.method === 'GET') return conn.ok('next')
      return conn.ok(await conn.requestBody.text())
    },
    { limits: { bodyBytes: 1000 } },
  )
  const size = 2 * 1024 * 1024
  const body = Buffer.alloc(size, 'G')
  const sized = await server.connect()
  sized.request('POST', '/', `Content-Length: ${size}`).send(body)
  const chunked = await server.connect()
  chunked
    .request('POST', '/', 'Transfer-Encoding: chunked')
    .send(`${size.toString(16)}\r\n`)
    .send(body)
    .send('\r\n0\r\n\r\n')
  for (const client of [sized, chunked]) {
    const response = await client.response()
    assert.deepEqual([response.status, response.field('connection')], [413, 'close'])
    await client.ended()
    assert.equal(client.text, '')
  }
  const client = await server.connect()
  client.request('POST', '/', 'Content-Length: 1000').send(Buffer.alloc(1000, 'x'))
  assert.equal((await client.response()).body.length, 1000)
  assert.deepEqual(server.errors, [], 'a body that is too long is the doing of the client')
})

test('fetch gets a 413 while it still sends', async (t) => {
  const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()), {
    limits: { bodyBytes: 10 },
  })
  const response = await fetch(server.url, { method: 'POST', body: 'x'.repeat(500_000) })
  assert.equal(response.status, 413)
  await response.text()
})

test('a client that waits for 100 Continue gets it', async (t) => {
  const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()))
  const client = await server.connect()
  client.request('POST', '/', 'Content-Length: 5', 'Expect: 100-continue')
  await client.received('HTTP/1.1 100 Continue\r\n\r\n')
  client.take()
  assert.equal((await client.send('hello').response()).body, 'hello')
})

// ------------------------------------------------------------------------- clients and their ends

test('a client that half-closes after its request still gets its answer, and then the end', async (t) => {
  let go = (): void => {}
  let isReached = false
  const server = await start(t, async (conn) => {
    if (conn.path === '/fast') return conn.ok('fast')
    isReached = true
    await new Promise<void>((resolve) => (go = resolve))
    return conn.path === '/stream' ? conn.ok(new Blob(['slow']).stream()) : conn.ok('slow')
  })
  for (const path of ['/slow', '/stream']) {
    isReached = false
    const client = await server.connect()
    client.get('/fast').get(path).socket.end()
    await until('the handler runs', () => isReached)
    await turns()
    go()
    assert.equal((await client.response()).body, 'fast')
    const response = await client.response()
    assert.equal(response.body, 'slow')
    if (path === '/stream') assert.equal(response.field('connection'), 'close')
    await client.ended()
  }
})

test('conn.signal aborts when a client leaves in good order, as fetch does, and it is answered', async (t) => {
  const seen: boolean[] = []
  const sent: boolean[] = []
  let isReached = false
  const server = await start(t, async (conn) => {
    isReached = true
    await new Promise((resolve) => conn.signal.addEventListener('abort', resolve))
    seen.push(conn.isDisconnected)
    return conn.afterSend((isSent) => sent.push(isSent)).ok('answered')
  })
  const controller = new AbortController()
  const gone = fetch(server.url, { signal: controller.signal })
  await until('the handler runs', () => isReached)
  controller.abort()
  await assert.rejects(gone, { name: 'AbortError' })
  await until('the signal aborts', () => seen.length === 1)

  // One that has only ended its side is there to read the answer.
  isReached = false
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  client.socket.end()
  assert.equal((await client.response()).body, 'answered')
  assert.deepEqual(seen, [true, true])
  await until('both are over', () => sent.length === 2)
})

test('conn.signal aborts when the client leaves, and isDisconnected tells it', async (t) => {
  const seen: boolean[] = []
  let isReached = false
  const server = await start(t, async (conn) => {
    const { signal } = conn
    seen.push(signal.aborted, conn.isDisconnected)
    isReached = true
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    seen.push(signal.aborted, conn.isDisconnected)
  })
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  client.socket.resetAndDestroy()
  await until('the signal aborts', () => seen.length === 4)
  assert.deepEqual(seen, [false, false, true, true])
})

test('a signal that is first asked for when the client has left is aborted', async (t) => {
  let go = (): void => {}
  let aborted: boolean | undefined
  let isReached = false
  const server = await start(t, async (conn) => {
    isReached = true
    await new Promise<void>((resolve) => (go = resolve))
    aborted = conn.isDisconnected && conn.signal.aborted
  })
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  client.socket.resetAndDestroy()
  await turns()
  go()
  await until('the handler is done', () => aborted !== undefined)
  assert.equal(aborted, true)
})

test('the signals of answered requests never abort, however many there were on the connection', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning)
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  let calls = 0
  let aborts = 0
  const server = await start(t, (conn) => {
    conn.signal.addEventListener('abort', () => aborts++)
    conn.afterSend(() => calls++)
    conn.ok('x')
  })
  const client = await server.connect()
  const count = 300
  for (let at = 0; at < count; at++) await client.get('/').response()
  client.socket.resetAndDestroy()
  await turns()
  assert.equal(aborts, 0)
  assert.equal(calls, count)
  assert.deepEqual(warnings, [])
})

test('the address of an IPv4 client is its own, also where the socket has it mapped into IPv6', async (t) => {
  const seen: (string | undefined)[] = []
  for (const host of ['127.0.0.1', '::']) {
    let server
    try {
      server = await start(t, (conn) => conn.ok(String(conn.peerIp)), { host })
    } catch {
      t.diagnostic(`this machine cannot listen on ${host}`)
      continue
    }
    const client = await server.connect()
    const response = await client.get('/').response()
    seen.push(response.body)
  }
  assert.deepEqual(new Set(seen), new Set(['127.0.0.1']))
})

test('a conn has what the request line and the fields said', async (t) => {
  const server = await start(t, (conn) =>
    conn.json({
      method: conn.method,
      path: conn.path,
      query: conn.querystring,
      version: conn.httpVersion,
      host: conn.host,
      isSecure: conn.isSecure,
      fields: [...conn.requestHeaders],
    }),
  )
  const client = await server.connect()
  const response = await client
    .request('PUT', '/a%20b?c=d&e', 'X-Two: 1', 'x-two: 2', 'Content-Length: 0')
    .response()
  assert.deepEqual(JSON.parse(response.body), {
    method: 'PUT',
    path: '/a%20b',
    query: 'c=d&e',
    version: '1.1',
    host: 'test',
    isSecure: false,
    fields: [
      ['Host', 'test'],
      ['X-Two', '1'],
      ['x-two', '2'],
      ['Content-Length', '0'],
    ],
  })
})

test('an upload that the client breaks off is an error for its reader alone', async (t) => {
  const names: string[] = []
  const server = await start(t, async (conn) => {
    try {
      await conn.requestBody.bytes()
    } catch (error) {
      names.push((error as Error).name)
      throw error
    }
  })
  const client = await server.connect()
  client.request('POST', '/', 'Content-Length: 10').send('half')
  await turns()
  client.socket.resetAndDestroy()
  await until('the reader has its error', () => names.length > 0)
  await turns()
  assert.deepEqual(names, ['BodyAbortedError'])
  assert.deepEqual(server.errors, [])
})

test('a target or a field with bytes that are no text is a 400, and no handler sees it', async (t) => {
  let isReached = false
  const server = await start(t, () => void (isReached = true))
  const heads = [
    'GET /\x9b31m HTTP/1.1\r\nHost: test',
    'GET / HTTP/1.1\r\nHost: test\r\nX: \x1b[31m',
  ]
  for (const head of heads) {
    const client = await server.connect()
    await client.send(Buffer.from(`${head}\r\n\r\n`, 'latin1')).ended()
    assert.match(client.text, /^HTTP\/1\.1 400 Bad Request\r\n(.+\r\n)*\r\n$/)
  }
  assert.equal(isReached, false)
})

test('a client that has ended its side and gets nothing is given up, and what waited for it is told', async (t) => {
  const told: boolean[] = []
  let reached = 0
  const server = await start(
    t,
    async (conn) => {
      conn.afterSend((isSent) => told.push(isSent))
      reached++
      if (conn.path === '/never') await new Promise(() => {})
      return conn.ok(
        (async function* () {
          yield 'x'
          await new Promise(() => {})
        })(),
      )
    },
    { limits: { halfClosedMs: 20 } },
  )
  for (const path of ['/never', '/stalled']) {
    const client = await server.connect()
    client.get(path)
    await until('the handler runs', () => reached > 0)
    reached = 0
    client.socket.end()
    await client.closed()
  }
  // The handler that never settles has nothing to tell; the body has ended.
  await until('the stream is over', () => told.length === 1)
  assert.deepEqual(told, [false])
})

test('a body that was begun and left is dropped, and the next request on the connection is answered', async (t) => {
  const ways: Record<string, (conn: Conn) => Promise<unknown>> = {
    async '/reader'({ requestBody }) {
      const reader = requestBody.stream().getReader()
      await reader.read()
      reader.releaseLock()
    },
    async '/race'({ requestBody }) {
      const iterator = requestBody[Symbol.asyncIterator]()
      await iterator.next()
      await Promise.race([iterator.next(), turns(5)])
    },
  }
  const server = await start(t, async (conn) => {
    await ways[conn.path]?.(conn)
    return conn.ok(conn.path)
  })
  for (const path of Object.keys(ways)) {
    for (const framing of ['Content-Length: 400000', 'Transfer-Encoding: chunked']) {
      const client = await server.connect()
      client.request('POST', path, framing)
      const isChunked = framing.startsWith('Transfer')
      const part = 'x'.repeat(100_000)
      for (let sent = 0; sent < 4; sent++) client.send(isChunked ? `186a0\r\n${part}\r\n` : part)
      if (isChunked) client.send('0\r\n\r\n')
      assert.equal((await client.response()).body, path)
      client.get('/next')
      assert.equal((await client.response()).body, '/next', `${path}, ${framing}`)
    }
  }
})

// Side by side: each takes a second or two.
test('who reads on behind the response gets the whole body; who comes back too late is told that it was dropped', async (t) => {
  const size = 2_000_000
  const ends = new Map<string, unknown>()
  const server = await start(
    t,
    async (conn) => {
      const pieces = conn.requestBody[Symbol.asyncIterator]()
      let length = (await pieces.next()).value!.length
      // Steadily: as much comes as is taken. Or not for a long time.
      const readOn = async (): Promise<unknown> => {
        for (;;) {
          await sleep(conn.path === '/steady' ? 60 : 1600)
          const { value, done } = await pieces.next()
          if (done === true) return length
          length += value.length
        }
      }
      void readOn()
        .catch((error: Error) => (error.cause as Error).message)
        .then((end) => ends.set(conn.pathAndQuery, end))
      return conn.ok(conn.path)
    },
    { limits: { bodyBytes: size } },
  )
  const clients: RawClient[] = []
  for (const path of ['/steady', '/late']) {
    for (const framing of [`Content-Length: ${size}`, 'Transfer-Encoding: chunked']) {
      const isChunked = framing.startsWith('Transfer')
      const client = await server.connect()
      client.request('POST', `${path}?${isChunked}`, framing)
      const body = 'x'.repeat(size)
      client.send(isChunked ? `${size.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body).get('/next')
      clients.push(client)
    }
  }
  for (const client of clients) assert.match((await client.response()).body, /^\/(steady|late)$/)
  await until('all have ended', () => ends.size === 4)
  for (const [path, end] of ends) {
    if (path.startsWith('/steady')) assert.equal(end, size, path)
    else assert.match(String(end), /it was dropped, as nobody had read on for 1000 ms/, path)
  }
})

test('a client that has ended its side gets the answers behind a stream, too', async (t) => {
  const gate = new Gate()
  const server = await start(t, async (conn) => {
    if (conn.path === '/first') await gate.pass()
    if (conn.path !== '/stream') return conn.ok(conn.path)
    return conn.ok(
      (async function* () {
        yield conn.path
      })(),
    )
  })
  const client = await server.connect()
  client.get('/first').get('/stream').get('/last').socket.end()
  await gate.reached()
  await turns()
  gate.open()
  for (const path of ['/first', '/stream', '/last'])
    assert.equal((await client.response()).body, path)
  await client.ended()
})
