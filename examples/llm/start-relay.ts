/** A relay and the model behind it, for tests. */

import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'

import type { AnyHandler } from '@wakerobin/core'
import { serve } from '@wakerobin/server-node'

import { start, type Started } from '../testing/start.ts'
import * as model from './model.ts'
import { app } from './relay.ts'
import { Upstream } from './upstream.ts'

/** Serves a relay in front of a model until the test is over. */
export async function startRelay(t: TestContext, answer: model.Answer): Promise<Started> {
  return startRelayTo(t, model.app(answer))
}

/** Serves a relay in front of any server, whose own failures are for the relay to bear. */
export async function startRelayTo(t: TestContext, upstream: AnyHandler): Promise<Started> {
  const { origin } = await start(t, (options) =>
    serve([upstream], { ...options, onError: () => {} }),
  )
  return start(t, (options) => serve(app(new Upstream(origin, model.key)), options))
}

/** An answer whose words the test says, one by one. */
export class Speech {
  readonly #words: string[] = []
  readonly #events = new EventEmitter()
  #isDone = false
  #isBroken = false
  /** What the model was asked. Resolves when it is. */
  readonly asked: Promise<string>
  /** Resolves when the model has noticed that nobody wants the rest. */
  readonly cancelled: Promise<void>
  /** For `startRelay`. */
  readonly answer: model.Answer

  constructor() {
    let onAsked: (message: string) => void
    let onCancelled: () => void
    this.asked = new Promise((resolve) => (onAsked = resolve))
    this.cancelled = new Promise((resolve) => (onCancelled = resolve))
    this.answer = (message, signal) => {
      signal.addEventListener('abort', () => onCancelled())
      onAsked(message)
      return this.#speak(signal)
    }
  }

  say(word: string): void {
    this.#words.push(word)
    this.#events.emit('change')
  }

  end(): void {
    this.#isDone = true
    this.#events.emit('change')
  }

  /** Ends where it is, without the last word. */
  breakOff(): void {
    this.#isBroken = true
    this.end()
  }

  async *#speak(signal: AbortSignal): AsyncGenerator<string> {
    for (;;) {
      while (this.#words.length > 0) yield this.#words.shift()!
      if (this.#isBroken) throw new Error('The model has crashed')
      if (this.#isDone) return
      await once(this.#events, 'change', { signal })
    }
  }
}
