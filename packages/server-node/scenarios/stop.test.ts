/** What becomes of event streams, background jobs and the process itself when the server stops: see
 * requests.test.ts. */

import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { EventSource } from 'eventsource'

import { Crowd, morning, openIdle, openStreams } from './crowd.ts'
import { HttpConnection } from './http-connection.ts'
import { until } from './patience.ts'
import { failure, ServerProcess, startTarget, success } from './server-process.ts'
import { jobLabel, lateLine } from './target-contract.ts'

/** Signals closer together than this are one: npm passes on a Ctrl-C that the terminal has sent too. */
const togetherMs = 200

/** Asks once, on a connection of its own. */
async function ask(port: number, target: string): Promise<HttpConnection['answers'][0]> {
  const connection = await HttpConnection.open(port)
  const answer = await askOn(connection, target)
  connection.destroy()
  return answer
}

async function askOn(
  connection: HttpConnection,
  target: string,
): Promise<HttpConnection['answers'][0]> {
  connection.get(target)
  await until(
    () => `${target} is answered`,
    () => connection.unanswered === 0 || connection.isOver,
  )
  assert.equal(connection.unanswered, 0, `the connection ended before ${target} was answered`)
  return connection.answers.at(-1)!
}

/** The lines that match, in their order. */
function orderOf(out: string, pattern: RegExp): string[] {
  return out.split('\n').filter((line) => pattern.test(line))
}

describe('streams at the stop', { concurrency: 2 }, () => {
  test('[stopping 2.1] S11 1000 event streams, 100 idle connections and 20 slow requests all end whole', async (t) => {
    const server = await startTarget(t)
    using crowd = await Crowd.open(server.port, morning)
    await server.prints('GET /slow has begun', morning.slow)
    server.kill('SIGTERM')
    await server.refuses()
    server.open('/slow')
    await crowd.over()
    assert.deepEqual(
      crowd.streams.flatMap(({ problems }) => problems),
      [],
    )
    for (const { answers, error, unanswered } of [...crowd.idle, ...crowd.slow]) {
      assert.equal(error, undefined)
      assert.equal(unanswered, 0)
      assert.equal(answers.length, 1)
    }
    const saidBySlow = crowd.slow.map(({ answers: [answer] }) => answer)
    const expected = { status: 200, body: 'slow', saysClose: true }
    assert.deepEqual(saidBySlow, new Array(morning.slow).fill(expected))
    await server.ends(success)
    assert.equal(server.err, '')
  })

  test('[stopping 2.1] S4 event streams end after a whole event with a retry and the terminator, long before the deadline', async (t) => {
    const server = await startTarget(t)
    const streams = await openStreams(server.port, 10)
    const source = new EventSource(`http://127.0.0.1:${server.port}/events`)
    t.after(() => source.close())
    const states: number[] = []
    let eventCount = 0
    source.addEventListener('message', () => eventCount++)
    source.addEventListener('error', () => {
      states.push(source.readyState)
      source.close()
    })
    const text = fetch(`http://127.0.0.1:${server.port}/pulled`).then((response) => response.text())
    await until(
      () => 'everybody has had two events',
      () => eventCount >= 2 && streams.every((stream) => stream.eventCount >= 2),
    )
    server.kill('SIGTERM')
    await until(
      () => 'every stream is over',
      () => streams.every(({ isClosed }) => isClosed),
    )
    assert.deepEqual(
      streams.flatMap(({ problems }) => problems),
      [],
    )
    assert.match(await text, /end of \d+\n\nretry: \d{4}\n\n?$/) // rejects where the terminator is missing
    await until(
      () => 'the stock EventSource has noticed',
      () => states.length > 0,
    )
    assert.deepEqual(states, [EventSource.CONNECTING], 'it would have come back')
    await server.ends(success)
    assert.equal(server.err, '')
    assert.ok(!server.out.includes(lateLine), server.out)
  })

  test('[stopping 2.1] S21 the last word of each event stream is a retry of its own, from 1 to 5 s', async (t) => {
    const server = await startTarget(t)
    const streams = await openStreams(server.port, 64)
    assert.ok(streams.every(({ retryMs }) => retryMs === undefined))
    server.kill('SIGTERM')
    await until(
      () => 'every stream is over',
      () => streams.every(({ isClosed }) => isClosed),
    )
    assert.deepEqual(
      streams.flatMap(({ problems }) => problems),
      [],
    )
    const retries = streams.map(({ retryMs }) => retryMs!)
    // Even draws agree so seldom, and leave out a half of the range so seldom, that it was not chance.
    assert.ok(new Set(retries).size > 32, retries.join(' '))
    assert.ok(Math.min(...retries) < 3000 && Math.max(...retries) > 3000, retries.join(' '))
    await server.ends(success)
  })
})

describe('the process at the stop', { concurrency: 3 }, () => {
  test('[stopping 5.3] S8 a handler that never ends is cut at the deadline: exit code 1, and a report that names it', async (t) => {
    const server = await startTarget(t, { shutdown: { deadlineMs: 300 } })
    const client = await HttpConnection.open(server.port)
    client.get('/never?token=secret')
    await server.prints('GET /never has begun')
    assert.equal((await ask(server.port, '/job')).body, 'begun')
    server.kill('SIGTERM')
    await server.ends(failure)
    await client.closed
    assert.deepEqual(client.answers, [])
    assert.match(server.err, /GET \/never\b/)
    assert.doesNotMatch(server.err, /secret/)
    assert.match(server.err, new RegExp(`${jobLabel}.*\\btarget\\.ts:\\d+`))
  })

  test('[stopping 5.10] S8 SIGUSR2 says at any time what is held, and stops nothing', async (t) => {
    const server = await startTarget(t, { shutdown: { deadlineMs: 300 } })
    const client = await HttpConnection.open(server.port)
    client.get('/never')
    await server.prints('GET /never has begun')
    assert.equal((await ask(server.port, '/job')).body, 'begun')
    const before = server.out.length
    server.kill('SIGUSR2')
    const report = (): string => server.out.slice(before) + server.err
    await until(
      () => `a report is printed: ${report()}`,
      () => report().includes('GET /never') && report().includes(jobLabel),
    )
    assert.match(report(), new RegExp(`${jobLabel}.*\\btarget\\.ts:\\d+`))
    assert.equal((await ask(server.port, '/hello')).saysClose, false)
    server.kill('SIGTERM')
    await server.ends(failure)
  })

  for (const second of ['SIGTERM', 'SIGINT'] as const) {
    test(`[stopping 5.6] S9 ${second} after SIGTERM ends the process at once, with 128 and its number`, async (t) => {
      const server = await startTarget(t)
      const client = await HttpConnection.open(server.port)
      client.get('/never')
      await server.prints('GET /never has begun')
      server.kill('SIGTERM')
      await server.prints('SIGTERM: ')
      await sleep(togetherMs + 100)
      assert.equal(server.exit, undefined)
      server.kill(second)
      await server.ends({ code: 128 + constants.signals[second], signal: null })
    })
  }

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`[stopping 5.2] S10 a stop by ${signal} in which nothing is cut ends with exit code 0`, async (t) => {
      const server = await startTarget(t)
      assert.equal((await ask(server.port, '/hello')).body, 'hello')
      const [idle] = await openIdle(server.port, 1)
      server.kill(signal)
      await server.ends(success)
      await idle!.closed
      assert.equal(idle!.error, undefined)
      assert.match(server.out, new RegExp(`^${signal}: .+`, 'm'))
      assert.equal(server.err, '')
    })
  }

  for (const init of ['returns', 'rejects'] as const) {
    test(`[stopping 5.11] S17 SIGTERM during an init that ${init} when it is told ends the process, which never listens, with exit code 0`, async (t) => {
      const server = ServerProcess.spawn({ init })
      t.after(() => server[Symbol.asyncDispose]())
      await server.prints('init has begun')
      server.kill('SIGTERM')
      await server.ends(success)
      assert.equal(server.out.includes('init was told'), init === 'returns')
      assert.doesNotMatch(server.out, /Listening/)
      assert.equal(server.err, '')
    })
  }

  test('[stopping 3.7] S19 background jobs finish before the process ends', async (t) => {
    const server = await startTarget(t)
    const connection = await HttpConnection.open(server.port)
    assert.equal((await askOn(connection, '/job')).body, 'begun')
    assert.equal((await askOn(connection, '/job-in-a-block')).body, 'begun')
    server.kill('SIGTERM')
    await server.refuses()
    await connection.closed // no connection is left: only the jobs are
    server.open('/job')
    await server.prints('the job is done')
    assert.equal(server.exit, undefined)
    assert.doesNotMatch(server.out, /hook: closing/)
    server.open('/job-in-a-block')
    await server.ends(success)
    assert.deepEqual(orderOf(server.out, /^the job|^hook: closing, registered second/), [
      'the job is done',
      'the job in a block is done',
      'hook: closing, registered second',
    ])
    assert.equal(server.err, '')
  })

  test('[stopping 3.3] S20 during the drain delay /ready says 503, and everything is served with Connection: close', async (t) => {
    const server = await startTarget(t, { shutdown: { drainDelayMs: 60_000 } })
    const [stream] = await openStreams(server.port, 1)
    const [idle] = await openIdle(server.port, 1)
    const slow = await HttpConnection.open(server.port)
    slow.get('/slow')
    await server.prints('GET /slow has begun')
    const before = await ask(server.port, '/ready')
    assert.deepEqual([before.status, before.saysClose], [200, false])
    server.kill('SIGTERM')
    await server.prints('SIGTERM: ')

    const during = await ask(server.port, '/ready')
    assert.deepEqual([during.status, during.saysClose], [503, true])
    const hello = { status: 200, body: 'hello', saysClose: true }
    assert.deepEqual(await ask(server.port, '/hello'), hello, 'on a new connection')
    assert.deepEqual(await askOn(idle!, '/hello'), hello, 'on one from before')
    server.open('/slow')
    await slow.closed
    assert.deepEqual(slow.answers, [{ status: 200, body: 'slow', saysClose: true }])
    const { eventCount } = stream!
    await until(
      () => 'the event stream goes on',
      () => stream!.eventCount > eventCount + 1,
    )
    assert.equal(stream!.isClosed, false)

    await sleep(togetherMs)
    server.kill('SIGTERM')
    await server.ends({ code: 128 + constants.signals.SIGTERM, signal: null })
  })

  test('[stopping 3.1] S20 after the drain delay the phases follow each other, and the deadline counts from its end', async (t) => {
    const server = await startTarget(t, { shutdown: { drainDelayMs: 1500, deadlineMs: 1000 } })
    server.kill('SIGTERM')
    await server.ends(success)
    assert.match(server.out, /^SIGTERM: /m)
    assert.deepEqual(orderOf(server.out, /^hook/), [
      'hook: draining',
      'hook: stopping',
      'hook: closing, registered second',
      'hook: closing, registered first',
    ])
    assert.equal(server.err, '')
  })
})
