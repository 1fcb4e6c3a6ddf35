/** What does a log cost? Times from `publish` to delivery, throughput, and how long a replay takes.
 *
 *   npm run bench logs
 *
 * Events of about 100 bytes. With `redis` and `nats` this process publishes and another one hears, the server beside them;
 * memory and a file belong to one process, which does both.
 *
 * - p50, p99: from `publish` to the loop that hears it, one event after the other;
 * - events a second: 10,000 that are published without waiting, until the last one is heard;
 * - replay: from the id before 10,000 events, of which the history has 16, to the last one. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

import { Broadcaster } from '@wakerobin/sse'

import { hear, sentNow, type ReaderMessage } from './lib/log-listener.ts'
import { isShared, LogHost, logKinds, openLog, type LogKind, type LogPlace } from './lib/logs.ts'
import { isQuick, lengthOf, save } from './lib/results.ts'
import { median, printTable } from './lib/stats.ts'

const singles = isQuick ? 100 : 1_000
const many = isQuick ? 1_000 : 10_000

interface Figures {
  readonly p50: number
  readonly p99: number
  readonly perSecond: number
  readonly replayMs: number
}

export async function logs(): Promise<void> {
  const length = lengthOf({ starts: 5, rounds: 1 })
  const rows = new Map<LogKind, Figures[]>(logKinds.map((kind) => [kind, []]))
  // One after the other, and all of them again: what the machine does meanwhile befalls all.
  for (let start = 0; start < length.starts; start++)
    for (const kind of logKinds) {
      const figures = await measure(kind, `bench${start}`)
      if (figures !== undefined) rows.get(kind)!.push(figures)
    }
  const table = [...rows]
    .filter(([, figures]) => figures.length > 0)
    .map(([kind, figures]) => ({ kind, ...mediansOf(figures) }))
  printTable([
    [
      'log',
      'publish to delivery, p50 ms',
      'p99 ms',
      'events a second',
      `replay of ${many.toLocaleString('en')}, ms`,
    ],
    ...table.map(({ kind, p50, p99, perSecond, replayMs }) => [
      kind,
      p50.toFixed(2),
      p99.toFixed(2),
      Math.round(perSecond).toLocaleString('en'),
      replayMs.toFixed(0),
    ]),
  ])
  for (const [kind, figures] of rows)
    if (figures.length === 0) console.log(`${kind}: its server is not installed`)
  save('logs', length, table)
}

function mediansOf(figures: readonly Figures[]): Figures {
  const of = (name: keyof Figures): number =>
    Number(median(figures.map((each) => each[name])).toPrecision(4))
  return { p50: of('p50'), p99: of('p99'), perSecond: of('perSecond'), replayMs: of('replayMs') }
}

async function measure(kind: LogKind, name: string): Promise<Figures | undefined> {
  await using host = await LogHost.start(kind)
  if (host === undefined) return undefined
  const place = { kind, at: host.at, name }
  const log = await openLog(place)
  try {
    const broadcaster = new Broadcaster({ log, historyEvents: 16 })
    await broadcaster.ready
    const hearer = new Broadcaster({ log, historyEvents: 2 * many })
    await hearer.ready
    await using listener = isShared(kind) ? new OtherProcess(place) : new ThisProcess(hearer)

    let delays = await listener.hear(singles)
    for (let left = singles; left > 0; left--) await publish(broadcaster)
    const sorted = (await delays.all).toSorted((a, b) => a - b)

    delays = await listener.hear(many)
    const { last } = await log.bounds()
    const start = performance.now()
    await Promise.all(Array.from({ length: many }, () => publish(broadcaster)))
    await delays.all
    const perSecond = many / ((performance.now() - start) / 1000)

    const replayStart = performance.now()
    let replayed = 0
    const events = broadcaster.subscribe({ lastEventId: last })[Symbol.asyncIterator]()
    while (replayed < many && !(await events.next()).done) replayed++
    await events.return?.()
    const replayMs = performance.now() - replayStart
    broadcaster.close()
    hearer.close()
    return {
      p50: sorted[Math.floor(singles / 2)]!,
      p99: sorted[Math.floor(singles * 0.99)]!,
      perSecond,
      replayMs,
    }
  } finally {
    await log.close()
  }
}

function publish(broadcaster: Broadcaster): Promise<string> {
  return broadcaster.publish(sentNow('x'.repeat(60)))
}

/** Events that somebody is listening for. */
interface Listening {
  /** How long each was under way, in milliseconds. */
  readonly all: Promise<readonly number[]>
}

class ThisProcess implements AsyncDisposable {
  readonly #broadcaster: Broadcaster

  constructor(broadcaster: Broadcaster) {
    this.#broadcaster = broadcaster
  }

  async hear(count: number): Promise<Listening> {
    return { all: hear(this.#broadcaster, count) }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class OtherProcess implements AsyncDisposable {
  readonly #child: ChildProcess

  constructor(place: LogPlace) {
    const program = join(import.meta.dirname, 'lib/log-listener.ts')
    this.#child = spawn(process.execPath, ['--import', 'tsx', program, JSON.stringify(place)], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
  }

  async hear(count: number): Promise<Listening> {
    this.#child.send(count)
    await once(this.#child, 'message') // it listens
    return { all: once(this.#child, 'message').then(([delays]) => delays as ReaderMessage) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
