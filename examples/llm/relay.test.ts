import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test, type TestContext } from 'node:test'

import type { AnyHandler, Conn } from '@wakerobin/core'
import { serve } from '@wakerobin/server-node'
import { EventSourceParserStream } from 'eventsource-parser/stream'

import { startProgram } from '../testing/child-program.ts'
import { key, app as model, name, type Answer } from './model.ts'
import { app } from './relay.ts'
import { Speech, startRelay, startRelayTo } from './start-relay.ts'
import { Upstream } from './upstream.ts'

const hello = [{ role: 'user', content: 'hello' }]
const question = { model: name, stream: true, messages: hello }
const message = { messages: [{ id: '1', role: 'user', parts: [{ type: 'text', text: 'hello' }] }] }
/** Both ways to ask. */
const asks = [
  ['/v1/chat/completions', question],
  ['/api/chat', message],
] as const

test('each word of an answer arrives before the model says the next', async (t) => {
  const speech = new Speech()
  const { origin } = await startRelay(t, speech.answer)
  const { response, next } = await open(`${origin}/v1/chat/completions`, question)
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  assert.equal(await speech.asked, 'hello')
  assert.equal(deltaOf(await next()), '')
  for (const word of ['one', ' two', ' größer', ' 🦜\n']) {
    speech.say(word)
    assert.equal(deltaOf(await next()), word)
  }
  speech.end()
  const last = JSON.parse((await next())!) as Chunk
  assert.equal(last.choices[0]!.finish_reason, 'stop')
  assert.equal(await next(), '[DONE]')
  assert.equal(await next(), undefined)
})

test('an answer that comes byte by byte, with comments and other line ends, is relayed whole', async (t) => {
  const text = `\uFEFF: processing\r\n\r\ndata: {"a":\rdata: "größer 🦜"}\n\nfuture: field\ndata:[DONE]\r\n\r\n`
  const { origin } = await startRelayTo(t, (conn: Conn) =>
    conn.withResponseHeader('Content-Type', 'text/event-stream').ok(bytesOf(text)),
  )
  const { next } = await open(`${origin}/v1/chat/completions`, question)
  assert.equal(await next(), '{"a":\n"größer 🦜"}')
  assert.equal(await next(), '[DONE]')
  assert.equal(await next(), undefined)
})

test('the AI SDK gets the same answer as the parts of a message', async (t) => {
  const speech = new Speech()
  const { origin } = await startRelay(t, speech.answer)
  speech.say('Hello,')
  speech.say(' parrot')
  speech.end()
  const { response, next } = await open(`${origin}/api/chat`, message)
  assert.equal(response.headers.get('x-vercel-ai-ui-message-stream'), 'v1')
  const id = 'text-1'
  for (const part of [
    { type: 'start' },
    { type: 'text-start', id },
    { type: 'text-delta', id, delta: 'Hello,' },
    { type: 'text-delta', id, delta: ' parrot' },
    { type: 'text-end', id },
    { type: 'finish' },
  ])
    assert.deepEqual(JSON.parse((await next())!), part)
  assert.equal(await next(), '[DONE]')
  assert.equal(await next(), undefined)
})

test('an answer that is not streamed is passed on as it is', async (t) => {
  const { origin } = await startRelay(t, say('Hello'))
  const response = await post(`${origin}/v1/chat/completions`, { ...question, stream: false })
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'application/json')
  const { choices } = (await response.json()) as { choices: { message: { content: string } }[] }
  assert.equal(choices[0]?.message.content, 'Hello')
})

for (const [path, body] of asks) {
  test(`what the model refuses is refused with its status and its words (${path})`, async (t) => {
    const error = { message: 'Slow down', type: 'requests', param: null, code: 'rate_limit' }
    const { origin } = await startRelayTo(t, (conn: Conn) =>
      conn.withResponseHeader('Retry-After', 7).withStatus(429).json({ error }),
    )
    const response = await post(origin + path, body)
    assert.equal(response.status, 429)
    assert.equal(response.headers.get('retry-after'), '7')
    assert.equal(response.headers.get('content-type'), 'application/json')
    assert.deepEqual(await response.json(), { error })
  })

  test(`nothing is sent before the model has answered (${path})`, async (t) => {
    let answer: (status: number) => void
    const status = new Promise<number>((resolve) => (answer = resolve))
    let onAsked: () => void
    const asked = new Promise<void>((resolve) => (onAsked = resolve))
    const { origin } = await startRelayTo(t, async (conn: Conn) => {
      onAsked()
      return conn.withStatus(await status).json({})
    })
    const { hostname, port } = new URL(origin)
    const socket = connect(Number(port), hostname)
    t.after(() => socket.destroy())
    const text = JSON.stringify(body)
    const head = `POST ${path} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Length: ${text.length}\r\n\r\n`
    socket.setEncoding('utf8').write(head + text)
    await asked
    assert.equal(socket.bytesRead, 0)
    answer!(503)
    const [received] = (await once(socket, 'data')) as [string]
    assert.match(received, /^HTTP\/1\.1 503 /)
  })

  test(`a model that cannot be reached is a 502, which says nothing of why (${path})`, async (t) => {
    const gone = await serveUntilEnd(t, '')
    const { url } = await serveUntilEnd(t, app(new Upstream(gone.url!, key)))
    await gone.shutDown()
    const response = await post(new URL(path, url).href, body)
    assert.equal(response.status, 502)
    assert.doesNotMatch(await response.text(), /127\.0\.0\.1|ECONN/)
  })

  test(`a client that leaves during an answer takes the question back (${path})`, async (t) => {
    const speech = new Speech()
    const { origin } = await startRelay(t, speech.answer)
    const controller = new AbortController()
    const { next } = await open(origin + path, body, controller.signal)
    assert.equal(await speech.asked, 'hello')
    await next()
    controller.abort()
    await speech.cancelled
  })

  test(`a client that leaves before there is an answer does, too (${path})`, async (t) => {
    const speech = new Speech()
    const { origin } = await startRelay(t, async (message, signal) => {
      const words = speech.answer(message, signal)
      await once(signal, 'abort')
      return words
    })
    const controller = new AbortController()
    const response = post(origin + path, body, controller.signal)
    await speech.asked
    controller.abort()
    await assert.rejects(response, { name: 'AbortError' })
    await speech.cancelled
  })

  test(`an answer that began before the stop is finished after it (${path})`, async (t) => {
    const speech = new Speech()
    const { origin, server } = await startRelay(t, speech.answer)
    const { rest } = await open(origin + path, body)
    speech.say('before')
    await speech.asked
    const stopping = once(server.swansong.signal, 'abort')
    const stopped = server.shutDown()
    await stopping
    speech.say(' after')
    speech.end()
    const data = await rest()
    assert.match(data.join('\n'), / after/)
    assert.equal(data.at(-1), '[DONE]')
    assert.equal((await stopped).outcome, 'clean')
  })

  test(`an answer that goes on past the deadline is cut, and the model notices (${path})`, async (t) => {
    const speech = new Speech()
    const { url } = await serveUntilEnd(t, model(speech.answer))
    const server = await serveUntilEnd(t, app(new Upstream(url!, key)), 50)
    const { rest } = await open(new URL(path, server.url).href, body)
    speech.say('before')
    await speech.asked
    const { outcome } = await server.shutDown()
    assert.equal(outcome, 'deadline')
    await assert.rejects(rest())
    await speech.cancelled
  })
}

for (const how of ['ends', 'is cut']) {
  test(`an answer that ${how} before its last word ends with an error, not as if it were whole`, async (t) => {
    const half = `data: ${JSON.stringify({ choices: [{ delta: { content: 'half' } }] })}\n\n`
    async function* answer() {
      yield half
      if (how === 'is cut') throw new Error('The model has crashed')
    }
    const { origin } = await startRelayTo(t, (conn: Conn) =>
      conn.withResponseHeader('Content-Type', 'text/event-stream').ok(answer()),
    )
    const chunks = await (await open(`${origin}/v1/chat/completions`, question)).rest()
    assert.equal(JSON.parse(chunks.at(-1)!).error.type, 'server_error')
    const parts = await (await open(`${origin}/api/chat`, message)).rest()
    const last = { type: 'error', errorText: 'The model does not answer' }
    assert.deepEqual(JSON.parse(parts.at(-1)!), last)
  })
}

test('what is no message of a chat is a 400, and other paths and methods are a 404', async (t) => {
  const { origin } = await startRelay(t, say('Hello'))
  assert.equal((await post(`${origin}/api/chat`, { text: 'hello' })).status, 400)
  assert.equal((await post(`${origin}/api/chat`, null)).status, 400)
  assert.equal((await post(`${origin}/v1/models`, {})).status, 404)
  for (const [path] of asks) assert.equal((await fetch(origin + path)).status, 404)
})

test('run by itself, it has a model, and a stop waits for its answer', async (t) => {
  const program = await startProgram(t, 'llm/relay.ts')
  const { next, rest } = await open(`http://127.0.0.1:${program.port}/v1/chat/completions`, {
    ...question,
    messages: [{ role: 'user', content: 'Hello, model!' }],
  })
  assert.equal(deltaOf(await next()), '')
  program.process.kill('SIGTERM')
  const data = await rest()
  assert.equal(data.slice(0, -2).map(deltaOf).join(''), 'Hello, model!')
  assert.equal(data.at(-1), '[DONE]')
  assert.equal(await program.exited, 0)
  assert.equal(program.lines.at(-1), 'Stopped')
  assert.deepEqual(program.errors, [])
})

interface Chunk {
  readonly choices: readonly {
    readonly delta: { readonly content?: string }
    readonly finish_reason: string | null
  }[]
}

function deltaOf(data: string | undefined): string | undefined {
  return (JSON.parse(data!) as Chunk).choices[0]?.delta.content
}

function post(url: string, body: unknown, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(url, { method: 'POST', body: JSON.stringify(body), signal })
}

/** Asks for a stream, and reads it with eventsource-parser. */
async function open(url: string, body: unknown, signal?: AbortSignal) {
  const response = await post(url, body, signal)
  assert.equal(response.status, 200)
  const reader = response
    .body!.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream({ onError: 'terminate' }))
    .getReader()
  const next = async (): Promise<string | undefined> => (await reader.read()).value?.data
  const rest = async (): Promise<string[]> => {
    const all: string[] = []
    for (let data; (data = await next()) !== undefined;) all.push(data)
    return all
  }
  return { response, next, rest }
}

/** Serves until the test is over, whatever becomes of it. */
async function serveUntilEnd(t: TestContext, app: AnyHandler, deadlineMs = 1000) {
  const server = await serve([app], {
    host: '127.0.0.1',
    port: 0,
    shutdown: { lingerMs: 0, deadlineMs },
    onError: () => {},
  })
  t.after(() => server.shutDown())
  return server
}

function say(...words: string[]): Answer {
  return async function* answer() {
    yield* words
  }
}

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  for (const byte of new TextEncoder().encode(text)) yield Uint8Array.of(byte)
}
