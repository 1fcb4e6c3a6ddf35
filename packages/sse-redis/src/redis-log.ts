/** A log on a stream of Redis. */

import { checkNames, describe, maxTimerMs } from '@wakerobin/core/adapter'
import type { EventLog, LogBounds, LogEvent, LogPage } from '@wakerobin/sse'

import { Appender } from './appender.ts'
import { Connection, type RedisLogClient } from './connection.ts'
import { Link } from './link.ts'
import { readBounds, readPage, type Stream } from './read-stream.ts'
import { longestWaitMs, Watch } from './watch.ts'

/** What a log on Redis is called, and how much it keeps. */
export interface RedisLogOptions {
  /** The key of the stream. All who name the same have the same log. The client's `keyPrefix` is put before it. */
  key: string
  /** How many events are kept. Default 10,000. */
  maxEvents?: number
  /** Whether that is exactly so many. Default false: Redis lets the oldest go in pieces, of a hundred or so, which costs it
   * much less; there may be some more. */
  exact?: boolean
  /** How long an append is tried, in milliseconds. Default 10,000. */
  appendTimeoutMs?: number
}

/** Makes a log on a stream of Redis, from 7.0 on, for all processes that name its key.
 *
 * ```ts no-run: needs a Redis
 * import { createClient } from 'redis'
 * import { Broadcaster } from '@wakerobin/sse'
 * import { redisLog } from '@wakerobin/sse-redis'
 *
 * const log = redisLog(createClient({ url: 'redis://127.0.0.1:6379' }), { key: 'orders' })
 * const orders = new Broadcaster({ log })
 * ```
 *
 * The client is a template: the log opens two connections with its options, one of which waits for events, and reconnects
 * by itself. `append` rejects with a `RedisAppendError`.
 * @throws {TypeError | RangeError} When the client or an option cannot be used. */
export function redisLog(client: RedisLogClient, options: RedisLogOptions): EventLog {
  return new RedisLog(client, check(client, options))
}

class RedisLog implements EventLog {
  readonly #stream: Stream
  readonly #commands: Link
  readonly #blocking: Link
  readonly #appender: Appender
  readonly #watch: Watch
  /** What ends the tails. */
  readonly #tails = new Set<() => void>()
  #closing: Promise<void> | undefined

  constructor(client: RedisLogClient, { maxEvents, exact, appendTimeoutMs, key }: Checked) {
    this.#stream = { key, maxEvents }
    this.#appender = new Appender({
      stream: this.#stream,
      exact,
      appendTimeoutMs,
      reason: () => this.#commands.reason,
    })
    this.#commands = new Link({
      open: () => new Connection(client, patienceMs),
      prepare: (connection) => this.#appender.prepare(connection),
      onReady: (connection) => this.#appender.use(connection),
    })
    this.#blocking = new Link({ open: () => new Connection(client, longestWaitMs + patienceMs) })
    this.#watch = new Watch(this.#blocking, key)
  }

  append(event: LogEvent): Promise<string> {
    if (this.#closing !== undefined) return Promise.reject(this.#closedError('add to'))
    this.#commands.start()
    return this.#appender.add(event)
  }

  async read(after: string, limit: number): Promise<LogPage> {
    return this.#ask('read', (connection) => readPage(connection, this.#stream, after, limit))
  }

  async *tail(after: string, signal: AbortSignal): AsyncGenerator<LogPage, void> {
    if (this.#closing !== undefined) throw this.#closedError('follow')
    if (signal.aborted) return
    const ending = new AbortController()
    const end = (): void => ending.abort()
    signal.addEventListener('abort', end)
    this.#tails.add(end)
    try {
      yield* this.#follow(after, ending.signal)
    } finally {
      signal.removeEventListener('abort', end)
      this.#tails.delete(end)
    }
  }

  async bounds(): Promise<LogBounds> {
    return this.#ask('read', (connection) => readBounds(connection, this.#stream))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async *#follow(after: string, signal: AbortSignal): AsyncGenerator<LogPage, void> {
    for (let at = after; ;) {
      const { turn } = this.#watch
      const page = await unlessAborted(this.#page(at), signal)
      if (page === undefined) return
      at = page.next
      this.#appender.saw(at)
      if (page.records.length > 0 || page.missed !== 0) yield page
      if (page.records.length < pageRecords)
        await this.#watch.more(turn, at, signal).catch((cause) => this.#fail('follow', cause))
      if (signal.aborted) return
    }
  }

  #page(after: string): Promise<LogPage> {
    return this.#ask('follow', (connection) =>
      readPage(connection, this.#stream, after, pageRecords),
    )
  }

  async #ask<T>(action: string, question: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw this.#closedError(action)
    try {
      return await question(await this.#commands.connection(patienceMs))
    } catch (cause) {
      return this.#fail(action, cause)
    }
  }

  #fail(action: string, cause: unknown): never {
    const { message } = cause as Error
    throw new Error(`Cannot ${action} the log ${describe(this.#stream.key)}: ${message}`, { cause })
  }

  async #close(): Promise<void> {
    for (const end of this.#tails) end()
    this.#blocking.close()
    await this.#appender.settled()
    this.#commands.close()
  }

  #closedError(action: string): TypeError {
    return new TypeError(`Cannot ${action} the log ${describe(this.#stream.key)}: it is closed`)
  }
}

/** How long Redis may be silent, or away, before a question has failed. */
const patienceMs = 5_000
/** How many records a tail reads at once. */
const pageRecords = 256

/** Undefined as soon as the signal aborts. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => resolve(undefined)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

type Checked = Required<RedisLogOptions>

function check(client: RedisLogClient, options: RedisLogOptions): Checked {
  // Those of clusters and sentinels have many connections: none is the subscribed one.
  if (typeof client?.duplicate !== 'function' || typeof client.isPubSubActive !== 'boolean')
    throw new TypeError(
      `Cannot make a log of ${describe(client)}: expected a client, such as createClient() of redis makes`,
    )
  if (typeof options !== 'object' || options === null)
    throw refusal(TypeError, 'the options', options, "an object such as { key: 'orders' }")
  const { key, maxEvents = 10_000, exact = false, appendTimeoutMs = 10_000 } = options
  if (typeof key !== 'string' || key === '')
    throw refusal(TypeError, 'key', key, "a name such as 'orders'")
  if (!Number.isSafeInteger(maxEvents) || maxEvents < 1)
    throw refusal(RangeError, 'maxEvents', maxEvents, 'an integer from 1')
  if (typeof exact !== 'boolean') throw refusal(TypeError, 'exact', exact, 'true or false')
  if (!(appendTimeoutMs >= 1 && appendTimeoutMs <= maxTimerMs))
    throw refusal(
      RangeError,
      'appendTimeoutMs',
      appendTimeoutMs,
      'a number of milliseconds from 1 to 2147483647',
    )
  checkNames('Cannot make a log on Redis with ', options, [
    'key',
    'maxEvents',
    'exact',
    'appendTimeoutMs',
  ])
  const { keyPrefix = '' } = client.options as { keyPrefix?: unknown }
  return { key: `${String(keyPrefix)}${key}`, maxEvents, exact, appendTimeoutMs }
}

function refusal(
  ErrorClass: ErrorConstructor,
  option: string,
  value: unknown,
  right: string,
): Error {
  return new ErrorClass(
    `Cannot make a log on Redis with ${option} ${describe(value)}: it must be ${right}`,
  )
}
