/** What is open on a server, for people: requests, event streams and guards, and for how long. */

import type { GuardEntry, Swansong } from '@wakerobin/core'
import { GuardReport } from '@wakerobin/core'

import type { Phase } from './phase.ts'

/** Requests of one method and path. */
export interface RequestEntry {
  readonly method: string
  /** Without the query, which may hold what is not for everybody. */
  readonly path: string
  readonly count: number
  /** The age of the oldest, in milliseconds. */
  readonly oldestMs: number
}

/** A request in progress, as a server counts it. */
export interface OpenRequest {
  readonly method: string
  readonly path: string
  /** When it was received, as `performance.now()` has it. */
  readonly startTime: number
  /** Whether it is answered by an event stream, or another body without an end of its own. */
  readonly isStream: boolean
}

/** What a server has open. */
export interface OpenWork {
  readonly connections: number
  /** Connections without a request in progress. */
  readonly idle: number
  readonly requests: readonly OpenRequest[]
}

/** The label of the guard that a server holds itself. What it stands for is told apart. */
export const serverGuardLabel = 'the server'

/** The label of the guard that an upgraded connection holds. */
export function upgradeGuardLabel(method: string, path: string): string {
  return `upgrade of ${method} ${path}`
}

/** What is open at some moment, the oldest of each kind first. */
export class OpenReport {
  readonly phase: Phase
  readonly connections: number
  /** Connections without a request in progress. */
  readonly idleConnections: number
  /** Requests in progress, other than those of `streams`. */
  readonly requests: readonly RequestEntry[]
  /** Requests that are answered by an event stream. */
  readonly streams: readonly RequestEntry[]
  /** Connections that go on as something else, as a WebSocket, and their handlers. They are none of `connections`. */
  readonly upgrades: readonly GuardEntry[]
  /** Every `init` that is not done. */
  readonly inits: readonly GuardEntry[]
  /** What else delays the stop: the guards that the app holds. */
  readonly guards: readonly GuardEntry[]

  /** Use `handle.report()`. */
  constructor(phase: Phase, work: readonly OpenWork[], swansong: Swansong) {
    const open = work.flatMap(({ requests }) => requests)
    this.phase = phase
    this.connections = sum(work.map(({ connections }) => connections))
    this.idleConnections = sum(work.map(({ idle }) => idle))
    this.requests = grouped(open.filter(({ isStream }) => !isStream))
    this.streams = grouped(open.filter(({ isStream }) => isStream))
    const guards = swansong.report().entries.filter(({ label }) => label !== serverGuardLabel)
    this.upgrades = guards.filter(isUpgrade)
    this.inits = guards.filter(isInit)
    this.guards = guards.filter((guard) => !isInit(guard) && !isUpgrade(guard))
  }

  get requestCount(): number {
    return countOf(this.requests)
  }

  get streamCount(): number {
    return countOf(this.streams)
  }

  get upgradeCount(): number {
    return countOf(this.upgrades)
  }

  get guardCount(): number {
    return countOf(this.guards)
  }

  /** Whether nothing is open: a stop is done at once. */
  get isEmpty(): boolean {
    const { connections, upgradeCount, inits, guardCount } = this
    return connections + upgradeCount + inits.length + guardCount === 0
  }

  /** What is waited for, in one line: `2 requests, 3 event streams and 1 guard`. */
  get summary(): string {
    const parts = [
      [this.requestCount, 'request'],
      [this.streamCount, 'event stream'],
      [this.upgradeCount, 'upgrade'],
      [this.idleConnections, 'idle connection'],
      [this.inits.length, 'init'],
      [this.guardCount, 'guard'],
    ] as const
    const present = parts.filter(([count]) => count > 0).map(([count, noun]) => plural(count, noun))
    const last = present.pop()
    if (last === undefined) return 'nothing is open'
    return present.length === 0 ? last : `${present.join(', ')} and ${last}`
  }

  /** A line for each kind of thing, and one for each group of it. */
  toString(): string {
    return [
      `${this.phase}: ${this.summary}`,
      ...section(this.requestCount, 'request', this.requests.map(requestLine)),
      ...section(this.streamCount, 'event stream', this.streams.map(requestLine)),
      ...section(this.upgradeCount, 'upgrade', this.upgrades.map(GuardReport.lineOf)),
      ...section(this.inits.length, 'init', this.inits.map(GuardReport.lineOf)),
      ...section(this.guardCount, 'guard', this.guards.map(GuardReport.lineOf)),
    ].join('\n')
  }
}

/** Whether a guard is one of the servers', and none of the app's. */
export function isServerGuard(guard: GuardEntry): boolean {
  return guard.label === serverGuardLabel || isUpgrade(guard)
}

function isUpgrade({ label, site }: GuardEntry): boolean {
  return site === undefined && label?.startsWith('upgrade of ') === true
}

/** Core takes such a guard for each `init`, with no site. */
function isInit({ label, site }: GuardEntry): boolean {
  return site === undefined && label?.startsWith('init of ') === true
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}

function countOf(entries: readonly { readonly count: number }[]): number {
  return sum(entries.map(({ count }) => count))
}

function grouped(requests: readonly OpenRequest[]): RequestEntry[] {
  const now = performance.now()
  const groups = new Map<string, RequestEntry>()
  for (const { method, path, startTime } of requests) {
    const key = `${method} ${path}`
    const { count, oldestMs } = groups.get(key) ?? { count: 0, oldestMs: 0 }
    const age = Math.max(oldestMs, now - startTime)
    groups.set(key, { method, path, count: count + 1, oldestMs: age })
  }
  return [...groups.values()].sort((a, b) => b.oldestMs - a.oldestMs)
}

function requestLine({ method, path, count, oldestMs }: RequestEntry): string {
  // GuardReport has the form of such lines.
  return GuardReport.lineOf({
    path: '',
    label: `${method} ${path}`,
    site: undefined,
    count,
    oldestMs,
  })
}

/** Enough to see what is the matter; an app with an id in every path would print thousands. */
const mostLines = 20

function section(count: number, noun: string, lines: readonly string[]): string[] {
  if (count === 0) return []
  const shown = lines.slice(0, mostLines).map((line) => `  ${line}`)
  const more = lines.length - shown.length
  return [
    `${plural(count, noun)}:`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more like these`] : []),
  ]
}
