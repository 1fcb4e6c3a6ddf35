import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Broadcaster } from '@wakerobin/sse'
import type { StreamEnd } from '@wakerobin/sse'

import { turns } from '../fixtures/harness.ts'
import { testShutdown } from './testing.ts'

const never = new Promise<never>(() => {})

test('[stopping 7.9] the times of testShutdown pass only by advance()', async () => {
  const test = testShutdown(() => never, {
    shutdown: { drainDelayMs: 1, deadlineMs: 1, hookTimeoutMs: 1 },
  })
  const rejected = assert.rejects(test.app.get('/'))
  test.onShutdown('closing', () => never)
  void test.shutDown()
  for (const phase of ['draining', 'stopping', 'closing']) {
    await turns()
    assert.equal(test.phase, phase)
    await test.advance(1)
  }
  assert.equal(test.phase, 'done')
  const { ms } = await test.stopped
  assert.deepEqual(ms, { draining: 1, stopping: 1, closing: 1 })
  await rejected
})

test('[stopping 7.9] an advance over all times at once goes through every one of them', async () => {
  const test = testShutdown(() => never, { shutdown: { drainDelayMs: 5_000, deadlineMs: 10_000 } })
  const rejected = assert.rejects(test.app.get('/'))
  test.onShutdown('closing', () => never)
  void test.shutDown()
  await test.advance(60_000)
  const { ms } = await test.stopped
  assert.deepEqual(ms, { draining: 5_000, stopping: 10_000, closing: 2_000 })
  await rejected
})

test('[stopping 3.14] testShutdown refuses the options that a server refuses', () => {
  assert.throws(() => testShutdown('x', { shutdown: { deadline: 5 } as never }), {
    name: 'TypeError',
    message: /^Cannot serve with shutdown\.deadline: there is no such option; there are drainDelay/,
  })
  assert.throws(() => testShutdown('x', { shutdown: { lingerMs: -1 } }), RangeError)
})

test('[stopping 7.10] what the deadline cuts rejects where nothing of the response had come, else it isCut', async () => {
  const test = testShutdown(
    (conn) => {
      if (conn.path === '/never') return never
      return conn.ok(
        (async function* () {
          yield 'half'
          await never
        })(),
      )
    },
    { shutdown: { deadlineMs: 100 } },
  )
  const nothing = assert.rejects(test.app.get('/never'), /The deadline of the stop has passed/)
  const half = test.app.get('/half')
  await turns()
  assert.equal(test.report().requestCount, 2)
  const stopped = test.shutDown()
  await test.advance(100)
  await nothing
  const { isCut, body } = await half
  assert.deepEqual({ isCut, body }, { isCut: true, body: 'half' })
  const { cut, answered } = await stopped
  assert.equal(cut!.requestCount, 2)
  assert.equal(answered, 0)
})

test('a client of testShutdown can leave, as any of testApp', async () => {
  const test = testShutdown(() => never)
  const leaving = new AbortController()
  const left = assert.rejects(test.app.get('/', { signal: leaving.signal }), /bored/)
  await turns()
  leaving.abort(new Error('bored'))
  await left
})

test('a request whose client has left is not waited for, as on a server', async () => {
  const test = testShutdown(() => never)
  const client = new AbortController()
  const rejected = assert.rejects(test.app.get('/', { signal: client.signal }))
  await turns()
  const stopped = test.shutDown()
  await turns()
  assert.equal(test.phase, 'stopping')
  client.abort()
  await rejected
  assert.equal((await stopped).outcome, 'clean')
})

test('a stream that finishes and is cut by the deadline has ended by the shutdown, as on a server', async () => {
  const reasons: string[] = []
  const stream = { finish: true, onEnd: (_: unknown, end: StreamEnd) => reasons.push(end.reason) }
  const test = testShutdown((conn) => conn.withSseStream(new Broadcaster(), stream), {
    shutdown: { deadlineMs: 100 },
  })
  const cut = test.app.get('/')
  await turns()
  const stopped = test.shutDown()
  await test.advance(100)
  await stopped
  assert.ok((await cut).isCut)
  assert.deepEqual(reasons, ['shutdown'])
})

test('advances that are asked for together follow each other, and time does not go back', async () => {
  const test = testShutdown(() => never, { shutdown: { deadlineMs: 100 } })
  const rejected = assert.rejects(test.app.get('/'))
  const stopped = test.shutDown()
  await Promise.all([test.advance(60), test.advance(60)])
  assert.equal((await stopped).outcome, 'deadline')
  await rejected
  assert.throws(() => test.advance(-1), /^RangeError: Cannot advance by -1/)
})

test('what hooks and onStop publish at the stop reaches the streams, as on a server', async () => {
  for (const begin of ['shutDown', 'swansong'] as const) {
    const news = new Broadcaster()
    const test = testShutdown((conn) => conn.withSseStream(news, { stopRetryMs: [7, 7] }))
    test.onShutdown('draining', () => void news.publish('draining'))
    test.onShutdown('stopping', () => void news.publish('stopping'))
    test.app.swansong.onStop(() => void news.publish('onStop'))
    const stream = test.app.get('/')
    await turns()
    if (begin === 'shutDown') void test.shutDown()
    else void test.app.swansong.shutDown()
    const { body } = await stream
    assert.deepEqual(body.match(/(?<=data: )\w+/g)?.toSorted(), ['draining', 'onStop', 'stopping'])
    assert.match(body, /\nretry: 7\n$/)
    assert.equal((await test.stopped).outcome, 'clean')
  }
})
