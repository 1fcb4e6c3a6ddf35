/** A value for an error message: short, on one line. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function')
    return value.name === '' ? 'a function' : `the function ${value.name}`
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (typeof value !== 'object') return String(value)
  const proto: unknown = Object.getPrototypeOf(value)
  if (proto === null || proto === Object.prototype) return 'a plain object'
  const name: unknown = (value.constructor as { name?: unknown } | undefined)?.name
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object'
}
