/** A connection that goes on as something else: RFC 9110 §7.8, and CONNECT, §9.3.6. */

import type { Conn } from './conn.ts'

/** What a server hands over. Servers augment it with what they have: with `@wakerobin/server-node`, a `socket`
 * and the bytes that had come before. */
export interface Transport {}

/** A request that was answered with a switch of protocols, and its connection. */
export interface Upgrade {
  /** The conn as the handlers have left it, with its state. Its response is over. */
  readonly conn: Conn
  /** Takes the connection. Whoever takes it must read it, and close it.
   * @throws {TypeError} When it was taken before. */
  takeTransport(): Transport
}
