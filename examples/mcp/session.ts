/** Sessions: what the server keeps of each client between its requests. */

import { randomUUID } from 'node:crypto'

import {
  failure,
  notification,
  progressTokenOf,
  result,
  type Id,
  type Request,
} from './json-rpc.ts'
import { Outbox } from './outbox.ts'
import type { Call, Tool } from './tools.ts'

/** The versions of MCP that are spoken here, the newest first. */
export const versions = ['2025-11-25', '2025-06-18']

const keptSessions = 1000
const keptCalls = 100

/** All sessions. They are in memory: every request of a session has to reach this process. */
export class Sessions {
  readonly tools: Readonly<Record<string, Tool>>
  readonly #sessions = new Map<string, Session>()

  constructor(tools: Readonly<Record<string, Tool>>) {
    this.tools = tools
  }

  /** Begins a session. The oldest one goes where there are too many: its client then begins another. */
  begin(wanted: unknown): Session {
    const version = versions.find((version) => version === wanted) ?? versions[0]!
    const session = new Session(version, this)
    this.#sessions.set(session.id, session)
    const [oldest] = this.#sessions.keys()
    if (this.#sessions.size > keptSessions) this.end(oldest!)
    return session
  }

  find(id: string): Session | undefined {
    return this.#sessions.get(id)
  }

  /** Ends a session, its streams and its calls. */
  end(id: string): void {
    this.#sessions.get(id)?.end()
    this.#sessions.delete(id)
  }

  /** Tells every client. */
  announce(text: string): void {
    const message = notification('notifications/message', { level: 'info', data: text })
    for (const session of this.#sessions.values()) if (session.hearsInfo) session.news.send(message)
  }
}

/** One client. */
export class Session {
  readonly id: string = randomUUID()
  /** The version of MCP that it speaks. */
  readonly version: string
  /** What the server says of its own accord. */
  readonly news: Outbox
  /** Whether it wants to be told what is no worse than an info. */
  hearsInfo = true
  readonly #sessions: Sessions
  /** The answers to calls, by name, the oldest first. */
  readonly #answers = new Map<string, Outbox>()
  readonly #calls = new Map<Id, AbortController>()
  #count = 0

  constructor(version: string, sessions: Sessions) {
    this.version = version
    this.news = new Outbox('news', this.#isPrimed)
    this.#sessions = sessions
  }

  /** Calls a tool, and streams its progress and its answer. The call does not end with the connection: who comes back
   * is told the rest.
   *
   * Source: MCP 2025-11-25, Streamable HTTP, "Disconnection SHOULD NOT be interpreted as the client cancelling". */
  stream(request: Request): Outbox {
    const outbox = new Outbox(`call-${++this.#count}`, this.#isPrimed)
    this.#answers.set(outbox.name, outbox)
    const [oldest] = this.#answers.keys()
    if (this.#answers.size > keptCalls) this.#answers.delete(oldest!)
    void this.call(request, (message) => outbox.send(message)).then((answer) => {
      if (answer !== undefined) outbox.send(answer)
      outbox.close()
    })
    return outbox
  }

  /** Calls a tool.
   * @param tell Told of its progress.
   * @returns Its answer; undefined where the client has taken the call back. */
  async call(request: Request, tell: (message: object) => void): Promise<object | undefined> {
    const { name, arguments: args } = Object(request.params)
    const tool = Object.hasOwn(this.#sessions.tools, name) ? this.#sessions.tools[name] : undefined
    if (tool === undefined) return failure(request.id, 'invalid params', `No tool ${name}`)
    const progressToken = progressTokenOf(request)
    const controller = new AbortController()
    const { signal } = controller
    const progress: Call['progress'] = (progress, total, message) => {
      tell(notification('notifications/progress', { progressToken, progress, total, message }))
    }
    const announce = (text: string): void => this.#sessions.announce(text)
    const cancelled = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined))
    })
    this.#calls.set(request.id, controller)
    try {
      // Not all tools look at their signal.
      const call = tool.call(Object(args), { signal, progress, announce })
      const text = await Promise.race([call, cancelled])
      return text === undefined
        ? undefined
        : result(request.id, { content: [{ type: 'text', text }] })
    } catch {
      // What went wrong is for the tool to say: the model reads it, and so may anybody.
      const content = [{ type: 'text', text: `${name} has failed` }]
      return signal.aborted ? undefined : result(request.id, { content, isError: true })
    } finally {
      this.#calls.delete(request.id)
    }
  }

  /** Takes a call back. */
  cancel(id: Id): void {
    this.#calls.get(id)?.abort()
  }

  /** The stream that an event was of, and its number in it. No other session's: event ids are no secret. */
  locate(eventId: string): { outbox: Outbox; after: number } | undefined {
    const [, name, number] = /^(.+)\.(\d+)$/.exec(eventId) ?? []
    const outbox = name === 'news' ? this.news : this.#answers.get(name ?? '')
    return outbox && { outbox, after: Number(number) }
  }

  end(): void {
    for (const controller of this.#calls.values()) controller.abort()
    for (const outbox of [this.news, ...this.#answers.values()]) outbox.close()
  }

  /** Older clients take an event without data for a message. */
  get #isPrimed(): boolean {
    return this.version >= '2025-11-25'
  }
}
