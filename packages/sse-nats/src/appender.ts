/** Adds events to the stream, in the order in which they came, each once.
 *
 * Many are on their way at a time, on one connection, and the server takes them in that order. Where something
 * has failed, nothing new is sent until all that was under way has its answer; then those without one are sent again, in
 * order, with the ids that they had, by which the server knows what it has already (`Nats-Msg-Id`). */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

import type { PubAck } from '@nats-io/jetstream'
import { Queue } from '@wakerobin/core/adapter'
import type { LogEvent } from '@wakerobin/sse'

import { messageOf, NatsAppendError, SettingsError } from './errors.ts'
import type { Link } from './link.ts'
import { idOf } from './log-id.ts'
import { writeEvent } from './message.ts'
import type { Settings } from './options.ts'
import { requestTimeoutMs, type Session } from './session.ts'

/** An event that is to be added. */
interface Entry {
  /** The how manyth it is. */
  readonly number: number
  readonly event: LogEvent
  /** In milliseconds, as `performance.now()`. */
  readonly deadline: number
  readonly resolve: (id: string) => void
  readonly reject: (error: Error) => void
  /** Sent, without an answer yet. */
  isFlying: boolean
  /** Sent, and no answer has come: the log may have it. */
  isUnsure: boolean
  /** Nobody was there to take it, when it was sent last. */
  wasAway: boolean
  isSettled: boolean
}

export class Appender {
  readonly #settings: Settings
  readonly #link: Link
  readonly #nonce = randomUUID()
  #count = 0
  /** All that have no answer yet, oldest first. */
  readonly #open = new Set<Entry>()
  /** Those of them that are to be sent, in order. */
  #waiting = new Queue<Entry>()
  /** How many are under way. */
  #flying = 0
  /** Those that are to be sent again, once nothing is under way. */
  #again: Entry[] = []
  #session: Session | undefined
  #isStarting = false
  /** The stream was not there. */
  #wasAway = false
  /** The sequence of the last that was added. */
  #last = 0
  #pauseMs = firstPauseMs
  #lastError: unknown
  #deadline: NodeJS.Timeout | undefined
  #onDrained: (() => void) | undefined

  constructor(settings: Settings, link: Link) {
    this.#settings = settings
    this.#link = link
  }

  add(event: LogEvent): Promise<string> {
    return new Promise((resolve, reject) => {
      const entry: Entry = {
        number: this.#count++,
        event,
        deadline: performance.now() + this.#settings.appendTimeoutMs,
        resolve,
        reject,
        isFlying: false,
        isUnsure: false,
        wasAway: false,
        isSettled: false,
      }
      this.#open.add(entry)
      this.#waiting.push(entry)
      if (this.#deadline === undefined) this.#watch(this.#settings.appendTimeoutMs)
      this.#proceed()
    })
  }

  /** Resolves when all have their answer. */
  async drain(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => (this.#onDrained = resolve))
  }

  #proceed(): void {
    if (this.#again.length > 0) {
      if (this.#flying === 0) this.#recover()
      return
    }
    const session = this.#session
    if (session === undefined || session.isOver) return this.#start()
    while (this.#flying < maxFlying) {
      const entry = this.#waiting.shift()
      if (entry === undefined) return
      if (!entry.isSettled) this.#send(session, entry)
    }
  }

  /** Gets a session, for as long as there is something to send. */
  #start(): void {
    if (this.#isStarting || this.#flying > 0 || this.#open.size === 0) return
    this.#isStarting = true
    void this.#connect().then((session) => {
      this.#isStarting = false
      this.#session = session
      if (session !== undefined) this.#proceed()
    })
  }

  async #connect(): Promise<Session | undefined> {
    while (this.#open.size > 0) {
      try {
        const session = await this.#link.session()
        // It may have been deleted.
        if (this.#wasAway) await session.state()
        this.#wasAway = false
        return session
      } catch (error) {
        this.#lastError = error
        if (error instanceof SettingsError)
          for (const entry of this.#open) this.#reject(entry, error.message, error)
        else await this.#pause()
      }
    }
    return undefined
  }

  #send(session: Session, entry: Entry): void {
    const { stream, subject, appendTimeoutMs } = this.#settings
    const headers = session.newHeaders()
    writeEvent(entry.event, headers)
    entry.isFlying = true
    this.#flying++
    session.js
      .publish(subject, entry.event.text, {
        headers,
        msgID: `${this.#nonce}-${entry.number}`,
        expect: { streamName: stream },
        // So that there is time to connect anew where nothing comes back.
        timeout: Math.ceil(Math.min(requestTimeoutMs, appendTimeoutMs / 2)),
      })
      .then(
        (ack) => this.#taken(session, entry, ack),
        (error: unknown) => this.#failed(session, entry, error),
      )
  }

  #taken(session: Session, entry: Entry, { seq, duplicate }: PubAck): void {
    this.#flying--
    entry.isFlying = false
    this.#pauseMs = firstPauseMs
    // Sent again, these would stand behind it.
    for (const earlier of this.#again)
      if (earlier.wasAway && earlier.number < entry.number)
        this.#reject(earlier, 'it was not taken, and a later one was', this.#lastError)
    const isAnother = !duplicate && seq <= this.#last
    this.#last = seq
    if (isAnother) void this.#resolveAnew(session, entry, seq)
    else this.#settle(entry, () => entry.resolve(idOf(session.epoch, seq)))
    this.#proceed()
  }

  /** The stream counts from the start: it was deleted and made again. */
  async #resolveAnew(session: Session, entry: Entry, sequence: number): Promise<void> {
    try {
      const { epoch } = await session.state()
      this.#settle(entry, () => entry.resolve(idOf(epoch, sequence)))
    } catch (error) {
      entry.isUnsure = true
      this.#reject(entry, 'its stream was made anew, and its id is not known', error)
    }
  }

  #failed(session: Session, entry: Entry, error: unknown): void {
    this.#flying--
    entry.isFlying = false
    this.#lastError = error
    const kind = kindOf(error)
    if (kind === 'refused') this.#reject(entry, messageOf(error), error)
    else this.#again.push(entry)
    entry.wasAway = kind === 'away'
    if (kind === 'away') this.#wasAway = true
    if (kind === 'lost') {
      entry.isUnsure = true
      session.end()
    }
    this.#proceed()
  }

  /** Nothing is under way any more: goes on with what has failed, and then with what has come since. */
  #recover(): void {
    const again = this.#again.toSorted((a, b) => a.number - b.number)
    this.#waiting = new Queue([...again, ...this.#waiting.rest()])
    this.#again = []
    this.#session = undefined
    void this.#pause().then(() => this.#proceed())
  }

  async #pause(): Promise<void> {
    const pauseMs = this.#pauseMs * (0.5 + Math.random() / 2)
    this.#pauseMs = Math.min(2 * this.#pauseMs, longestPauseMs)
    await sleep(pauseMs)
  }

  /** Rejects what is out of time. All have the same time, so the oldest is the first. */
  #watch(ms: number): void {
    this.#deadline = setTimeout(() => {
      this.#deadline = undefined
      const now = performance.now()
      for (const entry of this.#open) {
        if (entry.deadline > now) return this.#watch(Math.ceil(entry.deadline - now))
        const what = mayBeInLog(entry) ? 'has not answered' : 'has not taken it'
        const why = this.#lastError === undefined ? '' : ` (${messageOf(this.#lastError)})`
        const { appendTimeoutMs } = this.#settings
        this.#reject(entry, `NATS ${what} within ${appendTimeoutMs} ms${why}`, this.#lastError)
      }
    }, ms)
  }

  #reject(entry: Entry, why: string, cause: unknown): void {
    const stream = JSON.stringify(this.#settings.stream)
    const message = `Cannot add to the log in the stream ${stream}: ${why}`
    this.#settle(entry, () =>
      entry.reject(new NatsAppendError(message, mayBeInLog(entry), { cause })),
    )
  }

  #settle(entry: Entry, settle: () => void): void {
    if (entry.isSettled) return
    entry.isSettled = true
    this.#open.delete(entry)
    settle()
    if (this.#open.size > 0) return
    clearTimeout(this.#deadline)
    this.#deadline = undefined
    this.#lastError = undefined
    this.#onDrained?.()
  }
}

function mayBeInLog({ isFlying, isUnsure }: Entry): boolean {
  return isFlying || isUnsure
}

/** `refused`: not taken, and said so. `away`: not taken, as nobody was there to take it. `lost`: nobody knows. */
function kindOf(error: unknown): 'refused' | 'away' | 'lost' {
  const { name, cause } = error instanceof Error ? error : new Error()
  if ((cause as Error | undefined)?.name === 'PermissionViolationError') return 'refused'
  if (name === 'JetStreamNotEnabled') return 'away'
  if (/^(TimeoutError|RequestError|ClosedConnectionError|DrainingConnectionError)$/.test(name))
    return 'lost'
  return 'refused'
}

/** How many are under way at most: what is sent again after a connection was lost. */
const maxFlying = 1_000
const firstPauseMs = 50
const longestPauseMs = 1_000
