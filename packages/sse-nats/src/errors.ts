/** What goes wrong, and how it is told. */

/** Rejects `append`, and so `publish`: NATS has refused the event, or has not taken it in time. The `cause` says more. */
export class NatsAppendError extends Error {
  override readonly name = 'NatsAppendError'
  /** Whether the event may be in the log all the same: it was sent, and no answer has come. It is not tried again. */
  readonly mayBeInLog: boolean

  constructor(message: string, mayBeInLog: boolean, options?: ErrorOptions) {
    super(message, options)
    this.mayBeInLog = mayBeInLog
  }
}

/** What no second attempt makes better: the program, or the stream, has to be changed. */
export class SettingsError extends Error {}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
