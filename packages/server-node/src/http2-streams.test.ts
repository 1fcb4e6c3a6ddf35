/** Event streams and other streaming bodies on HTTP/2. What all servers have in common is in event-streams.test.ts. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { BodySink, BodySource } from '@wakerobin/core'
import { Broadcaster, sse } from '@wakerobin/sse'
import type { StreamEnd } from '@wakerobin/sse'

import { code, FrameClient, get, reset, setting, type, windowUpdate } from '../fixtures/frames.ts'
import { Gate, start, turns, until } from '../fixtures/harness.ts'
import { ask, open, openSession } from '../fixtures/http2-client.ts'

const accept = ['accept', 'text/event-stream'] as const
const tiny = { [setting.windowSize]: 100 }

/** Says what it is told, and what becomes of it. */
function watched(): {
  events: AsyncGenerator<string>
  say: (text: string) => void
  returned: number
} {
  const queue: string[] = []
  let wake = (): void => {}
  const watch = {
    returned: 0,
    isOver: false,
    say: (text: string) => (queue.push(text), wake()),
    events: {
      async next() {
        while (queue.length === 0 && !watch.isOver)
          await new Promise<void>((resolve) => (wake = resolve))
        return watch.isOver
          ? { done: true, value: undefined }
          : { done: false, value: queue.shift()! }
      },
      async return() {
        watch.returned++
        watch.isOver = true
        wake()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    } as unknown as AsyncGenerator<string>,
  }
  return watch
}

/** Records what a source is told. */
class Told implements BodySource {
  readonly isEndless: boolean
  sink!: BodySink
  started = 0
  drains = 0
  readonly causes: unknown[] = []
  constructor(isEndless = false) {
    this.isEndless = isEndless
  }
  start(sink: BodySink): void {
    this.started++
    this.sink = sink
  }
  drained(): void {
    this.drains++
  }
  stop(): void {
    this.sink.end()
  }
  closed(cause: unknown): void {
    this.causes.push(cause)
  }
}

describe('event streams on HTTP/2', () => {
  test('the head and the first bytes come at once, and events in their order', async (t) => {
    const { events, say } = watched()
    const server = await start(t, (conn) => conn.withSseStream(events))
    const client = await FrameClient.connect(t, server, { ahead: [get(1, '/', accept)] })
    assert.equal(await client.status(1), 200)
    const before = client.text(1)
    for (const text of ['one', 'two', 'three']) {
      say(text)
      await until(`${text} has come`, () => client.text(1).includes(`data: ${text}\n\n`))
    }
    assert.equal(client.text(1), `${before}data: one\n\ndata: two\n\ndata: three\n\n`)
    assert.equal(server.handle.report().streamCount, 1)
  })

  test('heartbeats fill silence', async (t) => {
    const server = await start(
      t,
      sse(() => watched().events, { heartbeatMs: 20 }),
    )
    const client = await FrameClient.connect(t, server, { ahead: [get(1, '/', accept)] })
    await until(
      'two have come',
      () =>
        client
          .text(1)
          .split('\n')
          .filter((line) => line === ':').length >= 2,
    )
  })

  for (const [how, leave] of [
    ['resets the stream', (client: FrameClient) => client.send(reset(1))],
    [
      'resets it with the code for no error',
      (client: FrameClient) => client.send(reset(1, code.noError)),
    ],
    ['ends the connection', (client: FrameClient) => client.client.socket.end()],
    ['destroys it', (client: FrameClient) => client.client.socket.destroy()],
    ['resets it all', (client: FrameClient) => client.client.socket.resetAndDestroy()],
  ] as const) {
    test(`a client that ${how} is noticed at once, while the source is silent`, async (t) => {
      const watch = watched()
      const seen: unknown[] = []
      const server = await start(t, (conn) => {
        conn.signal.addEventListener('abort', () => seen.push('aborted'))
        conn.afterSend((isSent) => seen.push(isSent))
        return conn.withSseStream(watch.events)
      })
      const client = await FrameClient.connect(t, server, { ahead: [get(1, '/', accept)] })
      watch.say('one')
      await until('one has come', () => client.text(1).includes('one'))
      leave(client)
      await until('it is noticed', () => seen.length === 2)
      await turns()
      assert.deepEqual(seen, ['aborted', false])
      assert.equal(watch.returned, 1)
      assert.equal(server.handle.report().requestCount, 0)
      assert.deepEqual(server.errors, [])
    })
  }

  test('HEAD starts no source', async (t) => {
    const source = new Told()
    const endless = new Told(true)
    const server = await start(t, (conn) => conn.ok(conn.path === '/' ? source : endless))
    const session = await openSession(t, server)
    for (const path of ['/', '/endless']) {
      const { status, body } = await ask(session, { ':method': 'HEAD', ':path': path })
      assert.deepEqual([status, body], [200, ''])
    }
    await until('both are over', () => server.handle.report().requestCount === 0)
    assert.deepEqual([source.started, endless.started], [0, 0])
    assert.deepEqual([source.causes.length, endless.causes.length], [1, 1])
  })

  test('one slow reader slows its own stream alone', async (t) => {
    const broadcaster = new Broadcaster()
    const server = await start(
      t,
      sse(() => broadcaster),
    )
    const client = await FrameClient.connect(t, server, { settings: tiny })
    client.send(get(1, '/', accept), get(3, '/', accept), windowUpdate(3, 1_000_000))
    await until('both are there', () => broadcaster.subscriberCount === 2)
    for (let event = 0; event < 100; event++) broadcaster.publish(`event ${event}`)
    await until('one has all', () => client.text(3).includes('event 99'))
    assert.equal(client.text(1).length, 100)
    client.send(windowUpdate(1, 1_000_000))
    await until('the other has', () => client.text(1).includes('event 99'))
    assert.equal(client.text(1), client.text(3))
  })

  test('a client that does not read its event stream is cut after writeTimeoutMs, and its other streams go on', async (t) => {
    const broadcaster = new Broadcaster()
    const seen: unknown[] = []
    const app = sse(() => broadcaster, {
      writeTimeoutMs: 50,
      onEnd: (_conn, end) => void seen.push(end),
    })
    const server = await start(t, app)
    const client = await FrameClient.connect(t, server, { settings: tiny })
    client.send(
      get(1, '/', accept),
      get(3, '/', accept),
      windowUpdate(3, 10_000_000),
      windowUpdate(0, 10_000_000),
    )
    await until('both are there', () => broadcaster.subscriberCount === 2)
    for (let event = 0; event < 200; event++) broadcaster.publish('x'.repeat(1000))
    assert.equal(await client.resetCode(1), code.cancel)
    await until('it is over', () => broadcaster.subscriberCount === 1)
    assert.equal(seen.length, 1)
    broadcaster.publish('later')
    await until('the other goes on', () => client.text(3).includes('later'))
  })

  test('onEnd counts what a client of a broadcast has got and not got, which resets its stream', async (t) => {
    const broadcaster = new Broadcaster()
    const ends: StreamEnd[] = []
    const app = sse(() => broadcaster, { onEnd: (_conn, end) => void ends.push(end) })
    const server = await start(t, app)
    const client = await FrameClient.connect(t, server)
    client.send(get(1, '/', accept))
    await until('it is there', () => broadcaster.subscriberCount === 1)
    for (const text of ['one', 'two', 'three']) {
      broadcaster.publish(text)
      await until(text, () => client.text(1).includes(text))
    }
    client.send(reset(1))
    await until('it has left', () => broadcaster.subscriberCount === 0)
    assert.deepEqual(
      ends.map(({ reason, sent, dropped }) => [reason, sent, dropped]),
      [['client', 3, 0]],
    )
  })

  test('one whose connection takes nothing at all is cut too, and then its connection', async (t) => {
    let ended = 0
    const flood = function* () {
      for (;;) yield 'x'.repeat(1_000_000)
    }
    const app = sse(() => flood(), { writeTimeoutMs: 60, onEnd: () => void ended++ })
    const server = await start(t, app, { limits: { writeStallMs: 100 } })
    const settings = { [setting.windowSize]: 2 ** 31 - 1 }
    const client = await FrameClient.connect(t, server, { settings })
    client.client.socket.pause()
    client.send(windowUpdate(0, 2 ** 31 - 1 - 65_535), get(1, '/', accept))
    await until('it has ended', () => ended === 1)
    await until('the connection is cut', () => server.handle.report().connections === 0)
  })

  test('what fails before the head is a 500; behind it the stream is reset with INTERNAL_ERROR, and others go on', async (t) => {
    const gate = new Gate()
    const server = await start(t, (conn) => {
      if (conn.path === '/before') return conn.ok(failing(false))
      return conn.path === '/after' ? conn.ok(failing(true)) : conn.ok('fine')
    })
    async function* failing(isLate: boolean): AsyncGenerator<string> {
      if (isLate) {
        yield 'some'
        await gate.pass()
      }
      throw new Error('boom')
    }
    const client = await FrameClient.connect(t, server, {
      ahead: [get(1, '/before'), get(3, '/after')],
    })
    await until('some has come', () => client.text(3) === 'some')
    gate.open()
    assert.equal(await client.resetCode(3), code.internalError)
    assert.ok(!client.hasEnded(3))
    // An iterable has begun when it is asked, which is after its head.
    await until(
      'the first has ended',
      () => client.hasEnded(1) || client.of(type.reset, 1).length > 0,
    )
    client.send(get(5))
    assert.equal(await client.body(5), 'fine')
    assert.equal(server.errors.length, 2)
    const failing500 = new Told()
    failing500.start = () => {
      throw new Error('at once')
    }
    const other = await start(t, (conn) => conn.ok(failing500))
    const session = await openSession(t, other)
    const { status, body } = await ask(session, '/')
    assert.deepEqual([status, body], [500, ''])
    assert.equal(other.errors.length, 1)
  })

  test('an event stream that fails is never a clean end', async (t) => {
    const server = await start(
      t,
      sse(async function* () {
        yield 'one'
        throw new Error('boom')
      }),
    )
    const client = await FrameClient.connect(t, server, { ahead: [get(1, '/', accept)] })
    assert.equal(await client.resetCode(1), code.internalError)
    assert.match(client.text(1), /data: one\n\n/)
    assert.ok(!client.hasEnded(1))
    assert.match(String(server.errors[0]!.error), /boom/)
  })

  test('a body longer or shorter than its length promised is reset and reported', async (t) => {
    const sources: Told[] = []
    const server = await start(t, (conn) => {
      const source = Object.assign(new Told(), { length: 4 })
      sources.push(source)
      return conn.ok(source)
    })
    const client = await FrameClient.connect(t, server, { ahead: [get(1), get(3)] })
    await until('both have begun', () => sources.length === 2)
    const [long, short] = sources as [Told, Told]
    long.sink.write(Buffer.from('abc'))
    long.sink.write(Buffer.from('def'))
    short.sink.write(Buffer.from('abc'))
    short.sink.end()
    for (const stream of [1, 3]) {
      assert.equal(await client.resetCode(stream), code.internalError)
      assert.equal(client.text(stream), 'abc')
    }
    assert.equal(server.errors.length, 2)
    assert.deepEqual(long.causes, ['failure'])
    assert.equal(long.sink.write(Buffer.from('x')), false)
  })

  test('a source is asked for more only when its client has taken what was written', async (t) => {
    const source = new Told()
    const server = await start(t, (conn) => conn.ok(source))
    const client = await FrameClient.connect(t, server, { settings: tiny, ahead: [get(1)] })
    await until('it has begun', () => source.started === 1)
    assert.equal(source.sink.write(Buffer.alloc(0)), true)
    while (source.sink.write(Buffer.alloc(5000)));
    await client.pong()
    assert.equal(source.drains, 0)
    client.send(windowUpdate(0, 1_000_000), windowUpdate(1, 1_000_000))
    await until('it has drained', () => source.drains === 1)
    source.sink.end()
    source.sink.end()
    await until('the stream has ended', () => client.hasEnded(1))
    assert.deepEqual(source.causes, [])
  })

  test('a body that is finite and is not taken is reset after limits.writeStallMs; one that is slow is not', async (t) => {
    const sent: [string, boolean][] = []
    async function* parts(): AsyncGenerator<Uint8Array> {
      for (let part = 0; part < 40; part++) yield new Uint8Array(5_000)
    }
    const server = await start(
      t,
      (conn) => {
        conn.afterSend((isSent) => sent.push([conn.path, isSent]))
        return conn.ok(conn.path === '/whole' ? new Uint8Array(200_000) : parts())
      },
      { limits: { writeStallMs: 600 } },
    )
    const client = await FrameClient.connect(t, server, { settings: { [setting.windowSize]: 0 } })
    client.send(windowUpdate(0, 10_000_000))
    client.send(get(1, '/whole'), get(3, '/parts'), get(5, '/slow'))
    const slow = async (): Promise<void> => {
      while (!client.hasEnded(5) && client.of(type.reset, 5).length === 0) {
        client.send(windowUpdate(5, 10_000))
        await sleep(20)
      }
    }
    await Promise.all([
      slow(),
      ...[1, 3].map(async (stream) => assert.equal(await client.resetCode(stream), code.cancel)),
    ])
    assert.equal(client.text(5).length, 200_000)
    await until('all are over', () => sent.length === 3)
    assert.deepEqual(Object.fromEntries(sent), { '/whole': false, '/parts': false, '/slow': true })
  })
})

describe('event streams on HTTP/2 when the server stops', () => {
  test('[stopping 9.4] each ends after a whole event, with a retry and END_STREAM, and is counted', async (t) => {
    const broadcaster = new Broadcaster()
    const server = await start(
      t,
      sse(() => broadcaster),
      { shutdown: { lingerMs: 0 } },
    )
    const client = await FrameClient.connect(t, server)
    for (let stream = 1; stream < 21; stream += 2) client.send(get(stream, '/', accept))
    await until('all are there', () => broadcaster.subscriberCount === 10)
    broadcaster.publish('last')
    const report = await server.handle.shutDown()
    for (let stream = 1; stream < 21; stream += 2) {
      assert.match(await client.body(stream), /data: last\n\n(?::\n)*retry: [1-4]\d{3}\n\n?$/)
      assert.deepEqual(client.of(type.reset, stream), [])
    }
    assert.equal(report.outcome, 'clean')
    assert.equal(report.streamsEnded, 10)
    assert.deepEqual(server.errors, [])
  })

  test('[stopping 9.4] one that does not read is cut, and its other streams end whole', async (t) => {
    const broadcaster = new Broadcaster()
    const server = await start(
      t,
      sse(() => broadcaster),
      { shutdown: { lingerMs: 0 } },
    )
    const client = await FrameClient.connect(t, server, { settings: tiny })
    client.send(get(1, '/', accept), get(3, '/', accept), windowUpdate(3, 1_000_000))
    await until('both are there', () => broadcaster.subscriberCount === 2)
    client.send(windowUpdate(0, 10_000_000), windowUpdate(3, 10_000_000))
    for (let event = 0; event < 100; event++)
      broadcaster.publish(`event ${event}${'x'.repeat(1000)}`)
    await until('one has all', () => client.text(3).includes('event 99'))
    const report = await server.handle.shutDown()
    assert.match(await client.body(3), /retry: \d{4}\n\n?$/)
    assert.equal(await client.resetCode(1), code.cancel)
    assert.deepEqual([report.outcome, report.streamsEnded], ['cut', 1])
  })
})

test('as many event streams as limits.streams are live on one session', async (t) => {
  const broadcaster = new Broadcaster()
  const server = await start(
    t,
    sse(() => broadcaster),
  )
  const session = await openSession(t, server)
  const live = Array.from({ length: 100 }, () => {
    const stream = open(session, { ':path': '/', accept: 'text/event-stream' })
    let text = ''
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
    return () => text
  })
  await until('all are there', () => broadcaster.subscriberCount === 100)
  broadcaster.publish('to all')
  await until('all have it', () => live.every((text) => text().includes('data: to all\n\n')))
})
