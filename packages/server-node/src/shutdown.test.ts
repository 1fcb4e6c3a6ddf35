import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Init, Swansong } from '@wakerobin/core'
import type { StopReason } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

import { turns } from '../fixtures/harness.ts'
import { readiness } from './readiness.ts'
import { onShutdown, Shutdown } from './shutdown.ts'
import { testShutdown } from './testing.ts'

const never = new Promise<never>(() => {})

// ------------------------------------------------------------------------------------- phases

test('[stopping 3.1] the phases follow each other: running, draining, stopping, closing, done', async () => {
  const test = testShutdown('hello', { shutdown: { drainDelayMs: 100 } })
  const seen: string[] = [test.phase]
  const watch = (): void => void seen.push(test.phase)
  for (const phase of ['draining', 'stopping', 'closing'] as const) test.onShutdown(phase, watch)
  const stopped = test.shutDown()
  await test.advance(99)
  assert.deepEqual(seen, ['running', 'draining'])
  assert.equal(test.app.swansong.state, 'running')
  await test.advance(1)
  const { ms, outcome, code } = await stopped
  assert.deepEqual([...seen, test.phase], ['running', 'draining', 'stopping', 'closing', 'done'])
  assert.deepEqual(ms, { draining: 100, stopping: 0, closing: 0 })
  assert.deepEqual({ outcome, code }, { outcome: 'clean', code: 0 })
})

test('[stopping 3.2] without a drain delay and hooks for it, that phase is left out', async () => {
  const test = testShutdown('hello')
  const stopped = test.shutDown()
  assert.equal(test.phase, 'stopping')
  await stopped
  assert.equal(test.phase, 'done')
})

test('[stopping 3.4] a hook of draining is waited for though there is no drain delay, and everything is served meanwhile', async () => {
  const test = testShutdown('hello')
  let deregistered = (): void => {}
  test.onShutdown('draining', () => new Promise<void>((resolve) => (deregistered = resolve)))
  const stopped = test.shutDown()
  await turns()
  assert.equal(test.phase, 'draining')
  assert.equal((await test.app.get('/')).body, 'hello')
  deregistered()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 3.5] the drain delay is over when somebody stops the swansong himself, and no hook is left out', async () => {
  const test = testShutdown('hello', { shutdown: { drainDelayMs: 1e9 } })
  const log: string[] = []
  test.onShutdown('draining', () => void log.push('draining'))
  const stopped = test.shutDown()
  await turns()
  void test.app.swansong.shutDown()
  assert.equal((await stopped).outcome, 'clean')
  assert.deepEqual(log, ['draining'])
})

test('[stopping 3.5] a hook of draining that goes on then is waited for no longer than the deadline', async () => {
  const test = testShutdown('hello', { shutdown: { drainDelayMs: 60_000, deadlineMs: 10_000 } })
  test.onShutdown('draining', () => never, { timeoutMs: 120_000 })
  void test.shutDown()
  await test.advance(1_000)
  void test.app.swansong.shutDown()
  await test.advance(10_000)
  assert.equal(test.phase, 'done')
  assert.deepEqual((await test.stopped).ms, { draining: 1_000, stopping: 10_000, closing: 0 })
})

test('[stopping 3.4] the deadline counts from the end of a draining that a hook has prolonged', async () => {
  const test = testShutdown(() => never, { shutdown: { drainDelayMs: 100, deadlineMs: 1_000 } })
  const rejected = assert.rejects(test.app.get('/'))
  test.onShutdown('draining', () => never, { timeoutMs: 700 })
  void test.shutDown()
  await test.advance(699)
  assert.equal(test.phase, 'draining')
  await test.advance(1_001)
  await rejected
  assert.deepEqual((await test.stopped).ms, { draining: 700, stopping: 1_000, closing: 0 })
})

test('[stopping 4.8] a stop that the swansong begins has no drain delay, but its hooks', async () => {
  const test = testShutdown('hello', { shutdown: { drainDelayMs: 1e9 } })
  const log: string[] = []
  test.onShutdown('stopping', () => void log.push('stopping'))
  test.onShutdown('draining', () => void log.push('draining'))
  void test.app.swansong.shutDown({ kind: 'error', error: 'e' })
  assert.equal(test.phase, 'stopping')
  const { reason, code, outcome } = await test.stopped
  assert.deepEqual(log, ['draining', 'stopping'])
  assert.deepEqual(reason, { kind: 'error', error: 'e' })
  assert.deepEqual({ code, outcome }, { code: 1, outcome: 'clean' })
})

test('[stopping 3.9] a stop that is begun again, within guards, callbacks and hooks, is one stop', async () => {
  const test = testShutdown('hello')
  const calls: string[] = []
  const again = (where: string): void => {
    calls.push(where)
    assert.equal(test.shutDown(), test.stopped)
    void test.app.swansong.shutDown()
  }
  test.app.swansong.onStop(() => again('onStop'))
  for (const phase of ['draining', 'stopping', 'closing'] as const)
    test.onShutdown(phase, () => again(phase))
  void test.app.swansong.guarded(async () => {
    await test.app.swansong.stopping
    again('guarded')
  })
  assert.equal((await test.shutDown()).outcome, 'clean')
  assert.deepEqual(calls.toSorted(), ['closing', 'draining', 'guarded', 'onStop', 'stopping'])
})

// -------------------------------------------------------------------------------------- hooks

test('[stopping 4.1] hooks run one after the other, the last registered first', async () => {
  const log: string[] = []
  const app = ['database', 'cache', 'telemetry'].map((name) =>
    Init.new(({ swansong }) => {
      const close = async (): Promise<void> => {
        log.push(`${name} closes`)
        await turns(3)
        log.push(`${name} is closed`)
      }
      onShutdown(swansong, 'closing', close, { name })
    }),
  )
  const test = testShutdown(app)
  await test.app.init()
  const { hooks } = await test.shutDown()
  assert.deepEqual(log, [
    'telemetry closes',
    'telemetry is closed',
    'cache closes',
    'cache is closed',
    'database closes',
    'database is closed',
  ])
  assert.deepEqual(
    hooks.map(({ name, phase }) => [name, phase]),
    [
      ['telemetry', 'closing'],
      ['cache', 'closing'],
      ['database', 'closing'],
    ],
  )
})

test('[stopping 4.2] a hook that fails, or is not done in time, stops no other, and shows in the report', async () => {
  const test = testShutdown('hello', { shutdown: { hookTimeoutMs: 300 } })
  const error = new Error('boom')
  test.onShutdown('closing', function last() {})
  test.onShutdown('closing', () => never, { name: 'slow', timeoutMs: 200 })
  test.onShutdown('closing', () => never)
  test.onShutdown('closing', () => Promise.reject(error), { name: 'rejects' })
  test.onShutdown('closing', () => {
    throw undefined // oxlint-disable-line no-throw-literal -- anything can be thrown
  })
  const stopped = test.shutDown()
  await test.advance(499)
  assert.equal(test.phase, 'closing')
  await test.advance(1)
  const { hooks, outcome, code, ms } = await stopped
  assert.deepEqual(
    hooks.map(({ name, ms: took }) => [name, took]),
    [
      ['hook', 0],
      ['rejects', 0],
      ['hook', 300],
      ['slow', 200],
      ['last', 0],
    ],
  )
  assert.deepEqual(
    hooks.map((hook) => 'error' in hook && String(hook.error)),
    [
      'undefined',
      'Error: boom',
      'Error: Cannot wait any longer for hook: it is not done after 300 ms',
      'Error: Cannot wait any longer for slow: it is not done after 200 ms',
      false,
    ],
  )
  assert.deepEqual([outcome, code, ms.closing], ['hook-failed', 1, 500])
})

test('[stopping 4.3] a hook that rejects after its time is not an unhandled rejection', async () => {
  const test = testShutdown('hello')
  let fail!: (error: Error) => void
  test.onShutdown('closing', () => new Promise((_, reject) => (fail = reject)), { timeoutMs: 1 })
  const stopped = test.shutDown()
  await test.advance(1)
  assert.equal((await stopped).outcome, 'hook-failed')
  fail(new Error('too late'))
  await turns() // node:test fails a file in which a rejection is unhandled
})

test('[stopping 4.4] a hook is called with the reason, and not at all when its registration is disposed', async () => {
  const swansong = new Swansong()
  const reasons: StopReason[] = []
  onShutdown(swansong, 'stopping', (reason) => reasons.push(reason))
  const left = onShutdown(swansong, 'closing', () => assert.fail('called'))
  left[Symbol.dispose]()
  left[Symbol.dispose]()
  await Shutdown.of(swansong).begin({ kind: 'signal', signal: 'SIGTERM' })
  assert.deepEqual(reasons, [{ kind: 'signal', signal: 'SIGTERM' }])
})

test('[stopping 4.9] a hook that comes when its phase is over is called at once, so that nothing is left open', async () => {
  const test = testShutdown('hello')
  const log: string[] = []
  test.onShutdown('closing', () => {
    log.push('closing')
    test.onShutdown('draining', () => void log.push('late draining'))
    test.onShutdown('closing', () => void log.push('registered by a hook'))
  })
  const { hooks } = await test.shutDown()
  assert.deepEqual(log, ['closing', 'late draining', 'registered by a hook'])
  assert.equal(hooks.length, 2)
  const registration = test.onShutdown('closing', ({ kind }) => void log.push(`after all: ${kind}`))
  registration[Symbol.dispose]()
  assert.equal(log.at(-1), 'after all: call')
})

test('[stopping 4.10] what is no hook is refused, with the value and what would be right', () => {
  const swansong = new Swansong()
  const register = onShutdown as (...args: unknown[]) => void
  const refused: [unknown[], RegExp][] = [
    [['done', () => {}], /^TypeError: Cannot register a hook for "done": expected "draining"/],
    [['closing', 'close'], /^TypeError: Cannot call "close" at the stop: expected a function/],
    [['closing', () => {}, { name: 1 }], /^TypeError: Cannot name a hook 1: expected a string/],
    [['closing', () => {}, { timeoutMs: -1 }], /^RangeError: Cannot wait -1 for a hook: timeoutMs/],
    [['closing', () => {}, { timeoutMs: NaN }], /^RangeError: Cannot wait NaN for a hook/],
  ]
  for (const [args, message] of refused) assert.throws(() => register(swansong, ...args), message)
})

// ----------------------------------------------------------------------------------- deadline

test('[stopping 3.6] at the deadline, which counts from the end of the drain delay, what is open is cut, named and reported', async () => {
  let signal!: AbortSignal
  const test = testShutdown(
    (conn) => {
      ;({ signal } = conn)
      return never
    },
    { shutdown: { drainDelayMs: 1000, deadlineMs: 200 } },
  )
  const request = test.app.get('/export?token=secret')
  const rejected = assert.rejects(request, /deadline/)
  const job = test.app.swansong.guard('a job') // held: one that is lost is released
  const stopped = test.shutDown()
  await test.advance(1199)
  assert.deepEqual([test.phase, signal.aborted], ['stopping', false])
  await test.advance(1)
  const { outcome, code, cut, ms } = await stopped
  await rejected
  assert.equal(signal.aborted, true)
  assert.deepEqual([outcome, code, ms.stopping], ['deadline', 1, 200])
  assert.match(
    cut!.toString(),
    /^stopping: 1 request and 1 guard\n1 request:\n  1 × GET \/export \(oldest [\d.]+m?s\)\n1 guard:\n  1 × a job .*shutdown\.test\.ts:\d+:\d+ \(oldest [\d.]+m?s\)$/,
  )
  job.release()
})

test('[stopping 4.6] after the deadline the hooks of closing have their time, together, and each is called', async () => {
  const test = testShutdown(() => never, { shutdown: { deadlineMs: 10, hookTimeoutMs: 100 } })
  const log: string[] = []
  const rejected = assert.rejects(test.app.get('/'))
  for (const name of ['a', 'b', 'c']) {
    test.onShutdown('closing', () => {
      log.push(name)
      return never
    })
  }
  const stopped = test.shutDown()
  await test.advance(109)
  assert.deepEqual(log, ['c'])
  await test.advance(1)
  const { outcome, hooks } = await stopped
  await rejected
  assert.deepEqual(log, ['c', 'b', 'a'])
  assert.equal(outcome, 'deadline')
  assert.ok(hooks.every((hook) => 'error' in hook))
})

test('[stopping 4.7] a hook of stopping is waited for no longer than the deadline', async () => {
  const test = testShutdown('hello', { shutdown: { deadlineMs: 50 } })
  test.onShutdown('stopping', () => never)
  const stopped = test.shutDown()
  await test.advance(50)
  const { outcome, ms } = await stopped
  assert.deepEqual([outcome, ms.stopping], ['hook-failed', 50])
})

test('[stopping 4.5] closing waits for requests and guards', async () => {
  let answer = (): void => {}
  const test = testShutdown(async (conn) => {
    await new Promise<void>((resolve) => (answer = resolve))
    return conn.ok('slow')
  })
  const log: string[] = []
  test.onShutdown('closing', () => void log.push('closing'))
  const request = test.app.get('/slow')
  await turns()
  const guard = test.app.swansong.guard()
  const stopped = test.shutDown()
  await turns()
  answer()
  assert.equal((await request).body, 'slow')
  await turns()
  assert.deepEqual(log, [])
  guard.release()
  const { answered } = await stopped
  assert.deepEqual(log, ['closing'])
  assert.equal(answered, 1)
})

test('[stopping 2.3] event streams end when the stopping begins, not while the server drains', async () => {
  const broadcaster = new Broadcaster({ replay: false })
  const test = testShutdown((conn) => conn.withSseStream(broadcaster), {
    shutdown: { drainDelayMs: 100 },
  })
  const stream = test.app.get('/')
  await turns()
  const stopped = test.shutDown()
  await test.advance(50)
  broadcaster.publish('still here')
  await test.advance(50)
  const { body, isCut } = await stream
  assert.match(body, /^:\ndata: still here\n\nretry: \d{4}\n$/)
  assert.equal(isCut, false)
  const { streamsEnded, answered } = await stopped
  assert.deepEqual({ streamsEnded, answered }, { streamsEnded: 1, answered: 1 })
})

test('[stopping 2.5] with finish, a stream is waited for, and cut at the deadline', async () => {
  let finish = (): void => {}
  const test = testShutdown(
    (conn) =>
      conn.withSseStream(
        async function* () {
          yield 'one'
          await new Promise<void>((resolve) => (finish = resolve))
          yield 'two'
        },
        { finish: true },
      ),
    { shutdown: { deadlineMs: 100 } },
  )
  const [whole, cut] = [test.app.get('/'), test.app.get('/')]
  await turns()
  const stopped = test.shutDown()
  await test.advance(99)
  finish() // that of the second
  assert.equal((await cut).body, ':\ndata: one\n\ndata: two\n\n')
  await test.advance(1)
  assert.equal((await whole).isCut, true)
  const report = await stopped
  assert.equal(report.outcome, 'deadline')
  assert.match(String(report.cut), /^stopping: 1 event stream\n1 event stream:\n  1 × GET \/ /)
})

// ---------------------------------------------------------------------------------- readiness

test('[stopping 7.5] readiness is 200 until the stop begins, then 503 with Connection: close; other requests pass', async () => {
  const test = testShutdown([readiness(), 'hello'], { shutdown: { drainDelayMs: 100 } })
  const before = await test.app.get('/ready')
  assert.deepEqual([before.status, before.body], [200, 'ready'])
  assert.equal(before.headers.get('cache-control'), 'no-store')
  assert.equal(before.headers.get('connection'), undefined)
  const stopped = test.shutDown()
  for (const response of [await test.app.get('/ready'), await test.app.head('/ready?x')]) {
    assert.equal(response.status, 503)
    assert.equal(response.headers.get('connection'), 'close')
    assert.equal(response.headers.get('cache-control'), 'no-store')
  }
  assert.equal((await test.app.get('/')).body, 'hello')
  assert.equal((await test.app.post('/ready')).body, 'hello')
  await test.advance(100)
  await stopped
  assert.equal((await test.app.get('/ready')).status, 503)
})

test('[stopping 7.6] readiness answers where it is told to, and refuses what is no path', async () => {
  const test = testShutdown(readiness('/health/ready'))
  assert.equal((await test.app.get('/health/ready')).status, 200)
  assert.equal((await test.app.get('/ready')).status, 404)
  for (const bad of ['ready', '', 5 as never])
    assert.throws(() => readiness(bad), /^TypeError: Cannot answer at .*: expected a path/)
})

// ------------------------------------------------------------------------------------- report

test('[stopping 6.4] the report groups requests by method and path, oldest first, and shows no more than twenty', async () => {
  const test = testShutdown(() => never)
  for (let at = 0; at < 25; at++) test.app.get(`/${at % 23}`).catch(() => {})
  test.app.post('/0').catch(() => {})
  await turns()
  const report = test.report()
  assert.equal(report.requestCount, 26)
  assert.deepEqual(
    report.requests.slice(0, 3).map(({ method, path, count }) => `${count} ${method} ${path}`),
    ['2 GET /0', '2 GET /1', '1 GET /2'],
  )
  const lines = report.toString().split('\n')
  assert.deepEqual(lines.slice(0, 2), ['running: 26 requests', '26 requests:'])
  assert.equal(lines.length, 23)
  assert.equal(lines.at(-1), '  and 4 more like these')
})

test('[stopping 6.7] a report of nothing says so', () => {
  const report = testShutdown('hello').report()
  assert.equal(report.toString(), 'running: nothing is open')
  assert.equal(report.isEmpty, true)
})
