/** What delays a stop, for people: guards by what they are and where they were taken. */

import type { GuardRecord } from './guard.ts'

/** Guards of one label, taken at one place of one swansong. */
export interface GuardEntry {
  /** What the work is, as given to `guard(label)`. */
  readonly label: string | undefined
  /** Where they were taken, as `file:line:column`. */
  readonly site: string | undefined
  /** The names of the swansong and of those above it, with `/` between them. */
  readonly path: string
  readonly count: number
  /** The age of the oldest, in milliseconds. */
  readonly oldestMs: number
}

/** The guards that are held, the oldest first. */
export class GuardReport implements Iterable<GuardEntry> {
  readonly entries: readonly GuardEntry[]

  constructor(held: readonly { readonly record: GuardRecord; readonly path: string }[]) {
    const now = performance.now()
    const groups = new Map<string, GuardEntry>()
    for (const { record, path } of held) {
      const { label, site } = record
      const key = JSON.stringify([path, label, site])
      const { count, oldestMs } = groups.get(key) ?? { count: 0, oldestMs: 0 }
      groups.set(key, {
        label,
        site,
        path,
        count: count + 1,
        oldestMs: Math.max(oldestMs, now - record.since),
      })
    }
    this.entries = [...groups.values()].sort(
      (a, b) => b.oldestMs - a.oldestMs || (a.site ?? '').localeCompare(b.site ?? '', 'en'),
    )
  }

  /** How many guards are held. */
  get total(): number {
    return this.entries.reduce((total, { count }) => total + count, 0)
  }

  get isEmpty(): boolean {
    return this.entries.length === 0
  }

  [Symbol.iterator](): Iterator<GuardEntry> {
    return this.entries[Symbol.iterator]()
  }

  /** A line for people and one for each entry, as `2 × GET /export app.ts:12:20 (oldest 9.8s)`. */
  toString(): string {
    const { total } = this
    if (total === 0) return 'no outstanding guards'
    const title = `${total} outstanding guard${total === 1 ? '' : 's'}:`
    return [title, ...this.entries.map(GuardReport.lineOf)].join('\n')
  }

  /** An entry as a line. */
  static lineOf(entry: GuardEntry): string {
    const { count, path, label, site, oldestMs } = entry
    const what = [path === '' ? undefined : `${path}:`, label, site].filter(Boolean).join(' ')
    return `${count} × ${what === '' ? 'a guard' : what} (oldest ${age(oldestMs)})`
  }
}

/** With one decimal, in the largest unit that leaves something before it. */
function age(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)}s` : `${ms.toFixed(1)}ms`
}
