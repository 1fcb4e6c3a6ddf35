/** What does a client cost that does not read? Growth of the server's memory, while 50 MB are broadcast to 50 clients of
 * which one, or 20, have stopped reading.
 *
 *   npm run bench slow
 *
 * The others must get every event once and in order, or the row is void. What is held is taken after a collection, when
 * they have got the last; the peak of the resident set is the greatest seen between two bursts. */

import { everyone, titles } from './lib/contestants.ts'
import type { Contestant } from './lib/contestants.ts'
import { Crowd } from './lib/crowd.ts'
import { isQuick, lengthOf, save } from './lib/results.ts'
import { ServerProcess } from './lib/server-process.ts'
import { median, printTable, withRange } from './lib/stats.ts'

const clients = 50
const stalls = [1, 20]
const eventBytes = 16_384
const burst = 20
const broadcastBytes = isQuick ? 10e6 : 50e6

interface Entry {
  readonly name: Contestant
  readonly title: string
  /** For the server's program. */
  readonly options: object
}

/** What our broadcaster can do about such a client. */
const policies: Record<string, object> = {
  disconnect: {},
  'drop-oldest': { whenBehind: 'drop-oldest' },
  // Not of the type that is sent: every event counts here.
  coalesce: { whenBehind: 'coalesce', coalesce: { state: true } },
}

const entries: readonly Entry[] = everyone.flatMap((name): Entry[] =>
  name === 'wakerobin'
    ? Object.entries(policies).map(([policy, options]) => ({
        name,
        title: `**${titles[name]}**, ${policy}`,
        options,
      }))
    : [{ name, title: titles[name], options: {} }],
)

interface Row {
  readonly entry: Entry
  /** In MB, one for each start. */
  readonly held: number[]
  readonly peakRss: number[]
  void?: string
}

export async function slow(): Promise<void> {
  const { starts } = lengthOf({ starts: 1, rounds: 1 })
  const tables: object[] = []
  for (const stalled of stalls) {
    const title = `${stalled} of ${clients} clients do not read`
    const rows: Row[] = entries.map((entry) => ({ entry, held: [], peakRss: [] }))
    for (let start = 0; start < starts; start++) for (const row of rows) await measure(row, stalled)
    print(title, rows)
    tables.push({ title, unit: 'MB', rows: rows.map(savedRow) })
  }
  save('slow', { starts, rounds: 1 }, tables)
}

async function measure(row: Row, stalled: number): Promise<void> {
  if (row.void !== undefined) return
  await using server = await ServerProcess.start(row.entry.name, row.entry.options)
  try {
    await using crowd = await Crowd.open({ port: server.port, clients, stalled, eventBytes })
    await server.collect()
    const before = await server.memory()
    let peakRss = before.rss
    for (let sent = 0; sent < broadcastBytes; sent += burst * eventBytes) {
      server.publish({ count: burst, eventBytes, how: 'burst' })
      await crowd.gets(burst)
      peakRss = Math.max(peakRss, (await server.memory()).rss)
    }
    await server.collect()
    const after = await server.memory()
    row.held.push((after.held - before.held) / 1e6)
    row.peakRss.push((peakRss - before.rss) / 1e6)
  } catch (error) {
    row.void = error instanceof Error ? error.message : String(error)
  }
}

function print(title: string, rows: readonly Row[]): void {
  const heldOf = (row: Row): number => (row.void === undefined ? median(row.held) : Infinity)
  printTable([
    [title, 'MB held at the end, median (range)', 'MB of resident set at its peak, median (range)'],
    ...rows
      .toSorted((a, b) => heldOf(a) - heldOf(b))
      .map(({ entry, held, peakRss, void: why }) =>
        why === undefined
          ? [entry.title, withRange(held, 1), withRange(peakRss, 0)]
          : [entry.title, 'void', why],
      ),
  ])
}

function savedRow({ entry: { name, options }, held, peakRss, void: why }: Row): object {
  if (why !== undefined) return { name, options, void: why }
  return { name, options, held: held.map(rounded), peakRss: peakRss.map(rounded) }
}

function rounded(megabytes: number): number {
  return Number(megabytes.toFixed(1))
}
