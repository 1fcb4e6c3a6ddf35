/** Sizes and counts: what is too much, and what becomes of the connection. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Conn, Upgrade } from '@wakerobin/core'

import { first } from '../fixtures/certificates.ts'
import { Gate, ownTime, RawClient, start, turns, until } from '../fixtures/harness.ts'
import { serve } from '../src/serve.ts'
import { checkLimits } from '../src/limits.ts'
import type { LimitOptions } from '../src/limits.ts'

const chunk = (bytes: number): string => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`

describe('sizes and counts', { concurrency: true }, () => {
  test('[requests 2.1] headBytes, headerCount and targetBytes are what is still taken', async (t) => {
    const server = await start(t, 'ok', {
      limits: { headBytes: 1000, headerCount: 5, targetBytes: 20 },
    })
    const status = async (...lines: string[]): Promise<number> => {
      const client = await server.connect()
      const response = await client.send(`${lines.join('\r\n')}\r\n\r\n`).response()
      if (response.status !== 200) await client.ended()
      return response.status
    }
    const host = 'Host: a'
    const fields = ['a: b', 'c: d', 'e: f', 'g: h']
    assert.equal(await status(`GET /${'x'.repeat(19)} HTTP/1.1`, host, ...fields), 200)
    assert.equal(await status(`GET /${'x'.repeat(20)} HTTP/1.1`, host), 414)
    assert.equal(await status('GET / HTTP/1.1', host, ...fields, 'i: j'), 431)
    assert.equal(await status('GET / HTTP/1.1', host, `x: ${'y'.repeat(900)}`), 200)
    assert.equal(await status('GET / HTTP/1.1', host, `x: ${'y'.repeat(1000)}`), 431)
  })

  test('[requests 2.2] without limits there are none', async (t) => {
    const server = await start(
      t,
      async (conn) => conn.ok(`${(await conn.requestBody.bytes()).length}`),
      {
        limits: {
          headBytes: Infinity,
          headerCount: Infinity,
          targetBytes: Infinity,
          bodyBytes: Infinity,
          connections: Infinity,
          headMs: Infinity,
          requestMs: Infinity,
          keepAliveMs: Infinity,
          writeStallMs: Infinity,
          handlerMs: Infinity,
          halfClosedMs: Infinity,
        },
      },
    )
    const client = await server.connect()
    const fields = Array.from({ length: 3_000 }, (_, at) => `x${at}: y`)
    const size = 3 * 1024 * 1024
    client.request('POST', `/${'x'.repeat(50_000)}`, ...fields, `Content-Length: ${size}`)
    client.send(Buffer.alloc(size))
    const response = await client.response()
    assert.equal(response.body, String(size))
    assert.equal(response.field('keep-alive'), undefined)
    client.request('POST', '/', 'Transfer-Encoding: chunked').send(chunk(size) + '0\r\n\r\n')
    assert.equal((await client.response()).body, String(size))
  })

  test('[requests 2.3] what is no limit is refused with a word on what would be', async () => {
    const wrong: [LimitOptions, RegExp][] = [
      [{ headBytes: 0 }, /limits\.headBytes 0: it must be a number from 1$/],
      [{ headerCount: -1 }, /limits\.headerCount -1: it must be a number from 1$/],
      [{ targetBytes: NaN }, /limits\.targetBytes NaN: it must be a number from 1$/],
      [{ bodyBytes: '1mb' as never }, /limits\.bodyBytes "1mb": it must be a number from 0$/],
      [{ connections: 0 }, /limits\.connections 0: it must be a number from 1$/],
      [{ headMs: 0 }, /limits\.headMs 0: it must be a number above 0, or Infinity for no limit$/],
      [{ requestMs: -5 }, /limits\.requestMs -5: it must be a number above 0/],
      [{ keepAliveMs: 'x' as never }, /limits\.keepAliveMs "x": it must be a number above 0/],
      [{ writeStallMs: '1s' as never }, /limits\.writeStallMs "1s": it must be a number above 0/],
      [{ handlerMs: 0 }, /limits\.handlerMs 0: it must be a number above 0/],
      [{ halfClosedMs: -1 }, /limits\.halfClosedMs -1: it must be a number from 0$/],
    ]
    for (const [limits, message] of wrong)
      await assert.rejects(serve('ok', { host: '127.0.0.1', port: 0, limits }), message)
  })

  test('every limit is in the guide, with its default', () => {
    const guide = readFileSync(new URL('../../../docs/guide/limits.md', import.meta.url), 'utf8')
    for (const [name, byDefault] of Object.entries(checkLimits({}))) {
      const [, told] = new RegExp(`^\\| \`${name}\` \\| (.+?) \\|`, 'm').exec(guide) ?? []
      assert.ok(told !== undefined, `${name} is not in the table`)
      if (name === 'connections') continue // its own story
      const [count, unit = ''] = told
        .replace('`', '')
        .replace(/(\d) (?=\d)/g, '$1')
        .split(' ')
      const factor = { KiB: 1024, MiB: 1024 * 1024 }[unit] ?? 1
      assert.equal(count === 'Infinity`' ? Infinity : Number(count) * factor, byDefault, name)
    }
  })

  test('[requests 2.4] a body over the limit is a 413 that arrives, and the end of the connection', async (t) => {
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()), {
      limits: { bodyBytes: 1000 },
    })
    for (const sent of [[], ['x'.repeat(2000)]]) {
      const client = await server.connect()
      client.request('POST', '/', 'Content-Length: 2000')
      for (const bytes of sent) client.send(bytes)
      const response = await client.response()
      assert.deepEqual([response.status, response.field('connection')], [413, 'close'])
      await client.ended()
    }
    const client = await server.connect()
    client.request('POST', '/', 'Transfer-Encoding: chunked').send(chunk(600)).send(chunk(600))
    const response = await client.response()
    assert.deepEqual([response.status, response.field('connection')], [413, 'close'])
    await client.ended()
    await until('no connection is left', () => server.handle.report().isEmpty)
    assert.deepEqual(server.errors, [])
  })

  test('[requests 2.4] a 413 is said in the same words whoever finds that it is too much', async (t) => {
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()), {
      limits: { bodyBytes: 1000 },
    })
    const heads: string[] = []
    for (const fields of [['Content-Length: 2000'], ['Transfer-Encoding: chunked']]) {
      const client = await server.connect()
      client.request('POST', '/', ...fields)
      if (fields[0] !== 'Content-Length: 2000') client.send(`5;${'x'.repeat(20_000)}\r\n`)
      heads.push((await client.response()).head.split('\r\n')[0]!)
    }
    assert.equal(heads[0], heads[1])
    assert.match(heads[0]!, / 413 /)
  })

  test('[requests 2.4] a client that goes on sending behind a 413 is heard for two seconds, not for ever', async (t) => {
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()), {
      limits: { bodyBytes: 1000 },
    })
    const client = await server.connect()
    client.request('POST', '/', 'Content-Length: 1000000000')
    const timer = setInterval(() => client.send('x'.repeat(1000)), 20)
    t.after(() => clearInterval(timer))
    assert.equal((await client.response()).status, 413)
    await until('no connection is left', () => server.handle.report().isEmpty)
  })

  test('[requests 2.5] a handler may read more than the limit, or less', async (t) => {
    const server = await start(
      t,
      async (conn) => {
        const limit = conn.path === '/more' ? 5_000 : 10
        return conn.ok(await conn.requestBody.withLimit(limit).text())
      },
      { limits: { bodyBytes: 1000 } },
    )
    const client = await server.connect()
    client.request('POST', '/more', 'Content-Length: 2000').send('x'.repeat(2000))
    const response = await client.response()
    assert.equal(response.body.length, 2000)
    assert.equal(response.field('connection'), 'keep-alive')
    client.request('POST', '/less', 'Content-Length: 20').send('x'.repeat(20))
    assert.equal((await client.response()).status, 413)
    assert.equal((await client.get('/more').response()).status, 200, 'so little is dropped')
  })

  test('[requests 2.6] a body that nobody reads is dropped up to the limit; a longer one ends the connection', async (t) => {
    const server = await start(t, (conn) => conn.ok(conn.path), { limits: { bodyBytes: 1000 } })
    const client = await server.connect()
    client.request('POST', '/sized', 'Content-Length: 1000').send('x'.repeat(1000))
    assert.equal((await client.response()).body, '/sized')
    client.request('POST', '/chunked', 'Transfer-Encoding: chunked').send(chunk(900) + '0\r\n\r\n')
    assert.equal((await client.response()).body, '/chunked')
    assert.equal((await client.get('/next').response()).body, '/next')

    client.request('POST', '/long', 'Content-Length: 1001').send('x'.repeat(1001))
    const response = await client.response()
    assert.deepEqual([response.body, response.field('connection')], ['/long', 'close'])
    await client.ended()

    const chunks = await server.connect()
    chunks.request('POST', '/chunked', 'Transfer-Encoding: chunked').send(chunk(900))
    assert.equal((await chunks.response()).body, '/chunked')
    await sleep(150)
    assert.equal(chunks.isEnded, false, 'it may still end in time')
    chunks.send(chunk(900)).send(chunk(900))
    await chunks.ended()
    assert.equal(chunks.text, '')
  })

  test('[requests 2.7] on a connection that is one too many a request is a 503 with Retry-After, and not handled', async (t) => {
    const handled: string[] = []
    const server = await start(
      t,
      (conn) => {
        handled.push(conn.path)
        return conn.ok('ok')
      },
      { limits: { connections: 2 } },
    )
    const clients = [await server.connect(), await server.connect()]
    for (const client of clients) assert.equal((await client.get('/in').response()).status, 200)
    const excess = await server.connect()
    const response = await excess.get('/out').response()
    assert.deepEqual([response.status, response.body], [503, ''])
    assert.deepEqual([response.field('retry-after'), response.field('connection')], ['5', 'close'])
    await excess.ended()
    // Those within the limit are as before, and a place that is free again is given away.
    for (const client of clients) assert.equal((await client.get('/in').response()).status, 200)
    clients[0]!.socket.destroy()
    excess.socket.destroy()
    await until('one is left', () => server.handle.report().connections === 1)
    const next = await server.connect()
    assert.equal((await next.get('/in').response()).status, 200)
    assert.ok(!handled.includes('/out'))
  })

  test('[requests 2.7] a connection that is one too many and says nothing is closed after a second', async (t) => {
    const server = await start(t, 'ok', { limits: { connections: 1 } })
    const client = await server.connect()
    const excess = await server.connect()
    await excess.ended()
    assert.equal(excess.text, '')
    assert.equal((await client.get('/').response()).status, 200)
  })

  test('[requests 2.7] a socket that is still shaking hands is one of the connections', async (t) => {
    const tls = { cert: first.cert, key: first.key }
    const server = await start(t, 'ok', { tls, limits: { connections: 2 } })
    const where = { host: '127.0.0.1', port: server.port }
    const silent = [await server.connect(), await server.connect()]
    await until('they are there', () => server.handle.report().connections === 2)
    const excess = await RawClient.connect(t, where, { ca: first.cert })
    const response = await excess.get('/').response()
    assert.deepEqual([response.status, response.field('retry-after')], [503, '5'])
    // One that is one too many and does not shake hands either is gone after a second.
    const another = await server.connect()
    await another.ended()
    excess.socket.destroy()
    silent[0]!.socket.destroy()
    await until('one is left', () => server.handle.report().connections === 1)
    const next = await RawClient.connect(t, where, { ca: first.cert })
    assert.equal((await next.get('/').response()).status, 200)
    assert.equal(silent[1]!.isEnded, false)
  })

  test('[requests 2.7] a connection that goes on as something else is still one of them', async (t) => {
    let closed = false
    const server = await start(
      t,
      {
        run: (conn: Conn) => (conn.path === '/up' ? conn.withStatus(101).halt() : conn.ok('ok')),
        hasUpgrade: () => true,
        upgrade(upgrade: Upgrade) {
          const { socket } = upgrade.takeTransport()
          socket
            .resume()
            .once('end', () => socket.end())
            .once('close', () => (closed = true))
        },
      },
      { limits: { connections: 2 } },
    )
    const up = ['Connection: Upgrade', 'Upgrade: other']
    const clients = [await server.connect(), await server.connect()]
    for (const client of clients)
      assert.equal((await client.get('/up', ...up).response()).status, 101)
    const excess = await server.connect()
    assert.equal((await excess.get('/up', ...up).response()).status, 503)
    clients[0]!.socket.destroy()
    await until('one is left', () => closed)
    const next = await server.connect()
    assert.equal((await next.get('/').response()).status, 200)
  })
})

// By itself: it owns the clock.
describe('a crowd', () => {
  for (const tls of [undefined, { cert: first.cert, key: first.key }])
    test(`[requests 2.7] of those that are too many a few are told so, and the others closed at once (${tls ? 'TLS' : 'TCP'})`, async (t) => {
      const pass = ownTime(t)
      const server = await start(t, 'ok', { ...(tls && { tls }), limits: { connections: 1 } })
      const clients: RawClient[] = []
      while (clients.length < 11) clients.push(await server.connect())
      await until('they are there', () => server.handle.report().connections === 11)
      for (let count = 0; count < 3; count++) await (await server.connect()).closed()
      assert.equal(server.handle.report().connections, 11)
      assert.ok(clients.every(({ isEnded, isClosed }) => !isEnded && !isClosed))
      await pass(1_000)
      await until('the others are closed', () => server.handle.report().connections === 1)
      assert.ok(!clients[0]!.isEnded)
      const next = await server.connect()
      await until('it is there', () => server.handle.report().connections === 2)
      assert.ok(!next.isEnded)
    })
})

describe('what a client expects', () => {
  const expects = 'Expect: 100-continue'

  test('[requests 4.1] 100 Continue is said when a handler first reads the body', async (t) => {
    const gate = new Gate()
    const server = await start(t, async (conn) => {
      await gate.pass()
      if (conn.path === '/iterated') {
        let text = ''
        for await (const bytes of conn.requestBody) text += Buffer.from(bytes).toString()
        return conn.ok(text)
      }
      return conn.ok(await conn.requestBody.text())
    })
    const client = await server.connect()
    for (const path of ['/', '/iterated']) {
      client.request('POST', path, expects, 'Content-Length: 5')
      if (path === '/') {
        await gate.reached()
        await turns()
        assert.equal(client.text, '', 'not before')
        gate.open()
      }
      await client.received('HTTP/1.1 100 Continue\r\n\r\n')
      client.take()
      const response = await client.send('hello').response()
      assert.deepEqual([response.body, response.field('connection')], ['hello', 'keep-alive'])
    }
  })

  test('[requests 4.2] a length over the limit is a 413 without it', async (t) => {
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()), {
      limits: { bodyBytes: 4 },
    })
    const client = await server.connect()
    client.request('POST', '/', expects, 'Content-Length: 5')
    const response = await client.response()
    assert.deepEqual([response.status, response.field('connection')], [413, 'close'])
    await client.ended()
  })

  test('[requests 4.3] a handler that reads no body answers at once, and the connection ends: nobody knows whether the body comes', async (t) => {
    const server = await start(t, (conn) => conn.withStatus(403).halt())
    const client = await server.connect()
    client.request('POST', '/', expects, 'Content-Length: 5')
    const response = await client.response()
    assert.deepEqual([response.status, response.field('connection')], [403, 'close'])
    await client.ended()
    assert.equal(client.text, '')
  })

  test('[requests 4.4] without a body, or on HTTP/1.0, there is nothing to be said', async (t) => {
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.text()))
    const client = await server.connect()
    assert.equal((await client.get('/', expects).response()).status, 200)
    await client.ended()
    assert.equal(client.text, '')
    const old = await server.connect()
    old.send(`POST / HTTP/1.0\r\n${expects}\r\nContent-Length: 5\r\n\r\nhello`)
    assert.equal((await old.response()).body, 'hello')
  })
})
