import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'

import { startServer } from '../../examples/mcp/start-server.ts'
import { skipReason } from './skip-reason.ts'

test(
  'the MCP client begins a session, lists the tools and calls one',
  { skip: skipReason },
  async (t) => {
    const { client, transport } = await open(t)
    assert.equal(client.getServerVersion()?.name, 'wakerobin-example')
    assert.equal(transport.protocolVersion, '2025-11-25')
    assert.notEqual(transport.sessionId, undefined)
    const { tools } = await client.listTools()
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['add', 'count', 'announce', 'work'],
    )
    const { content } = await client.callTool({ name: 'add', arguments: { a: 1, b: 2 } })
    assert.deepEqual(content, [{ type: 'text', text: '3' }])
    await client.ping()
  },
)

test('the MCP client is told of the progress of a call', { skip: skipReason }, async (t) => {
  const { client, work } = await open(t)
  const steps = new Queue<number>()
  const called = client.callTool({ name: 'work' }, undefined, {
    onprogress: ({ progress }) => steps.push(progress),
  })
  const { progress } = await work.called
  for (const step of [1, 2, 3]) {
    progress(step, 3, `step ${step}`)
    assert.equal(await steps.next(), step) // before the next is on its way
  }
  work.finish('done')
  assert.deepEqual((await called).content, [{ type: 'text', text: 'done' }])
})

test('the MCP client that takes a call back ends it', { skip: skipReason }, async (t) => {
  const { client, work, lines } = await open(t)
  const controller = new AbortController()
  const gone = lines.next('GET', 'call-1.0')
  const options = { signal: controller.signal, onprogress: () => {} }
  const called = client.callTool({ name: 'work' }, undefined, options)
  await work.called
  controller.abort('no longer needed')
  await assert.rejects(called, /no longer needed/)
  await work.cancelled
  assert.equal((await gone).status, 204) // after which it does not ask again
})

test(
  'the MCP client that loses its connection gets the rest of a call',
  { skip: skipReason },
  async (t) => {
    const { client, work, lines } = await open(t)
    const steps = new Queue<number>()
    const called = client.callTool({ name: 'work' }, undefined, {
      onprogress: ({ progress }) => steps.push(progress),
    })
    const { progress } = await work.called
    progress(1, 3, 'read')
    assert.equal(await steps.next(), 1)
    const resumed = lines.next('GET', 'call-1.1')
    lines.cut('POST')
    progress(2, 3, 'while nobody listens')
    await resumed
    progress(3, 3, 'to whoever has come back')
    assert.equal(await steps.next(), 2)
    assert.equal(await steps.next(), 3)
    work.finish('done')
    assert.deepEqual((await called).content, [{ type: 'text', text: 'done' }])
  },
)

test('the MCP client that loses its connection misses no news', { skip: skipReason }, async (t) => {
  const { news, sessions, lines } = await open(t)
  sessions.announce('one')
  assert.equal(await news.next(), 'one')
  const resumed = lines.next('GET', 'news.1')
  lines.cut('GET')
  sessions.announce('two')
  await resumed
  sessions.announce('three')
  assert.equal(await news.next(), 'two')
  assert.equal(await news.next(), 'three')
})

test('a tool that one client calls is news for all', { skip: skipReason }, async (t) => {
  const { client, news, begin } = await open(t)
  const other = await begin()
  await client.callTool({ name: 'announce', arguments: { text: 'hello' } })
  assert.equal(await news.next(), 'hello')
  assert.equal(await other.news.next(), 'hello')
})

test('a call of the MCP client is finished after the stop', { skip: skipReason }, async (t) => {
  const { client, work, server } = await open(t)
  const called = client.callTool({ name: 'work' }, undefined, { onprogress: () => {} })
  await work.called
  const stopping = once(server.swansong.signal, 'abort')
  const stopped = server.shutDown()
  await stopping
  work.finish('done')
  assert.deepEqual((await called).content, [{ type: 'text', text: 'done' }])
  await client.close() // it comes back for news
  assert.equal((await stopped).outcome, 'clean')
})

test('the MCP client ends its session', { skip: skipReason }, async (t) => {
  const { client, transport, sessions } = await open(t)
  const id = transport.sessionId!
  assert.notEqual(sessions.find(id), undefined)
  await transport.terminateSession()
  assert.equal(sessions.find(id), undefined)
  assert.equal(transport.sessionId, undefined)
  await assert.rejects(client.ping(), /Mcp-Session-Id is missing/)
})

async function open(t: TestContext) {
  const close: (() => Promise<void>)[] = []
  // Before the server's stop: a client that loses its streams comes back.
  t.after(() => Promise.all(close.map((each) => each())))
  const server = await startServer(t)
  const begin = async () => {
    const begun = await connect(server.url)
    close.push(() => begun.client.close())
    return begun
  }
  return { ...server, ...(await begin()), begin }
}

async function connect(url: URL) {
  const { Client } = await import('@modelcontextprotocol/sdk/client/index.js')
  const { StreamableHTTPClientTransport } =
    await import('@modelcontextprotocol/sdk/client/streamableHttp.js')
  const { LoggingMessageNotificationSchema } = await import('@modelcontextprotocol/sdk/types.js')
  const lines = new Lines()
  const transport = new StreamableHTTPClientTransport(url, {
    fetch: lines.fetch,
    reconnectionOptions: {
      initialReconnectionDelay: 1,
      maxReconnectionDelay: 1,
      reconnectionDelayGrowFactor: 1,
      maxRetries: 2,
    },
  })
  const client = new Client({ name: 'test', version: '1.0.0' })
  const news = new Queue<unknown>()
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) =>
    news.push(params.data),
  )
  const listening = lines.next('GET', null)
  // Its types do not allow for exactOptionalPropertyTypes.
  await client.connect(transport as Parameters<typeof client.connect>[0])
  await listening
  return { client, transport, news, lines }
}

/** The network between the client and the server: each of its lines can be cut. */
class Lines {
  readonly #cuts = new Map<string, AbortController>()
  readonly #waiting: {
    readonly method: string
    readonly lastEventId: string | null
    readonly resolve: (response: Response) => void
  }[] = []

  readonly fetch = async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const { method = 'GET', headers, signal } = init
    const cut = new AbortController()
    this.#cuts.set(method, cut)
    const signals = [cut.signal, ...(signal ? [signal] : [])]
    const response = await fetch(url, { ...init, signal: AbortSignal.any(signals) })
    const lastEventId = new Headers(headers).get('last-event-id')
    for (const waiting of this.#waiting)
      if (waiting.method === method && waiting.lastEventId === lastEventId)
        waiting.resolve(response)
    return response
  }

  /** Cuts the newest line of a method. */
  cut(method: string): void {
    this.#cuts.get(method)!.abort(new Error('The line is cut'))
  }

  /** Resolves when a request with this `Last-Event-ID` is answered. */
  next(method: string, lastEventId: string | null): Promise<Response> {
    return new Promise((resolve) => {
      this.#waiting.push({ method, lastEventId, resolve })
    })
  }
}

/** What has come, to be taken in order. */
class Queue<T> {
  readonly #items: T[] = []
  #onPush: (() => void) | undefined

  push(item: T): void {
    this.#items.push(item)
    this.#onPush?.()
  }

  async next(): Promise<T> {
    while (this.#items.length === 0)
      await new Promise<void>((resolve) => {
        this.#onPush = resolve
      })
    return this.#items.shift()!
  }
}
