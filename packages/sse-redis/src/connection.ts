/** A connection to Redis that has one life: when it breaks it is over, and nothing on it is tried again.
 *
 * The client could reconnect by itself, but then nobody would know which of its commands were executed. */

/** A client that `createClient` of `redis` makes, connected or not: what is used of it. It is a template only: it is not
 * connected, and not closed. */
export interface RedisLogClient {
  readonly isPubSubActive: boolean
  /** What it was made with. */
  readonly options: object
  /** Makes another client with the same options, but for some. */
  duplicate(overrides?: object): RedisLogClient
  connect(): Promise<unknown>
  sendCommand(args: readonly string[]): Promise<unknown>
  destroy(): void
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** The connection is over: whether Redis has executed a command is not known. */
export class LostError extends Error {
  override readonly name = 'LostError'
}

/** What Redis answers. */
export type Reply = string | number | null | Error | readonly Reply[]

export class Connection {
  /** Resolves when it is over, with the reason. */
  readonly over: Promise<Error>
  readonly #client: RedisLogClient
  readonly #patienceMs: number
  #unanswered = 0
  #timer: NodeJS.Timeout | undefined
  #reason: Error | undefined
  #tell!: (reason: Error) => void

  /** @param patienceMs How long Redis may be silent while an answer is due. */
  constructor(template: RedisLogClient, patienceMs: number) {
    this.#patienceMs = patienceMs
    this.over = new Promise((resolve) => (this.#tell = resolve))
    this.#client = template.duplicate(overridesFor(template))
    this.#client.on('error', (error) => this.end(error))
  }

  /** @throws {LostError} When that fails, or takes too long. */
  async open(): Promise<void> {
    const opening = this.#answerOf(this.#client.connect())
    // The socket may open after the end, and would stay.
    opening.then(
      () => this.#reason !== undefined && this.#client.destroy(),
      () => {},
    )
    await Promise.race([opening, this.over])
    if (this.#reason !== undefined) throw this.#lost()
  }

  /** Sends a command. Those that are sent in one turn go out together, in their order.
   * @throws {LostError} When the connection is, or was, over. What Redis says where it has refused it. */
  command(args: readonly string[]): Promise<Reply> {
    if (this.#reason !== undefined) return Promise.reject(this.#lost())
    return this.#answerOf(this.#client.sendCommand(args)) as Promise<Reply>
  }

  /** Ends it at once; what is not answered fails. A second call does nothing. */
  end(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    clearTimeout(this.#timer)
    this.#client.destroy()
    this.#tell(reason)
  }

  async #answerOf<T>(answer: Promise<T>): Promise<T> {
    if (this.#unanswered++ === 0) {
      const ms = this.#patienceMs
      const silence = (): void => this.end(new Error(`Redis has not answered for ${ms} ms`))
      this.#timer = setTimeout(silence, ms)
    }
    try {
      return await answer
    } catch (error) {
      throw this.#reason === undefined ? error : this.#lost()
    } finally {
      if (--this.#unanswered === 0) clearTimeout(this.#timer)
      else if (this.#reason === undefined) this.#timer!.refresh()
    }
  }

  #lost(): LostError {
    const reason = this.#reason!
    // Where a name has two addresses, the error of both has no message.
    const { code } = reason as NodeJS.ErrnoException
    return new LostError(reason.message || String(code), { cause: reason })
  }
}

/** The client's own options hold, but for those that would answer for Redis, or in another form. */
function overridesFor({ options }: RedisLogClient): object {
  const { socket } = options as { socket?: object }
  return {
    RESP: 2,
    clientSideCache: undefined,
    emitInvalidate: false,
    maintNotifications: 'disabled', // it needs RESP 3
    commandOptions: { timeout: 0 }, // we have our own
    commandsQueueMaxLength: undefined,
    pingInterval: 0,
    socket: { ...socket, reconnectStrategy: false, socketTimeout: undefined },
  }
}
