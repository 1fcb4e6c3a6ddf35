import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { start } from '../../examples/testing/start.ts'
// By their paths: where nothing is installed for this folder, these tests skip.
import { fromFetch } from '../../packages/core/src/fetch.ts'
import { handlers, type Conn, type Handler } from '../../packages/core/src/index.ts'
import { serve } from '../../packages/server-node/src/index.ts'
import { skipReason as skip } from './skip-reason.ts'

test('a Hono app reads requests and answers them, cookies and all', { skip }, async (t) => {
  const { Hono } = await import('hono')
  const { getCookie, setCookie } = await import('hono/cookie')
  const hono = new Hono()
    .get('/whole', (c) => c.json([c.req.url, c.req.query('a'), getCookie(c)]))
    .post('/form', async (c) => {
      const form = await c.req.parseBody()
      setCookie(c, 'a', '1')
      setCookie(c, 'b', '2', { httpOnly: true })
      return c.json(form, 201)
    })
    .get('/throws', () => {
      throw new Error('no ferns')
    })
    .onError((error, c) => c.text(error.message, 503))
  const { origin } = await open(t, fromFetch(hono))
  const whole = await fetch(`${origin}/whole?a=b%20c`, { headers: { Cookie: 'x=1; y=2' } })
  assert.deepEqual(await whole.json(), [`${origin}/whole?a=b%20c`, 'b c', { x: '1', y: '2' }])
  const body = new FormData()
  body.set('name', 'Fårö')
  const form = await fetch(`${origin}/form`, { method: 'POST', body })
  assert.equal(form.status, 201)
  assert.deepEqual(form.headers.getSetCookie(), ['a=1; Path=/', 'b=2; Path=/; HttpOnly'])
  assert.deepEqual(await form.json(), { name: 'Fårö' })
  const head = await fetch(`${origin}/whole`, { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
  const throws = await fetch(`${origin}/throws`)
  assert.deepEqual([throws.status, await throws.text()], [503, 'no ferns'])
  assert.equal((await fetch(`${origin}/nowhere`)).status, 404)
})

test(
  'a Hono app below a path sees the rest of it, and has the conn as c.env',
  { skip },
  async (t) => {
    const { Hono } = await import('hono')
    const hono = new Hono<{ Bindings: Conn }>().get('/users/:id', (c) =>
      c.text(`${c.req.param('id')} of ${c.env.pathAndQuery} from ${c.env.peerIp}`),
    )
    const below: Handler = (conn) =>
      conn.path.startsWith('/api') ? conn.pushPath(conn.path.slice(4)) : conn
    const { origin } = await open(t, handlers(below, fromFetch(hono)))
    const response = await fetch(`${origin}/api/users/7`)
    assert.equal(await response.text(), '7 of /api/users/7 from 127.0.0.1')
  },
)

test(
  'a request body that is too long for a Hono app is a 413, and logged nowhere',
  { skip },
  async (t) => {
    const { Hono } = await import('hono')
    const log = t.mock.method(console, 'error', () => {}) // what Hono itself answers with a 500 is said there
    const hono = new Hono()
      .use(async (c, next) => {
        c.header('Access-Control-Allow-Origin', '*')
        await next()
      })
      .post('/', async (c) => c.text(await c.req.text()))
    const { origin } = await open(t, fromFetch(hono))
    const body = new Uint8Array(1024 * 1024 + 1)
    const response = await fetch(origin, { method: 'POST', body })
    assert.deepEqual([response.status, await response.text()], [413, ''])
    assert.equal(response.headers.get('access-control-allow-origin'), '*')
    assert.equal(log.mock.callCount(), 0)
  },
)

test("a client that leaves an event stream of Hono's aborts it", { skip }, async (t) => {
  const { Hono } = await import('hono')
  const { streamSSE } = await import('hono/streaming')
  let tellAborted!: () => void
  const aborted = new Promise<void>((resolve) => (tellAborted = resolve))
  const hono = new Hono().get('/', (c) =>
    streamSSE(c, async (stream) => {
      stream.onAbort(tellAborted)
      await stream.writeSSE({ event: 'leaf', data: 'one', id: '1' })
      await aborted
    }),
  )
  const { origin } = await open(t, fromFetch(hono))
  const client = new AbortController()
  const response = await fetch(origin, { signal: client.signal })
  const { value } = await response.body!.getReader().read()
  assert.equal(Buffer.from(value!).toString(), 'event: leaf\ndata: one\nid: 1\n\n')
  client.abort()
  await aborted
})

test('event streams of Hono and h3 end whole at the stop', { skip }, async (t) => {
  const { Hono } = await import('hono')
  const { streamSSE } = await import('hono/streaming')
  const { createEventStream, H3 } = await import('h3')
  const hono = new Hono().get('/hono', (c) =>
    streamSSE(c, async (stream) => {
      await stream.writeSSE({ data: 'one' })
      await new Promise<void>((resolve) => stream.onAbort(resolve))
    }),
  )
  const h3 = new H3().get('/h3', (event) => {
    const stream = createEventStream(event)
    void stream.push('one')
    return stream.send()
  })
  const passOn = ({ status }: Response): boolean => status === 404
  const { origin, server } = await open(t, handlers(fromFetch(hono, { passOn }), fromFetch(h3)))
  const bodies = ['/hono', '/h3'].map(async (path) => {
    const response = await fetch(origin + path)
    assert.match(response.headers.get('content-type')!, /^text\/event-stream/)
    return response.body!.getReader()
  })
  const readers = await Promise.all(bodies)
  for (const reader of readers)
    assert.match(Buffer.from((await reader.read()).value!).toString(), /^data: one\n/)
  const stopped = server.shutDown()
  for (const reader of readers) assert.equal((await reader.read()).done, true)
  assert.equal((await stopped).outcome, 'clean')
})

test('an h3 app is mounted', { skip }, async (t) => {
  const { H3, readBody } = await import('h3')
  const h3 = new H3()
    .get('/hello/:name', (event) => `hello, ${event.context.params?.name}`)
    .post('/json', async (event) => ({ got: await readBody(event) }))
  const { origin } = await open(t, fromFetch(h3))
  assert.equal(await (await fetch(`${origin}/hello/Fern`)).text(), 'hello, Fern')
  const json = await fetch(`${origin}/json`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"a":1}',
  })
  assert.deepEqual(await json.json(), { got: { a: 1 } })
  assert.equal((await fetch(`${origin}/nowhere`)).status, 404)
})

async function open(t: TestContext, app: Handler) {
  return start(t, (options) => serve(app, options))
}
