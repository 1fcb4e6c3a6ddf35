/** Checks the names in an object of options: a misspelt one would change nothing, and say nothing. The compiler sees it
 * in a literal alone. */

import { listed } from './listed.ts'

/** @param action What the message begins with, to the name: `Cannot serve with limits.`.
 * @param names Those that there are.
 * @throws {TypeError} When another is among them, unless its value is undefined. */
export function checkNames(action: string, options: object, names: readonly string[]): void {
  const wrong = unknownName(options, names)
  if (wrong === undefined) return
  const those = `${names.length === 1 ? 'is' : 'are'} ${listed(names, 'and')}`
  throw new TypeError(`${action}${wrong}: there is no such option; there ${those}`)
}

/** The first name with a value that is none of those that there are; undefined where there is none. */
export function unknownName(options: object, names: readonly string[]): string | undefined {
  return Object.keys(options).find(
    (name) => !names.includes(name) && (options as Record<string, unknown>)[name] !== undefined,
  )
}
