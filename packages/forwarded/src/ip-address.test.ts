import assert from 'node:assert/strict'
import { BlockList, isIP } from 'node:net'
import { test } from 'node:test'

import { formatIp, parseIp } from './ip-address.ts'

test('an address is written in one way only: RFC 5952', () => {
  const cases: Readonly<Record<string, string>> = {
    '192.0.2.1': '192.0.2.1',
    '0.0.0.0': '0.0.0.0',
    '255.255.255.255': '255.255.255.255',
    '2001:DB8:0:0:0:0:0:1': '2001:db8::1',
    '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1',
    '2001:0:0:1:0:0:0:1': '2001:0:0:1::1',
    '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1',
    '0:0:0:0:0:0:0:0': '::',
    '0:0:0:0:0:0:0:1': '::1',
    '1:0:0:0:0:0:0:0': '1::',
    '10:0:0:20:0:0:0:30': '10:0:0:20::30',
    '64:ff9b::192.0.2.33': '64:ff9b::c000:221',
    '::ffff:192.0.2.1': '192.0.2.1',
    '::ffff:c000:201': '192.0.2.1',
  }
  for (const [text, written] of Object.entries(cases)) {
    const address = parseIp(text)
    assert.ok(address !== undefined, text)
    assert.equal(formatIp(address), written)
    assert.deepEqual(parseIp(written), address)
  }
})

test('what node:net takes for an address is one, and nothing else is', () => {
  const cases = `1.2.3.4 1.2.3 1.2.3.4.5 256.1.1.1 01.2.3.4 1.2.3.04 0x1.2.3.4 1 :: ::1 1:: : ::: 1:::2 1::2::3 1:2:3:4:5:6:7:8
    1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1:2:3:4::5:6:7:8 :1::2 1::2: g::1 12345::1 ::1.2.3.4 1.2.3.4::
    1::1.2.3.4:5 1:2:3:4:5:6:1.2.3.4 1:2:3:4:5:6:7:1.2.3.4 ::1.2.3.256 [::1] 1.2.3.4:80 1.2.3.4/8 ::%eth0 localhost`
  for (const text of ['', ...cases.split(/\s+/)]) {
    const isOne = isIP(text) !== 0 && !text.includes('%')
    assert.equal(parseIp(text) !== undefined, isOne, JSON.stringify(text))
  }
})

test('random addresses come back as they went, and node:net sees the same ones', () => {
  let seed = 20261130
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return Math.floor((seed / 2 ** 31) * below)
  }
  for (let round = 0; round < 500; round++) {
    const groups = Array.from({ length: 8 }, () => (random(2) === 0 ? 0 : random(65_536)))
    const text = groups.map((group) => group.toString(16)).join(':')
    const address = parseIp(text)!
    const written = formatIp(address)
    assert.deepEqual(parseIp(written), address, text)
    const list = new BlockList()
    list.addAddress(text, 'ipv6')
    assert.equal(list.check(written, address.version === 6 ? 'ipv6' : 'ipv4'), true, text)
  }
})
