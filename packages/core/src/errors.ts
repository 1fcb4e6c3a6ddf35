/** The errors a handler may want to catch, and the status each has when it does not. */

/** The request body is longer than its limit. Uncaught, it is a 413. */
export class BodyTooLongError extends RangeError {
  override readonly name = 'BodyTooLongError'
  readonly limitBytes: number

  constructor(limitBytes: number, options?: ErrorOptions) {
    super(`Cannot read the request body: it is longer than ${limitBytes} bytes`, options)
    this.limitBytes = limitBytes
  }
}

/** The request body is not what it was read as: broken JSON, a broken form. Uncaught, it is a 400. */
export class MalformedBodyError extends SyntaxError {
  override readonly name = 'MalformedBodyError'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
  }
}

/** The client left before its request body was complete. Uncaught, it is a 400 that nobody reads. */
export class BodyAbortedError extends Error {
  override readonly name = 'BodyAbortedError'

  constructor(options?: ErrorOptions) {
    super('Cannot read the request body: the client left before it was complete', options)
  }
}

/** The status of an error that is the client's doing; undefined for every other. */
export function clientErrorStatus(error: unknown): number | undefined {
  try {
    if (error instanceof BodyTooLongError) return 413
    if (error instanceof MalformedBodyError || error instanceof BodyAbortedError) return 400
  } catch {
    // A proxy may throw when it is asked what it is: then it is none of these.
  }
  return undefined
}
