/** Hears what is published to a log; as a program, in a process of its own, as often as it is told a number of events. */

import { Broadcaster } from '@wakerobin/sse'

import { openLog, type LogPlace } from './logs.ts'

/** How long each event was under way, in milliseconds. Before, an empty list says that it listens. */
export type ReaderMessage = readonly number[]

/** The data of an event that says when it was sent. */
export function sentNow(pad: string): string {
  return JSON.stringify({ sentAt: now(), pad })
}

/** Resolves when so many events that are published from now on are heard. */
export async function hear(broadcaster: Broadcaster, count: number): Promise<readonly number[]> {
  const delays: number[] = []
  for await (const { data } of broadcaster) {
    delays.push(now() - (JSON.parse(data!) as { sentAt: number }).sentAt)
    if (delays.length === count) break
  }
  return delays
}

/** In milliseconds, the same for all processes of the machine. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

if (process.argv[1] === import.meta.filename) {
  const log = await openLog(JSON.parse(process.argv[2]!) as LogPlace)
  const broadcaster = new Broadcaster({ log, historyEvents: 20_000 })
  await broadcaster.ready
  process.on('message', (count: number) => {
    void hear(broadcaster, count).then((delays) => process.send!(delays))
    process.send!([])
  })
  process.once('disconnect', () => process.exit())
}
