/** IP addresses as numbers: RFC 4291 §2.2, written as RFC 5952 has it. */

/** An address. One of IPv4 that is mapped into IPv6 is one of IPv4. */
export interface IpAddress {
  readonly version: 4 | 6
  readonly value: bigint
}

/** How many bits an address has. */
export const bitsOf = { 4: 32, 6: 128 } as const

/** The address that a text is, or undefined where it is none: no zone, no brackets, no port. */
export function parseIp(text: string): IpAddress | undefined {
  if (!text.includes(':')) {
    const value = parseV4(text)
    return value === undefined ? undefined : { version: 4, value }
  }
  const value = parseV6(text)
  if (value === undefined) return undefined
  return value >> 32n === mapped
    ? { version: 4, value: value & 0xffffffffn }
    : { version: 6, value }
}

/** The one way to write an address: so that two of them can be compared as text. */
export function formatIp({ version, value }: IpAddress): string {
  if (version === 4) return groupsOf(value, 4, 8n).join('.')
  const hex = groupsOf(value, 8, 16n).map((group) => group.toString(16))
  // RFC 5952 §4.2: the longest run of zeros, the first of several, and never one alone.
  const runs = [...hex.join(':').matchAll(/(?<![^:])0(?::0(?![^:]))+/g)].map(([run]) => run)
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '')
  if (longest === '') return hex.join(':')
  const text = hex.join(':')
  const at = text.search(new RegExp(`(?<![^:])${longest}(?![^:])`))
  return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + longest.length).replace(/^:/, '')}`
}

/** ::ffff:0:0/96, RFC 4291 §2.5.5.2. */
const mapped = 0xffffn

function parseV4(text: string): bigint | undefined {
  // No leading zeros: some read them as octal.
  const octet = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
  const match = new RegExp(`^${octet}\\.${octet}\\.${octet}\\.${octet}$`).exec(text)
  if (match === null) return undefined
  return match.slice(1).reduce((value, part) => (value << 8n) | BigInt(part), 0n)
}

function parseV6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const parsed = halves.map((half, at) => parseGroups(half, at === halves.length - 1))
  const [head, tail = []] = parsed
  if (head === undefined || parsed.includes(undefined)) return undefined
  const missing = 8 - head.length - tail.length
  // `::` stands for at least one group.
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...tail]
  return groups.reduce((value, group) => (value << 16n) | group, 0n)
}

/** @param isLast Whether it may end as an address of IPv4 does. */
function parseGroups(text: string, isLast: boolean): bigint[] | undefined {
  if (text === '') return []
  const groups: bigint[] = []
  const parts = text.split(':')
  for (const [at, part] of parts.entries()) {
    const v4 = isLast && at === parts.length - 1 ? parseV4(part) : undefined
    if (v4 !== undefined) groups.push(v4 >> 16n, v4 & 0xffffn)
    else if (/^[\da-f]{1,4}$/i.test(part)) groups.push(BigInt(`0x${part}`))
    else return undefined
  }
  return groups
}

function groupsOf(value: bigint, count: number, bits: bigint): bigint[] {
  return Array.from({ length: count }, (_, at) => {
    return (value >> (bits * BigInt(count - 1 - at))) & ((1n << bits) - 1n)
  })
}
