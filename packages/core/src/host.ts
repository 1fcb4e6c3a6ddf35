/** An app that runs in this process, apart from how its requests come and its responses go: what `testApp` and
 * `toFetch` have in common. */

import { encodeText } from './body.ts'
import { failConn } from './conn.ts'
import type { Conn } from './conn.ts'
import { finalize } from './finalize.ts'
import type { FinalResponse } from './finalize.ts'
import type { ServerContext } from './incoming.ts'
import { closeInfo, Info } from './info.ts'
import type { Listener } from './info.ts'
import { askedPlaceOf, compile } from './program.ts'
import type { OnError, Program } from './program.ts'
import { StateMap } from './state.ts'
import type { Swansong } from './swansong.ts'

/** What an app needs to know of the server it is on. */
export interface HostOptions {
  readonly swansong: Swansong
  readonly maxBodyBytes: number
  readonly listeners: readonly Listener[]
  readonly url: string | undefined
  readonly onError: OnError
}

export class Host {
  readonly context: ServerContext
  /** Told of what handlers did not catch. It never throws. */
  readonly onError: OnError
  readonly #program: Program
  readonly #info: Info
  #ready: Promise<void> | undefined

  /** @throws {TypeError} When something in the app is no handler. */
  constructor(app: unknown, { swansong, maxBodyBytes, listeners, url, onError }: HostOptions) {
    this.#program = compile(app, 'app', onError)
    this.onError = this.#program.onError
    const shared = new StateMap()
    this.context = { swansong, sharedState: shared, maxBodyBytes, onError: this.onError }
    this.#info = new Info({ listeners, url, swansong, shared })
  }

  get listeners(): readonly Listener[] {
    return this.#info.listeners
  }

  /** Runs every `init`, once. */
  init(): Promise<void> {
    this.#ready ??= this.#program.init(this.#info).then(() => closeInfo(this.#info))
    return this.#ready
  }

  /** Takes a conn through the handlers and every `beforeSend`. Never throws. */
  handle(conn: Conn): Conn | Promise<Conn> {
    return this.#program.handle(conn)
  }

  /** Whether a handler would take the connection over. None does: there is no connection. */
  hasUpgrader(conn: Conn): boolean {
    const takeTransport = (): never => {
      throw new TypeError('Cannot take the connection over: testApp has none, use a server')
    }
    if (conn.status !== (conn.method === 'CONNECT' ? 200 : 101)) return false
    const upgrade = { conn, takeTransport }
    try {
      return this.#program.upgraderOf(upgrade) !== undefined
    } catch (error) {
      failConn(conn, 500)
      this.onError(error, { conn, place: askedPlaceOf(upgrade) })
      return false
    }
  }

  /** What the response of a conn is; a 500 where it claims what is not true.
   * @param isTaken Whether a switch of protocols is made good. Default false. */
  finalize(conn: Conn, isTaken = false): FinalResponse {
    try {
      return finalize(conn, byteLength, isTaken)
    } catch (error) {
      this.onError(error, { conn, place: 'the response' })
      failConn(conn, 500)
      return finalize(conn, byteLength)
    }
  }
}

function byteLength(text: string): number {
  return encodeText(text).length
}
