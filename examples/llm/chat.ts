/** The same answers for `useChat` of the AI SDK, as its stream of the parts of a message.
 *
 * Source: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol */

import type { Handler, Has } from '@wakerobin/core'
import { sse, type EventFields } from '@wakerobin/sse'

import { eventsOf, failure, isStreamed, passOn, Upstream } from './upstream.ts'

/** Answers `POST /api/chat`. */
export const chat = (model: string): Handler<Has<Upstream>> =>
  sse<Has<Upstream>>(
    async (conn, { signal }) => {
      if (conn.method !== 'POST' || conn.path !== '/api/chat') return
      const { messages } = Object(await conn.requestBody.json())
      if (!Array.isArray(messages)) return conn.withStatus(400).json({ error: 'No messages' })
      const question = JSON.stringify({ model, stream: true, messages: messages.map(asked) })
      const answer = await conn.state(Upstream).ask(question, signal)
      if (!isStreamed(answer)) return passOn(conn, answer)
      conn.responseHeaders.set('X-Vercel-AI-UI-Message-Stream', 'v1')
      return eventsOf(answer).pipeThrough(partsOfMessage())
    },
    { finish: true, mapError: () => part({ type: 'error', errorText: failure.message }) },
  )

/** A message of theirs as one of the model's: its texts. Strangers send anything, and the model checks it too. */
function asked(message: unknown): object {
  const { role, parts } = Object(message)
  const texts = Array.isArray(parts) ? parts.map((part) => Object(part).text ?? '') : []
  return { role, content: texts.join('') }
}

/** From the chunks of a completion to the parts of a message with one text. */
function partsOfMessage(): TransformStream<EventFields, EventFields> {
  const id = 'text-1'
  return new TransformStream({
    start(controller) {
      controller.enqueue(part({ type: 'start' }))
      controller.enqueue(part({ type: 'text-start', id }))
    },
    transform({ data = '' }, controller) {
      if (data === '[DONE]') return
      const { choices } = JSON.parse(data) as Chunk
      const delta = choices[0]?.delta.content
      if (delta) controller.enqueue(part({ type: 'text-delta', id, delta }))
    },
    flush(controller) {
      controller.enqueue(part({ type: 'text-end', id }))
      controller.enqueue(part({ type: 'finish' }))
      controller.enqueue({ data: '[DONE]' })
    },
  })
}

interface Chunk {
  readonly choices: readonly { readonly delta: { readonly content?: string | null } }[]
}

function part(value: object): EventFields {
  return { data: JSON.stringify(value) }
}
