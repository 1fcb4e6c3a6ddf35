import assert from 'node:assert/strict'
import { mock, test } from 'node:test'

import { incomingOf } from '../fixtures/conn-of.ts'
import { settled } from '../fixtures/promises.ts'
import { encodeText } from './body.ts'
import { BodyAbortedError, BodyTooLongError, MalformedBodyError } from './errors.ts'
import { HeaderMap } from './header-map.ts'
import type { HeadersInput } from './header-map.ts'
import { RequestBody } from './request-body.ts'
import { testApp } from './testing.ts'
import type { TestRequest } from './testing.ts'

type RequestText = NonNullable<TestRequest['body']>

test('a body is read as text, bytes, JSON, or as it arrives', async () => {
  const body = '{"name":"Fårö"}'
  for (const make of [
    () => body,
    () => encodeText(body),
    () => chunks(body.slice(0, 9), body.slice(9)),
  ] as (() => RequestText)[]) {
    const bytes = testApp(async (conn) => conn.ok(await conn.requestBody.bytes()))
    assert.equal((await bytes.post('/', { body: make() })).body, body)
    const text = testApp(async (conn) => conn.ok(await conn.requestBody.text()))
    assert.equal((await text.post('/', { body: make() })).body, body)
    const json = testApp(async (conn) =>
      conn.ok((await conn.requestBody.json<{ name: string }>()).name),
    )
    assert.equal((await json.post('/', { body: make() })).body, 'Fårö')
    const echo = testApp((conn) => conn.ok(conn.requestBody))
    assert.equal((await echo.post('/', { body: make() })).body, body)
  }
})

test('an absent body is empty, and the server is not asked for it', async () => {
  const openBody = mock.fn(() => chunks('x'))
  const body = bodyOf({}, { openBody })
  assert.equal(body.contentLength, 0)
  assert.equal(await body.text(), '')
  assert.equal(openBody.mock.callCount(), 0)
  assert.equal((await bodyOf({}).bytes()).length, 0)
  await assert.rejects(bodyOf({}).json(), MalformedBodyError)
})

test('contentLength is what the request declares: undefined where the body is chunked', () => {
  assert.equal(bodyOf({ 'Content-Length': '12' }).contentLength, 12)
  assert.equal(bodyOf({ 'Content-Length': '0' }).contentLength, 0)
  assert.equal(bodyOf({ 'Transfer-Encoding': 'chunked' }).contentLength, undefined)
})

test('a body can be read once, whatever the two ways of reading', async () => {
  const ways = [
    (body: RequestBody) => body.text(),
    (body: RequestBody) => body.bytes(),
    (body: RequestBody) => body.json(),
    (body: RequestBody) => body.formData(),
    (body: RequestBody) => body[Symbol.asyncIterator]().next(),
    (body: RequestBody) => body.stream().getReader().read(),
  ]
  for (const first of ways) {
    for (const second of ways) {
      const body = bodyOf({ 'Content-Length': '1' }, { body: '1' })
      assert.equal(body.isRead, false)
      await first(body).catch((error: unknown) => assert.ok(error instanceof MalformedBodyError))
      assert.equal(body.isRead, true)
      await assert.rejects(second(body), {
        name: 'TypeError',
        message:
          'Cannot read the request body: it has been read before; keep what the first read returned',
      })
    }
  }
})

test('an empty body, too, can be read once', async () => {
  const body = bodyOf({})
  await body.text()
  await assert.rejects(body.text(), TypeError)
})

test('a body of just the limit is fine, one byte more is too long, declared or chunked', async () => {
  for (const make of [
    () => '12345',
    () => chunks('12345'),
    () => chunks('12', '345'),
    () => chunks('1', '2', '3', '4', '5'),
  ] as (() => RequestText)[]) {
    for (const [limit, status] of [
      [5, 200],
      [4, 413],
      [0, 413],
      [Infinity, 200],
    ] as const) {
      const byMethod = testApp(async (conn) =>
        conn.ok(await conn.requestBody.withLimit(limit).text()),
      )
      const byServer = testApp(async (conn) => conn.ok(await conn.requestBody.text()), {
        maxBodyBytes: limit,
      })
      const asItArrives = testApp(async (conn) => {
        for await (const chunk of conn.requestBody.withLimit(limit)) assert.ok(chunk.length > 0)
        conn.withStatus(200)
      })
      for (const app of [byMethod, byServer, asItArrives]) {
        assert.equal((await app.post('/', { body: make() })).status, status)
        assert.deepEqual(app.errors, [])
      }
    }
  }
})

test('a body that declares more than the limit is refused unread', async () => {
  const openBody = mock.fn(() => chunks('12345'))
  const body = bodyOf({ 'Content-Length': '5' }, { openBody }).withLimit(4)
  await assert.rejects(
    body.text(),
    (error) => error instanceof BodyTooLongError && error.limitBytes === 4,
  )
  assert.equal(openBody.mock.callCount(), 0)
})

test('a chunked body that passes the limit is read no further, and let go', async () => {
  let asked = 0
  const close = mock.fn()
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        asked++
        yield encodeText('12')
      }
    } finally {
      close()
    }
  }
  const body = bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: endless }).withLimit(3)
  await assert.rejects(body.bytes(), BodyTooLongError)
  assert.equal(asked, 2)
  assert.equal(close.mock.callCount(), 1)
})

test('the default limit is the server’s, 1 MiB in tests', async () => {
  const app = testApp(async (conn) => conn.ok(String((await conn.requestBody.bytes()).length)))
  assert.equal((await app.post('/', { body: new Uint8Array(1024 * 1024) })).body, '1048576')
  assert.equal((await app.post('/', { body: new Uint8Array(1024 * 1024 + 1) })).status, 413)
})

test('withLimit() refuses what is no limit', () => {
  for (const limit of [-1, Number.NaN, undefined, 'x', '10'] as number[]) {
    assert.throws(() => bodyOf({}).withLimit(limit), {
      name: 'RangeError',
      message: /^Cannot limit the request body to .* bytes: the limit must be a number from 0$/,
    })
  }
})

test('a handler may catch the error of a body that is too long', async () => {
  const app = testApp(async (conn) => {
    try {
      return conn.ok(await conn.requestBody.withLimit(1).text())
    } catch (error) {
      assert.ok(error instanceof BodyTooLongError)
      return conn.withStatus(400).withBody(`at most ${error.limitBytes}`).halt()
    }
  })
  const response = await app.post('/', { body: '12' })
  assert.deepEqual([response.status, response.body], [400, 'at most 1'])
})

test('text is decoded by the charset of the request, else as UTF-8', async () => {
  const app = testApp(async (conn) => conn.ok(await conn.requestBody.text()))
  for (const [contentType, bytes, text] of [
    ['', [0x46, 0xc3, 0xb6], 'Fö'],
    ['text/plain', [0x46, 0xc3, 0xb6], 'Fö'],
    ['text/plain; charset=utf-8', [0x46, 0xc3, 0xb6], 'Fö'],
    ['text/plain; charset=iso-8859-1', [0x46, 0xf6], 'Fö'],
    ['text/plain;Charset="ISO-8859-1"; x=y', [0x46, 0xf6], 'Fö'],
    ['text/plain; charset=utf-16le', [0x46, 0x00, 0xf6, 0x00], 'Fö'],
    ['text/plain; charset=nonsense', [0x46, 0xc3, 0xb6], 'Fö'],
    ['text/plain', [0xef, 0xbb, 0xbf, 0x46], 'F'],
    ['text/plain', [0x46, 0xff, 0x46], 'F\ufffdF'],
  ] as const) {
    const headers: HeadersInput = contentType === '' ? {} : { 'Content-Type': contentType }
    assert.equal(
      (await app.post('/', { headers, body: new Uint8Array(bytes) })).body,
      text,
      contentType,
    )
  }
})

test('a character that arrives in two chunks is one character', async () => {
  const [first, second] = [new Uint8Array([0x46, 0xc3]), new Uint8Array([0xb6])]
  async function* split(): AsyncGenerator<Uint8Array> {
    yield first
    yield second
  }
  assert.equal(await bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: split }).text(), 'Fö')
})

test('JSON is UTF-8 whatever the request says, and may have a byte order mark', async () => {
  const app = testApp(async (conn) => conn.json(await conn.requestBody.json()))
  const headers = { 'Content-Type': 'application/json; charset=iso-8859-1' }
  assert.equal((await app.post('/', { headers, body: '"Fårö"' })).json(), 'Fårö')
  assert.equal((await app.post('/', { body: '\ufeff[1]' })).body, '[1]')
  assert.equal((await app.post('/', { body: 'null' })).body, 'null')
})

test('broken JSON is a 400 with a cause', async () => {
  const app = testApp(async (conn) => conn.json(await conn.requestBody.json()))
  for (const body of ['', ' ', '{', '{a:1}', "{'a':1}", '[1,]', 'undefined', 'NaN', '{}{}']) {
    const response = await app.post('/', { body })
    assert.deepEqual([response.status, response.body], [400, ''])
    await assert.rejects(bodyOf({ 'Content-Length': '1' }, { body }).json(), (error) => {
      assert.ok(error instanceof MalformedBodyError)
      assert.match(error.message, /^Cannot read the request body as JSON: ./)
      assert.ok(error.cause instanceof SyntaxError)
      return true
    })
  }
  assert.deepEqual(app.errors, [])
})

test('JSON with a key __proto__ is refused, also where it is escaped or nested', async () => {
  for (const body of [
    '{"__proto__":{"isAdmin":true}}',
    '{"\\u005f\\u005fproto__":{"isAdmin":true}}',
    '{"__pr\\u006Fto__":1}',
    '{"a":[{"b":{"__proto__":null}}]}',
    '{"a":1,"__proto__":2,"b":3}',
  ]) {
    await assert.rejects(
      bodyOf({ 'Content-Length': '1' }, { body }).json(),
      {
        name: 'MalformedBodyError',
        message: 'Cannot read the request body as JSON: an object has the key "__proto__"',
      },
      body,
    )
  }
})

test('__proto__ as a value, and keys that only look alike, are fine', async () => {
  for (const body of [
    '"__proto__"',
    '{"a":"__proto__"}',
    '{"a__proto__":1,"__proto":2}',
    '{"constructor":{"prototype":1}}',
    '{"\\u0061":"\\u005f"}',
    '["\\\\u005f"]',
  ]) {
    assert.deepEqual(await bodyOf({ 'Content-Length': '1' }, { body }).json(), JSON.parse(body))
  }
})

test('a form is read, urlencoded or multipart', async () => {
  const app = testApp(async (conn) => {
    const form = await conn.requestBody.formData()
    const file = form.get('file')
    conn.json([
      form.getAll('name'),
      file instanceof File ? [file.name, file.type, await file.text()] : file,
    ])
  })
  const urlencoded = { 'Content-Type': 'application/x-www-form-urlencoded' }
  assert.deepEqual(
    (await app.post('/', { headers: urlencoded, body: 'name=F%C3%A5r%C3%B6&name=a+b' })).json(),
    [['Fårö', 'a b'], null],
  )

  const form = new FormData()
  form.append('name', 'Fårö')
  form.append('file', new File(['leaf'], 'fern.txt', { type: 'text/plain' }))
  const encoded = new Response(form)
  const multipart = { 'Content-Type': encoded.headers.get('content-type') ?? '' }
  const body = new Uint8Array(await encoded.arrayBuffer())
  assert.deepEqual((await app.post('/', { headers: multipart, body })).json(), [
    ['Fårö'],
    ['fern.txt', 'text/plain', 'leaf'],
  ])
})

test('a body that is no form is a 400', async () => {
  const app = testApp(async (conn) => conn.json([...(await conn.requestBody.formData()).keys()]))
  for (const headers of [
    {},
    { 'Content-Type': 'text/plain' },
    { 'Content-Type': 'multipart/form-data; boundary=x' },
    { 'Content-Type': 'multipart/form-data' },
  ] as HeadersInput[]) {
    assert.equal((await app.post('/', { headers, body: 'nothing' })).status, 400)
  }
  assert.deepEqual(app.errors, [])
  await assert.rejects(
    bodyOf({ 'Content-Type': 'text/plain', 'Content-Length': '1' }, { body: 'x' }).formData(),
    {
      name: 'MalformedBodyError',
      message: 'Cannot read the request body as a form: its content type is "text/plain"',
    },
  )
})

test('a client that leaves before its body is complete is a 400 with the cause, and not reported', async () => {
  const cause = new Error('ECONNRESET')
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield encodeText('half')
    throw cause
  }
  const app = testApp(async (conn) => conn.ok(await conn.requestBody.text()))
  assert.equal((await app.post('/', { body: broken() })).status, 400)
  assert.deepEqual(app.errors, [])
  const body = bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: broken })
  await assert.rejects(
    body.text(),
    (error) => error instanceof BodyAbortedError && error.cause === cause,
  )
})

test('a handler that stops reading lets go of the body', async () => {
  const close = mock.fn()
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield encodeText('x')
    } finally {
      close()
    }
  }
  const body = bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: endless })
  for await (const chunk of body) {
    assert.equal(chunk.length, 1)
    break
  }
  assert.equal(close.mock.callCount(), 1)
})

test('a body is a web stream that reads no further than its reader', async () => {
  const pulled: string[] = []
  async function* parts(): AsyncGenerator<Uint8Array> {
    for (const part of ['one', 'two', 'three']) {
      pulled.push(part)
      yield encodeText(part)
    }
  }
  const body = bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: parts })
  const stream = body.stream()
  await Promise.resolve()
  assert.equal(body.isRead, false)
  const reader = stream.getReader()
  assert.deepEqual((await reader.read()).value, encodeText('one'))
  assert.equal(body.isRead, true)
  assert.deepEqual(pulled, ['one'])
  assert.deepEqual((await reader.read()).value, encodeText('two'))
  assert.deepEqual((await reader.read()).value, encodeText('three'))
  assert.equal((await reader.read()).done, true)
  assert.equal(await new Response(bodyOf({}).stream()).text(), '')
})

test('a stream that nobody has read leaves the body to others', async () => {
  const body = bodyOf({ 'Content-Length': '4' }, { body: 'fern' })
  const stream = body.stream()
  assert.equal(await body.text(), 'fern')
  await assert.rejects(stream.getReader().read(), {
    name: 'TypeError',
    message: /been read before/,
  })
})

test('the stream of a body has the errors of every way of reading', async () => {
  const declared = bodyOf({ 'Content-Length': '3' }, { body: 'abc' }).withLimit(2)
  await assert.rejects(declared.stream().getReader().read(), BodyTooLongError)
  const chunked = bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: () => chunks('ab', 'c') })
  const reader = chunked.withLimit(2).stream().getReader()
  await reader.read()
  await assert.rejects(reader.read(), BodyTooLongError)
})

test('a stream that is cancelled lets go of the body, also before it was read', async () => {
  const close = mock.fn()
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield encodeText('x')
    } finally {
      close()
    }
  }
  const body = bodyOf({ 'Transfer-Encoding': 'chunked' }, { openBody: endless })
  await body.stream().cancel()
  assert.equal(body.isRead, false)
  const reader = body.stream().getReader()
  await reader.read()
  await reader.cancel()
  await settled()
  assert.equal(close.mock.callCount(), 1)
})

test('trailers are there when the body was read to its end, and are no headers', async () => {
  const trailers = { 'X-Checksum': 'a1', Host: 'evil.test' }
  const app = testApp(async (conn) => {
    const before = conn.requestTrailers
    const body = await conn.requestBody.text()
    conn.json([body, before ?? 'none', conn.requestTrailers ?? 'none', conn.host])
  })
  for (const body of ['fern', chunks('fe', 'rn')]) {
    assert.deepEqual((await app.post('/', { body, trailers })).json(), [
      'fern',
      'none',
      { 'x-checksum': 'a1', host: 'evil.test' },
      'wakerobin.test',
    ])
  }
  assert.deepEqual((await app.post('/', { body: 'fern' })).json(), [
    'fern',
    'none',
    'none',
    'wakerobin.test',
  ])
})

test('a body of which the rest is not read has no trailers', async () => {
  const app = testApp(async (conn) => {
    for await (const chunk of conn.requestBody) if (chunk.length > 0) break
    conn.json(conn.requestTrailers ?? 'none')
  })
  const request = { body: chunks('a', 'b'), trailers: { a: '1' } }
  assert.equal((await app.post('/', request)).json(), 'none')
})

function bodyOf(
  headers: HeadersInput,
  {
    body = '',
    openBody = () => chunks(body),
  }: { body?: string; openBody?: () => AsyncIterable<Uint8Array> } = {},
): RequestBody {
  const map = new HeaderMap(headers)
  return new RequestBody(
    incomingOf({ method: 'POST', rawHeaders: map.toRawHeaders(), openBody }),
    map,
  )
}

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield encodeText(text)
}
