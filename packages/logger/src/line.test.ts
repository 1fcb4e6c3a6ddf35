import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp, type TestRequest } from '@wakerobin/core/testing'

import { source } from '../fixtures/source.ts'
import { colored, logLine, quoted, type Formatter } from './line.ts'
import { logger, type LoggerOptions } from './logger.ts'
import { parts } from './parts.ts'

async function lineOf(
  format: LoggerOptions['format'],
  target = '/a?b=c',
  request: TestRequest = {},
  options: LoggerOptions = {},
): Promise<string> {
  const lines: string[] = []
  const log = (line: string): void => void lines.push(line)
  const app = testApp([
    logger({ ...(format === undefined ? {} : { format }), log, ...options }),
    (conn) => {
      const status = /^\/(\d{3})$/.exec(conn.path)?.[1]
      if (status !== undefined) conn.withStatus(Number(status)).halt()
      else if (conn.path === '/cut') conn.ok(source({ text: 'x', cuts: true }))
      else conn.withResponseHeader('X-Out', 'a "b"').ok('hello')
    },
  ])
  await app.get(target, request)
  assert.deepEqual(app.errors, [])
  assert.equal(lines.length, 1)
  return lines[0]!
}

test('a line is made of parts, and of text around them', async () => {
  const { method, url, path, status, version, ip, host, scheme, bytes, size } = parts
  const format = logLine`<${ip} ${host} ${scheme} ${version} ${method} ${url} ${path} → ${status} ${bytes} ${size}>`
  assert.equal(
    await lineOf(format),
    '<127.0.0.1 wakerobin.test http HTTP/1.1 GET /a?b=c /a → 200 5 5 B>',
  )
  assert.equal(
    await lineOf(logLine`${path} ${scheme}`, '/plain', { isSecure: true }),
    '/plain https',
  )
})

test('a part of your own is a function of the entry; undefined is a dash', async () => {
  const format = logLine`${({ conn }) => conn.path.length} ${() => undefined} ${() => ''}|`
  assert.equal(await lineOf(format), '2 - |')
})

test('headers are in quotes; one that is absent is a dash', async () => {
  const { requestHeader, responseHeader, userAgent, referer } = parts
  const format = logLine`${requestHeader('x-in')} ${responseHeader('x-out')} ${userAgent} ${referer}`
  const headers: TestRequest['headers'] = [
    ['X-In', 'a'],
    ['X-In', 'b'],
    ['User-Agent', 'curl/8 "x"\\'],
  ]
  const line = await lineOf(format, '/', { headers })
  assert.equal(line, String.raw`"a, b" "a \"b\"" "curl/8 \"x\"\\" "-"`)
})

test('the time is that of the receipt', async () => {
  const before = Date.now()
  const time = Date.parse(await lineOf(logLine`${parts.time}`))
  assert.ok(time >= before - 5 && time <= Date.now() + 5, String(time - before))
})

test('sizes are for people', async () => {
  const sizes: string[] = []
  for (const bytes of [0, 999, 1000, 1500, 999_940, 999_950, 1_000_000, 2_500_000_000]) {
    const format: Formatter = (entry) =>
      String(parts.size(Object.create(entry, { bytes: { value: bytes } })))
    sizes.push(await lineOf(format))
  }
  assert.deepEqual(sizes, [
    '0 B',
    '999 B',
    '1.0 kB',
    '1.5 kB',
    '999.9 kB',
    '1.0 MB',
    '1.0 MB',
    '2.5 GB',
  ])
  assert.equal(
    await lineOf((entry) =>
      String(parts.size(Object.create(entry, { bytes: { value: undefined } }))),
    ),
    'undefined',
  )
})

test('colours are there where they are asked for, and follow the status', async () => {
  const codes: string[] = []
  for (const target of ['/200', '/302', '/404', '/500', '/cut']) {
    const line = await lineOf('dev', target, {}, { colors: true })
    codes.push(line.replaceAll('\x1b', '^').replace(/\d+\.\dms/, '<time>'))
  }
  assert.deepEqual(codes, [
    'HTTP/1.1 GET /200 ^[32m200^[39m <time>',
    'HTTP/1.1 GET /302 ^[36m302^[39m <time>',
    'HTTP/1.1 GET /404 ^[33m404^[39m <time>',
    'HTTP/1.1 GET /500 ^[31m500^[39m <time>',
    'HTTP/1.1 GET /cut ^[32m200^[39m <time>^[31m (cut)^[39m',
  ])
  assert.doesNotMatch(await lineOf('dev'), /\x1b/) // oxlint-disable-line no-control-regex
})

test('a line that a function returns of another format keeps its colours; what it makes itself is escaped', async () => {
  const made = logLine`${parts.method} ${parts.status}`
  const colors = { colors: true }
  const format: Formatter = (entry) => (entry.conn.path === '/none' ? undefined : made(entry))
  assert.equal(await lineOf(format, '/', {}, colors), 'GET \x1b[32m200\x1b[39m')
  assert.equal(await lineOf((entry) => `${made(entry)}!\n`), 'GET 200!\\x0a')
  assert.equal(await lineOf(() => '\x1b[31m'), '\\x1b[31m')
})

test('a part in a colour of its own has it where there are colours', async () => {
  const slow = colored(
    () => 'slow',
    ({ conn }) => (conn.path === '/slow' ? 'yellow' : undefined),
  )
  const colors = { colors: true }
  assert.equal(await lineOf(logLine`${slow}`, '/slow', {}, colors), '\x1b[33mslow\x1b[39m')
  assert.equal(await lineOf(logLine`${slow}`, '/', {}, colors), 'slow')
  assert.equal(await lineOf(logLine`${slow}`, '/slow'), 'slow')
})

// ------------------------------------------------------------------------------------ injection

/** What a line must not hold, other than as it was made by us. */
// oxlint-disable-next-line no-control-regex -- the control characters are the point
const forbidden = /[\u0000-\u001f\u007f-\u009f\u200b\u202e\u2028\u2029\u2066\ufeff]/

const hostile = [
  '\nHTTP/1.1 GET /forged 200 1.0ms',
  '\r\n127.0.0.1 - - [x] "GET /forged HTTP/1.1" 200 5',
  '\u2028forged',
  '\u2029forged',
  '\u0085forged',
  '\x1b[2J\x1b[31mforged',
  '\x9b31mforged',
  '\x7f\b\b\b',
  '\u202egnp.exe',
  '\u2066x',
  '\u200b',
  '\ufeff',
  '" 500 0 "forged" "',
  '\\" \\',
  '","severity":"ERROR","x":"',
  '\0',
  '\t',
  '\ud800',
  'ünïcode ☃ 🦜',
]

test('nothing that a client sends breaks out of a line, in any format', async () => {
  const own: Formatter = ({ conn }) =>
    `${conn.pathAndQuery} ${conn.requestHeaders.get('user-agent')}\n${conn.requestHeaders.get('referer')}`
  const { url, path, method, userAgent, referer, host, requestHeader, ip } = parts
  const composed = logLine`${url} ${path} ${method} ${userAgent} ${referer} ${host} ${requestHeader('referer')} ${ip} ${({ conn }) => conn.requestHeaders.get('referer')} ${quoted(({ conn }) => conn.pathAndQuery)}`
  for (const text of hostile) {
    // As bytes on the wire are given: the map of the conn reads UTF-8 out of them.
    const bytes = Buffer.from(text).toString('latin1')
    const lines: string[] = []
    for (const format of ['dev', 'common', 'combined', 'json', own, composed] as const) {
      const app = testApp([
        (conn) => {
          const raw = conn.requestHeaders.toRawHeaders() as string[]
          raw.push('User-Agent', bytes, 'Referer', text)
        },
        logger({ format, log: (line) => void lines.push(line) }),
        'hello',
      ])
      await app.get(`/x${text}?${text}`, { peerIp: text, httpVersion: '1.1' })
      assert.deepEqual(app.errors, [])
    }
    assert.equal(lines.length, 6)
    for (const line of lines) assert.doesNotMatch(line, forbidden, JSON.stringify([text, line]))
    const [dev, common, combined, json] = lines as [string, string, string, string]
    assert.equal(dev.split(' ').length, 5, dev)
    // A reader of quoted fields finds as many as there are.
    const field = String.raw`"((?:[^"\\]|\\.)*)"`
    const ip = String.raw`\S+ - - \[[^\]]*\]`
    assert.match(common, new RegExp(`^${ip} ${field} 200 5$`))
    assert.match(combined, new RegExp(`^${ip} ${field} 200 5 ${field} ${field}$`))
    assert.match(common, /^[ -~]*$/)
    const parsed = JSON.parse(json)
    assert.equal(parsed.severity, 'INFO')
    assert.equal(parsed['user_agent.original'], Buffer.from(text).toString())
  }
})

test('letters of all alphabets are kept, but for the formats of Apache, which are ASCII', async () => {
  const headers = { 'User-Agent': 'größer ☃ 🦜' }
  assert.equal(await lineOf(logLine`${parts.userAgent}`, '/', { headers }), '"größer ☃ 🦜"')
  const combined = await lineOf('combined', '/', { headers })
  assert.ok(combined.endsWith(String.raw`"gr\xc3\xb6\xc3\x9fer \xe2\x98\x83 \xf0\x9f\xa6\x9c"`))
})
