/** The parts that lines are made of. */

import type { LogEntry } from './entry.ts'
import { escapeWord } from './escape.ts'
import { colored, quoted, type Part } from './line.ts'

/** The parts of a line, for `logLine`. What comes from the client is escaped. */
export const parts: Readonly<{
  /** `HTTP/1.1`. */
  version: Part
  method: Part
  /** The path and, where there is one, `?` and the query. */
  url: Part
  /** The path alone. */
  path: Part
  /** In a colour by its first digit. */
  status: Part
  /** `12.3ms`, or `1.2s` from one second on. */
  duration: Part
  /** The address of the client, or `-`. */
  ip: Part
  host: Part
  /** `http` or `https`. */
  scheme: Part
  /** How many bytes of the body were sent, or `-`. */
  bytes: Part
  /** The same for people: `12 B`, `3.4 kB`. */
  size: Part
  /** When the request was received, as `2026-11-22T10:00:00.000Z`. */
  time: Part
  /** A space and what else there is to say: ` (stream opened)`, ` (stream ended: client left)`, ` (cut)`; or nothing. */
  note: Part
  /** In quotes. */
  userAgent: Part
  /** In quotes. */
  referer: Part
  /** A header of the request, in quotes; several lines of it joined by commas. */
  requestHeader: (name: string) => Part
  /** A header of the response, in quotes. */
  responseHeader: (name: string) => Part
}> = {
  version: ({ conn }) => escapeWord(`HTTP/${conn.httpVersion}`),
  method: ({ conn }) => escapeWord(conn.method),
  url: ({ conn }) => escapeWord(conn.pathAndQuery),
  path: ({ conn }) => escapeWord(pathOf(conn.pathAndQuery)),
  status: colored(
    ({ status }) => status,
    ({ status }) => statusColors[Math.floor(status / 100)],
  ),
  duration: ({ durationMs: ms }) =>
    ms < 1000 ? `${ms.toFixed(1)}ms` : `${(ms / 1000).toFixed(1)}s`,
  ip: ({ conn }) => word(conn.peerIp),
  host: ({ conn }) => word(conn.host),
  scheme: ({ conn }) => (conn.isSecure ? 'https' : 'http'),
  bytes: ({ bytes }) => bytes,
  size: ({ bytes }) => (bytes === undefined ? undefined : sizeOf(bytes)),
  time: ({ receivedAt }) => receivedAt.toISOString(),
  note: colored(noteOf, ({ outcome }) => (outcome === 'cut' ? 'red' : 'gray')),
  userAgent: requestHeader('user-agent'),
  referer: requestHeader('referer'),
  requestHeader,
  responseHeader: (name) => quoted(({ conn }) => conn.responseHeaders.get(name)),
}

function requestHeader(name: string): Part {
  return quoted(({ conn }) => conn.requestHeaders.get(name))
}

/** The whole path of a target, whatever part of it was pushed. */
export function pathOf(pathAndQuery: string): string {
  const at = pathAndQuery.indexOf('?')
  return at === -1 ? pathAndQuery : pathAndQuery.slice(0, at)
}

const statusColors = { 2: 'green', 3: 'cyan', 4: 'yellow', 5: 'red' } as Readonly<
  Record<number, 'green' | 'cyan' | 'yellow' | 'red'>
>

function word(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : escapeWord(text)
}

function noteOf({ kind, outcome }: LogEntry): string {
  if (kind === 'stream-opened') return ' (stream opened)'
  if (kind === 'stream-ended') return streamNotes[outcome!]
  return outcome === 'cut' ? ' (cut)' : outcome === 'left' ? ' (client left)' : ''
}

const streamNotes = {
  sent: ' (stream ended)',
  stopped: ' (stream ended: server stop)',
  left: ' (stream ended: client left)',
  cut: ' (stream cut)',
}

function sizeOf(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let size = bytes
  let at = 0
  // 999.95, because that is 1000.0 when it is written.
  for (; at < units.length - 1 && size >= (at === 0 ? 1000 : 999.95); at++) size /= 1000
  return `${at === 0 ? size : size.toFixed(1)} ${units[at]}`
}
