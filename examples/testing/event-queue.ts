/** What a client of an event stream has received, to be taken in order. */

export interface Received {
  readonly type: string
  readonly data: string
}

export class EventQueue {
  readonly #events: Received[] = []
  readonly #waiting: (() => void)[] = []

  push(event: Received): void {
    this.#events.push(event)
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Waits for so many events, and takes them out. */
  async take(count: number): Promise<Received[]> {
    while (this.#events.length < count) await this.#change()
    return this.#events.splice(0, count)
  }

  /** Drops events until one of this type comes for which `isWanted` holds, and takes it out. */
  async takeUntil(type: string, isWanted: (data: string) => boolean): Promise<Received> {
    for (;;) {
      const [event] = await this.take(1)
      if (event?.type === type && isWanted(event.data)) return event
    }
  }

  /** What is there and not yet taken. */
  get rest(): readonly Received[] {
    return this.#events
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }
}
