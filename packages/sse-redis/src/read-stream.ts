/** Reads a stream of Redis as a log.
 *
 * Redis keeps no trace of what it trims, so the oldest entry of a stream that is full is not given out any more: it stays
 * as the one by which a reader who has got it, and nothing after it, is known to have missed nothing. */

import type { LogBounds, LogPage, LogRecord } from '@wakerobin/sse'

import type { Connection, Reply } from './connection.ts'
import { toRecord } from './entry.ts'
import { beginning, compareIds, isStreamId } from './stream-id.ts'

/** An entry: its id, and its fields, each followed by its value. */
export type Entry = readonly [id: string, fields: readonly string[]]

/** Which stream, and how much it is to keep. */
export interface Stream {
  readonly key: string
  readonly maxEvents: number
}

/** Some entries in a row: see `LogPage`. */
export interface EntryPage {
  readonly entries: readonly Entry[]
  readonly missed: number | null
  readonly next: string
}

/** See `EventLog.read`. */
export async function readPage(
  connection: Connection,
  stream: Stream,
  after: string,
  limit: number,
): Promise<LogPage> {
  for (let at = after; ;) {
    const { entries, missed, next } = await readEntries(connection, stream, at, limit)
    const records = entries
      .map(toRecord)
      .filter((record): record is LogRecord => record !== undefined)
    // Where none of many entries is an event, this is not the end.
    if (records.length > 0 || missed !== 0 || entries.length === 0) return { records, missed, next }
    at = next
  }
}

/** See `EventLog.read`; among the entries may be those that are no events. */
export async function readEntries(
  connection: Connection,
  stream: Stream,
  after: string,
  limit: number,
): Promise<EntryPage> {
  const isId = isStreamId(after)
  if (isId && after !== beginning) {
    const count = String(limit + 1)
    const [known, ...entries] = await range(connection, [stream.key, after, '+', 'COUNT', count])
    if (known?.[0] === after) return page(entries, 0, after)
  }
  const state = await readState(connection, stream, limit + 1)
  const { last, kept, gone } = state
  if (after === '') return page(kept.slice(0, limit), 0, last)
  if (after === last) return page([], 0, last)
  if (!isId || compareIds(after, last) > 0) return page([], null, last)
  // Everything that is gone, where nobody has deleted some of what is kept.
  if (after === beginning)
    return page(kept.slice(0, limit), state.deleted === beginning ? gone : null, last)
  const first = kept[0]?.[0]
  if (first === undefined || compareIds(after, first) < 0)
    return page(kept.slice(0, limit), null, last)
  // Among the others: it may have been deleted, or have been that of another stream.
  if (compareIds(after, state.deleted) > 0) return page([], null, last)
  const entries = await range(connection, [stream.key, `(${after}`, '+', 'COUNT', String(limit)])
  return page(entries, null, last)
}

/** See `EventLog.bounds`. */
export async function readBounds(connection: Connection, stream: Stream): Promise<LogBounds> {
  const { kept, last } = await readState(connection, stream, 1)
  return { first: kept[0]?.[0], last }
}

interface StreamState {
  /** The oldest of the entries that are given out. */
  readonly kept: readonly Entry[]
  /** How many entries are not given out any more. */
  readonly gone: number
  readonly last: string
  /** The largest id that was deleted by itself; the beginning where none was. */
  readonly deleted: string
}

/** In one command: a transaction would be refused by a Redis that is out of memory. */
async function readState(
  connection: Connection,
  { key, maxEvents }: Stream,
  limit: number,
): Promise<StreamState> {
  const count = String(limit + 1)
  const info = await connection
    .command(['XINFO', 'STREAM', key, 'FULL', 'COUNT', count])
    .catch(undefinedIfMissing)
  if (info === undefined) return { kept: [], gone: 0, last: beginning, deleted: beginning }
  const fields = fieldsOf(info as readonly Reply[])
  const { length, 'entries-added': added, 'last-generated-id': last, entries } = fields
  const { 'max-deleted-entry-id': deleted } = fields
  if (typeof added !== 'number' || typeof length !== 'number')
    throw new Error('XINFO STREAM does not say entries-added: expected Redis 7.0 or newer')
  const hidden = added > length && length > maxEvents ? 1 : 0
  return {
    kept: (entries as unknown as readonly Entry[]).slice(hidden),
    gone: added - length + hidden,
    last: String(last),
    deleted: String(deleted),
  }
}

function undefinedIfMissing(error: Error): undefined {
  if (!/no such key/.test(error.message)) throw error
}

async function range(connection: Connection, args: readonly string[]): Promise<readonly Entry[]> {
  return (await connection.command(['XRANGE', ...args])) as unknown as readonly Entry[]
}

function page(entries: readonly Entry[], missed: number | null, end: string): EntryPage {
  return { entries, missed, next: entries.at(-1)?.[0] ?? end }
}

function fieldsOf(list: readonly Reply[]): Record<string, Reply | undefined> {
  const fields: Record<string, Reply> = {}
  for (let at = 0; at < list.length; at += 2) fields[String(list[at])] = list[at + 1]!
  return fields
}
