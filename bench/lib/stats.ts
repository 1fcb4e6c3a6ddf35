/** Medians, and a table to print them in. */

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** `1.05 (0.98 to 1.12)`: the median and the range of what was measured. */
export function withRange(values: readonly number[], digits = 2): string {
  const shown = [median(values), Math.min(...values), Math.max(...values)].map((value) =>
    value.toFixed(digits),
  )
  return `${shown[0]} (${shown[1]} to ${shown[2]})`
}

/** Prints rows as a Markdown table. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(' | ')} |`
  console.log(line(rows[0]!))
  console.log(line(widths.map((width) => '-'.repeat(width))))
  for (const row of rows.slice(1)) console.log(line(row))
  console.log()
}
