/** The end of the time that handlers have: `limits.handlerMs`. */

/** Handlers were not done within `limits.handlerMs`. Told to `onError`, with the place of the handler that was
 * waited for; the client has got a 503. */
export class HandlerTimeoutError extends Error {
  override readonly name = 'HandlerTimeoutError'
  readonly limitMs: number

  constructor(place: string, limitMs: number) {
    super(`Cannot wait any longer for ${place}: it is not done after ${limitMs} ms`)
    this.limitMs = limitMs
  }
}
