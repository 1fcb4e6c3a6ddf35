/** The ids of a log on JetStream: which stream it is, by the time at which it was made, and the place in it. */

/** What a stream is like at a moment. */
export interface StreamState {
  /** Tells it from one of the same name that was deleted. */
  readonly epoch: string
  /** The sequence of the oldest event that is kept; one more than `last` where there is none. */
  readonly first: number
  /** The sequence of the last event that was ever added, 0 before there was one. */
  readonly last: number
}

/** @param created As JetStream says it, such as `2026-11-30T07:54:33.123456789Z`. */
export function epochOf(created: string): string {
  const [seconds = '', fraction = ''] = created.replace(/Z$/, '').split('.')
  const nanos = BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, '0'))
  return nanos.toString(36)
}

export function idOf(epoch: string, sequence: number): string {
  return `${epoch}-${sequence}`
}

/** Where an id stands in a stream; undefined where it is none of it, or beyond its end. */
export function sequenceOf(id: string, { epoch, first, last }: StreamState): number | undefined {
  if (id === '') return first - 1
  const text = id.startsWith(`${epoch}-`) ? id.slice(epoch.length + 1) : ''
  if (!/^(0|[1-9]\d{0,14})$/.test(text)) return undefined
  return Number(text) > last ? undefined : Number(text)
}
