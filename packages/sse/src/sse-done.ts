/** `conn.sseDone()`: tells an EventSource to stop. */

import { Conn, type Halted } from '@wakerobin/core'

declare module '@wakerobin/core' {
  interface ConnExtensions {
    /** Answers 204, after which an EventSource does not reconnect, and halts: there is nothing more to send.
     *
     * Source: WHATWG HTML §9.2.3 (#sse-processing-model): it fails the connection on another status than 200, and 204
     * is the one that says it is meant. */
    sseDone(): Halted
  }
}

Conn.prototype.sseDone = function (this: Conn): Halted {
  // A stream that was the body is let go by it.
  return this.withStatus(204).withBody('').halt()
}
