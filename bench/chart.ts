/** Draws `docs/bench.svg` from what is in `bench/results`: a panel for each bench, a bar for each contestant.
 *
 *   npm run bench chart
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { reference, titles } from './lib/contestants.ts'
import { load } from './lib/results.ts'
import type { SavedRow, SavedTable } from './lib/results.ts'
import { median } from './lib/stats.ts'

/** Which table of which file, and what to call it. */
const panels = [
  { bench: 'hello', table: 'hello, one at a time', title: 'Hello world' },
  { bench: 'handlers', table: 'handlers, one at a time', title: 'Five handlers, 1 KB of JSON' },
  { bench: 'echo', table: 'echo, one at a time', title: 'POST of 1 KB of JSON, parsed' },
  { bench: 'connect', table: 'connect', title: 'Event stream, to connect' },
  { bench: 'fanout', table: 'paced, 1,000 clients', title: 'Event to 1,000 clients' },
  { bench: 'fanout', table: 'bursts, 1,000 clients', title: '40 events in a burst, 1,000 clients' },
]

const width = 880
const columns = 2
const columnWidth = width / columns
const labelWidth = 110
const barWidth = 230
const barHeight = 14
const rowHeight = 19
const panelHeight = 34 + 8 * rowHeight + 22
const headHeight = 46

export function chart(): void {
  const tables = panels.map(({ bench, table, title }) => ({ title, rows: rowsOf(bench, table) }))
  const { node, cores } = load(panels[0]!.bench)
  const height = headHeight + Math.ceil(panels.length / columns) * panelHeight
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
    '<title>Server CPU time, as a ratio to raw node:http</title>',
    `<style>${style}</style>`,
    text(16, 22, 'Server CPU time per request or delivered event, raw node:http = 1.00', 'title'),
    text(
      16,
      39,
      `Shorter is better. Medians, Node ${node.slice(1)}, ${cores} cores. Event streams: Fastify with @fastify/sse, Express with better-sse.`,
      'note',
    ),
    ...tables.flatMap(({ title, rows }, at) => {
      const x = (at % columns) * columnWidth + 16
      const y = headHeight + Math.floor(at / columns) * panelHeight
      return [`<g transform="translate(${x} ${y})">`, ...panel(title, rows), '</g>']
    }),
    '</svg>',
  ]
  writeFileSync(join(import.meta.dirname, '../docs/bench.svg'), lines.join('\n') + '\n')
  console.log('docs/bench.svg is drawn')
}

function rowsOf(bench: string, title: string): readonly SavedRow[] {
  const table = load(bench).tables.find((table: SavedTable) => table.title === title)
  if (table === undefined)
    throw new Error(`There is no table ${JSON.stringify(title)}: run npm run bench ${bench}`)
  return table.rows.toSorted((a, b) => ratioOf(a) - ratioOf(b))
}

function ratioOf(row: SavedRow): number {
  return row.ratios === undefined ? Infinity : median(row.ratios)
}

function panel(title: string, rows: readonly SavedRow[]): string[] {
  const most = Math.max(1, ...rows.map(ratioOf).filter(Number.isFinite))
  const scale = barWidth / most
  const top = 34
  const one = labelWidth + scale
  return [
    text(0, 22, title, 'panel'),
    ...rows.flatMap((row, at) => bar(row, top + at * rowHeight, scale)),
    `<line class="one" x1="${number(one)}" x2="${number(one)}" y1="${top - 4}" y2="${top + rows.length * rowHeight}"/>`,
  ]
}

function bar(row: SavedRow, y: number, scale: number): string[] {
  const kind = row.name === 'wakerobin' ? 'ours' : row.name === reference ? 'raw' : 'peer'
  const label = text(labelWidth - 8, y + 11, titles[row.name], `label ${kind}-label`)
  if (row.ratios === undefined)
    return [label, text(labelWidth + scale + 6, y + 11, 'void', 'value')]
  const ratio = ratioOf(row)
  const length = ratio * scale
  return [
    label,
    `<rect class="${kind}" x="${labelWidth}" y="${y}" width="${number(length)}" height="${barHeight}" rx="2"/>`,
    // Beside the bar, and on the right of the line.
    text(labelWidth + Math.max(length, scale) + 6, y + 11, ratio.toFixed(2), `value ${kind}-label`),
  ]
}

function text(x: number, y: number, content: string, kind: string): string {
  return `<text class="${kind}" x="${number(x)}" y="${y}">${content}</text>`
}

function number(value: number): string {
  return String(Number(value.toFixed(1)))
}

/** Without a background, in colours that stand out on white as on black. */
const style = [
  'text{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#57606a}',
  '.title{font-size:15px;font-weight:600;fill:#1f2328}',
  '.panel{font-size:13px;font-weight:600;fill:#1f2328}',
  '.label{text-anchor:end}',
  '.value{font-variant-numeric:tabular-nums}',
  '.ours-label{font-weight:700;fill:#a3195b}',
  '.ours{fill:#c2317a}',
  '.peer{fill:#8c959f}',
  '.raw{fill:#57606a}',
  '.one{stroke:#57606a;stroke-dasharray:2 3}',
  '@media(prefers-color-scheme:dark){',
  'text{fill:#9198a1}',
  '.title,.panel{fill:#f0f6fc}',
  '.ours-label{fill:#f778ba}',
  '.ours{fill:#db61a2}',
  '.peer{fill:#656c76}',
  '.raw{fill:#9198a1}',
  '.one{stroke:#9198a1}',
  '}',
].join('')
