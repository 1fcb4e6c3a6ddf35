/** The stop on HTTP/2, frame by frame. With a process and its signals: scenarios/http2.test.ts. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import type { Conn } from '@wakerobin/core'
import '@wakerobin/sse'

import { first } from '../fixtures/certificates.ts'
import { code, FrameClient, get, post, data, preface, settings, type } from '../fixtures/frames.ts'
import { Gate, RawClient, start, turns, until } from '../fixtures/harness.ts'
import { ask, openSession } from '../fixtures/http2-client.ts'

const most = 2 ** 31 - 1
const lingering = { shutdown: { lingerMs: 200, deadlineMs: 8_000 } }

describe('the stop on HTTP/2', () => {
  test('[stopping 9.1] the first GOAWAY names no last stream, and what comes before the second is served', async (t) => {
    const gate = new Gate()
    const app = async (conn: Conn): Promise<Conn> => {
      if (conn.path === '/slow') await gate.pass()
      return conn.ok(conn.path)
    }
    const server = await start(t, app, lingering)
    const client = await FrameClient.connect(t, server, { ahead: [get(1, '/slow')] })
    await gate.reached()
    const stopped = server.handle.shutDown()
    await client.next(type.goaway)
    assert.deepEqual(client.goaways, [{ last: most, code: code.noError }])
    client.send(get(3, '/late'), post(5, '/upload'), data(5, 'x', true))
    assert.equal(await client.body(3), '/late')
    assert.equal(await client.body(5), '/upload')
    await client.next(type.goaway, 0, 2)
    assert.deepEqual(client.goaways[1], { last: 5, code: code.noError })
    assert.equal(client.hasEnded(1), false)
    gate.open()
    assert.equal(await client.body(1), '/slow')
    await client.client.ended()
    assert.equal(client.client.error, undefined)
    const report = await stopped
    assert.deepEqual([report.outcome, report.answered], ['clean', 3])
  })

  test('[stopping 9.2] what comes behind the second is not handled, and its client knows', async (t) => {
    const gate = new Gate()
    const handled: string[] = []
    const app = async (conn: Conn): Promise<Conn> => {
      handled.push(conn.path)
      await gate.pass()
      return conn.ok('')
    }
    const server = await start(t, app, { shutdown: { lingerMs: 0, deadlineMs: 8_000 } })
    const client = await FrameClient.connect(t, server, { ahead: [get(1, '/1')] })
    await gate.reached()
    const stopped = server.handle.shutDown()
    await client.next(type.goaway, 0, 2)
    assert.equal(client.goaways[1]!.last, 1)
    client.send(get(3, '/3'))
    await client.pong()
    gate.open()
    await client.body(1)
    assert.equal((await stopped).outcome, 'clean')
    assert.deepEqual(handled, ['/1'])
    assert.equal(client.hasEnded(3), false)
  })

  for (const isSecure of [false, true]) {
    test(`[stopping 9.3] idle sessions, and those that never asked, end with the linger time ${isSecure ? 'over TLS' : 'in the clear'}`, async (t) => {
      const tls = { cert: first.cert, key: first.key }
      const server = await start(t, (conn) => conn.ok(''), {
        shutdown: { lingerMs: 30, deadlineMs: 8_000 },
        ...(isSecure && { tls }),
      })
      const options = isSecure ? { ca: first.cert } : undefined
      const idle = await openSession(t, server, options)
      await ask(idle, '/')
      const unused = await openSession(t, server, options)
      const goaways: unknown[] = []
      for (const session of [idle, unused])
        session.on('goaway', (...args) => goaways.push(args.slice(0, 2)))
      assert.equal((await server.handle.shutDown()).outcome, 'clean')
      await until('both have heard', () => goaways.length >= 2)
      assert.deepEqual(goaways[0], [code.noError, isSecure ? 1 : most])
      await until('both are closed', () => idle.destroyed && unused.destroyed)
    })
  }

  test('[stopping 9.3] a client that does not end its side, or says nothing behind the preface, does not hold the stop', async (t) => {
    const server = await start(t, (conn) => conn.ok(''), {
      shutdown: { lingerMs: 0, deadlineMs: 8_000 },
    })
    const client = await FrameClient.connect(t, server, { ahead: [get(1)] })
    await client.body(1)
    const silent = await server.connect()
    silent.send(preface)
    await silent.received('\0')
    const broken = await FrameClient.connect(t, server, { ahead: [data(0, 'x')] })
    await broken.next(type.goaway)
    const report = await server.handle.shutDown()
    assert.equal(report.outcome, 'clean')
  })

  test('[stopping 9.4] the source of an event stream is stopped, not cut: a half is never sent', async (t) => {
    const server = await start(t, (conn) => conn.withSseStream(ticks()), lingering)
    async function* ticks(): AsyncGenerator<string> {
      yield 'tick'
      await new Promise(() => {})
    }
    const client = await FrameClient.connect(t, server, {
      ahead: [get(1, '/', ['accept', 'text/event-stream'])],
    })
    await until('it ticks', () => client.text(1).includes('tick'))
    const report = await server.handle.shutDown()
    assert.match(await client.body(1), /data: tick\n\nretry: \d{4}\n\n?$/)
    assert.deepEqual([report.outcome, report.streamsEnded], ['clean', 1])
  })

  test('[stopping 9.5] what is open at the deadline is cut, and named', async (t) => {
    const aborted: unknown[] = []
    const app = (conn: Conn): Promise<Conn> => {
      conn.signal.addEventListener('abort', () => aborted.push(conn.path))
      conn.afterSend((isSent) => aborted.push(isSent))
      return new Promise(() => {})
    }
    const server = await start(t, app, { shutdown: { lingerMs: 0, deadlineMs: 50 } })
    const client = await FrameClient.connect(t, server, {
      ahead: [get(1, '/never?secret'), get(3, '/never')],
    })
    await until('both are handled', () => server.handle.report().requestCount === 2)
    const report = await server.handle.shutDown()
    assert.equal(report.outcome, 'deadline')
    assert.match(String(report.cut), /2 .*GET \/never|GET \/never.*2/s)
    assert.ok(aborted.includes('/never'))
    await client.client.closed()
  })

  test('[stopping 9.6] a session that begins during the stop is told at once, is served, and has its own linger time', async (t) => {
    const gate = new Gate()
    const app = async (conn: Conn): Promise<Conn> => {
      if (conn.path === '/slow') await gate.pass()
      return conn.ok(conn.path)
    }
    const server = await start(t, app, {
      shutdown: { lingerMs: 300, headTimeoutMs: 300, deadlineMs: 8_000 },
    })
    const early = await server.connect() // it has not begun to speak
    const half = await server.connect()
    half.send(preface.subarray(0, 10))
    const slow = await FrameClient.connect(t, server, { ahead: [get(1, '/slow')] })
    await gate.reached()
    const stopped = server.handle.shutDown()
    await slow.next(type.goaway)
    early.send(Buffer.concat([preface, settings(), get(1, '/early')]))
    await early.received('/early')
    await slow.next(type.goaway, 0, 2)
    half.send(Buffer.concat([preface.subarray(10), settings(), get(1, '/half')]))
    await half.received('/half')
    assert.doesNotMatch(half.text, /HTTP\/1/)
    gate.open()
    await slow.body(1)
    await Promise.all([early.ended(), half.ended()])
    const report = await stopped
    assert.equal(report.outcome, 'clean')
    assert.equal(report.answered, 3)
  })

  test('[stopping 9.6] while a drain delay lasts everything is served, and each session has heard', async (t) => {
    const server = await start(t, (conn) => conn.ok('served'), {
      shutdown: { drainDelayMs: 150, lingerMs: 0, deadlineMs: 8_000 },
    })
    const client = await FrameClient.connect(t, server)
    await client.pong()
    const stopped = server.handle.shutDown()
    await client.next(type.goaway)
    const later = await FrameClient.connect(t, server, { ahead: [get(1)] })
    client.send(get(1))
    assert.equal(await later.body(1), 'served')
    assert.equal(await client.body(1), 'served')
    await later.next(type.goaway)
    assert.equal(later.goaways[0]!.last, most)
    assert.equal(later.frames[0]!.type, type.settings)
    assert.equal((await stopped).outcome, 'clean')
    await turns()
  })

  test('a TLS client that has chosen h2 while a stop has closed the door is let go', async (t) => {
    const tls = { cert: first.cert, key: first.key }
    const gate = new Gate()
    const app = async (conn: Conn): Promise<Conn> => (await gate.pass(), conn.ok(''))
    const server = await start(t, app, { tls, ...lingering })
    const where = { host: '127.0.0.1', port: server.port }
    const client = await RawClient.connect(t, where, { ca: first.cert, ALPNProtocols: ['h2'] })
    client.send(Buffer.concat([preface, settings(), get(1)]))
    await gate.reached()
    const stopped = server.handle.shutDown()
    gate.open()
    assert.equal((await stopped).outcome, 'clean')
  })
})
