/** What a publisher is told when its event was not added, or may not have been. */

/** Rejects `append`, and so `publish`: Redis has refused the event, or has not answered in time. */
export class RedisAppendError extends Error {
  override readonly name = 'RedisAppendError'
  /** Whether the event may be in the log all the same: it was on its way when the time was over. It is not tried again. */
  readonly mayBeInLog: boolean

  constructor(message: string, mayBeInLog: boolean, options?: ErrorOptions) {
    super(message, options)
    this.mayBeInLog = mayBeInLog
  }
}
