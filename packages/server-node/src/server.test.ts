import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Init, Swansong } from '@wakerobin/core'

import { Gate, ownTime, start, turns, until } from '../fixtures/harness.ts'
import { readiness } from './readiness.ts'
import { serve } from './serve.ts'
import { onShutdown } from './shutdown.ts'

const local = { host: '127.0.0.1', port: 0 } as const
const patient = { lingerMs: 0, deadlineMs: 20_000 }
const never = new Promise<never>(() => {})

// -------------------------------------------------------------------------------------- phases

test('[stopping 3.3] for the drain delay new connections are served, with Connection: close, and then refused', async (t) => {
  const pass = ownTime(t)
  const server = await start(t, [readiness(), 'hello'], {
    shutdown: { ...patient, drainDelayMs: 5_000 },
  })
  const { handle } = server
  const closing = new Gate()
  handle.onShutdown('closing', () => closing.pass())
  const old = await server.connect()
  assert.equal((await old.get('/').response()).field('connection'), 'keep-alive')
  assert.equal(handle.phase, 'running')

  const stopped = handle.shutDown()
  assert.equal(handle.phase, 'draining')
  const [fresh, check] = await Promise.all([server.connect(), server.connect()])
  for (const client of [old, fresh]) {
    const { status, body, field } = await client.get('/').response()
    assert.deepEqual([status, body, field('connection')], [200, 'hello', 'close'])
    await client.ended()
  }
  assert.equal((await check.get('/ready').response()).status, 503)
  await pass(4_999)
  assert.equal(handle.phase, 'draining')
  const late = await server.connect()
  assert.equal((await late.get('/').response()).body, 'hello')
  for (const client of [old, fresh, check, late]) client.socket.end()

  const guard = handle.swansong.guard('a job')
  await pass(1)
  assert.equal(handle.phase, 'stopping')
  await assert.rejects(server.connect(), { code: 'ECONNREFUSED' })
  await pass(0) // the linger time
  guard.release()
  await closing.reached()
  assert.equal(handle.phase, 'closing')
  closing.open()
  const { outcome, answered } = await stopped
  assert.equal(handle.phase, 'done')
  assert.deepEqual([outcome, answered], ['clean', 4])
})

test('[stopping 3.8] without connections no time is waited out', async (t) => {
  const server = await start(t, 'hello', {
    shutdown: { lingerMs: 1e9, headTimeoutMs: 1e9, deadlineMs: 1e9 },
  })
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
})

test('[stopping 3.10] swansong.shutDown() is a stop like any other: a request in progress is answered', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn) => {
      await gate.pass()
      return conn.ok('hello')
    },
    { shutdown: patient },
  )
  const client = await server.connect()
  client.get('/')
  await gate.reached()
  void server.handle.swansong.shutDown({ kind: 'error', error: 'why not' })
  assert.equal(server.handle.phase, 'stopping')
  await turns()
  gate.open()
  assert.equal((await client.response()).body, 'hello')
  await client.ended()
  client.socket.end()
  const { reason, outcome, code } = await server.handle.stopped
  assert.deepEqual(reason, { kind: 'error', error: 'why not' })
  assert.deepEqual([outcome, code], ['clean', 1])
})

test('[stopping 4.11] hooks of the handle and of the swansong are those of one stop', async (t) => {
  const log: string[] = []
  const server = await start(
    t,
    [
      Init.new(({ swansong }) => {
        onShutdown(swansong, 'closing', () => void log.push('init'), { name: 'init' })
      }),
      (conn) => {
        onShutdown(conn.swansong, 'closing', () => void log.push('request'), { name: 'request' })
        return conn.ok('registered')
      },
    ],
    { shutdown: patient },
  )
  const client = await server.connect()
  await client.get('/').response()
  client.socket.destroy()
  const { handle } = server
  handle.onShutdown('closing', () => void log.push('handle'), { name: 'handle' })
  handle.onShutdown('closing', () => assert.fail('called'))[Symbol.dispose]()
  const { hooks } = await handle.shutDown()
  assert.deepEqual(log, ['handle', 'request', 'init'])
  assert.deepEqual(
    hooks.map(({ name }) => name),
    log,
  )
})

// ------------------------------------------------------------------------------ several servers

test('[stopping 7.1] closing begins when every server on the swansong is done', async (t) => {
  const gate = new Gate()
  const swansong = new Swansong()
  const one = await start(t, 'one', { swansong, shutdown: patient })
  const two = await start(
    t,
    async (conn) => {
      await gate.pass()
      return conn.ok('two')
    },
    { swansong, shutdown: patient },
  )
  let hasClosed = false
  one.handle.onShutdown('closing', () => void (hasClosed = true))
  const client = await two.connect()
  client.get('/')
  await gate.reached()
  const stopped = one.handle.shutDown()
  assert.equal(two.handle.stopped, stopped)
  assert.deepEqual([one.handle.phase, two.handle.phase], ['stopping', 'stopping'])
  await turns()
  assert.equal(hasClosed, false)
  gate.open()
  assert.equal((await client.response()).body, 'two')
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).answered, 1)
  assert.equal(hasClosed, true)
})

test('[stopping 7.2] of the times of several servers the longest count, for all of them', async (t) => {
  const pass = ownTime(t)
  const swansong = new Swansong()
  const one = await start(t, () => never, {
    swansong,
    shutdown: { lingerMs: 0, drainDelayMs: 1_000, deadlineMs: 10, hookTimeoutMs: 100 },
  })
  const two = await start(t, 'two', {
    swansong,
    shutdown: { lingerMs: 0, drainDelayMs: 10, deadlineMs: 5_000, hookTimeoutMs: 300 },
  })
  two.handle.onShutdown('closing', () => never, { name: 'slow' })
  const client = await one.connect()
  client.get('/never')
  await until('the handler runs', () => one.handle.report().requestCount === 1)
  const stopped = two.handle.shutDown()
  await turns()
  const expectPhase = (phase: string): void => {
    assert.deepEqual([one.handle.phase, two.handle.phase], [phase, phase])
  }
  await pass(999)
  expectPhase('draining')
  await pass(1)
  expectPhase('stopping')
  await pass(4_999)
  expectPhase('stopping')
  await pass(1)
  expectPhase('closing')
  await pass(299)
  expectPhase('closing')
  await pass(1)
  expectPhase('done')
  const { outcome, cut, hooks } = await stopped
  assert.equal(outcome, 'deadline')
  assert.match(String(cut), /1 × GET \/never /)
  assert.match(String(hooks[0]!.error), /slow: it is not done after 300 ms$/)
  await client.closed()
})

test('[stopping 7.4] a server that cannot listen stops the others, without a drain delay', async (t) => {
  const swansong = new Swansong()
  const shutdown = { ...patient, drainDelayMs: 1e9 }
  const one = await start(t, 'one', { swansong, shutdown })
  const refused = serve('two', { ...local, port: one.port, swansong, shutdown })
  await assert.rejects(refused, { name: 'StartError', message: /it is in use/ })
  const { reason, ms, code } = await one.handle.stopped
  assert.deepEqual([reason.kind, code], ['init', 1])
  assert.match(String(reason.error), /it is in use/)
  assert.ok(ms.draining < 1e9)
  await assert.rejects(one.connect(), { code: 'ECONNREFUSED' })
  await assert.rejects(serve('three', { ...local, swansong }), /was stopped before it had started/)
})

test('[stopping 7.4] so does one of which an init fails', async (t) => {
  const swansong = new Swansong()
  const one = await start(t, 'one', { swansong, shutdown: patient })
  const failing = Init.new(() => Promise.reject(new Error('no database')))
  await assert.rejects(serve([failing], { ...local, swansong }), /no database$/)
  assert.equal((await one.handle.stopped).reason.kind, 'init')
  assert.equal(swansong.state, 'complete')
})

test('[stopping 7.7] readiness() on one server answers for all of them', async (t) => {
  const pass = ownTime(t)
  const swansong = new Swansong()
  const shutdown = { ...patient, drainDelayMs: 1_000 }
  const app = await start(t, 'hello', { swansong, shutdown })
  const admin = await start(t, [readiness(), 'alive'], { swansong, shutdown: patient })
  const client = await admin.connect()
  assert.equal((await client.get('/ready').response()).status, 200)
  const stopped = app.handle.shutDown()
  const { status, field } = await client.get('/ready').response()
  assert.deepEqual([status, field('connection')], [503, 'close'])
  const live = await admin.connect()
  const { status: liveStatus, body } = await live.get('/live').response()
  assert.deepEqual([liveStatus, body], [200, 'alive'])
  for (const each of [client, live]) {
    await each.ended()
    each.socket.end()
  }
  await pass(1_000)
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 7.8] node does not warn of many listeners on swansong.signal', async (t) => {
  const warnings: string[] = []
  const onWarning = ({ name, message }: Error): void => void warnings.push(`${name}: ${message}`)
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  const swansong = new Swansong()
  const server = await start(t, 'hello', { swansong, shutdown: patient })
  let told = 0
  for (let at = 0; at < 100; at++) swansong.signal.addEventListener('abort', () => told++)
  await turns()
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
  assert.equal(told, 100)
  assert.deepEqual(
    warnings.filter((warning) => warning.includes('MaxListeners')),
    [],
  )
})
