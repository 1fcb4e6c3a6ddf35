/** The formats that have a name. */

import type { LogEntry } from './entry.ts'
import { escapeApache, escapeWord, jsonLine } from './escape.ts'
import { asIs, logLine, type Formatter, type Part } from './line.ts'
import { parts, pathOf } from './parts.ts'

/** A format that has a name. */
export type FormatName = 'dev' | 'common' | 'combined' | 'json'

/** The format of that name. */
export function formatOf(name: FormatName): Formatter {
  if (name === 'json') return asIs(json)
  return name === 'dev' ? dev : apache(name)
}

/** `HTTP/1.1 GET /events?a=b 200 12.3ms`, and what else there is to say. */
const dev: Formatter = logLine`${parts.version} ${parts.method} ${parts.url} ${parts.status} ${parts.duration}${parts.note}`

/** The Common or the Combined Log Format of Apache, for programs that read those.
 *
 * A line is `ip - user [22/Nov/2026:10:00:00 +0000] "GET /a?b HTTP/1.1" 200 5`, and `"referer" "user agent"` in the
 * combined one. No line is written when a stream opens: each line counts as a request there.
 * @param user The name of the user, where there is one. Default `-`. */
export function apache(format: 'common' | 'combined', user: Part = () => undefined): Formatter {
  const common = logLine`${ip} - ${named(user)} [${apacheTime}] "${parts.method} ${target} ${parts.version}" ${plainStatus} ${apacheBytes}`
  const tail = logLine` ${header('referer')} ${header('user-agent')}`
  return asIs((entry) => {
    if (entry.kind === 'stream-opened') return undefined
    return format === 'common' ? common(entry) : `${common(entry)}${tail(entry)}`
  })
}

/** What is logged of a request as an object, for logs of objects: the names are those of OpenTelemetry's semantic
 * conventions, where it has one. What is not known is left out. */
export type LogRecord = Readonly<Record<string, string | number | readonly string[]>>

/** A format of objects: `logger({ format: record, log: pino() })`. */
export function record(entry: LogEntry): LogRecord {
  const { conn, kind, outcome, status, bytes } = entry
  const { pathAndQuery, requestHeaders } = conn
  const path = pathOf(pathAndQuery)
  const host = /^(\[.*\]|[^:]*)(?::(\d+))?$/.exec(conn.host ?? '')
  const known = {
    message: `${conn.method} ${escapeWord(pathAndQuery)} ${status}${parts.note(entry)}`,
    'event.name': `http.${kind.replace('-', '.')}`,
    'http.request.method': conn.method,
    'url.scheme': conn.isSecure ? 'https' : 'http',
    'url.path': path,
    'url.query': pathAndQuery.slice(path.length + 1) || undefined,
    'http.response.status_code': status,
    'http.response.body.size': bytes,
    duration_ms: Math.round(entry.durationMs * 1000) / 1000,
    outcome,
    'error.type': errorOf(entry),
    'client.address': conn.peerIp,
    'server.address': host?.[1] || undefined,
    'server.port': host?.[2] === undefined ? undefined : Number(host[2]),
    'network.protocol.name': 'http',
    'network.protocol.version': conn.httpVersion === '2.0' ? '2' : conn.httpVersion,
    'user_agent.original': requestHeaders.get('user-agent'),
    'http.request.header.referer': listOf(requestHeaders.getAll('referer')),
  }
  return Object.fromEntries(
    Object.entries(known).filter(([, value]) => value !== undefined),
  ) as LogRecord
}

function json(entry: LogEntry): string {
  const severity = entry.level.toUpperCase()
  return jsonLine({ timestamp: new Date().toISOString(), severity, ...record(entry) })
}

function errorOf({ level, status, outcome }: LogEntry): string | undefined {
  if (level === 'info') return undefined
  return status >= 500 ? String(status) : outcome
}

function listOf(values: readonly string[]): readonly string[] | undefined {
  return values.length === 0 ? undefined : values
}

function named(user: Part): Part {
  return (entry) => {
    const name = user(entry)
    return name === undefined || name === '' ? undefined : apacheWord(String(name))
  }
}

const ip: Part = ({ conn }) => (conn.peerIp === undefined ? undefined : apacheWord(conn.peerIp))

const target: Part = ({ conn }) => apacheWord(conn.pathAndQuery)

function apacheWord(text: string): string {
  return escapeApache(text).replaceAll(' ', '\\x20')
}

const plainStatus: Part = ({ status }) => status

/** `%b`: nothing is `-`. */
const apacheBytes: Part = ({ bytes }) => (bytes === 0 ? undefined : bytes)

function header(name: string): Part {
  return ({ conn }) => `"${escapeApache(conn.requestHeaders.get(name) ?? '-')}"`
}

/** `%t`: when the request was received, in the time zone of the process. */
function apacheTime({ receivedAt }: LogEntry): string {
  const two = (number: number): string => String(number).padStart(2, '0')
  const offset = -receivedAt.getTimezoneOffset()
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`
  const date = `${two(receivedAt.getDate())}/${months[receivedAt.getMonth()]}/${receivedAt.getFullYear()}`
  const time = [receivedAt.getHours(), receivedAt.getMinutes(), receivedAt.getSeconds()].map(two)
  return `${date}:${time.join(':')} ${zone}`
}

const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')
