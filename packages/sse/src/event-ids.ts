/** The ids that a broadcaster gives its events: an epoch, which is the broadcaster's own, and a number, which counts
 * from 1. After a restart the epoch is another, so that nobody takes an old id for a new one. */

export class EventIds {
  readonly #prefix: string

  constructor() {
    // 36 bits, far more than are ever alive side by side: it is no secret, only not another's.
    this.#prefix = `${Math.floor(Math.random() * 36 ** 7).toString(36)}-`
  }

  /** The id of the event at a position. That of -1 stands for the beginning. */
  of(position: number): string {
    return `${this.#prefix}${position + 1}`
  }

  /** The position after the event of an id; undefined where the id is not one of these. */
  positionAfter(id: string): number | undefined {
    if (!id.startsWith(this.#prefix)) return undefined
    const count = id.slice(this.#prefix.length)
    return /^(0|[1-9]\d{0,14})$/.test(count) ? Number(count) : undefined
  }
}
