/** Pings: they find out which peers are gone without a word, and keep proxies from taking silence for an end. */

/** Somebody who is pinged. */
export interface Peer {
  /** The next ping is due. */
  tick(): void
}

/** Pings many peers by one timer, which runs while there are any. */
export class Keepalive {
  readonly #pingMs: number
  readonly #peers = new Set<Peer>()
  #timer: ReturnType<typeof setInterval> | undefined

  /** @param pingMs 0 for no pings. */
  constructor(pingMs: number) {
    this.#pingMs = pingMs
  }

  add(peer: Peer): void {
    if (this.#pingMs === 0) return
    this.#peers.add(peer)
    this.#timer ??= setInterval(() => {
      for (const each of this.#peers) each.tick()
    }, this.#pingMs).unref()
  }

  delete(peer: Peer): void {
    this.#peers.delete(peer)
    if (this.#peers.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
