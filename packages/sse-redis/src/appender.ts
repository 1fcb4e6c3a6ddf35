/** Adds events to a stream, in the order in which they came, each once.
 *
 * Many are on their way at a time. Where a connection breaks, nobody knows which of them have arrived: they are looked up,
 * by the nonce that each has, and only those that are not there are sent again, before all that came later. */

import { describe, Queue } from '@wakerobin/core/adapter'
import type { LogEvent } from '@wakerobin/sse'

import { RedisAppendError } from './append-error.ts'
import { LostError, type Connection } from './connection.ts'
import { fieldOf, toFields } from './entry.ts'
import { readBounds, readEntries, type Stream } from './read-stream.ts'
import { beginning, compareIds } from './stream-id.ts'

export interface AppenderOptions {
  readonly stream: Stream
  /** Whether no event more than that is kept. */
  readonly exact: boolean
  readonly appendTimeoutMs: number
  /** Why there is no connection, when there is none. */
  readonly reason: () => Error
}

interface Append {
  readonly nonce: string
  readonly fields: readonly string[]
  readonly resolve: (id: string) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
  /** While it is on its way, and when it may have arrived: an id that was there before. */
  after: string | undefined
  /** What Redis has said where it has not executed it, but may do so soon. */
  refusal: Error | undefined
  /** Whether whoever has asked for it was answered. */
  isSettled: boolean
}

export class Appender {
  readonly #options: AppenderOptions
  readonly #xadd: readonly string[]
  readonly #nonce = crypto.randomUUID().slice(0, 18)
  #count = 0
  /** Those that are to be sent, oldest first. */
  #waiting = new Queue<Append>()
  /** Those that were, oldest first, and are not answered. */
  #sent: Append[] = []
  /** The connection that is in use. */
  #connection: Connection | undefined
  /** How the last one can be told from all others of Redis. */
  #former: { readonly id: string; readonly name: string } | undefined
  #connections = 0
  /** The newest id that is known to be there. */
  #newest = beginning
  /** How many are not settled. */
  #open = 0
  #onIdle: (() => void) | undefined

  constructor(options: AppenderOptions) {
    this.#options = options
    const { stream, exact } = options
    // One more than is given out: see read-stream.ts.
    this.#xadd = [
      'XADD',
      stream.key,
      'MAXLEN',
      exact ? '=' : '~',
      String(stream.maxEvents + 1),
      '*',
    ]
  }

  /** Tells it of an id that is in the stream: what is sent from now on comes after it. */
  saw(id: string): void {
    if (compareIds(id, this.#newest) > 0) this.#newest = id
  }

  add(event: LogEvent): Promise<string> {
    return new Promise((resolve, reject) => {
      const nonce = `${this.#nonce}-${++this.#count}`
      const append: Append = {
        nonce,
        fields: toFields(event, nonce),
        resolve,
        reject,
        timer: setTimeout(() => this.#giveUp(append), this.#options.appendTimeoutMs),
        after: undefined,
        refusal: undefined,
        isSettled: false,
      }
      this.#open++
      this.#waiting.push(append)
      this.#send()
    })
  }

  /** Resolves when nobody waits for an answer. */
  settled(): Promise<void> {
    if (this.#open === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#onIdle = resolve))
  }

  /** Finds out what has become of what was on its way when the last connection broke.
   * @throws {Error} When this connection is not fit for use. */
  async prepare(connection: Connection): Promise<void> {
    this.#connection = undefined
    const { stream } = this.#options
    const bounds = await readBounds(connection, stream).catch(unlessPassing)
    const newest = bounds?.last ?? beginning
    await this.#endFormer(connection)
    const unknown = this.#sent.filter(({ isSettled }) => !isSettled)
    const { ids, isAll } = await this.#lookUp(connection, unknown, newest)
    const lastFound = unknown.findLastIndex(({ nonce }) => ids.has(nonce))
    const again: Append[] = []
    for (const [index, append] of unknown.entries()) {
      const id = ids.get(append.nonce)
      const isNotThere = isAll || append.refusal !== undefined
      if (id !== undefined) this.#settle(append, () => append.resolve(id))
      else if (isNotThere && index > lastFound) again.push(append)
      else
        this.#settle(append, () =>
          append.reject(append.refusal ? this.#refused(append.refusal) : this.#unknown()),
        )
    }
    for (const append of again) append.after = undefined
    this.#waiting = new Queue([...again, ...this.#waiting.rest()])
    this.#sent = []
    this.#newest = newest
  }

  /** Sends what is to be sent on a connection that was prepared, as long as that lasts. */
  use(connection: Connection): void {
    this.#connection = connection
    this.#send()
  }

  #send(): void {
    const connection = this.#connection
    if (connection === undefined) return
    while (this.#sent.length < maxSent) {
      const append = this.#waiting.shift()
      if (append === undefined) return
      if (append.isSettled) continue
      append.after = this.#newest
      append.refusal = undefined
      this.#sent.push(append)
      connection.command([...this.#xadd, ...append.fields]).then(
        (id) => this.#added(append, String(id)),
        (error: Error) => this.#failed(append, connection, error),
      )
    }
  }

  #added(append: Append, id: string): void {
    this.#newest = id
    this.#forget(append)
    this.#settle(append, () => append.resolve(id))
    this.#send()
  }

  #failed(append: Append, connection: Connection, error: Error): void {
    const isRefusal = !(error instanceof LostError)
    if (isRefusal && !isPassing(error)) {
      this.#forget(append)
      this.#settle(append, () => append.reject(this.#refused(error)))
      this.#send()
      return
    }
    // It is looked up when there is another connection. On this one, none that is younger may overtake it.
    if (this.#connection === connection) this.#connection = undefined
    if (isRefusal) append.refusal = error
    connection.end(error)
  }

  #forget(append: Append): void {
    const index = this.#sent.indexOf(append)
    if (index !== -1) this.#sent.splice(index, 1)
  }

  #giveUp(append: Append): void {
    const ms = this.#options.appendTimeoutMs
    const error =
      append.after === undefined
        ? this.#notSent(ms)
        : this.#unknown(`Redis has not answered in ${ms} ms`)
    this.#settle(append, () => append.reject(error))
    while (this.#waiting.first?.isSettled === true) this.#waiting.shift()
  }

  #settle(append: Append, settle: () => void): void {
    if (append.isSettled) return
    append.isSettled = true
    clearTimeout(append.timer)
    settle()
    if (--this.#open === 0) this.#onIdle?.()
  }

  #refused(cause: Error): RedisAppendError {
    return this.#error(`Redis says ${describe(cause.message)}`, false, { cause })
  }

  #notSent(ms: number): RedisAppendError {
    const cause = this.#options.reason()
    const why = `it could not be sent to Redis for ${ms} ms (${cause.message}), and is not in the log`
    return this.#error(why, false, { cause })
  }

  #unknown(why = 'the connection to Redis broke before the answer'): RedisAppendError {
    return this.#error(`${why}; the event may be in the log or not, and is not tried again`, true)
  }

  #error(why: string, mayBeInLog: boolean, options?: ErrorOptions): RedisAppendError {
    const action = `Cannot add to the log ${describe(this.#options.stream.key)}`
    return new RedisAppendError(`${action}: ${why}`, mayBeInLog, options)
  }

  /** Ends the former connection at the other end, too: what a slow network has kept of it is not to arrive after it was
   * looked up. Where Redis does not allow that, it is left alone. */
  async #endFormer(connection: Connection): Promise<void> {
    const name = `sse-redis:${this.#nonce}:${++this.#connections}`
    const former = this.#former
    const [id, , list] = await Promise.all([
      connection.command(['CLIENT', 'ID']).catch(unlessPassing),
      connection.command(['CLIENT', 'SETNAME', name]).catch(unlessPassing),
      // A Redis that was started anew may have given the id to another.
      former && connection.command(['CLIENT', 'LIST', 'ID', former.id]).catch(unlessPassing),
    ])
    if (former !== undefined && String(list).includes(` name=${former.name} `))
      await connection.command(['CLIENT', 'KILL', 'ID', former.id]).catch(unlessPassing)
    this.#former = id === undefined ? undefined : { id: String(id), name }
  }

  /** Looks for what may have arrived.
   * @returns The ids of what was found; whether that is all, so that the rest is not there. */
  async #lookUp(
    connection: Connection,
    unknown: readonly Append[],
    newest: string,
  ): Promise<{ ids: Map<string, string>; isAll: boolean }> {
    const ids = new Map<string, string>()
    let at = unknown[0]?.after
    if (at === undefined) return { ids, isAll: true }
    // Redis has lost what it had not kept yet when it ended: what came later, too.
    const isSetBack = compareIds(at, newest) > 0
    let isAll = true
    try {
      for (;;) {
        const { stream } = this.#options
        const page = await readEntries(connection, stream, at, lookUpEntries)
        if (page.missed !== 0 && at !== beginning) {
          at = beginning // it may be another stream, of which none is gone
          continue
        }
        if (page.missed !== 0) isAll = isSetBack
        for (const [id, fields] of page.entries) {
          const nonce = fieldOf(fields, 'nonce')
          if (nonce?.startsWith(this.#nonce) === true) ids.set(nonce, id)
        }
        if (page.entries.length === 0) return { ids, isAll }
        at = page.next
      }
    } catch (error) {
      unlessPassing(error)
      return { ids, isAll: false } // it may not be read
    }
  }
}

/** How many entries are read at once to look something up. */
const lookUpEntries = 1_000
/** How many are on their way at most: as many may have to be looked up. */
const maxSent = 1_000

/** Redis is not ready, or has handed over to another: it will not last. */
function isPassing(error: Error): boolean {
  return /^(LOADING|READONLY|MASTERDOWN|BUSY|CLUSTERDOWN|TRYAGAIN)\b/.test(error.message)
}

/** Leaves alone what Redis refuses for good, such as what its rules for this user do not allow. */
function unlessPassing(error: unknown): undefined {
  if (error instanceof LostError || isPassing(error as Error)) throw error
}
