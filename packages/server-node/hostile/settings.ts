/** How long the hostile suite goes on: by environment, so that the same tests are short in each run and long at night. */

/** A whole number from the environment.
 * @throws {RangeError} When it is something else, or out of bounds. */
export function setting(name: string, byDefault: number, least: number, most: number): number {
  const text = process.env[name]
  if (text === undefined) return byDefault
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (value >= least && value <= most) return value
  throw new RangeError(
    `Cannot run with ${name}=${JSON.stringify(text)}: it must be a whole number from ${least} to ${most}`,
  )
}

/** A seed of random bytes: that of the environment, or another each time. */
export function seedSetting(): number {
  const most = 2 ** 32 - 1
  return setting('WAKEROBIN_FUZZ_SEED', Math.floor(Math.random() * most), 0, most)
}
