import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { handlers } from '@wakerobin/core'
import type { Conn, Handler } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'
import { lastEventId, sse, SseEvent } from '@wakerobin/sse'
import { EventSource as NpmEventSource } from 'eventsource'
import { EventSource as UndiciEventSource } from 'undici'

import { app } from './reconnect.ts'
import { launchChromium, skipReason } from './testing/chromium.ts'
import { start } from './testing/start.ts'

/** What a client has read until it was told to stop. */
interface Read {
  readonly data: readonly string[]
  readonly ids: readonly string[]
  /** The times between the end of a stream and the beginning of the next, in milliseconds. */
  readonly waits: readonly number[]
}

/** Reads a stream until the client gives up by itself. */
type ReadAll = (url: string) => Promise<Read>

const clients: Record<
  string,
  { open: (t: TestContext) => Promise<ReadAll>; skip?: string | false }
> = {
  'npm eventsource': { open: async () => readWith(NpmEventSource) },
  'undici 7': { open: async () => readWith(UndiciEventSource as never) },
  Chromium: { open: readInChromium, skip: skipReason },
}

for (const [name, { open, skip = false }] of Object.entries(clients)) {
  test(`${name} reconnects`, { skip }, async (t) => {
    const readAll = await open(t)
    await t.test('where it was, after the time that it was told, until a 204', (t) =>
      goesOn(t, readAll),
    )
    await t.test('with every printable ASCII character of an id as it was', (t) =>
      sendsIds(t, readAll),
    )
  })
}

async function goesOn(t: TestContext, readAll: ReadAll): Promise<void> {
  const { seen, watched } = watch(app)
  const { origin } = await start(t, (options) => serve(watched, options))
  const { data, ids, waits } = await readAll(`${origin}/`)
  assert.deepEqual(data, ['one', 'two', 'three', 'four', 'five'])
  assert.deepEqual(ids, ['0', '1', '2', '3', '4'])
  assert.deepEqual(seen, [undefined, '1', '3', '4'])
  assert.equal(waits.length, 2)
  // The upper bound is less than any client waits by itself.
  for (const ms of waits) assert(ms > 240 && ms < 2_900, `${ms} ms`)
}

async function sendsIds(t: TestContext, readAll: ReadAll): Promise<void> {
  const ids = [
    '!"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~',
    'in the middle',
    '2026-11-22T10:00:00.000Z/17',
    'x'.repeat(1024),
  ]
  const { seen, watched } = watch(
    sse(
      (conn, { lastEventId: last }) => {
        const id = ids[last === undefined ? 0 : ids.indexOf(last) + 1]
        return id === undefined ? conn.sseDone() : [SseEvent.new('x').withId(id)]
      },
      { retryMs: 0 },
    ),
  )
  const { origin } = await start(t, (options) => serve(watched, options))
  assert.deepEqual((await readAll(`${origin}/`)).ids, ids)
  assert.deepEqual(seen, [undefined, ...ids])
}

test('an id that is none is the end, too', async () => {
  const headers = { Accept: 'text/event-stream', 'Last-Event-ID': 'x' }
  assert.equal((await testApp(app).get('/', { headers })).status, 204)
})

/** An app that notes the id with which each client comes. */
function watch(of: Handler): { seen: (string | undefined)[]; watched: Handler } {
  const seen: (string | undefined)[] = []
  const note = (conn: Conn): void => void seen.push(lastEventId(conn))
  return { seen, watched: handlers(note, of) }
}

function readWith(Client: typeof NpmEventSource): ReadAll {
  return (url) =>
    new Promise((resolve) => {
      const data: string[] = []
      const ids: string[] = []
      const source = new Client(url)
      source.addEventListener('message', (event) => {
        data.push(event.data as string)
        ids.push(event.lastEventId)
      })
      const waits: number[] = []
      let endedAt: number | undefined
      source.addEventListener('open', () => {
        if (endedAt !== undefined) waits.push(performance.now() - endedAt)
      })
      source.addEventListener('error', () => {
        endedAt = performance.now()
        if (source.readyState === source.CLOSED) resolve({ data, ids, waits })
      })
    })
}

async function readInChromium(t: TestContext): Promise<ReadAll> {
  const browser = await launchChromium(t)
  const page = await browser.newPage()
  await page.route('**/blank', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
  )
  return async (url) => {
    await page.goto(`${url}blank`)
    return page.evaluate(
      (url) =>
        new Promise<Read>((resolve) => {
          const data: string[] = []
          const ids: string[] = []
          const source = new EventSource(url)
          source.addEventListener('message', (event: MessageEvent<string>) => {
            data.push(event.data)
            ids.push(event.lastEventId)
          })
          const waits: number[] = []
          let endedAt: number | undefined
          source.addEventListener('open', () => {
            if (endedAt !== undefined) waits.push(performance.now() - endedAt)
          })
          source.addEventListener('error', () => {
            endedAt = performance.now()
            if (source.readyState === EventSource.CLOSED) resolve({ data, ids, waits })
          })
        }),
      url,
    )
  }
}
