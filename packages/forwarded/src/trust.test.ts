import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Listener } from '@wakerobin/core'

import { Trust } from './trust.ts'

const unix: Listener = { kind: 'unix', path: '/run/app.sock', isSecure: false }

function trusted(entries: readonly string[], peers: readonly (string | undefined)[]): unknown[] {
  const trust = new Trust(entries)
  return peers.filter((peerIp) => trust.hasPeer({ peerIp, listener: unix }))
}

test('an address, a range, and an address of IPv4 that is mapped into IPv6 are trusted', () => {
  const peers = ['10.0.0.1', '10.255.255.255', '11.0.0.0', '::ffff:10.1.2.3', 'fd00::1', '::a00:1']
  assert.deepEqual(trusted(['10.0.0.0/8'], peers), [
    '10.0.0.1',
    '10.255.255.255',
    '::ffff:10.1.2.3',
  ])
  assert.deepEqual(trusted(['10.0.0.1'], peers), ['10.0.0.1'])
  assert.deepEqual(trusted(['fd00::/8'], peers), ['fd00::1'])
  assert.deepEqual(trusted(['::ffff:10.0.0.0/104'], peers), [
    '10.0.0.1',
    '10.255.255.255',
    '::ffff:10.1.2.3',
  ])
  assert.deepEqual(trusted(['::ffff:10.0.0.1'], peers), ['10.0.0.1'])
  assert.deepEqual(trusted([], peers), [])
})

test('0.0.0.0/0 is all of IPv4, and ::/0 all of IPv6', () => {
  const peers = ['10.0.0.1', '203.0.113.7', '2001:db8::1', undefined]
  assert.deepEqual(trusted(['0.0.0.0/0'], peers), ['10.0.0.1', '203.0.113.7'])
  assert.deepEqual(trusted(['::/0'], peers), ['2001:db8::1'])
})

test('a name stands for its ranges', () => {
  const peers = [
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '10.1.1.1',
    '172.16.0.1',
    '172.31.255.255',
    '172.32.0.1',
    '192.168.1.1',
    'fd12::1',
    '169.254.1.1',
    'fe80::1%eth0',
    '203.0.113.7',
    undefined,
  ]
  assert.deepEqual(trusted(['loopback'], peers), peers.slice(0, 3))
  assert.deepEqual(trusted(['private'], peers), [
    '10.1.1.1',
    '172.16.0.1',
    '172.31.255.255',
    '192.168.1.1',
    'fd12::1',
  ])
  assert.deepEqual(trusted(['link-local'], peers), ['169.254.1.1', 'fe80::1%eth0'])
  assert.deepEqual(trusted(['unix'], peers), [undefined])
})

test('a peer without an address is trusted where `unix` is, and on a Unix socket only', () => {
  const tcp: Listener = { kind: 'tcp', host: '::', port: 80, isSecure: false }
  const trust = new Trust(['unix', 'loopback'])
  assert.equal(trust.hasPeer({ peerIp: undefined, listener: unix }), true)
  assert.equal(trust.hasPeer({ peerIp: undefined, listener: tcp }), false) // it is gone
  assert.equal(trust.hasPeer({ peerIp: undefined, listener: undefined }), false)
  const others = new Trust(['0.0.0.0/0', '::/0', 'loopback'])
  assert.equal(others.hasPeer({ peerIp: undefined, listener: unix }), false)
})

test('what is no address is not trusted', () => {
  assert.equal(
    new Trust(['0.0.0.0/0', '::/0']).hasPeer({ peerIp: 'somebody', listener: unix }),
    false,
  )
})

test('many peers are told apart as few are', () => {
  const trust = new Trust(['10.0.0.0/9'])
  const has = (peerIp: string): boolean => trust.hasPeer({ peerIp, listener: undefined })
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 1200; at++) {
      const third = Math.floor(at / 250)
      assert.equal(has(`10.0.${third}.${at % 250}`), true)
      assert.equal(has(`10.128.${third}.${at % 250}`), false)
    }
  }
})

test('an entry that is nothing to trust is refused, with what would be right', () => {
  const kinds =
    'an entry is an address, a range as 10.0.0.0/8 or fd00::/8, or loopback, private, link-local or unix'
  const cases: readonly [entries: unknown, message: string][] = [
    ['loopback', `Cannot trust "loopback": expected an array, as ['10.0.0.0/8', 'loopback']`],
    [undefined, `Cannot trust undefined: expected an array, as ['10.0.0.0/8', 'loopback']`],
    [[8], `Cannot trust 8: an entry is a string, as '10.0.0.0/8' or 'loopback'`],
    [['localhost'], `Cannot trust "localhost": ${kinds}`],
    [['toString'], `Cannot trust "toString": ${kinds}`],
    [['10.0.0'], `Cannot trust "10.0.0": ${kinds}`],
    [[''], `Cannot trust "": ${kinds}`],
    [['10.0.0.0/8/8'], `Cannot trust "10.0.0.0/8/8": ${kinds}`],
    [
      ['10.0.0.0/33'],
      'Cannot trust "10.0.0.0/33": the length of its prefix must be an integer from 0 to 32',
    ],
    [
      ['10.0.0.0/'],
      'Cannot trust "10.0.0.0/": the length of its prefix must be an integer from 0 to 32',
    ],
    [
      ['::/129'],
      'Cannot trust "::/129": the length of its prefix must be an integer from 0 to 128',
    ],
    [
      ['::ffff:10.0.0.0/8'],
      'Cannot trust "::ffff:10.0.0.0/8": the length of its prefix must be an integer from 96 to 128',
    ],
    [
      ['10.0.0.1/8'],
      'Cannot trust "10.0.0.1/8": that range begins at 10.0.0.0; write 10.0.0.0/8, or 10.0.0.1 for the one address',
    ],
    [
      ['fd00::1/8'],
      'Cannot trust "fd00::1/8": that range begins at fd00::; write fd00::/8, or fd00::1 for the one address',
    ],
  ]
  for (const [entries, message] of cases)
    assert.throws(() => new Trust(entries as readonly string[]), { message })
})
