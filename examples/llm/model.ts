/** A stand-in for a model's server: it streams chat completions as OpenAI's API does, and says back what it is told.
 *
 *     PORT=8081 npm run example examples/llm/model.ts
 *     curl -N localhost:8081/v1/chat/completions -H 'Authorization: Bearer sk-stand-in' -d '{"model":"parrot","stream":true,"messages":[{"role":"user","content":"Hello, model!"}]}'
 *
 * It writes its bytes itself, as they are read from that API, and not by the encoder that the relay uses.
 * Source: https://platform.openai.com/docs/api-reference/chat-streaming */

import { setTimeout as sleep } from 'node:timers/promises'

import type { Conn, Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'

/** What the model says to the last message. The signal aborts when whoever asked has left. */
export type Answer = (
  message: string,
  signal: AbortSignal,
) => AsyncIterable<string> | Promise<AsyncIterable<string>>

export const key = 'sk-stand-in'
export const name = 'parrot'

export const app =
  (answer: Answer = repeat): Handler =>
  async (conn) => {
    if (conn.method !== 'POST' || conn.path !== '/v1/chat/completions') return conn
    if (conn.requestHeaders.get('authorization') !== `Bearer ${key}`)
      return refuse(conn, 401, 'invalid_api_key', 'Incorrect API key provided.')
    const question = await conn.requestBody.json<Question>()
    if (question.model !== name)
      return refuse(conn, 404, 'model_not_found', `There is no model ${question.model}.`)
    const words = await answer(question.messages.at(-1)?.content ?? '', conn.signal)
    if (question.stream !== true) return conn.json(await completion(words))
    return conn
      .withResponseHeader('Content-Type', 'text/event-stream; charset=utf-8')
      .ok(chunks(question, untilLeft(words, conn.signal)))
  }

interface Question {
  readonly model: string
  readonly messages: readonly { readonly role: string; readonly content: string }[]
  readonly stream?: boolean
  readonly stream_options?: { readonly include_usage?: boolean }
}

/** That an answer breaks off for the signal is no error. */
async function* untilLeft(
  words: AsyncIterable<string>,
  signal: AbortSignal,
): AsyncGenerator<string> {
  try {
    yield* words
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function* chunks(
  { stream_options }: Question,
  words: AsyncIterable<string>,
): AsyncGenerator<string> {
  const base = { ...head(), object: 'chat.completion.chunk' }
  const chunk = (delta: object, finish_reason: string | null = null): string =>
    line({ ...base, choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  let count = 0
  yield chunk({ role: 'assistant', content: '', refusal: null })
  for await (const content of words) {
    count++
    yield chunk({ content })
  }
  yield chunk({}, 'stop')
  if (stream_options?.include_usage === true)
    yield line({ ...base, choices: [], usage: usage(count) })
  yield 'data: [DONE]\n\n'
}

function line(chunk: object): string {
  return `data: ${JSON.stringify(chunk)}\n\n`
}

async function completion(words: AsyncIterable<string>): Promise<object> {
  let content = ''
  let count = 0
  for await (const word of words) {
    content += word
    count++
  }
  const message = { role: 'assistant', content, refusal: null }
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }]
  return { ...head(), object: 'chat.completion', choices, usage: usage(count) }
}

function head(): object {
  return { id: 'chatcmpl-1', created: Math.floor(Date.now() / 1000), model: name }
}

function usage(completion_tokens: number): object {
  return { prompt_tokens: 1, completion_tokens, total_tokens: 1 + completion_tokens }
}

function refuse(conn: Conn, status: number, code: string, message: string): Conn {
  const error = { message, type: 'invalid_request_error', param: null, code }
  return conn.withStatus(status).json({ error })
}

async function* repeat(message: string, signal: AbortSignal): AsyncGenerator<string> {
  for (const word of message.split(/(?<= )/)) {
    await sleep(50, undefined, { signal })
    yield word
  }
}

if (process.argv[1] === import.meta.filename) run(app())
