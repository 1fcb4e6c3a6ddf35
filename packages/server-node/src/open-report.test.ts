import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Swansong } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

import { Gate, start, turns, until } from '../fixtures/harness.ts'
import type { RawClient } from '../fixtures/harness.ts'

const patient = { lingerMs: 0, deadlineMs: 20_000 }

test('[stopping 6.3] handle.report() counts requests, event streams, idle connections and guards', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn) => {
      if (conn.path === '/hello') return conn.ok('hello')
      if (conn.path === '/events') return conn.withSseStream(new Broadcaster())
      await gate.pass()
      return conn.ok('slow')
    },
    { shutdown: patient },
  )
  const { handle } = server
  assert.equal(handle.report().isEmpty, true)
  const clients: RawClient[] = []
  for (let at = 0; at < 6; at++) clients.push(await server.connect())
  const [idle, one, two, other, events, silent] = clients as [RawClient, ...RawClient[]]
  await idle.get('/hello').response()
  one!.get('/slow?token=secret')
  await gate.reached(1)
  other!.request('POST', '/slow', 'Content-Length: 0')
  await gate.reached(2)
  two!.get('/slow?token=other')
  await gate.reached(3)
  await events!.get('/events?token=secret').received(':\n')
  assert.equal(silent!.text, '')
  const guards = [handle.swansong.guard('a job'), handle.swansong.guard()]

  const report = handle.report()
  const { phase, connections, idleConnections, requestCount, streamCount, guardCount } = report
  assert.deepEqual(
    { phase, connections, idleConnections, requestCount, streamCount, guardCount },
    {
      phase: 'running',
      connections: 6,
      idleConnections: 2,
      requestCount: 3,
      streamCount: 1,
      guardCount: 2,
    },
  )
  assert.equal(
    String(report)
      .replaceAll(/oldest [\d.]+m?s/g, 'oldest now')
      .replaceAll(/\S+open-report\.test\.ts:\d+:\d+/g, 'here'),
    [
      'running: 3 requests, 1 event stream, 2 idle connections and 2 guards',
      '3 requests:',
      '  2 × GET /slow (oldest now)',
      '  1 × POST /slow (oldest now)',
      '1 event stream:',
      '  1 × GET /events (oldest now)',
      '2 guards:',
      '  1 × a job here (oldest now)',
      '  1 × here (oldest now)',
    ].join('\n'),
  )
  assert.equal(report.isEmpty, false)

  const stopped = handle.shutDown()
  await turns()
  assert.match(String(handle.report()), /^stopping: /)
  for (const guard of guards) guard.release()
  gate.open()
  for (const client of clients) {
    await client.ended()
    client.socket.end()
  }
  const { answered, refused, streamsEnded, outcome } = await stopped
  assert.deepEqual(
    { answered, refused, streamsEnded, outcome },
    { answered: 4, refused: 0, streamsEnded: 1, outcome: 'clean' },
  )
  assert.equal(String(handle.report()), 'done: nothing is open')
})

test('[stopping 6.5] a query is in no report', async (t) => {
  const server = await start(t, () => new Promise<never>(() => {}))
  const client = await server.connect()
  client.get('/export?token=secret').get('/export?a?b=secret').get('*?secret')
  await until('they are in progress', () => server.handle.report().requestCount === 3)
  const now = server.handle.report()
  const { cut } = await server.handle.shutDown()
  for (const report of [now, cut!]) {
    assert.deepEqual(
      report.requests.map(({ path, count }) => `${count} ${path}`),
      ['2 /export', '1 *'],
    )
    assert.doesNotMatch(String(report), /secret/)
  }
  await client.closed()
})

test('[stopping 6.6] a request in progress holds no guard', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn) => {
      await gate.pass()
      return conn.ok('hello')
    },
    { shutdown: patient },
  )
  const { handle } = server
  const before = handle.swansong.guardCount
  const client = await server.connect()
  client.get('/').get('/').get('/')
  await gate.reached(3)
  assert.equal(handle.swansong.guardCount, before)
  assert.equal(handle.report().requestCount, 3)
  assert.deepEqual(handle.report().guards, [], 'nor is that of the server an affair of the app')
  gate.open()
  for (let at = 0; at < 3; at++) await client.response()
  assert.equal(handle.report().requestCount, 0)
})

test('[stopping 6.1] the report of a stop has its reason, outcome, times and hooks', async (t) => {
  const server = await start(t, 'hello', { shutdown: patient })
  server.handle.onShutdown('stopping', () => {}, { name: 'leave' })
  const { ms, hooks, ...rest } = await server.handle.shutDown()
  assert.deepEqual(rest, {
    reason: { kind: 'call' },
    outcome: 'clean',
    code: 0,
    answered: 0,
    refused: 0,
    streamsEnded: 0,
    streamsCut: 0,
    cut: undefined,
  })
  assert.deepEqual(Object.keys(ms), ['draining', 'stopping', 'closing'])
  assert.ok(Object.values(ms).every((each) => each >= 0))
  assert.deepEqual(
    hooks.map(({ phase, name }) => `${phase} ${name}`),
    ['stopping leave'],
  )
})

test('[stopping 6.2] what was answered before the stop is not counted', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn) => {
      if (conn.path === '/slow') await gate.pass()
      if (conn.path === '/finite') return conn.withSseStream(['one'])
      return conn.ok('hello')
    },
    { shutdown: { lingerMs: 20_000, deadlineMs: 20_000 } },
  )
  const client = await server.connect()
  await client.get('/').response()
  await client.get('/finite').response()
  const [slow, gone] = await Promise.all([server.connect(), server.connect()])
  slow.get('/slow')
  gone.get('/slow')
  await gate.reached(2)
  const stopped = server.handle.shutDown()
  await turns()
  gone.socket.resetAndDestroy()
  await until('it is gone', () => server.handle.report().connections === 2)
  gate.open()
  await slow.response()
  await client.get('/').response()
  for (const each of [slow, client]) {
    await each.ended()
    each.socket.end()
  }
  const { answered, streamsEnded } = await stopped
  assert.deepEqual({ answered, streamsEnded }, { answered: 2, streamsEnded: 0 })
})

test('[stopping 7.3] one report covers all servers of a swansong', async (t) => {
  const swansong = new Swansong()
  const app = (): Promise<never> => new Promise(() => {})
  const one = await start(t, app, { swansong })
  const two = await start(t, app, { swansong })
  const clients = [await one.connect(), await two.connect()]
  clients[0]!.get('/one')
  clients[1]!.get('/two')
  await until('both are in progress', () => one.handle.report().requestCount === 2)
  const paths = two.handle.report().requests.map(({ path }) => path)
  assert.deepEqual(paths.toSorted(), ['/one', '/two'])
  const { cut } = await two.handle.shutDown()
  assert.equal(cut!.requestCount, 2)
  assert.equal(cut!.connections, 2)
  assert.equal(await one.handle.stopped, await two.handle.stopped)
  for (const client of clients) await client.closed()
})
