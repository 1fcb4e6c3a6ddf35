/** A reader that the history cannot serve: what it is to get first is read from the log. */

import type { Feed } from './feed.ts'
import type { EntryPage } from './log-follower.ts'

/** What comes next: a piece of the log; or, when all that is older than the history was read, the position in that. */
export type ReplayStep = EntryPage | { readonly position: number }

export class Replay {
  readonly #feed: Feed
  /** The id that the reader is at; undefined for one that only waits until it is known where the log stands. */
  #at: string | undefined
  #takeBack: (() => void) | undefined
  #isCancelled = false

  constructor(feed: Feed, after: string | undefined) {
    this.#feed = feed
    this.#at = after
  }

  /** Resolves with the next step; never, where it is cancelled. Not to be called again before. */
  async next(): Promise<ReplayStep> {
    const { history } = this.#feed
    const follower = this.#feed.follower!
    for (;;) {
      while (follower.beginning === undefined) await this.#more()
      const at = (this.#at ??= follower.beginning)
      const position = history.positionOf(at)
      if (position !== undefined) return { position: position + 1 }
      const { end } = history
      const page = await this.#page(at)
      this.#at = page.next
      if (page.entries.length > 0 || page.missed !== 0) return page
      // At the end of the log, which has not come to the history yet. Where others have meanwhile, so may it.
      if (history.end === end && history.positionOf(page.next) === undefined) await this.#more()
    }
  }

  /** Nobody waits for it any more. */
  cancel(): void {
    this.#isCancelled = true
    this.#takeBack?.()
  }

  #page(after: string): Promise<EntryPage> {
    return this.#unlessCancelled((resolve) => this.#feed.follower!.read(after, resolve))
  }

  #more(): Promise<void> {
    return this.#unlessCancelled((resolve) => this.#feed.follower!.whenMore(resolve))
  }

  /** @param ask Returns what takes back the question. */
  #unlessCancelled<T>(ask: (resolve: (answer: T) => void) => () => void): Promise<T> {
    return new Promise((resolve) => {
      if (!this.#isCancelled) this.#takeBack = ask(resolve)
    })
  }
}

/** Whether the history has moved on past a position meanwhile: the log has what it has dropped. */
export function isLeftBehind({ history }: Feed, position: number): boolean {
  return position < history.start
}
