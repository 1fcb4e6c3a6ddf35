import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

import { createParser } from 'eventsource-parser'

import { until } from '../fixtures/patience.ts'
import { RedisServer, skipReason } from '../fixtures/redis-server.ts'

describe('two processes with a log on Redis', { skip: skipReason }, () => {
  test('what one publishes reaches the clients of both, and a client moves between them without gap or duplicate', async (t) => {
    const redis = await RedisServer.start(t)
    const servers = await Promise.all([Server.start(t, redis.url), Server.start(t, redis.url)])
    const [here, there] = servers
    const staying = await Promise.all(servers.map((server) => Client.open(t, server, '')))
    let moving = await Client.open(t, here!, '')
    const moved: string[] = []

    const published: string[] = []
    const over = new AbortController()
    const publishing = (async () => {
      while (!over.signal.aborted) {
        const data = String(published.length)
        await servers[published.length % 2]!.publish(data)
        published.push(data)
      }
    })()
    for (let turn = 0; turn < 10; turn++) {
      const client = moving
      // Sometimes the history of the process still has what comes next, and sometimes only the log.
      await until('some have come', () => client.data.length > 3)
      moving.leave()
      moved.push(...moving.data)
      const from = published.length
      await until('more were published', () => published.length > from + (turn % 2) * 60)
      moving = await Client.open(t, servers[turn % 2]!, moving.lastEventId)
    }
    over.abort()
    await publishing
    const all = [...staying, moving]
    await until('all have come', () => all.every(({ data }) => data.at(-1) === published.at(-1)))
    for (const { data } of staying) assert.deepEqual(data, published)
    assert.deepEqual([...moved, ...moving.data], published)
    for (const client of all) {
      assert.equal(client.gaps, 0)
      client.leave()
    }

    const [code] = await here!.end('SIGTERM')
    assert.equal(code, 0, 'nothing holds a process whose log is closed')
    await there!.end('SIGKILL')
  })
})

/** As this process itself runs. */
const [loader = '--no-warnings=ExperimentalWarning'] =
  /--import=[^=]+/.exec(process.execArgv.join('=')) ?? []

class Server {
  readonly url: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: string) {
    this.#child = child
    this.url = `http://127.0.0.1:${port}/`
  }

  static async start(t: TestContext, redisUrl: string): Promise<Server> {
    const program = fileURLToPath(new URL('../fixtures/program.ts', import.meta.url))
    const args = ['--conditions=@wakerobin/source', '--enable-source-maps', loader, program]
    const child = spawn(process.execPath, [...args, redisUrl], {
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    })
    const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
    return new Server(child, /^port (\d+)$/m.exec(line)![1]!)
  }

  async publish(data: string): Promise<void> {
    const response = await fetch(this.url, { method: 'POST', body: data })
    assert.equal(response.status, 200)
    await response.text()
  }

  end(signal: NodeJS.Signals): Promise<unknown[]> {
    const exit = once(this.#child, 'exit')
    this.#child.kill(signal)
    return exit
  }
}

class Client {
  readonly data: string[] = []
  gaps = 0
  lastEventId: string
  readonly #ending = new AbortController()

  private constructor(lastEventId: string) {
    this.lastEventId = lastEventId
  }

  /** Resolves when the stream has begun: with the id of where it stands, for a new client. */
  static async open(t: TestContext, { url }: Server, lastEventId: string): Promise<Client> {
    const client = new Client(lastEventId)
    t.after(async () => client.leave())
    const response = await fetch(`${url}events`, {
      headers: { Accept: 'text/event-stream', 'Last-Event-ID': lastEventId },
      signal: client.#ending.signal,
    })
    assert.equal(response.status, 200)
    const begun = client.#read(response.body!)
    if (lastEventId === '') await begun
    return client
  }

  /** Resolves when it has read something that has an id. */
  #read(body: ReadableStream<Uint8Array>): Promise<void> {
    return new Promise((resolve) => {
      const parser = createParser({
        onEvent: ({ id, event, data }) => {
          if (this.#ending.signal.aborted) return
          if (event === 'gap') this.gaps++
          else this.data.push(data)
          this.lastEventId = id ?? this.lastEventId
        },
      })
      const read = async (): Promise<void> => {
        const decoder = new TextDecoder()
        for await (const bytes of body) {
          const text = decoder.decode(bytes, { stream: true })
          parser.feed(text)
          if (text.includes('id: ')) resolve()
        }
      }
      read().catch(resolve) // it has left
    })
  }

  leave(): void {
    this.#ending.abort()
  }
}
