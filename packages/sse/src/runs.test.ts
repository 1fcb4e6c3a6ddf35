import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { handlers, Swansong, type Conn, type Handler } from '@wakerobin/core'
import { testApp, type TestApp } from '@wakerobin/core/testing'

import { Feeder, SharedLogs } from '../fixtures/shared-logs.ts'
import { collect, connect, FakeClient, turn } from '../fixtures/fake-client.ts'
import { memoryLog, RunExistsError, Runs, SseEvent } from './index.ts'
import type { Eventable, EventLog, RunsOptions, RunWork, SseOptions } from './index.ts'
import { advance, testStream, type TestStream } from './testing.ts'

interface Process {
  readonly runs: Runs
  readonly app: TestApp
  readonly errors: unknown[]
}

/** An app as one process has it: GET, POST and DELETE of a run. */
function process(
  t: TestContext,
  options: RunsOptions = {},
  work: RunWork = () => [],
  sse: SseOptions = {},
): Process {
  const errors: unknown[] = []
  const runs = new Runs({ onError: (error) => errors.push(error), ...options })
  t.after(() => void runs.close()) // one that is dead takes for ever
  const app: Handler = async (conn: Conn) => {
    const id = conn.path.slice(1)
    if (conn.method === 'GET') return runs.attach(conn, id, sse)
    if (conn.method === 'DELETE') return conn.json({ stopped: await runs.stop(id) })
    return conn.withSseStream(await runs.start(id, work, { swansong: conn.swansong }), sse)
  }
  return { runs, app: testApp(app), errors }
}

/** Several of them, with logs that they share. */
function processes(t: TestContext, count: number, work?: RunWork, options: RunsOptions = {}) {
  const logs = new SharedLogs()
  const all = Array.from({ length: count }, () =>
    process(t, { open: (id) => logs.open(id), ...options }, work),
  )
  return { logs, all }
}

function heard({ events }: TestStream): string[] {
  return events.map(({ type, data }) => (type === 'message' ? data : `${type} ${data}`))
}

const done = 'end {"reason":"done"}'

async function start(app: TestApp, id = '7'): Promise<TestStream> {
  return testStream(app, `/${id}`, { method: 'POST' })
}

// ------------------------------------------------------------------------- work and connections

test('work goes on when its client has left, who comes back and gets what it has missed, then the rest', async (t) => {
  const feeder = new Feeder()
  const { app } = process(t, {}, feeder.work)
  const first = await start(app)
  feeder.say('one')
  assert.equal((await first.next()).data, 'one')
  first.leave()
  feeder.say('two')
  await turn()
  assert.equal(feeder.signal.aborted, false)

  const second = await testStream(app, '/7', { lastEventId: first.lastEventId })
  assert.equal((await second.next()).data, 'two')
  feeder.say('three')
  assert.equal((await second.next()).data, 'three')
  feeder.end()
  assert.equal((await second.ended).reason, 'done')
  assert.deepEqual(heard(second), ['two', 'three', done])
})

test('who comes without an id gets a run from its beginning, also when it is over', async (t) => {
  const feeder = new Feeder()
  const { app, runs } = process(t, {}, feeder.work)
  await start(app)
  feeder.say('one')
  feeder.say('two')
  const during = await testStream(app, '/7')
  await during.next()
  await during.next()
  feeder.end()
  await during.ended
  const after = await testStream(app, '/7')
  await after.ended
  for (const stream of [during, after]) assert.deepEqual(heard(stream), ['one', 'two', done])
  assert.equal((await runs.get('7'))?.endReason, 'done')
})

test('who has got all of a run that is over gets a 204, and who has not the rest', async (t) => {
  const { app } = process(t, {}, () => ['one', 'two'])
  const stream = await start(app)
  await stream.ended
  const ids = stream.events.map(({ id }) => id)
  assert.deepEqual(heard(stream), ['one', 'two', done])
  const again = await testStream(app, '/7', { lastEventId: ids[0]! })
  await again.ended
  assert.deepEqual(heard(again), ['two', done])
  const last = await testStream(app, '/7', { lastEventId: ids[1]! })
  await last.ended
  assert.deepEqual(heard(last), [done])
  const { status } = await app.get('/7', { headers: { 'last-event-id': ids[2]! } })
  assert.equal(status, 204)
})

test('who has got all so far of a run that goes on gets what is new', async (t) => {
  const feeder = new Feeder()
  const { app } = process(t, {}, feeder.work)
  const first = await start(app)
  feeder.say('one')
  await first.next()
  first.leave()
  const second = await testStream(app, '/7', { lastEventId: first.lastEventId })
  feeder.say('two')
  assert.equal((await second.next()).data, 'two')
})

test('a run that nobody has started is a 404', async (t) => {
  const { app, runs } = process(t)
  const response = await app.get('/8', { headers: { accept: 'text/event-stream' } })
  assert.equal(response.status, 404)
  assert.equal(await runs.get('8'), undefined)
  assert.equal(await runs.stop('8'), false)
  assert.equal(runs.size, 0)
})

test('a run can be read by a loop, from the beginning or from an event, until its signal aborts', async (t) => {
  const feeder = new Feeder()
  const { runs } = process(t)
  const run = await runs.start('7', feeder.work)
  assert.equal(run.id, '7')
  assert.equal(run.endReason, undefined)
  feeder.say('one')
  feeder.say('two')
  const events: SseEvent[] = []
  for await (const event of run) {
    if (event.data === undefined) continue
    events.push(event)
    if (events.length === 2) feeder.end()
  }
  assert.deepEqual(events.map(({ data }) => data), ['one', 'two', '{"reason":"done"}']) // prettier-ignore
  assert.equal(run.endReason, 'done')
  const rest = []
  for await (const { data } of run.subscribe({ lastEventId: events[0]!.id })) rest.push(data)
  assert.deepEqual(rest, ['two', '{"reason":"done"}'])
  assert.deepEqual(await collect(run.subscribe({ signal: AbortSignal.abort() })), [])
})

test('a page names the id that it was made with', async (t) => {
  const { runs } = process(t)
  const run = await runs.start('7', () => ['one', 'two'])
  const ids = []
  for await (const { id, data } of run) if (data !== undefined) ids.push(id)
  const app = testApp((conn: Conn) =>
    runs.attach(conn, '7', { lastEventId: conn.query.get('from') ?? '' }),
  )
  const stream = await testStream(app, `/?from=${ids[0]}`)
  await stream.ended
  assert.deepEqual(heard(stream), ['two', done])
  const all = await testStream(app, '/', { lastEventId: ids[0]! })
  await all.ended
  assert.deepEqual(heard(all), ['one', 'two', done])
  assert.equal((await app.get(`/?from=${ids[2]}`)).status, 204)
})

test('work may be anything that can be iterated, and a promise of it', async (t) => {
  const { runs } = process(t)
  const works: RunWork[] = [
    () => ['a', SseEvent.new('b').withType('t'), { comment: 'c', retry: 5 }],
    async () => new Set(['a']),
    async function* () {
      yield 'a'
    },
    async () => new ReadableStream<Eventable>({ start: (it) => (it.enqueue('a'), it.close()) }),
  ]
  for (const [index, work] of works.entries()) {
    const events = []
    for await (const event of await runs.start(`${index}`, work)) events.push(event)
    assert.equal(events[0]?.data, 'a')
    assert.equal(events.at(-1)?.data, '{"reason":"done"}')
    if (index === 0) {
      assert.equal(events[1]?.type, 't')
      assert.deepEqual([events[2]?.comment, events[2]?.retry], ['c', 5])
    }
  }
})

// --------------------------------------------------------------------------------- the processes

test('another process that can open the log replays a run, goes on live, and knows its end', async (t) => {
  const feeder = new Feeder()
  const { all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  const first = await start(here.app)
  feeder.say('one')
  await first.next()
  const second = await testStream(there.app, '/7')
  assert.equal((await second.next()).data, 'one')
  first.leave()
  const third = await testStream(there.app, '/7', { lastEventId: first.lastEventId })
  feeder.say('two')
  assert.equal((await third.next()).data, 'two')
  assert.equal((await second.next()).data, 'two')
  assert.equal((await there.runs.get('7'))?.endReason, undefined)
  feeder.end()
  assert.equal((await second.ended).reason, 'done')
  assert.equal((await third.ended).reason, 'done')
  assert.deepEqual(heard(second), ['one', 'two', done])
  assert.deepEqual(heard(third), ['two', done])
  assert.equal((await there.runs.get('7'))?.endReason, 'done')
  const headers = { 'last-event-id': third.lastEventId }
  assert.equal((await there.app.get('/7', { headers })).status, 204)
})

test('a process that comes when a run is over replays it, however long it is', async (t) => {
  const words = Array.from({ length: 3_000 }, (_, index) => String(index))
  const { all } = processes(t, 2, () => words)
  const [here, there] = all as [Process, Process]
  await collect(await here.runs.start('7', () => words))
  const stream = await testStream(there.app, '/7')
  await stream.ended
  assert.deepEqual(heard(stream), [...words, done])
  assert.equal((await there.runs.get('7'))?.endReason, 'done')
  const rest = await testStream(there.app, '/7', { lastEventId: stream.events[2_990]!.id })
  await rest.ended
  assert.deepEqual(heard(rest), [...words.slice(2_991), done])
})

test('what is added after the end is not read, and neither is a second end', async (t) => {
  const { logs, all } = processes(t, 2)
  const [here, there] = all as [Process, Process]
  await collect(await here.runs.start('7', () => ['one']))
  const log = logs.open('7')
  await log.append({ text: 'data: late\n\n' })
  await log.append({ text: 'data: end\n\n', key: 'run end stopped' })
  await log.append({ text: 'data: later\n\n' })
  for (const { app } of [here, there]) {
    const stream = await testStream(app, '/7')
    await stream.ended
    assert.deepEqual(heard(stream), ['one', done])
    const headers = { 'last-event-id': stream.lastEventId }
    assert.equal((await app.get('/7', { headers })).status, 204)
    const strange = await testStream(app, '/7', { lastEventId: 'strange' })
    await strange.ended
    assert.deepEqual(heard(strange), ['gap {"missed":null}'])
  }
  assert.equal((await there.runs.get('7'))?.endReason, 'done')
})

test('a log that has lost the beginning of a run tells of a gap, and goes on with what is kept', async (t) => {
  const log = memoryLog({ maxEvents: 3 })
  const shared = new SharedLogs(() => log)
  const open = (id: string): EventLog => shared.open(id)
  const here = process(t, { open })
  await collect(await here.runs.start('7', () => ['one', 'two', 'three', 'four']))
  const there = process(t, { open })
  const stream = await testStream(there.app, '/7')
  await stream.ended
  assert.deepEqual(heard(stream), ['gap {"missed":null}', 'three', 'four', done])
  assert.equal((await there.runs.get('7'))?.endReason, 'done')
  const rest = await testStream(there.app, '/7', { lastEventId: stream.events[1]!.id })
  await rest.ended
  assert.deepEqual(heard(rest), ['four', done])
})

// ---------------------------------------------------------------------------------------- starts

test('a second start of an id is refused, here and elsewhere, while it goes on and when it is over', async (t) => {
  const feeder = new Feeder()
  const { all } = processes(t, 2)
  const [here, there] = all as [Process, Process]
  const run = await here.runs.start('7', feeder.work)
  const refused = {
    name: 'RunExistsError',
    id: '7',
    message: 'Cannot start the run "7": there is one of this id; attach to it',
  }
  for (const { runs } of all)
    await assert.rejects(
      runs.start('7', () => []),
      refused,
    )
  feeder.end()
  await collect(run)
  for (const { runs } of all)
    await assert.rejects(
      runs.start('7', () => []),
      refused,
    )
  await there.runs.get('7')
  await assert.rejects(
    there.runs.start('7', () => []),
    RunExistsError,
  )
})

test('of many that start an id at once, in several processes, exactly one does', async (t) => {
  const { all } = processes(t, 5)
  let count = 0
  const work: RunWork = () => [String(++count)]
  const starts = await Promise.allSettled(
    all.flatMap(({ runs }) => [runs.start('7', work), runs.start('7', work)]),
  )
  const failed = starts.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[]
  assert.equal(failed.length, 9)
  for (const { reason } of failed) assert.ok(reason instanceof RunExistsError)
  for (const { app } of all) {
    const stream = await testStream(app, '/7')
    await stream.ended
    assert.deepEqual(heard(stream), ['1', done])
  }
  assert.equal(count, 1)
})

test('a start whose log fails is rejected with what it says', async (t) => {
  const logs = new SharedLogs()
  const { runs } = process(t, { open: (id) => logs.open(id) })
  let isCalled = false
  logs.fail('append')
  await assert.rejects(
    runs.start('7', () => ((isCalled = true), [])),
    /append has failed/,
  )
  assert.equal(isCalled, false)
  assert.equal(runs.size, 0)
  logs.heal()
  await collect(await runs.start('7', () => ((isCalled = true), [])))
  assert.equal(isCalled, true)
})

// ------------------------------------------------------------------------------------------ ends

test('stop ends the work, here and from another process, and the end says so', async (t) => {
  for (const index of [0, 1]) {
    const feeder = new Feeder()
    const { all } = processes(t, 2, feeder.work)
    const stream = await start(all[0]!.app)
    feeder.say('one')
    await stream.next()
    const { body } = await all[index]!.app.delete('/7')
    assert.equal(body, '{"stopped":true}')
    assert.equal((await stream.ended).reason, 'done')
    assert.deepEqual(heard(stream), ['one', 'end {"reason":"stopped"}'])
    assert.equal(feeder.signal.aborted, true)
    assert.equal(feeder.isClosed, true)
    feeder.say('late')
    await turn()
    for (const { app, runs } of all) {
      assert.equal((await app.delete('/7')).body, '{"stopped":false}')
      assert.equal((await runs.get('7'))?.endReason, 'stopped')
      const again = await testStream(app, '/7')
      await again.ended
      assert.deepEqual(heard(again), ['one', 'end {"reason":"stopped"}'])
    }
  }
})

test('work that answers to its signal by an error, or never, is stopped all the same', async (t) => {
  const { app, errors } = process(t, {}, async function* (signal) {
    yield 'one'
    await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  for (const id of ['7', '8']) {
    const stream = await start(app, id)
    await stream.next()
    await app.delete(`/${id}`)
    await stream.ended
    assert.deepEqual(heard(stream), ['one', 'end {"reason":"stopped"}'])
  }
  assert.deepEqual(errors, [])
})

test('a stop before the work has begun closes what it gives', async (t) => {
  const { runs } = process(t)
  const feeder = new Feeder()
  let give!: () => void
  const given = new Promise<void>((resolve) => (give = resolve))
  const run = await runs.start('7', async (signal) => {
    await given
    return feeder.work(signal)
  })
  assert.equal(await runs.stop('7'), true)
  assert.equal(await runs.stop('7'), false)
  give()
  await collect(run)
  await turn()
  assert.equal(feeder.isClosed, true)
  assert.equal(run.endReason, 'stopped')
})

test('work that fails ends the run without its message, and is reported', async (t) => {
  const secret = new Error('the password is wrong')
  const { app, errors } = process(t, {}, async function* () {
    yield 'one'
    throw secret
  })
  const stream = await start(app)
  assert.equal((await stream.ended).reason, 'done')
  assert.deepEqual(heard(stream), ['one', 'end {"reason":"failed"}'])
  assert.deepEqual(errors, [secret])
})

test('work that is none, and what may not be sent, fail the run', async (t) => {
  const works: [RunWork, RegExp][] = [
    [() => 'text' as never, /Cannot stream "text"/],
    [() => [{ data: 'x', id: '7' }], /Cannot add an event with the id "7" to a run/],
    [() => [{ data: 'x', type: 'gap' }], /Cannot add an event of type "gap" to a run/],
    [() => [Promise.reject(new Error('lost')) as never], /as an event/],
    [() => [7 as never], /Cannot send 7 as an event/],
    [() => Promise.reject(new Error('refused')), /refused/],
  ]
  for (const [index, [work, message]] of works.entries()) {
    const { app, errors } = process(t, {}, work)
    const stream = await start(app, String(index))
    await stream.ended
    assert.deepEqual(heard(stream), ['end {"reason":"failed"}'])
    assert.match(String(errors[0]), message)
    assert.equal(errors.length, 1)
  }
})

test('mapEnd makes the last event, of what the work has failed with, too', async (t) => {
  const ends: unknown[] = []
  const error = new Error('secret')
  const { app } = process(
    t,
    {
      mapEnd: (end) => {
        ends.push(end)
        return { type: 'over', data: end.reason }
      },
    },
    () => Promise.reject(error),
  )
  const stream = await start(app)
  await stream.ended
  assert.deepEqual(heard(stream), ['over failed'])
  assert.deepEqual(ends, [{ reason: 'failed', error }])
})

test('a run without a last event is told to be over all the same', async (t) => {
  const { all } = processes(t, 2, () => ['one'], { mapEnd: () => undefined })
  const stream = await start(all[0]!.app)
  await stream.ended
  assert.deepEqual(heard(stream), ['one'])
  for (const { app } of all) {
    const headers = { 'last-event-id': stream.lastEventId }
    assert.equal((await app.get('/7', { headers })).status, 204)
    const again = await testStream(app, '/7')
    await again.ended
    assert.deepEqual(heard(again), ['one'])
  }
})

test('a mapEnd that fails is reported, and the end is told as if it were not there', async (t) => {
  const fault = new Error('fault')
  for (const mapEnd of [
    () => {
      throw fault
    },
    (() => Promise.resolve('late')) as never,
  ]) {
    const { app, errors } = process(t, { mapEnd }, () => ['one'])
    const stream = await start(app)
    await stream.ended
    assert.deepEqual(heard(stream), ['one', done])
    assert.equal((errors[0] as Error).message, 'mapEnd has failed')
  }
})

test('an end that the log does not take is tried again until it does', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const logs = new SharedLogs()
  const feeder = new Feeder()
  const { app, runs, errors } = process(t, { open: (id) => logs.open(id) }, feeder.work)
  const stream = await start(app)
  feeder.say('one')
  await stream.next()
  logs.fail('append')
  feeder.end()
  await turn()
  for (let tries = 0; tries < 5; tries++) {
    t.mock.timers.tick(5_000)
    await turn()
  }
  assert.equal((await runs.get('7'))?.endReason, undefined)
  assert.equal(errors.length, 1)
  logs.heal()
  t.mock.timers.tick(5_000)
  await stream.ended
  assert.deepEqual(heard(stream), ['one', done])
})

test('an event that the log does not take fails the run: there is none with a hole in it', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const logs = new SharedLogs()
  const feeder = new Feeder()
  const { app, errors } = process(t, { open: (id) => logs.open(id) }, feeder.work)
  const stream = await start(app)
  feeder.say('one')
  await stream.next()
  logs.fail('append')
  feeder.say('two')
  await turn()
  assert.match(String(errors[0]), /append has failed/)
  assert.equal(feeder.isClosed, true)
  logs.heal()
  t.mock.timers.tick(100)
  await stream.ended
  assert.deepEqual(heard(stream), ['one', 'end {"reason":"failed"}'])
})

// ----------------------------------------------------------------------------------------- lease

test('a run whose process has died is told to be lost, after the lease', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 3, feeder.work)
  const [here, there, other] = all as [Process, Process, Process]
  await here.runs.start('7', feeder.work)
  feeder.say('one')
  await turn()
  logs.kill() // what was opened so far
  const stream = await testStream(there.app, '/7')
  assert.equal((await stream.next()).data, 'one')
  await advance(14_000)
  assert.deepEqual(heard(stream), ['one'])
  await advance(3_000)
  assert.equal((await stream.ended).reason, 'done')
  assert.deepEqual(heard(stream), ['one', 'end {"reason":"lost"}'])
  const again = await testStream(other.app, '/7')
  await again.ended
  assert.deepEqual(heard(again), ['one', 'end {"reason":"lost"}'])
  assert.equal((await other.runs.get('7'))?.endReason, 'lost')
  assert.equal(await other.runs.stop('7'), false)
})

test('a run that is silent for long, but whose process lives, is not lost', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', feeder.work)
  const stream = await testStream(there.app, '/7')
  const before = logs.appended
  await advance(60_000)
  const beats = logs.appended - before
  assert.ok(beats >= 9 && beats <= 12, `${beats} signs of life in a minute`)
  feeder.say('late')
  assert.equal((await stream.next()).data, 'late')
  feeder.end()
  await stream.ended
  assert.deepEqual(heard(stream), ['late', done])
})

test('a run that is busy gives no other signs of life', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 1, feeder.work)
  await all[0]!.runs.start('7', feeder.work)
  const before = logs.appended
  for (let second = 0; second < 60; second++) {
    feeder.say(String(second))
    await advance(1_000)
  }
  assert.equal(logs.appended - before, 60)
})

test('a process that stood still for too long finds its run lost, and ends the work', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  const mine = await start(here.app)
  feeder.say('one')
  await mine.next()
  logs.freeze()
  const stream = await testStream(there.app, '/7')
  await advance(20_000)
  await stream.ended
  assert.deepEqual(heard(stream), ['one', 'end {"reason":"lost"}'])
  feeder.say('too late')
  assert.equal(feeder.signal.aborted, false)
  logs.thaw()
  await mine.ended
  assert.equal(feeder.signal.aborted, true)
  assert.deepEqual(heard(mine), ['one', 'end {"reason":"lost"}'])
  const again = await testStream(there.app, '/7')
  await again.ended
  assert.deepEqual(heard(again), ['one', 'end {"reason":"lost"}'])
})

test('a log that cannot be reached is no death: the lease begins anew when it can', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', feeder.work)
  const stream = await testStream(there.app, '/7')
  logs.fail('append', 'bounds')
  await advance(100_000)
  logs.heal()
  await advance(4_000)
  feeder.say('one')
  assert.equal((await stream.next()).data, 'one')
  await advance(60_000)
  assert.deepEqual(heard(stream), ['one'])
  assert.equal(here.errors.length, 1)
  assert.equal(there.errors.length, 1)
})

test('a run whose log is gone is lost, too', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', feeder.work)
  const stream = await testStream(there.app, '/7')
  logs.kill(1)
  logs.forget = true // as an expiry does
  await advance(20_000)
  await stream.ended
  assert.deepEqual(heard(stream), ['end {"reason":"lost"}'])
})

test('a run of which nobody wants to know is not watched, and let go of', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', feeder.work)
  const stream = await testStream(there.app, '/7')
  const run = await there.runs.get('7')
  await advance(60_000)
  assert.equal(there.runs.size, 1)
  stream.leave()
  await advance(16_000)
  assert.equal(there.runs.size, 0)
  assert.equal(here.runs.size, 1)
  assert.equal(logs.opened - logs.closed, 1)
  assert.throws(() => run!.subscribe(), /Cannot read the run "7": it was dropped here since/)
  const again = await testStream(there.app, '/7')
  feeder.say('one')
  assert.equal((await again.next()).data, 'one')
})

// ---------------------------------------------------------------------------------- back-pressure

test('the next event is asked for when the log has the last one, however slow the clients are', async (t) => {
  const logs = new SharedLogs()
  let asked = 0
  function* count(): Generator<string> {
    for (; asked < 5_000;) yield `${++asked}`
  }
  const { runs } = process(t, { open: (id) => logs.open(id) }, count)
  logs.hold()
  const starting = runs.start('7', count)
  await turn()
  assert.equal(asked, 0)
  logs.release()
  const run = await starting
  await turn()
  assert.equal(asked, 1)
  logs.release()
  await turn()
  assert.equal(asked, 2)

  const stalled = new FakeClient(run)
  stalled.hasRoom = false
  stalled.start()
  logs.flow()
  await collect(run)
  assert.equal(asked, 5_000)
  assert.equal(stalled.writes.length, 1)

  // It reads on in the log, and then in the history, and is not cut.
  while (stalled.state === 'open') {
    stalled.drain(false)
    await turn()
  }
  assert.equal(stalled.state, 'ended')
  const numbers = Array.from({ length: 5_000 }, (_, index) => `${index + 1}`)
  assert.deepEqual(stalled.heard, [...numbers, done])
})

test('a loop that is slower than the work reads on in the log', async (t) => {
  const { runs } = process(t)
  const feeder = new Feeder()
  const run = await runs.start('7', feeder.work)
  const iterator = run[Symbol.asyncIterator]()
  feeder.say('first')
  assert.equal((await iterator.next()).value?.data, 'first')
  for (let count = 0; count < 3_000; count++) feeder.say(String(count))
  feeder.end()
  await collect(run)
  let count = 0
  for (let step; (step = await iterator.next()).done !== true && step.value.type === undefined;)
    assert.equal(step.value.data, String(count++))
  assert.equal(count, 3_000)
  assert.equal((await iterator.next()).done, true)
})

// ----------------------------------------------------------------------------------------- memory

test('a finished run is dropped after keepMs, and nothing is left of it', async (t) => {
  const removed: string[] = []
  const logs = new SharedLogs()
  const remove = (id: string) => void removed.push(id)
  const { app, runs } = process(t, { open: (id) => logs.open(id), remove, keepMs: 60_000 }, () => [
    'one',
  ])
  const stream = await start(app)
  await stream.ended
  await advance(59_000)
  assert.equal(runs.size, 1)
  const again = await testStream(app, '/7') // it is kept for as long after that
  await again.ended
  await advance(59_000)
  assert.equal(runs.size, 1)
  assert.deepEqual([logs.opened, logs.closed], [1, 0])
  await advance(2_000)
  assert.equal(runs.size, 0)
  assert.deepEqual([logs.opened, logs.closed], [1, 1])
  assert.deepEqual(removed, ['7'])
})

test('close removes nothing: what has ended is read on in other processes', async (t) => {
  const removed: string[] = []
  const feeder = new Feeder()
  const { all } = processes(t, 2, feeder.work, { remove: (id) => removed.push(id) })
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', () => ['one'])
  await advance(1_000)
  await here.runs.start('8', feeder.work)
  await here.runs.close()
  assert.deepEqual(removed, [])
  const finished = await testStream(there.app, '/7')
  assert.equal((await finished.next('message')).data, 'one')
  assert.equal((await finished.next('end')).data, '{"reason":"done"}')
  const stopped = await testStream(there.app, '/8')
  assert.equal((await stopped.next('end')).data, '{"reason":"shutdown"}')
})

test('no log, no work and no event of a run that was dropped is held', async (t) => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const refs: WeakRef<object>[] = []
  const { app, runs } = process(
    t,
    {
      open: () => {
        const log = memoryLog()
        refs.push(new WeakRef(log))
        return log
      },
      keepMs: 1_000,
    },
    (signal) => {
      const events = ['one', 'two']
      refs.push(new WeakRef(events), new WeakRef(signal))
      return events
    },
  )
  for (let id = 0; id < 10; id++) {
    await (
      await start(app, `a${id}`)
    ).ended
    await app.get(`/b${id}`)
  }
  await advance(3_000)
  assert.equal(runs.size, 0)
  await new Promise((resolve) => setTimeout(resolve)) // what a job holds, it holds until the next
  collectGarbage()
  assert.equal(refs.length, 40)
  const held = refs.filter((ref) => ref.deref() !== undefined)
  assert.ok(held.length <= 1, `${held.length} are held`)
})

test('a run in memory is gone after keepMs: it is a 404, and its id is free', async (t) => {
  const { app, runs } = process(t, { keepMs: 1_000 }, () => ['one'])
  await (
    await start(app)
  ).ended
  await advance(3_000)
  assert.equal(runs.size, 0)
  assert.equal((await app.get('/7')).status, 404)
  await (
    await start(app)
  ).ended
})

test('a run that goes on, or is read, is not dropped', async (t) => {
  const feeder = new Feeder()
  const { runs } = process(t, { keepMs: 0 })
  const client = new FakeClient(await runs.start('7', feeder.work))
  client.hasRoom = false
  client.start()
  await advance(30_000)
  assert.equal(runs.size, 1)
  feeder.end()
  await advance(20_000)
  assert.equal(runs.size, 1)
  client.drain()
  await turn()
  assert.deepEqual(client.heard, [done])
  assert.equal(client.state, 'ended')
  await advance(3_000)
  assert.equal(runs.size, 0)
})

test('a process that finds a run lost removes it in the place of the dead', async (t) => {
  const removed: string[] = []
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work, { remove: (id) => removed.push(id) })
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', feeder.work)
  logs.kill()
  const stream = await testStream(there.app, '/7')
  await advance(16_000)
  await stream.ended
  await advance(590_000)
  assert.deepEqual(removed, [])
  await advance(20_000)
  assert.deepEqual(removed, ['7'])
})

test('what fails when a run is dropped is reported', async (t) => {
  const fault = new Error('fault')
  const { app, runs, errors } = process(
    t,
    { keepMs: 0, remove: () => Promise.reject(fault) },
    () => [],
  )
  await (
    await start(app)
  ).ended
  await advance(3_000)
  assert.equal(runs.size, 0)
  assert.deepEqual(errors, [fault])
})

// --------------------------------------------------------------------------------------- the stop

test('the stop of a server waits for a run, and ends the streams that show it', async (t) => {
  const feeder = new Feeder()
  const { all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  const stream = await start(here.app)
  feeder.say('one')
  await stream.next()
  let isDown = false
  const down = here.app.shutDown().then(() => (isDown = true))
  assert.equal((await stream.ended).reason, 'shutdown')
  assert.ok(stream.retryMs! >= 1_000)
  const again = await testStream(there.app, '/7', { lastEventId: stream.lastEventId })
  feeder.say('two')
  assert.equal((await again.next()).data, 'two')
  assert.equal(isDown, false)
  feeder.end()
  await again.ended
  assert.deepEqual(heard(again), ['two', done])
  await down
})

test('a stream that finishes, too, shows a run to its end while the server stops', async (t) => {
  const feeder = new Feeder()
  const { app } = process(t, {}, feeder.work, { finish: true })
  const stream = await start(app)
  const down = app.shutDown()
  await turn()
  feeder.say('one')
  feeder.end()
  assert.equal((await stream.ended).reason, 'done')
  assert.deepEqual(heard(stream), ['one', done])
  await down
})

test('with finish false the stop ends the work, and the end says so', async (t) => {
  const feeder = new Feeder()
  const { runs } = process(t)
  const swansong = new Swansong()
  const run = await runs.start('7', feeder.work, { swansong, finish: false })
  assert.match(swansong.report().toString(), /run "7"/)
  const client = connect(run)
  feeder.say('one')
  await turn()
  await swansong.shutDown()
  assert.equal(feeder.signal.aborted, true)
  await turn()
  assert.deepEqual(client.heard, ['one', 'end {"reason":"shutdown"}'])

  let isCalled = false
  const late = await runs.start('8', () => ((isCalled = true), []), { swansong, finish: false })
  await collect(late)
  assert.equal(late.endReason, 'shutdown')
  assert.equal(isCalled, false)
})

test('a run that is over holds no stop', async (t) => {
  for (const finish of [true, false]) {
    const { runs } = process(t)
    const swansong = new Swansong()
    await collect(await runs.start('7', () => ['one'], { swansong, finish }))
    await turn()
    assert.equal(swansong.guardCount, 0)
    await swansong.shutDown()
  }
})

test('close ends all work for shutdown, ends the streams, and closes the logs', async (t) => {
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  const stream = await start(here.app)
  const other = await testStream(there.app, '/7')
  feeder.say('one')
  await stream.next()
  const opening = here.runs.get('9')
  await here.runs.close()
  await here.runs.close()
  assert.equal(await opening, undefined)
  await stream.ended
  await other.ended
  assert.deepEqual(heard(other), ['one', 'end {"reason":"shutdown"}'])
  assert.equal(feeder.signal.aborted, true)
  assert.equal(here.runs.size, 0)
  await there.runs.close()
  assert.equal(logs.opened, logs.closed)
  for (const use of [
    () => here.runs.start('9', () => []),
    () => here.runs.get('7'),
    () => here.runs.stop('7'),
  ])
    await assert.rejects(use(), /the runs are closed/)
})

test('close goes on where the log does not take the end', async (t) => {
  const logs = new SharedLogs()
  const feeder = new Feeder()
  const { runs, errors } = process(t, { open: (id) => logs.open(id) }, feeder.work)
  await runs.start('7', feeder.work)
  logs.fail('append')
  await runs.close()
  assert.equal(errors.length, 1)
  assert.equal(logs.opened, logs.closed)
})

// ----------------------------------------------------------------------------------------- faults

test('where the log cannot be read, an EventSource is told to come back, and others get a 503', async (t) => {
  const fault = new Error('no log')
  let isDown = true
  const { app, errors, runs } = process(
    t,
    { open: () => (isDown ? Promise.reject(fault) : memoryLog()) },
    () => ['one'],
  )
  const stream = await testStream(app, '/7')
  await stream.ended
  assert.ok(stream.retryMs! >= 1_000 && stream.retryMs! <= 5_000)
  const other = await app.get('/7')
  assert.equal(other.status, 503)
  assert.match(other.headers.get('retry-after')!, /^[1-5]$/)
  assert.deepEqual(errors, [fault, fault])
  await assert.rejects(runs.get('7'), fault)
  await assert.rejects(runs.stop('7'), fault)
  isDown = false
  assert.equal((await app.get('/7')).status, 404)
})

test('a log that fails in the middle is read on when it can be, and nothing is lost', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const feeder = new Feeder()
  const { logs, all } = processes(t, 2, feeder.work)
  const [here, there] = all as [Process, Process]
  await here.runs.start('7', feeder.work)
  feeder.say('one')
  const stream = await testStream(there.app, '/7')
  await stream.next()
  logs.cutTails()
  feeder.say('two')
  await turn()
  assert.deepEqual(heard(stream), ['one'])
  t.mock.timers.tick(100)
  assert.equal((await stream.next()).data, 'two')
  assert.equal(there.errors.length, 1)
})

test('what cannot be used is refused', async (t) => {
  const refused: [() => unknown, string, RegExp][] = [
    [() => new Runs(null as never), 'TypeError', /with the options null/],
    [() => new Runs({ open: 'x' as never }), 'TypeError', /open "x": it must be a function/],
    [
      () => new Runs({ keep: 5 } as never),
      'TypeError',
      /^Cannot make Runs with keep: there is no such option; there are open, .* and onError$/,
    ],
    [() => new Runs({ keepMs: -1 }), 'RangeError', /keepMs -1: it must be a number/],
    [() => new Runs({ leaseMs: 999 }), 'RangeError', /leaseMs 999: it must be .* from 1,000/],
    [() => new Runs({ leaseMs: NaN }), 'RangeError', /leaseMs NaN/],
    [() => new Runs({ mapEnd: 1 as never }), 'TypeError', /mapEnd 1/],
    [() => new Runs({ remove: 1 as never }), 'TypeError', /remove 1/],
    [() => new Runs({ onError: 1 as never }), 'TypeError', /onError 1/],
  ]
  for (const [make, name, message] of refused) assert.throws(make, { name, message })
  const { runs } = process(t)
  const run = await runs.start('0', () => [])
  const rejected: [Promise<unknown>, RegExp][] = [
    [runs.start('', () => []), /Cannot start the run "": its id must be a string/],
    [runs.start(7 as never, () => []), /Cannot start the run 7/],
    [runs.get(undefined as never), /Cannot get the run undefined/],
    [runs.stop(''), /Cannot stop the run ""/],
    [runs.start('7', ['one'] as never), /with an array of 1: expected a function/],
    [runs.start('7', () => [], null as never), /Cannot start a run with null/],
    [runs.start('7', () => [], { swansong: {} as never }), /swansong a plain object/],
    [runs.start('7', () => [], { finsh: true } as never), /with finsh: there is no such option; /],
    [runs.start('7', () => [], { finish: 1 as never }), /finish 1: it must be true or false/],
  ]
  for (const [promise, message] of rejected)
    await assert.rejects(promise, { name: 'TypeError', message })
  assert.throws(() => run.subscribe(null as never), /Cannot read the run with null/)
  assert.throws(() => run.subscribe({ lastEventId: 7 as never }), /lastEventId 7/)
  const app = testApp(handlers((conn: Conn) => runs.attach(conn, '0', { retryMs: -1 })))
  assert.equal((await app.get('/')).status, 500)
})

test('a run whose work has failed ends, though onError throws', async (t) => {
  // In a microtask of its own, as of every callback that throws.
  const thrown: unknown[] = []
  t.mock.method(globalThis, 'queueMicrotask', (callback: () => void) =>
    globalThis.process.nextTick(() => {
      try {
        callback()
      } catch (error) {
        thrown.push(error)
      }
    }),
  )
  const failure = new Error('of onError')
  const runs = new Runs({
    onError() {
      throw failure
    },
  })
  const run = await runs.start('7', () => {
    throw new Error('of the work')
  })
  const data = []
  for await (const event of run) data.push(event.data)
  assert.equal(data.at(-1), '{"reason":"failed"}')
  await runs.close()
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(thrown, [failure])
})

test('without onError a line is printed', async (t) => {
  const printed = t.mock.method(console, 'error', () => {})
  const runs = new Runs()
  const run = await runs.start('7', () => Promise.reject(new Error('fault')))
  await collect(run)
  assert.match(String(printed.mock.calls[0]?.arguments[0]), /^The run "7" has failed, or its log:/)
  await runs.close()
})
