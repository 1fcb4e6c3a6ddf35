/** Checks objects of options. */

import { describe } from '@wakerobin/core/adapter'

/** @param option What they are called, as `limits`.
 * @throws {TypeError} When they are no object. */
export function checkObject(option: string, options: object): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return
  throw new TypeError(
    `Cannot serve with ${option} ${describe(options)}: it must be an object of options`,
  )
}
