/** Requests that are wrong, and some that only look so: what is sent, and what must come of it. */

/** One of them. */
export interface Case {
  readonly name: string
  /** As sent, one char a byte. */
  readonly text: string
  /** The statuses of the answers, in order. After one from 400 the server ends the connection. */
  readonly statuses: readonly number[]
  /** What reaches handlers: `GET /path 0`, with the length of the body, or `cut` where it broke off. */
  readonly handled: readonly string[]
}

const host = 'Host: a.test'

/** A request: its first line, its headers, and after an empty string its body. */
function lines(...all: string[]): string {
  const at = all.indexOf('')
  return at === -1
    ? `${all.join('\r\n')}\r\n\r\n`
    : `${all.slice(0, at).join('\r\n')}\r\n\r\n${all[at + 1]}`
}

function refused(status: number, name: string, text: string): Case {
  return { name, text, statuses: [status], handled: [] }
}

function accepted(name: string, text: string, ...handled: string[]): Case {
  return { name, text, statuses: handled.map(() => 200), handled }
}

/** A handler has begun to read it when it broke. */
function broken(name: string, text: string): Case {
  return { name, text, statuses: [400], handled: ['POST / cut'] }
}

const get = (target: string, ...headers: string[]): string =>
  lines(`GET ${target} HTTP/1.1`, host, ...headers)
const post = (body: string, ...headers: string[]): string =>
  lines('POST / HTTP/1.1', host, ...headers, '', body)
const chunked = (body: string): string => post(body, 'Transfer-Encoding: chunked')
/** What an attacker wants to be taken for a request. */
const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n'

const versions: Case[] = [
  refused(400, 'no version', 'GET /\r\n\r\n'),
  refused(400, 'no version, but a host', `GET /\r\n${host}\r\n\r\n`),
  ...['HTTP/0.9', 'HTTP/1.2', 'HTTP/1.9', 'HTTP/2.0', 'HTTP/2', 'HTTP/3.0', 'HTTP/11.1'].map(
    (version) => refused(400, version, lines(`GET / ${version}`, host)),
  ),
  ...[
    'http/1.1',
    'Http/1.1',
    'HTTP 1.1',
    'HTTP/1',
    'HTTP/1.',
    'HTTP/.1',
    'HTTP/1,1',
    'HTP/1.1',
    'HTTP/1.1x',
    'HTTP/01.1',
    'HTTP/1.01',
    'HTTPS/1.1',
    '1.1',
    'XTTP/1.1',
  ].map((version) => refused(400, version, lines(`GET / ${version}`, host))),
  accepted(
    'HTTP/1.0 without a host',
    'GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
    'GET /old 0',
  ),
  accepted(
    'HTTP/1.0 with a host',
    `GET /old HTTP/1.0\r\n${host}\r\nConnection: keep-alive\r\n\r\n`,
    'GET /old 0',
  ),
]

const requestLines: Case[] = [
  refused(400, 'a tab after the method', lines('GET\t/ HTTP/1.1', host)),
  refused(400, 'a tab after the target', lines('GET /\tHTTP/1.1', host)),
  refused(400, 'a space behind the version', lines('GET / HTTP/1.1 ', host)),
  refused(400, 'a space before the method', lines(' GET / HTTP/1.1', host)),
  refused(400, 'two targets', lines('GET /a /b HTTP/1.1', host)),
  refused(400, 'only a method', lines('GET', host)),
  refused(400, 'only a version', lines('HTTP/1.1', host)),
  refused(400, 'an empty method', lines('/ HTTP/1.1', host)),
  refused(400, 'a line feed alone', 'GET / HTTP/1.1\nHost: a.test\n\n'),
  refused(400, 'a carriage return alone', 'GET / HTTP/1.1\rHost: a.test\r\r'),
  refused(400, 'two carriage returns', `GET / HTTP/1.1\r\r\n${host}\r\n\r\n`),
  refused(400, 'a NUL in the target', lines('GET /\0 HTTP/1.1', host)),
  refused(400, 'a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
  refused(400, 'an SSH greeting', 'SSH-2.0-OpenSSH_9.6\r\n'),
  refused(400, 'an SMTP greeting', 'EHLO a.test\r\n\r\n'),
  refused(400, 'a proxy protocol line', `PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n${get('/')}`),
  refused(400, 'a response', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  accepted('empty lines before it', `\r\n\r\n${get('/a')}`, 'GET /a 0'),
]

const methods: Case[] = [
  ...[
    'FOO',
    'get',
    'Get',
    'GETS',
    'G',
    'LABEL',
    'M-SEARCH',
    'PURGE',
    'NOTIFY',
    'SUBSCRIBE',
    'SOURCE',
    'X-Y.Z',
    "!#$%&'*+-.^_`|~",
  ].map((method) => refused(501, method, lines(`${method} / HTTP/1.1`, host))),
  ...['PRI', 'G(T', 'G@T', 'G,T', 'GE T', 'G\x80T', 'G"T"', 'GET:', '{GET}'].map((method) =>
    refused(400, method, lines(`${method} / HTTP/1.1`, host)),
  ),
  ...['DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'REPORT', 'MKCOL'].map((method) =>
    accepted(method, lines(`${method} /m HTTP/1.1`, host), `${method} /m 0`),
  ),
]

const hosts: Case[] = [
  refused(400, 'no host', lines('GET / HTTP/1.1')),
  refused(400, 'no host, other headers', lines('GET / HTTP/1.1', 'Accept: */*')),
  refused(400, 'two hosts', get('/', 'Host: b.test')),
  refused(400, 'the same host twice', get('/', host)),
  refused(400, 'two hosts, in other letters', get('/', 'hOST: b.test')),
  refused(400, 'two hosts on HTTP/1.0', lines('GET / HTTP/1.0', host, 'Host: b.test')),
  ...[
    '',
    ' ',
    'a b',
    'a,b',
    'a, b',
    'u@a',
    'u:p@a',
    'a/b',
    'a\\b',
    'a?b',
    'a#b',
    'a:b',
    'a:1:2',
    'a:-1',
    'a:65536',
    'a:999999',
    ':80',
    '[::1',
    '::1',
    '[::1]x',
    '[g]',
    '[]',
    '[::1]:x',
    'a\x80',
    'ü.test',
    '<a>',
    '"a"',
    'a%zz',
    'a%',
    'http://a',
    'a|b',
    'a\tb',
  ].map((value) =>
    refused(400, `the host ${JSON.stringify(value)}`, lines('GET / HTTP/1.1', `Host: ${value}`)),
  ),
  ...[
    'a',
    'a.test:80',
    'a:',
    'A.TEST',
    '127.0.0.1',
    '127.0.0.1:65535',
    '[::1]',
    '[::1]:8080',
    '[::ffff:1.2.3.4]',
    '[v1.x]',
    'a_b',
    'a-b.',
    'a%20b',
    "!$&'()*+;=~",
  ].map((value) =>
    accepted(`the host ${value}`, lines('GET /h HTTP/1.1', `Host: ${value}`), 'GET /h 0'),
  ),
]

const targets: Case[] = [
  ...[
    '*',
    '*/',
    '/#',
    '/a#b',
    '/a?b#c',
    '/a\\b',
    '\\',
    '\\\\a',
    '/\\evil',
    '/a\\?b',
    'a',
    'a/b',
    '?a',
    '.',
    '..',
    '@a',
    'a.test:80',
    '//a#',
    '/\x01',
    '/\x7f',
    '/\x80',
    '/ü',
  ].map((target) => refused(400, `the target ${JSON.stringify(target)}`, get(target))),
  refused(400, 'POST *', lines('POST * HTTP/1.1', host)),
  refused(400, 'OPTIONS *a', lines('OPTIONS *a HTTP/1.1', host)),
  accepted('OPTIONS *', lines('OPTIONS * HTTP/1.1', host), 'OPTIONS * 0'),
  ...[
    '/',
    '//',
    '//evil.test/a',
    '/../..',
    '/%00',
    '/%',
    '/%2f%5c',
    '/a?b?c',
    '/a?b\\c',
    '/a//b',
    "/~!$&'()*+,;=:@",
    '/|^`{}<>"[]',
    '/a?x=http://b/',
    '/a:80',
    '/http://b/',
  ].map((target) => accepted(`the target ${target}`, get(target), `GET ${target} 0`)),
  ...[
    'http://b.test/',
    'http://a.test:8080/',
    'https://a.test:80/',
    'http://a.test@b.test/',
    'http:///',
    'http://',
    'http://[::/',
    'http://a.test:99999999/',
    'http://a.test:x/',
    'http://a.test\\b/',
    'http://a.test/#',
    'http://a.test#',
    'foo://a.test/',
    'ftp://a.test/',
    'javascript://a.test/',
    'http://a.test/\\b',
    'http:/a.test/',
    'http:a.test',
    'file:///etc/passwd',
    'rtsp://a.test/',
    'http://a.test%00/',
  ].map((target) => refused(400, `the target ${target}`, get(target))),
  accepted('an absolute target', get('http://a.test/x?y'), 'GET /x?y 0'),
  accepted('one with the port that goes without saying', get('http://a.test:80/x'), 'GET /x 0'),
  accepted('one of https', get('https://A.TEST:443/x'), 'GET /x 0'),
  accepted('one with a user', get('http://user:secret@a.test/x'), 'GET /x 0'),
  accepted('one without a path', get('http://a.test'), 'GET / 0'),
  accepted('one with only a query', get('http://a.test?q'), 'GET /?q 0'),
  accepted('one in capitals', get('HTTP://a.test/x'), 'GET /x 0'),
  accepted(
    'one on HTTP/1.0, without a host',
    lines('GET http://b.test/x HTTP/1.0', 'Connection: keep-alive'),
    'GET /x 0',
  ),
]

const fields: Case[] = [
  refused(400, 'a header line without a colon', get('/', 'foo')),
  refused(400, 'a space before the colon', get('/', 'foo : bar')),
  refused(400, 'a tab before the colon', get('/', 'foo\t: bar')),
  refused(400, 'a folded line', get('/', 'foo: bar', ' baz')),
  refused(400, 'a line folded with a tab', get('/', 'foo: bar', '\tbaz')),
  refused(400, 'a fold before the first header', lines('GET / HTTP/1.1', ` ${host}`)),
  refused(400, 'an empty name', get('/', ': bar')),
  ...[
    '"',
    '(',
    ',',
    '/',
    ';',
    '<',
    '=',
    '?',
    '@',
    '[',
    '\\',
    '{',
    '\x80',
    '\xe9',
    '\0',
    '\x01',
  ].map((char) => refused(400, `${JSON.stringify(char)} in a name`, get('/', `f${char}o: bar`))),
  ...['\0', '\x01', '\x08', '\x0b', '\x0c', '\x1b', '\x1f', '\x7f', '\r', '\n'].map((char) =>
    refused(400, `${JSON.stringify(char)} in a value`, get('/', `foo: b${char}r`)),
  ),
  refused(400, 'a line feed alone behind a header', `GET / HTTP/1.1\r\n${host}\nX: y\r\n\r\n`),
  refused(400, 'a line feed alone at the end', `GET / HTTP/1.1\r\n${host}\r\n\n`),
  accepted('an empty value', get('/v', 'foo:'), 'GET /v 0'),
  accepted(
    'no space, tabs and bytes above 0x7F',
    get('/v', 'foo:bar', 'foo:\t\xff\xfe\t'),
    'GET /v 0',
  ),
  accepted(
    'a hundred lines',
    get('/v', ...Array.from({ length: 99 }, (_, at) => `x${at}: y`)),
    'GET /v 0',
  ),
  refused(
    431,
    'a hundred and one lines',
    get('/', ...Array.from({ length: 100 }, (_, at) => `x${at}: y`)),
  ),
  refused(431, 'three thousand lines', get('/', ...Array.from({ length: 3000 }, () => 'a:b'))),
  refused(
    431,
    'a second host behind 101 lines',
    get('/', ...Array.from({ length: 100 }, () => 'a:b'), 'Host: b'),
  ),
  refused(431, 'a long value', get('/', `foo: ${'x'.repeat(17_000)}`)),
  refused(431, 'a long name', get('/', `${'x'.repeat(17_000)}: y`)),
  accepted(
    'a value that is just not too long',
    get('/v', `foo: ${'x'.repeat(15_000)}`),
    'GET /v 0',
  ),
  refused(414, 'a long target', get(`/${'x'.repeat(8192)}`)),
  refused(431, 'a target that is longer than a head', get(`/${'x'.repeat(17_000)}`)),
  accepted(
    'a target that is just not too long',
    get(`/${'x'.repeat(8191)}`),
    `GET /${'x'.repeat(8191)} 0`,
  ),
]

const framings: Case[] = [
  ...[
    '+5',
    '-5',
    '5,5',
    '5, 5',
    '5 5',
    '0x5',
    '5.0',
    '5e0',
    '',
    ' ',
    'five',
    '٥',
    '"5"',
    '5;',
    '99999999999999999999',
  ].map((value) =>
    refused(
      400,
      `Content-Length ${JSON.stringify(value)}`,
      post('hello', `Content-Length: ${value}`),
    ),
  ),
  refused(400, 'two lengths', post('hello', 'Content-Length: 5', 'Content-Length: 6')),
  refused(400, 'the same length twice', post('hello', 'Content-Length: 5', 'Content-Length: 5')),
  refused(
    400,
    'length and chunks',
    post(`0\r\n\r\n${smuggled}`, 'Content-Length: 5', 'Transfer-Encoding: chunked'),
  ),
  refused(
    400,
    'chunks and length',
    post(`0\r\n\r\n${smuggled}`, 'Transfer-Encoding: chunked', 'Content-Length: 5'),
  ),
  refused(
    400,
    'chunks on HTTP/1.0',
    lines('POST / HTTP/1.0', host, 'Transfer-Encoding: chunked', '', `0\r\n\r\n${smuggled}`),
  ),
  refused(
    400,
    'chunks on HTTP/1.0, kept alive',
    lines(
      'POST / HTTP/1.0',
      host,
      'Connection: keep-alive',
      'Transfer-Encoding: chunked',
      '',
      '0\r\n\r\n',
    ),
  ),
  ...[
    'gzip, chunked',
    'chunked, gzip',
    'chunked, chunked',
    'chunked, identity',
    'identity',
    'gzip',
    'xchunked',
    'chunkedx',
    'chunked;q=1',
    '"chunked"',
    'chunked,',
    ',chunked',
    '',
    '\x0bchunked',
    'chunked\x00',
    'chunk ed',
    'cow',
    'chunked\xa0',
  ].map((coding) =>
    refused(
      400,
      `Transfer-Encoding ${JSON.stringify(coding)}`,
      post(`0\r\n\r\n${smuggled}`, `Transfer-Encoding: ${coding}`),
    ),
  ),
  refused(
    400,
    'two codings on two lines',
    post('0\r\n\r\n', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
  ),
  refused(
    400,
    'another coding on a line before',
    post('0\r\n\r\n', 'Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'),
  ),
  refused(
    400,
    'another coding on a line behind',
    post('0\r\n\r\n', 'Transfer-Encoding: chunked', 'transfer-encoding: identity'),
  ),
  refused(
    400,
    'a space before the colon of the coding',
    post(`0\r\n\r\n${smuggled}`, 'Transfer-Encoding : chunked'),
  ),
  refused(400, 'a folded coding', post(`0\r\n\r\n${smuggled}`, 'Transfer-Encoding:', ' chunked')),
  accepted('a length', post('hello', 'Content-Length: 5'), 'POST / 5'),
  accepted('a length with zeros before it', post('hello', 'Content-Length: 0005'), 'POST / 5'),
  accepted('a length with blanks around it', post('hello', 'Content-Length:  5 '), 'POST / 5'),
  accepted(
    'a length of 0, and a request behind',
    post(get('/next'), 'Content-Length: 0'),
    'POST / 0',
    'GET /next 0',
  ),
  accepted(
    'a body of a GET, which is no request',
    `${lines('GET /a HTTP/1.1', host, `Content-Length: ${smuggled.length}`, '', smuggled)}`,
    `GET /a ${smuggled.length}`,
  ),
  accepted('a coding in capitals', post('0\r\n\r\n', 'TRANSFER-ENCODING: Chunked'), 'POST / 0'),
  accepted(
    'no length: what is behind is a request',
    `${lines('POST / HTTP/1.1', host)}${get('/next')}`,
    'POST / 0',
    'GET /next 0',
  ),
  {
    name: 'a length over the limit',
    text: post('', 'Content-Length: 1048577'),
    statuses: [413],
    handled: ['POST / cut'],
  },
  {
    name: 'a length beyond all numbers',
    text: post('', 'Content-Length: 18446744073709551614'),
    statuses: [413],
    handled: ['POST / cut'],
  },
  {
    name: 'chunks over the limit',
    text: chunked(`100001\r\n${'x'.repeat(1048577)}\r\n0\r\n\r\n`),
    statuses: [413],
    handled: ['POST / cut'],
  },
]

const chunks: Case[] = [
  accepted('chunks', chunked('5\r\nhello\r\n0\r\n\r\n'), 'POST / 5'),
  accepted(
    'chunk sizes in capitals, with zeros before them',
    chunked('00A\r\n0123456789\r\n000\r\n\r\n'),
    'POST / 10',
  ),
  accepted('a chunk extension', chunked('5;a=b;c="d"\r\nhello\r\n0\r\n\r\n'), 'POST / 5'),
  accepted('trailers', chunked('5\r\nhello\r\n0\r\nX: y\r\n\r\n'), 'POST / 5'),
  accepted(
    'a trailer that claims to be the host',
    chunked('0\r\nHost: b.test\r\n\r\n'),
    'POST / 0',
  ),
  broken(
    'trailers that claim to be framing',
    chunked('0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n'),
  ),
  broken('a chunk size with 0x', chunked('0x5\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size with +', chunked('+5\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size with -', chunked('-5\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size with a space before it', chunked(' 5\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size with a space behind it', chunked('5 \r\nhello\r\n0\r\n\r\n')),
  broken('no chunk size', chunked('\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size that is no number', chunked('g\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size beyond all numbers', chunked('fffffffffffffffff\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk size behind a line feed alone', chunked('5\nhello\r\n0\r\n\r\n')),
  broken('an extension with a line feed', chunked(`5;\nhello\r\n0\r\n\r\n`)),
  broken('an extension with a NUL', chunked('5;\0\r\nhello\r\n0\r\n\r\n')),
  broken('a chunk that is longer than it says', chunked('5\r\nhello!\r\n0\r\n\r\n')),
  broken('a chunk without an end', chunked('5\r\nhello0\r\n\r\n')),
  broken('a chunk with a line feed alone behind it', chunked('5\r\nhello\n0\r\n\r\n')),
  broken('a trailer without a colon', chunked('0\r\nfoo\r\n\r\n')),
  broken('a trailer with a NUL', chunked('0\r\nfoo: \0\r\n\r\n')),
  broken('a request in place of the last line', chunked(`0\r\n${smuggled}`)),
  {
    name: 'a long extension',
    text: chunked(`5;${'x'.repeat(17_000)}\r\nhello\r\n0\r\n\r\n`),
    statuses: [413],
    handled: ['POST / cut'],
  },
]

const expectations: Case[] = [
  refused(417, 'another expectation', post('hello', 'Content-Length: 5', 'Expect: a-cup-of-tea')),
  refused(417, 'two expectations', post('hello', 'Content-Length: 5', 'Expect: 100-continue, tea')),
  refused(
    417,
    'the same twice',
    post('hello', 'Content-Length: 5', 'Expect: 100-continue', 'Expect: 100-continue'),
  ),
  refused(
    400,
    'an expectation, and no host',
    lines('POST / HTTP/1.1', 'Content-Length: 5', 'Expect: tea'),
  ),
  accepted(
    'an expectation that is met',
    post('hello', 'Content-Length: 5', 'Expect: 100-Continue'),
    'POST / 5',
  ),
  accepted(
    'one on HTTP/1.0, which has none',
    lines(
      'POST /old HTTP/1.0',
      'Connection: keep-alive',
      'Content-Length: 5',
      'Expect: tea',
      '',
      'hello',
    ),
    'POST /old 5',
  ),
]

const pipelines: Case[] = [
  accepted(
    'three requests at once',
    get('/1') + post('two', 'Content-Length: 3') + get('/3'),
    'GET /1 0',
    'POST / 3',
    'GET /3 0',
  ),
  {
    name: 'a refused one before another',
    text: get('/bad#') + smuggled,
    statuses: [400],
    handled: [],
  },
  {
    name: 'a refused one behind another',
    text: get('/1') + get('/bad#') + smuggled,
    statuses: [200, 400],
    handled: ['GET /1 0'],
  },
  {
    name: 'one without a version before another',
    text: `GET /\r\n\r\n${smuggled}`,
    statuses: [400],
    handled: [],
  },
  {
    name: 'a method of nobody behind another, and one behind',
    text: get('/1') + lines('PURGE / HTTP/1.1', host) + smuggled,
    statuses: [200, 501],
    handled: ['GET /1 0'],
  },
  {
    name: 'a request behind the end',
    text: get('/1', 'Connection: close') + smuggled,
    statuses: [200],
    handled: ['GET /1 0'],
  },
]

/** All of them, by kind. */
export const table: Readonly<Record<string, readonly Case[]>> = {
  versions,
  requestLines,
  methods,
  hosts,
  targets,
  fields,
  framings,
  chunks,
  expectations,
  pipelines,
}
