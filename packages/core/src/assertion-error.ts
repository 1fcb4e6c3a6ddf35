/** What an assertion of `@wakerobin/core/testing` throws. */

/** Has what test runners look for, so that they show a diff: those of Node, Vitest, Jest and Mocha. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError'
  readonly code = 'ERR_ASSERTION'
  readonly generatedMessage = false
  readonly operator: string
  readonly actual: unknown
  readonly expected: unknown

  /** @param assertion The method that was called: the stack begins where, and not in it. */
  constructor(message: string, { assertion, actual, expected, cause }: Failure) {
    super(message, cause === undefined ? {} : { cause })
    this.operator = assertion.name
    this.actual = actual
    this.expected = expected
    ;(Error as CapturingError).captureStackTrace?.(this, assertion)
  }
}

interface Failure {
  readonly assertion: (...args: never[]) => unknown
  readonly actual: unknown
  readonly expected: unknown
  readonly cause?: unknown
}

/** Of V8, and not in the library of TypeScript without Node. */
interface CapturingError {
  captureStackTrace?(error: Error, from: unknown): void
}
