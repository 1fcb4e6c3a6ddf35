/** How often the scenarios repeat that count what is lost.
 * @returns WAKEROBIN_ROUNDS, or 1; CI says 2, `npm run scenarios` 20.
 * @throws {RangeError} When WAKEROBIN_ROUNDS is no integer from 1. */
export function rounds(): number {
  const text = process.env['WAKEROBIN_ROUNDS'] ?? '1'
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text)
  throw new RangeError(
    `Cannot run WAKEROBIN_ROUNDS ${JSON.stringify(text)} rounds: it must be an integer from 1`,
  )
}
