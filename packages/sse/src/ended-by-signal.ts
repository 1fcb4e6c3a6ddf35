/** Readers that end when a signal aborts: one listener for all of a signal. Thousands may have the same one, and adding a
 * listener or taking one off takes as long as there are listeners. */

import type { Reader } from './feed.ts'

interface Group {
  readonly signal: AbortSignal
  readonly readers: Set<Reader>
  readonly onAbort: () => void
}

export class EndedBySignal {
  readonly #bySignal = new Map<AbortSignal, Group>()
  readonly #byReader = new Map<Reader, Group>()

  /** @param signal One that has not aborted. */
  add(reader: Reader, signal: AbortSignal): void {
    let group = this.#bySignal.get(signal)
    if (group === undefined) {
      group = this.#listen(signal)
      this.#bySignal.set(signal, group)
    }
    group.readers.add(reader)
    this.#byReader.set(reader, group)
  }

  delete(reader: Reader): void {
    const group = this.#byReader.get(reader)
    if (group === undefined) return
    this.#byReader.delete(reader)
    group.readers.delete(reader)
    if (group.readers.size > 0) return
    this.#bySignal.delete(group.signal)
    group.signal.removeEventListener('abort', group.onAbort)
  }

  #listen(signal: AbortSignal): Group {
    const readers = new Set<Reader>()
    const onAbort = (): void => {
      // All let go before any of them is told: the app may publish from within.
      const ends = Array.from(readers, (reader) => reader.disconnect('done'))
      for (const end of ends) end()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    return { signal, readers, onAbort }
  }
}
