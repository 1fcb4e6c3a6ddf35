import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'

import { handlers, type Handler } from '@wakerobin/core'
import { serve } from '@wakerobin/server-node'
import { Broadcaster, type BroadcasterOptions } from '@wakerobin/sse'
import { EventSource } from 'eventsource'

import { tempFolder } from '../fixtures/folder.ts'
import { fileLog, type FileLogOptions } from './index.ts'

/** A server with a broadcaster on the log of a folder. */
async function start(
  folder: string,
  port: number,
  options: FileLogOptions = {},
  broadcasterOptions: BroadcasterOptions = {},
): Promise<{ port: number; news: Broadcaster; stop(): Promise<void> }> {
  const log = fileLog(folder, options)
  const news = new Broadcaster({ historyEvents: 20, ...broadcasterOptions, log })
  const app: Handler = handlers((conn) =>
    conn.withSseStream(news, { stopRetryMs: [10, 20], retryMs: 20 }),
  )
  const server = await serve(app, { host: '127.0.0.1', port, shutdown: { lingerMs: 0 } })
  const [listener] = server.listeners
  assert.ok(listener?.kind === 'tcp')
  return {
    port: listener.port,
    news,
    async stop() {
      await server.shutDown()
      news.close()
      await log.close()
    },
  }
}

/** A client that comes back by itself, and what it has got. */
function listen(
  t: TestContext,
  port: number,
): { data: string[]; gaps: string[]; source: EventSource } {
  const source = new EventSource(`http://127.0.0.1:${port}/`)
  t.after(() => source.close())
  const [data, gaps]: [string[], string[]] = [[], []]
  source.addEventListener('message', (event) => data.push(event.data as string))
  source.addEventListener('gap', (event) => gaps.push(event.data as string))
  return { data, gaps, source }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

test('a client that stays through restarts gets every event once, those of the time between too', async (t) => {
  const folder = tempFolder(t)
  let server = await start(folder, 0)
  const { port } = server
  const client = listen(t, port)
  await until(() => server.news.subscriberCount === 1)
  const published: string[] = []
  const publish = async (news: Broadcaster, count: number): Promise<void> => {
    const texts = Array.from({ length: count }, (_, at) => `event ${published.length + at}`)
    published.push(...texts)
    await Promise.all(texts.map((text) => news.publish(text)))
  }
  await publish(server.news, 30)
  await until(() => client.data.length === published.length)
  for (let restart = 0; restart < 3; restart++) {
    await server.stop()
    // Somebody publishes while no server is there, more than the history holds.
    const log = fileLog(folder)
    const news = new Broadcaster({ log })
    await publish(news, 300)
    news.close()
    await log.close()
    server = await start(folder, port)
    await publish(server.news, 50)
    await until(() => client.data.length >= published.length)
    await publish(server.news, 1)
    await until(() => client.data.length >= published.length)
  }
  assert.deepEqual(client.data, published)
  assert.deepEqual(client.gaps, [])
  client.source.close()
  await server.stop()
})

test('a client that comes back with an old id after a restart misses nothing, and one with an id that is gone is told', async (t) => {
  const folder = tempFolder(t)
  const options: FileLogOptions = { maxEvents: 100 }
  const first = await start(folder, 0, options)
  const ids: string[] = []
  for (let at = 0; at < 150; at++) ids.push(await first.news.publish(String(at)))
  await first.stop()
  const second = await start(folder, 0, options)
  t.after(() => second.stop())
  await second.news.publish('new')
  const read = async (id: string, count: number): Promise<string> => {
    const ending = new AbortController()
    const response = await fetch(`http://127.0.0.1:${second.port}/`, {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': id },
      signal: ending.signal,
    })
    let text = ''
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk
      if (text.split('data: ').length > count) break
    }
    ending.abort()
    return text
  }
  const dataOf = (text: string): string[] =>
    [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => data!)
  const upTo = (from: number): string[] => [
    ...Array.from({ length: 150 - from }, (_, at) => String(from + at)),
    'new',
  ]
  assert.deepEqual(dataOf(await read(ids[99]!, 51)), upTo(100))
  assert.deepEqual(dataOf(await read(ids[149]!, 1)), ['new'])
  // 151 were added, the newest 100 are kept.
  assert.deepEqual(dataOf(await read(ids[9]!, 101)), ['{"missed":41}', ...upTo(51)])
  assert.deepEqual(dataOf(await read('k3f0x9q2-7', 1)), ['{"missed":null}'])
})
