import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mock, test } from 'node:test'
import { gzipSync } from 'node:zlib'

import { connOf } from '../fixtures/conn-of.ts'
import { deferred, settled } from '../fixtures/promises.ts'
import { encodeText } from './body.ts'
import { forwardConn } from './conn.ts'
import type { Conn } from './conn.ts'
import { fromFetch, toFetch } from './fetch.ts'
import type { FetchHandler } from './fetch.ts'
import { handlers } from './handlers.ts'
import { HeaderMap } from './header-map.ts'
import { State } from './state.ts'
import { testApp } from './testing.ts'

/** Answers with what it was asked. */
const mirror = async (request: Request): Promise<Response> =>
  Response.json({
    method: request.method,
    url: request.url,
    headers: Object.fromEntries(request.headers),
    body: await request.text(),
  })

interface Mirrored {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly body: string
}

// ------------------------------------------------------------------------------------ the request

test('the mounted app gets the method, an absolute URL, the headers and the body', async () => {
  const app = testApp(fromFetch(mirror))
  const response = await app.post('/a%20b?c=d&c', {
    headers: [
      ['Host', 'fern.test:8080'],
      ['X-Leaf', ['one', 'two']],
      ['Cookie', ['a=1', 'b=2']],
      ['X-Name', 'Fårö'],
    ],
    body: 'größer',
    isSecure: true,
  })
  const { headers, ...request } = response.json<Mirrored>()
  assert.deepEqual(request, {
    method: 'POST',
    url: 'https://fern.test:8080/a%20b?c=d&c',
    body: 'größer',
  })
  const name = Buffer.from(headers['x-name']!, 'latin1').toString()
  assert.deepEqual(
    { ...headers, 'x-name': name },
    {
      host: 'fern.test:8080',
      'x-leaf': 'one, two',
      cookie: 'a=1; b=2',
      'x-name': 'Fårö',
      'content-length': '8',
    },
  )
})

test('GET and HEAD have no body, whatever the client sends, and neither has an empty one', async () => {
  const bodies: unknown[] = []
  const app = testApp(
    fromFetch((request) => {
      bodies.push(request.body)
      return new Response()
    }),
  )
  await app.get('/', { body: 'x' })
  await app.head('/')
  await app.post('/')
  await app.delete('/')
  assert.deepEqual(bodies, [null, null, null, null])
})

test('the body arrives as it is sent, and nothing is read that the app does not read', async () => {
  const gates = [deferred<void>(), deferred<void>()]
  const closed = mock.fn()
  async function* parts(): AsyncGenerator<Uint8Array> {
    try {
      yield encodeText('one')
      await gates[0]!.promise
      yield encodeText('two')
      yield encodeText('unread')
    } finally {
      closed()
    }
  }
  const seen: string[] = []
  const app = testApp(
    fromFetch(async (request) => {
      const reader = request.body!.getReader()
      for (const gate of gates) {
        seen.push(Buffer.from((await reader.read()).value!).toString())
        gate.resolve()
      }
      await reader.cancel()
      return new Response('enough')
    }),
  )
  assert.equal((await app.post('/', { body: parts() })).body, 'enough')
  assert.deepEqual(seen, ['one', 'two'])
  await settled()
  assert.equal(closed.mock.callCount(), 1)
})

test('a body that the mounted app has not read is still there for the next handler', async () => {
  const app = testApp([
    fromFetch(() => undefined),
    fromFetch(() => new Response(null, { status: 404 }), {
      passOn: ({ status }) => status === 404,
    }),
    async (conn) => conn.ok(await conn.requestBody.text()),
  ])
  assert.equal((await app.post('/', { body: 'for you' })).body, 'for you')
})

test('what is wrong with the body is the status of that, also where the app makes a 500 of it', async () => {
  const patient: FetchHandler = async (request) => {
    try {
      return new Response(await request.text())
    } catch {
      return new Response('Internal Server Error', { status: 500 })
    }
  }
  const forgiving: FetchHandler = async (request) => {
    const text = await request.text().catch(() => 'too much')
    return new Response(text)
  }
  const wrapping: FetchHandler = async (request) => {
    const text = await request.text().catch((cause: unknown) => {
      throw new Error('Cannot read', { cause })
    })
    return new Response(text)
  }
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield encodeText('a')
    throw new Error('ECONNRESET')
  }
  for (const fetch of [mirror, patient, wrapping]) {
    const app = testApp(fromFetch(fetch), { maxBodyBytes: 2 })
    assert.equal((await app.post('/', { body: 'abc' })).status, 413)
    assert.equal((await app.post('/', { body: broken() })).status, 400)
    assert.deepEqual(app.errors, [])
  }
  const app = testApp(fromFetch(forgiving), { maxBodyBytes: 2 })
  assert.equal((await app.post('/', { body: 'abc' })).body, 'too much')
})

test('what is wrong with the body can be answered by the app with getResponse, as Hono does', async () => {
  const polite: FetchHandler = async (request) => {
    try {
      return new Response(await request.text())
    } catch (error) {
      assert.deepEqual(Object.keys(error as object), ['name', 'limitBytes'])
      const response = (error as { getResponse(): Response }).getResponse()
      response.headers.set('X-By', 'the app')
      return response
    }
  }
  const app = testApp(fromFetch(polite), { maxBodyBytes: 2 })
  const response = await app.post('/', { body: 'abc' })
  response.assertStatus(413).assertBody('').assertHeader('X-By', 'the app')
  assert.deepEqual(app.errors, [])
})

test('the app sees the path that a router leaves, or the whole one', async () => {
  const below = (prefix: string, fullPath?: boolean) =>
    handlers(
      (conn: Conn) => conn.pushPath(conn.path.slice(prefix.length)),
      fromFetch(mirror, fullPath === undefined ? {} : { fullPath }),
    )
  const urlOf = async (app: ReturnType<typeof testApp>, target: string): Promise<string> =>
    (await app.get(target)).json<Mirrored>().url.replace('http://wakerobin.test', '')
  const inner = testApp(below('/api'))
  assert.equal(await urlOf(inner, '/api/users?a=b'), '/users?a=b')
  assert.equal(await urlOf(testApp(below('/api/')), '/api/users'), '/users')
  assert.equal(await urlOf(testApp(below('/api')), '/api'), '/')
  assert.equal(await urlOf(testApp(below('/api', true)), '/api/users?a=b'), '/api/users?a=b')
  assert.equal(await urlOf(testApp(fromFetch(mirror)), 'http://proxy.test/x?y'), '/x?y')
})

test('a target is what it was, byte by byte', async () => {
  const app = testApp(fromFetch(mirror))
  const of = async (target: string): Promise<string> =>
    (await app.get(target)).json<Mirrored>().url.replace('http://wakerobin.test', '')
  assert.equal(await of('//evil.test/x'), '//evil.test/x')
  assert.equal(await of('/a#b?c#d'), '/a%23b?c%23d')
  assert.equal(await of('/a\\b'), '/a%5Cb')
  assert.equal(await of('/a b\t|'), '/a%20b%09|')
  assert.equal(await of(Buffer.from('/grün').toString('latin1')), '/gr%C3%BCn')
  assert.equal(await of('/🦜\ud800'), '/%F0%9F%A6%9C%EF%BF%BD')
  assert.equal(await of('/%zz%'), '/%zz%')
})

test('a path that a URL would resolve is a 400: the app sees the path that the handlers before it have seen', async () => {
  const fetch = mock.fn(mirror)
  const dots = ['.', '..', '%2e', '%2E.', '.%2e', '%2e%2E']
  for (const options of [{}, { fullPath: true }]) {
    const app = testApp(fromFetch(fetch, options))
    for (const dot of dots)
      for (const path of [
        `/${dot}`,
        `/${dot}/admin`,
        `/x/${dot}/admin`,
        `/x/${dot}`,
        `/${dot}?a`,
      ]) {
        const response = await app.get(path)
        assert.deepEqual([response.status, response.body], [400, ''], path)
      }
  }
  const below = testApp([(conn: Conn) => conn.pushPath(conn.path.slice(4)), fromFetch(fetch)])
  assert.equal((await below.get('/api/../admin')).status, 400)
  assert.equal(fetch.mock.callCount(), 0)
  const app = testApp(fromFetch(mirror))
  for (const path of ['/...', '/.a/..b', '/a..', '/%2e%2e%2f', '/a?/../b', '/%252e/']) {
    const { url } = (await app.get(path)).json<Mirrored>()
    assert.equal(url, `http://wakerobin.test${path}`)
  }
})

test('the host is what conn.host says, also where a trusted proxy has said it', async () => {
  const proxied = (conn: Conn): void =>
    forwardConn(conn, { peerIp: '192.0.2.1', isSecure: true, host: 'fern.test' })
  const app = testApp([proxied, fromFetch(mirror)])
  const response = await app.get('/a', { headers: { Host: 'inner:8080' } })
  assert.equal(response.json<Mirrored>().url, 'https://fern.test/a')
  assert.equal((await app.get('/a', { headers: { Host: ['a.test', 'b.test'] } })).status, 400)
})

test('a request without a Host is for localhost, one with a broken Host is a 400', async () => {
  const fetch = mock.fn(mirror)
  const app = testApp(fromFetch(fetch))
  // As HTTP/1.0 allows.
  const conn = connOf({ rawHeaders: [], httpVersion: '1.0' })
  await fromFetch(mirror).run(conn)
  assert.equal(
    JSON.parse(await new Response(conn.responseBody as ReadableStream<Uint8Array>).text()).url,
    'http://localhost/',
  )
  for (const host of ['a.test', 'a.test:', 'a.test:80', '127.0.0.1:1', '[::1]:1', 'a_b', 'a%20b'])
    assert.notEqual((await app.get('/', { headers: { Host: host } })).status, 500, host)
  fetch.mock.resetCalls()
  const broken = ['', 'a/b', 'a?b', 'a#b', 'u@a', 'a\\b', 'a b', 'ü', '[::1', 'a:b', 'a:99999']
  for (const host of [...broken, ['a.test', 'b.test'], 'a%zz.test', '999.999.999.999']) {
    const response = await app.get('/', { headers: { Host: host } })
    assert.deepEqual([response.status, response.body], [400, ''], String(host))
  }
  assert.equal(fetch.mock.callCount(), 0)
  assert.deepEqual(app.errors, [])
})

test('what cannot be a Request is passed on, or a 400, never an error', async () => {
  const fetch = mock.fn(mirror)
  const app = testApp([fromFetch(fetch), 'next'])
  assert.equal((await app.request('TRACE', '/')).body, 'next')
  assert.equal((await app.request('CONNECT', 'a.test:443')).body, 'next')
  assert.equal((await app.request('OPTIONS', '*')).body, 'next')
  const conn = connOf({ rawHeaders: ['Host', 'a.test', 'x', 'a\nb'] })
  await fromFetch(fetch).run(conn)
  assert.deepEqual([conn.status, conn.isHalted], [400, true])
  assert.equal(fetch.mock.callCount(), 0)
  assert.deepEqual(app.errors, [])
  // Fields that are HTTP/2's own are none for the app.
  const second = connOf({ rawHeaders: [':path', '/', 'host', 'a.test'] })
  await fromFetch(fetch).run(second)
  assert.equal(fetch.mock.callCount(), 1)
})

test('the signal of the request aborts when the client leaves, and what fails of it is no news', async () => {
  const signals: AbortSignal[] = []
  const client = new AbortController()
  const app = testApp(
    fromFetch(
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          signals.push(signal)
          signal.addEventListener('abort', () => reject(signal.reason))
        }),
    ),
  )
  const response = app.get('/', { signal: client.signal })
  await settled()
  client.abort()
  await assert.rejects(response, { name: 'AbortError' })
  await app.idle()
  assert.equal(signals[0]!.aborted, true)
  assert.deepEqual(app.errors, [])
})

test('the app gets the conn with its state, as its second argument', async () => {
  class User {
    readonly #name: string
    constructor(name: string) {
      this.#name = name
    }
    get name(): string {
      return this.#name
    }
  }
  const app = testApp(
    handlers(
      State.new(new User('Fern')),
      fromFetch((_request, conn: Conn) => new Response(conn.state(User)?.name)),
    ),
  )
  assert.equal((await app.get('/')).body, 'Fern')
})

// ----------------------------------------------------------------------------------- the response

test('the response has the status, the headers, every cookie and the body', async () => {
  const app = testApp([
    fromFetch(
      () =>
        new Response('größer', {
          status: 201,
          headers: [
            ['Set-Cookie', 'a=1'],
            ['Set-Cookie', 'b=2'],
            ['X-Name', Buffer.from('Fårö').toString('latin1')],
            ['Connection', 'close'],
            ['Transfer-Encoding', 'chunked'],
          ],
        }),
    ),
    () => assert.fail('it is the answer'),
  ])
  const response = await app.get('/')
  assert.deepEqual([response.status, response.body], [201, 'größer'])
  assert.deepEqual(
    [...response.headers],
    [
      ['content-type', 'text/plain;charset=UTF-8'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
      ['x-name', 'Fårö'],
    ],
  )
})

test('its headers replace those of handlers before, and add to the cookies and to what varies', async () => {
  const before = new HeaderMap([
    ['Set-Cookie', 'a=1'],
    ['Vary', 'Accept'],
    ['Server', 'before'],
    ['X-Kept', 'yes'],
  ])
  const headers = { 'Set-Cookie': 'b=2', Vary: 'Origin', Server: 'after' }
  const app = testApp([before, fromFetch(() => new Response('', { headers }))])
  const response = await app.get('/')
  assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
  assert.deepEqual(response.headers.getAll('vary'), ['Accept', 'Origin'])
  assert.deepEqual(response.headers.getAll('server'), ['after'])
  assert.equal(response.headers.get('x-kept'), 'yes')
})

test('a response without a body has none, and takes that of handlers before away', async () => {
  const app = testApp([
    (conn) => conn.withBody('before'),
    fromFetch(({ url }) => {
      const status = Number(new URL(url).pathname.slice(1))
      return new Response(null, { status, headers: { 'Content-Length': '0' } })
    }),
  ])
  for (const status of [200, 204, 205, 304]) {
    const response = await app.get(`/${status}`)
    assert.deepEqual([response.status, response.body], [status, ''])
  }
  assert.equal((await app.get('/204')).headers.get('content-length'), undefined)
  assert.deepEqual(app.errors, [])
})

test('a response that fetch() got is sent as it was decoded', async (t) => {
  const upstream = createServer((_request, response) => {
    const body = gzipSync('a long way from here'.repeat(100))
    const headers = { 'Content-Encoding': 'gzip', 'Content-Length': body.length, 'X-From': 'afar' }
    response.writeHead(200, headers).end(body)
  })
  upstream.listen(0, '127.0.0.1')
  t.after(() => upstream.closeAllConnections())
  t.after(() => upstream.close())
  await once(upstream, 'listening')
  const { port } = upstream.address() as AddressInfo
  const app = testApp(fromFetch(() => fetch(`http://127.0.0.1:${port}/`)))
  const response = await app.get('/')
  assert.equal(response.body, 'a long way from here'.repeat(100))
  response.assertHeader('X-From', 'afar')
  response.assertNoHeader('Content-Encoding').assertNoHeader('Content-Length')

  // Whoever makes a Response knows what is in it.
  const own = testApp(fromFetch(() => new Response('x', { headers: { 'Content-Encoding': 'a' } })))
  ;(await own.get('/')).assertHeader('Content-Encoding', 'a')
})

test('a response whose body was read before is an error that says so', async () => {
  const app = testApp(
    fromFetch(async () => {
      const response = new Response('once')
      await response.text()
      return response
    }),
  )
  assert.equal((await app.get('/')).status, 500)
  assert.match(
    String(app.errors[0]!.error),
    /^TypeError: Expected fromFetch\(\) to return a Response whose body nobody has read/,
  )
})

test('a response whose body somebody else reads is a 500, and reported', async () => {
  const app = testApp(
    fromFetch(
      ({ url }) => {
        const response = new Response('taken', { status: url.endsWith('missing') ? 404 : 200 })
        response.body!.getReader()
        return response
      },
      { passOn: ({ status }) => status === 404 },
    ),
  )
  assert.equal((await app.get('/')).status, 500)
  assert.deepEqual(
    app.errors.map(({ place }) => place),
    ['app "fromFetch()"'],
  )
  assert.equal((await app.get('/missing')).status, 404)
})

test('the answer to a HEAD claims no length that the app did not', async () => {
  const app = testApp(
    fromFetch(({ url }) => {
      const headers = url.endsWith('known') ? { 'Content-Length': '12' } : {}
      return new Response(null, { headers })
    }),
  )
  assert.equal((await app.head('/')).headers.get('content-length'), undefined)
  assert.equal((await app.head('/known')).headers.get('content-length'), '12')
})

test('the body is read as the client reads, and cancelled when the client leaves', async () => {
  let made = 0
  const cancelled: unknown[] = []
  const body = new ReadableStream({
    pull(controller) {
      made++
      controller.enqueue(new Uint8Array(100_000))
    },
    cancel: (reason) => void cancelled.push(reason),
  })
  const app = testApp(fromFetch(() => new Response(body)))
  const response = await app.open('/')
  response.stall()
  await settled()
  const before = made
  await settled()
  assert.equal(made, before)
  response.leave()
  await app.idle()
  assert.equal(cancelled.length, 1)
})

test('a body that fails is cut, and reported', async () => {
  const body = new ReadableStream({
    pull(controller) {
      controller.error(new Error('half'))
    },
    start(controller) {
      controller.enqueue(encodeText('half'))
    },
  })
  const app = testApp(fromFetch(() => new Response(body)))
  const response = await app.get('/')
  assert.equal(response.isCut, true)
  assert.equal(app.errors[0]?.place, 'the response body')
})

test('an event stream ends at the stop, any other body goes on to its end', async () => {
  const types = ['text/event-stream', 'text/event-stream; charset=utf-8', 'TEXT/Event-Stream']
  const cancelled = mock.fn()
  const app = testApp(
    fromFetch(({ url }) => {
      const index = Number(new URL(url).pathname.slice(1))
      const body = new ReadableStream({
        start: (controller) => controller.enqueue(encodeText('data: one\n\n')),
        cancel: cancelled,
      })
      return new Response(body, { headers: { 'Content-Type': types[index]! } })
    }),
  )
  const streams = await Promise.all(types.map((_, index) => app.open(`/${index}`)))
  await settled()
  assert.deepEqual(
    app.openRequests.map(({ isStream }) => isStream),
    [true, true, true],
  )
  await app.shutDown()
  for (const { ended } of streams) {
    const { body, isCut } = await ended
    assert.deepEqual([body, isCut], ['data: one\n\n', false])
  }
  assert.equal(cancelled.mock.callCount(), 3)

  const go = deferred<void>()
  const file = testApp(
    fromFetch(() => {
      const body = new ReadableStream({
        async start(controller) {
          controller.enqueue(encodeText('one'))
          await go.promise
          controller.enqueue(encodeText('two'))
          controller.close()
        },
      })
      return new Response(body, { headers: { 'Content-Type': 'text/plain' } })
    }),
  )
  const response = await file.open('/')
  void file.shutDown()
  go.resolve()
  assert.equal((await response.ended).body, 'onetwo')
})

// --------------------------------------------------------------------------------------- the rest

test('a function that returns nothing passes on, and passOn decides of responses', async () => {
  const cancelled = mock.fn()
  const missing = () =>
    new Response(new ReadableStream({ cancel: cancelled }), {
      status: 404,
      headers: { 'Set-Cookie': 'a=1' },
    })
  const answers: Record<string, () => Response | null | undefined | void> = {
    undefined: () => undefined,
    null: () => null,
    void: () => {},
  }
  for (const [name, answer] of Object.entries(answers))
    assert.equal((await testApp([fromFetch(answer), 'next']).get('/')).body, 'next', name)

  const is404 = ({ status }: Response): boolean => status === 404
  for (const passOn of [is404, async (response: Response) => is404(response)]) {
    const response = await testApp([fromFetch(missing, { passOn }), 'next']).get('/')
    assert.deepEqual([response.status, response.body], [200, 'next'])
    assert.equal(response.headers.has('set-cookie'), false)
  }
  assert.equal(cancelled.mock.callCount(), 2)
  assert.equal(
    (await testApp([fromFetch(() => new Response(null, { status: 404 })), 'next']).get('/')).status,
    404,
  )
})

test('an object with a method fetch is mounted, and keeps its this', async () => {
  class Site {
    readonly #name = 'Fern'
    fetch(): Response {
      return new Response(this.#name)
    }
  }
  assert.equal((await testApp(fromFetch(new Site())).get('/')).body, 'Fern')
  const bare: { fetch: FetchHandler } = Object.assign(Object.create(null), {
    fetch: () => new Response('bare'),
  })
  assert.equal((await testApp(fromFetch(bare)).get('/')).body, 'bare')
})

test('an app of toFetch is mounted', async () => {
  const inner = toFetch(async (conn) => conn.ok(`${conn.path} ${await conn.requestBody.text()}`))
  const app = testApp(fromFetch(inner))
  assert.equal((await app.post('/a', { body: 'b' })).body, '/a b')
})

test('bytes come through both bridges as they were sent, however they are cut', async () => {
  const echo = toFetch((conn) => conn.ok(conn.requestBody))
  const app = testApp(fromFetch(echo), { maxBodyBytes: Infinity })
  for (let seed = 1; seed <= 40; seed++) {
    const random = randomNumbers(seed)
    const parts = Array.from({ length: random(12) }, () =>
      Uint8Array.from({ length: random(2) === 0 ? random(10) : random(90_000) }, () => random(256)),
    )
    const sent = Buffer.concat(parts)
    async function* body(): AsyncGenerator<Uint8Array> {
      for (const part of parts) {
        if (random(3) === 0) await settled()
        yield part
      }
    }
    const response = await app.post('/', { body: body() })
    assert.equal(response.isCut, false, `seed ${seed}`)
    assert.equal(Buffer.compare(response.bytes, sent), 0, `seed ${seed}`)
  }
  assert.deepEqual(app.errors, [])
})

/** Numbers from 0 to below `limit`: a linear congruential generator. */
function randomNumbers(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

test('what the app throws, or returns and is no Response, is a 500, and reported with its name', async () => {
  const shop = (request: Request): Response => {
    const { pathname } = new URL(request.url)
    if (pathname === '/throws') throw new Error('sold out')
    return (pathname === '/error' ? Response.error() : 'text') as Response
  }
  const app = testApp(fromFetch(shop))
  for (const path of ['/throws', '/text', '/error']) {
    const response = await app.get(path)
    assert.deepEqual([response.status, response.body], [500, ''])
  }
  assert.deepEqual(
    app.errors.map(({ place }) => place),
    Array(3).fill('app "fromFetch(shop)"'),
  )
  const [thrown, wrong, status] = app.errors.map(({ error }) => String(error))
  assert.equal(thrown, 'Error: sold out')
  assert.equal(
    wrong,
    'TypeError: Expected fromFetch(shop) to return a Response, or nothing to pass on, got "text"',
  )
  assert.match(status!, /^RangeError/)
})

test('what is no app is refused when it is mounted', () => {
  const message = (what: string): object => ({
    name: 'TypeError',
    message: `Cannot mount ${what}: expected a function of a Request, or an object with a method fetch`,
  })
  assert.throws(() => fromFetch(undefined as never), message('undefined'))
  assert.throws(() => fromFetch(null as never), message('null'))
  assert.throws(() => fromFetch('app' as never), message('"app"'))
  assert.throws(() => fromFetch({} as never), message('a plain object'))
  assert.throws(() => fromFetch(mirror, { passOn: true as never }), {
    name: 'TypeError',
    message: 'Cannot pass on by true: passOn must be a function',
  })
})

test('a fullPath that is no boolean is refused', () => {
  assert.throws(() => fromFetch(mirror, { fullPath: 'yes' as unknown as boolean }), {
    name: 'TypeError',
    message: 'Cannot mount an app with fullPath "yes": it must be true or false',
  })
  assert.throws(() => fromFetch(mirror, { fullpath: true } as object), {
    name: 'TypeError',
    message:
      'Cannot mount an app with fullpath: there is no such option; there are passOn and fullPath',
  })
})

test('fields of the connection are not passed on, nor those that Connection names', async () => {
  const headers = {
    Connection: 'close, X-Hop',
    'Keep-Alive': 'timeout=5',
    'Proxy-Connection': 'keep-alive',
    TE: 'trailers',
    Trailer: 'x',
    Upgrade: 'h2c',
    'X-Hop': '1',
    'X-End': '2',
  }
  const app = testApp(fromFetch(() => new Response('hello', { headers })))
  const response = await app.get('/')
  for (const name of Object.keys(headers))
    assert.equal(response.headers.get(name), name === 'X-End' ? '2' : undefined, name)
})
