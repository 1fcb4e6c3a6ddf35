/** Contestants side by side: each in a process of its own, taking turns in rounds, so that a machine that gets slower
 * gets slower for all. A ratio is taken within a round, against raw node:http.
 *
 * After some rounds all start anew: two processes of one program differ by more than what is measured, as each is
 * compiled and laid out in its own way. */

import { reference } from './contestants.ts'
import type { Contestant } from './contestants.ts'

/** How long it goes. */
export interface Length {
  readonly starts: number
  readonly rounds: number
}

export interface Contest<P extends AsyncDisposable> extends Length {
  readonly contestants: readonly Contestant[]
  /** Starts a contestant, and warms it up. */
  readonly open: (name: Contestant) => Promise<P>
  /** What is measured in each round, by name: something per unit of work. One that throws has not done the work. */
  readonly measures: Readonly<Record<string, (player: P) => Promise<number>>>
}

/** How a contestant did. */
export interface Row {
  readonly name: Contestant
  /** One for each round. */
  readonly values: number[]
  /** To raw node:http in the same round. */
  ratios: number[]
  /** Why it does not count. */
  void?: string
}

/** A turn that takes longer is void, in milliseconds. */
const turnMs = 120_000

/** @returns The rows of each measure. */
export async function hold<P extends AsyncDisposable>(
  contest: Contest<P>,
): Promise<Record<string, Row[]>> {
  const { contestants, measures, starts } = contest
  const newRows = (): Row[] => contestants.map((name) => ({ name, values: [], ratios: [] }))
  const results = Object.fromEntries(Object.keys(measures).map((measure) => [measure, newRows()]))
  for (let start = 0; start < starts; start++) await holdStart(contest, results)
  for (const rows of Object.values(results)) addRatios(rows)
  return results
}

async function holdStart<P extends AsyncDisposable>(
  { contestants, open, measures, rounds }: Contest<P>,
  results: Record<string, Row[]>,
): Promise<void> {
  const players = new Map<Contestant, P>()
  const enter = async (name: Contestant): Promise<void> => {
    try {
      players.set(name, await inTime(open(name)))
    } catch (error) {
      for (const rows of Object.values(results)) voidRow(rowOf(rows, name), error)
    }
  }
  const leave = async (name: Contestant): Promise<void> => {
    const player = players.get(name)
    players.delete(name)
    await player?.[Symbol.asyncDispose]()
  }
  try {
    for (const name of contestants) await enter(name)
    for (let round = 0; round < rounds; round++) {
      for (const [measure, run] of Object.entries(measures)) {
        for (let turn = 0; turn < contestants.length; turn++) {
          // Another one goes first each time.
          const name = contestants[(round + turn) % contestants.length]!
          const row = rowOf(results[measure]!, name)
          const player = players.get(name)
          if (row.void !== undefined || player === undefined) continue
          try {
            row.values.push(await inTime(run(player)))
          } catch (error) {
            voidRow(row, error)
            // It may do better at something else.
            await leave(name)
            await enter(name)
          }
        }
      }
    }
  } finally {
    for (const name of contestants) await leave(name)
  }
}

function rowOf(rows: readonly Row[], name: Contestant): Row {
  return rows.find((row) => row.name === name)!
}

function voidRow(row: Row, error: unknown): void {
  row.void ??= error instanceof Error ? error.message : String(error)
}

function addRatios(rows: readonly Row[]): void {
  const raw = rowOf(rows, reference)
  for (const row of rows) {
    if (raw.void !== undefined) row.void ??= `there is nothing to compare with: ${raw.void}`
    if (row.void === undefined)
      row.ratios = row.values.map((value, round) => value / raw.values[round]!)
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timeout: ReturnType<typeof setTimeout>
  const late = new Promise<never>((_resolve, reject) => {
    timeout = setTimeout(
      () => reject(new Error(`not done within ${turnMs / 1000} s`)),
      turnMs,
    ).unref()
  })
  return await Promise.race([work, late]).finally(() => clearTimeout(timeout))
}
