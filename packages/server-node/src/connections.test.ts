import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import type { Conn, Handler } from '@wakerobin/core'
import '@wakerobin/sse'

import { Gate, ownTime, RawClient, start, turns, until } from '../fixtures/harness.ts'
import type { TestServer } from '../fixtures/harness.ts'

const patient = { lingerMs: 0, deadlineMs: 20_000 }
const never = new Promise<never>(() => {})

/** Answers with the path; below `/slow` when the gate is open. */
function slowly(gate: Gate): Handler {
  return async (conn: Conn) => {
    if (conn.path.startsWith('/slow')) await gate.pass()
    return conn.ok(conn.path)
  }
}

/** At once more than the buffers take between here and a client that does not read. */
function* flood(): Generator<string> {
  for (;;) yield 'x'.repeat(12 * 1024 * 1024)
}

/** Takes responses, and says of each what it is and whether it says close. */
async function answers(client: RawClient, count: number): Promise<string[]> {
  const all: string[] = []
  for (let at = 0; at < count; at++) {
    const { body, field } = await client.response()
    all.push(field('connection') === 'close' ? `${body}, close` : body)
  }
  return all
}

/** A server that waits for two slow requests to be answered, and the client of those. */
async function stopping(
  t: TestContext,
  gate: Gate,
): Promise<{ server: TestServer; client: RawClient; stopped: TestServer['handle']['stopped'] }> {
  const server = await start(t, slowly(gate), { shutdown: patient })
  const client = await server.connect()
  client.get('/slow').get('/slow/2')
  await gate.reached(2)
  const stopped = server.handle.shutDown()
  await turns()
  return { server, client, stopped }
}

// ----------------------------------------------------------------------------------- pipelining

test('[stopping 1.8] of several pipelined requests, the answer to the last says Connection: close', async (t) => {
  const gate = new Gate()
  const { client, stopped } = await stopping(t, gate)
  gate.open()
  assert.deepEqual(await answers(client, 2), ['/slow', '/slow/2, close'])
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).answered, 2)
})

test('[stopping 1.8] requests that come in one piece during the stop are answered, and the last says close', async (t) => {
  const gate = new Gate()
  const server = await start(t, slowly(gate), { shutdown: { ...patient, lingerMs: 20_000 } })
  const client = await server.connect()
  await client.get('/').response()
  const stopped = server.handle.shutDown()
  await turns()
  client.send(
    ['/one', '/two', '/three'].map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''),
  )
  assert.deepEqual(await answers(client, 3), ['/one', '/two', '/three, close'])
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).answered, 3)
})

test('[stopping 1.9] Connection: close moves on to a request that comes before the answer is given', async (t) => {
  const gate = new Gate()
  const { client, stopped } = await stopping(t, gate)
  client.get('/slow/3')
  await gate.reached(3)
  client.get('/four')
  await turns()
  gate.open()
  assert.deepEqual(await answers(client, 4), ['/slow', '/slow/2', '/slow/3', '/four, close'])
  await client.ended()
  client.socket.end()
  const { answered, outcome } = await stopped
  assert.deepEqual([answered, outcome], [4, 'clean'])
})

test('[stopping 1.10] behind an answer that was given before the stop, a request is answered in the linger time', async (t) => {
  const gate = new Gate()
  const server = await start(t, slowly(gate), { shutdown: { ...patient, lingerMs: 20_000 } })
  const client = await server.connect()
  client.get('/slow').get('/given') // which has to wait for its turn
  await gate.reached()
  await turns()
  const stopped = server.handle.shutDown()
  await turns()
  gate.open()
  assert.deepEqual(await answers(client, 2), ['/slow', '/given'])
  client.get('/next')
  assert.deepEqual(await answers(client, 1), ['/next, close'])
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).answered, 3)
})

test('[stopping 1.9] Connection: close moves on also where the answer was ready and waited for its turn', async (t) => {
  const gate = new Gate()
  const log: string[] = []
  const server = await start(
    t,
    async (conn) => {
      conn.afterSend((isSent) => log.push(`${conn.path} ${isSent}`))
      if (conn.path === '/slow') await gate.pass()
      return conn.ok(conn.path)
    },
    { shutdown: patient },
  )
  const [client, leaver] = await Promise.all([server.connect(), server.connect()])
  client.get('/slow')
  leaver.get('/slow')
  await gate.reached(2)
  const stopped = server.handle.shutDown()
  await turns()
  for (const path of ['/ready', '/next']) {
    client.get(path)
    leaver.get(path)
    await turns()
  }
  leaver.socket.resetAndDestroy()
  await until('the answers of who has left are settled', () => log.length === 2)
  assert.deepEqual(log.splice(0), ['/ready false', '/next false'])
  gate.open()
  assert.deepEqual(await answers(client, 3), ['/slow', '/ready', '/next, close'])
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
  assert.deepEqual(log.toSorted(), ['/next true', '/ready true', '/slow false', '/slow true'])
})

test('[stopping 1.11] a request that comes when the server has ended the connection is not handled, and counts as refused', async (t) => {
  // The time for which an ended connection is still heard is the test's own.
  t.mock.timers.enable({ apis: ['setInterval'] })
  const gate = new Gate()
  const paths: string[] = []
  const server = await start(
    t,
    async (conn) => {
      paths.push(conn.path)
      await gate.pass()
      return conn.ok('first')
    },
    { shutdown: patient },
  )
  const client = await server.connect()
  client.get('/first')
  await gate.reached()
  const stopped = server.handle.shutDown()
  await turns()
  gate.open()
  assert.deepEqual(await answers(client, 1), ['first, close'])
  await client.ended()
  client.get('/second')
  await turns()
  t.mock.timers.tick(200) // it is still sending
  await turns()
  t.mock.timers.tick(200)
  await client.closed()
  assert.equal(client.text, '')
  assert.deepEqual(paths, ['/first'])
  const { answered, refused, outcome } = await stopped
  assert.deepEqual({ answered, refused, outcome }, { answered: 1, refused: 1, outcome: 'clean' })
})

test('[stopping 1.11] a request that comes behind an answer that says Connection: close is not handled', async (t) => {
  const gate = new Gate()
  const paths: string[] = []
  const server = await start(
    t,
    (conn) => {
      paths.push(conn.path)
      if (conn.path !== '/body') return conn.ok('hello')
      return conn.ok(
        (async function* () {
          yield 'begun'
          await gate.pass()
          yield 'done'
        })(),
      )
    },
    { shutdown: { lingerMs: 20_000, deadlineMs: 20_000 } },
  )
  const client = await server.connect()
  await client.get('/').response()
  const stopped = server.handle.shutDown()
  await turns()
  await client.get('/body').received('begun')
  client.request('POST', '/pay', 'Content-Length: 0')
  await turns()
  gate.open()
  const { body, field } = await client.response()
  assert.deepEqual([body, field('connection')], ['begundone', 'close'])
  await client.ended()
  client.socket.end()
  assert.equal(client.text, '')
  assert.deepEqual(paths, ['/', '/body'])
  const { answered, refused } = await stopped
  assert.deepEqual({ answered, refused }, { answered: 1, refused: 1 })
})

test('a client that has asked for a tunnel, and does not go, does not disturb the stop', async (t) => {
  const server = await start(t, 'hello', {
    shutdown: { lingerMs: 0, headTimeoutMs: 0, deadlineMs: 20_000 },
  })
  const client = await server.connect()
  client.request('CONNECT', 'example.test:443')
  await client.ended()
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
  assert.match(client.text, /^HTTP\/1\.1 501 /)
})

// -------------------------------------------------------------------------------- new connections

test('[stopping 1.12] connections that wait to be accepted when the stop begins are answered', async (t) => {
  const server = await start(t, 'hello', { shutdown: patient })
  const { port } = server
  const texts: string[] = new Array(30).fill('')
  let ended = 0
  for (const at of texts.keys()) {
    // The system connects them at once; the server sees one of them in each turn.
    const socket = connect({ host: '127.0.0.1', port })
    socket.setEncoding('latin1').on('data', (text: string) => (texts[at] += text))
    socket.on('error', (error) => (texts[at] += String(error)))
    socket.on('close', () => ended++)
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    t.after(() => socket.destroy())
  }
  await new Promise(process.nextTick) // where node has no name to look up, it connects in the next tick
  const stopped = server.handle.shutDown()
  await until('all have ended', () => ended === texts.length)
  for (const text of texts) assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nhello$/)
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.13] Connection: close is said when new connections are refused, and not before', async (t) => {
  const gate = new Gate()
  const server = await start(t, slowly(gate), { shutdown: { ...patient, lingerMs: 20_000 } })
  const client = await server.connect()
  client.get('/slow')
  await gate.reached()
  const stopped = server.handle.shutDown()
  gate.open() // answered in this turn: the listener is not closed yet
  assert.deepEqual(await answers(client, 1), ['/slow'])
  client.get('/next')
  assert.deepEqual(await answers(client, 1), ['/next, close'])
  await assert.rejects(server.connect(), { code: 'ECONNREFUSED' })
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

// --------------------------------------------------------------------------- requests in progress

test('[stopping 1.2] an upload in progress is read to its end, and answered', async (t) => {
  const half = Buffer.alloc(300_000, 'x')
  let received = 0
  const server = await start(
    t,
    async (conn) => {
      for await (const bytes of conn.requestBody) received += bytes.length
      return conn.ok(`${received} bytes`)
    },
    { shutdown: patient },
  )
  const client = await server.connect()
  client.request('POST', '/', `Content-Length: ${2 * half.length}`).send(half)
  await until('half of it has come', () => received === half.length)
  const stopped = server.handle.shutDown()
  await turns()
  client.send(half)
  assert.deepEqual(await answers(client, 1), [`${2 * half.length} bytes, close`])
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.14] a handler that fails during the stop is a 500, and the others finish', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn) => {
      await gate.pass()
      if (conn.path === '/fails') throw new Error('boom')
      return conn.ok('fine')
    },
    { shutdown: patient },
  )
  const [failing, fine] = await Promise.all([server.connect(), server.connect()])
  failing.get('/fails')
  fine.get('/')
  await gate.reached(2)
  const stopped = server.handle.shutDown()
  await turns()
  gate.open()
  const failed = await failing.response()
  assert.deepEqual([failed.status, failed.field('connection')], [500, 'close'])
  assert.deepEqual(await answers(fine, 1), ['fine, close'])
  for (const client of [failing, fine]) {
    await client.ended()
    client.socket.end()
  }
  const { outcome, code } = await stopped
  assert.deepEqual([outcome, code], ['clean', 0])
  assert.deepEqual(
    server.errors.map(({ error }) => String(error)),
    ['Error: boom'],
  )
})

test('[stopping 1.15] clients that do not read are cut at the deadline', async (t) => {
  const pass = ownTime(t)
  const big = Buffer.alloc(24 * 1024 * 1024, 'x')
  let handled = 0
  const server = await start(
    t,
    (conn) => {
      handled++
      if (conn.path === '/answer') return conn.ok(big)
      if (conn.path === '/body') return conn.ok(Readable.from([big]))
      return conn.withSseStream(flood())
    },
    { shutdown: { lingerMs: 0, deadlineMs: 5_000 } },
  )
  const clients: RawClient[] = []
  for (const path of ['/answer', '/body', '/events']) {
    const client = await server.connect()
    clients.push(client)
    client.socket.pause()
    client.get(path)
  }
  await until('all are handled', () => handled === clients.length)
  await turns()
  const stopped = server.handle.shutDown()
  await turns()
  await pass(4_999)
  assert.equal(server.handle.phase, 'stopping')
  await pass(1)
  const { outcome, cut } = await stopped
  assert.equal(outcome, 'deadline')
  assert.deepEqual(server.errors, [])
  const { requests, streams } = cut!
  assert.deepEqual([...requests, ...streams].map(({ path }) => path).toSorted(), [
    '/answer',
    '/body',
    '/events',
  ])
  for (const client of clients) {
    client.socket.resume()
    await client.closed()
  }
})

test('[stopping 1.16] conn.signal aborts at the deadline, and not when the stop begins', async (t) => {
  const pass = ownTime(t)
  let signal: AbortSignal | undefined
  const server = await start(
    t,
    (conn) => {
      ;({ signal } = conn)
      return never
    },
    { shutdown: { lingerMs: 0, deadlineMs: 5_000 } },
  )
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => signal !== undefined)
  const stopped = server.handle.shutDown()
  await turns()
  await pass(4_999)
  assert.equal(signal!.aborted, false)
  await pass(1)
  assert.equal((await stopped).outcome, 'deadline')
  assert.equal(signal!.aborted, true)
  await client.closed()
})

// ----------------------------------------------------------- answers to what is no request, in their turn

test('what is no request is answered behind the responses before it', async (t) => {
  const broken: Record<string, [bytes: string, status: number]> = {
    garbage: ['\0\0\0\r\n\r\n', 400],
    'a broken chunk': [
      'POST /sync HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      400,
    ],
    'a tunnel': ['CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 501],
  }
  for (const [what, [bytes, status]] of Object.entries(broken)) {
    for (const path of ['/sync', '/soon', '/late']) {
      const gate = new Gate()
      const server = await start(t, async (conn: Conn) => {
        if (conn.method === 'POST') await new Promise(() => {})
        if (conn.path === '/soon') await undefined
        if (conn.path === '/late') await gate.pass()
        return conn.ok(conn.path)
      })
      const client = await server.connect()
      client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n${bytes}`)
      await turns()
      gate.open()
      const first = await client.response()
      assert.deepEqual([first.status, first.body], [200, path], `${what} behind ${path}`)
      assert.equal((await client.response()).status, status, `${what} behind ${path}`)
      await client.ended()
    }
  }
})

test('what is no request is answered behind all responses before it, however many', async (t) => {
  const count = 150
  const gates = Array.from({ length: count }, () => new Gate())
  const server = await start(t, async (conn: Conn) => {
    if (conn.method === 'POST') await new Promise(() => {})
    await gates[Number(conn.path.slice(1))]!.pass()
    return conn.ok(conn.path)
  })
  const client = await server.connect()
  for (let at = 0; at < count; at++) client.get(`/${at}`)
  client.request('POST', '/', 'Transfer-Encoding: chunked').send('zz\r\n')
  await gates[count - 1]!.reached()
  await turns()
  for (const [at, gate] of gates.entries()) {
    gate.open()
    assert.equal((await client.response()).body, `/${at}`)
  }
  assert.equal((await client.response()).status, 400)
  await client.ended()
})

test('an upload that does not come is a 408 behind the responses before it', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn: Conn) => {
      if (conn.path === '/hold') await gate.pass()
      else await conn.requestBody.text()
      return conn.ok(conn.path)
    },
    { limits: { requestMs: 200 } },
  )
  const client = await server.connect()
  client.get('/hold').request('POST', '/upload', 'Content-Length: 10').send('x')
  await gate.reached()
  await new Promise((resolve) => setTimeout(resolve, 1_000)) // node looks every now and then
  gate.open()
  assert.equal((await client.response()).body, '/hold')
  assert.equal((await client.response()).status, 408)
  await client.ended()
})
