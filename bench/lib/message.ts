/** What is published: a number, by which a client knows what it should get, and padding. */

export interface Message {
  /** Counts from 1. */
  readonly seq: number
  readonly text: string
}

/** A message whose event, `data: {…}` and two line breaks, has about `eventBytes` on the wire. */
export function messageOf(seq: number, eventBytes: number): Message {
  return { seq, text: paddingOf(eventBytes) }
}

let padding = ''

function paddingOf(eventBytes: number): string {
  const length = Math.max(1, eventBytes - 'data: {"seq":10000,"text":""}\n\n'.length)
  if (padding.length !== length) padding = 'x'.repeat(length)
  return padding
}
