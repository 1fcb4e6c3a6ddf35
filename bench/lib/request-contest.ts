/** A contest in requests, whose unit is the server's CPU time for one. */

import { hold } from './contest.ts'
import type { Length } from './contest.ts'
import type { Contestant } from './contestants.ts'
import { sendLoad } from './load.ts'
import type { Load } from './load.ts'
import { lengthOf, publishTables } from './results.ts'
import { ServerProcess } from './server-process.ts'

export interface RequestContest {
  readonly name: string
  readonly contestants: readonly Contestant[]
  readonly length: Length
  /** By the title of its table. */
  readonly loads: Readonly<Record<string, Omit<Load, 'port'>>>
}

const warmUps = 2

export async function holdRequestContest({
  name,
  contestants,
  length,
  loads,
}: RequestContest): Promise<void> {
  const actualLength = lengthOf(length)
  const measure =
    (load: Omit<Load, 'port'>) =>
    (server: ServerProcess): Promise<number> =>
      server.microsPer(load.connections * load.requestsPerConnection, () =>
        sendLoad({ ...load, port: server.port }),
      )
  const results = await hold({
    ...actualLength,
    contestants,
    open: async (contestant) => {
      const server = await ServerProcess.start(contestant)
      for (let time = 0; time < warmUps; time++)
        for (const load of Object.values(loads)) await sendLoad({ ...load, port: server.port })
      return server
    },
    measures: Object.fromEntries(
      Object.entries(loads).map(([title, load]) => [title, measure(load)]),
    ),
  })
  const tables = Object.entries(results).map(([title, rows]) => ({
    title: `${name}, ${title}`,
    unit: 'CPU µs per request',
    rows,
  }))
  publishTables(name, actualLength, tables)
}
