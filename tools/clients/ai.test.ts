import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'

import { name } from '../../examples/llm/model.ts'
import { Speech, startRelay } from '../../examples/llm/start-relay.ts'
import { skipReason } from './skip-reason.ts'

test(
  'ai streams text from the relay, word by word, to its end',
  { skip: skipReason },
  async (t) => {
    const { streamText } = await import('ai')
    const { model, speech } = await open(t)
    const result = streamText({ model, prompt: 'hello', maxRetries: 0 })
    const words = result.textStream[Symbol.asyncIterator]()
    for (const word of ['one', ' two', ' größer', ' 🦜\n']) {
      speech.say(word)
      assert.equal((await words.next()).value, word)
    }
    speech.end()
    assert.equal((await words.next()).done, true)
    assert.equal(await speech.asked, 'hello')
    assert.equal(await result.finishReason, 'stop')
    assert.equal((await result.usage).outputTokens, 4)
  },
)

test('ai takes a question back, and the model notices', { skip: skipReason }, async (t) => {
  const { streamText } = await import('ai')
  const { model, speech } = await open(t)
  const controller = new AbortController()
  const { textStream } = streamText({ model, prompt: 'hello', abortSignal: controller.signal })
  speech.say('one')
  for await (const word of textStream) {
    assert.equal(word, 'one')
    controller.abort()
  }
  await speech.cancelled
})

test("ai knows the model's refusals by their status", { skip: skipReason }, async (t) => {
  const { APICallError, streamText } = await import('ai')
  const { owl } = await open(t)
  const errors: unknown[] = []
  const onError = ({ error }: { error: unknown }): void => void errors.push(error)
  await streamText({ model: owl, prompt: 'hello', maxRetries: 0, onError }).consumeStream()
  assert.equal(errors.length, 1)
  assert(APICallError.isInstance(errors[0]))
  assert.equal(errors[0].statusCode, 404)
  assert.equal(errors[0].message, 'There is no model owl.')
})

test('the transport of useChat reads an answer as a message', { skip: skipReason }, async (t) => {
  const { readUIMessageStream } = await import('ai')
  const { ask, speech } = await open(t)
  const stream = await ask('hello')
  speech.say('Hello,')
  speech.say(' parrot')
  speech.end()
  let text = ''
  for await (const { parts } of readUIMessageStream({ stream, terminateOnError: true }))
    for (const part of parts) if (part.type === 'text') text = part.text
  assert.equal(text, 'Hello, parrot')
  assert.equal(await speech.asked, 'hello')
})

test(
  'the transport of useChat is told where an answer breaks off',
  { skip: skipReason },
  async (t) => {
    const { ask, speech } = await open(t)
    const stream = await ask('hello')
    await speech.asked
    speech.breakOff()
    const types = []
    for await (const { type } of stream) types.push(type)
    assert.deepEqual(types, ['start', 'text-start', 'error'])
  },
)

test(
  'the transport of useChat gathers an answer beyond the stop',
  { skip: skipReason },
  async (t) => {
    const { ask, speech, server } = await open(t)
    const stream = await ask('hello')
    await speech.asked
    const stopping = once(server.swansong.signal, 'abort')
    const stopped = server.shutDown()
    await stopping
    speech.say('after')
    speech.end()
    const types = []
    for await (const { type } of stream) types.push(type)
    assert.deepEqual(types, ['start', 'text-start', 'text-delta', 'text-end', 'finish'])
    assert.equal((await stopped).outcome, 'clean')
  },
)

async function open(t: TestContext) {
  const { DefaultChatTransport } = await import('ai')
  const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible')
  const speech = new Speech()
  const { origin, server } = await startRelay(t, speech.answer)
  const relay = createOpenAICompatible({
    name: 'relay',
    baseURL: `${origin}/v1`,
    includeUsage: true,
  })
  const transport = new DefaultChatTransport({ api: `${origin}/api/chat` })
  const ask = (text: string) =>
    transport.sendMessages({
      chatId: 'chat-1',
      messageId: undefined,
      messages: [{ id: '1', role: 'user', parts: [{ type: 'text', text }] }],
      trigger: 'submit-message',
      abortSignal: undefined,
    })
  return { model: relay(name), owl: relay('owl'), ask, speech, server }
}
