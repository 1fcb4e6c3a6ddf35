/** The log on JetStream. */

import type { EventLog, LogBounds, LogEvent, LogPage } from '@wakerobin/sse'

import { Appender } from './appender.ts'
import { messageOf } from './errors.ts'
import { Link } from './link.ts'
import { idOf } from './log-id.ts'
import { checkOptions, type NatsLogOptions } from './options.ts'
import { follow, readPage } from './reader.ts'

/** Keeps the events of a broadcaster in a stream of NATS JetStream, for all processes that name it.
 *
 * ```ts no-run: it needs a server of NATS
 * import { Broadcaster } from '@wakerobin/sse'
 * import { natsLog } from '@wakerobin/sse-nats'
 *
 * const log = natsLog('orders', { connection: { servers: 'nats://127.0.0.1:4222' } })
 * const orders = new Broadcaster({ log })
 * await orders.publish('hello') // JetStream has it, and every process sends it
 * ```
 *
 * It connects when it is first used, and anew when the connection was lost; `close()` lets the process end.
 * @param stream The name of the stream. It is made where there is none; one that is there is never changed, and all of it is
 * the log.
 * @throws {TypeError | RangeError} When an option is wrong. That the stream is otherwise than the options say is told by
 * whatever the log is asked first. */
export function natsLog(stream: string, options: NatsLogOptions = {}): EventLog {
  const settings = checkOptions(stream, options)
  const link = new Link(settings)
  return new NatsLog(stream, link, new Appender(settings, link))
}

class NatsLog implements EventLog {
  readonly #stream: string
  readonly #link: Link
  readonly #appender: Appender
  readonly #closing = new AbortController()
  #closed: Promise<void> | undefined

  constructor(stream: string, link: Link, appender: Appender) {
    this.#stream = stream
    this.#link = link
    this.#appender = appender
  }

  async append(event: LogEvent): Promise<string> {
    this.#check('add to')
    return this.#appender.add(event)
  }

  async read(after: string, limit: number): Promise<LogPage> {
    this.#check('read')
    try {
      return await readPage(await this.#link.session(), after, limit)
    } catch (error) {
      throw this.#failure('read', error)
    }
  }

  async *tail(after: string, signal: AbortSignal): AsyncGenerator<LogPage, void> {
    this.#check('follow')
    const ending = AbortSignal.any([signal, this.#closing.signal])
    const pages = follow(this.#link, after, ending)
    try {
      for (;;) {
        const result = await unlessAborted(pages.next(), ending)
        if (result === undefined || result.done === true) return
        yield result.value
      }
    } catch (error) {
      throw this.#failure('follow', error)
    } finally {
      pages.return().catch(() => {}) // it is told what has failed, or has gone
    }
  }

  async bounds(): Promise<LogBounds> {
    this.#check('read')
    try {
      const { epoch, first, last } = await (await this.#link.session()).state()
      return { first: first > last ? undefined : idOf(epoch, first), last: idOf(epoch, last) }
    } catch (error) {
      throw this.#failure('read', error)
    }
  }

  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    this.#closing.abort()
    await this.#appender.drain()
    await this.#link.close()
  }

  #check(action: string): void {
    if (this.#closed !== undefined) throw new TypeError(`Cannot ${action} the log: it is closed`)
  }

  #failure(action: string, cause: unknown): Error {
    const stream = JSON.stringify(this.#stream)
    return new Error(`Cannot ${action} the log in the stream ${stream}: ${messageOf(cause)}`, {
      cause,
    })
  }
}

/** Resolves with undefined as soon as the signal aborts. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const abort = (): void => resolve(undefined)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
