/** How a response has ended. */

import type { Conn } from '@wakerobin/core'

/** How a response has ended.
 *
 * `sent`: all of it was handed to the network. `stopped`: that, of an event stream which the stop of the server has ended.
 * `left`: the client has left before, which is the usual end of an event stream. `cut`: the server has cut it, because of
 * an error, a client that did not read, or the deadline of the stop. */
export type Outcome = 'sent' | 'stopped' | 'left' | 'cut'

/** How a response was lost of which nobody has said it: the client has left, but while the server stops, its deadline may
 * have come first. */
export function lossOf({ swansong }: Conn): Outcome & ('left' | 'cut') {
  return swansong.state === 'running' ? 'left' : 'cut'
}
