/** A connection to NATS and what is known of the stream, until the connection is lost.
 *
 * The client's own reconnection is off: it keeps requests that nobody will answer, and consumers of a stream that may be
 * another meanwhile. Here everything that was under way fails at once, and who wants to go on asks for the next session. */

import type { Consumer, JetStreamClient, JetStreamManager } from '@nats-io/jetstream'
import type { MsgHdrs, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node'

import { SettingsError } from './errors.ts'
import { epochOf, type StreamState } from './log-id.ts'
import type { Settings } from './options.ts'
import { openStream } from './stream.ts'

export class Session {
  readonly #settings: Settings
  readonly #connection: NatsConnection
  readonly #jsm: JetStreamManager
  readonly js: JetStreamClient
  readonly newHeaders: () => MsgHdrs
  /** That of the stream, as it was last seen. */
  epoch = ''
  #isOver = false

  private constructor(
    settings: Settings,
    connection: NatsConnection,
    jsm: JetStreamManager,
    newHeaders: () => MsgHdrs,
  ) {
    this.#settings = settings
    this.#connection = connection
    this.#jsm = jsm
    this.js = jsm.jetstream()
    this.newHeaders = newHeaders
    void connection.closed().then(() => (this.#isOver = true))
  }

  /** Connects, and opens the stream.
   * @throws {Error} (rejects) When that does not work now. */
  static async open(settings: Settings): Promise<Session> {
    const { connect, headers, jetstreamManager } = await loadClient()
    const connection = await connect({
      name: `wakerobin log ${settings.stream}`,
      timeout: requestTimeoutMs,
      pingInterval: 5_000,
      maxPingOut: 2,
      ...(settings.connection as NodeConnectionOptions),
      reconnect: false,
      waitOnFirstConnect: false,
      noAsyncTraces: true, // an Error for every request
    })
    try {
      const jsm = await jetstreamManager(connection, {
        checkAPI: false,
        timeout: requestTimeoutMs,
      })
      const session = new Session(settings, connection, jsm, headers)
      await session.state()
      return session
    } catch (error) {
      await connection.close()
      throw error
    }
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** What the stream is like now. Where it has been deleted, it is made anew. */
  async state(): Promise<StreamState> {
    const { created, state } = await this.#ask(openStream(this.#jsm, this.#settings))
    this.epoch = epochOf(created)
    const { messages, first_seq: first, last_seq: last } = state
    return { epoch: this.epoch, first: messages === 0 ? last + 1 : first, last }
  }

  /** Makes a consumer that begins with the first event from a sequence on.
   * @param unusedMs After how long without a reader the server removes it, should we not. */
  async consume(sequence: number, unusedMs: number): Promise<Consumer> {
    const info = await this.#ask(
      this.#jsm.consumers.add(this.#settings.stream, {
        deliver_policy: 'by_start_sequence',
        opt_start_seq: sequence,
        ack_policy: 'none',
        max_deliver: 1,
        mem_storage: true,
        num_replicas: 1,
        inactive_threshold: unusedMs * 1_000_000,
      }),
    )
    return this.js.consumers.getConsumerFromInfo(info)
  }

  /** Ends it, with all that is under way on it. */
  end(): void {
    void this.close()
  }

  async close(): Promise<void> {
    this.#isOver = true
    await this.#connection.close()
  }

  /** A connection on which nothing is answered is as good as lost. */
  async #ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      if (isTimeout(error)) this.end()
      throw error
    }
  }
}

/** How long an answer may take, in milliseconds. */
export const requestTimeoutMs = 5_000

export function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.name === 'TimeoutError'
}

type Client = Pick<typeof import('@nats-io/transport-node'), 'connect' | 'headers'> &
  Pick<typeof import('@nats-io/jetstream'), 'jetstreamManager'>

async function loadClient(): Promise<Client> {
  try {
    const [{ connect, headers }, { jetstreamManager }] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/jetstream'),
    ])
    return { connect, headers, jetstreamManager }
  } catch (cause) {
    throw new SettingsError(
      'expected the packages @nats-io/transport-node and @nats-io/jetstream to be installed',
      { cause },
    )
  }
}
