/** The tests that every `EventLog` must pass, for whichever test runner. */

import { describe } from '@wakerobin/core/adapter'

import type { EventLog, LogEvent, LogPage, LogRecord } from './event-log.ts'

/** How to come by logs to test. */
export interface LogMaker {
  /** Opens a log that is empty, and no other's. Closed by the test. */
  open(): Promise<EventLog> | EventLog
  /** Opens the log that was opened last once more, after it was closed: what it has kept is to be there. Left out for logs
   * that end with their object. */
  reopen?(): Promise<EventLog> | EventLog
  /** Opens the log that was opened last once more, as another process would, while it is open. Left out for logs that
   * one process has for itself. */
  share?(): Promise<EventLog> | EventLog
  /** Opens a log that is empty and keeps about so many events, exactly or in pieces. Left out for logs without bounds. */
  openBounded?(events: number): Promise<EventLog> | EventLog
}

/** A test. */
export interface ConformanceTest {
  readonly name: string
  /** Rejects where the log does otherwise. */
  readonly run: () => Promise<void>
}

/** The tests of a log.
 *
 * ```ts
 * import { test } from 'node:test'
 * import { memoryLog } from '@wakerobin/sse'
 * import { eventLogConformance } from '@wakerobin/sse/testing'
 *
 * const make = { open: () => memoryLog(), openBounded: (maxEvents: number) => memoryLog({ maxEvents }) }
 * for (const { name, run } of eventLogConformance(make)) test(name, run)
 * ``` */
export function eventLogConformance(make: LogMaker): readonly ConformanceTest[] {
  const { reopen, share, openBounded } = make
  const tests: Record<string, Body> = { ...ofAll }
  if (reopen !== undefined) Object.assign(tests, bind(ofLasting, reopen.bind(make)))
  if (share !== undefined) Object.assign(tests, bind(ofShared, share.bind(make)))
  const list = toList(tests, () => make.open())
  if (openBounded === undefined) return list
  return [...list, ...toList(ofBounded, () => openBounded.call(make, bound))]
}

type Body = (log: EventLog) => Promise<void>
type Open = () => Promise<EventLog> | EventLog

function bind(
  bodies: Record<string, (log: EventLog, open: Open) => Promise<void>>,
  open: Open,
): Record<string, Body> {
  return Object.fromEntries(
    Object.entries(bodies).map(([name, body]) => [name, (log: EventLog) => body(log, open)]),
  )
}

function toList(bodies: Record<string, Body>, open: Open): ConformanceTest[] {
  return Object.entries(bodies).map(([name, body]) => ({
    name,
    run: async () => {
      const log = await open()
      try {
        await body(log)
      } finally {
        await log.close()
      }
    },
  }))
}

const ofAll: Record<string, Body> = {
  async 'an empty log has a place to begin from'(log) {
    const { first, last } = await log.bounds()
    equal('the first id', first, undefined)
    checkId(last)
    equal('a page of it', await log.read(last, 10), { records: [], missed: 0, next: last })
    equal('the records of all', (await log.read('', 10)).records, [])
  },

  async 'an event comes back as it was added'(log) {
    const { last: start } = await log.bounds()
    const events: LogEvent[] = [
      { text: 'data: hello\n\n' },
      { text: 'data: über 🌱 日本\n\n', topics: ['plants', 'an odd\n"topic"', ''], key: 'a\nkey' },
      { text: `data: ${'x'.repeat(100_000)}\n\n`, topics: ['long'] },
      { text: ': a note\n' },
      { text: 'data:\n\n', key: '' },
    ]
    const ids = await addAll(log, events)
    const { records, missed } = await readAll(log, start)
    equal('missed', missed, 0)
    equal('ids', records.map(({ id }) => id), ids) // prettier-ignore
    equal('events', records.map(plain), events.map(plain))
  },

  async 'every event has an id of its own, in the order in which they were added'(log) {
    const { last: start } = await log.bounds()
    const ids = await addAll(log, numbered(200))
    for (const id of ids) checkId(id)
    equal('how many ids', new Set(ids).size, 200)
    const { records } = await readAll(log, start)
    equal('the order', records.map(({ id }) => id), ids) // prettier-ignore
    equal('the events', records.map(plain), numbered(200).map(plain))
    const { first, last } = await log.bounds()
    equal('the bounds', [first, last], [ids[0], ids.at(-1)])
  },

  async 'a page has no more records than it may, and the next begins after it'(log) {
    const { last: start } = await log.bounds()
    const ids = await addAll(log, numbered(7))
    const read: string[] = []
    for (let at = start, pages = 0; read.length < 7; pages++) {
      const page = await log.read(at, 3)
      check(`A page has ${page.records.length} records`, page.records.length <= 3)
      check('A page is empty before the end of the log', page.records.length > 0 && pages < 7)
      equal('missed', page.missed, 0)
      read.push(...page.records.map(({ id }) => id))
      equal('next', page.next, read.at(-1))
      at = page.next
    }
    equal('ids', read, ids)
    const last = ids.at(-1)!
    equal('the page after the end', await log.read(last, 3), { records: [], missed: 0, next: last })
  },

  async 'reading goes on after any id'(log) {
    const ids = await addAll(log, numbered(20))
    for (const [index, id] of ids.entries()) {
      const { records, missed } = await readAll(log, id)
      equal(`missed after ${id}`, missed, 0)
      equal(`what is after ${id}`, records.map((record) => record.id), ids.slice(index + 1)) // prettier-ignore
    }
    const { records, missed } = await readAll(log, '')
    equal('missed from the beginning', missed, 0)
    equal('all', records.map(({ id }) => id), ids) // prettier-ignore
  },

  async 'an id that is not of this log is told, and leads to its end'(log) {
    const ids = await addAll(log, numbered(3))
    const strange = [
      'x',
      'null',
      '-1',
      '99999999999999-99999999',
      'a'.repeat(300),
      'ü',
      '1 2',
      '0x10',
      '%00',
      '.',
    ]
    for (const id of strange) {
      const page = await log.read(id, 10)
      equal(`the page after ${describe(id)}`, page, { records: [], missed: null, next: ids[2] })
    }
  },

  async 'a tail has what is there, and then what is added'(log) {
    const { last: start } = await log.bounds()
    const before = await addAll(log, numbered(5))
    await using tail = new Tail(log, start)
    await tail.has(5)
    const after = await addAll(log, numbered(300))
    await tail.has(305)
    equal('the ids', tail.ids, [...before, ...after])
    equal('missed', tail.missed, [])
  },

  async 'a tail that begins at the end has what is added from then on'(log) {
    await addAll(log, numbered(5))
    const { last } = await log.bounds()
    await using tail = new Tail(log, last)
    const after = await addAll(log, numbered(2))
    await tail.has(2)
    equal('the ids', tail.ids, after)
  },

  async 'tails do not disturb each other, and one may begin anew where it ended'(log) {
    const { last: start } = await log.bounds()
    await using first = new Tail(log, start)
    const ids = await addAll(log, numbered(10))
    await first.has(10)
    await first.end()
    ids.push(...(await addAll(log, numbered(10))))
    await using again = new Tail(log, first.next)
    await using second = new Tail(log, start)
    await second.has(20)
    await again.has(10)
    equal('the ids of the second', second.ids, ids)
    equal('the ids of the first, and again', [...first.ids, ...again.ids], ids)
  },

  async 'a tail ends when its signal aborts, though it waits'(log) {
    const { last } = await log.bounds()
    const tail = new Tail(log, last)
    await addAll(log, numbered(1))
    await tail.has(1)
    await tail.end()
  },

  async 'a tail whose signal has aborted has nothing'(log) {
    const { last: start } = await log.bounds()
    await addAll(log, numbered(1))
    for await (const page of log.tail(start, AbortSignal.abort()))
      throw new Error(`Expected no page, and there is ${JSON.stringify(page)}`)
  },

  async 'closing keeps what was given before, ends tails, and refuses what comes later'(log) {
    const { last } = await log.bounds()
    const tail = new Tail(log, last)
    const adding = numbered(50).map((event) => log.append(event))
    const closing = log.close()
    const ids = await Promise.all(adding)
    equal('how many ids', new Set(ids).size, 50)
    await closing
    await tail.over()
    await rejects('an append', log.append({ text: 'data: late\n\n' }))
    await rejects('a read', log.read(last, 1))
    await rejects('the bounds', log.bounds())
    await log.close()
  },
}

const ofLasting: Record<string, (log: EventLog, reopen: Open) => Promise<void>> = {
  async 'what was added is there when the log is opened again, and what is added then comes after it'(
    log,
    reopen,
  ) {
    const { last: start } = await log.bounds()
    const ids = await addAll(log, numbered(30))
    await log.close()
    const again = await reopen()
    try {
      equal('the bounds', await again.bounds(), { first: ids[0], last: ids.at(-1) })
      ids.push(...(await addAll(again, numbered(30))))
      equal('how many ids', new Set(ids).size, 60)
      const { records, missed } = await readAll(again, start)
      equal('missed', missed, 0)
      equal('the ids', records.map(({ id }) => id), ids) // prettier-ignore
      const middle = await readAll(again, ids[14]!)
      equal('the ids from the middle', middle.records.map(({ id }) => id), ids.slice(15)) // prettier-ignore
    } finally {
      await again.close()
    }
  },

  async 'an empty log is the same when it is opened again'(log, reopen) {
    const before = await log.bounds()
    await log.close()
    const again = await reopen()
    try {
      equal('the bounds', await again.bounds(), before)
    } finally {
      await again.close()
    }
  },
}

const ofShared: Record<string, (log: EventLog, share: Open) => Promise<void>> = {
  async 'what one process adds, another reads and follows, in one order for all'(log, share) {
    const { last: start } = await log.bounds()
    const other = await share()
    try {
      await using here = new Tail(log, start)
      await using there = new Tail(other, start)
      const [mine, theirs] = await Promise.all([
        addAll(log, numbered(100)),
        addAll(other, numbered(100)),
      ])
      await Promise.all([here.has(200), there.has(200)])
      equal('the order', here.ids, there.ids)
      equal('the ids', new Set(here.ids), new Set([...mine, ...theirs]))
      for (const ids of [mine, theirs])
        equal('the order of one', here.ids.filter((id) => ids.includes(id)), ids) // prettier-ignore
      equal('the bounds', await other.bounds(), await log.bounds())
    } finally {
      await other.close()
    }
  },
}

/** How many events a bounded log is to keep. */
const bound = 500

const ofBounded: Record<string, Body> = {
  async 'a log that is full lets the oldest go, and tells who has missed them'(log) {
    const { last: start } = await log.bounds()
    const ids: string[] = []
    let bounds = await log.bounds()
    while (bounds.first === undefined || bounds.first === ids[0]) {
      check('The log has no bound', ids.length < 100 * bound)
      ids.push(...(await addAll(log, numbered(bound))))
      bounds = await log.bounds()
    }
    const kept = ids.indexOf(bounds.first)
    check(`The first id is ${describe(bounds.first)}, which is none of the log's`, kept > 0)
    equal('the last id', bounds.last, ids.at(-1))

    const all = await readAll(log, '')
    equal('missed from the beginning', all.missed, 0)
    equal('what is kept', all.records.map(({ id }) => id), ids.slice(kept)) // prettier-ignore

    for (const [id, missed] of [
      [start, kept],
      [ids[0]!, kept - 1],
      [ids[kept - 2] ?? start, 1],
    ] as const) {
      const page = await readAll(log, id)
      check(
        `${describe(page.missed)} are said to be missed after ${id}, not ${missed} or null`,
        page.missed === missed || page.missed === null,
      )
      equal(`what is after ${id}`, page.records.map((record) => record.id), ids.slice(kept)) // prettier-ignore
    }
    const page = await readAll(log, ids[kept - 1]!)
    equal('missed after the last that is gone', page.missed, 0)
    equal('what comes after it', page.records.map(({ id }) => id), ids.slice(kept)) // prettier-ignore
  },

  async 'a tail that the bounds have overtaken is told, and goes on'(log) {
    const { last: start } = await log.bounds()
    const ids: string[] = []
    for (let { first } = await log.bounds(); first === undefined || first === ids[0];) {
      check('The log has no bound', ids.length < 100 * bound)
      ids.push(...(await addAll(log, numbered(bound))))
      first = (await log.bounds()).first
    }
    const { records } = await readAll(log, '')
    await using tail = new Tail(log, start)
    await tail.has(records.length)
    equal('how often it was told', tail.missed.length, 1)
    equal('the ids', tail.ids, records.map(({ id }) => id)) // prettier-ignore
  },
}

// ----------------------------------------------------------------------------------------- help

function numbered(count: number): LogEvent[] {
  return Array.from({ length: count }, (_, index) => ({ text: `data: ${index}\n\n` }))
}

function addAll(log: EventLog, events: readonly LogEvent[]): Promise<string[]> {
  return Promise.all(events.map((event) => log.append(event)))
}

async function readAll(
  log: EventLog,
  after: string,
): Promise<{ records: LogRecord[]; missed: number | null }> {
  const records: LogRecord[] = []
  let missed: number | null = 0
  for (let at = after; ;) {
    const page = await log.read(at, 100)
    if (page.missed !== 0) {
      check('Some are missed in the middle of what is read', missed === 0 && records.length === 0)
      missed = page.missed
    }
    records.push(...page.records)
    if (page.records.length === 0) return { records, missed }
    at = page.next
  }
}

/** What must come back of an event: what is undefined may be left out. */
function plain({ text, topics, key }: LogEvent): object {
  return {
    text,
    ...(topics === undefined ? {} : { topics: [...topics] }),
    ...(key === undefined ? {} : { key }),
  }
}

/** A tail that is read all the time. */
class Tail implements AsyncDisposable {
  readonly ids: string[] = []
  readonly missed: (number | null)[] = []
  next: string
  readonly #ending = new AbortController()
  readonly #over: Promise<void>
  #isOver = false
  #onMore: (() => void) | undefined

  constructor(log: EventLog, after: string) {
    this.next = after
    this.#over = this.#read(log.tail(after, this.#ending.signal)).finally(() => {
      this.#isOver = true
      this.#onMore?.()
    })
    this.#over.catch(() => {})
  }

  async #read(pages: AsyncIterable<LogPage>): Promise<void> {
    for await (const { records, missed, next } of pages) {
      check('A page of a tail has nothing', records.length > 0 || missed !== 0)
      if (missed !== 0) this.missed.push(missed)
      this.ids.push(...records.map(({ id }) => id))
      this.next = next
      this.#onMore?.()
    }
  }

  /** Resolves when it has so many records. */
  async has(count: number): Promise<void> {
    while (this.ids.length < count) {
      if (this.#isOver) await this.#over // it may say why
      check(`A tail has ended with ${this.ids.length} of ${count} records`, !this.#isOver)
      const more = new Promise<void>((resolve) => (this.#onMore = resolve))
      await inTime(more, `A tail has ${this.ids.length} of ${count} records, and gets no more`)
    }
    equal('how many records a tail has', this.ids.length, count)
  }

  /** Ends it by its signal. */
  async end(): Promise<void> {
    this.#ending.abort()
    await this.over()
  }

  /** Resolves when it is over. */
  over(): Promise<void> {
    return inTime(this.#over, 'A tail does not end')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    await this.#over.catch(() => {})
  }
}

function inTime(promise: Promise<void>, late: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(late)), patienceMs)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** How long a test waits for what has to come, in milliseconds. */
const patienceMs = 20_000

function check(wrong: string, isRight: boolean): asserts isRight {
  if (!isRight) throw new Error(wrong)
}

function equal(what: string, actual: unknown, expected: unknown): void {
  const [got, wanted] = [actual, expected].map((value) =>
    JSON.stringify(value instanceof Set ? [...value].toSorted() : (value ?? null)),
  )
  check(`Expected ${what} to be ${cut(wanted!)}, not ${cut(got!)}`, got === wanted)
}

function cut(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}...` : text
}

function checkId(id: unknown): void {
  check(
    `Expected an id of visible ASCII, not ${describe(id)}`,
    typeof id === 'string' && /^[\x21-\x7e]{1,256}$/.test(id),
  )
}

async function rejects(what: string, promise: Promise<unknown>): Promise<void> {
  const isRejected = await promise.then(
    () => false,
    () => true,
  )
  check(`Expected ${what} of a closed log to reject`, isRejected)
}
