import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'

import { BodyAbortedError, handlers } from '@wakerobin/core'
import type { BodySource, Conn } from '@wakerobin/core'

import { first } from '../fixtures/certificates.ts'
import {
  code,
  data,
  flag,
  FrameClient,
  frame,
  get,
  headers,
  post,
  preface,
  request,
  reset,
  setting,
  settings,
  type,
  windowUpdate,
} from '../fixtures/frames.ts'
import { Gate, RawClient, start, turns, until } from '../fixtures/harness.ts'
import { ask, open, openSession, responseOf } from '../fixtures/http2-client.ts'

const hello = (conn: Conn): Conn =>
  conn.ok(`hello in ${conn.httpVersion}, secure: ${conn.isSecure}`)
const tls = { cert: first.cert, key: first.key }

/** What curl says, with the version that it has spoken; undefined where there is no curl that speaks HTTP/2. */
async function curl(...args: string[]): Promise<string | undefined> {
  const run = promisify(execFile)
  try {
    if (!/HTTP2/.test((await run('curl', ['--version'])).stdout)) return undefined
  } catch {
    return undefined
  }
  const all = ['-sS', '-m', '8', '--noproxy', '*', '-w', '|%{http_version}', ...args]
  return (await run('curl', all)).stdout
}

describe('who speaks HTTP/2', () => {
  test('a client that knows beforehand is served on the port of HTTP/1.1', async (t) => {
    const server = await start(t, hello)
    const session = await openSession(t, server)
    assert.equal((await ask(session, '/')).body, 'hello in 2.0, secure: false')
    const client = await server.connect()
    assert.equal((await client.get('/').response()).body, 'hello in 1.1, secure: false')
    assert.equal((await ask(session, '/')).status, 200)
    assert.equal(server.handle.report().connections, 2)
  })

  test('the preface may come in pieces of a byte', async (t) => {
    const server = await start(t, hello)
    const client = await FrameClient.connect(t, server)
    const raw = await server.connect()
    const bytes = Buffer.concat([preface, settings(), get(1)])
    for (const byte of bytes) {
      raw.send(Buffer.from([byte]))
      await turns(2)
    }
    await raw.received('hello in 2.0')
    client.send(get(1))
    assert.equal(await client.body(1), 'hello in 2.0, secure: false')
  })

  test('a preface behind a request of HTTP/1.1 is a 400', async (t) => {
    const server = await start(t, hello)
    const client = await server.connect()
    client.get('/').send(preface)
    assert.equal((await client.response()).status, 200)
    const refusal = await client.response()
    assert.deepEqual([refusal.status, refusal.field('connection')], [400, 'close'])
    await client.ended()
  })

  test('what only begins like the preface is a 400', async (t) => {
    const server = await start(t, hello)
    const client = await server.connect()
    client.send('PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n')
    assert.equal((await client.response()).status, 400)
  })

  test('with http2: false the preface is a 400, and TLS offers HTTP/1.1 alone', async (t) => {
    const server = await start(t, hello, { http2: false })
    const client = await server.connect()
    assert.equal((await client.send(preface).response()).status, 400)
    const secure = await start(t, hello, { http2: false, tls })
    const ALPNProtocols = ['h2', 'http/1.1']
    const where = { host: '127.0.0.1', port: secure.port }
    const raw = await RawClient.connect(t, where, { ca: first.cert, ALPNProtocols })
    assert.equal((raw.socket as { alpnProtocol?: unknown }).alpnProtocol, 'http/1.1')
    assert.equal((await raw.get('/').response()).body, 'hello in 1.1, secure: true')
  })

  test('http2 that is neither true nor false is refused', async (t) => {
    await assert.rejects(start(t, hello, { http2: 'yes' as never }), {
      name: 'TypeError',
      message: 'Cannot serve with http2 "yes": it must be true or false',
    })
  })

  test('over TLS the client chooses between h2 and HTTP/1.1', async (t) => {
    const server = await start(t, hello, { tls })
    const session = await openSession(t, server, { ca: first.cert })
    assert.equal((await ask(session, '/')).body, 'hello in 2.0, secure: true')
    const where = { host: '127.0.0.1', port: server.port }
    for (const ALPNProtocols of [['http/1.1'], undefined]) {
      const tlsOptions = { ca: first.cert, ...(ALPNProtocols && { ALPNProtocols }) }
      const raw = await RawClient.connect(t, where, tlsOptions)
      assert.equal((await raw.get('/').response()).body, 'hello in 1.1, secure: true')
    }
  })

  test('a client that has chosen h2 over TLS and speaks HTTP/1.1 is not served', async (t) => {
    let handled = 0
    const server = await start(t, (conn) => (handled++, conn.ok('')), { tls })
    const where = { host: '127.0.0.1', port: server.port }
    const raw = await RawClient.connect(t, where, { ca: first.cert, ALPNProtocols: ['h2'] })
    raw.get('/')
    await raw.closed()
    assert.equal(handled, 0)
    await until('the connection is gone', () => server.handle.report().connections === 0)
  })

  test('curl speaks HTTP/2 with prior knowledge and over TLS, and HTTP/1.1 where it asks for an upgrade', async (t) => {
    const server = await start(t, hello)
    const secure = await start(t, hello, { tls })
    const said = await curl('--http2-prior-knowledge', server.url)
    if (said === undefined) return t.skip('no curl here that speaks HTTP/2')
    assert.equal(said, 'hello in 2.0, secure: false|2')
    assert.equal(await curl('--http2', server.url), 'hello in 1.1, secure: false|1.1')
    const url = `https://localhost:${secure.port}`
    const resolve = `localhost:${secure.port}:127.0.0.1`
    const over = ['--resolve', resolve, '--cacert', first.certFile, url]
    assert.equal(await curl('--http2', ...over), 'hello in 2.0, secure: true|2')
    assert.equal(await curl('--http1.1', ...over), 'hello in 1.1, secure: true|1.1')
  })

  test('the connections above limits.connections get a 503 with Retry-After, and are closed', async (t) => {
    const server = await start(t, hello, { limits: { connections: 1 } })
    await openSession(t, server)
    const session = await openSession(t, server)
    const { status, fields } = await ask(session, '/')
    assert.deepEqual([status, fields['retry-after']], [503, '5'])
    await until('it is closed', () => session.closed || session.destroyed)
  })
})

describe('requests in HTTP/2', () => {
  test('handlers see the method, the path, and a Host that is the authority', async (t) => {
    const server = await start(t, (conn) =>
      conn.ok(
        [conn.method, conn.pathAndQuery, conn.requestHeaders.get('host'), conn.host].join(' '),
      ),
    )
    const session = await openSession(t, server)
    for (const method of ['GET', 'DELETE', 'OPTIONS', 'PATCH', 'REPORT']) {
      const { body } = await ask(session, {
        ':method': method,
        ':path': '/a?b',
        ':authority': 'x.test',
      })
      assert.equal(body, `${method} /a?b x.test x.test`)
    }
  })

  test('pseudo fields are no headers; the others are as they came, with their UTF-8 as it is', async (t) => {
    const server = await start(t, (conn) => conn.json([...conn.requestHeaders]))
    const client = await FrameClient.connect(t, server)
    client.send(
      get(1, '/', ['x-a', '1'], ['x-a', '2'], ['x-u', Buffer.from('é€').toString('latin1')]),
    )
    assert.deepEqual(JSON.parse(await client.body(1)), [
      ['host', 'a.test'],
      ['x-a', '1'],
      ['x-a', '2'],
      ['x-u', 'é€'],
    ])
  })

  test('cookies that come in several fields are one line', async (t) => {
    const server = await start(t, (conn) => conn.ok(conn.requestHeaders.get('cookie') ?? 'none'))
    const client = await FrameClient.connect(t, server)
    client.send(
      get(1, '/', ['cookie', 'a=b'], ['x', 'y'], ['cookie', 'c=d'], ['cookie', 'e=f; g=h']),
    )
    assert.equal(await client.body(1), 'a=b; c=d; e=f; g=h')
  })

  test('a request without :authority has its Host; both must agree', async (t) => {
    const server = await start(t, (conn) => conn.ok(conn.host ?? 'none'))
    const client = await FrameClient.connect(t, server)
    const bare = request('/').filter(([name]) => name !== ':authority')
    client.send(headers(1, [...bare, ['host', 'b.test']]), get(3, '/', ['host', 'b.test']))
    client.send(get(5, '/', ['host', 'A.TEST']), headers(7, bare))
    assert.equal(await client.body(1), 'b.test')
    assert.equal(await client.status(3), 400)
    assert.equal(await client.status(5), 200)
    assert.equal(await client.resetCode(7), code.protocolError)
  })

  test('a body is read as text, bytes and JSON, with a length and without', async (t) => {
    const server = await start(t, async (conn) => {
      const { contentLength } = conn.requestBody
      if (conn.path === '/json') return conn.json(await conn.requestBody.json())
      if (conn.path === '/bytes') return conn.ok(await conn.requestBody.bytes())
      if (conn.path !== '/parts')
        return conn.ok(`${contentLength} ${await conn.requestBody.text()}`)
      let length = 0
      for await (const part of conn.requestBody) length += part.length
      return conn.ok(String(length))
    })
    const session = await openSession(t, server)
    const postTo = (path: string) => ({ ':method': 'POST', ':path': path })
    assert.equal((await ask(session, postTo('/'), 'é')).body, 'undefined é')
    assert.equal((await ask(session, { ...postTo('/'), 'content-length': 2 }, 'é')).body, '2 é')
    assert.equal((await ask(session, postTo('/'), '')).body, 'undefined ')
    assert.equal((await ask(session, postTo('/'))).body, '0 ')
    assert.equal((await ask(session, postTo('/json'), '{"a":1}')).body, '{"a":1}')
    assert.equal((await ask(session, postTo('/bytes'), 'abc')).body, 'abc')
    const long = Buffer.alloc(3_000_000)
    assert.equal((await ask(session, postTo('/parts'), long)).status, 413)
    assert.equal((await ask(session, postTo('/parts'), long.subarray(0, 1e6))).body, '1000000')
  })

  test('trailers are there when the body was read', async (t) => {
    const server = await start(t, async (conn) => {
      const before = conn.requestTrailers
      await conn.requestBody.text()
      return conn.json([before === undefined, conn.requestTrailers?.get('x-sum') ?? null])
    })
    const client = await FrameClient.connect(t, server)
    const trailer = (stream: number): Buffer => headers(stream, [['x-sum', 'abc']])
    client.send(post(1, '/', ['trailer', 'x-sum']), data(1, 'body'), trailer(1))
    client.send(post(3), data(3, 'body', true))
    assert.equal(await client.body(1), '[true,"abc"]')
    assert.equal(await client.body(3), '[true,null]')
  })

  test('a body above the limit is a 413, the client is told to keep the rest, and the session goes on', async (t) => {
    const server = await start(t, async (conn) => conn.ok(await conn.requestBody.bytes()), {
      limits: { bodyBytes: 10 },
    })
    const client = await FrameClient.connect(t, server)
    client.send(post(1), data(1, 'more than ten'), post(3, '/', ['content-length', '11']))
    for (const stream of [1, 3]) {
      assert.equal(await client.status(stream), 413)
      assert.equal(await client.resetCode(stream), code.noError)
    }
    client.send(post(5), data(5, 'just ten..', true))
    assert.equal(await client.body(5), 'just ten..')
    assert.equal(server.handle.report().requestCount, 0)
  })

  test('a body that nobody reads, or of which only a part is read, is let go of with the response', async (t) => {
    const sent: boolean[] = []
    const server = await start(t, async (conn) => {
      conn.afterSend((isSent) => sent.push(isSent))
      if (conn.path === '/part') {
        const parts = conn.requestBody[Symbol.asyncIterator]()
        await parts.next()
        await parts.return?.()
      }
      return conn.ok('answered')
    })
    const client = await FrameClient.connect(t, server)
    client.send(post(1), post(3), data(3, 'whole', true), post(5, '/part'), data(5, 'part'))
    client.send(post(7, '/part'), data(7, 'part'), data(7, 'rest', true))
    for (const stream of [1, 3, 5, 7]) assert.equal(await client.body(stream), 'answered')
    for (const stream of [1, 5]) assert.equal(await client.resetCode(stream), code.noError)
    await client.pong()
    await until('all are over', () => sent.length === 4)
    assert.deepEqual(sent, [true, true, true, true])
    assert.equal(server.handle.report().requestCount, 0)
    client.send(get(9))
    assert.equal(await client.body(9), 'answered')
  })

  test('one body that nobody reads does not hold up another', async (t) => {
    const gate = new Gate()
    const server = await start(t, async (conn) => {
      if (conn.path === '/held') await gate.pass()
      return conn.ok(String((await conn.requestBody.bytes()).length))
    })
    const session = await openSession(t, server)
    const held = open(session, { ':method': 'POST', ':path': '/held' }, true)
    held.end(Buffer.alloc(500_000))
    await gate.reached()
    const body = Buffer.alloc(1_000_000)
    assert.equal((await ask(session, { ':method': 'POST' }, body)).body, '1000000')
    gate.open()
    assert.equal((await responseOf(held)).body, '500000')
  })

  test('100-continue is said on the first read of the body, and not where nobody reads', async (t) => {
    const gate = new Gate()
    const server = await start(t, async (conn) => {
      if (conn.path === '/refused') return conn.withStatus(401).halt()
      await gate.pass()
      return conn.ok(await conn.requestBody.text())
    })
    const client = await FrameClient.connect(t, server)
    const expects = ['expect', '100-continue'] as const
    client.send(post(1, '/', expects), post(3, '/refused', expects), get(5, '/refused', expects))
    for (const stream of [3, 5]) assert.equal(await client.status(stream), 401)
    assert.equal(await client.resetCode(3), code.noError)
    await gate.reached()
    await client.pong()
    assert.equal(client.of(type.headers, 1).length, 0)
    gate.open()
    assert.equal(await client.status(1), 100)
    client.send(data(1, 'here', true))
    assert.equal(await client.body(1), 'here')
    assert.equal(client.of(type.headers, 1).length, 2)
  })

  for (const reason of [code.noError, code.cancel]) {
    test(`a body whose stream is reset with ${reason} is never taken for whole`, async (t) => {
      const seen: unknown[] = []
      const server = await start(t, async (conn) => {
        seen.push(conn.path)
        try {
          if (conn.path === '/text') seen.push(await conn.requestBody.text())
          else for await (const part of conn.requestBody) seen.push(part.length)
          seen.push('whole')
        } catch (error) {
          seen.push(error instanceof BodyAbortedError)
        }
        return conn.ok('')
      })
      const client = await FrameClient.connect(t, server)
      for (const [path, stream] of [
        ['/text', 1],
        ['/parts', 3],
      ] as const) {
        client.send(post(stream, path), data(stream, 'abc'))
        await until('it is being read', () => seen.includes(path))
        await client.pong()
        client.send(reset(stream, reason))
        await until('the read has failed', () => seen.includes(true))
        assert.ok(!seen.includes('whole'))
        seen.length = 0
      }
      assert.deepEqual(server.errors, [])
    })
  }

  test('a body that does not come within limits.requestMs is a 408, or the end of the stream', async (t) => {
    const outcomes: unknown[] = []
    const server = await start(
      t,
      async (conn) => {
        conn.afterSend((isSent) => outcomes.push(isSent))
        conn.signal.addEventListener('abort', () => outcomes.push('aborted'))
        if (conn.path !== '/begun') return conn.ok(await conn.requestBody.text())
        return conn.ok(conn.requestBody[Symbol.asyncIterator]())
      },
      { limits: { requestMs: 60 } },
    )
    const client = await FrameClient.connect(t, server)
    client.send(post(1), data(1, 'part'), post(3, '/begun'), data(3, 'part'), get(5))
    assert.equal(await client.status(5), 200)
    assert.equal(await client.status(1), 408)
    assert.equal(await client.resetCode(1), code.noError)
    assert.equal(await client.status(3), 200)
    assert.equal(await client.resetCode(3), code.cancel)
    await until('all are over', () => outcomes.length === 5)
    assert.deepEqual(outcomes.toSorted(), ['aborted', 'aborted', false, false, true].toSorted())
    assert.equal(server.handle.report().requestCount, 0)
    client.send(get(7))
    assert.equal(await client.status(7), 200)
  })

  test('handlers that take longer than limits.handlerMs are a 503', async (t) => {
    const server = await start(t, () => new Promise<Conn>(() => {}), { limits: { handlerMs: 20 } })
    const session = await openSession(t, server)
    assert.equal((await ask(session, '/')).status, 503)
    assert.match(String(server.errors[0]!.error), /HandlerTimeoutError/)
  })
})

describe('requests in HTTP/2 that are refused', () => {
  const limits = { headerCount: 20, headBytes: 2000, targetBytes: 200, headerListBytes: 8000 }

  test('by their size, count, target, method or Expect they get a status, and no handler runs', async (t) => {
    let handled = 0
    const server = await start(t, (conn) => (handled++, conn.ok('')), { limits })
    const client = await FrameClient.connect(t, server)
    const many = Array.from({ length: 21 }, (_, at) => [`x-${at}`, '1'] as const)
    const cases: [status: number, bytes: (stream: number) => Buffer][] = [
      [431, (stream) => get(stream, '/', ...many)],
      [431, (stream) => get(stream, '/', ['x', 'x'.repeat(2000)])],
      [414, (stream) => get(stream, `/${'x'.repeat(200)}`)],
      [400, (stream) => get(stream, '/a#b')],
      [400, (stream) => get(stream, '/a\\b')],
      [501, (stream) => headers(stream, request('/', [], 'BREW'))],
      [417, (stream) => get(stream, '/', ['expect', 'tea'])],
      [
        501,
        (stream) =>
          headers(stream, [
            [':method', 'CONNECT'],
            [':authority', 'a.test:443'],
          ]),
      ],
    ]
    for (const [at, [status, bytes]] of cases.entries()) {
      const stream = 2 * at + 1
      client.send(bytes(stream))
      assert.equal(await client.status(stream), status, bytes(stream).toString('latin1'))
      assert.ok(client.hasEnded(stream))
    }
    assert.equal(handled, 0)
    client.send(get(99))
    assert.equal(await client.status(99), 200)
    assert.deepEqual(server.errors, [])
  })

  test('a list of fields longer than headerListBytes is reset, or a 431; the client is told, and of the streams too', async (t) => {
    let handled = 0
    const server = await start(t, (conn) => (handled++, conn.ok('')), {
      limits: { headerListBytes: 8000, streams: 7 },
    })
    const client = await FrameClient.connect(t, server)
    const { payload } = await client.next(type.settings)
    const told = new Map<number, number>()
    for (let at = 0; at < payload.length; at += 6)
      told.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2))
    assert.deepEqual([told.get(setting.listSize), told.get(setting.mostStreams)], [8000, 7])
    await client.pong()
    client.send(get(1, '/', ['x', 'x'.repeat(8000)]), get(3, '/', ['x', 'x'.repeat(7000)]))
    assert.equal(await client.resetCode(1), code.enhanceYourCalm)
    assert.equal(await client.status(3), 200)
    // Before it knows of the limit.
    const early = await FrameClient.connect(t, server, {
      ahead: [get(1, '/', ['x', 'x'.repeat(8000)]), get(3)],
    })
    assert.deepEqual([await early.status(1), await early.status(3)], [431, 200])
    assert.equal(handled, 2)
  })

  test('what RFC 9113 §8 calls malformed is a reset with PROTOCOL_ERROR, and no handler runs', async (t) => {
    let handled = 0
    const server = await start(t, async (conn) => {
      handled++
      return conn.ok(await conn.requestBody.text())
    })
    const without = (name: string) => request('/').filter((field) => field[0] !== name)
    const end = flag.endHeaders | flag.endStream
    const cases: Record<string, readonly (readonly [string, string])[]> = {
      connection: request('/', [['connection', 'close']]),
      'transfer-encoding': request('/', [['transfer-encoding', 'chunked']]),
      upgrade: request('/', [['upgrade', 'websocket']]),
      'keep-alive': request('/', [['keep-alive', '5']]),
      'proxy-connection': request('/', [['proxy-connection', 'x']]),
      te: request('/', [['te', 'gzip']]),
      'an upper-case name': request('/', [['X-Upper', '1']]),
      'no :method': without(':method'),
      'no :scheme': without(':scheme'),
      'no :path': without(':path'),
      'an empty :path': request(''),
      'a pseudo field twice': request('/', [[':path', '/2']]),
      'an unknown pseudo field': [[':x', '1'], ...request('/')],
      'a :status': [[':status', '200'], ...request('/')],
      'a pseudo field behind others': [['x', '1'], ...request('/')],
      'two Hosts': [...without(':authority'), ['host', 'a'], ['host', 'a']],
      'two lengths': request('/', [
        ['content-length', '0'],
        ['content-length', '0'],
      ]),
      'a length that is no number': request('/', [['content-length', 'x']]),
      'a length of a body that is not there': request('/', [['content-length', '3']]),
      'an extended CONNECT': request('/', [], 'CONNECT').concat([[':protocol', 'websocket']]),
    }
    for (const [name, fields] of Object.entries(cases)) {
      const client = await FrameClient.connect(t, server, { ahead: [headers(1, fields, end)] })
      assert.equal(await client.resetCode(1), code.protocolError, name)
      client.send(get(3))
      assert.equal(await client.status(3), 200, name)
      client.client.socket.destroy()
    }
    assert.equal(handled, Object.keys(cases).length)
  })

  test('a body of another length than it says is never taken for whole', async (t) => {
    const read: unknown[] = []
    const server = await start(t, async (conn) => {
      read.push(await conn.requestBody.text().catch(() => 'aborted'))
      return conn.ok('')
    })
    const long = await FrameClient.connect(t, server)
    long.send(post(1, '/', ['content-length', '2']), data(1, 'abc', true))
    // Newer versions of Node end the session for it.
    await until('it is refused', () => long.of(type.reset, 1).length + long.goaways.length > 0)
    const short = await FrameClient.connect(t, server)
    short.send(post(1, '/', ['content-length', '4']), data(1, 'abc', true))
    await short.next(type.reset, 1)
    await turns()
    assert.ok(
      read.every((each) => each === 'aborted'),
      String(read),
    )
    assert.deepEqual(server.errors, [])
  })
})

test('a field whose value has control characters is dropped', async (t) => {
  const server = await start(t, (conn) => conn.json([...conn.requestHeaders]))
  const client = await FrameClient.connect(t, server)
  client.send(get(1, '/', ['x-a', 'a\r\nx: y'], ['x-b', 'a\n'], ['x-c', '\0'], ['x-d', 'd']))
  const expected = [
    ['host', 'a.test'],
    ['x-d', 'd'],
  ]
  assert.deepEqual(JSON.parse(await client.body(1)), expected)
})

describe('responses in HTTP/2', () => {
  test('text, UTF-8, bytes and nothing are bodies', async (t) => {
    const bodies: Record<string, string | Uint8Array> = {
      '/text': 'hello',
      '/utf8': 'hé€😀',
      '/bytes': new Uint8Array([104, 105]),
      '/empty': '',
    }
    const server = await start(t, (conn) => conn.ok(bodies[conn.path]!))
    const session = await openSession(t, server)
    for (const [path, body] of Object.entries(bodies)) {
      const response = await ask(session, path)
      const expected = Buffer.from(body as string)
      assert.equal(response.body, expected.toString())
      assert.equal(response.fields['content-length'], String(expected.length))
    }
  })

  test('HEAD, 204 and 304 have no body', async (t) => {
    const server = await start(t, (conn) =>
      conn.path === '/' ? conn.ok('hello') : conn.withStatus(Number(conn.path.slice(1))).halt(),
    )
    const session = await openSession(t, server)
    const { fields, body } = await ask(session, { ':method': 'HEAD' })
    assert.deepEqual([fields['content-length'], body], ['5', ''])
    for (const status of [204, 304]) {
      const response = await ask(session, `/${status}`)
      assert.deepEqual([response.status, response.body], [status, ''])
    }
  })

  test('10 MB come whole through the window of their stream, and leave the others theirs', async (t) => {
    const bytes = Buffer.alloc(10_000_000, 'wakerobin')
    const server = await start(t, (conn) => conn.ok(conn.path === '/' ? bytes : 'small'))
    const client = await FrameClient.connect(t, server, {
      settings: { [setting.windowSize]: 1000 },
    })
    client.send(get(1))
    await until('the window is full', () => client.text(1).length === 1000)
    client.send(get(3, '/small'))
    assert.equal(await client.body(3), 'small')
    assert.equal(client.text(1).length, 1000)
    client.send(windowUpdate(0, 20_000_000), windowUpdate(1, 20_000_000))
    assert.ok((await client.body(1)) === bytes.toString())
  })

  test('fields are in lower case, each Set-Cookie has its own, and those of a connection are left out', async (t) => {
    const server = await start(t, (conn) => {
      conn.responseHeaders
        .append('Set-Cookie', 'a=b')
        .append('Set-Cookie', 'c=d')
        .set('X-Utf', 'é')
        .set('Connection', 'close')
        .set('Keep-Alive', 'timeout=5')
        .set('Upgrade', 'x')
        .set('__proto__', 'odd')
      return conn.ok('')
    })
    const session = await openSession(t, server)
    const { fields } = await ask(session, '/')
    assert.deepEqual(fields['set-cookie'], ['a=b', 'c=d'])
    assert.equal(Buffer.from(fields['x-utf'] as string, 'latin1').toString(), 'é')
    for (const name of ['connection', 'keep-alive', 'upgrade', 'transfer-encoding'])
      assert.equal(fields[name], undefined)
    assert.deepEqual(server.errors, [])
  })

  test('a head of 100 KB is sent, as in HTTP/1', async (t) => {
    const server = await start(t, (conn) => {
      conn.responseHeaders.set('x-long', 'x'.repeat(100_000))
      return conn.ok('long')
    })
    const client = await FrameClient.connect(t, server, { ahead: [get(1)] })
    assert.equal(await client.body(1), 'long')
    assert.ok(client.of(type.continuation, 1).length > 1)
  })

  test('a handler that fails is a 500, a 101 too, and so is what node refuses', async (t) => {
    const sent: [string, boolean][] = []
    const server = await start(t, (conn) => {
      conn.afterSend((isSent) => sent.push([conn.path, isSent]))
      if (conn.path === '/fails') throw new Error('boom')
      if (conn.path === '/101') return conn.withStatus(101).halt()
      conn.responseHeaders.append('Content-Type', 'a/b').append('Content-Type', 'c/d')
      return conn.ok(conn.path === '/twice' ? 'x' : streamed())
    })
    async function* streamed(): AsyncGenerator<string> {
      yield 'x'
    }
    const session = await openSession(t, server)
    for (const path of ['/fails', '/101', '/twice', '/streamed']) {
      const { status, body } = await ask(session, path)
      assert.deepEqual([status, body], [500, ''], path)
    }
    assert.deepEqual(
      server.errors.map(({ error }) => (error as Error).message.slice(0, 40)),
      [
        'boom',
        'Cannot answer with a 101 in HTTP/2: it h',
        'Header field "content-type" must only ha',
        'Header field "content-type" must only ha',
      ],
    )
    await until('all are over', () => sent.length === 4)
    assert.ok(sent.every(([, isSent]) => isSent))
  })

  test('afterSend runs once, and says whether all of it was sent', async (t) => {
    const sent: [string, boolean][] = []
    const big = Buffer.alloc(5_000_000)
    const server = await start(
      t,
      handlers((conn) => {
        conn.afterSend((isSent) => sent.push([conn.path, isSent]))
        return conn.ok(conn.path === '/small' ? 'small' : big)
      }),
    )
    const client = await FrameClient.connect(t, server)
    client.send(get(1, '/small'), get(3, '/reset'), get(5, '/gone'))
    await client.body(1)
    await until(
      'the windows are full',
      () => client.text(3).length + client.text(5).length > 60_000,
    )
    client.send(reset(3))
    await until('one is reset', () => sent.length === 2)
    client.client.socket.destroy()
    await until('all are over', () => sent.length === 3)
    await turns()
    assert.deepEqual(sent, [
      ['/small', true],
      ['/reset', false],
      ['/gone', false],
    ])
  })

  test('a client that gives up is told of at once: the signal aborts, and the handler ends', async (t) => {
    const aborted: string[] = []
    const server = await start(t, async (conn) => {
      await new Promise((resolve) => conn.signal.addEventListener('abort', resolve))
      aborted.push(`${conn.path} ${conn.isDisconnected}`)
      return conn.ok('for nobody')
    })
    const client = await FrameClient.connect(t, server, { ahead: [get(1, '/1'), get(3, '/3')] })
    await until('both are handled', () => server.handle.report().requestCount === 2)
    client.send(reset(1))
    await until('one has heard', () => aborted.length === 1)
    client.client.socket.end()
    await until('the other has heard', () => aborted.length === 2)
    assert.deepEqual(aborted, ['/1 true', '/3 true'])
    assert.deepEqual(server.errors, [])
  })

  test('a client that leaves without a word takes its session with it', async (t) => {
    const server = await start(t, hello)
    const session = await openSession(t, server)
    await ask(session, '/')
    session.destroy()
    await once(session, 'close')
    await until('nothing is open', () => server.handle.report().connections === 0)
  })

  test('frames that break the rules end their own session alone', async (t) => {
    const server = await start(t, hello)
    const other = await openSession(t, server)
    for (const bytes of [
      frame(type.data, 0, 0),
      frame(type.settings, 0, 0, Buffer.alloc(5)),
      frame(type.push, 4, 1, Buffer.alloc(8)),
      frame(type.headers, 5, 2, Buffer.from([0x88])),
      windowUpdate(0, 0),
      frame(type.continuation, 4, 1),
      frame(type.ping, 0, 0, Buffer.alloc(7)),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    ]) {
      const client = await FrameClient.connect(t, server, { ahead: [bytes] })
      await client.next(type.goaway)
      assert.notEqual(client.goaways[0]!.code, code.noError)
      client.client.socket.destroy()
      assert.equal((await ask(other, '/')).status, 200)
    }
    assert.deepEqual(server.errors, [])
  })
})

test('a conn tells of its client and its listener', async (t) => {
  const server = await start(t, (conn) => conn.json([conn.peerIp, conn.listener, conn.isSecure]))
  const { body } = await ask(await openSession(t, server), '/')
  assert.deepEqual(JSON.parse(body), ['127.0.0.1', server.handle.listeners[0], false])
})

test('a handler that is late has its client answered with a 503, and its callbacks are told', async (t) => {
  for (const stays of [true, false]) {
    const gate = new Gate()
    const sent: boolean[] = []
    const server = await start(
      t,
      async (conn) => {
        await gate.pass()
        conn.afterSend((isSent) => sent.push(isSent))
        return conn.ok('late')
      },
      { limits: { handlerMs: 20 } },
    )
    const session = await openSession(t, server)
    assert.equal((await ask(session, '/')).status, 503)
    if (!stays) session.destroy()
    gate.open()
    await until('it is told', () => sent.length === 1)
    assert.deepEqual(sent, [false])
    assert.equal(server.errors.length, 1)
  }
})

test('a body that fails where nobody expects it harms no other request', async (t) => {
  const body = (): BodySource => ({
    get isEndless(): boolean {
      throw new Error('broken')
    },
    start() {},
    drained() {},
    stop() {},
    closed() {},
  })
  const server = await start(t, (conn) =>
    conn.path === '/broken' ? conn.ok(body()) : conn.ok('well'),
  )
  const session = await openSession(t, server)
  const stream = open(session, '/broken')
  stream.on('error', () => {}).resume()
  await new Promise((resolve) => stream.once('close', resolve))
  assert.notEqual(stream.rstCode, 0)
  assert.equal((await ask(session, '/')).body, 'well')
  const client = await server.connect()
  await client.get('/broken').closed()
  assert.equal((await (await server.connect()).get('/').response()).body, 'well')
  assert.ok(server.errors.length >= 2)
})

test('a body whose client has left before the handler was done is let go, and never started', async (t) => {
  const gate = new Gate()
  const told: string[] = []
  const server = await start(t, async (conn) => {
    await gate.pass()
    conn.afterSend((isSent) => told.push(`sent ${isSent}`))
    return conn.ok({
      start: () => void told.push('started'),
      drained() {},
      stop() {},
      closed: (cause) => void told.push(cause),
    })
  })
  const session = await openSession(t, server)
  const stream = open(session, '/')
  stream.on('error', () => {})
  await gate.reached()
  stream.close(8)
  await until('it is noticed', () => server.handle.report().requests.length === 0)
  gate.open()
  await until('it is let go', () => told.length === 2)
  assert.deepEqual(told, ['client', 'sent false'])
})
