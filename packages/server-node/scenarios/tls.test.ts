/** The stop of a server that speaks TLS: the scenarios that a deployment meets. See requests.test.ts. */

import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'

import { first } from '../fixtures/certificates.ts'
import { RawClient } from '../fixtures/harness.ts'
import { Crowd, openIdle } from './crowd.ts'
import { HttpConnection } from './http-connection.ts'
import { keepAliveLoad, lineOf } from './load.ts'
import { until } from './patience.ts'
import { rounds } from './rounds.ts'
import { startTarget, success } from './server-process.ts'
import type { ServerProcess } from './server-process.ts'
import { bigBytes, bigPattern, lateLine } from './target-contract.ts'

interface SecureTarget {
  readonly server: ServerProcess
  readonly where: { readonly port: number; readonly isSecure: true }
}

async function startSecure(t: TestContext): Promise<SecureTarget> {
  const server = await startTarget(t, { isSecure: true })
  return { server, where: { port: server.port, isSecure: true } }
}

describe('the stop over TLS', { concurrency: 2 }, () => {
  test('[stopping 10.1] S11 200 event streams, 50 idle connections and 10 slow requests all end whole', async (t) => {
    const { server, where } = await startSecure(t)
    using crowd = await Crowd.open(where, { streams: 200, idle: 50, slow: 10 })
    await server.prints('GET /slow has begun', 10)
    server.kill('SIGTERM')
    await server.refuses()
    server.open('/slow')
    await crowd.over()
    assert.deepEqual(
      crowd.streams.flatMap(({ problems }) => problems),
      [],
    )
    for (const { answers, error, unanswered } of [...crowd.idle, ...crowd.slow])
      assert.deepEqual([error, unanswered, answers.length], [undefined, 0, 1])
    const saidBySlow = crowd.slow.map(({ answers: [answer] }) => answer)
    const expected = { status: 200, body: 'slow', saysClose: true }
    assert.deepEqual(saidBySlow, new Array(10).fill(expected))
    await server.ends(success)
    assert.equal(server.err, '')
  })

  test('[stopping 10.1] S2 idle connections end in order, and the deadline is not waited for', async (t) => {
    const { server, where } = await startSecure(t)
    const idle = await openIdle(where, 10)
    const unused = await HttpConnection.open(where)
    server.kill('SIGTERM')
    await Promise.all([...idle, unused].map(({ closed }) => closed))
    for (const { error } of [...idle, unused]) assert.equal(error, undefined)
    await server.ends(success)
    assert.ok(!server.out.includes(lateLine), server.out)
  })

  test('[stopping 10.2] S2b handshakes that do not go on do not hold the stop', async (t) => {
    const { server, where } = await startSecure(t)
    const sockets = ['', '\x16\x03\x01\x02\x00\x01'].map((bytes) => {
      const socket = connect({ host: '127.0.0.1', port: where.port })
      socket.on('error', () => {})
      return socket.write(bytes, 'latin1') && socket
    })
    await openIdle(where, 1) // by then those have come to the server
    server.kill('SIGTERM')
    await server.ends(success)
    assert.ok(!server.out.includes(lateLine), server.out)
    await until(
      () => 'they are closed',
      () => sockets.every((socket) => socket === false || socket.destroyed || socket.readableEnded),
    )
    for (const socket of sockets) if (socket !== false) socket.destroy()
  })

  test('[stopping 10.1] S22 an answer that was ended before the signal reaches a slow reader whole', async (t) => {
    const { server, where } = await startSecure(t)
    const address = { host: '127.0.0.1', port: where.port }
    const client = await RawClient.connect(t, address, { ca: first.cert })
    client.socket.once('data', () => client.socket.pause())
    client.get('/big')
    await client.received('\r\n\r\n')
    server.kill('SIGTERM')
    await server.refuses()
    assert.ok(client.text.length < bigBytes / 2, 'most of it is still to be sent')
    client.socket.resume()
    const { status, body } = await client.response()
    assert.equal(status, 200)
    assert.ok(body === bigPattern.repeat(bigBytes / bigPattern.length), 'it is whole')
    await client.ended()
    assert.equal(client.error, undefined)
    client.socket.end()
    await server.ends(success)
    assert.equal(server.err, '')
  })

  test('[stopping 10.1] S7 no request of a keep-alive client that sends without a pause is lost', async (t) => {
    for (let round = 1; round <= rounds(); round++) {
      const { server, where } = await startSecure(t)
      const { tally, warm, over } = keepAliveLoad(where, 20)
      await warm
      server.kill('SIGTERM')
      await over
      t.diagnostic(`round ${round}: ${lineOf(tally)}`)
      await server.ends(success)
      assert.equal(server.err, '')
      const { sent, answered, told, lost } = tally
      assert.deepEqual({ answered, lost, told }, { answered: sent, lost: 0, told: 20 })
    }
  })
})
