/** Work that outlives its connection: begun by one request, read by as many as come, in whichever process. */

import type { Conn, Halted } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import type { EventLog, LogRecord } from './event-log.ts'
import { lastEventId } from './last-event-id.ts'
import { OpenRun } from './open-run.ts'
import type { RunWork } from './open-run.ts'
import { checkOptions } from './options.ts'
import { Run } from './run.ts'
import { beginningOf, startSign } from './run-log.ts'
import { attachNames, checkRunsOptions, checkStart } from './runs-options.ts'
import type {
  AttachOptions,
  CheckedRunsOptions,
  RunsOptions,
  StartOptions,
} from './runs-options.ts'
import { openStream, refuseStream } from './with-sse-stream.ts'

/** There is a run of this id, or was, and it is kept. */
export class RunExistsError extends Error {
  override readonly name = 'RunExistsError'
  readonly id: string

  constructor(id: string) {
    super(`Cannot start the run ${describe(id)}: there is one of this id; attach to it`)
    this.id = id
  }
}

/** Work that goes on when the client that has asked for it is gone, such as the answer of a model.
 *
 * ```ts
 * import type { Handler } from '@wakerobin/core'
 * import { Runs } from '@wakerobin/sse'
 *
 * const runs = new Runs()
 * async function* count(signal: AbortSignal) {
 *   for (let number = 1; number <= 3 && !signal.aborted; number++) yield String(number)
 * }
 * const app: Handler = async (conn) => {
 *   if (conn.method === 'GET') return runs.attach(conn, '7')
 *   if (conn.method === 'DELETE') return conn.json({ stopped: await runs.stop('7') })
 *   return conn.withSseStream(await runs.start('7', count, { swansong: conn.swansong }))
 * }
 * ```
 *
 * Each run has a log of its own, which has its events and how it has ended. A client that comes back gets from there what it
 * has missed, then what is new; where other processes can open the log, also from those. */
export class Runs {
  readonly #options: CheckedRunsOptions
  readonly #runs = new Map<string, OpenRun>()
  /** What is being opened or closed, by the id: one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #isClosed = false

  /** @throws {TypeError | RangeError} When an option cannot be used. */
  constructor(options: RunsOptions = {}) {
    this.#options = checkRunsOptions(options)
  }

  /** Begins work in this process, as soon as the log has the beginning.
   *
   * Of several that start the same id at once, in whichever processes, one does.
   * @param id New for each run, and hard to guess where not everybody may read it.
   * @returns The run: `conn.withSseStream(run)` shows it to whoever has asked for it.
   * @throws {RunExistsError} (rejects) When there is one of this id: going on, or over and kept.
   * @throws {TypeError} (rejects) When the id is no text, the work no function, an option cannot be used, or the runs are
   * closed.
   * @throws {Error} (rejects) What the log fails with. The id may be taken then. */
  async start(id: string, work: RunWork, options: StartOptions = {}): Promise<Run> {
    this.#check('start', id)
    if (typeof work !== 'function')
      throw new TypeError(
        `Cannot start the run ${describe(id)} with ${describe(work)}: expected a function that is given a signal`,
      )
    const checked = checkStart(options)
    return this.#inTurn(id, async () => {
      if (this.#runs.has(id)) throw new RunExistsError(id)
      return this.#open(id, async (log) => {
        if ((await firstOf(log)) !== undefined) throw new RunExistsError(id)
        const beginning = await log.append(startSign)
        // Others may have added theirs in between: the first in the log is the one.
        if ((await firstOf(log))?.id !== beginning) throw new RunExistsError(id)
        const run = this.#hold(id, log, beginning)
        run.begin(work, checked)
        return new Run(run)
      })
    })
  }

  /** Finds a run, whichever process does its work.
   * @returns Undefined where there is none of this id, or it is not kept any more.
   * @throws {TypeError} (rejects) When the id is no text, or the runs are closed.
   * @throws {Error} (rejects) What the log fails with. */
  async get(id: string): Promise<Run | undefined> {
    const run = await this.#find('get', id)
    if (run === undefined) return undefined
    await run.look()
    return new Run(run)
  }

  /** Answers with the events of a run: from the beginning, or after what the client has got, as it says in
   * `Last-Event-ID`.
   *
   * Where it has got them all and the run is over, the answer is 204, after which an EventSource stays away; where there is
   * no such run, 404. Where the log cannot be read now, the client is told to come back.
   * @throws {TypeError | RangeError} (rejects) When an option cannot be used: see `SseOptions`. As for `get`. */
  async attach(conn: Conn, id: string, options: AttachOptions = {}): Promise<Halted> {
    const checked = checkOptions(options, attachNames)
    const after = options.lastEventId ?? lastEventId(conn)
    this.#check('attach to', id)
    let run: OpenRun | undefined
    try {
      run = await this.#find('attach to', id)
      if (run === undefined) return conn.withStatus(404).withBody('').halt()
      if (after && (await run.isRead(after))) return conn.sseDone()
    } catch (error) {
      this.#options.onError(error, id)
      return refuseStream(conn, { retryMs: [1_000, 5_000] })
    }
    return openStream(conn, run.subscribe({ lastEventId: after }), checked)
  }

  /** Ends a run, whichever process does its work: its signal aborts, and nothing that it makes after that is kept.
   * @returns False where there is none of this id, or it is over.
   * @throws {Error} (rejects) As for `get`. */
  async stop(id: string): Promise<boolean> {
    const run = await this.#find('stop', id)
    return run === undefined ? false : run.stop()
  }

  /** How many runs this process has open: those that it works at, keeps or reads. */
  get size(): number {
    return this.#runs.size
  }

  /** Ends all work of this process for `shutdown`, and every stream, and closes the logs. Nothing is removed: what has ended is
   * there for other processes. A second call does nothing. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#turns.values())
    await Promise.all(Array.from(this.#runs.values(), (run) => run.close()))
    await Promise.allSettled(this.#turns.values())
  }

  async #find(action: string, id: string): Promise<OpenRun | undefined> {
    this.#check(action, id)
    const known = this.#runs.get(id)
    if (known !== undefined) return known
    return this.#inTurn(id, async () => {
      const opened = this.#runs.get(id)
      if (opened !== undefined) return opened
      return this.#open(id, async (log) => {
        const first = await firstOf(log)
        if (first !== undefined) return this.#hold(id, log, beginningOf(first))
        await log.close()
        return undefined
      })
    })
  }

  /** Opens a log for as long as nothing fails. */
  async #open<T>(id: string, use: (log: EventLog) => Promise<T>): Promise<T> {
    const log = await this.#options.open(id)
    try {
      return await use(log)
    } catch (error) {
      await log.close().catch(() => {}) // it has failed before
      throw error
    }
  }

  #hold(id: string, log: EventLog, beginning: string): OpenRun {
    this.#check('open', id) // it may be closed since
    const run = new OpenRun(id, log, beginning, this.#options, () => {
      this.#runs.delete(id)
      void this.#inTurn(id, () => run.closeLog())
    })
    this.#runs.set(id, run)
    return run
  }

  /** Does work when that which was given before for the same id is done. */
  #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id)
    const turn = before === undefined ? work() : before.then(work, work)
    this.#turns.set(id, turn)
    const over = (): void => {
      if (this.#turns.get(id) === turn) this.#turns.delete(id)
    }
    turn.then(over, over)
    return turn
  }

  #check(action: string, id: unknown): void {
    if (typeof id !== 'string' || id === '')
      throw new TypeError(
        `Cannot ${action} the run ${describe(id)}: its id must be a string that is not empty`,
      )
    if (this.#isClosed)
      throw new TypeError(`Cannot ${action} the run ${describe(id)}: the runs are closed`)
  }
}

async function firstOf(log: EventLog): Promise<LogRecord | undefined> {
  const { records } = await log.read('', 1)
  return records[0]
}
