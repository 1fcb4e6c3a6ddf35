/** Checks objects of options: a misspelt one would change nothing, and say nothing. */

import { describe } from '@wakerobin/core/adapter'

/** @param option What they are called, as `limits`.
 * @throws {TypeError} When they are no object. */
export function checkObject(option: string, options: object): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return
  throw new TypeError(
    `Cannot serve with ${option} ${describe(options)}: it must be an object of options`,
  )
}

/** @param names Those that there are.
 * @throws {TypeError} When another is among them. */
export function checkNames(option: string, options: object, names: readonly string[]): void {
  const wrong = unknownName(options, names)
  if (wrong === undefined) return
  throw new TypeError(
    `Cannot serve with ${option}.${wrong}: there is no such option; there are ${names.join(', ')}`,
  )
}

/** The first name with a value that is none of those that there are; undefined where there is none. */
export function unknownName(options: object, names: readonly string[]): string | undefined {
  return Object.entries(options).find(
    ([name, value]) => value !== undefined && !names.includes(name),
  )?.[0]
}
