import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'

import { name as model } from '../../examples/llm/model.ts'
import { Speech, startRelay } from '../../examples/llm/start-relay.ts'
import { skipReason } from './skip-reason.ts'

const messages = [{ role: 'user', content: 'hello' }] as const

test('openai reads an answer word by word, to its end', { skip: skipReason }, async (t) => {
  const speech = new Speech()
  const { completions } = await open(t, speech)
  const stream = await completions.create({
    model,
    messages: [...messages],
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks = stream[Symbol.asyncIterator]()
  assert.equal((await chunks.next()).value.choices[0].delta.role, 'assistant')
  for (const word of ['one', ' two', ' größer', ' 🦜\n']) {
    speech.say(word)
    assert.equal((await chunks.next()).value.choices[0].delta.content, word)
  }
  speech.end()
  assert.equal((await chunks.next()).value.choices[0].finish_reason, 'stop')
  assert.equal((await chunks.next()).value.usage.completion_tokens, 4)
  assert.equal((await chunks.next()).done, true)
})

test('openai gathers an answer that goes on beyond the stop', { skip: skipReason }, async (t) => {
  const speech = new Speech()
  const { completions, server } = await open(t, speech)
  const stream = completions.stream({ model, messages: [...messages] })
  speech.say('before')
  await stream.emitted('content')
  const stopping = once(server.swansong.signal, 'abort')
  const stopped = server.shutDown()
  await stopping
  speech.say(' after')
  speech.end()
  assert.equal(await stream.finalContent(), 'before after')
  assert.equal((await stopped).outcome, 'clean')
})

test('openai takes a question back, and the model notices', { skip: skipReason }, async (t) => {
  const speech = new Speech()
  const { completions } = await open(t, speech)
  const stream = await completions.create({ model, messages: [...messages], stream: true })
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0]!.delta.role, 'assistant')
    break
  }
  await speech.cancelled
})

test("openai knows the model's refusals by their status", { skip: skipReason }, async (t) => {
  const { NotFoundError } = await import('openai')
  const { completions } = await open(t, new Speech())
  const asking = completions.create({ model: 'owl', messages: [...messages], stream: true })
  await assert.rejects(asking, (error) => {
    assert(error instanceof NotFoundError)
    assert.equal(error.status, 404)
    assert.equal(error.code, 'model_not_found')
    return true
  })
})

test('openai throws where an answer breaks off', { skip: skipReason }, async (t) => {
  const { APIError } = await import('openai')
  const speech = new Speech()
  const { completions } = await open(t, speech)
  const stream = await completions.create({ model, messages: [...messages], stream: true })
  const read = async (): Promise<void> => {
    for await (const chunk of stream) if (chunk.choices[0]!.delta.role) speech.breakOff()
  }
  await assert.rejects(read(), (error) => {
    assert(error instanceof APIError)
    assert.equal(error.message, 'The model does not answer')
    return true
  })
})

async function open(t: TestContext, speech: Speech) {
  const { default: OpenAI } = await import('openai')
  const { origin, server } = await startRelay(t, speech.answer)
  const client = new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'none of yours', maxRetries: 0 })
  return { completions: client.chat.completions, server }
}
