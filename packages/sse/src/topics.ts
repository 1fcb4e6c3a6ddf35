/** What a subscriber gets to see. */

import { describe } from '@wakerobin/core/adapter'

import type { Entry } from './history.ts'

/** Which events a subscriber gets: those of some topics, those it may have, or both. */
export class Filter {
  /** Undefined: of all topics. */
  readonly topics: readonly string[] | undefined
  /** The same for all filters that let the same through; undefined where another one cannot. */
  readonly key: string | undefined
  readonly #topics: ReadonlySet<string> | undefined
  readonly #allow: ((topic: string) => boolean) | undefined

  constructor(
    topics: readonly string[] | undefined,
    allow: ((topic: string) => boolean) | undefined,
  ) {
    this.topics = topics
    this.#topics = topics && new Set(topics)
    this.#allow = allow
    this.key = allow === undefined ? JSON.stringify(topics?.toSorted()) : undefined
  }

  /** Whether an event is among them. Asks `allow` anew each time: what it says may change. */
  has({ topics }: Entry): boolean {
    if (topics === undefined) return true
    return topics.some(
      // Nothing but true lets it through: a lookup that finds nothing does not.
      (topic) =>
        this.#topics?.has(topic) !== false &&
        (this.#allow === undefined || this.#allow(topic) === true),
    )
  }
}

/** Returns the topics of an event or a subscriber, each once.
 * @throws {TypeError} When one is no string, or there are too few. */
export function checkTopics(what: string, topics: unknown, least = 0): readonly string[] {
  const list: readonly unknown[] = Array.isArray(topics) ? topics : [topics]
  const wrong = list.find((topic) => typeof topic !== 'string')
  if (wrong !== undefined || list.includes(undefined))
    throw new TypeError(`Cannot ${what} the topic ${describe(wrong)}: it must be a string`)
  if (list.length < least)
    throw new TypeError(`Cannot ${what} no topic: leave the option out for everyone`)
  return [...new Set(list as string[])]
}
