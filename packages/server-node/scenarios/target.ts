/** The program that is stopped: every kind of work that a stop may meet, a route for each.
 *
 * It prints a line when a request has come to the point that its scenario waits for. What must not end
 * before the test says so waits at a gate, which a message of the parent process opens. */

import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import { handlers, Init } from '@wakerobin/core'
import type { Conn, Handler, Info } from '@wakerobin/core'
import { onShutdown, readiness, run } from '@wakerobin/server-node'
import { Broadcaster, SseEvent } from '@wakerobin/sse'

import { first } from '../fixtures/certificates.ts'
import { bigBytes, bigPattern, jobLabel, lateLine } from './target-contract.ts'
import type { TargetOptions } from './target-contract.ts'

type Route = (conn: Conn) => Conn | undefined | Promise<Conn | undefined>

const broadcaster = new Broadcaster()
const never = new Promise<never>(() => {})

const routes: Record<string, Route> = {
  '/hello': (conn) => conn.ok('hello'),
  '/noted': (conn) => {
    note(conn, 'begun')
    return conn.ok('noted')
  },
  '/echo': async (conn) => conn.ok(`${(await conn.requestBody.bytes()).length} bytes`),
  '/slow': async (conn) => {
    note(conn, 'begun')
    await gate('/slow')
    return conn.ok('slow')
  },
  '/download': (conn) => conn.ok(parts(conn)),
  '/upload': async (conn) => {
    const hash = createHash('sha256')
    let length = 0
    for await (const bytes of conn.requestBody) {
      if (length === 0) note(conn, 'begun')
      length += bytes.length
      hash.update(bytes)
    }
    return conn.ok(`${length} bytes ${hash.digest('hex')}`)
  },
  '/events': (conn) => conn.withSseStream(broadcaster),
  '/pulled': (conn) => conn.withSseStream(() => pulled()),
  '/flood': (conn) => conn.withSseStream(() => flood()),
  '/big': (conn) => conn.ok(Buffer.alloc(bigBytes, bigPattern)),
  '/never': (conn) => {
    note(conn, 'begun')
    return never
  },
  '/boom-later': async (conn) => {
    note(conn, 'begun')
    await gate('/boom-later')
    throw new Error('boom')
  },
  '/job': (conn) => {
    void conn.swansong.guarded(job(), jobLabel)
    return conn.ok('begun')
  },
  '/job-in-a-block': (conn) => {
    void jobInABlock(conn)
    return conn.ok('begun')
  },
}

function route(conn: Conn): Conn | undefined | Promise<Conn | undefined> {
  return routes[conn.path]?.(conn)
}

function note(conn: Conn, what: string): void {
  console.log(`${conn.method} ${conn.path} has ${what}`)
}

async function* parts(conn: Conn): AsyncGenerator<string> {
  yield 'part 1\n'
  note(conn, 'begun')
  await gate('/download')
  yield 'part 2\n'
  await sleep(20)
  yield 'part 3\n'
}

async function* pulled(): AsyncGenerator<SseEvent> {
  for (let number = 1; ; number++) {
    yield event(number)
    await sleep(150)
  }
}

/** At once more than the buffers take between here and a client that does not read. */
function* flood(): Generator<string> {
  for (;;) yield 'x'.repeat(12 * 1024 * 1024)
}

/** An event that shows whether it is whole, and whether one before it is missing. */
function event(number: number): SseEvent {
  return SseEvent.new(`event ${number}\n${'-'.repeat(number % 80)}\nend of ${number}`)
}

async function job(): Promise<void> {
  await gate('/job')
  console.log('the job is done')
}

async function jobInABlock({ swansong }: Conn): Promise<void> {
  using guard = swansong.guard('the job in a block')
  await gate('/job-in-a-block')
  console.log('the job in a block is done')
}

// ----------------------------------------------------------------------------------------- gates

const open = new Set<string>()
const waiting = new Map<string, (() => void)[]>()

/** Waits until the parent opens a gate. The process is kept meanwhile, as by a connection to a database. */
async function gate(name: string): Promise<void> {
  if (open.has(name)) return
  process.channel!.ref()
  await new Promise<void>((resolve) => {
    waiting.set(name, [...(waiting.get(name) ?? []), resolve])
  })
}

process.on('message', (name: string) => {
  open.add(name)
  for (const resolve of waiting.get(name) ?? []) resolve()
  waiting.delete(name)
  if (waiting.size === 0) process.channel!.unref()
})
process.channel!.unref()
process.on('disconnect', () => process.exit(3)) // nobody is there who could end it

// --------------------------------------------------------------------------------------- the program

async function init(info: Info): Promise<void> {
  const { swansong } = info
  if (options.init !== undefined) await waitForStop(info)
  let number = 0
  setInterval(() => broadcaster.publish(event(++number)), 200).unref()
  for (const phase of ['draining', 'stopping'] as const)
    onShutdown(swansong, phase, () => console.log(`hook: ${phase}`))
  for (const order of ['first', 'second'])
    onShutdown(swansong, 'closing', () => console.log(`hook: closing, registered ${order}`))
  swansong.onStop(() => {
    // Ticks, not a time: where the machine stands still, they do too.
    let ticks = 0
    setInterval(() => {
      if (++ticks === 40) console.log(lateLine)
    }, 100).unref()
  })
}

async function waitForStop({ swansong }: Info): Promise<void> {
  console.log('init has begun')
  if (options.init === 'rejects') await sleep(60_000, undefined, { signal: swansong.signal })
  await swansong.stopping
  console.log('init was told')
}

const options = JSON.parse(process.argv[2]!) as TargetOptions
const app: Handler = handlers(Init.new(init), readiness(), route)

await run(app, {
  host: '127.0.0.1',
  port: 0,
  ...(options.isSecure === true && { tls: { cert: first.cert, key: first.key } }),
  shutdown: { deadlineMs: 60_000, ...options.shutdown },
})
