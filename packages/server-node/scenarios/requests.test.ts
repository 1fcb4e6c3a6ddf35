/** What becomes of connections and requests when the server stops.
 *
 * Here and in the files beside it, the numbers S1 to S22 are the scenarios of the stop. A child process is
 * stopped by signals, as a deployment does it; raw sockets and stock clients look on from outside. Nothing is
 * said of how long anything takes. What must not wait for the deadline meets one of 60 s, which the tests do not
 * wait for; what must not wait for a timer of node's own ends without the line that the target prints before
 * any of them is due. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'

import { RawClient } from '../fixtures/harness.ts'
import type { RawResponse } from '../fixtures/harness.ts'
import { until } from './patience.ts'
import { attempt, failure, startTarget, success } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'
import { bigBytes, bigPattern, lateLine } from './target-contract.ts'

function connect(t: TestContext, { port }: ServerProcess): Promise<RawClient> {
  return RawClient.connect(t, { host: '127.0.0.1', port })
}

/** Connections that have come to the server: one that came after them was answered. */
async function connectMany(
  t: TestContext,
  server: ServerProcess,
  count: number,
  send = '',
): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => connect(t, server)))
  for (const client of clients) if (send !== '') client.send(send)
  for (let times = 0; times < 2; times++) {
    const last = await connect(t, server)
    await last.get('/hello').response()
    last.socket.destroy()
  }
  return clients
}

/** Waits for FIN, and asserts that it is that and no reset, with nothing before it. */
async function endsInOrder(client: RawClient): Promise<void> {
  await client.ended()
  assert.equal(client.error, undefined)
  assert.equal(client.isEnded, true, 'FIN has come')
  assert.equal(client.text, '')
  client.socket.end()
}

function assertLast(response: RawResponse, status: number, body: string): void {
  assert.deepEqual(
    { status: response.status, connection: response.field('connection'), body: response.body },
    { status, connection: 'close', body },
  )
}

describe('requests at the stop', { concurrency: 3 }, () => {
  test('[stopping 1.1] S1 a slow request in progress is answered whole, and the answer says Connection: close', async (t) => {
    const server = await startTarget(t)
    const client = await connect(t, server)
    client.get('/slow')
    await server.prints('GET /slow has begun')
    server.kill('SIGTERM')
    await server.refuses()
    assert.equal(client.text, '')
    server.open('/slow')
    assertLast(await client.response(), 200, 'slow')
    await endsInOrder(client)
    await server.ends(success)
    assert.match(server.out, /^SIGTERM: .*\b1 request\b/m)
    assert.equal(server.err, '')
  })

  test('[stopping 1.4] S2 idle keep-alive connections end in order, long before their own timeout', async (t) => {
    const server = await startTarget(t)
    const clients = await connectMany(t, server, 10)
    for (const client of clients) {
      const response = await client.get('/hello').response()
      assert.notEqual(response.field('connection'), 'close')
    }
    server.kill('SIGTERM')
    await Promise.all(clients.map(endsInOrder))
    await server.ends(success)
    assert.ok(!server.out.includes(lateLine), server.out)
  })

  test('[stopping 1.4] S2b connections that have never sent a byte do not hold the stop', async (t) => {
    const server = await startTarget(t)
    const clients = await connectMany(t, server, 10)
    server.kill('SIGTERM')
    await Promise.all(clients.map(endsInOrder))
    await server.ends(success)
    assert.ok(!server.out.includes(lateLine), server.out)
  })

  test('[stopping 1.12] S3 new connections are refused while a request is still in progress', async (t) => {
    const server = await startTarget(t)
    const client = await connect(t, server)
    client.get('/slow')
    await server.prints('GET /slow has begun')
    assert.equal(await attempt(server.port), 'accepted')
    server.kill('SIGTERM')
    await server.refuses()
    for (let times = 0; times < 20; times++)
      assert.equal(await attempt(server.port), 'ECONNREFUSED')
    server.open('/slow')
    assertLast(await client.response(), 200, 'slow')
    await server.ends(success)
  })

  test('[stopping 2.8] S5 a chunked download in progress is sent to its end', async (t) => {
    const server = await startTarget(t)
    const client = await connect(t, server)
    await client.get('/download').received('part 1')
    await server.prints('GET /download has begun')
    server.kill('SIGTERM')
    await server.refuses()
    server.open('/download')
    assert.equal((await client.response()).body, 'part 1\npart 2\npart 3\n')
    await endsInOrder(client)
    await server.ends(success)
    assert.equal(server.err, '')
  })

  test('[stopping 1.2] S6 uploads in progress are read to their ends, and answered', async (t) => {
    const server = await startTarget(t)
    const body = randomBytes(512 * 1024)
    const half = body.length / 2
    const counted = await connect(t, server)
    counted.request('POST', '/upload', `Content-Length: ${body.length}`)
    counted.send(body.subarray(0, half))
    const chunked = await connect(t, server)
    chunked.request('POST', '/upload', 'Transfer-Encoding: chunked')
    chunked.send(`${half.toString(16)}\r\n`).send(body.subarray(0, half))
    await server.prints('POST /upload has begun', 2)
    server.kill('SIGTERM')
    await server.refuses()
    counted.send(body.subarray(half))
    chunked
      .send(`\r\n${half.toString(16)}\r\n`)
      .send(body.subarray(half))
      .send('\r\n0\r\n\r\n')
    const expected = `${body.length} bytes ${createHash('sha256').update(body).digest('hex')}`
    for (const client of [counted, chunked]) {
      assertLast(await client.response(), 200, expected)
      await endsInOrder(client)
    }
    await server.ends(success)
    assert.equal(server.err, '')
  })

  test('[stopping 1.8] S12 a pipelined second request is answered, and only the last answer says Connection: close', async (t) => {
    const server = await startTarget(t)
    const client = await connect(t, server)
    client.get('/slow').get('/slow')
    await server.prints('GET /slow has begun', 2)
    server.kill('SIGTERM')
    await server.refuses()
    assert.equal(client.text, '')
    server.open('/slow')
    const first = await client.response()
    assert.deepEqual([first.status, first.body], [200, 'slow'])
    assert.notEqual(first.field('connection'), 'close')
    assertLast(await client.response(), 200, 'slow')
    await endsInOrder(client)
    await server.ends(success)
  })

  test('S12 answers that were made before the signal, and wait for one before them, are sent as they are, and who has not been told of the end is answered once more', async (t) => {
    const server = await startTarget(t)
    const client = await connect(t, server)
    client.get('/slow').get('/noted').get('/hello')
    await server.prints('GET /noted has begun')
    await connectMany(t, server, 0)
    server.kill('SIGTERM')
    await server.refuses()
    assert.equal(client.text, '')
    server.open('/slow')
    for (const body of ['slow', 'noted', 'hello']) {
      const response = await client.response()
      assert.deepEqual([response.status, response.body], [200, body])
      assert.notEqual(response.field('connection'), 'close')
    }
    client.get('/hello')
    assertLast(await client.response(), 200, 'hello')
    await endsInOrder(client)
    await server.ends(success)
  })

  test('[stopping 1.9] S12 a request that is pipelined after the signal behind one in progress is answered last', async (t) => {
    const server = await startTarget(t)
    const client = await connect(t, server)
    client.get('/slow')
    await server.prints('GET /slow has begun')
    server.kill('SIGTERM')
    await server.refuses()
    client.get('/noted')
    await server.prints('GET /noted has begun')
    server.open('/slow')
    const first = await client.response()
    assert.deepEqual([first.status, first.body], [200, 'slow'])
    assert.notEqual(first.field('connection'), 'close')
    assertLast(await client.response(), 200, 'noted')
    await endsInOrder(client)
    await server.ends(success)
  })

  test('[stopping 1.5] S13 half-sent request heads get 408 and do not hold the stop', async (t) => {
    const server = await startTarget(t)
    const clients = [
      ...(await connectMany(t, server, 2, 'G')),
      ...(await connectMany(t, server, 2, 'GET /hello HTTP/1.1\r\nHost: te')),
      ...(await connectMany(
        t,
        server,
        2,
        'POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n',
      )),
    ]
    const second = await connect(t, server)
    await second.get('/hello').response()
    second.send('GET /hello HTTP/1.1\r\n')
    await connectMany(t, server, 0)
    server.kill('SIGTERM')
    for (const client of [...clients, second]) {
      const response = await client.response()
      assert.deepEqual([response.status, response.field('connection')], [408, 'close'])
      await endsInOrder(client)
    }
    await server.ends(success)
    assert.ok(!server.out.includes(lateLine), server.out)
  })

  test('[stopping 1.6] S13 a head that is completed after the signal is answered', async (t) => {
    const server = await startTarget(t, { shutdown: { lingerMs: 20_000 } })
    const [client] = await connectMany(t, server, 1, 'GET /hello HTTP/1.1\r\nHost: te')
    server.kill('SIGTERM')
    await server.refuses()
    client!.send('st\r\n\r\n')
    assertLast(await client!.response(), 200, 'hello')
    await endsInOrder(client!)
    await server.ends(success)
  })

  test('[stopping 1.15] S14 clients that have stopped reading are cut at the deadline', async (t) => {
    const server = await startTarget(t, { shutdown: { deadlineMs: 300 } })
    const clients = [await connect(t, server), await connect(t, server)]
    for (const { socket } of clients) socket.once('data', () => socket.pause())
    clients[0]!.get('/big')
    clients[1]!.get('/flood')
    await until(
      () => 'both are being answered',
      () => clients.every(({ text }) => text !== ''),
    )
    server.kill('SIGTERM')
    await server.ends(failure)
    assert.match(server.err, /GET \/big\b/)
    for (const client of clients) {
      client.socket.resume()
      await client.closed()
      assert.ok(client.text.length < bigBytes)
      assert.ok(!client.text.endsWith('\r\n0\r\n\r\n'), 'what was cut does not look whole')
    }
  })

  test('[stopping 1.14] S18 a handler that fails during the stop is a 500, and the others finish', async (t) => {
    const server = await startTarget(t)
    const failing = await connect(t, server)
    const other = await connect(t, server)
    failing.get('/boom-later')
    other.get('/slow')
    await server.prints('GET /boom-later has begun')
    await server.prints('GET /slow has begun')
    server.kill('SIGTERM')
    await server.refuses()
    server.open('/boom-later')
    const response = await failing.response()
    assert.deepEqual([response.status, response.field('connection')], [500, 'close'])
    assert.doesNotMatch(response.body, /boom/)
    await endsInOrder(failing)
    server.open('/slow')
    assertLast(await other.response(), 200, 'slow')
    await endsInOrder(other)
    await server.ends(success)
    assert.match(server.err, /Error: boom\n/)
  })

  test('[stopping 1.7] S22 an answer that was ended before the signal reaches a slow reader whole', async (t) => {
    const server = await startTarget(t)
    const [idle] = await connectMany(t, server, 1)
    const client = await connect(t, server)
    client.socket.once('data', () => client.socket.pause())
    client.get('/big')
    await client.received('\r\n\r\n')
    server.kill('SIGTERM')
    await server.refuses()
    await endsInOrder(idle!) // the idle ones were looked for, and this one is none
    assert.ok(client.text.length < bigBytes / 2, 'most of it is still to be sent')
    client.socket.resume()
    const response = await client.response()
    assert.equal(response.status, 200)
    assert.ok(response.body === bigPattern.repeat(bigBytes / bigPattern.length), 'it is whole')
    await endsInOrder(client)
    await server.ends(success)
    assert.equal(server.err, '')
  })
})
