import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'

import { State, type AnyHandler, type BodySource, type Conn, type Handler } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'
import { SseEvent } from '@wakerobin/sse'

import { Gate, turns, until } from '../fixtures/harness.ts'

import { connect, nodeRequest, type Middleware } from './connect.ts'

/** Replaces `end` and `write`, as encoders do, with ones that write in capitals. */
const shouting: Middleware = (_request, response, next) => {
  const { write, end } = response
  response.write = (chunk: unknown) =>
    write.call(response, String(chunk).toUpperCase(), 'utf8', ignore)
  response.end = ((chunk?: unknown) => {
    if (chunk !== undefined) response.write(chunk)
    return end.call(response, undefined, 'utf8')
  }) as typeof end
  next()
}

function ignore(): void {}

/** Sets a field when the head is made, as `on-headers` does. */
function onHead(set: (response: ServerResponse) => void): Middleware {
  return (_request, response, next) => {
    const { writeHead } = response
    response.writeHead = (() => {
      set(response)
      return writeHead.call(response, response.statusCode)
    }) as typeof writeHead
    next()
  }
}

// ------------------------------------------------------------------------- middleware that passes on

test('next() passes the conn on', async () => {
  const seen: unknown[] = []
  const app = testApp([
    connect((request, _response, next) => {
      seen.push(request.method, request.url, request.headers['x-a'], request.httpVersion)
      next()
    }),
    'hello',
  ])
  const response = await app.get('/path?query', { headers: { 'X-A': '1' } })
  assert.equal(response.status, 200)
  assert.equal(response.body, 'hello')
  assert.deepEqual(seen, ['GET', '/path?query', '1', '1.1'])
  assert.deepEqual(app.errors, [])
})

test('what middleware sets on res is on the conn, and later handlers may change it', async () => {
  const app = testApp([
    (conn) =>
      void conn
        .withStatus(202)
        .withResponseHeader('X-Before', 'a')
        .withResponseHeader('X-Gone', 'b'),
    connect((_request, response, next) => {
      assert.equal(response.statusCode, 202)
      assert.equal(response.getHeader('x-before'), 'a')
      response.removeHeader('X-Gone')
      response.setHeader('X-Frame-Options', 'DENY')
      response.setHeader('Set-Cookie', ['a=1', 'b=2'])
      response.setHeader('X-Number', 7)
      response.statusCode = 203
      next()
    }),
    (conn) => {
      assert.equal(conn.status, 203)
      assert.equal(conn.responseHeaders.get('x-frame-options'), 'DENY')
      conn.withResponseHeader('X-Frame-Options', 'SAMEORIGIN')
      return conn.withBody('body').halt()
    },
  ])
  const { status, headers } = await app.get('/')
  assert.equal(status, 203)
  assert.equal(headers.get('x-frame-options'), 'SAMEORIGIN')
  assert.deepEqual(headers.getSetCookie(), ['a=1', 'b=2'])
  assert.equal(headers.get('x-number'), '7')
  assert.equal(headers.get('x-before'), 'a')
  assert.equal(headers.has('x-gone'), false)
})

test('several lines of a field are seen by middleware, and stay', async () => {
  const app = testApp([
    (conn) => void conn.responseHeaders.append('Set-Cookie', 'a=1').append('Set-Cookie', 'b=2'),
    connect((_request, response, next) => {
      assert.deepEqual(response.getHeader('set-cookie'), ['a=1', 'b=2'])
      response.appendHeader('Set-Cookie', 'c=3')
      next()
    }),
    connect((_request, response) => response.end('hello')),
  ])
  const { headers } = await app.get('/')
  assert.deepEqual(headers.getSetCookie(), ['a=1', 'b=2', 'c=3'])
  assert.deepEqual(app.errors, [])
})

test('what is set on res behind next() is sent as long as the response is not', async () => {
  let res: ServerResponse | undefined
  const app = testApp([
    connect((_request, response, next) => {
      res = response
      next()
    }),
    (conn) => {
      res!.setHeader('X-Late', '1')
      return conn.ok('hello')
    },
  ])
  assert.equal((await app.get('/')).headers.get('x-late'), '1')
})

test('all middleware of a conn has one request and one response', async () => {
  const pairs: unknown[] = []
  const keep: Middleware = (request, response, next) => {
    pairs.push(request, response)
    next()
  }
  const app = testApp([
    connect(keep),
    (conn) => void conn.requestHeaders.set('X-Set', 'here'),
    connect(keep),
    (conn) => {
      assert.equal(nodeRequest(conn), pairs[0])
      assert.equal(nodeRequest(conn).headers['x-set'], 'here')
      return conn.ok('')
    },
  ])
  assert.equal((await app.get('/')).status, 200)
  assert.equal(pairs[0], pairs[2])
  assert.equal(pairs[1], pairs[3])
  await app.get('/')
  assert.notEqual(pairs[0], pairs[4])
})

test('nodeRequest(conn) has what middleware has put there', async () => {
  const app = testApp([
    connect((request, _response, next) => {
      Object.assign(request, { user: 'Fern' })
      next()
    }),
    (conn) => conn.ok(nodeRequest<{ user: string }>(conn).user),
  ])
  assert.equal((await app.get('/')).body, 'Fern')
})

test('nodeRequest(conn) is there without middleware, too', async () => {
  const app = testApp((conn) => conn.ok(String(nodeRequest(conn).url)))
  assert.equal((await app.get('/a?b')).body, '/a?b')
})

test('the socket of the request says of the client what the conn says', async () => {
  const app = testApp([
    connect((request, response) => {
      const { socket } = request
      response.end(
        [
          socket.remoteAddress,
          socket.remoteFamily,
          'encrypted' in socket && socket.encrypted,
        ].join(),
      )
    }),
  ])
  assert.equal(
    (await app.get('/', { peerIp: '2001:db8::1', isSecure: true })).body,
    '2001:db8::1,IPv6,true',
  )
  assert.equal((await app.get('/', { peerIp: '192.0.2.1' })).body, '192.0.2.1,IPv4,false')
})

test('req.url is the path that is pushed, and what middleware has made of it is kept', async () => {
  const urls: unknown[] = []
  const note: Middleware = (request, _response, next) => {
    const { originalUrl, baseUrl } = request as unknown as Record<string, string>
    urls.push([request.url, originalUrl, baseUrl])
    next()
  }
  const app = testApp([
    connect(note),
    (conn) => void conn.pushPath('/c'),
    connect(note),
    connect((request, _response, next) => {
      request.url = '/rewritten'
      next()
    }),
    connect(note),
    (conn) => void conn.popPath(),
    connect(note),
  ])
  await app.get('/a/b/c?d=/e')
  assert.deepEqual(urls, [
    ['/a/b/c?d=/e', '/a/b/c?d=/e', ''],
    ['/c?d=/e', '/a/b/c?d=/e', '/a/b'],
    ['/rewritten', '/a/b/c?d=/e', '/a/b'],
    ['/a/b/c?d=/e', '/a/b/c?d=/e', ''],
  ])
})

test("next('route') and next('router') pass on: what they skip is not here", async () => {
  for (const word of ['route', 'router']) {
    const app = testApp([connect((_request, _response, next) => next(word)), 'hello'])
    assert.equal((await app.get('/')).body, 'hello')
  }
})

// ------------------------------------------------------------------------------------------- errors

test('next(error), a throw and a rejection are errors of the handler', async () => {
  const error = new Error('broken')
  const failing: Middleware[] = [
    (_request, _response, next) => next(error),
    (_request, _response, next) => setImmediate(next, error),
    () => {
      throw error
    },
    async () => {
      throw error
    },
  ]
  for (const middleware of failing) {
    const app = testApp([connect(middleware), 'hello'])
    const response = await app.get('/')
    assert.equal(response.status, 500)
    assert.equal(response.body, '')
    assert.equal(app.errors.length, 1)
    assert.equal(app.errors[0]!.error, error)
    assert.match(app.errors[0]!.place, /^app\[0\] "connect\(/)
  }
})

test('an error that carries a status of the client is answered with that, and not reported', async () => {
  for (const fields of [
    { status: 403 },
    { statusCode: 403 },
    { status: 403, headers: { 'X-Why': 'so' } },
  ]) {
    const error = Object.assign(new Error('secret'), fields)
    const app = testApp([connect((_request, _response, next) => next(error)), 'hello'])
    const { status, body, headers } = await app.get('/')
    assert.equal(status, 403)
    assert.equal(body, '')
    assert.equal(headers.get('x-why'), 'headers' in fields ? 'so' : undefined)
    assert.deepEqual(app.errors, [])
  }
})

test('an error that carries any other status is an error', async () => {
  for (const error of [Object.assign(new Error('no'), { status: 503 }), 'no', { status: 404 }]) {
    const app = testApp(connect((_request, _response, next) => next(error)))
    assert.equal((await app.get('/')).status, 500)
    assert.equal(app.errors[0]!.error, error)
  }
})

test('what fails behind next() or behind an answer is reported, and changes nothing', async () => {
  const error = new Error('late')
  const late: Middleware[] = [
    async (_request, _response, next) => {
      next()
      throw error
    },
    (_request, _response, next) => {
      next()
      next(error)
    },
    (_request, response) => {
      response.end('hello')
      throw error
    },
  ]
  for (const middleware of late) {
    const app = testApp([connect(middleware), 'hello'])
    const response = await app.get('/')
    assert.equal(response.status, 200)
    assert.equal(response.body, 'hello')
    await app.idle()
    assert.equal(app.errors[0]!.error, error)
    assert.equal(app.errors[0]!.place, 'connect(' + middleware.name + ')')
  }
})

test('a second next() is reported', async () => {
  const app = testApp([
    connect((_request, _response, next) => {
      next()
      next()
    }),
    'hello',
  ])
  assert.equal((await app.get('/')).body, 'hello')
  assert.match(String(app.errors[0]!.error), /called next\(\) a second time/)
})

test('an answer behind next() is reported and dropped', async () => {
  const app = testApp([
    connect(function late(_request, response, next) {
      next()
      response.setHeader('X-Late', '1')
      response.end('late')
    }),
    (conn) => conn.ok('hello'),
  ])
  const response = await app.get('/')
  assert.equal(response.body, 'hello')
  assert.match(
    String(app.errors[0]!.error),
    /Cannot answer any more: connect\(late\) has called next\(\) before/,
  )
})

test('an answer behind a failure is reported and dropped', async () => {
  let answer: (() => void) | undefined
  const app = testApp(
    connect((_request, response, next) => {
      answer = () => response.end('late')
      next(new Error('broken'))
    }),
  )
  const opened = await app.get('/')
  answer!()
  assert.equal(opened.status, 500)
})

test('connect() refuses what is no middleware', () => {
  assert.throws(
    () => connect('sirv' as never),
    /Cannot mount "sirv" as middleware: it must be a function/,
  )
  const handlesErrors = Object.defineProperty(() => {}, 'length', { value: 4 })
  assert.throws(
    () => connect(handlesErrors),
    /it takes an error first, and errors do not come to handlers; see onError/,
  )
})

// ------------------------------------------------------------------------- middleware that answers

test('an answer is the response of the conn: later handlers do not run, every beforeSend does', async () => {
  const seen: unknown[] = []
  const app = testApp([
    {
      beforeSend(conn: Conn) {
        seen.push(
          conn.status,
          conn.responseHeaders.get('content-type'),
          conn.responseLength,
          conn.isHalted,
        )
        conn.withResponseHeader('X-After', '1')
        conn.afterSend((isSent) => seen.push(isSent))
      },
    },
    connect((_request, response) => {
      response.writeHead(201, { 'Content-Type': 'text/plain', 'Content-Length': 5 })
      response.end('hello')
    }),
    () => void seen.push('later'),
  ])
  const { status, headers, body } = await app.get('/')
  assert.deepEqual([status, body], [201, 'hello'])
  assert.equal(headers.get('x-after'), '1')
  assert.equal(headers.get('content-length'), '5')
  assert.deepEqual(seen, [201, 'text/plain', 5, true, true])
})

test('an answer in several writes, and one that takes its time, is whole', async () => {
  const answers: Middleware[] = [
    (_request, response) => {
      response.write('a')
      response.write(Buffer.from('b'))
      response.end('ü')
    },
    async (_request, response) => {
      await turns(3)
      response.write('a')
      await turns(3)
      response.write('b')
      await turns(3)
      response.end('ü')
    },
    (_request, response) => void Readable.from(['a', 'b', 'ü']).pipe(response),
    (_request, response) => {
      response.setHeader('Transfer-Encoding', 'chunked')
      response.setHeader('Connection', 'keep-alive')
      response.flushHeaders()
      setImmediate(() => response.end('abü'))
    },
    (_request, response) => {
      response.writeContinue()
      response.writeProcessing()
      response.end('abü')
    },
  ]
  for (const middleware of answers) {
    const app = testApp(connect(middleware))
    const { status, body, headers } = await app.get('/')
    assert.equal(status, 200)
    assert.equal(body, 'abü')
    assert.equal(headers.has('connection'), false)
    assert.deepEqual(app.errors, [])
  }
})

test('header fields are sent as the bytes that they are', async () => {
  const app = testApp(
    connect((_request, response) => {
      response.setHeader('X-Latin', 'é\xa0') // two bytes above 0x7f
      response.end('ü')
    }),
  )
  const { headers, body } = await app.get('/')
  assert.equal(headers.get('x-latin'), 'é\xa0')
  assert.equal(body, 'ü')
})

test('an answer to HEAD has no body, and the length that middleware says', async () => {
  const app = testApp(
    connect((request, response) => {
      if (request.url === '/sized') response.setHeader('Content-Length', 5)
      response.end('hello')
    }),
  )
  const sized = await app.head('/sized')
  assert.deepEqual([sized.status, sized.body, sized.headers.get('content-length')], [200, '', '5'])
  const unknown = await app.head('/')
  assert.deepEqual([unknown.status, unknown.body], [200, ''])
  assert.equal(unknown.headers.has('content-length'), false)
})

test('204 and 304 are sent without a body', async () => {
  const app = testApp(
    connect((request, response) => {
      response.statusCode = Number(request.url!.slice(1))
      response.setHeader('Content-Length', '0')
      response.end()
    }),
  )
  assert.equal((await app.get('/204')).status, 204)
  assert.equal((await app.get('/304')).status, 304)
  assert.deepEqual(app.errors, [])
})

test('a length that is not that of the body is an error', async () => {
  const app = testApp(
    connect((_request, response) => {
      response.setHeader('Content-Length', 3)
      response.end('hello')
    }),
  )
  assert.equal((await app.get('/')).status, 500)
  assert.match(String(app.errors[0]!.error), /Content-Length 3/)
})

test('an interim status is no answer', async () => {
  const app = testApp(connect((_request, response) => void response.writeHead(103).end()))
  assert.equal((await app.get('/')).status, 500)
  assert.match(String(app.errors[0]!.error), /interim status/)
})

test('an interim status is none for a hook to set, either', async () => {
  const app = testApp([
    connect(onHead((response) => (response.statusCode = 103))),
    (conn) => conn.ok('hello'),
  ])
  assert.equal((await app.get('/')).status, 500)
  assert.match(String(app.errors[0]!.error), /interim status/)
})

test('middleware that destroys its response when it has ended it changes nothing', async () => {
  const app = testApp(connect((_request, response) => void response.end('hello').destroy()))
  assert.equal((await app.get('/')).body, 'hello')
})

test('middleware that destroys its response before it answers is an error', async () => {
  for (const error of [undefined, new Error('mine')]) {
    const app = testApp(connect((_request, response) => void response.destroy(error)))
    assert.equal((await app.get('/')).status, 500)
    if (error === undefined)
      assert.match(String(app.errors[0]!.error), /has destroyed the response/)
    else assert.equal(app.errors[0]!.error, error)
  }
})

test('middleware that ends the connection, as it thinks, does the same', async () => {
  const app = testApp(connect((request) => void request.socket.end()))
  assert.equal((await app.get('/')).status, 500)
  assert.match(String(app.errors[0]!.error), /has destroyed the response/)
})

test('what fails in mid-body cuts the response', async () => {
  const error = new Error('broken')
  const failing: Middleware[] = [
    async (_request, response) => {
      response.write('half')
      await turns(5)
      throw error
    },
    (_request, response) => {
      response.write('half')
      setTimeout(() => response.destroy(error), 1)
    },
  ]
  for (const middleware of failing) {
    const app = testApp(connect(middleware))
    const response = await app.get('/')
    assert.ok(response.isCut)
    assert.equal(response.body, 'half')
    assert.equal(app.errors[0]!.error, error)
  }
})

test('what fails before the body is asked for is a 500', async () => {
  const gate = new Gate()
  const error = new Error('broken')
  const app = testApp([
    { beforeSend: () => gate.pass() },
    connect(async (_request, response) => {
      response.write('half')
      await gate.reached()
      throw error
    }),
  ])
  const answered = app.get('/')
  await gate.reached()
  await turns()
  gate.open()
  assert.equal((await answered).status, 500)
  assert.equal(app.errors[0]!.error, error)
})

test('finish comes when the response is sent, close behind it', async () => {
  const seen: string[] = []
  const note = (response: ServerResponse): void => {
    for (const event of ['finish', 'close']) response.on(event, () => seen.push(event))
  }
  const ways: [Middleware, AnyHandler][] = [
    [(_request, response) => (note(response), response.end('x')), ''],
    [
      (_request, response) => (
        note(response),
        response.write('x'),
        setImmediate(() => response.end('y'))
      ),
      '',
    ],
    [(_request, response, next) => (note(response), next()), 'x'],
    [(request, response, next) => (note(response), shouting(request, response, next)), 'x'],
  ]
  for (const [middleware, handler] of ways) {
    const app = testApp([
      (conn: Conn) => void conn.afterSend(() => void seen.push('sent')),
      connect(middleware),
      handler,
    ] as Handler)
    await app.get('/')
    await turns(3)
    assert.deepEqual(seen.splice(0), ['sent', 'finish', 'close'])
    assert.deepEqual(app.errors, [])
  }
})

test('a response that another handler has made is on res when finish comes', async () => {
  const seen: unknown[] = []
  const app = testApp([
    connect((_request, response, next) => {
      response.on('finish', () =>
        seen.push(response.statusCode, response.getHeader('x-a'), response.headersSent),
      )
      next()
    }),
    (conn) => conn.withStatus(418).withResponseHeader('X-A', '1').halt(),
  ])
  await app.get('/')
  await turns(3)
  assert.deepEqual(seen, [418, '1', true])
})

// ------------------------------------------------------------------------------------ replaced methods

test('a response in memory goes through the methods that middleware has replaced', async () => {
  const app = testApp([connect(shouting), 'hello'])
  const { body, headers } = await app.get('/')
  assert.equal(body, 'HELLO')
  assert.equal(headers.get('content-length'), '5')
  assert.deepEqual(app.errors, [])
})

test('a stream goes through them, with its back-pressure', async () => {
  let produced = 0
  const app = testApp([
    connect(shouting),
    (conn) =>
      conn.ok(
        (async function* () {
          for (; produced < 1000; produced++) yield 'x'.repeat(10_000)
        })(),
      ),
  ])
  const opened = await app.open('/')
  opened.stall()
  await turns(200)
  assert.ok(produced < 100, `${produced} pieces were made for a client that does not read`)
  opened.resume()
  const { body } = await opened.ended
  assert.equal(body.length, 10_000_000)
  assert.ok(body.startsWith('XXX'))
})

test('a hook on the head sees what handlers have set, and may change it', async () => {
  const app = testApp([
    connect(
      onHead((response) => {
        assert.equal(response.statusCode, 201)
        assert.equal(response.getHeader('x-kind'), 'new')
        response.setHeader('Set-Cookie', 'id=1')
        response.removeHeader('X-Kind')
        response.statusCode = 202
      }),
    ),
    (conn) => conn.withStatus(201).withResponseHeader('X-Kind', 'new').withBody('body').halt(),
  ])
  const { status, headers, body } = await app.get('/')
  assert.deepEqual(app.errors, [])
  assert.deepEqual([status, body, headers.get('set-cookie')], [202, 'body', 'id=1'])
  assert.equal(headers.has('x-kind'), false)
})

test('hooks run once, for all middleware together, and for errors and what nobody answers', async () => {
  let count = 0
  const counting = connect(onHead(() => count++))
  for (const [handler, expected] of [
    ['hello', 200],
    [undefined, 404],
    [() => Promise.reject(new Error('broken')), 500],
    [(conn: Conn) => conn.withStatus(204).halt(), 204],
    [(conn: Conn) => conn.withStatus(304).halt(), 304],
  ] as const) {
    const app = testApp([
      counting,
      connect((_request, _response, next) => next()),
      counting,
      handler,
    ])
    assert.equal((await app.get('/')).status, expected)
    assert.equal(count, 2)
    count = 0
  }
})

test('an answer of other middleware goes through the replaced methods once', async () => {
  const app = testApp([connect(shouting), connect((_request, response) => response.end('hello'))])
  assert.equal((await app.get('/')).body, 'HELLO')
})

test('handlers outside of the middleware see the response as it is sent', async () => {
  let seen: unknown
  const app = testApp([
    {
      beforeSend: (conn) => void (seen = [conn.responseHeaders.get('x-hook'), conn.responseLength]),
    },
    connect(onHead((response) => response.setHeader('X-Hook', '1'))),
    'hello',
  ])
  await app.get('/')
  assert.deepEqual(seen, ['1', 5])
})

test('an end that is delayed, as by the saving of a session, is waited for', async () => {
  const delaying: Middleware = (_request, response, next) => {
    const { end } = response
    response.end = ((...args: Parameters<typeof end>) => {
      setImmediate(() => end.apply(response, args))
      return response
    }) as typeof end
    next()
  }
  for (const method of ['GET', 'HEAD'] as const) {
    const app = testApp([connect(delaying), 'hello'])
    const response = await app.request(method, '/')
    assert.equal(response.body, method === 'GET' ? 'hello' : '')
    assert.equal(response.headers.get('content-length'), '5')
  }
})

test('an end that never comes is waited for until the client leaves', async () => {
  const closed: string[] = []
  const leaving = new AbortController()
  const app = testApp([
    connect((_request, response, next) => {
      response.on('close', () => closed.push('closed'))
      response.end = () => {
        setImmediate(() => leaving.abort())
        return response
      }
      next()
    }),
    'hello',
  ])
  await assert.rejects(app.get('/', { signal: leaving.signal }))
  await app.idle()
  await turns(3)
  assert.deepEqual(closed, ['closed'])
  assert.deepEqual(app.errors, [])
})

test('middleware is not waited for when the client has left before', async () => {
  const gate = new Gate()
  const leaving = new AbortController()
  const app = testApp([() => gate.pass(), connect(() => {})])
  const request = app.get('/', { signal: leaving.signal })
  await gate.reached()
  leaving.abort()
  await assert.rejects(request)
  gate.open()
  await app.idle()
  assert.deepEqual(app.errors, [])
})

test('a hook that throws, or destroys the response, makes it a 500', async () => {
  const error = new Error('broken')
  const bodies = ['hello', [1, 2, 3]] as const
  for (const body of bodies) {
    for (const hook of [
      () => {
        throw error
      },
      (response: ServerResponse) => void response.destroy(error),
    ]) {
      const app = testApp([
        connect(onHead(hook)),
        (conn) => conn.ok(typeof body === 'string' ? body : Readable.from(body.map(String))),
      ])
      const response = await app.get('/')
      assert.equal(response.status, 500)
      assert.equal(app.errors[0]!.error, error)
    }
  }
})

test('a body that fails, and one that is broken by a replaced method, cut the response', async () => {
  const error = new Error('broken')
  const breaking: Middleware = (_request, response, next) => {
    let count = 0
    const { write } = response
    response.write = (chunk: unknown) => {
      if (count++ > 0) throw error
      return write.call(response, chunk, 'utf8', ignore)
    }
    next()
  }
  const ends: unknown[] = []
  const source = (fails: boolean): BodySource => ({
    start(sink) {
      sink.write(Buffer.from('half'))
      setImmediate(() => (fails ? sink.abort(error) : sink.write(Buffer.from('more'))))
    },
    drained() {},
    stop() {},
    closed: (cause) => void ends.push(cause),
  })
  for (const [middleware, fails] of [
    [shouting, true],
    [breaking, false],
  ] as const) {
    const app = testApp([connect(middleware), (conn) => conn.ok(source(fails))])
    const response = await app.get('/')
    assert.ok(response.isCut)
    assert.equal(response.body.toLowerCase(), 'half')
    assert.equal(app.errors[0]!.error, error)
    assert.deepEqual(ends.splice(0), fails ? [] : ['failure'])
  }
})

test('a stream that cuts its client does so through replaced methods', async () => {
  const app = testApp([
    connect(shouting),
    (conn) =>
      conn.ok({
        start(sink) {
          sink.write(Buffer.from('half'))
          setImmediate(() => {
            sink.cut()
            sink.cut()
            sink.abort(new Error('not any more'))
            sink.end()
            assert.equal(sink.write(Buffer.from('x')), false)
          })
        },
        drained() {},
        stop() {},
        closed() {},
      } satisfies BodySource),
  ])
  const response = await app.get('/')
  assert.ok(response.isCut)
  assert.deepEqual(app.errors, [])
})

test('events go through replaced methods one by one, and are flushed', async () => {
  let flushed = 0
  const buffering: Middleware = (request, response, next) => {
    const kept: unknown[] = []
    const { write, end } = response
    response.write = (chunk: unknown) => kept.push(chunk) > 0
    const flush = (): void => {
      flushed++
      for (const chunk of kept.splice(0)) write.call(response, chunk, 'utf8', ignore)
    }
    response.end = (() => (flush(), end.call(response, undefined, 'utf8'))) as typeof end
    next()
    return Object.assign(response, { flush, request })
  }
  const gate = new Gate()
  const app = testApp([
    connect(buffering),
    (conn) =>
      conn.withSseStream(
        (async function* () {
          yield SseEvent.new('one')
          await gate.pass()
          yield SseEvent.new('two')
        })(),
      ),
  ])
  const opened = await app.open('/')
  await until('the first event has come', () => Buffer.from(opened.bytes).includes('data: one\n\n'))
  assert.ok(flushed > 0)
  gate.open()
  const { body } = await opened.ended
  assert.match(body, /data: one\n\ndata: two\n\n/)
})

test('a stop ends event streams that go through, and those that middleware writes', async () => {
  const closed: string[] = []
  const events: Middleware = (request, response) => {
    request.on('close', () => closed.push('request'))
    response.on('close', () => closed.push('response'))
    response.writeHead(200, { 'Content-Type': 'text/event-stream', Connection: 'keep-alive' })
    response.write('data: one\n\n')
  }
  const silent = new Gate()
  const own: Handler = (conn) =>
    conn.withSseStream(
      (async function* () {
        yield SseEvent.new('one')
        await silent.pass()
      })(),
    )
  for (const tuple of [[connect(events)], [connect(shouting), own]] as Handler[]) {
    const app = testApp(tuple)
    const opened = await app.open('/')
    await until('the event has come', () =>
      /data: one\n\n/i.test(Buffer.from(opened.bytes).toString()),
    )
    assert.equal(app.openRequests[0]!.isStream, true)
    await app.shutDown()
    const { isCut } = await opened.ended
    assert.equal(isCut, false)
  }
  await turns(3)
  assert.deepEqual(closed.sort(), ['request', 'response'])
})

test('a switch of protocols does not go through', async () => {
  const app = testApp([
    connect(shouting),
    {
      run: (conn: Conn) => conn.withStatus(101).halt(),
      hasUpgrade: () => true,
      upgrade() {},
    },
  ])
  assert.equal((await app.get('/')).status, 101)
})

// ------------------------------------------------------------------------------------ the request body

/** Reads a body as body parsers do. */
const reading: Middleware = (request, _response, next) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('error', (error) =>
    next(Object.assign(new Error('bad body', { cause: error }), { status: 400 })),
  )
  request.on('end', () => {
    Object.assign(request, { body: Buffer.concat(chunks).toString() })
    next()
  })
}

const bodyOf = (conn: Conn): string => nodeRequest<{ body: string }>(conn).body

test('middleware reads the body; whoever reads it again is told', async () => {
  const app = testApp([
    connect(reading),
    async (conn) => {
      assert.equal(conn.requestBody.isRead, true)
      assert.equal(nodeRequest(conn).complete, true)
      await assert.rejects(conn.requestBody.text(), /it has been read before/)
      return conn.ok(bodyOf(conn))
    },
  ])
  assert.equal((await app.post('/', { body: 'hällo' })).body, 'hällo')
  const parts = Readable.from([Buffer.from('a'), Buffer.from('b')])
  assert.equal((await app.post('/', { body: parts })).body, 'ab')
  assert.deepEqual(app.errors, [])
})

test('a request without a body ends at once', async () => {
  const app = testApp([connect(reading), (conn) => conn.ok(`"${bodyOf(conn)}"`)])
  assert.equal((await app.get('/')).body, '""')
})

test('a body that middleware does not read is there for handlers', async () => {
  const app = testApp([
    connect((_request, _response, next) => next()),
    async (conn) => conn.ok(await conn.requestBody.text()),
  ])
  assert.equal((await app.post('/', { body: 'hello' })).body, 'hello')
})

test('a body that a handler has read is an error to middleware, not the fault of the client', async () => {
  const app = testApp([async (conn) => void (await conn.requestBody.text()), connect(reading)])
  assert.equal((await app.post('/', { body: 'hello' })).status, 500)
  assert.match(String(app.errors[0]!.error), /it has been read before/)
})

test('a body above the limit of the conn is a 413', async () => {
  const app = testApp([connect(reading), 'hello'], { maxBodyBytes: 3 })
  assert.equal((await app.post('/', { body: 'hello' })).status, 413)
  assert.deepEqual(app.errors, [])
  const raised = testApp(
    [(conn) => void conn.requestBody.withLimit(10), connect(reading), 'hello'],
    {
      maxBodyBytes: 3,
    },
  )
  assert.equal((await raised.post('/', { body: 'hello' })).status, 200)
})

test('middleware that destroys the request before it is read cuts the answer', async () => {
  const app = testApp(
    connect((request) => {
      request.resume()
      request.destroy()
    }),
  )
  assert.equal((await app.post('/', { body: 'hello' })).status, 500)
  assert.match(String(app.errors[0]!.error), /has destroyed the response/)
})

test('state of the conn and middleware stand side by side', async () => {
  const User = State.key<string>()('user')
  const app = testApp([
    connect((request, _response, next) => {
      Object.assign(request, { user: 'Fern' })
      next()
    }),
    (conn) => conn.withState(User, nodeRequest<{ user: string }>(conn).user),
    (conn) => conn.ok(String(conn.state(User))),
  ])
  assert.equal((await app.get('/')).body, 'Fern')
})
