/** How a log on JetStream is made, checked. */

import { checkNames, describe } from '@wakerobin/core/adapter'

/** How the servers are reached: what `connect` of `@nats-io/transport-node` takes, but for what is about reconnecting,
 * which the log does by itself. */
export interface NatsConnectionOptions {
  /** Such as `nats://10.0.0.1:4222`. Name several of a cluster: they are tried in turn. Default: this machine, port 4222. */
  servers?: string | string[]
  user?: string
  pass?: string
  token?: string
  /** Such as `credsAuthenticator` makes of the file of an account. */
  authenticator?: unknown
  /** Such as `{ caFile, certFile, keyFile }`. */
  tls?: object | null
  /** What the server calls the connection. Default `wakerobin log` and the name of the stream. */
  name?: string
  /** What inboxes begin with, where permissions ask for it. */
  inboxPrefix?: string
  /** For how long an attempt to connect may take, in milliseconds. Default 5,000. */
  timeout?: number
  /** The time between pings, in milliseconds. Default 5,000. */
  pingInterval?: number
  /** How many pings may have no answer before the connection is given up. Default 2. */
  maxPingOut?: number
  /** Whether servers are tried in the order in which they were named. Default false. */
  noRandomize?: boolean
  /** Whether names of servers are resolved here, each address being tried. Default true. */
  resolve?: boolean
  /** Whether the client prints what it sends and receives. Default false. */
  debug?: boolean
}

/** Where the log is, and how much of it is kept. */
export interface NatsLogOptions {
  /** How the servers are reached. Default: one on this machine, at its usual port. */
  connection?: NatsConnectionOptions
  /** What events are published on, a subject without wildcards that no other stream has. Default: the name of the stream. */
  subject?: string
  /** How many events are kept. Default 100,000 for a stream that is made here, else as the stream has it. `Infinity`: any
   * number. */
  maxEvents?: number
  /** How many bytes of events are kept, with what JetStream adds to each. Default `Infinity` for a stream that is made here. */
  maxBytes?: number
  /** For how long an event is kept, in milliseconds, from twice `appendTimeoutMs` on. Default `Infinity` for a stream that is
   * made here. */
  maxAgeMs?: number
  /** Where the servers keep the stream. Default `'file'` for a stream that is made here. */
  storage?: 'file' | 'memory'
  /** How many servers of a cluster keep the stream, from 1 to 5. Default 1 for a stream that is made here. */
  replicas?: number
  /** For how long an event is tried to be added, in milliseconds, from 100 to 3,600,000. Default 10,000. As long may the
   * servers be away. */
  appendTimeoutMs?: number
}

/** The options, checked. What is undefined is as the stream has it. */
export interface Settings {
  readonly stream: string
  readonly subject: string
  readonly connection: NatsConnectionOptions
  readonly maxEvents: number | undefined
  readonly maxBytes: number | undefined
  readonly maxAgeMs: number | undefined
  readonly storage: 'file' | 'memory' | undefined
  readonly replicas: number | undefined
  readonly appendTimeoutMs: number
}

/** @throws {TypeError | RangeError} When one is wrong. */
export function checkOptions(stream: string, options: NatsLogOptions): Settings {
  const { connection = {}, storage, replicas, appendTimeoutMs = 10_000 } = options
  const { subject = stream, maxEvents, maxBytes, maxAgeMs } = options
  if (typeof stream !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(stream) || /[.*>/\\]/.test(stream))
    throw refusal(
      'stream',
      stream,
      'a name of visible ASCII, without ".", "*", ">", "/" and "\\"',
      TypeError,
    )
  if (
    typeof subject !== 'string' ||
    !/^[\x21-\x7e]+$/.test(subject) ||
    subject.split('.').some((token) => token === '' || /[*>]/.test(token)) ||
    subject.startsWith('$')
  )
    throw refusal('subject', subject, 'such as "orders.events", without wildcards', TypeError)
  if (typeof connection !== 'object' || connection === null)
    throw refusal('connection', connection, 'options for connect of NATS', TypeError)
  if (storage !== undefined && storage !== 'file' && storage !== 'memory')
    throw refusal('storage', storage, '"file" or "memory"', TypeError)
  for (const [name, value] of Object.entries({ maxEvents, maxBytes }))
    if (value !== undefined && value !== Infinity && !isInteger(value, 1, Number.MAX_SAFE_INTEGER))
      throw refusal(name, value, 'an integer from 1, or Infinity')
  if (replicas !== undefined && !isInteger(replicas, 1, 5))
    throw refusal('replicas', replicas, 'an integer from 1 to 5')
  if (!isInteger(appendTimeoutMs, 100, 3_600_000))
    throw refusal('appendTimeoutMs', appendTimeoutMs, 'an integer from 100 to 3,600,000')
  // An event that is tried again is known by the id that the stream keeps with it for a time, which cannot be longer.
  const leastMs = 2 * appendTimeoutMs
  if (maxAgeMs !== undefined && maxAgeMs !== Infinity && !isInteger(maxAgeMs, leastMs, maxMs))
    throw refusal(
      'maxAgeMs',
      maxAgeMs,
      `an integer from ${leastMs}, which is twice appendTimeoutMs, or Infinity`,
    )
  const settings = {
    stream,
    subject,
    connection,
    maxEvents,
    maxBytes,
    maxAgeMs,
    storage,
    replicas,
    appendTimeoutMs,
  }
  const names = Object.keys(settings).filter((name) => name !== 'stream')
  checkNames('Cannot make a log on NATS with ', options, names)
  return settings
}

/** JetStream counts nanoseconds, in 63 bits; we in numbers. */
const maxMs = Math.floor(Number.MAX_SAFE_INTEGER / 1e6) * 1_000

function isInteger(value: unknown, from: number, to: number): boolean {
  return Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to
}

function refusal(
  name: string,
  value: unknown,
  expected: string,
  kind: ErrorConstructor = RangeError,
): Error {
  return new kind(`Cannot make a log on NATS with ${name} ${describe(value)}: expected ${expected}`)
}
