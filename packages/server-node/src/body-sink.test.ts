import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get as httpGet } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'

import type { AnyHandler, Body, BodySink, BodySource, Conn } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

import { onSocketWrite, ownTime, start, turns, until, withoutDate } from '../fixtures/harness.ts'
import type { RawClient } from '../fixtures/harness.ts'

const chunkedHead = 'HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n'

/** A source of one's own, which shows what became of it. */
class HandSource implements BodySource {
  readonly calls: string[] = []
  readonly isEndless: boolean
  readonly length?: number
  sink: BodySink | undefined
  readonly #onStart: (sink: BodySink) => void

  constructor(
    onStart: (sink: BodySink) => void = () => {},
    options: { isEndless?: boolean; length?: number } = {},
  ) {
    this.#onStart = onStart
    this.isEndless = options.isEndless ?? false
    if (options.length !== undefined) this.length = options.length
  }

  start(sink: BodySink): void {
    this.calls.push('start')
    this.sink = sink
    this.#onStart(sink)
  }

  drained(): void {
    this.calls.push('drained')
  }

  stop(): void {
    this.calls.push('stop')
    if (this.isEndless) this.sink!.end()
  }

  closed(): void {
    this.calls.push('closed')
  }
}

/** An endless source that notices how it ended. */
function watched(log: string[], item: () => Promise<string> | string) {
  return (signal: AbortSignal): AsyncIterable<string> => {
    signal.addEventListener('abort', () => log.push('aborted'))
    return {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false as const, value: await item() }),
        return: async () => {
          log.push('returned')
          return { done: true as const, value: undefined }
        },
      }),
    }
  }
}

const never = new Promise<never>(() => {})
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

// ------------------------------------------------------------------------------------- framing

test('a stream is sent in chunks, one for each item, and without a Connection header', async (t) => {
  const kinds: Record<string, () => Body> = {
    '/async-iterable': () =>
      (async function* () {
        yield 'one'
        yield ''
        await turns(1)
        yield bytes('grün and longer')
      })(),
    '/web-stream': () =>
      new ReadableStream<Uint8Array | string>({
        start(controller) {
          controller.enqueue('one')
          controller.enqueue(new Uint8Array(0))
          controller.enqueue(bytes('grün and longer'))
          controller.close()
        },
      }),
    '/node-stream': () => Readable.from(['one', bytes('grün and longer')]),
    '/source': () =>
      new HandSource((sink) => {
        sink.write(bytes('one'))
        sink.write(new Uint8Array(0))
        sink.write(bytes('grün and longer'))
        sink.end()
      }),
  }
  const server = await start(t, (conn) => conn.ok(kinds[conn.path]!()))
  const client = await server.connect()
  for (const path of Object.keys(kinds)) {
    await client.get(path).received('0\r\n\r\n')
    assert.equal(
      withoutDate(client.take().toString('utf8')),
      `${chunkedHead}3\r\none\r\n10\r\ngrün and longer\r\n0\r\n\r\n`,
      path,
    )
  }
  assert.deepEqual(server.errors, [])
})

test('an empty stream is a head and the last chunk', async (t) => {
  const server = await start(t, (conn) => conn.ok(Readable.from([])))
  const client = await server.connect()
  await client.get('/').received('\r\n\r\n0\r\n\r\n')
  assert.equal(withoutDate(client.text), `${chunkedHead}0\r\n\r\n`)
})

test('fetch and the client of node read what is streamed', async (t) => {
  const server = await start(t, (conn) =>
    conn.ok(
      (async function* () {
        for (let at = 0; at < 100; at++) yield `${at} `.repeat(1000)
      })(),
    ),
  )
  const expected = Array.from({ length: 100 }, (_, at) => `${at} `.repeat(1000)).join('')
  assert.equal(await (await fetch(server.url)).text(), expected)
  const response = await new Promise<Readable>((resolve, reject) =>
    httpGet(server.url, { agent: false }, resolve).on('error', reject),
  )
  assert.equal(Buffer.concat(await response.toArray()).toString(), expected)
})

test('a stream of known length has a Content-Length and no chunks', async (t) => {
  const server = await start(t, (conn) =>
    conn.ok(
      new HandSource(
        (sink) => {
          sink.write(bytes('hel'))
          sink.write(bytes('lo'))
          sink.end()
        },
        { length: 5 },
      ),
    ),
  )
  const client = await server.connect()
  for (let request = 0; request < 2; request++) {
    await client.get('/').received('hello')
    await turns()
    assert.equal(
      withoutDate(client.take().toString()),
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\n\r\nhello',
    )
  }
})

test('a stream that is longer or shorter than its length is cut, and never desynchronises the connection', async (t) => {
  const pieces = async function* (text: string): AsyncGenerator<string> {
    for (const piece of text) {
      yield piece
      await turns(1)
    }
  }
  const written = (text: string) => (sink: BodySink) => {
    sink.write(bytes(text))
    sink.end()
  }
  const apps: Record<string, (conn: Conn) => Conn> = {
    '/source-long': (conn) => conn.ok(new HandSource(written('123456789'), { length: 5 })),
    '/source-short': (conn) => conn.ok(new HandSource(written('123'), { length: 5 })),
    '/declared-long': (conn) =>
      conn.withResponseHeader('Content-Length', 5).ok(pieces('123456789')),
    '/declared-short': (conn) => conn.withResponseHeader('Content-Length', 5).ok(pieces('123')),
  }
  const server = await start(t, (conn) => apps[conn.path]!(conn))
  for (const path of Object.keys(apps)) {
    const client = await server.connect()
    client.get(path)
    if (path === '/source-long') {
      // Refused before its head: a 500, after which the connection is as good as before, and would be kept.
      await client.received('\r\n\r\n')
      client.socket.end()
    }
    await client.closed()
    const body = client.text.split('\r\n\r\n')[1] ?? ''
    assert.ok(body.length <= 5 && '12345'.startsWith(body), `${path}: ${client.text}`)
    assert.equal(server.errors.length, 1, path)
    const { error, context } = server.errors.pop()!
    assert.ok(error instanceof RangeError)
    assert.equal(context.place, 'the response body')
    assert.equal(context.conn.path, path)
  }
})

test('a Content-Length that a handler sets on a stream replaces the chunks', async (t) => {
  const server = await start(t, (conn) =>
    conn.withResponseHeader('content-length', 6).ok(Readable.from(['abc', 'def'])),
  )
  const client = await server.connect()
  await client.get('/').received('abcdef')
  await turns()
  assert.equal(
    withoutDate(client.take().toString()),
    'HTTP/1.1 200 OK\r\ncontent-length: 6\r\nDate: now\r\n\r\nabcdef',
  )
  assert.equal((await client.get('/').response()).body, 'abcdef')
})

test('a stream to HTTP/1.0 ends with the connection', async (t) => {
  const server = await start(t, (conn) => conn.ok(Readable.from(['one', 'two'])))
  for (const fields of ['', 'Connection: keep-alive\r\n']) {
    const client = await server.connect()
    await client.send(`GET / HTTP/1.0\r\n${fields}\r\n`).ended()
    assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.doesNotMatch(client.text, /transfer-encoding|content-length/i)
    assert.match(client.text, /\r\n\r\nonetwo$/)
  }
})

test('a stream to a client that asks to close is chunked, whole, and followed by the end', async (t) => {
  const server = await start(t, (conn) => conn.ok(Readable.from(['one'])))
  const client = await server.connect()
  await client.get('/', 'Connection: close').ended()
  assert.match(client.text, /\r\nConnection: close\r\n/)
  assert.match(client.text, /\r\n\r\n3\r\none\r\n0\r\n\r\n$/)
})

test('head and first items go out together', async (t) => {
  const server = await start(t, (conn) => conn.withSseStream(['one', 'two']))
  const client = await server.connect()
  let writes = 0
  t.after(onSocketWrite(client.socket, () => writes++))
  await client.get('/').received('0\r\n\r\n')
  assert.equal(writes, 2, 'one by the client, one by the server')
  assert.equal(client.reads, 1)
  assert.match(
    client.text,
    /\r\n\r\n2\r\n:\n\r\nb\r\ndata: one\n\n\r\nb\r\ndata: two\n\n\r\n0\r\n\r\n$/,
  )
})

test('a source that writes later is heard at once, with the head before it', async (t) => {
  const source = new HandSource()
  const server = await start(t, (conn) => conn.ok(source))
  const client = await server.connect()
  await client.get('/').received('\r\n\r\n')
  assert.equal(withoutDate(client.take().toString()), chunkedHead)
  source.sink!.write(bytes('late'))
  await client.received('4\r\nlate\r\n')
  source.sink!.end()
  await client.received('0\r\n\r\n')
  assert.equal(source.sink!.write(bytes('after the end')), false)
  source.sink!.end()
  await turns()
  assert.equal(client.text, '4\r\nlate\r\n0\r\n\r\n')
  assert.deepEqual(source.calls, ['start'])
})

// ------------------------------------------------------------------------ bodies that are not sent

test('HEAD, 204 and 304 never start a source, and let go of it', async (t) => {
  const sources: HandSource[] = []
  const server = await start(t, (conn) => {
    const source = new HandSource(() => {}, { length: 7 })
    sources.push(source)
    conn.ok(source)
    if (conn.path !== '/') conn.withStatus(Number(conn.path.slice(1)))
  })
  const client = await server.connect()
  const head = await client.request('HEAD', '/').response({ isHead: true })
  assert.equal(head.field('content-length'), '7')
  await client.get('/204').response()
  await client.get('/304').response()
  await turns()
  assert.equal(client.text, '')
  assert.deepEqual(
    sources.map((source) => source.calls),
    [['closed'], ['closed'], ['closed']],
  )
})

test('500 HEADs of event streams leave nothing behind', async (t) => {
  const broadcaster = new Broadcaster()
  let opened = 0
  let cancelled = 0
  const server = await start(t, (conn) => {
    if (conn.path === '/broadcast') return conn.withSseStream(broadcaster)
    if (conn.path === '/function')
      return conn.withSseStream(() => {
        opened++
        return []
      })
    return conn.ok(new ReadableStream({ cancel: () => void cancelled++ }))
  })
  const client = await server.connect()
  const paths = ['/broadcast', '/function', '/web']
  for (let request = 0; request < 500; request++) {
    const response = await client.request('HEAD', paths[request % 3]!).response({ isHead: true })
    assert.equal(response.status, 200)
  }
  await turns()
  assert.equal(client.text, '')
  assert.equal(broadcaster.subscriberCount, 0)
  assert.equal(opened, 0)
  assert.equal(cancelled, 166)
})

// ------------------------------------------------------------------------------------- errors

test('an error in mid-body cuts the connection, and is reported with the conn and the place', async (t) => {
  const error = new Error('the database is called db7')
  const kinds: Record<string, () => Body> = {
    '/async-iterable': () =>
      (async function* () {
        yield 'one'
        await turns(5)
        throw error
      })(),
    '/web-stream': () => {
      let pulls = 0
      return new ReadableStream<string>({
        async pull(controller) {
          if (pulls++ === 0) return controller.enqueue('one')
          await turns(5)
          controller.error(error)
        },
      })
    },
    '/node-stream': () => {
      let reads = 0
      return new Readable({
        read() {
          if (reads++ === 0) this.push('one')
          else setImmediate(() => this.destroy(error))
        },
      })
    },
    '/source': () =>
      new HandSource((sink) => {
        sink.write(bytes('one'))
        setImmediate(() => setImmediate(() => sink.abort(error)))
      }),
    '/not-bytes': () =>
      (async function* () {
        yield 'one'
        await turns(5)
        yield 1 as unknown as string
      })(),
  }
  const calls: string[] = []
  const server = await start(t, (conn) => {
    conn.afterSend((isSent) => calls.push(`${conn.path} ${isSent}`))
    conn.ok(kinds[conn.path]!())
  })
  for (const path of Object.keys(kinds)) {
    const client = await server.connect()
    await client.get(path).closed()
    assert.equal(withoutDate(client.text), `${chunkedHead}3\r\none\r\n`, path)
    await until('afterSend is called', () => calls.length > 0)
    assert.deepEqual(calls.splice(0), [`${path} false`])
    assert.equal(server.errors.length, 1, path)
    const report = server.errors.pop()!
    if (path === '/not-bytes') assert.ok(report.error instanceof TypeError)
    else assert.equal(report.error, error)
    assert.equal(report.context.place, 'the response body')
    assert.equal(report.context.conn.path, path)
    await assert.rejects(
      fetch(server.url + path).then((response) => response.text()),
      path,
    )
    await until('the error is reported', () => server.errors.length === 1)
    server.errors.pop()
    calls.splice(0)
  }
})

test('a body that HTTP/1.0 delimits by the end is reset when it is cut, so that it is not taken for whole', async (t) => {
  const server = await start(t, (conn) =>
    conn.ok(
      (async function* () {
        yield 'one'
        await turns(5)
        throw new Error('no')
      })(),
    ),
  )
  const client = await server.connect()
  await client.send('GET / HTTP/1.0\r\n\r\n').closed()
  assert.equal(client.error?.code, 'ECONNRESET')
})

test('a source that throws is reported and cut, and concerns nobody else', async (t) => {
  class Faulty extends HandSource {
    constructor(part: 'start' | 'drained' | 'stop' | 'closed') {
      super((sink) => sink.write(Buffer.alloc(1024 * 1024)))
      this[part] = () => {
        throw new Error(part)
      }
    }
  }
  const server = await start(
    t,
    (conn) => {
      if (conn.path === '/fine')
        return conn.withSseStream(() => watched([], () => never)(conn.signal))
      return conn.ok(new Faulty(conn.path.slice(1) as 'start'))
    },
    { shutdown: { lingerMs: 0, deadlineMs: 10_000 } },
  )
  for (const part of ['start', 'drained', 'closed']) {
    const client = await server.connect()
    client.get(`/${part}`)
    if (part === 'closed') {
      await client.received('\r\n\r\n')
      client.socket.resetAndDestroy()
    }
    if (part === 'start') {
      // It has failed before the head: a 500, after which the connection would be kept.
      await client.received('\r\n\r\n')
      client.socket.end()
    }
    await client.closed()
    await until('the error is reported', () => server.errors.length > 0)
    const { error, context } = server.errors.pop()!
    assert.equal((error as Error).message, part)
    assert.equal(context.place, 'the response body')
  }
  const [faulty, fine] = [await server.connect(), await server.connect()]
  await faulty.get('/stop').received('\r\n\r\n')
  await fine.get('/fine').received(':\n')
  const stopped = server.handle.shutDown()
  await faulty.closed()
  await fine.ended()
  assert.ok(fine.text.endsWith('0\r\n\r\n'), fine.text)
  fine.socket.end()
  assert.equal((await stopped).outcome, 'clean')
  assert.deepEqual(
    server.errors.map(({ error }) => (error as Error).message),
    ['stop'],
  )
})

test('a cut ends the connection and reports nothing', async (t) => {
  const source = new HandSource((sink) => {
    sink.write(bytes('one'))
    setImmediate(() => setImmediate(() => sink.cut()))
  })
  const server = await start(t, (conn) => conn.ok(source))
  const client = await server.connect()
  await client.get('/').closed()
  assert.equal(withoutDate(client.text), `${chunkedHead}3\r\none\r\n`)
  assert.deepEqual(server.errors, [])
  assert.deepEqual(source.calls, ['start'])
})

// --------------------------------------------------------------------------- clients that leave

for (const [how, leave] of [
  ['half-closes', 'end'],
  ['leaves', 'destroy'],
  ['resets the connection', 'resetAndDestroy'],
] as const) {
  test(`a client that ${how} during an event stream ends the source, even while it waits`, async (t) => {
    const log: string[] = []
    let count = 0
    const signals: AbortSignal[] = []
    const server = await start(t, (conn) => {
      signals.push(conn.signal)
      conn.afterSend((isSent) => log.push(`afterSend ${isSent}`))
      return conn.withSseStream(watched(log, () => (count++ === 0 ? 'one' : never)))
    })
    const client = await server.connect()
    await client.get('/').received('data: one')
    await turns()
    assert.deepEqual(log, [])
    client.socket[leave]()
    await until('the source is let go', () => log.length === 3)
    await turns()
    assert.deepEqual(log.toSorted(), ['aborted', 'afterSend false', 'returned'])
    assert.equal(signals[0]!.aborted, true)
    assert.deepEqual(server.errors, [])
  })

  test(`a client that ${how} while an event stream's write is stalled ends the source`, async (t) => {
    const log: string[] = []
    let written = 0
    const server = await start(t, (conn) => {
      conn.afterSend((isSent) => log.push(`afterSend ${isSent}`))
      return conn.withSseStream(
        watched(log, () => {
          written++
          return 'x'.repeat(1024 * 1024)
        }),
      )
    })
    const client = await server.connect()
    client.socket.pause()
    client.get('/')
    await stalled(() => written)
    assert.deepEqual(log, [])
    client.socket[leave]()
    await until('the source is let go', () => log.length === 3)
    assert.deepEqual(log.toSorted(), ['aborted', 'afterSend false', 'returned'])
  })
}

test('a client that leaves a broadcast is forgotten', async (t) => {
  const broadcaster = new Broadcaster()
  const server = await start(t, (conn) => conn.withSseStream(broadcaster))
  const clients = await Promise.all(Array.from({ length: 5 }, () => server.connect()))
  for (const client of clients) await client.get('/').received(':\n')
  assert.equal(broadcaster.subscriberCount, 5)
  for (const client of clients) client.socket.end()
  await until('nobody is subscribed', () => broadcaster.subscriberCount === 0)
})

test('a client that half-closed before its event stream began is gone too', async (t) => {
  const log: string[] = []
  let isReached = false
  let go = (): void => {}
  const server = await start(t, async (conn) => {
    conn.afterSend((isSent) => log.push(`afterSend ${isSent}`))
    isReached = true
    await new Promise<void>((resolve) => (go = resolve))
    return conn.withSseStream(watched(log, () => never))
  })
  const client = await server.connect()
  client.get('/').socket.end()
  await until('the handler runs', () => isReached)
  await turns()
  go()
  await client.closed()
  await until('the response is over', () => log.includes('afterSend false'))
})

test('a client that leaves with its request body unread is noticed by the next write', async (t) => {
  const log: string[] = []
  let next: (text: string) => void = () => {}
  const server = await start(t, (conn) =>
    conn.withSseStream(watched(log, () => new Promise<string>((resolve) => (next = resolve)))),
  )
  const client = await server.connect()
  const body = 'x'.repeat(4 * 1024 * 1024)
  client.request('POST', '/', `Content-Length: ${body.length}`).send(body)
  await client.received(':\n')
  client.socket.resetAndDestroy()
  await turns()
  next('anybody there?')
  await until('the source is let go', () => log.length === 2)
})

test('a client that half-closes during a download gets all of it, and then the end', async (t) => {
  let go = (): void => {}
  const server = await start(t, (conn) =>
    conn.ok(
      (async function* () {
        yield 'first '
        await new Promise<void>((resolve) => (go = resolve))
        yield 'second'
      })(),
    ),
  )
  const client = await server.connect()
  await client.get('/').received('first ')
  client.socket.end()
  await turns()
  go()
  await client.received('6\r\nsecond\r\n0\r\n\r\n')
  await client.ended()
})

test('a client that leaves a download ends its source', async (t) => {
  const log: string[] = []
  const server = await start(t, (conn) => {
    conn.afterSend((isSent) => log.push(`afterSend ${isSent}`))
    const source = watched(log, async () => {
      await nextTurn()
      return 'x'.repeat(1000)
    })
    return conn.ok(source(conn.signal))
  })
  const client = await server.connect()
  await client.get('/').received('xxx')
  client.socket.destroy()
  await until('the source is let go', () => log.length === 3)
  assert.deepEqual(log.toSorted(), ['aborted', 'afterSend false', 'returned'])
})

test('a node stream and a web stream are closed when the client leaves', async (t) => {
  const node = new Readable({ read() {} })
  let cancelled = 0
  const web = new ReadableStream<string>({ cancel: () => void cancelled++ })
  const server = await start(t, (conn) => conn.ok(conn.path === '/node' ? node : web))
  for (const path of ['/node', '/web']) {
    const client = await server.connect()
    await client.get(path).received('\r\n\r\n')
    client.socket.resetAndDestroy()
  }
  await until('both are closed', () => node.destroyed && cancelled === 1)
})

// -------------------------------------------------------------------------------- back-pressure

/** Waits until a count stands still. */
async function stalled(count: () => number): Promise<number> {
  for (let still = 0, last = -1; still < 60; still++) {
    if (count() !== last) still = 0
    last = count()
    await nextTurn()
  }
  return count()
}

test('an unread firehose is pulled no further than the buffers reach, and on when it is read', async (t) => {
  const item = 'x'.repeat(64 * 1024)
  const limit = 1000 // 64 MB: far beyond what the kernel takes for one connection
  const kinds: Record<string, (count: () => void) => AnyHandler> = {
    'an async generator': (count) => (conn) =>
      conn.ok(
        (async function* () {
          for (let at = 0; at < limit; at++) {
            count()
            yield item
          }
        })(),
      ),
    'a synchronous iterable': (count) => (conn) =>
      conn.withSseStream(
        (function* () {
          for (let at = 0; at < limit; at++) {
            count()
            yield item
          }
        })(),
      ),
    'a web stream': (count) => (conn) => {
      let at = 0
      return conn.ok(
        new ReadableStream<string>({
          pull(controller) {
            count()
            if (at++ === limit) controller.close()
            else controller.enqueue(item)
          },
        }),
      )
    },
  }
  for (const [kind, app] of Object.entries(kinds)) {
    let pulled = 0
    const server = await start(
      t,
      app(() => pulled++),
    )
    const client = await server.connect()
    client.socket.pause()
    client.get('/')
    const before = await stalled(() => pulled)
    assert.ok(before > 0 && before < limit / 2, `${kind}: ${before} items`)
    client.socket.destroy()
  }
})

test('a stalled stream goes on when the client reads, and nothing is lost', async (t) => {
  const count = 400
  const server = await start(t, (conn) =>
    conn.ok(
      (async function* () {
        for (let at = 0; at < count; at++) yield String(at).padStart(65_536, '.')
      })(),
    ),
  )
  const client = await server.connect()
  client.socket.pause()
  client.get('/')
  await turns(100)
  client.socket.resume()
  const { body } = await client.response()
  assert.equal(body.length, count * 65_536)
  for (let at = 0; at < count; at++)
    assert.equal(body.slice((at + 1) * 65_536 - 4, (at + 1) * 65_536), String(at).padStart(4, '.'))
})

test('a source that writes on against the advice loses nothing, and is told once that there is room', async (t) => {
  const warnings: Error[] = []
  const onWarning = (warning: Error): void => void warnings.push(warning)
  process.on('warning', onWarning)
  t.after(() => process.off('warning', onWarning))
  const source = new HandSource((sink) => {
    for (let at = 0; at < 40; at++) sink.write(bytes(String(at % 10).repeat(100_000)))
  })
  const server = await start(t, (conn) => conn.ok(source))
  const client = await server.connect()
  client.socket.pause()
  client.get('/')
  await turns(100)
  client.socket.resume()
  await until('there is room', () => source.calls.includes('drained'))
  source.sink!.end()
  const { body } = await client.response()
  assert.equal(
    body,
    Array.from({ length: 40 }, (_, at) => String(at % 10).repeat(100_000)).join(''),
  )
  assert.deepEqual(source.calls, ['start', 'drained'])
  await turns()
  assert.deepEqual(warnings, [])
})

test('an endless iterable does not keep other requests from being answered, however fast its client reads', async (t) => {
  // The reader is a thread of its own: only one that never lags shows a server that never pauses.
  const server = await start(t, (conn) => {
    if (conn.path === '/other') return conn.ok('answered')
    return conn.withSseStream(
      (function* () {
        while (!isOver) {
          yield 'tick'
          // Where the loop is starved, nothing in it can end the test: the generator itself must.
          if (++items === 3_000_000) hasGivenUp = isOver = true
        }
      })(),
    )
  })
  let items = 0
  let isOver = false
  let hasGivenUp = false
  const reader = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
     const socket = require('node:net').connect(workerData, '127.0.0.1')
     socket.write('GET / HTTP/1.1\\r\\nHost: test\\r\\n\\r\\n')
     socket.once('data', () => parentPort.postMessage('reading'))
     socket.on('error', () => {})
     socket.resume()`,
    { eval: true, workerData: server.port },
  )
  t.after(() => reader.terminate())
  await once(reader, 'message')
  const client = await server.connect()
  const { body } = await client.get('/other').response()
  isOver = true
  assert.equal(body, 'answered')
  assert.equal(hasGivenUp, false)
})

// ------------------------------------------------------------------------------------ pipelining

test('a stream behind a slow response waits for its turn, and one before another goes first', async (t) => {
  let go = (): void => {}
  const server = await start(t, async (conn) => {
    if (conn.path === '/slow') {
      await new Promise<void>((resolve) => (go = resolve))
      return conn.ok('slow')
    }
    if (conn.path === '/fast') return conn.ok('fast')
    return conn.ok(
      (async function* () {
        yield `${conn.path} one, `
        await turns(10)
        yield `${conn.path} two`
      })(),
    )
  })
  const client = await server.connect()
  client.get('/slow').get('/a').get('/b').get('/fast')
  await turns(100)
  assert.equal(client.text, '')
  go()
  const bodies: string[] = []
  for (let at = 0; at < 4; at++) bodies.push((await client.response()).body)
  assert.deepEqual(bodies, ['slow', '/a one, /a two', '/b one, /b two', 'fast'])
  assert.equal(client.text, '')
})

test('a stream that waits for its turn is let go when the client leaves, without being started', async (t) => {
  const source = new HandSource()
  const calls: string[] = []
  const server = await start(t, (conn) => {
    conn.afterSend((isSent) => calls.push(`${conn.path} ${isSent}`))
    if (conn.path === '/slow') return never
    return conn.ok(source)
  })
  const client = await server.connect()
  client.get('/slow').get('/stream')
  await turns()
  client.socket.resetAndDestroy()
  await until('it is let go', () => source.calls.length > 0 && calls.length > 0)
  assert.deepEqual(source.calls, ['closed'])
  assert.deepEqual(calls, ['/stream false'])
})

test('a connection that goes on keeps nothing of the streams that are over', async (t) => {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  const sources: WeakRef<BodySource>[] = []
  const server = await start(t, (conn) => {
    const source = new HandSource((sink) => {
      sink.write(Buffer.alloc(100_000))
      setImmediate(() => sink.end())
    })
    sources.push(new WeakRef(source))
    conn.ok(source)
  })
  const client = await server.connect()
  for (let at = 0; at < 10; at++) await client.get('/').response()
  // The last one may still be in use.
  await until('the others are collected', () => {
    collectGarbage()
    return sources.slice(0, 9).every((source) => source.deref() === undefined)
  })
  assert.equal(client.isClosed, false)
})

// ------------------------------------------------------------------------------------- the stop

test('[stopping 2.8] a stop ends event streams whole, and lets finite bodies finish', async (t) => {
  let go = (): void => {}
  const log: string[] = []
  const broadcaster = new Broadcaster()
  const server = await start(
    t,
    (conn) => {
      if (conn.path === '/pulled') return conn.withSseStream(watched(log, () => never))
      if (conn.path === '/broadcast') return conn.withSseStream(broadcaster)
      return conn.ok(
        (async function* () {
          yield 'first '
          await new Promise<void>((resolve) => (go = resolve))
          yield 'last'
        })(),
      )
    },
    { shutdown: { lingerMs: 0, deadlineMs: 10_000 } },
  )
  const [pulled, broadcast, finite] = await Promise.all([
    server.connect(),
    server.connect(),
    server.connect(),
  ])
  await pulled.get('/pulled').received(':\n')
  await broadcast.get('/broadcast').received(':\n')
  await finite.get('/finite').received('first ')
  broadcaster.publish('before the stop')
  const stopped = server.handle.shutDown()
  for (const client of [pulled, broadcast]) {
    await client.ended()
    assert.ok(client.text.endsWith('0\r\n\r\n'), client.text)
    client.socket.end()
  }
  assert.match(
    broadcast.text,
    /data: before the stop\n\n\r\nc\r\nretry: [1-5]\d{3}\n\r\n0\r\n\r\n$/,
  )
  assert.deepEqual(log, ['aborted', 'returned'])
  assert.equal(finite.isEnded, false)
  go()
  await finite.received('4\r\nlast\r\n0\r\n\r\n')
  await finite.ended()
  finite.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('a request that was pipelined behind a stream is answered though the server stops', async (t) => {
  const server = await start(
    t,
    (conn) => {
      if (conn.path === '/next') return conn.ok('next')
      return conn.withSseStream(() => watched([], () => never)(conn.signal))
    },
    { shutdown: { lingerMs: 0, deadlineMs: 10_000 } },
  )
  const client = await server.connect()
  await client.get('/stream').get('/next').received(':\n')
  await turns()
  const stopped = server.handle.shutDown()
  assert.match((await client.response()).body, /^:\nretry: [1-5]\d{3}\n$/)
  assert.equal((await client.response()).body, 'next')
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 2.6] an event stream that begins during the stop is a head and an end', async (t) => {
  let go = (): void => {}
  const server = await start(
    t,
    async (conn) => {
      await new Promise<void>((resolve) => (go = resolve))
      return conn.withSseStream(() => watched([], () => never)(conn.signal))
    },
    { shutdown: { lingerMs: 0, deadlineMs: 10_000 } },
  )
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => go.name !== 'go')
  const stopped = server.handle.shutDown()
  await turns()
  go()
  await client.ended()
  assert.match(client.text, /\r\nConnection: close\r\n/)
  assert.match(client.text, /\r\n\r\n2\r\n:\n\r\nc\r\nretry: [1-5]\d{3}\n\r\n0\r\n\r\n$/)
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 2.1] an event stream ends after a whole event, with a retry of its own, the end of the body and of the connection', async (t) => {
  const broadcaster = new Broadcaster({ replay: false })
  const log: string[] = []
  const server = await start(
    t,
    (conn) => {
      if (conn.path === '/pulled') return conn.withSseStream(watched(log, () => never))
      return conn.withSseStream(broadcaster, { stopRetryMs: [100, 1e9] })
    },
    { shutdown: { lingerMs: 0, deadlineMs: 20_000 } },
  )
  const clients: RawClient[] = []
  for (let at = 0; at < 4; at++) {
    const client = await server.connect()
    clients.push(client)
    await client.get('/').received(':\n')
  }
  const pulled = await server.connect()
  await pulled.get('/pulled').received(':\n')
  broadcaster.publish('one\ntwo')
  const stopped = server.handle.shutDown()
  const retries = new Set<string>()
  for (const client of clients) {
    const { body } = await client.response() // fails where the end of the body is missing
    const [, retry] = /^:\ndata: one\ndata: two\n\nretry: (\d+)\n$/.exec(body)!
    retries.add(retry!)
  }
  assert.ok(retries.size > 1, 'each its own')
  assert.match((await pulled.response()).body, /^:\nretry: [1-5]\d{3}\n$/)
  assert.deepEqual(log, ['aborted', 'returned'])
  for (const client of [...clients, pulled]) {
    await client.ended()
    assert.equal(client.error, undefined)
    client.socket.end()
  }
  const { outcome, streamsEnded } = await stopped
  assert.deepEqual({ outcome, streamsEnded }, { outcome: 'clean', streamsEnded: 5 })
})

test('[stopping 2.4] event streams end in batches, with a time between one and the next', async (t) => {
  const pass = ownTime(t)
  const broadcaster = new Broadcaster()
  const server = await start(t, (conn) => conn.withSseStream(broadcaster), {
    shutdown: {
      lingerMs: 0,
      deadlineMs: 1e6,
      streamsPerBatch: 2,
      batchIntervalMs: 1_000,
    },
  })
  const clients: RawClient[] = []
  for (let at = 0; at < 5; at++) {
    const client = await server.connect()
    clients.push(client)
    await client.get('/').received(':\n')
  }
  const ended = (): number => clients.filter(({ isEnded }) => isEnded).length
  const stopped = server.handle.shutDown()
  for (const expected of [2, 4]) {
    await until(`${expected} have ended`, () => ended() === expected)
    await pass(999)
    assert.equal(ended(), expected)
    broadcaster.publish('to those that are left')
    await pass(1)
  }
  await until('all have ended', () => ended() === 5)
  const counts = clients.map(({ text }) => text.split('data: to those that are left').length - 1)
  assert.deepEqual(counts, [0, 0, 1, 1, 2])
  for (const client of clients) {
    assert.ok(client.text.endsWith('\r\n0\r\n\r\n'))
    client.socket.end()
  }
  const { outcome, streamsEnded } = await stopped
  assert.deepEqual({ outcome, streamsEnded }, { outcome: 'clean', streamsEnded: 5 })
})

test('[stopping 2.4] the deadline does not wait for batches that are still to come', async (t) => {
  const pass = ownTime(t)
  const broadcaster = new Broadcaster()
  const server = await start(t, (conn) => conn.withSseStream(broadcaster), {
    shutdown: { lingerMs: 0, deadlineMs: 500, streamsPerBatch: 1, batchIntervalMs: Infinity },
  })
  const clients = [await server.connect(), await server.connect()]
  for (const client of clients) await client.get('/').received(':\n')
  const stopped = server.handle.shutDown()
  await clients[0]!.ended()
  clients[0]!.socket.end()
  await pass(500)
  const { outcome, cut, streamsEnded } = await stopped
  assert.deepEqual([outcome, cut!.streamCount, streamsEnded], ['deadline', 1, 1])
  await clients[1]!.closed()
  assert.ok(!clients[1]!.text.endsWith('\r\n0\r\n\r\n'))
})

test('[stopping 2.7] a client that does not take what was published is cut after a second, long before the deadline', async (t) => {
  const pass = ownTime(t)
  const broadcaster = new Broadcaster()
  const server = await start(t, (conn) => conn.withSseStream(broadcaster), {
    shutdown: { lingerMs: 0, deadlineMs: 60_000 },
  })
  const [stalled, reading] = [await server.connect(), await server.connect()]
  for (const client of [stalled, reading]) await client.get('/').received(':\n')
  stalled.socket.pause()
  reading.socket.removeAllListeners('data').resume()
  // More than the buffers take between here and there; and then one that has to wait.
  broadcaster.publish('x'.repeat(15 * 1024 * 1024))
  broadcaster.publish('the last')
  const stopped = server.handle.shutDown()
  await reading.ended()
  reading.socket.end()
  await pass(999)
  assert.equal(server.handle.phase, 'stopping')
  await pass(1)
  const { outcome, code, streamsCut, streamsEnded, cut } = await stopped
  assert.deepEqual(
    { outcome, code, streamsCut, streamsEnded, cut },
    { outcome: 'cut', code: 1, streamsCut: 1, streamsEnded: 1, cut: undefined },
  )
  stalled.socket.resume()
  await stalled.closed()
  assert.ok(!stalled.text.endsWith('\r\n0\r\n\r\n'))
})
