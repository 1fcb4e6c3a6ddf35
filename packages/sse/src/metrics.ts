/** `metrics()`: what broadcasters do, for Prometheus.
 *
 * Source: the Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats). */

import type { Conn, Halted, HandlerObject } from '@wakerobin/core'
import { checkNames, describe } from '@wakerobin/core/adapter'

import { Broadcaster } from './broadcaster.ts'
import type { AnyBroadcaster, BroadcasterStats } from './broadcaster.ts'

/** How `metrics` answers. */
export interface MetricsOptions {
  /** The path that is answered; requests to others are passed on. Default `/metrics`. */
  path?: string
}

/** Answers GET and HEAD of a path with the figures of broadcasters, each with its name as the label `broadcaster`, and
 * passes other requests on.
 *
 * Who may see them is for a handler before it to say.
 *
 * ```ts
 * import { handlers, type Handler } from '@wakerobin/core'
 * import { Broadcaster, metrics, sse } from '@wakerobin/sse'
 *
 * const orders = new Broadcaster()
 * const app: Handler = handlers(metrics({ orders }), sse(() => orders))
 * ```
 * @throws {TypeError} When something in `broadcasters` is none, or the path is none. */
export function metrics(
  broadcasters: Readonly<Record<string, AnyBroadcaster>>,
  options: MetricsOptions = {},
): HandlerObject {
  if (typeof options !== 'object' || options === null)
    throw new TypeError(
      `Cannot show metrics with ${describe(options)} as options: expected an object such as { path: '/metrics' }`,
    )
  checkNames('Cannot show metrics with ', options, ['path'])
  const { path = '/metrics' } = options
  if (typeof path !== 'string' || !path.startsWith('/'))
    throw new TypeError(
      `Cannot show metrics at ${describe(path)}: expected a path such as /metrics`,
    )
  const named = Object.entries(broadcasters)
  for (const [name, broadcaster] of named)
    if (!(broadcaster instanceof Broadcaster))
      throw new TypeError(
        `Cannot show metrics of ${describe(broadcaster)} as ${describe(name)}: expected a Broadcaster`,
      )
  return {
    name: 'metrics',
    run(conn: Conn): Halted | void {
      if (conn.path !== path || (conn.method !== 'GET' && conn.method !== 'HEAD')) return
      conn.responseHeaders
        .set('Content-Type', 'text/plain; version=0.0.4; charset=utf-8')
        .set('Cache-Control', 'no-store')
      return conn.ok(textOf(named))
    },
  }
}

interface Metric {
  readonly name: string
  readonly type: 'gauge' | 'counter'
  readonly help: string
  /** The samples: one, or one for each value of a label. */
  readonly of: (stats: BroadcasterStats) => number | Readonly<Record<string, number>>
  /** The name of that label. */
  readonly label?: string
}

const all: readonly Metric[] = [
  gauge('subscribers', 'Clients and loops that are subscribed.', (s) => s.subscribers),
  gauge('behind', 'Subscribers that have not read all that is for them.', (s) => s.behind),
  gauge('most_behind_events', 'Events that the slowest has not read.', (s) => s.mostBehind),
  gauge('history_events', 'Events that are kept.', (s) => s.historyEvents),
  gauge('history_bytes', 'Bytes of events that are kept.', (s) => s.historyBytes),
  counter('published_total', 'Events that were published.', (s) => s.published),
  counter('opened_total', 'Subscribers that there have been.', (s) => s.opened),
  { ...counter('ended_total', 'Streams that have ended.', (s) => s.ended), label: 'reason' },
  counter('sent_total', 'Events that were given to subscribers, each for each.', (s) => s.sent),
  counter('dropped_total', 'Events that subscribers have not got.', (s) => s.dropped),
  counter('replayed_total', 'Events sent that were older than the stream.', (s) => s.replayed),
  counter('gaps_total', 'Times that a subscriber was told of events it missed.', (s) => s.gaps),
]

function gauge(name: string, help: string, of: Metric['of']): Metric {
  return { name, type: 'gauge', help, of }
}

function counter(name: string, help: string, of: Metric['of']): Metric {
  return { name, type: 'counter', help, of }
}

function textOf(named: readonly (readonly [name: string, broadcaster: AnyBroadcaster])[]): string {
  const shown = named.map(([name, broadcaster]) => [name, broadcaster.stats()] as const)
  const lines: string[] = []
  for (const { name, type, help, of, label } of all) {
    const full = `wakerobin_broadcaster_${name}`
    lines.push(`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`)
    for (const [broadcaster, stats] of shown) {
      const value = of(stats)
      const labels = `broadcaster="${escaped(broadcaster)}"`
      if (typeof value === 'number') lines.push(`${full}{${labels}} ${value}`)
      else
        for (const [each, count] of Object.entries(value))
          lines.push(`${full}{${labels},${label}="${each}"} ${count}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function escaped(label: string): string {
  return label.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
