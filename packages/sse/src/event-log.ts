/** A log that keeps events beyond the life of a process. */

/** An event as a log keeps it. */
export interface LogEvent {
  /** The event as it is sent, without an id: the text of `encodeEvent`. */
  readonly text: string
  /** What it is about, each topic once. Undefined: it is for everyone. */
  readonly topics?: readonly string[] | undefined
  /** What tells it from others for `coalesce`. */
  readonly key?: string | undefined
}

/** An event that a log has. */
export interface LogRecord extends LogEvent {
  /** Its place in the log, as clients send it back in `Last-Event-ID`: one line of visible ASCII, at most 256 characters.
   * No two events of a log have the same one, also after a restart. */
  readonly id: string
}

/** Some events in a row. */
export interface LogPage {
  /** In the order of the log, each once. */
  readonly records: readonly LogRecord[]
  /** How many events are gone that stood between where the reader was and the first of these: 0 for none, null where
   * nobody can tell. */
  readonly missed: number | null
  /** Where the reader is after them, to go on from: the id of the last of them, where there are any. */
  readonly next: string
}

/** Where a log begins and ends. */
export interface LogBounds {
  /** The id of the oldest event that is kept; undefined where none is. */
  readonly first: string | undefined
  /** The id of the newest event that was ever added, kept or not; before there was one, an id that stands for the
   * beginning. */
  readonly last: string
}

/** Keeps events in an order, gives each an id, and has them read by any process that opens it.
 *
 * A `Broadcaster` with a log adds to it what is published, and sends what it reads there. `eventLogConformance` of
 * `@wakerobin/sse/testing` has the tests that a log must pass. */
export interface EventLog {
  /** Adds an event, after all that this object was given before.
   * @returns Its id, as soon as the log has it for good, in the sense of its own settings.
   * @throws {Error} (rejects) When the log has not taken it, or does not know; it is not tried again. */
  append(event: LogEvent): Promise<string>
  /** Reads on from an id: what stands after it, oldest first.
   *
   * - `''` is before the oldest event that is kept; none is missed then.
   * - An id from before the oldest event: that one comes next, and `missed` says how many are gone, where that is known;
   *   0 where the id is the last before it.
   * - An id that is none of this log's, or is beyond its end: no records, `missed` null, and `next` is the log's end.
   * @param limit The most records that come at once, from 1; fewer may.
   * @throws {Error} (rejects) When it cannot be read now. */
  read(after: string, limit: number): Promise<LogPage>
  /** Follows the log from an id on: what stands after it, and then what is added, by anyone.
   *
   * Every page has records, or has missed some: as for `read`, where the log was cut or lost while it was followed.
   * It ends when the log is closed.
   * @param signal Ends it, also while it waits.
   * @throws {Error} (rejects) When it cannot go on. It may be followed anew, from the last `next`. */
  tail(after: string, signal: AbortSignal): AsyncIterable<LogPage>
  /** @throws {Error} (rejects) When it cannot be read now. */
  bounds(): Promise<LogBounds>
  /** Lets go of the log, after what was given to `append`. Ends every tail. A second call does nothing. */
  close(): Promise<void>
}
