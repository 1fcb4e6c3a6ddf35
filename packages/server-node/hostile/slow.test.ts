/** Clients that take their time: to send, and to read. With small limits, so that the tests are quick. */

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Gate, start, turns, until } from '../fixtures/harness.ts'
import { HandlerTimeoutError } from '../src/handler-timeout.ts'

const head = 'GET / HTTP/1.1\r\nHost: a.test\r\n'
const never = new Promise<never>(() => {})
/** More than the buffers between here and a client that does not read. */
const big = 32 * 1024 * 1024

describe('clients that are slow', { concurrency: true }, () => {
  test('[requests 3.1] a head that does not come to its end in headMs is a 408', async (t) => {
    const server = await start(t, 'ok', { limits: { headMs: 500 } })
    const clients = await Promise.all(Array.from({ length: 20 }, () => server.connect()))
    for (const [at, client] of clients.entries()) client.send(head.slice(0, at + 1))
    for (const client of clients) {
      const response = await client.response()
      assert.deepEqual([response.status, response.field('connection')], [408, 'close'])
      await client.ended()
    }
    await until('no connection is left', () => server.handle.report().isEmpty)
  })

  test('[requests 3.1] a head that comes byte by byte is a 408, too', async (t) => {
    const server = await start(t, 'ok', { limits: { headMs: 150 } })
    const client = await server.connect()
    const timer = setInterval(() => client.send('X'), 10)
    t.after(() => clearInterval(timer))
    client.send(`${head}X: `)
    assert.equal((await client.response()).status, 408)
    await client.ended()
  })

  test('[requests 3.1] a second request on a connection has headMs of its own', async (t) => {
    const server = await start(t, 'ok', { limits: { headMs: 200 } })
    const client = await server.connect()
    await client.get('/').response()
    await sleep(300)
    assert.equal((await client.get('/').response()).status, 200, 'the time between is not its')
    client.send(head)
    assert.equal((await client.response()).status, 408)
  })

  test('[requests 3.2] a connection on which nothing comes is closed without a word', async (t) => {
    const server = await start(t, 'ok', { limits: { headMs: 100 } })
    const client = await server.connect()
    await client.ended()
    assert.equal(client.text, '')
    assert.equal(client.error, undefined)
  })

  test('[requests 3.3] a body that does not come to its end in requestMs is a 408, and the handler learns of it', async (t) => {
    const failures: unknown[] = []
    const server = await start(
      t,
      async (conn) => {
        const { signal } = conn
        await conn.requestBody
          .text()
          .catch((error: unknown) => failures.push(error, signal.aborted))
        return conn.ok('late')
      },
      { limits: { requestMs: 100 } },
    )
    for (const framing of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
      const client = await server.connect()
      client.request('POST', '/', framing).send('5\r\n12')
      const response = await client.response()
      assert.deepEqual([response.status, response.field('connection')], [408, 'close'])
      await client.closed()
      assert.equal(client.text, '')
    }
    await until('both have failed', () => failures.length === 4)
    assert.match(String(failures[0]), /^BodyAbortedError/)
    assert.equal(failures[1], true)
    await until('no connection is left', () => server.handle.report().isEmpty)
    assert.deepEqual(server.errors, [])
  })

  test('[requests 3.3] a body that goes on when its response has begun ends the connection', async (t) => {
    const server = await start(
      t,
      (conn) =>
        conn.ok(
          new ReadableStream({ pull: () => never, start: (c) => c.enqueue(Buffer.from('x')) }),
        ),
      { limits: { requestMs: 100 } },
    )
    const client = await server.connect()
    client.request('POST', '/', 'Content-Length: 10').send('12')
    await client.closed()
    assert.match(client.text, /^HTTP\/1\.1 200 /)
    assert.doesNotMatch(client.text, /408|0\r\n\r\n$/)
  })

  test('[requests 3.3] a body that goes on when its response is done ends the connection, without a second answer', async (t) => {
    const server = await start(t, 'ok', { limits: { requestMs: 100 } })
    const client = await server.connect()
    client.request('POST', '/', 'Content-Length: 10').send('12')
    assert.equal((await client.response()).body, 'ok')
    await client.ended()
    assert.equal(client.text, '')
  })

  test('[requests 3.4] an idle connection is closed after keepAliveMs', async (t) => {
    const server = await start(t, 'ok', { limits: { keepAliveMs: 100 } })
    const client = await server.connect()
    const begunAt = performance.now()
    await client.get('/').response()
    await client.ended()
    assert.ok(performance.now() - begunAt > 90)
    assert.equal(client.text, '')
    assert.equal(client.error, undefined)
  })

  test('[requests 3.4] a keepAliveMs longer than timers go is the longest that they do, and clients are told that', async (t) => {
    const warnings: Error[] = []
    const warn = (warning: Error): void => void warnings.push(warning)
    process.on('warning', warn)
    t.after(() => process.off('warning', warn))
    const server = await start(t, 'ok', { limits: { keepAliveMs: 1e15 } })
    const client = await server.connect()
    for (let round = 0; round < 2; round++) {
      const response = await client.get('/').response()
      assert.equal(response.field('keep-alive'), 'timeout=2147482')
    }
    await sleep(20)
    assert.equal(client.isEnded, false)
    assert.deepEqual(warnings, [])
  })

  test('[requests 3.7] handlers that are not done in handlerMs are answered for with a 503, and told', async (t) => {
    const signals: AbortSignal[] = []
    const ends: boolean[] = []
    const gate = new Gate()
    const server = await start(
      t,
      [
        (conn) =>
          void conn.withResponseHeader('X-Secret', '1').afterSend((isSent) => ends.push(isSent)),
        async function slow(conn) {
          signals.push(conn.signal)
          await gate.pass()
          return conn.withStatus(200).withBody('late').withResponseHeader('X-Late', '1').halt()
        },
      ],
      { limits: { handlerMs: 80 } },
    )
    const client = await server.connect()
    const response = await client.get('/').response()
    assert.deepEqual([response.status, response.body], [503, ''])
    assert.equal(response.field('x-secret'), undefined)
    assert.equal(response.field('connection'), 'keep-alive')
    assert.equal(signals[0]!.aborted, true)
    const [{ error, context }] = server.errors as [(typeof server.errors)[0]]
    assert.ok(error instanceof HandlerTimeoutError)
    assert.equal(error.limitMs, 80)
    assert.equal(context.place, 'app[1] "slow"')
    assert.match(error.message, /^Cannot wait any longer for app\[1\] "slow": .* after 80 ms$/)
    // What it does later is dropped, and the connection is as it was.
    gate.open()
    await turns()
    assert.equal(client.text, '')
    assert.deepEqual(ends, [true])
    assert.equal((await client.get('/').response()).status, 200)
    assert.equal(server.errors.length, 1)
  })

  test('[requests 3.7] handlers that are done in time are as without a limit', async (t) => {
    const server = await start(
      t,
      async (conn) => {
        await sleep(10)
        if (conn.path === '/fails') throw new Error('boom')
        return conn.ok('in time')
      },
      { limits: { handlerMs: 4_000 } },
    )
    const client = await server.connect()
    assert.equal((await client.get('/').response()).body, 'in time')
    assert.equal((await client.get('/fails').response()).status, 500)
    assert.equal(server.errors.length, 1)
  })

  test('[requests 3.8] what a late handler has made is let go, and its own errors are reported', async (t) => {
    const gate = new Gate()
    let isCanceled = false
    const late: unknown[] = []
    const server = await start(
      t,
      [
        {
          name: 'last',
          beforeSend: (conn) => void conn.afterSend((isSent) => late.push(conn.path, isSent)),
        },
        async function slow(conn) {
          const { signal } = conn
          if (conn.path === '/heeds') {
            await new Promise((_, reject) => {
              signal.addEventListener('abort', () => reject(signal.reason as Error))
            })
          }
          // Set as soon as it hears of it: too late all the same.
          signal.addEventListener('abort', () => void conn.withStatus(200).withBody('late'))
          await gate.pass()
          if (conn.path === '/throws') throw new Error('late')
          return conn.ok(new ReadableStream({ cancel: () => void (isCanceled = true) }))
        },
      ],
      { limits: { handlerMs: 50 } },
    )
    for (const path of ['/heeds', '/throws', '/stream']) {
      const client = await server.connect()
      const response = await client.get(path).response()
      assert.deepEqual([response.status, response.body], [503, ''], path)
    }
    assert.equal(server.errors.length, 3)
    gate.open()
    await until('all are over', () => late.length === 6)
    assert.deepEqual(late, ['/heeds', false, '/throws', false, '/stream', false])
    await until('the stream is let go', () => isCanceled)
    assert.deepEqual(
      server.errors.slice(3).map(({ error }) => String(error)),
      ['Error: late'],
    )
  })

  test('[requests 3.7] a beforeSend is a handler, too; the body of such a request is waited for no longer', async (t) => {
    const server = await start(
      t,
      [{ name: 'stuck', beforeSend: () => never }, (conn) => conn.ok('made')],
      { limits: { handlerMs: 50 } },
    )
    const client = await server.connect()
    client.request('POST', '/', 'Content-Length: 10').send('12345')
    const response = await client.response()
    assert.deepEqual([response.status, response.field('connection')], [503, 'close'])
    await client.ended()
    assert.equal(server.errors[0]!.context.place, 'beforeSend of app[0] "stuck"')
  })
})

// By itself: what takes this process long makes those above late.
describe('clients that do not read', () => {
  test('[requests 3.5] a client that takes nothing of its response for writeStallMs is cut, also one that pipelines', async (t) => {
    const ends: boolean[] = []
    const server = await start(
      t,
      (conn) => {
        conn.afterSend((isSent) => ends.push(isSent))
        if (conn.path === '/text') return conn.ok('x'.repeat(big))
        if (conn.path === '/small') return conn.ok('small')
        return conn.ok(endless())
      },
      { limits: { writeStallMs: 200 } },
    )
    for (const paths of [['/text'], ['/stream'], ['/small', '/text'], ['/text', '/text']]) {
      const client = await server.connect()
      client.socket.pause()
      for (const path of paths) client.get(path)
      await until('it is cut', () => server.handle.report().isEmpty)
    }
    await until('all are told', () => ends.length === 6)
    assert.deepEqual(ends.filter(Boolean), [true], 'only the small one was sent')
  })

  test('[requests 3.6] a client that takes a step of the system in each writeStallMs is served to the end', async (t) => {
    const length = 48 * 1024 * 1024
    const body = Buffer.alloc(length)
    const limitMs = 1_500
    const server = await start(t, (conn) => conn.ok(conn.path === '/stream' ? parts(body) : body), {
      limits: { writeStallMs: limitMs },
    })
    const reading = ['/whole', '/stream'].map(async (path) => {
      const socket = connect({ host: '127.0.0.1', port: server.port })
      t.after(() => socket.destroy())
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`)
      let read = 0
      socket.on('data', (chunk) => (read += chunk.length))
      const takes = (bytes: number): Promise<void> =>
        until(`${path}: ${bytes} bytes are read`, () => {
          assert.ok(!socket.destroyed, `it was cut behind ${read} bytes`)
          return read >= bytes
        })
      // More than a step, and then nothing for longer than it takes to look; longer than the limit in all.
      for (let part = 1; part <= 5; part++) {
        await takes((part * length) / 8)
        socket.pause()
        await sleep(0.5 * limitMs)
        socket.resume()
      }
      await takes(length)
    })
    await Promise.all(reading)
    assert.deepEqual(server.errors, [])
  })
})

/** A body as a stream. */
async function* parts(body: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += 1024 * 1024) yield body.subarray(at, at + 1024 * 1024)
}

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield new Uint8Array(64 * 1024)
}
