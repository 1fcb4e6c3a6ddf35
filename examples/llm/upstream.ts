/** The model's server, as the relay sees it. */

import type { Conn } from '@wakerobin/core'
import type { EventFields } from '@wakerobin/sse'
import { EventSourceParserStream, type EventSourceMessage } from 'eventsource-parser/stream'

/** Where the model is, and the key that it wants, which clients of the relay never see. */
export class Upstream {
  readonly #url: URL
  readonly #key: string

  /** @param origin As `http://localhost:8081`. */
  constructor(origin: string, key: string) {
    this.#url = new URL('/v1/chat/completions', origin)
    this.#key = key
  }

  /** Asks the model. One that cannot be reached is a 502.
   * @param question The JSON of a chat completion.
   * @param signal Takes the question back, and cuts its answer off. */
  ask(question: string, signal: AbortSignal): Promise<Response> {
    const headers = { Authorization: `Bearer ${this.#key}`, 'Content-Type': 'application/json' }
    return fetch(this.#url, { method: 'POST', headers, body: question, signal }).catch(() =>
      Response.json({ error: failure }, { status: 502 }),
    )
  }
}

/** What a client learns where the model fails: nothing of how. */
export const failure = { message: 'The model does not answer', type: 'server_error', code: null }

/** Whether the model streams its answer. Otherwise it has refused, or was not asked to. */
export function isStreamed({ ok, headers, body }: Response): boolean {
  return ok && body !== null && /^text\/event-stream\b/.test(headers.get('content-type') ?? '')
}

/** Answers as the model did: its status, what it says of itself and of when to ask again, and its body. */
export function passOn(conn: Conn, { status, headers, body }: Response): Conn {
  for (const name of ['content-type', 'retry-after', 'x-request-id'])
    conn.responseHeaders.set(name, headers.get(name) ?? [])
  return conn
    .withStatus(status)
    .withBody(body ?? '')
    .halt()
}

/** From the bytes of an answer to its events. Whoever cancels them cancels the answer. */
export function eventsOf({ body }: Response): ReadableStream<EventFields> {
  return body!
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream())
    .pipeThrough(untilDone())
}

/** Fails where an answer ends without its last word: half of one must not look whole. */
function untilDone(): TransformStream<EventSourceMessage, EventFields> {
  let isDone = false
  return new TransformStream({
    transform({ data }, controller) {
      isDone = data === '[DONE]'
      controller.enqueue({ data })
    },
    flush() {
      if (!isDone) throw new Error('The answer has ended without [DONE]')
    },
  })
}
