/** Clients of event streams that others wrote: npm eventsource, and fetch with eventsource-parser. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

import { EventSource } from 'eventsource'
import { EventSourceParserStream } from 'eventsource-parser/stream'

import { EventQueue } from './event-queue.ts'

export interface EventClient {
  readonly events: EventQueue
  /** Resolves when the stream has ended as it should; rejects when it was cut. */
  readonly ended: Promise<void>
}

/** Opens a stream, and resolves when it is open. Closed when the test is over.
 * @param types The types to listen for besides `message`. */
export type OpenClient = (
  t: TestContext,
  url: string,
  types?: readonly string[],
) => Promise<EventClient>

/** Opens a stream with npm eventsource. It reconnects after the end, so whoever wants no more closes it. */
export const openEventSource: OpenClient = async (t, url, types = []) => {
  const events = new EventQueue()
  const source = new EventSource(url)
  t.after(() => source.close())
  for (const type of ['message', ...types])
    source.addEventListener(type, ({ type, data }) => events.push({ type, data }))
  await new Promise<void>((resolve, reject) => {
    source.addEventListener('open', () => resolve())
    source.addEventListener('error', ({ message }) => reject(new Error(message)))
  })
  // It tells no whole end from a cut: both are an error after which it waits to reconnect.
  const ended = new Promise<void>((resolve) => {
    source.addEventListener('error', () => {
      source.close()
      resolve()
    })
  })
  return { events, ended }
}

/** Opens a stream with fetch, and reads it with eventsource-parser: every type, to the end. */
export const openFetch: OpenClient = async (t, url) => {
  const controller = new AbortController()
  t.after(() => controller.abort())
  const response = await fetch(url, {
    headers: { Accept: 'text/event-stream' },
    signal: controller.signal,
  })
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'text/event-stream')
  assert.equal(response.headers.get('cache-control'), 'no-cache, no-transform')
  assert.equal(response.headers.get('x-accel-buffering'), 'no')
  const events = new EventQueue()
  const ended = readAll(response, events)
  ended.catch(() => {}) // whoever asks for it is told
  return { events, ended }
}

/** Both, by name. */
export const clients: Readonly<Record<string, OpenClient>> = {
  'npm eventsource': openEventSource,
  'fetch with eventsource-parser': openFetch,
}

async function readAll(response: Response, events: EventQueue): Promise<void> {
  const parsed = response
    .body!.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream({ onError: 'terminate' }))
  for await (const { event, data } of parsed) events.push({ type: event ?? 'message', data })
}
