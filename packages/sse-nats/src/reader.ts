/** Reads the stream: a page of it, or as it grows. */

import type { Consumer, JsMsg } from '@nats-io/jetstream'
import type { LogPage, LogRecord } from '@wakerobin/sse'

import { Arrivals } from './arrivals.ts'
import type { Link } from './link.ts'
import { idOf, sequenceOf, type StreamState } from './log-id.ts'
import { readEvent } from './message.ts'
import type { Session } from './session.ts'

/** Reads what stands after an id, by a consumer that is made for it. */
export async function readPage(session: Session, after: string, limit: number): Promise<LogPage> {
  const state = await session.state()
  const at = sequenceOf(after, state)
  if (at === undefined) return endOf(state)
  const from = Math.max(at, state.first - 1)
  if (from === state.last) return emptyPage(state.epoch, at, from)
  const consumer = await session.consume(from + 1, 10_000)
  try {
    const [messages, now] = await Promise.all([
      fetchAll(consumer, Math.min(limit, state.last - from)),
      session.state(),
    ])
    // Else the consumer may be one of a stream that was made meanwhile.
    if (now.epoch !== state.epoch) return endOf(now)
    const [page] = pagesOf(state.epoch, at, messages)
    // All of it may have been removed meanwhile.
    const found = page ?? emptyPage(state.epoch, at, Math.max(from, now.first - 1))
    return after === '' ? { ...found, missed: 0 } : found
  } finally {
    consumer.delete().catch(() => {}) // the server removes it soon
  }
}

async function fetchAll(consumer: Consumer, count: number): Promise<JsMsg[]> {
  const all: JsMsg[] = []
  for await (const message of await consumer.fetch({ max_messages: count, expires: 5_000 })) {
    all.push(message)
    // Nothing more, though there was when we asked: it has been removed.
    if (all.length === count || message.info.pending === 0) break
  }
  return all
}

/** Follows the stream. Ends when the signal aborts.
 * @throws {Error} When it cannot go on. */
export async function* follow(
  link: Link,
  after: string,
  signal: AbortSignal,
): AsyncGenerator<LogPage, void> {
  for (let at = after; !signal.aborted;) {
    const session = await link.session()
    const state = await session.state()
    const sequence = sequenceOf(at, state)
    const from = Math.max(sequence ?? state.last, state.first - 1)
    if (sequence === undefined) yield endOf(state)
    else if (sequence < from) yield emptyPage(state.epoch, sequence, from)
    at = idOf(state.epoch, from)
    for await (const page of followFrom(session, state, from, signal)) {
      at = page.next
      yield page
    }
  }
}

/** What comes after a sequence, by one consumer; until something is strange, so that one has to look anew. */
async function* followFrom(
  session: Session,
  { epoch }: StreamState,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<LogPage, void> {
  const consumer = await session.consume(from + 1, 30_000)
  const arrivals = new Arrivals(
    await consumer.consume({
      max_messages: 1_000,
      expires: 30_000,
      abort_on_missing_resource: true,
    }),
  )
  const end = (): void => arrivals.end()
  signal.addEventListener('abort', end)
  try {
    // The consumer may be one of a stream that was made meanwhile: then nothing of it is used.
    let state = await session.state()
    for (let at = from; !signal.aborted && state.epoch === epoch;) {
      const messages = await arrivals.take(checkMs)
      yield* pagesOf(epoch, at, messages)
      at = messages.at(-1)?.seq ?? at
      if (messages.length > 0 || signal.aborted) continue
      // It is silent. Is that so because there is nothing?
      const { last } = state
      state = await session.state()
      if (last > at) return // there was something a while ago, which has not come
    }
  } finally {
    signal.removeEventListener('abort', end)
    arrivals.end()
    consumer.delete().catch(() => {}) // the server removes it soon
  }
}

/** How long a tail is silent before it looks whether the stream still is what it was, in milliseconds. */
const checkMs = 2_000

/** What came in a row is a page. */
function pagesOf(epoch: string, after: number, messages: readonly JsMsg[]): LogPage[] {
  const pages: LogPage[] = []
  let records: LogRecord[] = []
  let at = after
  for (const message of messages) {
    const id = idOf(epoch, message.seq)
    if (message.seq !== at + 1 || pages.length === 0) {
      records = []
      pages.push({ records, missed: message.seq - at - 1, next: id })
    }
    at = message.seq
    records.push({ id, ...readEvent(message.data, message.headers) })
    ;(pages.at(-1) as { next: string }).next = id
  }
  return pages
}

function emptyPage(epoch: string, at: number, next: number): LogPage {
  return { records: [], missed: next - at, next: idOf(epoch, next) }
}

/** For who comes with an id of something else. */
function endOf({ epoch, last }: StreamState): LogPage {
  return { records: [], missed: null, next: idOf(epoch, last) }
}
