/** Apps that do what they should not: what their clients see of it. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { Conn, HeaderMap } from '@wakerobin/core'
import type { AnyHandler, Handler } from '@wakerobin/core'

import { Gate, start, turns, until } from '../fixtures/harness.ts'

const never = new Promise<never>(() => {})
const injected = 'x\r\nSet-Cookie: admin=1\r\n\r\n<script>'

describe('response splitting', () => {
  // Everything that takes a text which ends up in a head.
  const ways: Record<string, (conn: Conn, text: string) => unknown> = {
    'withResponseHeader, value': (conn, text) => conn.withResponseHeader('X', text),
    'withResponseHeader, name': (conn, text) => conn.withResponseHeader(text, 'x'),
    'withResponseHeader, one of several': (conn, text) => conn.withResponseHeader('X', ['a', text]),
    set: (conn, text) => conn.responseHeaders.set('X', text),
    'set, name': (conn, text) => conn.responseHeaders.set(text, 'x'),
    append: (conn, text) => conn.responseHeaders.append('X', text),
    'append to what is there': (conn, text) => conn.responseHeaders.set('X', 'a').append('x', text),
    'appendAll, record': (conn, text) => conn.responseHeaders.appendAll({ X: text }),
    'appendAll, name': (conn, text) => conn.responseHeaders.appendAll({ [text]: 'x' }),
    'appendAll, pairs': (conn, text) => conn.responseHeaders.appendAll([['X', text]]),
    'another HeaderMap': (conn, text) => conn.responseHeaders.appendAll(new HeaderMap({ X: text })),
    'a map that claims to be received': (conn, text) =>
      conn.responseHeaders.appendAll(HeaderMap.fromRawHeaders(['X', text])),
    'a name that claims to be received': (conn, text) =>
      conn.responseHeaders.appendAll(HeaderMap.fromRawHeaders([text, 'x'])),
    'Content-Type': (conn, text) => conn.withResponseHeader('Content-Type', text),
    Location: (conn, text) => conn.withStatus(302).withResponseHeader('Location', `/${text}`),
    'Set-Cookie': (conn, text) => conn.withResponseHeader('Set-Cookie', `a=${text}`),
    'Content-Length': (conn, text) => conn.withResponseHeader('Content-Length', text),
    Connection: (conn, text) => conn.withResponseHeader('Connection', text),
    status: (conn, text) => conn.withStatus(text as never),
  }
  const texts = [injected, 'x\ry', 'x\ny', 'x\0y', 'x\x7fy', 'x\x01', '\r\n', 'x\r\n y']
  // As UTF-8, or cut to a byte, these would be line breaks.
  const lookalikes = ['\u010d\u010a', '\u560d\u560a', 'é\u2028', '\ud800', 'ÿ']

  for (const [name, way] of Object.entries(ways)) {
    test(`[requests 6.1] a line break or control character by ${name} is refused and reported, and the answer is a 500`, async (t) => {
      let text = ''
      const server = await start(t, (conn) => {
        if (conn.path === '/after') return conn.ok('after')
        way(conn, text)
        return conn.withBody('body').halt()
      })
      for (text of texts) {
        const client = await server.connect()
        const response = await client.get('/').response()
        assert.equal(response.status, 500, JSON.stringify(text))
        assert.equal(response.body, '')
        assert.doesNotMatch(response.head, /admin|script|x\r|x\n/)
        assert.equal((await client.get('/after').response()).body, 'after')
        assert.equal(client.text, '')
      }
      assert.equal(server.errors.length, texts.length)
    })
  }

  test('[requests 6.2] what only looks like a line break in some encoding goes out as UTF-8, on one line', async (t) => {
    let text = ''
    const server = await start(t, (conn) => {
      conn.withResponseHeader('X', text)
      if (conn.path === '/bytes') return conn.ok(Buffer.from('bytes'))
      return conn.ok(conn.path === '/stream' ? new Blob(['stream']).stream() : 'text')
    })
    const client = await server.connect()
    for (text of lookalikes) {
      for (const path of ['/text', '/bytes', '/stream']) {
        const response = await client.get(path).response()
        assert.equal(response.status, 200)
        const value = Buffer.from(response.field('x')!, 'latin1').toString()
        assert.equal(value, Buffer.from(text).toString())
        assert.equal(response.body, path.slice(1))
      }
    }
  })

  test('[requests 6.2] what a client has sent goes back as it came, and splits nothing', async (t) => {
    const server = await start(t, (conn) => {
      conn.withResponseHeader('X-Path', conn.path).withResponseHeader('X-Host', conn.host ?? '')
      conn.responseHeaders.appendAll(conn.requestHeaders)
      conn.responseHeaders.delete('content-length')
      return conn.ok('ok')
    })
    const client = await server.connect()
    const response = await client
      .send(
        Buffer.from(
          'GET /%0d%0aSet-Cookie:a HTTP/1.1\r\nHost: a\r\nX: \xff\xfe %0d%0a\r\n\r\n',
          'latin1',
        ),
      )
      .response()
    assert.equal(response.status, 200)
    assert.equal(response.field('x-path'), '/%0d%0aSet-Cookie:a')
    assert.equal(response.field('x'), '\xff\xfe %0d%0a')
    assert.equal(response.field('set-cookie'), undefined)
  })
})

describe('handlers that are wrong', () => {
  const wrong: Record<string, AnyHandler> = {
    'returns a number': (() => 42) as never,
    'returns a text': (() => 'text') as never,
    'returns null': (() => null) as never,
    'returns a Response': (() => new Response('x')) as never,
    'returns another conn': ((conn: Conn) => Object.create(conn)) as never,
    'resolves to a number': (async () => 42) as never,
    'resolves to another conn': (async (conn: Conn) =>
      new Conn({ ...conn, method: 'GET' } as never)) as never,
    'throws an error': () => {
      throw new Error('SECRET')
    },
    'throws a text': () => {
      // oxlint-disable-next-line no-throw-literal -- that is the point
      throw 'SECRET'
    },
    'throws null': () => {
      // oxlint-disable-next-line no-throw-literal -- that is the point
      throw null
    },
    'throws undefined': async () => {
      // oxlint-disable-next-line no-throw-literal -- that is the point
      throw undefined
    },
    rejects: () => Promise.reject(new Error('SECRET')),
    'rejects with null': () => Promise.reject(null),
    'throws in a thenable': (() => ({
      // oxlint-disable-next-line no-thenable -- that is the point
      then() {
        throw new Error('SECRET')
      },
    })) as never,
    'throws what cannot be shown': () => {
      throw new Proxy({}, { get: () => assert.fail('SECRET') })
    },
    'throws behind a header': (conn) => {
      conn.withResponseHeader('X-Secret', 'SECRET').withBody('SECRET')
      throw new Error('SECRET')
    },
  }

  for (const [name, handler] of Object.entries(wrong)) {
    test(`[requests 6.3] one that ${name} is an empty 500, reported with its place`, async (t) => {
      const server = await start(t, [
        (conn) => (conn.path === '/after' ? conn.ok('after') : undefined),
        handler,
      ])
      const client = await server.connect()
      const response = await client.get('/').response()
      assert.deepEqual([response.status, response.body], [500, ''])
      assert.doesNotMatch(response.head, /SECRET/i)
      assert.equal(server.errors.length, 1)
      assert.match(server.errors[0]!.context.place, /^app\[1\]/)
      assert.equal((await client.get('/after').response()).body, 'after')
    })
  }

  test('[requests 6.3] one that never settles holds nothing but its own request, and a stop cuts it at the deadline', async (t) => {
    const server = await start(t, (conn) => (conn.path === '/' ? never : conn.ok('ok')), {
      shutdown: { lingerMs: 0, deadlineMs: 50 },
    })
    const client = await server.connect()
    client.get('/')
    await until('it is handled', () => server.handle.report().requestCount === 1)
    assert.equal(await (await fetch(`${server.url}/other`)).text(), 'ok')
    const report = await server.handle.shutDown()
    assert.equal(report.outcome, 'deadline')
    await client.closed()
    assert.equal(client.text, '')
  })
})

describe('errors in the middle of a body', () => {
  async function* failing(seen?: Promise<void>): AsyncGenerator<string> {
    yield 'first'
    await seen
    throw new Error('SECRET')
  }
  const app: Handler = (conn) => {
    if (conn.path === '/declared') conn.withResponseHeader('Content-Length', '100')
    return conn.ok(failing())
  }

  test('[requests 6.4] cut a chunked body: it has no end', async (t) => {
    const server = await start(t, app)
    const client = await server.connect()
    await client.get('/').closed()
    assert.match(client.text, /5\r\nfirst\r\n$/)
    assert.equal(server.errors.length, 1)
  })

  test('[requests 6.4] cut a body of known length: it is shorter', async (t) => {
    const server = await start(t, app)
    const client = await server.connect()
    await client.get('/declared').closed()
    assert.match(client.text, /\r\nContent-Length: 100\r\n[^]*\r\n\r\nfirst$/)
    assert.equal(server.errors.length, 1)
  })

  test('[requests 6.4] reset a connection whose end would be the end of the body', async (t) => {
    const gate = new Gate()
    const server = await start(t, (conn) => conn.ok(failing(gate.pass())))
    const client = await server.connect()
    await client.send('GET / HTTP/1.0\r\n\r\n').received('first')
    gate.open() // not before: node's client takes a reset that comes together with data for an end
    await client.closed()
    assert.doesNotMatch(client.text, /Content-Length|chunked/i)
    assert.equal(client.error?.code, 'ECONNRESET')
    assert.equal(server.errors.length, 1)
  })

  test('[requests 6.4] in nobody else: a client of the same server goes on', async (t) => {
    const server = await start(t, [
      (conn) => (conn.path === '/other' ? conn.ok('ok') : undefined),
      app,
    ])
    const other = await server.connect()
    for (let round = 0; round < 20; round++) {
      const client = await server.connect()
      await client.get('/').closed()
      assert.equal((await other.get('/other').response()).body, 'ok')
    }
    await until('only one is left', () => server.handle.report().connections === 1)
  })
})

describe('streams that nobody reads', () => {
  test('[requests 6.5] a HEAD starts none, and lets it go; so does a status without a body', async (t) => {
    let started = 0
    let canceled = 0
    const server = await start(t, (conn) => {
      const stream = new ReadableStream(
        { pull: () => void started++, cancel: () => void canceled++ },
        { highWaterMark: 0 },
      )
      return conn.path === '/204' ? conn.withStatus(204).withBody(stream).halt() : conn.ok(stream)
    })
    const client = await server.connect()
    for (let round = 0; round < 100; round++) {
      const isHead = round % 2 === 0
      client.request(isHead ? 'HEAD' : 'GET', isHead ? '/' : '/204')
      const response = await client.response({ isHead })
      assert.equal(response.status, isHead ? 200 : 204)
    }
    await turns()
    assert.deepEqual({ started, canceled }, { started: 0, canceled: 100 })
    assert.equal(client.text, '')
  })

  test('[requests 6.5] twenty firehoses that nobody reads take no more than their buffers', async (t) => {
    let taken = 0
    const block = new Uint8Array(64 * 1024)
    const server = await start(t, (conn) => {
      async function* firehose(): AsyncGenerator<Uint8Array> {
        for (;;) {
          taken += block.length
          yield block
        }
      }
      return conn.ok(firehose())
    })
    for (let left = 20; left > 0; left--) {
      const client = await server.connect()
      client.socket.pause()
      client.get('/')
    }
    let before = -1
    await until('all are stalled', () => {
      const isStill = taken === before && taken > 0
      before = taken
      return isStill
    })
    const stalled = taken
    await turns(200)
    assert.ok(taken - stalled <= 20 * block.length, 'nothing is made that nobody takes')
  })
})

describe('JSON of strangers', () => {
  test('[requests 6.6] an own __proto__ key in it, however it is spelt and wherever it is, is a 400', async (t) => {
    const server = await start(t, async (conn) => {
      const copy = Object.assign({}, await conn.requestBody.json<object>())
      return conn.ok(`${(copy as { admin?: boolean }).admin}`)
    })
    const client = await server.connect()
    const send = async (text: string): Promise<number> => {
      client.request('POST', '/', `Content-Length: ${Buffer.byteLength(text)}`).send(text)
      const response = await client.response()
      assert.doesNotMatch(response.body, /true/)
      return response.status
    }
    for (const text of [
      '{"__proto__":{"admin":true}}',
      '{"a":[{"b":{"__proto__":1}}]}',
      '{"\\u005f_proto__":{"admin":true}}',
      '{"__proto\\u005f_":{"admin":true}}',
      '{ "__proto__" : null }',
      '{"__proto__":{"admin":true},"__proto__":1}',
      '{"a":1',
      '',
    ])
      assert.equal(await send(text), 400, text)
    for (const text of [
      '{"proto":1}',
      '{"a":"__proto__"}',
      '{"constructor":{"prototype":1}}',
      '[]',
      '1',
    ])
      assert.equal(await send(text), 200, text)
    assert.deepEqual(server.errors, [])
  })
})
