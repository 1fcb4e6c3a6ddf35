import assert from 'node:assert/strict'
import { test } from 'node:test'

import { EventSourceParserStream, type EventSourceMessage } from 'eventsource-parser/stream'

import { startProgram } from '../testing/child-program.ts'
import { startServer } from './start-server.ts'

const json = 'application/json'
const both = 'application/json, text/event-stream'

test('a session begins with the version that the client speaks, or else the newest', async (t) => {
  const { url } = await startServer(t)
  for (const [wanted, spoken] of [
    ['2025-06-18', '2025-06-18'],
    ['2025-11-25', '2025-11-25'],
    ['1999-12-31', '2025-11-25'],
  ] as const) {
    const response = await post(url, request('initialize', { protocolVersion: wanted }))
    assert.equal(response.status, 200)
    assert.match(response.headers.get('mcp-session-id')!, /^[\w-]{36}$/)
    const { id, result } = (await response.json()) as Answer
    assert.equal(id, 1)
    assert.equal(result.protocolVersion, spoken)
  }
})

test('what is asked without a session, of one that is none, or in another version, is refused', async (t) => {
  const { url } = await startServer(t)
  const headers = await begin(url)
  const ping = request('ping')
  assert.equal((await post(url, ping)).status, 400)
  assert.equal((await post(url, ping, { 'Mcp-Session-Id': 'none' })).status, 404)
  assert.equal((await post(url, ping, { ...headers, 'MCP-Protocol-Version': '1.0' })).status, 400)
  assert.equal((await post(url, ping, headers)).status, 200)
})

test('a page of another site is refused, one on this machine is not', async (t) => {
  const { url } = await startServer(t)
  const headers = await begin(url)
  for (const [Origin, status] of [
    ['http://localhost:5173', 200],
    ['https://wakerobin.example', 403],
    ['http://localhost.wakerobin.example', 403],
    ['null', 403],
  ] as const)
    assert.equal((await post(url, request('ping'), { ...headers, Origin })).status, status)
})

test('what is no message is a 400, other methods a 405, and other paths a 404', async (t) => {
  const { url, origin } = await startServer(t)
  const headers = await begin(url)
  for (const body of [[request('ping')], {}, null, { jsonrpc: '2.0', method: 1 }])
    assert.equal((await post(url, body, headers)).status, 400)
  assert.equal((await fetch(url, { method: 'POST', headers, body: '{' })).status, 400)
  const put = await fetch(url, { method: 'PUT', headers })
  assert.equal(put.status, 405)
  assert.equal(put.headers.get('allow'), 'GET, POST, DELETE')
  assert.equal((await fetch(url, { headers: { ...headers, Accept: json } })).status, 406)
  assert.equal((await post(new URL(origin), request('ping'), headers)).status, 404)
})

test('a notification is accepted, and a method that is none is an error', async (t) => {
  const { url } = await startServer(t)
  const headers = await begin(url)
  const accepted = await post(url, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
  assert.equal(accepted.status, 202)
  assert.equal(await accepted.text(), '')
  const { error } = await answerTo(url, request('resources/list'), headers)
  assert.equal(error.code, -32601)
})

test('a call is answered in JSON, a client that accepts no event stream also where it asks for progress', async (t) => {
  const { url, work } = await startServer(t)
  const headers = await begin(url)
  const add = request('tools/call', { name: 'add', arguments: { a: 1, b: 2 } })
  const sum = { content: [{ type: 'text', text: '3' }] }
  assert.deepEqual((await answerTo(url, add, headers)).result, sum)
  work.finish('done')
  const answer = await answerTo(url, call('work'), { ...headers, Accept: json })
  assert.deepEqual(answer.result, { content: [{ type: 'text', text: 'done' }] })
  const { error } = await answerTo(url, request('tools/call', { name: 'toString' }), headers)
  assert.equal(error.code, -32602)
})

test('a tool that fails says so, and not why', async (t) => {
  const { url, work } = await startServer(t)
  const headers = await begin(url)
  const answer = answerTo(url, request('tools/call', { name: 'work' }), headers)
  await work.called
  work.fail(new Error('secret'))
  const { result } = await answer
  const content = [{ type: 'text', text: 'work has failed' }]
  assert.deepEqual(result, { content, isError: true })
})

test('a call with progress is a stream of it, which ends with the answer', async (t) => {
  const { url, work } = await startServer(t)
  const next = await open(url, call('work'), await begin(url))
  assert.deepEqual(await next(), { id: 'call-1.0', event: undefined, data: '' })
  const { progress } = await work.called
  progress(1, 2, 'half')
  const { id, data } = (await next())!
  assert.equal(id, 'call-1.1')
  assert.deepEqual(JSON.parse(data), {
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken: 'token', progress: 1, total: 2, message: 'half' },
  })
  work.finish('done')
  const result = { content: [{ type: 'text', text: 'done' }] }
  assert.deepEqual(JSON.parse((await next())!.data), { jsonrpc: '2.0', id: 1, result })
  assert.equal(await next(), undefined)
})

test('a client that speaks an older version gets no event without data', async (t) => {
  const { url, work } = await startServer(t)
  const next = await open(url, call('work'), await begin(url, '2025-06-18'))
  work.finish('done')
  assert.equal((await next())!.id, 'call-1.1')
})

test('a stream is resumed by its own session alone, after the event that is named', async (t) => {
  const { url, work } = await startServer(t)
  const headers = await begin(url)
  const controller = new AbortController()
  await open(url, call('work'), headers, controller.signal)
  const { progress } = await work.called
  for (const step of [1, 2, 3]) progress(step, 3, `step ${step}`)
  controller.abort()
  work.finish('done')
  const resume = (id: string, headers: Headers) =>
    fetch(url, { headers: { ...headers, Accept: 'text/event-stream', 'Last-Event-ID': id } })
  for (const id of ['call-1.5', 'call-2.0', 'call-1', 'news.1', '__proto__.0'])
    assert.equal((await resume(id, headers)).status, 400, id)
  assert.equal((await resume('call-1.1', await begin(url))).status, 400)
  const next = reader(await resume('call-1.1', headers))
  const ids = []
  for (let event; (event = await next()) !== undefined;) ids.push(event.id)
  assert.deepEqual(ids, ['call-1.1', 'call-1.2', 'call-1.3', 'call-1.4'])
  assert.equal((await resume('call-1.4', headers)).status, 204)
})

test('news reach every session, also what was said before its stream was open', async (t) => {
  const { url, sessions } = await startServer(t)
  const both = [await begin(url), await begin(url)]
  sessions.announce('before')
  const readers = await Promise.all(both.map(async (headers) => reader(await listen(url, headers))))
  sessions.announce('after')
  for (const next of readers) {
    assert.equal((await next())!.data, '')
    for (const data of ['before', 'after'])
      assert.equal(JSON.parse((await next())!.data).params.data, data)
  }
})

test('a client that wants to hear of warnings alone is told nothing less', async (t) => {
  const { url, sessions } = await startServer(t)
  const headers = await begin(url)
  const next = reader(await listen(url, headers))
  await answerTo(url, request('logging/setLevel', { level: 'warning' }), headers)
  sessions.announce('unheard')
  await answerTo(url, request('logging/setLevel', { level: 'info' }), headers)
  sessions.announce('heard')
  await next()
  assert.equal(JSON.parse((await next())!.data).params.data, 'heard')
})

test('a second stream of news takes the place of the first, which may be dead', async (t) => {
  const { url, sessions } = await startServer(t)
  const headers = await begin(url)
  const first = reader(await listen(url, headers))
  await first()
  const second = reader(await listen(url, headers))
  assert.equal(await first(), undefined)
  await second()
  sessions.announce('hello')
  assert.equal(JSON.parse((await second())!.data).params.data, 'hello')
})

test('the end of a session ends its streams and its calls', async (t) => {
  const { url, work } = await startServer(t)
  const headers = await begin(url)
  const news = reader(await listen(url, headers))
  const progress = await open(url, call('work'), headers)
  await news()
  await progress()
  await work.called
  assert.equal((await fetch(url, { method: 'DELETE', headers })).status, 204)
  assert.equal(await news(), undefined)
  assert.equal(await progress(), undefined)
  await work.cancelled
  assert.equal((await post(url, request('ping'), headers)).status, 404)
})

test('at the stop, news end with a time to come back, and a call is finished', async (t) => {
  const { url, work, server } = await startServer(t)
  const headers = await begin(url)
  const news = await listen(url, headers)
  const progress = await open(url, call('work'), headers)
  await work.called
  const stopped = server.shutDown()
  assert.match(await news.text(), /\nretry: \d+\n$/) // the stop has begun
  work.finish('done')
  await progress()
  assert.equal(JSON.parse((await progress())!.data).result.content[0].text, 'done')
  assert.equal(await progress(), undefined)
  assert.equal((await stopped).outcome, 'clean')
})

test('run by itself, it counts, and a stop waits until it is done', async (t) => {
  const program = await startProgram(t, 'mcp/server.ts')
  const url = new URL(`http://127.0.0.1:${program.port}/mcp`)
  const next = await open(url, call('count', { to: 3 }), await begin(url))
  await next()
  program.process.kill('SIGTERM')
  const messages = []
  for (let event; (event = await next()) !== undefined;) messages.push(JSON.parse(event.data))
  assert.equal(messages.length, 4)
  assert.equal(messages.at(-1).result.content[0].text, 'Counted to 3')
  assert.equal(await program.exited, 0)
  assert.deepEqual(program.errors, [])
})

type Headers = Readonly<Record<string, string>>

interface Answer {
  readonly id: number
  readonly result: Readonly<Record<string, unknown>>
  readonly error: { readonly code: number }
}

function request(method: string, params?: object): object {
  return { jsonrpc: '2.0', id: 1, method, params }
}

/** A call that wants to know of its progress. */
function call(name: string, args: object = {}): object {
  return request('tools/call', { name, arguments: args, _meta: { progressToken: 'token' } })
}

function post(url: URL, body: unknown, headers: Headers = {}, signal: AbortSignal | null = null) {
  return fetch(url, {
    method: 'POST',
    headers: { Accept: both, 'Content-Type': json, ...headers },
    body: JSON.stringify(body),
    signal,
  })
}

/** Begins a session. Returns the header that is of it. */
async function begin(url: URL, protocolVersion = '2025-11-25'): Promise<Headers> {
  const response = await post(url, request('initialize', { protocolVersion }))
  return { 'Mcp-Session-Id': response.headers.get('mcp-session-id')! }
}

async function answerTo(url: URL, body: object, headers: Headers): Promise<Answer> {
  const response = await post(url, body, headers)
  assert.equal(response.headers.get('content-type'), json)
  return (await response.json()) as Answer
}

function listen(url: URL, headers: Headers): Promise<Response> {
  return fetch(url, { headers: { ...headers, Accept: 'text/event-stream' } })
}

type Next = () => Promise<EventSourceMessage | undefined>

async function open(
  url: URL,
  body: object,
  headers: Headers,
  signal: AbortSignal | null = null,
): Promise<Next> {
  return reader(await post(url, body, headers, signal))
}

/** Reads an event stream with eventsource-parser. */
function reader(response: Response): Next {
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  const events = response
    .body!.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream({ onError: 'terminate' }))
    .getReader()
  return async () => (await events.read()).value
}
