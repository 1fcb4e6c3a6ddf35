/** Clients of HTTP/2 that mean harm, or leave: what they started is ended, and others are served as before.
 *
 *     WAKEROBIN_RESETS=1000000 npm test -- hostile/http2      default 20 000
 *     WAKEROBIN_ABORTS=2000 npm test -- hostile/http2         default 200, in each phase */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Conn, Handler } from '@wakerobin/core'

import {
  block,
  code,
  data,
  flag,
  frame,
  FrameClient,
  get,
  ping,
  post,
  preface,
  request,
  reset,
  setting as parameter,
  settings,
  type,
  windowUpdate,
} from '../fixtures/frames.ts'
import { start, turns, until } from '../fixtures/harness.ts'
import type { TestServer } from '../fixtures/harness.ts'
import { randomOf } from './mutate.ts'
import { seedSetting, setting } from './settings.ts'

const resets = setting('WAKEROBIN_RESETS', 20_000, 1_000, 100_000_000)
const aborts = setting('WAKEROBIN_ABORTS', 200, 1, 1_000_000)
const mutants = 1_500

const unhandled: unknown[] = []
process.on('unhandledRejection', (error) => unhandled.push(error))
process.on('uncaughtException', (error) => unhandled.push(error))

interface Seen {
  begun: number
  alive: number
}

/** A server whose handlers wait until their client has left, but at `/ok`. */
async function startWaiting(t: TestContext): Promise<{ server: TestServer; seen: Seen }> {
  const seen: Seen = { begun: 0, alive: 0 }
  const app: Handler = async (conn) => {
    if (conn.path === '/ok') return conn.ok('ok')
    seen.begun++
    seen.alive++
    if (!conn.isDisconnected)
      await new Promise((resolve) => conn.signal.addEventListener('abort', resolve))
    seen.alive--
    return conn.ok('for nobody')
  }
  const server = await start(t, app, { shutdown: { lingerMs: 0, deadlineMs: 8_000 } })
  return { server, seen }
}

/** Asks again and again on connections of their own, until told to stop. */
function others(
  t: TestContext,
  server: TestServer,
): { stop(): Promise<{ count: number; worstMs: number }> } {
  const over = new AbortController()
  t.after(() => over.abort())
  let count = 0
  let worstMs = 0
  const asked = (async () => {
    while (!over.signal.aborted) {
      const before = performance.now()
      const response = await fetch(`${server.url}/ok`)
      assert.equal(await response.text(), 'ok')
      worstMs = Math.max(worstMs, performance.now() - before)
      count++
      await sleep(5)
    }
  })()
  return {
    async stop() {
      over.abort()
      await asked
      return { count, worstMs }
    },
  }
}

/** Resets, in so many bytes at once, from one client after the other. */
async function attack(
  t: TestContext,
  server: TestServer,
  perWrite: number,
  pair: (stream: number) => Buffer[],
): Promise<{ sent: number; sessions: number; reasons: Set<number> }> {
  const reasons = new Set<number>()
  let sent = 0
  let sessions = 0
  while (sent < resets) {
    const client = await FrameClient.connect(t, server)
    sessions++
    await client.next(type.settings)
    for (let stream = 1; sent < resets && client.goaways.length === 0;) {
      const frames: Buffer[] = []
      for (let count = 0; count < perWrite; count++, stream += 2) frames.push(...pair(stream))
      sent += perWrite
      client.send(...frames)
      await turns(1)
      if (client.client.isClosed) break
    }
    if (sent < resets) {
      await client.next(type.goaway)
      reasons.add(client.goaways[0]!.code)
    }
    client.client.socket.destroy()
  }
  return { sent, sessions, reasons }
}

describe('clients that reset what they ask for', () => {
  const cases: [string, number, (stream: number) => Buffer[]][] = [
    ['as fast as they can', 20, (stream) => [get(stream), reset(stream)]],
    ['many in one packet', 1_000, (stream) => [get(stream), reset(stream)]],
    ['with the code for no error', 1_000, (stream) => [get(stream), reset(stream, code.noError)]],
    ['by having us do it', 20, (stream) => [get(stream), windowUpdate(stream, 0)]],
  ]
  for (const [name, perWrite, pair] of cases) {
    test(`[requests 7.4] ${resets} resets, ${name}: sessions are closed, and nothing is left`, async (t) => {
      const { server, seen } = await startWaiting(t)
      const other = others(t, server)
      const { sent, sessions, reasons } = await attack(t, server, perWrite, pair)
      const { count, worstMs } = await other.stop()
      assert.ok(reasons.size > 0)
      // Of what we have to do ourselves node tires sooner.
      if (!name.startsWith('by')) assert.deepEqual([...reasons], [code.enhanceYourCalm])
      t.diagnostic(
        `${sent} resets on ${sessions} sessions, ${seen.begun} handlers; ` +
          `${count} other requests, the slowest after ${Math.round(worstMs)} ms`,
      )
      await until('no handler is alive', () => seen.alive === 0)
      assert.ok(seen.begun <= sessions * 150, `${seen.begun} handlers on ${sessions} sessions`)
      assert.ok(count > 0)
      await until('their connections are gone', () => server.handle.report().requestCount === 0)
      assert.deepEqual([server.errors, unhandled], [[], []])
    })
  }

  test('[requests 7.4] resets of requests that are handled count too, and one session alone pays for them', async (t) => {
    const { server, seen } = await startWaiting(t)
    const good = await FrameClient.connect(t, server)
    const client = await FrameClient.connect(t, server)
    let stream = 1
    for (; stream < 101; stream += 2) {
      client.send(get(stream))
      await until('it is handled', () => seen.begun === (stream + 1) / 2)
      client.send(reset(stream))
      await until('it is over', () => seen.alive === 0)
    }
    assert.equal(client.goaways.length, 0)
    client.send(get(stream), reset(stream))
    await client.next(type.goaway)
    assert.equal(client.goaways[0]!.code, code.enhanceYourCalm)
    good.send(get(1, '/ok'))
    assert.equal(await good.body(1), 'ok')
  })

  test('[requests 7.4] resets are counted within ten seconds, and responses that were sent are none', async (t) => {
    const { server } = await startWaiting(t)
    const client = await FrameClient.connect(t, server)
    for (let stream = 1; stream < 401; stream += 2) {
      client.send(get(stream, '/ok'))
      assert.equal(await client.body(stream), 'ok')
      client.send(reset(stream))
    }
    await client.pong()
    assert.deepEqual(client.goaways, [])
    let now = performance.now()
    t.mock.method(performance, 'now', () => now)
    for (let round = 0; round < 3; round++) {
      now += 10_001
      for (let count = 0; count < 40; count++) {
        const stream = 401 + 2 * (round * 40 + count)
        client.send(get(stream), reset(stream))
      }
      await client.pong()
      await turns() // what was reset is over as well
    }
    t.mock.restoreAll()
    await client.pong()
    assert.deepEqual(client.goaways, [])
  })
})

describe('clients that break the rules', () => {
  test('[requests 7.2] the stream above limits.streams ends its session, and no other', async (t) => {
    const { server, seen } = await startWaiting(t)
    const client = await FrameClient.connect(t, server)
    await client.pong()
    for (let stream = 1; stream < 201; stream += 2) client.send(get(stream))
    await until('100 are handled', () => seen.alive === 100)
    client.send(get(201))
    await client.next(type.goaway)
    await until('none is alive', () => seen.alive === 0)
    assert.equal(seen.begun, 100)
  })

  for (const [name, bytes] of [
    ['CONTINUATION frames without an end', continuations(1000, 100)],
    ['empty CONTINUATION frames', continuations(5000, 0)],
    ['SETTINGS', Buffer.concat(Array.from({ length: 20_000 }, () => settings()))],
    ['PINGs', Buffer.concat(Array.from({ length: 20_000 }, ping))],
    [
      'empty DATA frames',
      Buffer.concat([post(1), ...Array.from({ length: 20_000 }, () => data(1, ''))]),
    ],
    [
      'PRIORITY frames',
      Buffer.concat(
        Array.from({ length: 20_000 }, (_, at) =>
          frame(type.priority, 0, 2 * at + 1, Buffer.alloc(5)),
        ),
      ),
    ],
  ] as const) {
    test(`[requests 7.5] a flood of ${name} that reads nothing harms nobody else`, async (t) => {
      const { server, seen } = await startWaiting(t)
      const client = await FrameClient.connect(t, server)
      client.client.socket.pause()
      const other = others(t, server)
      const before = process.memoryUsage().rss
      for (let times = 0; times < 5; times++) {
        client.send(bytes)
        await sleep(10)
      }
      const { count } = await other.stop()
      assert.ok(count > 0)
      assert.ok(process.memoryUsage().rss - before < 100e6)
      client.client.socket.destroy()
      await until(
        'nothing is alive',
        () => seen.alive === 0 && server.handle.report().requestCount === 0,
      )
      assert.deepEqual([server.errors, unhandled], [[], []])
    })
  }

  test('[requests 7.3] half a preface is a 408 after headMs; an idle session, and one whose head never ends, is closed', async (t) => {
    const server = await start(t, (conn) => conn.ok(''), {
      limits: { headMs: 80, sessionIdleMs: 150 },
    })
    const half = await server.connect()
    half.send(preface.subarray(0, 20))
    assert.equal((await half.response()).status, 408)
    const idle = await FrameClient.connect(t, server, { ahead: [get(1)] })
    await idle.body(1)
    const slow = await FrameClient.connect(t, server)
    await slow.next(type.settings)
    const trickle = setInterval(
      () => slow.send(frame(type.priority, 0, 1, Buffer.alloc(5)).subarray(0, 1)),
      20,
    )
    t.after(() => clearInterval(trickle))
    const pinging = await FrameClient.connect(t, server)
    const pings = setInterval(() => pinging.send(ping()), 20)
    t.after(() => clearInterval(pings))
    for (const client of [idle, pinging]) {
      await client.next(type.goaway)
      assert.equal(client.goaways[0]!.code, code.noError)
    }
    await slow.client.ended()
    await until('all are gone', () => server.handle.report().connections === 0)
  })

  test('[requests 7.3] a client that has broken the rules and leaves, and one that answers no PING, is noticed', async (t) => {
    const seen: string[] = []
    const server = await start(
      t,
      async (conn) => {
        await new Promise((resolve) => conn.signal.addEventListener('abort', resolve))
        seen.push(conn.path)
        return conn.ok('')
      },
      { limits: { sessionIdleMs: 100 } },
    )
    const broken = await FrameClient.connect(t, server, { ahead: [get(1, '/broken')] })
    await until('it is handled', () => server.handle.report().requestCount === 1)
    broken.send(data(0, 'x'))
    await broken.next(type.goaway)
    broken.client.socket.destroy()
    const mute = await server.connect()
    mute.send(Buffer.concat([preface, settings(), get(1, '/mute')]))
    await until('both are noticed', () => seen.length === 2)
    await until('both are gone', () => server.handle.report().connections === 0)
  })

  test('[requests 7.3] a session with a request is not idle, however long it takes', async (t) => {
    const { server, seen } = await startWaiting(t)
    const patient = await start(
      t,
      async (conn) => {
        await sleep(250)
        return conn.ok('late')
      },
      { limits: { sessionIdleMs: 60 } },
    )
    const client = await FrameClient.connect(t, patient, { ahead: [get(1)] })
    assert.equal(await client.body(1), 'late')
    assert.equal(seen.begun, 0)
    assert.equal(server.handle.report().connections, 0)
  })

  test(`[requests 7.1] of ${mutants} mutants of frames none is a 500, and the server answers as before`, async (t) => {
    const seed = seedSetting()
    t.diagnostic(`WAKEROBIN_FUZZ_SEED=${seed}`)
    const random = randomOf(seed)
    const statuses = new Map<number, number>()
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.bytes()), {
      limits: { sessionIdleMs: 300 },
    })
    for (let sent = 0; sent < mutants; sent++) {
      const client = await FrameClient.connect(t, server, { ahead: [mutant(random)] })
      await client.next(type.settings)
      await turns(3)
      for (const { payload } of client.of(type.headers)) {
        const status = payload[0] === 0x20 ? payload[1] : payload[0]
        assert.notEqual(status, 0x8e, `a 500 with seed ${seed}, mutant ${sent}`)
        statuses.set(status!, (statuses.get(status!) ?? 0) + 1)
      }
      client.client.socket.destroy()
      if (sent % 100 === 0) assert.equal((await fetch(server.url)).status, 200)
    }
    assert.ok((statuses.get(0x88) ?? 0) > mutants * 0.1, 'enough are handled')
    await until('nothing is left', () => server.handle.report().requestCount === 0)
    assert.deepEqual([server.errors, unhandled], [[], []])
  })
})

function continuations(count: number, length: number): Buffer {
  const first = frame(type.headers, flag.endStream, 1, block(request('/')))
  const next = frame(
    type.continuation,
    0,
    1,
    block([['x', 'x'.repeat(length)]]).subarray(0, length),
  )
  return Buffer.concat([first, ...Array.from({ length: count }, () => next)])
}

/** Right frames, with something done to them. */
function mutant(random: () => number): Buffer {
  const below = (count: number): number => Math.floor(random() * count)
  const all = [
    [get(1), get(3, '/path?query=1', ['cookie', 'a=b'])],
    [post(1), data(1, 'hello'), data(1, ' world', true)],
    [post(1, '/', ['content-length', '3']), data(1, 'abc', true), ping()],
    [get(1), windowUpdate(1, 100), reset(1), get(3)],
    [post(1), data(1, 'x'), frame(type.headers, 5, 1, block([['x-sum', '1']]))],
    [settings({ [parameter.windowSize]: 10 }), get(1), settings()],
    [
      frame(type.headers, 1, 1, block(request('/')).subarray(0, 5)),
      frame(type.continuation, 4, 1, block(request('/')).subarray(5)),
      get(3),
    ],
  ]
  const frames = [...all[below(all.length)]!]
  if (random() < 0.3) frames.splice(below(frames.length), below(2), all[below(all.length)]![0]!)
  const bytes = Buffer.concat(frames)
  for (let left = below(3); left > 0; left--) bytes[below(bytes.length)] = below(256)
  return random() < 0.1 ? bytes.subarray(0, below(bytes.length)) : bytes
}

describe(`of ${aborts} clients in each phase that leave`, () => {
  const phases: Record<
    string,
    {
      ahead: Buffer[]
      app: (seen: Seen) => Handler
      isThere: (client: FrameClient, seen: Seen) => boolean
      window?: number
    }
  > = {
    'before the head is complete': {
      ahead: [frame(type.headers, flag.endStream, 1, block(request('/')))],
      app: () => () => assert.fail('handled'),
      isThere: (client) => client.of(type.settings).length > 0,
    },
    'while the handler waits': {
      ahead: [get(1)],
      app: (seen) => async (conn) => {
        seen.begun++
        seen.alive++
        await left(conn)
        seen.alive--
        return conn.ok('')
      },
      isThere: (_client, seen) => seen.begun > 0,
    },
    'after the head of a streamed response': {
      ahead: [get(1)],
      app: (seen) => (conn) => conn.ok(waiting(conn, seen)),
      isThere: (client) => client.text(1) === 'first',
    },
    'while a write is stalled': {
      ahead: [get(1)],
      window: 10,
      app: (seen) => (conn) => conn.ok(endless(seen)),
      isThere: (client) => client.text(1).length === 10,
    },
    'while the request body is uploaded': {
      ahead: [post(1, '/', ['content-length', '1000']), data(1, 'part')],
      app: (seen) => async (conn) => {
        seen.begun++
        seen.alive++
        try {
          await conn.requestBody.bytes()
        } finally {
          seen.alive--
        }
        return assert.fail('it was read to its end')
      },
      isThere: (_client, seen) => seen.begun > 0,
    },
  }
  for (const [name, { ahead, app, isThere, window }] of Object.entries(phases)) {
    test(`[requests 7.6] ${name}: every handler is told, and nothing is left`, async (t) => {
      const seen: Seen = { begun: 0, alive: 0 }
      const server = await start(t, app(seen), {
        shutdown: { lingerMs: 0, deadlineMs: 8_000 },
        limits: { sessionIdleMs: 500 },
      })
      for (let count = aborts; count > 0; count -= 50) {
        const size = Math.min(count, 50)
        const begun = aborts - count + size
        const clients = await Promise.all(
          Array.from({ length: size }, () =>
            FrameClient.connect(t, server, {
              ahead,
              ...(window && { settings: { [parameter.windowSize]: window } }),
            }),
          ),
        )
        await until(
          'all are there',
          () =>
            clients.every((client) => isThere(client, seen)) &&
            (seen.begun === begun || seen.begun === 0),
        )
        for (const [at, client] of clients.entries()) {
          const { socket } = client.client
          if (at % 4 === 0) client.send(...(name.startsWith('before') ? [] : [reset(1)]))
          else socket[(['end', 'destroy', 'resetAndDestroy'] as const)[at % 3]!]()
        }
        await until('no handler is alive', () => seen.alive === 0)
        for (const client of clients) client.client.socket.destroy()
        await until('no connection is left', () => server.handle.report().connections === 0)
      }
      await turns()
      assert.equal(seen.begun, name.startsWith('before') ? 0 : aborts)
      assert.deepEqual([server.errors, unhandled], [[], []])
      assert.equal((await server.handle.shutDown()).outcome, 'clean')
    })
  }

  function left({ signal }: Conn): Promise<unknown> {
    return new Promise((resolve) => signal.addEventListener('abort', resolve))
  }

  async function* waiting(conn: Conn, seen: Seen): AsyncGenerator<string> {
    seen.begun++
    seen.alive++
    try {
      yield 'first'
      await left(conn)
    } finally {
      seen.alive--
    }
  }

  async function* endless(seen: Seen): AsyncGenerator<Uint8Array> {
    seen.begun++
    seen.alive++
    try {
      for (;;) yield new Uint8Array(64 * 1024)
    } finally {
      seen.alive--
    }
  }
})
