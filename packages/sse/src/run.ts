/** Work that goes on by itself, as its readers see it. */

import { describe } from '@wakerobin/core/adapter'

import type { SseEvent } from './event.ts'
import type { OpenRun } from './open-run.ts'
import type { RunEndReason } from './run-log.ts'
import type { SubscribeOptions, Subscription } from './subscription.ts'

/** A run, for `conn.withSseStream` or `for await`: its events from the beginning, then live, to its end. Who leaves does not
 * end it.
 *
 * It is there to be read at once: where nobody has read it for some time, it is dropped in this process, and has to be
 * asked for anew. */
export class Run implements AsyncIterable<SseEvent> {
  readonly #run: OpenRun

  /** Use `runs.start()` or `runs.get()`. */
  constructor(run: OpenRun) {
    this.#run = run
  }

  get id(): string {
    return this.#run.id
  }

  /** Why it is over, as far as this process knows; undefined while it goes on. */
  get endReason(): RunEndReason | undefined {
    return this.#run.endReason
  }

  /** Reads it from the beginning, or from after an event.
   * @throws {TypeError} When an option cannot be used, or the run was dropped. */
  subscribe(options: Pick<SubscribeOptions, 'lastEventId' | 'signal'> = {}): Subscription {
    if (typeof options !== 'object' || options === null)
      throw new TypeError(
        `Cannot read the run with ${describe(options)}: expected an object such as { lastEventId }`,
      )
    return this.#run.subscribe(options)
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<SseEvent, undefined> {
    return this.subscribe()[Symbol.asyncIterator]()
  }
}
