import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { createGunzip, gunzipSync } from 'node:zlib'

// By their paths: where nothing is installed for this folder, these tests skip.
import { State, type Conn, type Handler } from '../../packages/core/src/index.ts'
import { testApp } from '../../packages/core/src/testing.ts'
import { router } from '../../packages/router/src/index.ts'
import { connect, nodeRequest } from '../../packages/server-node/src/index.ts'
import { Broadcaster } from '../../packages/sse/src/index.ts'
import { start } from './serve.ts'
import { skipReason } from './skip-reason.ts'

const skip = { skip: skipReason }

function folder(t: TestContext, files: Record<string, string | Buffer>): string {
  const path = mkdtempSync(join(tmpdir(), 'wakerobin-middleware-'))
  t.after(() => rmSync(path, { recursive: true }))
  mkdirSync(join(path, 'css'))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text)
  return path
}

/** A request as node makes it: nothing is decoded, and the body can be left unread. */
function get(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    httpRequest(url, { headers, agent: false }, resolve).on('error', reject).end()
  })
}

async function bytesOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

// ------------------------------------------------------------------------------------------ helmet, cors

test('helmet sets its fields, which handlers may change', skip, async () => {
  const { default: helmet } = await import('helmet')
  const app = testApp([
    (conn) => void conn.withResponseHeader('X-Powered-By', 'something'),
    connect(helmet()),
    (conn) => {
      assert.match(conn.responseHeaders.get('content-security-policy')!, /^default-src 'self'/)
      return conn.withResponseHeader('X-Frame-Options', 'DENY').ok('hello')
    },
  ])
  const { status, body, headers } = await app.get('/')
  assert.deepEqual([status, body, app.errors], [200, 'hello', []])
  assert.equal(headers.get('x-content-type-options'), 'nosniff')
  assert.equal(headers.get('x-frame-options'), 'DENY')
  assert.equal(headers.has('x-powered-by'), false)
})

test('cors sets its fields and answers preflights', skip, async (t) => {
  const { default: cors } = await import('cors')
  const url = await start(t, [
    connect(cors({ origin: 'http://one.test', credentials: true })),
    'hello',
  ])
  const response = await fetch(url, { headers: { Origin: 'http://one.test' } })
  assert.equal(await response.text(), 'hello')
  assert.equal(response.headers.get('access-control-allow-origin'), 'http://one.test')
  assert.equal(response.headers.get('vary'), 'Origin')
  const preflight = await fetch(url, {
    method: 'OPTIONS',
    headers: { Origin: 'http://one.test', 'Access-Control-Request-Method': 'PUT' },
  })
  assert.equal(preflight.status, 204)
  assert.match(preflight.headers.get('access-control-allow-methods')!, /PUT/)
  assert.equal(preflight.headers.has('content-length'), false)
})

// -------------------------------------------------------------------------------------------------- sirv

test(
  'sirv serves files: types, ranges, 304, HEAD, and passes on what is not there',
  skip,
  async (t) => {
    const { default: sirv } = await import('sirv')
    const path = folder(t, {
      'index.html': '<p>hello</p>',
      'css/page.css': 'p { color: green }',
      'with space.txt': 'space',
      big: Buffer.alloc(3_000_000, 'b'),
    })
    const files = sirv(path, { dev: true, etag: true })
    const url = await start(t, [
      connect(files),
      (conn: Conn) => conn.withStatus(404).withBody('own').halt(),
    ])
    const page = await fetch(url)
    assert.equal(page.status, 200)
    assert.equal(page.headers.get('content-type'), 'text/html;charset=utf-8')
    assert.equal(page.headers.get('content-length'), '12')
    assert.equal(await page.text(), '<p>hello</p>')
    assert.equal((await fetch(`${url}/css/page.css`)).headers.get('content-type'), 'text/css')
    assert.equal(await (await fetch(`${url}/with%20space.txt`)).text(), 'space')
    assert.equal((await (await fetch(`${url}/big`)).arrayBuffer()).byteLength, 3_000_000)

    const etag = page.headers.get('etag')!
    const again = await fetch(url, {
      headers: { 'If-None-Match': etag, 'Cache-Control': 'no-cache' },
    })
    assert.equal(again.status, 304)
    const part = await fetch(`${url}/big`, { headers: { Range: 'bytes=10-19' } })
    assert.equal(part.status, 206)
    assert.equal(part.headers.get('content-range'), 'bytes 10-19/3000000')
    assert.equal(await part.text(), 'b'.repeat(10))
    const outside = await fetch(`${url}/big`, { headers: { Range: 'bytes=3000000-' } })
    assert.equal(outside.status, 416)
    const head = await fetch(`${url}/big`, { method: 'HEAD' })
    assert.equal(head.headers.get('content-length'), '3000000')

    const missing = await fetch(`${url}/missing`)
    assert.deepEqual([missing.status, await missing.text()], [404, 'own'])
    assert.equal((await fetch(`${url}/..%2f..%2fetc%2fpasswd`)).status, 404)
  },
)

test('sirv below a wildcard route serves the files behind it', skip, async (t) => {
  const { default: sirv } = await import('sirv')
  const path = folder(t, { 'css/page.css': 'p {}' })
  const app = testApp(router().get('/assets/*', connect(sirv(path))))
  assert.equal((await app.get('/assets/css/page.css')).body, 'p {}')
  assert.equal((await app.get('/css/page.css')).status, 404)
  assert.deepEqual(app.errors, [])
})

// ------------------------------------------------------------------------------------------- compression

const text = 'All work and no play makes Jack a dull boy. '.repeat(100)

test('compression encodes what is long enough, and tells the truth about it', skip, async (t) => {
  const { default: compression } = await import('compression')
  const seen: unknown[] = []
  const url = await start(t, [
    {
      beforeSend: (conn: Conn) => {
        seen.push(conn.responseHeaders.get('content-encoding'), conn.responseLength)
      },
    },
    connect(compression()),
    (conn: Conn) =>
      conn.path === '/short'
        ? conn.withResponseHeader('Content-Type', 'text/plain').ok('short')
        : conn.withResponseHeader('Content-Type', 'text/plain').ok(text),
  ])
  const gzip = { 'Accept-Encoding': 'gzip' }
  const encoded = await get(url, gzip)
  const bytes = await bytesOf(encoded)
  assert.equal(encoded.headers['content-encoding'], 'gzip')
  assert.equal(encoded.headers.vary, 'Accept-Encoding')
  assert.equal(encoded.headers['content-length'], String(bytes.length))
  assert.equal(gunzipSync(bytes).toString(), text)
  assert.deepEqual(seen.splice(0), ['gzip', bytes.length])

  const plain = await get(url)
  assert.equal((await bytesOf(plain)).toString(), text)
  assert.equal(plain.headers['content-encoding'], undefined)
  const short = await get(`${url}/short`, gzip)
  assert.equal((await bytesOf(short)).toString(), 'short')
  assert.equal(short.headers['content-length'], '5')
})

test('a stream is encoded as it comes, and no piece is stuck in the encoder', skip, async (t) => {
  const { default: compression } = await import('compression')
  let go!: () => void
  const gate = new Promise<void>((resolve) => (go = resolve))
  const url = await start(t, [
    connect(compression()),
    (conn: Conn) =>
      conn.withResponseHeader('Content-Type', 'text/plain').ok(
        (async function* () {
          yield 'first'
          await gate
          yield text
        })(),
      ),
  ])
  const response = await get(url, { 'Accept-Encoding': 'gzip' })
  assert.equal(response.headers['content-encoding'], 'gzip')
  const decoded = response.pipe(createGunzip())
  let received = ''
  for await (const chunk of decoded) {
    received += String(chunk)
    if (received === 'first') go()
  }
  assert.equal(received, `first${text}`)
})

test(
  'an event stream behind compression is live: as it is, and encoded where the app wants that',
  skip,
  async (t) => {
    const { default: compression } = await import('compression')
    const broadcaster = new Broadcaster()
    const url = await start(t, [
      connect(compression()),
      (conn: Conn) => conn.withSseStream(broadcaster),
    ])
    const plain = await get(url, { 'Accept-Encoding': 'gzip' })
    // It says no-transform, which compression heeds.
    assert.equal(plain.headers['content-encoding'], undefined)
    let events = ''
    for await (const chunk of plain) {
      events += String(chunk)
      if (!events.includes('data: one')) void broadcaster.publish('one')
      else if (!events.includes('data: two')) void broadcaster.publish('two')
      else break
    }
    assert.match(events, /data: one\n\n[^]*data: two\n\n/)
    const encoding = await start(t, [
      connect(compression({ filter: () => true })),
      {
        run: (conn: Conn) => conn.withSseStream(broadcaster),
        beforeSend: (conn: Conn) => void conn.withResponseHeader('Cache-Control', 'no-cache'),
      },
    ])
    const response = await get(encoding, { 'Accept-Encoding': 'gzip' })
    assert.equal(response.headers['content-encoding'], 'gzip')
    let received = ''
    const decoded = response.pipe(createGunzip())
    for await (const chunk of decoded) {
      received += String(chunk)
      if (!received.includes('data: three')) void broadcaster.publish('three')
      else break
    }
    assert.match(received, /data: three\n\n/)
    response.destroy()
  },
)

test('files of sirv behind compression are encoded', skip, async (t) => {
  const [{ default: compression }, { default: sirv }] = await Promise.all([
    import('compression'),
    import('sirv'),
  ])
  const url = await start(t, [
    connect(compression()),
    connect(sirv(folder(t, { 'long.txt': text.repeat(50) }))),
  ])
  const response = await get(`${url}/long.txt`, { 'Accept-Encoding': 'gzip' })
  assert.equal(response.headers['content-encoding'], 'gzip')
  assert.equal(response.headers['content-length'], undefined)
  assert.equal(gunzipSync(await bytesOf(response)).toString(), text.repeat(50))
})

// ------------------------------------------------------------------------------------------------ sessions

type Session = Express.Request & { session: { visits?: number; destroy(done: () => void): void } }

const visits: Handler = (conn) => {
  const { session } = nodeRequest<Session>(conn)
  session.visits = (session.visits ?? 0) + 1
  return conn.ok(`visit ${session.visits}`)
}

test('express-session keeps sessions, by one cookie a client', skip, async () => {
  const { default: session } = await import('express-session')
  const options = { secret: 'keyboard', resave: false, saveUninitialized: false }
  const app = testApp([
    connect(session(options)),
    (conn) => (conn.path === '/none' ? conn.ok('none') : conn),
    visits,
  ])
  const first = await app.get('/')
  assert.equal(first.body, 'visit 1')
  const [cookie] = first.headers.getSetCookie()
  assert.match(cookie!, /^connect\.sid=[^;]+; Path=\/; HttpOnly/)
  const headers = { Cookie: cookie!.split(';')[0]! }
  const second = await app.get('/', { headers })
  assert.equal(second.body, 'visit 2')
  assert.deepEqual(second.headers.getSetCookie(), [])
  assert.deepEqual((await app.get('/none')).headers.getSetCookie(), [])
  assert.deepEqual(app.errors, [])
})

test('a session that cannot be saved is reported', skip, async () => {
  const { default: session, MemoryStore } = await import('express-session')
  const error = new Error('the store is down')
  const store = new MemoryStore()
  store.set = (_id, _session, done) => void setImmediate(() => done?.(error))
  const app = testApp([
    connect(session({ secret: 'k', resave: false, saveUninitialized: true, store })),
    'hello',
  ])
  assert.equal((await app.get('/')).body, 'hello')
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(app.errors[0]?.error, error)
})

test('a cookie that is secure is set where the conn is', skip, async () => {
  const { default: session } = await import('express-session')
  const cookie = { secure: true }
  const app = testApp([
    connect(session({ secret: 'k', resave: false, saveUninitialized: true, cookie })),
    'hello',
  ])
  assert.equal((await app.get('/')).headers.has('set-cookie'), false)
  assert.match((await app.get('/', { isSecure: true })).headers.get('set-cookie')!, /Secure/)
})

test('a session in front of a router, and compression in one of its routes', skip, async () => {
  const [{ default: session }, { default: compression }] = await Promise.all([
    import('express-session'),
    import('compression'),
  ])
  const app = testApp([
    connect(session({ secret: 'k', resave: false, saveUninitialized: true })),
    router()
      .get('/plain', (conn) => conn.withResponseHeader('Content-Type', 'text/plain').ok(text))
      .get('/encoded', connect(compression()), (conn) =>
        conn.withResponseHeader('Content-Type', 'text/plain').ok(text),
      ),
  ])
  const headers = { 'Accept-Encoding': 'gzip' }
  const plain = await app.get('/plain', { headers })
  assert.equal(plain.body, text)
  assert.equal(plain.headers.has('set-cookie'), true)
  const encoded = await app.get('/encoded', { headers })
  assert.equal(gunzipSync(encoded.bytes).toString(), text)
  assert.equal(encoded.headers.has('set-cookie'), true)
  assert.deepEqual(app.errors, [])
})

test(
  'express.static serves files, refuses what leaves its folder, and passes on',
  skip,
  async (t) => {
    const { default: express } = await import('express')
    const path = folder(t, { 'a.txt': 'hello', '.hidden': 'no' })
    const url = await start(t, [
      router().all(
        '/strict/*',
        connect(express.static(path, { dotfiles: 'deny', fallthrough: false })),
      ),
      connect(express.static(path)),
      'later',
    ])
    const file = await fetch(`${url}/a.txt`)
    assert.deepEqual([file.status, await file.text()], [200, 'hello'])
    assert.equal(file.headers.get('content-length'), '5')
    const part = await fetch(`${url}/a.txt`, { headers: { Range: 'bytes=1-2' } })
    assert.deepEqual([part.status, await part.text()], [206, 'el'])
    const outside = await fetch(`${url}/a.txt`, { headers: { Range: 'bytes=9-' } })
    assert.equal(outside.status, 416)
    assert.equal(outside.headers.get('content-range'), 'bytes */5')
    assert.equal((await fetch(`${url}/strict/.hidden`)).status, 403)
    assert.equal((await fetch(`${url}/strict/b.txt`)).status, 404)
    assert.equal(await (await fetch(`${url}/b.txt`)).text(), 'later')
    const moved = await fetch(`${url}/css`, { redirect: 'manual' })
    assert.equal(moved.headers.get('location'), '/css/')
  },
)

test('all of them together, on sockets', skip, async (t) => {
  const [
    { default: helmet },
    { default: cors },
    { default: session },
    { default: compression },
    { default: sirv },
    { default: morgan },
  ] = await Promise.all([
    import('helmet'),
    import('cors'),
    import('express-session'),
    import('compression'),
    import('sirv'),
    import('morgan'),
  ])
  const lines: string[] = []
  const url = await start(t, [
    connect(
      morgan(':method :url :status :res[content-encoding]', {
        stream: { write: (line) => void lines.push(line) },
      }),
    ),
    connect(helmet()),
    connect(cors()),
    connect(session({ secret: 'k', resave: false, saveUninitialized: false })),
    connect(compression({ threshold: 0 })),
    connect(sirv(folder(t, { 'file.txt': text }))),
    (conn: Conn) => void conn.withResponseHeader('Content-Type', 'text/plain'),
    visits,
  ])
  const file = await fetch(`${url}/file.txt`)
  assert.equal(await file.text(), text)
  assert.equal(file.headers.get('content-encoding'), 'gzip')
  assert.equal(file.headers.get('x-content-type-options'), 'nosniff')
  const visit = await fetch(`${url}/visit`)
  assert.equal(await visit.text(), 'visit 1')
  assert.equal(visit.headers.get('content-encoding'), 'gzip')
  assert.equal(visit.headers.get('access-control-allow-origin'), '*')
  const headers = { Cookie: visit.headers.getSetCookie()[0]!.split(';')[0]! }
  assert.equal(await (await fetch(`${url}/visit`, { headers })).text(), 'visit 2')
  assert.deepEqual(lines, [
    'GET /file.txt 200 gzip\n',
    'GET /visit 200 gzip\n',
    'GET /visit 200 gzip\n',
  ])
})

// ---------------------------------------------------------------------------------------------- whole apps

test(
  'an app of Express answers what it has routes for, and passes the rest on',
  skip,
  async (t) => {
    const { default: express } = await import('express')
    const inner = express()
    inner.use(express.json({ limit: 100 }), express.urlencoded())
    inner.get('/hello/:name', (request, response) => {
      response
        .cookie('a', '1')
        .send(`${request.ip} ${request.protocol} ${request.params.name} ${request.originalUrl}`)
    })
    inner.post('/echo', (request, response) => void response.status(201).json(request.body))
    inner.get('/broken', () => Promise.reject(new Error('broken')))
    inner.get('/moved', (_request, response) => response.redirect('/api/hello/you'))
    inner.get('/state', (_request, response) => void response.set('X-State', '1').status(404).end())
    const url = await start(
      t,
      [
        router().all('/api/*', connect(inner), (conn) =>
          conn.withStatus(404).withBody('not of the api').halt(),
        ),
        'outside',
      ],
      { onError: () => {} },
    )
    const hello = await fetch(`${url}/api/hello/you?x`)
    assert.equal(await hello.text(), '127.0.0.1 http you /api/hello/you?x')
    assert.match(hello.headers.get('etag')!, /^W\//)
    assert.equal(hello.headers.get('set-cookie'), 'a=1; Path=/')
    const fresh = await fetch(`${url}/api/hello/you?x`, {
      headers: { 'If-None-Match': hello.headers.get('etag')!, 'Cache-Control': 'max-age=0' },
    })
    assert.equal(fresh.status, 304)
    const json = { 'Content-Type': 'application/json' }
    const echo = await fetch(`${url}/api/echo`, { method: 'POST', body: '{"a":1}', headers: json })
    assert.deepEqual([echo.status, await echo.json()], [201, { a: 1 }])
    const malformed = await fetch(`${url}/api/echo`, { method: 'POST', body: '{', headers: json })
    assert.deepEqual([malformed.status, await malformed.text()], [400, ''])
    const long = await fetch(`${url}/api/echo`, {
      method: 'POST',
      body: `"${text}"`,
      headers: json,
    })
    assert.equal(long.status, 413)
    assert.equal((await fetch(`${url}/api/broken`)).status, 500)
    assert.equal(
      await (await fetch(`${url}/api/moved`)).text(),
      '127.0.0.1 http you /api/hello/you',
    )
    assert.equal((await fetch(`${url}/api/state`)).headers.get('x-state'), '1')
    const missing = await fetch(`${url}/api/missing`)
    assert.deepEqual([missing.status, await missing.text()], [404, 'not of the api'])
    assert.equal(await (await fetch(`${url}/elsewhere`)).text(), 'outside')
  },
)

test('body parsers put what they have read on req.body', skip, async () => {
  const { default: express } = await import('express')
  const Order = State.key<{ count: number }>()('order')
  const app = testApp([
    connect(express.json()),
    (conn) => conn.withState(Order, nodeRequest<{ body: { count: number } }>(conn).body),
    (conn) => conn.json(conn.state(Order)),
  ])
  assert.equal((await app.post('/', { json: { count: 2 } })).body, '{"count":2}')
  assert.equal((await app.post('/', { json: 'x'.repeat(2_000_000) })).status, 413)
  assert.deepEqual(app.errors, [])
})

test('multer takes files of a form', skip, async (t) => {
  const { default: multer } = await import('multer')
  const url = await start(t, [
    connect(multer({ storage: multer.memoryStorage() }).single('file')),
    (conn: Conn) => {
      const { file, body } = nodeRequest<{ file: Express.Multer.File; body: unknown }>(conn)
      return conn.json({ name: file.originalname, size: file.size, body })
    },
  ])
  const form = new FormData()
  form.set('file', new Blob([Buffer.alloc(300_000)]), 'a.bin')
  form.set('note', 'hi')
  const response = await fetch(url, { method: 'POST', body: form })
  assert.deepEqual(await response.json(), { name: 'a.bin', size: 300_000, body: { note: 'hi' } })
})

test('an app of Express streams events, and a stop ends them', skip, async () => {
  const { default: express } = await import('express')
  let closed = false
  const inner = express()
  inner.get('/events', (request, response) => {
    response.set({ 'Content-Type': 'text/event-stream', Connection: 'keep-alive' }).flushHeaders()
    response.write('data: one\n\n')
    const timer = setInterval(() => response.write(':\n\n'), 5)
    request.on('close', () => {
      clearInterval(timer)
      closed = true
    })
  })
  const app = testApp(connect(inner))
  const opened = await app.open('/events')
  while (!Buffer.from(opened.bytes).includes(':\n\n'))
    await new Promise((resolve) => setTimeout(resolve, 2))
  await app.shutDown()
  const { body, isCut } = await opened.ended
  assert.equal(isCut, false)
  assert.ok(body.startsWith('data: one\n\n'))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(closed, true)
  assert.deepEqual(app.errors, [])
})

test('the callback of a Koa app answers everything', skip, async (t) => {
  const { default: Koa } = await import('koa')
  const { Readable } = await import('node:stream')
  const koa = new Koa()
  koa.use(async (context, next) => {
    await next()
    context.set('X-Time', '1')
  })
  koa.use((context) => {
    if (context.path === '/hello') context.body = `hello ${context.ip}`
    if (context.path === '/json') context.body = { a: 1 }
    if (context.path === '/stream') context.body = Readable.from(['a', 'b'])
    if (context.path === '/throw') context.throw(418, 'teapot')
  })
  const url = await start(t, connect(koa.callback()))
  const hello = await fetch(`${url}/hello`)
  assert.deepEqual([hello.status, await hello.text()], [200, 'hello 127.0.0.1'])
  assert.equal(hello.headers.get('x-time'), '1')
  assert.deepEqual(await (await fetch(`${url}/json`)).json(), { a: 1 })
  assert.equal(await (await fetch(`${url}/stream`)).text(), 'ab')
  assert.equal((await fetch(`${url}/throw`)).status, 418)
  const missing = await fetch(`${url}/missing`)
  assert.deepEqual([missing.status, await missing.text()], [404, 'Not Found'])
})
