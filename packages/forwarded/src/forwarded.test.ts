import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runInNewContext } from 'node:vm'

import { HeaderMap, type Conn } from '@wakerobin/core'
import { testApp, type TestRequest } from '@wakerobin/core/testing'

import { forwarded, type ForwardedOptions } from './forwarded.ts'
import { forwardedHops } from './hops.ts'

const proxies: ForwardedOptions = { trust: ['10.0.0.0/8'] }

type Headers = readonly (readonly [name: string, value: string])[]

/** What a conn says of its client, or the status where the request was refused. */
async function seen(
  headers: Headers,
  options: ForwardedOptions = proxies,
  request: TestRequest = {},
): Promise<unknown> {
  const app = testApp([
    forwarded(options),
    (conn) => conn.json([conn.peerIp ?? null, conn.isSecure, conn.host ?? null]),
  ])
  const response = await app.get('/', {
    peerIp: '10.0.0.1',
    ...request,
    headers: [['Host', 'inner'], ...headers],
  })
  assert.deepEqual(app.errors, [])
  if (response.status !== 200) {
    assert.equal(response.body, '')
    return response.status
  }
  return response.json()
}

const forwardedOf = (...lines: string[]): Headers => lines.map((line) => ['Forwarded', line])
const xForwardedFor = (...lines: string[]): Headers =>
  lines.map((line) => ['X-Forwarded-For', line])

test('a conn behind a trusted proxy has the address, the protocol and the host of the client', async () => {
  const line = 'for=203.0.113.7;proto=https;host=example.com;by=10.0.0.1'
  assert.deepEqual(await seen(forwardedOf(line)), ['203.0.113.7', true, 'example.com'])
  const headers: Headers = [
    ['X-Forwarded-For', '203.0.113.7'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', 'example.com'],
  ]
  assert.deepEqual(await seen(headers), ['203.0.113.7', true, 'example.com'])
})

test('from a peer that is not trusted the headers mean nothing, however they look', async () => {
  for (const line of ['for=203.0.113.7;proto=https;host=example.com', '"broken', ';;=', 'for=x']) {
    const headers = [...forwardedOf(line), ...xForwardedFor('203.0.113.7', '!')]
    const got = await seen(headers, proxies, { peerIp: '198.51.100.1' })
    assert.deepEqual(got, ['198.51.100.1', false, 'inner'])
  }
})

test('without such a header, what the connection says stays', async () => {
  assert.deepEqual(await seen([]), ['10.0.0.1', false, 'inner'])
  assert.deepEqual(await seen([], proxies, { isSecure: true }), ['10.0.0.1', true, 'inner'])
  const empty: Headers = [...forwardedOf('', ' , '), ...xForwardedFor('', ', ,')]
  assert.deepEqual(await seen(empty), ['10.0.0.1', false, 'inner'])
})

test('the right-most address that is not trusted is the client, whatever it has written before', async () => {
  const spoofed = '127.0.0.1, 10.0.0.9, 203.0.113.7'
  assert.deepEqual(await seen(xForwardedFor(spoofed)), ['203.0.113.7', false, 'inner'])
  const two = `${spoofed}, 10.0.0.2`
  assert.deepEqual(await seen(xForwardedFor(two)), ['203.0.113.7', false, 'inner'])
  assert.deepEqual(await seen(xForwardedFor('10.0.0.9, 203.0.113.7, 10.1.1.1, 10.0.0.2')), [
    '203.0.113.7',
    false,
    'inner',
  ])
  const line = 'for=127.0.0.1;proto=https;host=evil.test, for=203.0.113.7;proto=http, for=10.0.0.2'
  assert.deepEqual(await seen(forwardedOf(line)), ['203.0.113.7', false, 'inner'])
})

test('where all addresses are trusted, the client is the left-most', async () => {
  assert.deepEqual(await seen(xForwardedFor('10.0.0.5, 10.0.0.4')), ['10.0.0.5', false, 'inner'])
})

test('the proxy that has talked to the client knows protocol and host; where it says none, the one behind it', async () => {
  const outer = 'for=203.0.113.7;proto=https;host=example.com'
  assert.deepEqual(await seen(forwardedOf(`${outer}, for=10.0.0.2;proto=http;host=inner2`)), [
    '203.0.113.7',
    true,
    'example.com',
  ])
  assert.deepEqual(
    await seen(forwardedOf('for=203.0.113.7, for=10.0.0.2;proto=https;host=a.test')),
    ['203.0.113.7', true, 'a.test'],
  )
  const lists: Headers = [
    ['X-Forwarded-For', '9.9.9.9, 203.0.113.7, 10.0.0.2'],
    ['X-Forwarded-Proto', 'http, https, http'],
    ['X-Forwarded-Host', 'evil.test, example.com, inner2'],
  ]
  assert.deepEqual(await seen(lists), ['203.0.113.7', true, 'example.com'])
  const single: Headers = [
    ...xForwardedFor('203.0.113.7, 10.0.0.2'),
    ['X-Forwarded-Proto', 'https'],
  ]
  assert.deepEqual(await seen(single), ['203.0.113.7', true, 'inner'])
})

test("a list that is not as long as that of the addresses counts with its last value, which is our proxy's", async () => {
  const seenWith = (addresses: string, name: string, value: string) =>
    seen([...xForwardedFor(addresses), [name, value]])
  // The proxy in front adds to them, the one behind it does not: what stands to the left is the client's.
  for (const addresses of ['203.0.113.7', '9.9.9.9, 203.0.113.7, 10.0.0.2']) {
    const host = await seenWith(addresses, 'X-Forwarded-Host', 'evil.test, example.com')
    assert.deepEqual(host, ['203.0.113.7', false, 'example.com'])
    const proto = await seenWith(addresses, 'X-Forwarded-Proto', 'https, http')
    assert.deepEqual(proto, ['203.0.113.7', false, 'inner'])
    const port = await seenWith(addresses, 'X-Forwarded-Port', '1, 8080')
    assert.deepEqual(port, ['203.0.113.7', false, 'inner:8080'])
  }
})

test('a line takes time by its length, however it is broken', () => {
  const blanks = ' \t'.repeat(500_000)
  for (const line of [`for=1.2.3.4,${blanks}x`, `for=a${blanks}x`, `for="${blanks}`]) {
    const read = (): unknown => forwardedHops(HeaderMap.fromRawHeaders(['Forwarded', line]))
    // By its square, it would be minutes: the timeout is only the end of a failure.
    const call = (): unknown => runInNewContext('read()', { read }, { timeout: 8_000 })
    assert.throws(call, { name: 'SyntaxError' })
  }
})

test('several header lines count as one, in their order', async () => {
  assert.deepEqual(await seen(xForwardedFor('9.9.9.9', '203.0.113.7,10.0.0.3', '10.0.0.2')), [
    '203.0.113.7',
    false,
    'inner',
  ])
  const lines = forwardedOf('for=9.9.9.9', 'for=203.0.113.7;proto=https', 'for=10.0.0.2')
  assert.deepEqual(await seen(lines), ['203.0.113.7', true, 'inner'])
})

test('ports, brackets and quotes are taken off, and an address is written in one way', async () => {
  const nodes: Readonly<Record<string, string>> = {
    '"203.0.113.7:4711"': '203.0.113.7',
    '"203.0.113.7:_port"': '203.0.113.7',
    '"[2001:DB8:0::17]"': '2001:db8::17',
    '"[2001:db8::17]:4711"': '2001:db8::17',
    '"[::ffff:203.0.113.7]"': '203.0.113.7',
    '"203.0.113.\\7"': '203.0.113.7',
  }
  for (const [node, ip] of Object.entries(nodes))
    assert.deepEqual(await seen(forwardedOf(`FOR=${node}`)), [ip, false, 'inner'], node)
  const items: Readonly<Record<string, string>> = {
    '203.0.113.7:4711': '203.0.113.7',
    '2001:DB8::17': '2001:db8::17',
    '[2001:db8::17]': '2001:db8::17',
    '[2001:db8::17]:4711': '2001:db8::17',
    '::ffff:203.0.113.7': '203.0.113.7',
  }
  for (const [item, ip] of Object.entries(items))
    assert.deepEqual(await seen(xForwardedFor(item)), [ip, false, 'inner'], item)
})

test('a client that the proxy does not name has no address, and nobody before it is asked', async () => {
  for (const node of ['unknown', '_hidden', '"_gazonk:80"', '"unknown:_x"'])
    assert.deepEqual(await seen(forwardedOf(`for=9.9.9.9, for=${node};proto=https`)), [
      null,
      true,
      'inner',
    ])
  assert.deepEqual(await seen(xForwardedFor('9.9.9.9, unknown')), [null, false, 'inner'])
})

test('a proxy that says nothing of the address leaves it at what is known', async () => {
  assert.deepEqual(await seen(forwardedOf('for=9.9.9.9, proto=https')), ['10.0.0.1', true, 'inner'])
  assert.deepEqual(await seen(forwardedOf('for=9.9.9.9, by=_a;proto=https, for=10.0.0.2')), [
    '10.0.0.2',
    true,
    'inner',
  ])
  assert.deepEqual(await seen([['X-Forwarded-Proto', 'http, https']]), ['10.0.0.1', true, 'inner'])
})

test('what does not parse is a 400, and no later handler runs', async () => {
  const lines = [
    'for',
    'for=',
    '=1.2.3.4',
    'for="1.2.3.4',
    'for="1.2.3.4"x',
    'for="9.9.9.9, for=1.2.3.4',
    'for=1.2.3.4;for=1.2.3.5',
    'for=1.2.3.4 proto=https',
    'for = 1.2.3.4',
    'for=[::1]',
    'for=::1',
    'for="::1"',
    'for="[1.2.3.4]"',
    'for="[::1"',
    'for=1.2.3.4:80',
    'for=1.2.3',
    'for=01.2.3.4',
    'for=example.com',
    'for=""',
    'for="fe80::1%eth0"',
    'for=1.2.3.4;proto="ht tp"',
    'for=1.2.3.4;proto=""',
    'for=1.2.3.4;host="a b"',
    'for=1.2.3.4;host="a/b"',
    'for=1.2.3.4;host="user@a"',
    'for=1.2.3.4;host="[::1"',
    'for=1.2.3.4;host="[x]"',
    'for=1.2.3.4;host="a:65536"',
    'for=1.2.3.4;host=""',
  ]
  for (const line of lines) assert.equal(await seen(forwardedOf(line)), 400, line)
  for (const item of ['x', '1.2.3', '1.2.3.4:', '1.2.3.4:999999', '1.2.3.4;', '"1.2.3.4"', '::g'])
    assert.equal(await seen(xForwardedFor(item)), 400, item)
  for (const [name, value] of [
    ['X-Forwarded-Proto', 'ht/tp'],
    ['X-Forwarded-Host', 'a b'],
    ['X-Forwarded-Host', 'a.test:99999'],
    ['X-Forwarded-Port', '0'],
    ['X-Forwarded-Port', '65536'],
    ['X-Forwarded-Port', 'x'],
  ] as const)
    assert.equal(await seen([...xForwardedFor('1.2.3.4'), [name, value]]), 400, `${name}: ${value}`)
})

test('a line that breaks off inside a quote cannot swallow the line of the proxy', async () => {
  assert.equal(await seen(forwardedOf('for="9.9.9.9', 'for=203.0.113.7')), 400)
  assert.equal(await seen(forwardedOf('for="9.9.9.9', 'for="203.0.113.7:80"')), 400)
})

test('addresses that nobody trusts are not looked at, right or wrong', async () => {
  assert.deepEqual(await seen(xForwardedFor('<script>, 203.0.113.7')), [
    '203.0.113.7',
    false,
    'inner',
  ])
})

test('why a request was refused can be asked for, and every other handler of the tuple is passed over', async () => {
  const reasons: string[] = []
  const onRefused = (error: SyntaxError, conn: Conn): void => {
    reasons.push(`${conn.path}: ${error.message}`)
  }
  const app = testApp([forwarded({ ...proxies, onRefused }), 'not reached'])
  const request = { peerIp: '10.0.0.1' }
  for (const [name, value] of [
    ['Forwarded', 'for=a b'],
    ['Forwarded', 'for=a'],
    ['X-Forwarded-Proto', '?'],
    ['X-Forwarded-Host', '?'],
    ['X-Forwarded-Port', '?'],
  ] as const) {
    const response = await app.get('/', { ...request, headers: [[name, value]] })
    assert.equal(response.status, 400)
  }
  assert.deepEqual(reasons, [
    '/: Cannot read the header Forwarded "for=a b" from position 0',
    '/: Cannot read the address "a" of a forwarded request',
    '/: Cannot read the protocol "?" of a forwarded request',
    '/: Cannot read the host "?" of a forwarded request',
    '/: Cannot read the port "?" of a forwarded request',
  ])
})

test('an onRefused that throws is reported, and is a 500', async () => {
  const onRefused = (): void => {
    throw new Error('no')
  }
  const app = testApp([forwarded({ ...proxies, onRefused }), 'not reached'])
  const response = await app.get('/', { peerIp: '10.0.0.1', headers: [['Forwarded', '!']] })
  assert.equal(response.status, 500)
  assert.equal(app.errors[0]!.place, 'app[0] "forwarded"')
})

test('a port is added to a host that has none, where it is not the usual one', async () => {
  const hostOf = async (...headers: Headers): Promise<unknown> =>
    ((await seen([...xForwardedFor('203.0.113.7'), ...headers])) as unknown[])[2]
  const host = ['X-Forwarded-Host', 'example.com'] as const
  const https = ['X-Forwarded-Proto', 'https'] as const
  assert.equal(await hostOf(host, ['X-Forwarded-Port', '8443'], https), 'example.com:8443')
  assert.equal(await hostOf(host, ['X-Forwarded-Port', '443'], https), 'example.com')
  assert.equal(await hostOf(host, ['X-Forwarded-Port', '443']), 'example.com:443')
  assert.equal(await hostOf(host, ['X-Forwarded-Port', '80']), 'example.com')
  assert.equal(await hostOf(['X-Forwarded-Port', '8443']), 'inner:8443')
  const withPort = ['X-Forwarded-Host', 'example.com:81'] as const
  assert.equal(await hostOf(withPort, ['X-Forwarded-Port', '8443']), 'example.com:81')
  const literal = ['X-Forwarded-Host', '[2001:db8::1]'] as const
  assert.equal(await hostOf(literal, ['X-Forwarded-Port', '8443']), '[2001:db8::1]:8443')
})

test('the host of the proxy is no host where the request had two', async () => {
  const headers: Headers = [...xForwardedFor('203.0.113.7'), ['X-Forwarded-Port', '81']]
  assert.deepEqual(await seen([['Host', 'other'], ...headers]), ['203.0.113.7', false, null])
})

test('a request with both kinds of headers is refused: one of them may be the own of the client', async () => {
  const both = [...forwardedOf('for=9.9.9.9'), ...xForwardedFor('203.0.113.7')]
  assert.equal(await seen(both), 400)
  const otherwise: Headers = [...forwardedOf('for=9.9.9.9'), ['X-Forwarded-Proto', 'https']]
  assert.equal(await seen(otherwise), 400)
})

test('only the headers that are named are read; where both kinds are, Forwarded wins', async () => {
  const both: Headers = [
    ...forwardedOf('for=192.0.2.1;host=a.test'),
    ...xForwardedFor('203.0.113.7'),
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', 'b.test'],
  ]
  assert.deepEqual(await seen(both, { ...proxies, headers: ['forwarded'] }), [
    '192.0.2.1',
    false,
    'a.test',
  ])
  assert.deepEqual(await seen(both, { ...proxies, headers: ['x-forwarded-for'] }), [
    '203.0.113.7',
    false,
    'inner',
  ])
  assert.deepEqual(
    await seen(both, { ...proxies, headers: ['x-forwarded-for', 'x-forwarded-proto'] }),
    ['203.0.113.7', true, 'inner'],
  )
  const named = {
    ...proxies,
    headers: ['forwarded', 'x-forwarded-for', 'x-forwarded-proto'] as const,
  }
  assert.deepEqual(await seen(both, named), ['192.0.2.1', false, 'a.test'])
  assert.deepEqual(await seen(both.slice(1), named), ['203.0.113.7', true, 'inner'])
})

test('empty elements, empty pairs and space around a semicolon do no harm', async () => {
  for (const line of [
    ', for=1.2.3.4 ,,',
    ';for=1.2.3.4;',
    'for=1.2.3.4 ; proto=http',
    'by=a;secret=x;for=1.2.3.4',
  ])
    assert.deepEqual(await seen(forwardedOf(line)), ['1.2.3.4', false, 'inner'], line)
})

test('a second one on the same way changes nothing: the client would be taken for a proxy', async () => {
  const app = testApp([
    forwarded({ trust: ['10.0.0.0/8'] }),
    forwarded({ trust: ['0.0.0.0/0'] }),
    (conn) => conn.ok(conn.peerIp!),
  ])
  const headers = xForwardedFor('9.9.9.9, 203.0.113.7')
  assert.equal((await app.get('/', { peerIp: '10.0.0.1', headers })).body, '203.0.113.7')
})

test('options that cannot be used are refused, with what would be right', () => {
  const names =
    'forwarded, x-forwarded-for, x-forwarded-proto, x-forwarded-host and x-forwarded-port'
  const cases: readonly [options: unknown, message: RegExp | string][] = [
    [undefined, /^Cannot read forwarded headers with undefined: expected options, as \{ trust/],
    [{}, /^Cannot trust undefined: expected an array/],
    [
      { ...proxies, header: ['forwarded'] },
      'Cannot read forwarded headers with header: there is no such option; there are trust, headers and onRefused',
    ],
    [{ trust: ['10.0.0.0/99'] }, /^Cannot trust "10\.0\.0\.0\/99": the length of its prefix/],
    ...['forwarded', [], ['X-Forwarded-For'], ['via']].map((headers) => {
      const shown = Array.isArray(headers) && headers.length > 0 ? `"${headers[0]}"` : undefined
      const what = shown ?? (headers.length === 0 ? 'an array of 0' : '"forwarded"')
      return [
        { ...proxies, headers },
        `Cannot read forwarded headers from ${what}: headers is an array of one or more of ${names}`,
      ] as [unknown, string]
    }),
  ]
  for (const [options, message] of cases)
    assert.throws(() => forwarded(options as ForwardedOptions), { message })
})

test('whatever is made of a header, it is read or is a 400, and never makes anybody else trusted', async () => {
  let seed = 7239
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return Math.floor((seed / 2 ** 31) * below)
  }
  const pieces = [
    ...'",;=[]:\\\t _.',
    'for=',
    'proto=',
    'host=',
    'by=',
    'unknown',
    '9.9.9.9',
    '::1',
    '10.0.0.2',
  ]
  const app = testApp([forwarded(proxies), (conn) => conn.json([conn.peerIp ?? null])])
  const counts = { read: 0, refused: 0 }
  for (let round = 0; round < 3000; round++) {
    const made = Array.from({ length: random(8) }, () => pieces[random(pieces.length)]).join('')
    const name = random(2) === 0 ? 'Forwarded' : 'X-Forwarded-For'
    // The last element is the proxy's own, in the same line or in one of its own.
    const own = name === 'Forwarded' ? 'for="[2001:db8::7]"' : '2001:db8::7'
    const lines = random(2) === 0 ? [made, own] : [`${made}, ${own}`]
    const headers: Headers = lines.map((line) => [name, line])
    const response = await app.get('/', { peerIp: '10.0.0.1', headers })
    const what = `seed 7239, round ${round}: ${JSON.stringify([name, lines])}`
    if (response.status === 400) counts.refused++
    else {
      assert.equal(response.status, 200, what)
      assert.equal(response.body, '["2001:db8::7"]', what)
      counts.read++
    }
  }
  assert.deepEqual(app.errors, [])
  assert.ok(counts.read > 500 && counts.refused > 500, JSON.stringify(counts))
})
