import assert from 'node:assert/strict'
import { mock, test } from 'node:test'

import { connOf } from '../fixtures/conn-of.ts'
import type { Body, BodySource } from './body.ts'
import { isBodySource } from './body.ts'
import type { Conn } from './conn.ts'
import { finalize } from './finalize.ts'
import type { FinalResponse } from './finalize.ts'
import { testApp } from './testing.ts'

test('a conn without a status is a 404, for CONNECT a 501', () => {
  assert.equal(final('GET').status, 404)
  assert.equal(final('OPTIONS').status, 404)
  assert.equal(final('CONNECT').status, 501)
  assert.equal(final('CONNECT', (conn) => conn.withStatus(403)).status, 403)
})

test('a body in memory has its length in bytes, no body has length 0', () => {
  assert.deepEqual(
    final('GET', (conn) => conn.ok('Fårö')),
    { status: 200, rawHeaders: [], contentLength: 6, bodyLength: 6, body: 'Fårö' },
  )
  const bytes = new Uint8Array(3)
  assert.deepEqual(
    final('GET', (conn) => conn.ok(bytes)),
    { status: 200, rawHeaders: [], contentLength: 3, bodyLength: 3, body: bytes },
  )
  assert.deepEqual(
    final('GET', (conn) => conn.ok('')),
    { status: 200, rawHeaders: [], contentLength: 0, bodyLength: 0, body: '' },
  )
  assert.deepEqual(final('GET'), {
    status: 404,
    rawHeaders: [],
    contentLength: 0,
    bodyLength: 0,
    body: undefined,
  })
})

test('the length of text is measured by the server’s own function', () => {
  const conn = connOf({ method: 'GET' }).withBody('text')
  assert.equal(finalize(conn, (text) => text.length + 100).contentLength, 104)
})

test('a streaming body has the length it declares, or none', () => {
  const unknown = final('GET', (conn) => conn.ok(spySource()))
  assert.equal(unknown.contentLength, undefined)
  assert.ok(isBodySource(unknown.body))
  const known = { ...spySource(), length: 12 }
  const response = final('GET', (conn) => conn.ok(known))
  assert.equal(response.contentLength, 12)
  assert.equal(response.body, known)
  assert.ok(isBodySource(final('GET', (conn) => conn.ok(new ReadableStream<string>())).body))
})

test('HEAD has the length of its body and no body; a stream is let go unstarted', () => {
  assert.deepEqual(
    final('HEAD', (conn) => conn.ok('Fårö')),
    { status: 200, rawHeaders: [], contentLength: 6, bodyLength: undefined, body: undefined },
  )
  const source = { ...spySource(), length: 12 }
  assert.deepEqual(
    final('HEAD', (conn) => conn.ok(source)),
    { status: 200, rawHeaders: [], contentLength: 12, bodyLength: undefined, body: undefined },
  )
  assert.equal(source.closed.mock.callCount(), 1)
  assert.equal(source.start.mock.callCount(), 0)
})

test('204 and 304 have neither length nor body; a stream is let go unstarted', () => {
  for (const method of ['GET', 'HEAD']) {
    for (const status of [204, 304]) {
      for (const body of ['text', new Uint8Array(3), undefined]) {
        const response = final(method, (conn) =>
          body === undefined ? conn.withStatus(status) : conn.withStatus(status).withBody(body),
        )
        assert.deepEqual(response, {
          status,
          rawHeaders: [],
          contentLength: undefined,
          bodyLength: undefined,
          body: undefined,
        })
      }
      const source = { ...spySource(), length: 12 }
      const response = final(method, (conn) => conn.withStatus(status).withBody(source))
      assert.deepEqual(response, {
        status,
        rawHeaders: [],
        contentLength: undefined,
        bodyLength: undefined,
        body: undefined,
      })
      assert.equal(source.closed.mock.callCount(), 1)
      assert.equal(source.start.mock.callCount(), 0)
    }
  }
})

test('HEAD, 204 and 304 let go of generators, streams and node streams', async () => {
  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ] as const) {
    const cancel = mock.fn()
    const generator = (async function* (): AsyncGenerator<string> {
      assert.fail('not started')
    })()
    const app = testApp((conn) =>
      conn
        .withStatus(status)
        .withBody(conn.path === '/' ? generator : new ReadableStream<string>({ cancel })),
    )
    const response = await app.request(method, '/')
    await app.request(method, '/stream')
    assert.equal(response.status, status)
    assert.equal(response.bytes.length, 0)
    assert.deepEqual(await generator.next(), { done: true, value: undefined })
    assert.equal(cancel.mock.callCount(), 1)
    assert.deepEqual(app.errors, [])
  }
})

test('a Content-Length that a handler has set is kept where it is true', () => {
  for (const body of ['abc', new Uint8Array(3)]) {
    const response = final('GET', (conn) => conn.withResponseHeader('content-length', 3).ok(body))
    assert.deepEqual(response, {
      status: 200,
      rawHeaders: ['content-length', '3'],
      contentLength: undefined,
      bodyLength: 3,
      body,
    })
  }
  const stream = final('GET', (conn) =>
    conn.withResponseHeader('Content-Length', '3').ok(spySource()),
  )
  assert.equal(stream.contentLength, undefined)
  assert.equal(stream.bodyLength, 3)
})

test('205 has an empty body, whatever a handler has set', () => {
  const source = { ...spySource(), length: 12 }
  for (const body of ['text', source]) {
    assert.deepEqual(
      final('GET', (conn) => conn.withStatus(205).withBody(body)),
      { status: 205, rawHeaders: [], contentLength: 0, bodyLength: undefined, body: undefined },
    )
  }
  assert.equal(source.closed.mock.callCount(), 1)
})

test('a Content-Length that is not that of the body is refused', () => {
  for (const body of ['abc', new Uint8Array(3), undefined, { ...spySource(), length: 3 }]) {
    assert.throws(
      () =>
        final('GET', (conn) =>
          (body === undefined ? conn : conn.withBody(body)).withResponseHeader('CONTENT-length', 4),
        ),
      {
        name: 'TypeError',
        message: `Cannot send a body of ${body === undefined ? 0 : 3} bytes with the Content-Length 4: leave the header out, it is set from the body`,
      },
    )
  }
})

test('a Content-Length may describe what HEAD and 304 do not send', () => {
  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 304],
  ] as const) {
    const response = final(method, (conn) =>
      conn.withStatus(status).withResponseHeader('Content-Length', 4),
    )
    assert.deepEqual(response, {
      status,
      rawHeaders: ['Content-Length', '4'],
      contentLength: undefined,
      bodyLength: undefined,
      body: undefined,
    })
  }
})

test('a Content-Length that is no single decimal number is refused', () => {
  for (const value of [
    '',
    '-1',
    '+1',
    '1.5',
    '1e3',
    '0x1',
    '1 2',
    '1,1',
    'abc',
    '1'.repeat(16),
    ['3', '3'],
    ['3', '4'],
  ]) {
    for (const body of ['abc', spySource()]) {
      assert.throws(
        () =>
          final('GET', (conn) =>
            conn.withResponseHeader('Content-Length', value).withBody(body as Body),
          ),
        {
          name: 'TypeError',
          message: /^Cannot send the Content-Length ".*": it must be one decimal number$/,
        },
      )
    }
  }
})

test('a Transfer-Encoding that a handler has set is refused', () => {
  assert.throws(
    () => final('GET', (conn) => conn.withResponseHeader('transfer-encoding', 'chunked').ok('x')),
    {
      name: 'TypeError',
      message: "Cannot send a Transfer-Encoding that a handler has set: framing is the server's",
    },
  )
})

test('refused framing is a 500 that is reported, and lets go of the body', async () => {
  const source = spySource()
  const app = testApp((conn) =>
    conn.withResponseHeader('Content-Length', 'x').withResponseHeader('a', 'b').ok(source),
  )
  const response = await app.get('/')
  assert.equal(response.status, 500)
  assert.deepEqual([...response.headers], [['Content-Length', '0']])
  assert.equal(app.errors[0]?.place, 'the response')
  assert.equal(source.closed.mock.callCount(), 1)
  assert.equal(source.start.mock.callCount(), 0)
})

test('the headers of the handlers are sent in their order, and nothing is added', () => {
  const response = final('GET', (conn) => {
    conn.responseHeaders.append('b', '1').append('a', 'Fårö').append('b', '2')
  })
  assert.deepEqual(response.rawHeaders, [
    'b',
    '1',
    'a',
    Buffer.from('Fårö').toString('latin1'),
    'b',
    '2',
  ])
})

function final(method: string, prepare: (conn: Conn) => unknown = () => {}): FinalResponse {
  const conn = connOf({ method })
  prepare(conn)
  return finalize(conn, Buffer.byteLength)
}

function spySource() {
  return { start: mock.fn<BodySource['start']>(), drained() {}, stop() {}, closed: mock.fn() }
}

test('a Content-Length that a handler has set on a 204 or 205 is refused: what follows would be the body', () => {
  for (const status of [204, 205]) {
    assert.throws(
      () =>
        final('GET', (conn) =>
          conn.withStatus(status).withResponseHeader('Content-Length', 5).withBody('hello'),
        ),
      { message: `Cannot send a ${status} with the Content-Length 5: it has no body` },
    )
  }
  const reset = final('GET', (conn) => conn.withStatus(205).withResponseHeader('Content-Length', 0))
  assert.deepEqual(reset.rawHeaders, ['Content-Length', '0'])
})

test('a length that is no whole number of bytes is refused', () => {
  for (const length of [NaN, -1, 4.5, Infinity, '5', null]) {
    const source = { ...spySource(), length: length as number }
    assert.throws(
      () => final('GET', (conn) => conn.ok(source)),
      /^TypeError: Cannot send a body of length/,
    )
  }
})

test('a switch of protocols has no body and no length, and is refused where nobody makes it good', () => {
  const source = { ...spySource(), length: 12 }
  const switching = connOf().withStatus(101).withResponseHeader('Upgrade', 'echo').withBody(source)
  assert.throws(() => finalize(switching, Buffer.byteLength), {
    name: 'TypeError',
    message: /^Cannot answer with a 101: .* no handler takes the connection over$/,
  })
  assert.deepEqual(finalize(switching, Buffer.byteLength, true), {
    status: 101,
    rawHeaders: ['Upgrade', 'echo'],
    contentLength: undefined,
    bodyLength: undefined,
    body: undefined,
  })
  assert.equal(source.closed.mock.callCount(), 1)
  switching.withResponseHeader('Content-Length', 12)
  assert.throws(() => finalize(switching, Buffer.byteLength, true), {
    message: 'Cannot send a 101 with the Content-Length 12: it has no body',
  })
})

test('a 101 of an app under test is one where a handler would take the connection over, else a 500', async () => {
  const asked: Conn[] = []
  const app = testApp([
    {
      hasUpgrade({ conn, takeTransport }) {
        asked.push(conn)
        assert.throws(
          takeTransport,
          /^TypeError: Cannot take the connection over: testApp has none/,
        )
        return conn.path === '/echo'
      },
      upgrade: () => assert.fail('there is no connection'),
    },
    (conn) => conn.withStatus(101).withResponseHeader('Upgrade', 'echo').halt(),
  ])
  const response = await app.get('/echo')
  assert.deepEqual([response.status, response.headers.get('upgrade')], [101, 'echo'])
  assert.equal((await app.get('/')).status, 500)
  assert.match(String(app.errors[0]?.error), /^TypeError: Cannot answer with a 101/)
  assert.equal(asked.length, 2)
})
