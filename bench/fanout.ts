/** What does it cost to send an event to many? Server CPU time per event that a client has got.
 *
 *   npm run bench fanout
 *
 * Events of about 210 bytes go to 100, 1,000 and 5,000 clients:
 *
 * - paced: one, and the next when every client has got it;
 * - flood: one in each turn of the event loop, a pause after each 20 until every client has got them;
 * - bursts: 40 in one turn, and the next when every client has got them.
 *
 * A turn of a contestant is long enough for what the others have left in the processor's caches, and the collection of
 * garbage before it, not to count: with 40,000 deliveries a turn, bursts came out at 0.24 in place of 0.15.
 *
 * The clients check what they get: where one gets an event twice, not at all, or out of order, the row is void.
 *
 * The order to publish comes from another process and costs a server about 100 µs, measured without clients: paced,
 * that is 1 µs of what 100 clients cost each, and draws ratios there to 1. */

import { execSync } from 'node:child_process'

import { hold } from './lib/contest.ts'
import { everyone } from './lib/contestants.ts'
import type { Contestant } from './lib/contestants.ts'
import { Crowd } from './lib/crowd.ts'
import { isQuick, lengthOf, printRatios, saveTables } from './lib/results.ts'
import type { Table } from './lib/results.ts'
import { ServerProcess } from './lib/server-process.ts'
import type { Publication } from './lib/server-process.ts'

const eventBytes = 210
// First what is read first: the whole takes half an hour.
const crowds = isQuick ? [1000, 100] : [1000, 5000, 100]

interface Pattern {
  readonly step: Omit<Publication, 'eventBytes'>
  /** How many events clients get in a turn, all together. */
  readonly deliveries: number
}

const patterns: Record<string, Pattern> = {
  paced: { step: { count: 1, how: 'turns' }, deliveries: 100_000 },
  flood: { step: { count: 20, how: 'turns' }, deliveries: 100_000 },
  bursts: { step: { count: 40, how: 'burst' }, deliveries: 400_000 },
}

export async function fanout(): Promise<void> {
  const length = lengthOf({ starts: 3, rounds: 3 })
  const tables: Table[] = []
  for (const clients of crowds) {
    // A server and a crowd need a descriptor for each client, and some for themselves.
    if (openFilesLimit() < clients + 100) {
      console.log(
        `fanout: no ${clients} clients, as a process may open ${openFilesLimit()} files: see ulimit -n\n`,
      )
      continue
    }
    const results = await hold({
      ...length,
      contestants: everyone,
      open: (name) => Audience.gather(name, clients),
      measures: Object.fromEntries(
        Object.entries(patterns).map(([title, pattern]) => [
          title,
          (audience: Audience) => audience.measure(pattern),
        ]),
      ),
    })
    const added = Object.entries(results).map(([title, rows]) => ({
      title: `${title}, ${clients.toLocaleString('en')} clients`,
      unit: 'CPU µs per event and client',
      rows,
    }))
    for (const table of added) printRatios(table)
    tables.push(...added)
    // After each crowd, as the next takes long.
    saveTables('fanout', length, tables)
  }
}

/** A server and its clients. */
class Audience implements AsyncDisposable {
  readonly #server: ServerProcess
  readonly #crowd: Crowd
  readonly #clients: number

  private constructor(server: ServerProcess, crowd: Crowd, clients: number) {
    this.#server = server
    this.#crowd = crowd
    this.#clients = clients
  }

  static async gather(name: Contestant, clients: number): Promise<Audience> {
    const server = await ServerProcess.start(name)
    try {
      const crowd = await Crowd.open({ port: server.port, clients, eventBytes })
      const audience = new Audience(server, crowd, clients)
      for (const pattern of Object.values(patterns)) await audience.#send(pattern)
      return audience
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  /** CPU microseconds per delivery. */
  async measure(pattern: Pattern): Promise<number> {
    await this.#server.collect()
    const deliveries = this.#stepsOf(pattern) * pattern.step.count * this.#clients
    return await this.#server.microsPer(deliveries, () => this.#send(pattern))
  }

  async #send(pattern: Pattern): Promise<void> {
    const { step } = pattern
    for (let left = this.#stepsOf(pattern); left > 0; left--) {
      this.#server.publish({ ...step, eventBytes })
      await this.#crowd.gets(step.count)
    }
  }

  #stepsOf({ step, deliveries }: Pattern): number {
    return Math.max(1, Math.round(deliveries / step.count / this.#clients))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#crowd[Symbol.asyncDispose]()
    await this.#server[Symbol.asyncDispose]()
  }
}

function openFilesLimit(): number {
  const limit = execSync('ulimit -n', { shell: '/bin/sh' }).toString().trim()
  return limit === 'unlimited' ? Infinity : Number(limit)
}
