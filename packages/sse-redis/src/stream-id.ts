/** Ids of a stream: `1700000000000-0`, milliseconds and a count, two numbers of 64 bits. */

/** The id before all others: that of a stream in which nothing was ever added. */
export const beginning = '0-0'

const largest = '18446744073709551615'

/** Whether Redis could have made it: in the one form that it writes. */
export function isStreamId(text: string): boolean {
  const [, ...parts] = /^(0|[1-9]\d{0,19})-(0|[1-9]\d{0,19})$/.exec(text) ?? []
  return parts.length === 2 && parts.every((part) => compareNumbers(part, largest) <= 0)
}

/** Below 0 where the first comes before the second, 0 where they are the same. */
export function compareIds(a: string, b: string): number {
  const [aMs = '', aCount = ''] = a.split('-')
  const [bMs = '', bCount = ''] = b.split('-')
  return compareNumbers(aMs, bMs) || compareNumbers(aCount, bCount)
}

/** Compares decimal numbers that are too large for a number. */
function compareNumbers(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a === b ? 0 : a < b ? -1 : 1
}
