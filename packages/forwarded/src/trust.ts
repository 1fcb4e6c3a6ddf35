/** Whom to believe: addresses, ranges of them, and names of ranges. */

import type { Conn } from '@wakerobin/core'
import { describe } from '@wakerobin/core/adapter'

import { bitsOf, formatIp, parseIp } from './ip-address.ts'
import type { IpAddress } from './ip-address.ts'

interface Range {
  readonly version: 4 | 6
  /** What the addresses of the range have in common, moved to the right. */
  readonly prefix: bigint
  readonly shift: bigint
}

/** Ranges that have a name: RFC 1122 §3.2.1.3, RFC 1918, RFC 4193, RFC 3927, RFC 4291 §2.5. */
const named: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
  'link-local': ['169.254.0.0/16', 'fe80::/10'],
}

/** Peers that are believed. */
export class Trust {
  readonly #ranges: readonly Range[]
  readonly #hasUnix: boolean
  /** What was found of the addresses that have connected: there are few proxies, and many requests. */
  readonly #known = new Map<string, boolean>()

  /** @throws {TypeError | RangeError} When an entry is nothing that can be trusted. */
  constructor(entries: readonly string[]) {
    if (!Array.isArray(entries)) {
      throw new TypeError(
        `Cannot trust ${describe(entries)}: expected an array, as ['10.0.0.0/8', 'loopback']`,
      )
    }
    this.#hasUnix = entries.includes('unix')
    this.#ranges = entries.filter((entry) => entry !== 'unix').flatMap(rangesOf)
  }

  /** Whether the peer of a conn is believed. */
  hasPeer({ peerIp, listener }: Pick<Conn, 'peerIp' | 'listener'>): boolean {
    // A connection that is gone, or whose server tells none, has no address either.
    if (peerIp === undefined) return this.#hasUnix && listener?.kind === 'unix'
    const known = this.#known.get(peerIp)
    if (known !== undefined) return known
    const address = parseIp(peerIp.replace(/%.*$/, '')) // without the zone of a link-local one
    const isTrusted = address !== undefined && this.has(address)
    if (this.#known.size === 1000) this.#known.clear()
    this.#known.set(peerIp, isTrusted)
    return isTrusted
  }

  has({ version, value }: IpAddress): boolean {
    return this.#ranges.some(
      (range) => range.version === version && value >> range.shift === range.prefix,
    )
  }
}

function rangesOf(entry: unknown): Range[] {
  if (typeof entry !== 'string') {
    throw new TypeError(
      `Cannot trust ${describe(entry)}: an entry is a string, as '10.0.0.0/8' or 'loopback'`,
    )
  }
  const names = Object.hasOwn(named, entry) ? named[entry]! : [entry]
  return names.map(rangeOf)
}

function rangeOf(entry: string): Range {
  const [text = '', length, ...more] = entry.split('/')
  const address = parseIp(text)
  if (address === undefined || more.length > 0) {
    throw new RangeError(
      `Cannot trust ${describe(entry)}: an entry is an address, a range as 10.0.0.0/8 or fd00::/8, or loopback, private, link-local or unix`,
    )
  }
  // Of an address of IPv4 that is mapped into IPv6, the first 96 bits are none of its own.
  const isMapped = address.version === 4 && text.includes(':')
  const most = isMapped ? 128 : bitsOf[address.version]
  const least = isMapped ? 96 : 0
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : NaN
  if (!(bits >= least && bits <= most)) {
    throw new RangeError(
      `Cannot trust ${describe(entry)}: the length of its prefix must be an integer from ${least} to ${most}`,
    )
  }
  const shift = BigInt(most - bits)
  const prefix = address.value >> shift
  if (prefix << shift !== address.value) {
    const first = formatIp({ version: address.version, value: prefix << shift })
    throw new RangeError(
      `Cannot trust ${describe(entry)}: that range begins at ${first}; write ${first}/${bits - least}, or ${formatIp(address)} for the one address`,
    )
  }
  return { version: address.version, prefix, shift }
}
