import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import type { TestContext } from 'node:test'

import { deferred, settled, watch } from '../fixtures/promises.ts'
import { Chunk, encodeText } from './body.ts'
import type { BodySink, BodySource } from './body.ts'
import type { Conn } from './conn.ts'
import { BodyAbortedError } from './errors.ts'
import { toFetch } from './fetch.ts'
import type { FetchOptions } from './fetch.ts'
import { HeaderMap } from './header-map.ts'
import { Init } from './info.ts'
import { PullSource } from './pull-source.ts'
import { Swansong } from './swansong.ts'

const url = 'http://fern.test/'

// ------------------------------------------------------------------------------------ the request

test('a Request becomes a conn: method, target, headers, host', async () => {
  const fetch = toFetch((conn) =>
    conn.json([
      conn.method,
      conn.pathAndQuery,
      conn.requestHeaders,
      conn.host,
      conn.httpVersion,
      conn.isSecure,
      conn.peerIp ?? 'nobody',
    ]),
  )
  const request = new Request('https://fern.test:8443/a%20b/?c=d&e#f', {
    method: 'DELETE',
    headers: [
      ['X-Leaf', 'one'],
      ['x-leaf', 'two'],
    ],
  })
  assert.deepEqual(await (await fetch(request)).json(), [
    'DELETE',
    '/a%20b/?c=d&e',
    { 'x-leaf': 'one, two', host: 'fern.test:8443' },
    'fern.test:8443',
    '1.1',
    true,
    'nobody',
  ])
  const host = new Request(url, { headers: { Host: 'other.test' } })
  assert.equal((await (await fetch(host)).json())[3], 'other.test')
})

test('a request body is read as text, bytes, JSON, a form, a stream, or as it arrives', async () => {
  const ways: Record<string, (conn: Conn) => Promise<unknown>> = {
    text: (conn) => conn.requestBody.text(),
    bytes: async (conn) => [...(await conn.requestBody.bytes())],
    json: (conn) => conn.requestBody.json(),
    stream: (conn) => new Response(conn.requestBody.stream()).text(),
    async parts(conn) {
      let length = 0
      for await (const part of conn.requestBody) length += part.length
      return length
    },
    form: async (conn) => [...(await conn.requestBody.formData())],
  }
  const fetch = toFetch(async (conn) => conn.json(await ways[conn.path.slice(1)]!(conn)))
  const send = async (way: string, body: BodyInit, headers?: HeadersInit): Promise<unknown> => {
    const init = { method: 'POST', body, ...(headers && { headers }), duplex: 'half' }
    return (await fetch(new Request(url + way, init))).json()
  }
  assert.equal(await send('text', 'Fårö'), 'Fårö')
  assert.equal(await send('text', 'Fårö', { 'content-length': '6' }), 'Fårö')
  assert.equal(await send('text', ''), '')
  assert.deepEqual(await send('bytes', 'ab'), [97, 98])
  assert.deepEqual(await send('json', '{"a":1}'), { a: 1 })
  assert.equal(await send('stream', new Blob(['a', 'b']).stream()), 'ab')
  assert.equal(await send('parts', new Blob(['a', 'b']).stream()), 2)
  assert.deepEqual(await send('form', new URLSearchParams({ a: 'b' })), [['a', 'b']])
  const form = new FormData()
  form.set('name', 'Fårö')
  assert.deepEqual(await send('form', form), [['name', 'Fårö']])
  const headers = { 'content-length': '5' }
  const none = await fetch(new Request(`${url}text`, { method: 'POST', headers }))
  assert.equal(await none.json(), '')
})

test('a request body over the limit is a 413, whether its length is known or not', async (t) => {
  const { fetch, errors } = open(t, async (conn) => conn.ok(await conn.requestBody.text()), {
    limits: { bodyBytes: 3 },
  })
  for (const headers of [{ 'content-length': '4' }, {}])
    assert.equal((await fetch(post('four', headers))).status, 413)
  assert.equal(await (await fetch(post('one'))).text(), 'one')
  assert.deepEqual(errors, [])
})

test('a request body is read no further than a handler reads it, and let go then', async (t) => {
  const pulled: number[] = []
  const cancelled: unknown[] = []
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      pull(controller) {
        pulled.push(pulled.length)
        controller.enqueue(new Uint8Array(10))
      },
      cancel: (reason) => void cancelled.push(reason),
    },
    { highWaterMark: 0 },
  )
  const { fetch } = open(t, async (conn) => {
    if (conn.path === '/') for await (const part of conn.requestBody) return conn.ok(part)
    return conn.ok('unread')
  })
  assert.equal((await (await fetch(post(body))).arrayBuffer()).byteLength, 10)
  assert.deepEqual([pulled.length, cancelled.length], [1, 1])
})

test('a client that leaves while its body comes is seen by who reads it, and by conn.signal', async (t) => {
  const client = new AbortController()
  const began = deferred<void>()
  const caught = deferred<unknown>()
  const { fetch, errors } = open(t, async (conn) => {
    const { signal } = conn
    began.resolve()
    try {
      await conn.requestBody.text()
    } catch (error) {
      caught.resolve([error, signal.aborted, conn.isDisconnected])
      throw error
    }
  })
  const stuck = new ReadableStream<Uint8Array<ArrayBuffer>>({})
  const response = fetch(post(stuck, {}, client.signal))
  await began.promise
  client.abort()
  const [error, ...seen] = (await caught.promise) as unknown[]
  assert(error instanceof BodyAbortedError)
  assert.deepEqual(seen, [true, true])
  assert.equal((await response).status, 499)
  assert.deepEqual(errors, [])
})

test('a body cannot be read where the client has left before', async (t) => {
  const { fetch, errors } = open(t, async (conn) => conn.ok(await conn.requestBody.text()))
  assert.equal((await fetch(post('x', {}, AbortSignal.abort()))).status, 499)
  assert.deepEqual(errors, [])
})

test('a request whose body somebody has read is refused', async () => {
  const request = post('x')
  await request.text()
  await assert.rejects(toFetch('hello')(request), {
    name: 'TypeError',
    message: 'Cannot handle a request whose body has been read: hand over a clone',
  })
})

test('a method that is none of HTTP is a 501, and no handler sees it', async () => {
  const fetch = toFetch(() => assert.fail('a handler runs'))
  assert.equal((await fetch(new Request(url, { method: 'SOURCE' }))).status, 501)
})

// ----------------------------------------------------------------------------------- the response

test('a response has the status, the headers line by line and the body, and no content type of its own', async () => {
  const fetch = toFetch((conn) => {
    conn.responseHeaders
      .append('Set-Cookie', ['a=1', 'b=2'])
      .append('Vary', ['Accept', 'Origin'])
      .set('X-Name', 'Fårö')
    conn.withStatus(201).withBody(conn.path === '/bytes' ? encodeText('größer') : 'größer')
  })
  for (const path of ['', 'bytes']) {
    const response = await fetch(new Request(url + path))
    assert.equal(response.status, 201)
    assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
    assert.equal(response.headers.get('vary'), 'Accept, Origin')
    // What a Response holds are bytes: they go on the wire as UTF-8.
    assert.equal(Buffer.from(response.headers.get('x-name')!, 'latin1').toString(), 'Fårö')
    assert.equal(response.headers.get('content-length'), '8')
    assert.equal(response.headers.get('content-type'), null)
    assert.equal(await response.text(), 'größer')
  }
})

test('a response without a status is a 404, an empty body is empty, and a type stays', async () => {
  const fetch = toFetch((conn) => {
    if (conn.path === '/json') conn.json({ a: 1 })
    if (conn.path === '/empty') conn.ok('')
  })
  const nothing = await fetch(new Request(url))
  assert.deepEqual([nothing.status, await nothing.text()], [404, ''])
  const json = await fetch(new Request(`${url}json`))
  assert.equal(json.headers.get('content-type'), 'application/json')
  assert.deepEqual(await json.json(), { a: 1 })
  const empty = await fetch(new Request(`${url}empty`))
  assert.deepEqual([empty.headers.get('content-length'), await empty.text()], ['0', ''])
})

test('HEAD, 204, 205 and 304 have no body, and a stream for them is let go', async (t) => {
  const closed: unknown[] = []
  const { fetch } = open(t, (conn) => {
    const source: BodySource = { ...idle, length: 12, closed: (cause) => closed.push(cause) }
    conn.withStatus(Number(conn.path.slice(1))).withBody(source)
  })
  const of = async (status: number, method = 'GET'): Promise<unknown> => {
    const response = await fetch(new Request(url + status, { method }))
    assert.equal(response.status, status)
    return [response.body, response.headers.get('content-length')]
  }
  assert.deepEqual(await of(200, 'HEAD'), [null, '12'])
  assert.deepEqual(await of(204), [null, null])
  assert.deepEqual(await of(205), [null, '0'])
  assert.deepEqual(await of(304), [null, null])
  assert.deepEqual(closed, ['unsent', 'unsent', 'unsent', 'unsent'])
})

test('the handlers, every beforeSend and afterSend run in the order of a server', async () => {
  const log: unknown[] = []
  const fetch = toFetch([
    { run: () => void log.push('run 1'), beforeSend: () => void log.push('beforeSend 1') },
    (conn) => conn.afterSend((isSent) => log.push(isSent)).ok('hello'),
    { run: () => void log.push('run 3'), beforeSend: () => void log.push('beforeSend 3') },
  ])
  await fetch(new Request(url))
  assert.deepEqual(log, ['run 1', 'beforeSend 3', 'beforeSend 1', true])
})

test('what a handler throws is a 500 without a word of it, and reported', async (t) => {
  const { fetch, errors } = open(t, () => {
    throw new Error('secret')
  })
  const response = await fetch(new Request(url))
  assert.deepEqual([response.status, await response.text()], [500, ''])
  assert.deepEqual(errors, [['app', 'Error: secret']])
})

test('a response whose framing is not true, and a field of two lines, are a 500, and reported', async (t) => {
  const { fetch, errors } = open(t, (conn) => {
    if (conn.path === '/') return conn.withResponseHeader('Content-Length', 1).ok('four')
    conn.responseHeaders.appendAll(HeaderMap.fromRawHeaders(['x', 'a\nb']))
    return conn.ok('two lines')
  })
  for (const path of ['', 'lines']) {
    const response = await fetch(new Request(url + path))
    assert.deepEqual([response.status, await response.text()], [500, ''])
  }
  assert.deepEqual(
    errors.map(([place]) => place),
    ['the response', 'app'],
  )
})

test('a switch of protocols is a 500, and reported', async (t) => {
  const { fetch, errors } = open(t, (conn) => conn.withStatus(101).halt())
  const response = await fetch(new Request(url))
  assert.deepEqual([response.status, await response.text()], [500, ''])
  assert.equal(errors.length, 1)
  assert.match(String(errors[0]), /101/)
})

test('a tunnel is a 500, and reported', async (t) => {
  const { fetch, errors } = open(t, (conn) => conn.ok(''))
  // No Request can be made so; a server may have one all the same.
  const request = Object.defineProperty(new Request(url), 'method', { value: 'CONNECT' })
  assert.equal((await fetch(request)).status, 500)
  assert.deepEqual(errors, [
    [
      'the response',
      'TypeError: Cannot hand the connection over with a 200: a Response cannot; upgrade it by the runtime, before the app is called',
    ],
  ])
})

test('errors go to console.error where no onError is given', async (t) => {
  const said = t.mock.method(console, 'error', () => {})
  const error = new Error('no ferns')
  const fetch = toFetch([
    () => {
      throw error
    },
  ])
  await fetch(new Request(`${url}a?b`))
  const [call] = said.mock.calls
  assert.deepEqual(call?.arguments, ['Wakerobin: error in app[0], on GET /a?b\n', error])
})

// ------------------------------------------------------------------------------------ the streams

test('the first bytes of a stream are there at once, and the rest as it comes', async (t) => {
  const source = new HandSource()
  const { fetch } = open(t, (conn) => conn.ok(source))
  const response = await fetch(new Request(url))
  const reader = response.body!.getReader()
  source.sink.write(encodeText('one'))
  assert.equal(await textOf(reader), 'one')
  const next = textOf(reader)
  await settled()
  source.sink.write(new Chunk(encodeText('two')))
  source.sink.write(encodeText(''))
  assert.equal(await next, 'two')
  // What is written while nobody reads comes together.
  source.sink.write(encodeText('three'))
  source.sink.write(encodeText('four'))
  source.sink.end()
  assert.equal(await textOf(reader), 'threefour')
  assert.equal(await textOf(reader), undefined)
})

test('a source waits when 64 KiB are unread, and goes on when they are taken', async (t) => {
  const source = new HandSource()
  const { fetch } = open(t, (conn) => conn.ok(source))
  const reader = (await fetch(new Request(url))).body!.getReader()
  assert.equal(source.sink.write(new Uint8Array(60_000)), true)
  assert.equal(source.sink.write(new Uint8Array(10_000)), false)
  await settled()
  assert.deepEqual(source.log, ['start'])
  assert.equal((await reader.read()).value?.length, 70_000)
  assert.deepEqual(source.log, ['start', 'drained'])
  assert.equal(source.sink.write(new Uint8Array(60_000)), true)
  await reader.cancel()
})

test('a generator makes no more than what is read', async (t) => {
  let made = 0
  const { fetch } = open(t, (conn) =>
    conn.ok(
      (async function* () {
        for (;;) {
          made += 10_000
          yield new Uint8Array(10_000)
        }
      })(),
    ),
  )
  const reader = (await fetch(new Request(url))).body!.getReader()
  await settled()
  assert(made <= 80_000, `${made}`)
  const { length } = (await reader.read()).value!
  await settled()
  assert(made <= length + 80_000, `${made}`)
  await reader.cancel()
})

test('whoever cancels the body is a client that leaves', async (t) => {
  const source = new HandSource()
  const log: unknown[] = []
  const { fetch } = open(t, (conn) => {
    conn.signal.addEventListener('abort', () => log.push('signal'))
    conn.afterSend((isSent) => log.push(isSent)).ok(source)
  })
  const response = await fetch(new Request(url))
  source.sink.write(encodeText('one'))
  await response.body!.cancel()
  assert.deepEqual(source.log, ['start', 'closed client'])
  assert.deepEqual(log, ['signal', false])
  assert.equal(source.sink.write(encodeText('two')), false)
})

test('a signal that aborts is a client that leaves, and the stream breaks off', async (t) => {
  const source = new HandSource()
  const client = new AbortController()
  const log: unknown[] = []
  const { fetch, errors } = open(t, (conn) => {
    conn.signal.addEventListener('abort', () => log.push('signal'))
    conn.afterSend((isSent) => log.push(isSent)).ok(source)
  })
  const request = new Request(url, { signal: client.signal })
  const reader = (await fetch(request)).body!.getReader()
  const read = reader.read()
  await settled()
  client.abort()
  assert.deepEqual(source.log, ['start', 'closed client'])
  assert.deepEqual(log, ['signal', false])
  await assert.rejects(read, { name: 'TypeError', message: 'The response body broke off' })
  assert.equal(getEventListeners(request.signal, 'abort').length, 0)
  assert.deepEqual(errors, [])
})

test('afterSend is told that all was sent when all was taken, not before', async (t) => {
  const log: unknown[] = []
  const { fetch } = open(t, (conn) =>
    conn.afterSend((isSent) => log.push(isSent)).ok(items('one', 'two')),
  )
  const whole = await fetch(new Request(url))
  await settled()
  assert.deepEqual(log, [])
  assert.equal(await whole.text(), 'onetwo')
  assert.deepEqual(log, [true])

  // A reader that knows the length may not wait for the end.
  const counted = (await fetch(new Request(url))).body!.getReader()
  await settled()
  assert.equal(await textOf(counted), 'onetwo')
  await counted.cancel()
  assert.deepEqual(log, [true, true])

  const left = await fetch(new Request(url))
  await settled()
  await left.body!.cancel() // the source has ended, but nobody has taken it
  assert.deepEqual(log, [true, true, false])
})

test('a client that leaves before its answer begins gets an empty 499, and a stream for it is closed', async (t) => {
  const client = new AbortController()
  const log: unknown[] = []
  const source = new HandSource()
  const bodies = [source, 'text']
  const { fetch } = open(t, (conn) => {
    client.abort()
    conn.afterSend((isSent) => log.push(isSent)).ok(bodies.shift()!)
  })
  for (const path of ['stream', 'text']) {
    const response = await fetch(new Request(url + path, { signal: client.signal }))
    assert.deepEqual([response.status, response.body], [499, null])
  }
  assert.deepEqual(log, [false, false])
  assert.deepEqual(source.log, ['closed client'])
})

test('an error in mid-body errors the stream after what was written, and is reported', async (t) => {
  const log: unknown[] = []
  const { fetch, errors } = open(t, (conn) =>
    conn
      .afterSend((isSent) => log.push(isSent))
      .ok(
        (async function* () {
          yield 'half'
          throw new Error('secret')
        })(),
      ),
  )
  const response = await fetch(new Request(url))
  assert.equal(response.status, 200)
  await settled()
  assert.deepEqual(log, [false])
  const reader = response.body!.getReader()
  assert.equal(await textOf(reader), 'half')
  await assert.rejects(reader.read(), { name: 'TypeError', message: 'The response body broke off' })
  assert.deepEqual(errors, [['the response body', 'Error: secret']])
})

test('an error of a body before its first byte is a 500', async (t) => {
  const { fetch, errors } = open(t, (conn) => {
    const source = new HandSource()
    source.start = () => {
      throw new Error('no body')
    }
    conn.ok(source)
  })
  const response = await fetch(new Request(url))
  assert.deepEqual([response.status, await response.text()], [500, ''])
  assert.deepEqual(errors, [['the response body', 'Error: no body']])
})

test('a body that is not as long as it promised breaks off', async (t) => {
  const { fetch, errors } = open(t, (conn) =>
    conn.ok({
      ...idle,
      length: 5,
      start(sink: BodySink) {
        sink.write(encodeText('four'))
        sink.end()
      },
    }),
  )
  const response = await fetch(new Request(url))
  assert.equal(response.headers.get('content-length'), '5')
  await assert.rejects(response.text())
  assert.match(String(errors[0]), /Cannot send a body of 4 bytes: its length promised 5/)
})

test('a source may have its reader cut, with nothing to report', async (t) => {
  const source = new HandSource()
  const { fetch, errors } = open(t, (conn) => conn.ok(source))
  const response = await fetch(new Request(url))
  source.sink.write(encodeText('unread'))
  source.sink.cut()
  await assert.rejects(response.text())
  assert.deepEqual(errors, [])
})

test('what fails because the client has left is not reported, what fails otherwise is', async (t) => {
  const sources = [new HandSource(), new HandSource()]
  const names = ['AbortError', 'TypeError']
  const { fetch, errors } = open(t, (conn) => {
    const source = sources.shift()!
    const name = names.shift()!
    source.closed = () => {
      throw Object.assign(new Error('closed'), { name })
    }
    conn.ok(source)
  })
  for (const path of ['one', 'two']) await (await fetch(new Request(url + path))).body!.cancel()
  assert.deepEqual(errors, [['the response body', 'TypeError: closed']])
})

test('what a source throws for a client that has left before is reported', async (t) => {
  const { fetch, errors } = open(t, (conn) => {
    const source = new HandSource()
    source.closed = () => {
      throw new Error('closed')
    }
    conn.ok(source)
  })
  await fetch(new Request(url, { signal: AbortSignal.abort() }))
  assert.deepEqual(errors, [['the response body', 'Error: closed']])
})

test('what afterSend throws is reported', async (t) => {
  const { fetch, errors } = open(t, (conn) =>
    conn
      .afterSend(() => {
        throw new Error('after')
      })
      .ok('hello'),
  )
  await fetch(new Request(url))
  assert.deepEqual(errors, [['afterSend', 'Error: after']])
})

test('clients that share a chunk do not share its memory', async (t) => {
  const sources: HandSource[] = []
  const { fetch } = open(t, (conn) => {
    const source = new HandSource()
    sources.push(source)
    conn.ok(source)
  })
  const chunk = new Chunk(encodeText('one'))
  const readers = []
  for (const at of [0, 1]) {
    readers.push((await fetch(new Request(url))).body!.getReader())
    sources[at]!.sink.write(chunk)
  }
  const { value } = await readers[0]!.read()
  structuredClone(value!.buffer, { transfer: [value!.buffer as ArrayBuffer] })
  assert.equal(await textOf(readers[1]!), 'one')
  for (const { sink } of sources) sink.cut()
})

// --------------------------------------------------------------------------------- init, the stop

test('init runs once, before the first request', async () => {
  const log: string[] = []
  const started = deferred<void>()
  class Ready {
    readonly #since = 'today'
    get since(): string {
      return this.#since
    }
  }
  const fetch = toFetch([
    Init.new(async (info) => {
      assert.deepEqual([info.listeners, info.url], [[], undefined])
      await started.promise
      log.push('init')
      info.withSharedState(new Ready())
    }),
    (conn) => {
      log.push('run')
      return conn.ok(conn.sharedState(Ready)!.since)
    },
  ])
  const first = fetch(new Request(url))
  const second = fetch(new Request(url))
  started.resolve()
  assert.equal(await (await first).text(), 'today')
  await second
  await fetch(new Request(url))
  assert.deepEqual(log, ['init', 'run', 'run', 'run'])
})

test('an init that fails makes every request a 500, which is reported, and is thrown by init()', async (t) => {
  const { fetch, errors } = open(t, [
    Init.new(() => {
      throw new Error('no database')
    }),
    () => assert.fail('a handler runs'),
  ])
  for (const path of ['one', 'two'])
    assert.equal((await fetch(new Request(url + path))).status, 500)
  const said = 'Error: Cannot start: init of app[0] "Init()" failed: no database'
  assert.deepEqual(errors, [
    ['init', said],
    ['init', said],
  ])
  await assert.rejects(fetch.init(), { message: said.slice('Error: '.length) })
})

test('a stop ends endless bodies, and waits for what was asked before', async (t) => {
  const go = deferred<void>()
  const { fetch } = open(t, async (conn) => {
    if (conn.path === '/events') return conn.ok(endless())
    if (conn.path === '/file') return conn.ok(items('one', 'two'))
    await go.promise
    return conn.ok('answered')
  })
  const events = await fetch(new Request(`${url}events`))
  const file = await fetch(new Request(`${url}file`))
  const slow = fetch(new Request(`${url}slow?a`))
  await settled()
  const stopped = fetch.shutDown()
  const stop = watch(stopped)
  assert.deepEqual(
    fetch.swansong.report().entries.map(({ label }) => label),
    ['GET /events', 'GET /file', 'GET /slow?a'],
  )
  assert.equal(await events.text(), 'event')
  assert.equal(await file.text(), 'onetwo')
  await settled()
  assert.equal(stop.isDone, false)
  go.resolve()
  assert.equal(await (await slow).text(), 'answered')
  await stopped
  assert.equal(fetch.swansong.state, 'complete')
})

test('requests that come after the stop are answered, and their streams end at once', async (t) => {
  const swansong = new Swansong()
  const go = deferred<void>()
  const { fetch } = open(
    t,
    async (conn) => {
      if (conn.path === '/events') return conn.ok(endless())
      await go.promise
      return conn.ok('late')
    },
    { swansong },
  )
  await swansong.shutDown()
  assert.equal(fetch.swansong, swansong)
  const events = await fetch(new Request(`${url}events`))
  assert.deepEqual([events.status, await events.text()], [200, ''])
  const late = fetch(new Request(url))
  await settled()
  assert.equal(swansong.guardCount, 1)
  go.resolve()
  assert.equal(await (await late).text(), 'late')
  assert.equal(swansong.guardCount, 0)
})

test('what an onStop publishes still reaches the streams', async (t) => {
  const source = new HandSource()
  const { fetch } = open(t, (conn) => conn.ok(source))
  const response = await fetch(new Request(url))
  source.stop = () => source.sink.end()
  fetch.swansong.onStop(() => source.sink.write(encodeText('goodbye')))
  const stopped = fetch.shutDown()
  assert.equal(await response.text(), 'goodbye')
  await stopped
})

test('what has not ended at the deadline of the stop is cut', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const signals: AbortSignal[] = []
  const source = new HandSource()
  const { fetch } = open(
    t,
    (conn) => {
      signals.push(conn.signal)
      return conn.path === '/never' ? new Promise<void>(() => {}) : conn.ok(source)
    },
    { shutdown: { deadlineMs: 5_000 } },
  )
  const client = new AbortController()
  void fetch(new Request(`${url}never`))
  void fetch(new Request(`${url}never`, { signal: client.signal }))
  await settled()
  client.abort() // its handler goes on all the same
  const response = await fetch(new Request(url))
  const stopped = fetch.shutDown()
  const stop = watch(stopped)
  t.mock.timers.tick(4_999)
  await settled()
  assert.equal(stop.isDone, false)
  assert.deepEqual(source.log, ['start', 'stop'])
  t.mock.timers.tick(1)
  await stopped
  assert.deepEqual(source.log, ['start', 'stop', 'closed stop'])
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, true, true],
  )
  await assert.rejects(response.text(), { message: 'The response body broke off' })
})

test('a request whose handlers hang is a 503 at the deadline, and what they do later is let go', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const gate = deferred<void>()
  const ends: unknown[] = []
  const late: BodySource = {
    start: () => assert.fail('it is not sent'),
    drained() {},
    stop() {},
    closed: (cause) => void ends.push(cause),
  }
  const fetch = toFetch(
    async (conn) => {
      conn.afterSend((isSent) => void ends.push(isSent))
      await gate.promise
      return conn
        .withBody(late)
        .afterSend(() => void ends.push('late'))
        .halt()
    },
    { shutdown: { deadlineMs: 5_000 } },
  )
  await fetch.init()
  const response = fetch(new Request(url))
  const stopped = fetch.shutDown()
  await settled()
  t.mock.timers.tick(5_000)
  await stopped
  assert.deepEqual([(await response).status, await (await response).text()], [503, ''])
  assert.deepEqual(ends, [true])
  gate.resolve()
  await settled()
  assert.deepEqual(ends, [true, 'unsent', 'late'])
})

test('a request that waits for an init which hangs is a 503 at the deadline', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const fetch = toFetch([Init.new(() => new Promise(() => {})), 'hello'])
  const response = fetch(new Request(url))
  void fetch.shutDown()
  await settled()
  t.mock.timers.tick(10_000)
  assert.equal((await response).status, 503)
})

test('a deadline of Infinity never comes, and one that is over in time leaves no timer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { fetch } = open(t, 'hello', { shutdown: { deadlineMs: Infinity } })
  const guard = fetch.swansong.guard()
  const stop = watch(fetch.shutDown())
  t.mock.timers.tick(2 ** 31)
  await settled()
  assert.equal(stop.isDone, false)
  guard.release()
  await fetch.shutDown()

  const cleared = t.mock.method(globalThis, 'clearTimeout')
  await toFetch('hello').shutDown()
  await settled()
  assert.equal(cleared.mock.callCount(), 1)
})

// ------------------------------------------------------------------------------------ the options

test('peerIp is what Bun and Deno tell of the client', async () => {
  const fetch = toFetch((conn) => conn.json(conn.peerIp ?? 'nobody'))
  const of = async (...context: unknown[]): Promise<unknown> =>
    (await fetch(new Request(url), ...context)).json()
  const server = {
    address: '::ffff:10.0.0.1',
    requestIP(request: Request) {
      assert(request instanceof Request)
      return this.address === '' ? null : { address: this.address, family: 'IPv6', port: 1 }
    },
  }
  assert.equal(await of(server), '10.0.0.1')
  assert.equal(await of({ ...server, address: '' }), 'nobody')
  const remoteAddr = { transport: 'tcp', hostname: '::1', port: 1 }
  assert.equal(await of({ remoteAddr }), '::1')
  assert.equal(await of({ remoteAddr: { transport: 'unix', path: '/x' } }), 'nobody')
  for (const other of [undefined, null, 'env', { env: 1 }]) assert.equal(await of(other), 'nobody')
})

test('peerIp and isSecure are asked with all that the function was called with', async (t) => {
  const { fetch } = open(t, (conn) => conn.json([conn.peerIp ?? 'nobody', conn.isSecure]), {
    peerIp: (request, env: { ip: string }) => request.headers.get('x-real-ip') ?? env.ip,
    isSecure: (_request, env: { ip: string }) => env.ip === '10.0.0.1',
  })
  const response = await fetch(new Request(url), { ip: '10.0.0.1' })
  assert.deepEqual(await response.json(), ['10.0.0.1', true])
})

test('a peerIp or isSecure that is async, or says something else, makes a 500, and is reported', async (t) => {
  for (const [options, message] of [
    [
      { peerIp: async () => '192.0.2.1' },
      'Expected peerIp to return a string, or undefined, got an instance of Promise',
    ],
    [
      { isSecure: async () => false },
      'Expected isSecure to return true or false, got an instance of Promise',
    ],
  ] as const) {
    const errors: unknown[] = []
    const { fetch } = open(t, 'hello', {
      ...(options as unknown as FetchOptions),
      onError: (error, { place }) => void errors.push([String(error), place]),
    })
    assert.equal((await fetch(new Request(url))).status, 500)
    assert.deepEqual(errors, [[`TypeError: ${message}`, Object.keys(options)[0]]])
  }
})

test('a peerIp or isSecure that throws makes a 500, and is reported', async (t) => {
  const fail = (): never => {
    throw new Error('who?')
  }
  for (const option of ['peerIp', 'isSecure']) {
    const { fetch, errors } = open(t, () => assert.fail('a handler runs'), { [option]: fail })
    assert.equal((await fetch(new Request(url))).status, 500)
    assert.deepEqual(errors, [[option, 'Error: who?']])
  }
})

test('options that cannot be are refused when the function is made', () => {
  const cases: [FetchOptions, string, string][] = [
    [{ peerIp: '1.2.3.4' as never }, 'TypeError', 'peerIp "1.2.3.4": it must be a function'],
    [{ isSecure: true as never }, 'TypeError', 'isSecure true: it must be a function'],
    [{ onError: {} as never }, 'TypeError', 'onError a plain object: it must be a function'],
    [
      { limit: {} } as FetchOptions,
      'TypeError',
      'limit: there is no such option; there are swansong, onError, peerIp, isSecure, limits and shutdown',
    ],
    [
      { limits: { headBytes: 5 } } as FetchOptions,
      'TypeError',
      'limits.headBytes: there is no such option; there is bodyBytes',
    ],
    [
      { shutdown: { lingerMs: 5 } } as FetchOptions,
      'TypeError',
      'shutdown.lingerMs: there is no such option; there is deadlineMs',
    ],
    [
      { limits: { bodyBytes: -1 } },
      'RangeError',
      'limits.bodyBytes -1: it must be a number from 0',
    ],
    [
      { shutdown: { deadlineMs: NaN } },
      'RangeError',
      'shutdown.deadlineMs NaN: it must be a number from 0',
    ],
  ]
  for (const [options, name, what] of cases) {
    const message = `Cannot make a fetch function with ${what}`
    assert.throws(() => toFetch('hello', options), { name, message })
  }
  assert.throws(() => toFetch([1 as never]), { message: /Cannot use 1 as a handler at app\[0\]/ })
})

// ----------------------------------------------------------------------------------------------

function open(
  t: TestContext,
  app: Parameters<typeof toFetch>[0],
  options: FetchOptions = {},
): { fetch: ReturnType<typeof toFetch>; errors: [place: string, error: string][] } {
  const errors: [place: string, error: string][] = []
  const fetch = toFetch(app as string, {
    onError: (error, { place }) => errors.push([place, String(error)]),
    shutdown: { deadlineMs: Infinity }, // no timer is left
    ...options,
  })
  t.after(() => void fetch.shutDown())
  return { fetch, errors }
}

function post(body: BodyInit, headers: HeadersInit = {}, signal?: AbortSignal): Request {
  const init = { method: 'POST', body, headers, duplex: 'half', ...(signal && { signal }) }
  return new Request(url, init)
}

async function textOf(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<string | undefined> {
  const { value } = await reader.read()
  return value === undefined ? undefined : Buffer.from(value).toString()
}

async function* items(...texts: string[]): AsyncGenerator<string> {
  yield* texts
}

/** A body that says one thing and goes on, until somebody stops it. */
function endless(): BodySource {
  async function* source(): AsyncGenerator<string> {
    yield 'event'
    await new Promise(() => {})
  }
  return new PullSource(source(), encodeText, { isEndless: true })
}

const idle: BodySource = { start() {}, drained() {}, stop() {}, closed() {} }

/** A source in the hands of the test. */
class HandSource implements BodySource {
  readonly log: string[] = []
  sink!: BodySink

  start(sink: BodySink): void {
    this.log.push('start')
    this.sink = sink
  }

  drained(): void {
    this.log.push('drained')
  }

  stop(): void {
    this.log.push('stop')
  }

  closed(cause: string): void {
    this.log.push(`closed ${cause}`)
  }
}
