/** What docs/guide/deploying.md prints, run. */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { createParser } from 'eventsource-parser'

import { handlers, type Conn } from '@wakerobin/core'
import { readiness, serve, type ServerHandle } from '@wakerobin/server-node'
import { Broadcaster, sse } from '@wakerobin/sse'

import { EventQueue } from './testing/event-queue.ts'
import { fencesOf, noNginx, startNginx } from './testing/nginx.ts'

const tls = new URL('../packages/server-node/fixtures/tls/', import.meta.url)
const certFile = fileURLToPath(new URL('first-cert.pem', tls))
const keyFile = fileURLToPath(new URL('first-key.pem', tls))
const skip = noNginx

interface Deployed {
  readonly server: ServerHandle
  readonly broadcaster: Broadcaster
  readonly session: ClientHttp2Session
  readonly httpPort: number
}

/** An app, nginx in front of it, and a client of that which speaks HTTP/2. */
async function deploy(t: TestContext): Promise<Deployed> {
  const broadcaster = new Broadcaster()
  const app = handlers(
    sse((conn) => (conn.path === '/events' ? broadcaster : undefined), { heartbeatMs: 200 }),
    (conn: Conn) => {
      const names = ['host', 'x-forwarded-for', 'x-forwarded-proto', 'connection']
      return conn.json(names.map((name) => conn.requestHeaders.get(name) ?? null))
    },
  )
  const server = await serve(app, { host: '127.0.0.1', port: 0, shutdown: { lingerMs: 0 } })
  t.after(() => server.shutDown())
  const { httpPort, httpsPort } = await startNginx(t, fencesOf('deploying.md', 'nginx')[0]!, {
    '127.0.0.1:8080': new URL(server.url!).host,
    '/etc/ssl/app/cert.pem': certFile,
    '/etc/ssl/app/key.pem': keyFile,
    'proxy_read_timeout 60s': 'proxy_read_timeout 1s',
  })
  const session = connect(`https://127.0.0.1:${httpsPort}`, { ca: readFileSync(certFile) })
  t.after(() => session.destroy())
  return { server, broadcaster, session, httpPort }
}

interface Stream {
  readonly stream: ClientHttp2Stream
  readonly events: EventQueue
  /** How many comments have come. */
  comments(): number
  retryMs(): number | undefined
}

async function openEvents(session: ClientHttp2Session): Promise<Stream> {
  const stream = session.request({ ':path': '/events', accept: 'text/event-stream' })
  const events = new EventQueue()
  let comments = 0
  let retryMs: number | undefined
  const parser = createParser({
    onEvent: ({ event = 'message', data }) => events.push({ type: event, data }),
    onComment: () => comments++,
    onRetry: (ms) => (retryMs = ms),
  })
  stream.setEncoding('utf8').on('data', (text: string) => parser.feed(text))
  const [head] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  assert.equal(head[':status'], 200)
  assert.equal(head['content-type'], 'text/event-stream')
  return { stream, events, comments: () => comments, retryMs: () => retryMs }
}

async function get(session: ClientHttp2Session): Promise<unknown> {
  const stream = session.request({ ':path': '/', ':authority': 'app.example' }).setEncoding('utf8')
  let text = ''
  for await (const part of stream) text += part as string
  return JSON.parse(text)
}

async function until(what: string, check: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!check()) {
    assert.ok(performance.now() < deadline, `Waited in vain until ${what}`)
    await sleep(5)
  }
}

test(
  'through nginx each event comes at once, and a silent stream outlives its time-out by heartbeats',
  { skip },
  async (t) => {
    const { broadcaster, session } = await deploy(t)
    const streams = await Promise.all(Array.from({ length: 12 }, () => openEvents(session)))
    for (const data of ['one', 'two']) {
      broadcaster.publish(data)
      for (const { events } of streams)
        assert.deepEqual(await events.take(1), [{ type: 'message', data }])
    }
    const [{ comments, stream }] = streams as [Stream, ...Stream[]]
    const before = comments()
    await until('there was silence for longer than nginx waits', () => comments() >= before + 7)
    assert.equal(stream.closed, false)
    broadcaster.publish('three')
    for (const { events } of streams)
      assert.deepEqual(await events.take(1), [{ type: 'message', data: 'three' }])
  },
)

test('through nginx a client that leaves ends its stream at the app', { skip }, async (t) => {
  const { broadcaster, session } = await deploy(t)
  const [gone, there] = [await openEvents(session), await openEvents(session)]
  await until('both are there', () => broadcaster.subscriberCount === 2)
  gone.stream.close()
  await until('one is', () => broadcaster.subscriberCount === 1)
  broadcaster.publish('hello')
  await there.events.take(1)
})

test('through nginx event streams end whole at the stop', { skip }, async (t) => {
  const { server, broadcaster, session } = await deploy(t)
  const { stream, events, retryMs } = await openEvents(session)
  broadcaster.publish('the last')
  await events.take(1)
  const ended = once(stream, 'end')
  assert.equal((await server.shutDown()).outcome, 'clean')
  await ended
  assert.equal(stream.rstCode, 0)
  assert.ok(retryMs()! >= 1000 && retryMs()! <= 5000)
})

test('nginx keeps its connection to the app, and says who asks and how', { skip }, async (t) => {
  const { server, session, httpPort } = await deploy(t)
  for (let times = 0; times < 20; times++)
    assert.deepEqual(await get(session), ['app.example', '127.0.0.1', 'https', null])
  assert.equal(server.report().connections, 1)
  const asking = request({
    host: '127.0.0.1',
    port: httpPort,
    path: '/a?b',
    headers: { host: 'app.example' },
  })
  const [response] = (await once(asking.end(), 'response')) as [IncomingMessage]
  assert.equal(response.headers.location, 'https://app.example/a?b')
  response.resume()
})

test('the health check of the image says whether the app is ready', async (t) => {
  const [, list] = /^HEALTHCHECK CMD (\[.+\])$/m.exec(fencesOf('deploying.md', 'dockerfile')[0]!)!
  const [, ...args] = JSON.parse(list!) as string[]
  const server = await serve([readiness('/ready')], {
    host: '127.0.0.1',
    port: 0,
    shutdown: { lingerMs: 0, drainDelayMs: 60_000, deadlineMs: 0 },
  })
  t.after(() => server.swansong.shutDown())
  assert.equal(await check(args, server), 0)
  void server.shutDown()
  assert.equal(await check(args, server), 1)
  void server.swansong.shutDown()
  await server.stopped
  assert.equal(await check(args, server), 1)
})

test('systemd understands the units', async (t) => {
  if (spawnSync('systemd-analyze', ['--version']).status !== 0)
    return t.skip('there is no systemd-analyze')
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const names = ['app.socket', 'app.service']
  const fences = fencesOf('deploying.md', 'ini')
  assert.equal(fences.length, 2)
  const paths = names.map((name, at) => {
    assert.ok(fences[at]!.startsWith(`# /etc/systemd/system/${name}\n`))
    const path = join(folder, name)
    writeFileSync(path, fences[at]!.replace('/usr/bin/node', process.execPath))
    return path
  })
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...paths], {
    encoding: 'utf8',
  })
  assert.deepEqual([status, stdout, stderr], [0, '', '']) // what it does not know, it says on stderr
})

async function check(args: readonly string[], server: ServerHandle): Promise<number | null> {
  const child = spawn(
    process.execPath,
    args.map((each) => each.replace('127.0.0.1:8080', new URL(server.url!).host)),
    { env: { PATH: process.env.PATH } },
  )
  const [code] = await once(child, 'close')
  return code as number | null
}
