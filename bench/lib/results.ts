/** What came out, as a Markdown table and as a file of `bench/results`. */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

import type { Length, Row } from './contest.ts'
import { titles } from './contestants.ts'
import type { Contestant } from './contestants.ts'
import { median, printTable, withRange } from './stats.ts'

const folder = join(import.meta.dirname, '../results')

export interface Table {
  readonly title: string
  readonly unit: string
  readonly rows: readonly Row[]
}

/** A row in a file. */
export interface SavedRow {
  readonly name: Contestant
  readonly median?: number
  readonly ratios?: readonly number[]
  readonly void?: string
}

export interface SavedTable {
  readonly title: string
  readonly unit: string
  readonly rows: readonly SavedRow[]
}

/** Prints tables, and saves them. */
export function publishTables(bench: string, length: Length, tables: readonly Table[]): void {
  for (const table of tables) printRatios(table)
  saveTables(bench, length, tables)
}

export function saveTables(bench: string, length: Length, tables: readonly Table[]): void {
  save(
    bench,
    length,
    tables.map(({ title, unit, rows }) => ({ title, unit, rows: rows.map(savedRow) })),
  )
}

/** Writes `bench/results/<bench>.json`: nothing in it names the machine. A quick run is not worth keeping. */
export function save(bench: string, { starts, rounds }: Length, tables: readonly object[]): void {
  if (isQuick) return
  const path = join(folder, `${bench}.json`)
  const result = {
    bench,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    cores: availableParallelism(),
    starts,
    rounds,
    tables,
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(path, JSON.stringify(result, null, 2) + '\n')
  execFileSync(join(folder, '../../tools/checks/node_modules/.bin/oxfmt'), ['--write', path])
}

export function load(bench: string): { node: string; cores: number; tables: SavedTable[] } {
  return JSON.parse(readFileSync(join(folder, `${bench}.json`), 'utf8'))
}

/** Whether the run is only to see that all works. */
export const isQuick: boolean = process.argv.includes('--quick')

/** The length of a run that counts, or of a quick one. */
export function lengthOf(length: Length): Length {
  return isQuick ? { starts: 1, rounds: 2 } : length
}

function savedRow({ name, values, ratios, void: why }: Row): SavedRow {
  if (why !== undefined) return { name, void: why }
  return {
    name,
    median: Number(median(values).toPrecision(4)),
    ratios: ratios.map((ratio) => Number(ratio.toFixed(3))),
  }
}

/** The best first: who is ahead of us stands above us. */
export function printRatios({ title, unit, rows }: Table): void {
  const ratioOf = (row: Row): number => (row.void === undefined ? median(row.ratios) : Infinity)
  printTable([
    [title, `${unit}, median`, 'ratio to raw node:http, median (range)'],
    ...rows
      .toSorted((a, b) => ratioOf(a) - ratioOf(b))
      .map((row) => [
        row.name === 'wakerobin' ? `**${titles[row.name]}**` : titles[row.name],
        ...(row.void === undefined
          ? [median(row.values).toPrecision(3), withRange(row.ratios)]
          : ['void', row.void]),
      ]),
  ])
}
