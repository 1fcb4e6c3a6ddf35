import assert from 'node:assert/strict'
import { get as httpGet } from 'node:http'
import { test } from 'node:test'

import type { Body, Conn } from '@wakerobin/core'
import { logger } from '@wakerobin/logger'
import { Broadcaster } from '@wakerobin/sse'

import { onSocketWrite, start, turns, until, withoutDate } from '../fixtures/harness.ts'
import type { RawClient } from '../fixtures/harness.ts'

const plainEnd = 'Date: now\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n'

// ---------------------------------------------------------------------------- head and framing

test('a conn that nobody answered is a 404 with an empty body', async (t) => {
  const client = await (await start(t, [])).connect()
  await client.get('/').received('\r\n\r\n')
  await turns()
  assert.equal(
    withoutDate(client.text),
    `HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n${plainEnd}`,
  )
})

test('a response is on the wire as it was set: status, fields in order, case and number, body', async (t) => {
  const server = await start(t, (conn) => {
    conn.responseHeaders
      .set('X-lower-UPPER', 'one')
      .append('set-cookie', ['a=1', 'b=2'])
      .append('A', 'first')
      .append('Set-Cookie', 'c=3')
      .append('a', 'second')
    conn.withStatus(418).withBody('short and stout').halt()
  })
  const client = await server.connect()
  await client.get('/').received('stout')
  assert.equal(
    withoutDate(client.text),
    "HTTP/1.1 418 I'm a Teapot\r\n" +
      'X-lower-UPPER: one\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nA: first\r\nSet-Cookie: c=3\r\na: second\r\n' +
      `Content-Length: 15\r\n${plainEnd}short and stout`,
  )
})

test('every status has its own line', async (t) => {
  const lines: Record<string, string> = {
    201: 'HTTP/1.1 201 Created',
    302: 'HTTP/1.1 302 Found',
    401: 'HTTP/1.1 401 Unauthorized',
    422: 'HTTP/1.1 422 Unprocessable Entity',
    503: 'HTTP/1.1 503 Service Unavailable',
  }
  const server = await start(t, (conn) => void conn.withStatus(Number(conn.path.slice(1))))
  const client = await server.connect()
  for (const [status, line] of Object.entries(lines)) {
    const { head } = await client.get(`/${status}`).response()
    assert.equal(head.split('\r\n')[0], line)
  }
})

test('Content-Length counts the bytes of every body that is in memory', async (t) => {
  const bodies: Record<string, [string | Uint8Array | undefined, string]> = {
    '/text': ['hello', '5'],
    '/utf8': ['grün 🌸', '10'],
    '/empty': ['', '0'],
    '/bytes': [new Uint8Array([104, 105]), '2'],
    '/part': [new Uint8Array([1, 2, 104, 105, 3]).subarray(2, 4), '2'],
    '/buffer': [Buffer.from('grün'), '5'],
    '/no-bytes': [new Uint8Array(0), '0'],
    '/none': [undefined, '0'],
  }
  const server = await start(t, (conn) => {
    const body = bodies[conn.path]![0]
    if (body === undefined) conn.withStatus(200)
    else conn.ok(body)
  })
  const client = await server.connect()
  for (const [path, [body, length]] of Object.entries(bodies)) {
    const response = await client.get(path).response()
    assert.equal(response.field('content-length'), length, path)
    assert.equal(response.field('transfer-encoding'), undefined, path)
    assert.equal(response.body, Buffer.from(body ?? '').toString(), path)
  }
  assert.equal(client.text, '', 'nothing follows the last body')
})

test('head and body of a small response go out in one write', async (t) => {
  const bodies: Record<string, string | Uint8Array> = {
    '/ascii': 'hello',
    '/utf8': 'grün',
    '/bytes': Buffer.from('hello'),
    '/empty': '',
  }
  const server = await start(t, (conn) => conn.ok(bodies[conn.path]!))
  const client = await server.connect()
  // Two writes of one turn may well arrive as one, so they are counted where they leave.
  let writes = 0
  const restore = onSocketWrite(client.socket, () => writes++)
  t.after(restore)
  for (const path of Object.keys(bodies)) {
    writes = 0
    client.reads = 0
    await client.get(path).response()
    assert.equal(writes, 2, `${path}: one write by the client, one by the server`)
    assert.equal(client.reads, 1, path)
  }
})

test('header values are on the wire as UTF-8, whatever the body is', async (t) => {
  async function* stream(): AsyncGenerator<string> {
    yield 'x'
  }
  const answers: Record<string, (conn: Conn) => unknown> = {
    '/ascii': (conn) => conn.ok('plain'),
    '/utf8': (conn) => conn.ok('grün'),
    '/buffer': (conn) => conn.ok(Buffer.from('grün')),
    '/empty': (conn) => conn.withStatus(200),
    '/none': (conn) => conn.withStatus(204),
    '/stream': (conn) => conn.ok(stream()),
  }
  const server = await start(t, (conn) => {
    conn.withResponseHeader('X-Name', 'Grünkäppchen 🌸')
    answers[conn.path]!(conn)
  })
  const expected = Buffer.from('X-Name: Grünkäppchen 🌸').toString('latin1')
  const client = await server.connect()
  for (const path of Object.keys(answers)) {
    const response = await client.get(path).response()
    assert.ok(response.head.includes(expected), `${path}: ${response.head}`)
  }
  const head = await client.request('HEAD', '/utf8').response({ isHead: true })
  assert.ok(head.head.includes(expected))
})

test('a body of UTF-8 arrives as it was', async (t) => {
  const text = 'Füße 🌸 '.repeat(5_000)
  const server = await start(t, (conn) => conn.ok(text))
  const response = await fetch(server.url)
  assert.equal(await response.text(), text)
})

test('a Date is sent, and a handler may set its own', async (t) => {
  const server = await start(t, (conn) => {
    if (conn.path === '/own') conn.withResponseHeader('date', 'Thu, 01 Jan 1970 00:00:00 GMT')
    conn.ok('x')
  })
  const client = await server.connect()
  const dates = async (path: string): Promise<string[]> =>
    (await client.get(path).response()).fields
      .filter(([name]) => name.toLowerCase() === 'date')
      .map(([, value]) => value)
  const [date, ...more] = await dates('/')
  assert.deepEqual(more, [])
  assert.ok(Math.abs(Date.parse(date!) - Date.now()) < 60_000, date)
  assert.deepEqual(await dates('/own'), ['Thu, 01 Jan 1970 00:00:00 GMT'])
})

test('HEAD has the fields of GET, with Content-Length, and no body', async (t) => {
  const server = await start(t, (conn) => conn.withResponseHeader('ETag', '"1"').ok('hello'))
  const client = await server.connect()
  const get = await client.get('/').response()
  const head = await client.request('HEAD', '/').response({ isHead: true })
  await turns()
  assert.equal(withoutDate(`${head.head}\r\n`), withoutDate(`${get.head}\r\n`))
  assert.equal(client.text, '')
})

test('204 and 304 have no body and no Content-Length, and the connection goes on', async (t) => {
  const server = await start(t, (conn) => {
    if (conn.path !== '/last') conn.ok('dropped').withStatus(Number(conn.path.slice(1)))
    else conn.ok('last')
  })
  const client = await server.connect()
  for (const status of [204, 304]) {
    const response = await client.get(`/${status}`).response()
    assert.equal(response.status, status)
    assert.equal(response.field('content-length'), undefined)
    assert.equal(response.field('transfer-encoding'), undefined)
  }
  assert.equal((await client.get('/last').response()).body, 'last')
})

test('HTTP/1.0 is answered and the connection closed, unless the client asks to keep it', async (t) => {
  const server = await start(t, (conn) => conn.ok(`HTTP/${conn.httpVersion}`))
  const client = await server.connect()
  await client.send('GET / HTTP/1.0\r\n\r\n').ended()
  assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n(.+\r\n)*Connection: close\r\n\r\nHTTP\/1\.0$/)
  const kept = await server.connect()
  for (let request = 0; request < 2; request++) {
    const response = await kept.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n').response()
    assert.equal(response.field('connection'), 'keep-alive')
    assert.equal(response.body, 'HTTP/1.0')
  }
})

test('a client that asks to close gets the answer, then the end', async (t) => {
  const server = await start(t, (conn) => conn.ok('bye'))
  const client = await server.connect()
  await client.get('/', 'Connection: close').ended()
  assert.match(client.text, /\r\nConnection: close\r\n\r\nbye$/)
})

test('a method that node knows and HTTP does not is answered with 501', async (t) => {
  const server = await start(t, (conn) => conn.ok(conn.method))
  for (const method of ['PURGE', 'NOTIFY', 'SUBSCRIBE']) {
    const client = await server.connect()
    const response = await client.request(method, '/').response()
    assert.equal(response.status, 501, method)
    assert.equal(response.body, '')
    await client.ended()
  }
  const client = await server.connect()
  assert.equal((await client.request('PROPFIND', '/').response()).body, 'PROPFIND')
})

// ------------------------------------------------------------------------------------- errors

test('an error of a handler is a 500 with an empty body, and nothing of it is on the wire', async (t) => {
  const secret = new Error('the password is 1234')
  const server = await start(t, [
    (conn) => void conn.withResponseHeader('X-Secret', '5678').withBody('also secret'),
    async function auth() {
      throw secret
    },
    () => assert.fail('reached'),
  ])
  const client = await server.connect()
  await client.get('/').received('\r\n\r\n')
  await turns()
  assert.equal(
    withoutDate(client.text),
    `HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n${plainEnd}`,
  )
  assert.equal(server.errors.length, 1)
  assert.equal(server.errors[0]!.error, secret)
  assert.equal(server.errors[0]!.context.place, 'app[1] "auth"')
  assert.equal(server.errors[0]!.context.conn.path, '/')
})

test('framing that a handler sets and that is not true is refused with a 500', async (t) => {
  const fields: Record<string, [name: string, value: string | string[]]> = {
    '/long': ['Content-Length', '6'],
    '/short': ['content-length', '4'],
    '/twice': ['Content-Length', ['5', '5']],
    '/list': ['Content-Length', '5, 5'],
    '/hex': ['Content-Length', '0x5'],
    '/minus': ['Content-Length', '-5'],
    '/chunked': ['Transfer-Encoding', 'chunked'],
    '/gzip': ['transfer-encoding', 'gzip'],
  }
  const server = await start(t, (conn) => {
    const [name, value] = fields[conn.path]!
    conn.withResponseHeader(name, value).ok('hello')
  })
  const client = await server.connect()
  for (const path of Object.keys(fields)) {
    const response = await client.get(path).response()
    assert.equal(response.status, 500, path)
    assert.equal(response.field('content-length'), '0', path)
    assert.equal(response.field('transfer-encoding'), undefined, path)
    const { error, context } = server.errors.pop()!
    assert.ok(error instanceof TypeError, path)
    assert.equal(context.place, 'the response')
  }
  assert.equal(client.text, '')
})

test('a Content-Length that a handler sets and that is true is sent once', async (t) => {
  const server = await start(t, (conn) => conn.withResponseHeader('Content-Length', 5).ok('hello'))
  const client = await server.connect()
  const response = await client.get('/').response()
  assert.deepEqual(
    response.fields.filter(([name]) => name.toLowerCase() === 'content-length'),
    [['Content-Length', '5']],
  )
  assert.equal(response.body, 'hello')
})

test('a response that node refuses to write is a 500, is reported, and stops nothing', async (t) => {
  // Node throws for a Trailer field on a response that is not chunked.
  const server = await start(t, (conn) => {
    if (conn.path === '/trailer') conn.withResponseHeader('Trailer', 'X-Sum')
    if (conn.path === '/trailer' && conn.querystring === 'late')
      return Promise.resolve(conn.ok('x'))
    return conn.ok('x')
  })
  const client = await server.connect()
  for (const target of ['/trailer', '/trailer?late']) {
    const { head } = await client.get(target).response()
    assert.match(head, /^HTTP\/1\.1 500 Internal Server Error\r\n/, target)
    assert.equal(server.errors.pop()!.context.place, 'the response')
  }
  assert.equal((await client.get('/').response()).body, 'x')
})

// ---------------------------------------------------------------------------------- afterSend

test('afterSend is called once, with true, when the response is handed over', async (t) => {
  const calls: string[] = []
  const server = await start(t, (conn) => {
    conn.afterSend((isSent) => calls.push(`${conn.path} ${isSent}`))
    if (conn.path === '/error') throw new Error('no')
    if (conn.path === '/none') return
    conn.ok('x')
  })
  const client = await server.connect()
  for (const path of ['/ok', '/none', '/error']) await client.get(path).response()
  await client.request('HEAD', '/head').response({ isHead: true })
  client.socket.destroy()
  await turns()
  assert.deepEqual(calls, ['/ok true', '/none true', '/error true', '/head true'])
})

test('afterSend is called once, with false, when the client leaves before the handler is done', async (t) => {
  const calls: boolean[] = []
  let finish = (): void => {}
  let isReached = false
  const server = await start(t, async (conn) => {
    conn.afterSend((isSent) => calls.push(isSent))
    isReached = true
    await new Promise<void>((resolve) => (finish = resolve))
    conn.ok('late')
  })
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  client.socket.resetAndDestroy()
  await turns()
  finish()
  await until('afterSend is called', () => calls.length > 0)
  await turns()
  assert.deepEqual(calls, [false])
})

test('a body whose client left before the handler was done is let go, and never started', async (t) => {
  const calls: string[] = []
  let finish = (): void => {}
  let isReached = false
  const server = await start(t, async (conn) => {
    conn.afterSend((isSent) => calls.push(`afterSend ${isSent}`))
    isReached = true
    await new Promise<void>((resolve) => (finish = resolve))
    conn.ok({
      start: () => calls.push('start'),
      drained() {},
      stop() {},
      closed: () => calls.push('closed'),
    })
  })
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  client.socket.resetAndDestroy()
  await turns()
  finish()
  await until('the response is over', () => calls.length > 1)
  assert.deepEqual(calls, ['closed', 'afterSend false'])
})

test('afterSend is called once, with false, when the client leaves before it has taken the body', async (t) => {
  const calls: boolean[] = []
  const big = Buffer.alloc(64 * 1024 * 1024)
  const server = await start(t, (conn) => conn.afterSend((isSent) => calls.push(isSent)).ok(big))
  const client = await server.connect()
  client.socket.pause()
  client.get('/')
  await turns(200)
  assert.deepEqual(calls, [], 'the client has not taken it')
  client.socket.resetAndDestroy()
  await until('afterSend is called', () => calls.length > 0)
  await turns()
  assert.deepEqual(calls, [false])
})

test('afterSend is called once, with false, when the stop cuts the body', async (t) => {
  const calls: boolean[] = []
  const big = Buffer.alloc(64 * 1024 * 1024)
  const server = await start(t, (conn) => conn.afterSend((isSent) => calls.push(isSent)).ok(big))
  const client = await server.connect()
  client.socket.pause()
  client.get('/')
  await turns(200)
  assert.equal((await server.handle.shutDown()).outcome, 'deadline')
  await turns()
  assert.deepEqual(calls, [false])
})

test('an error in afterSend is reported with its place, and the others still run', async (t) => {
  const calls: string[] = []
  const server = await start(t, (conn) =>
    conn
      .afterSend(() => {
        throw new Error('in the log')
      })
      .afterSend(() => calls.push('second'))
      .ok('x'),
  )
  await (await fetch(server.url)).text()
  await until('afterSend is called', () => calls.length > 0)
  assert.equal(server.errors[0]!.context.place, 'afterSend')
})

test('the logger says when an event stream opens, and how it ends', async (t) => {
  const lines: string[] = []
  const log = (line: string): void => void lines.push(line.replace(/ \d\S+s\b/, ' <time>'))
  const broadcaster = new Broadcaster()
  const server = await start(
    t,
    [
      logger({ log }),
      (conn) => {
        if (conn.path === '/short') return conn.withSseStream(['one'])
        if (conn.path === '/fails') return conn.withSseStream(failing())
        return conn.withSseStream(broadcaster)
      },
    ],
    { shutdown: { lingerMs: 0, deadlineMs: 2000 } },
  )
  async function* failing(): AsyncGenerator<string> {
    yield 'one'
    throw new Error('no')
  }
  const opened = (path: string): string => `HTTP/1.1 GET ${path} 200 <time> (stream opened)`
  const ended = (path: string, how: string): string => `HTTP/1.1 GET ${path} 200 <time> (${how})`

  const client = await server.connect()
  await client.get('/short').response()
  await until('the line is written', () => lines.length > 1)
  assert.deepEqual(lines.splice(0), [opened('/short'), ended('/short', 'stream ended')])

  for (const leave of ['destroy', 'end', 'resetAndDestroy'] as const) {
    const leaving = await server.connect()
    await leaving.get('/long').received(':\n')
    assert.deepEqual(lines.splice(0), [opened('/long')])
    leaving.socket[leave]()
    await until('the line is written', () => lines.length > 0)
    assert.deepEqual(lines.splice(0), [ended('/long', 'stream ended: client left')])
  }

  const failed = await server.connect()
  failed.get('/fails')
  await until('the line is written', () => lines.length > 1)
  assert.deepEqual(lines.splice(0), [opened('/fails'), ended('/fails', 'stream cut')])

  await client.get('/long').received(':\n')
  lines.splice(0)
  await server.handle.shutDown()
  assert.deepEqual(lines, [ended('/long', 'stream ended: server stop')])
})

test('the deadline of a stop cuts a stream, and the logger says so', async (t) => {
  const lines: string[] = []
  const log = (line: string): void => void lines.push(line.replace(/ \d\S+s\b/, ' <time>'))
  const server = await start(t, [
    logger({ log }),
    (conn) => conn.withSseStream(new Broadcaster(), { finish: true }),
  ])
  const client = await server.connect()
  await client.get('/').received(':\n')
  await server.handle.shutDown()
  await until('the line is written', () => lines.length > 1)
  assert.equal(lines[1], 'HTTP/1.1 GET / 200 <time> (stream cut)')
})

test('a response that the client has left before it was whole is no error of ours', async (t) => {
  const calls: string[] = []
  const note = (level: string) => (line: string) =>
    void calls.push(`${level} ${line.replace(/.*ms|.*\ds/, '')}`)
  let goOn = (): void => {}
  const server = await start(t, [
    logger({ log: { info: note('info'), error: note('error') } }),
    async (conn) => {
      if (conn.path === '/body') return conn.ok(waiting())
      await new Promise<void>((resolve) => (goOn = resolve))
      return conn.ok('too late')
    },
  ])
  async function* waiting(): AsyncGenerator<string> {
    yield 'one'
    await new Promise(() => {})
  }
  const client = await server.connect()
  await client.get('/body').received('one')
  client.socket.resetAndDestroy() // an end alone may be half a one
  await until('the line is written', () => calls.length > 0)
  const other = await server.connect()
  other.get('/plain')
  await until('the handler waits', () => goOn.name === '')
  other.socket.resetAndDestroy()
  await until('it has left', () => server.handle.report().connections === 0)
  goOn()
  await until('the line is written', () => calls.length > 1)
  assert.deepEqual(calls, ['info  (client left)', 'info  (client left)'])
})

// -------------------------------------------------------------------------------- other clients

test("node's own client and fetch read the responses", async (t) => {
  const server = await start(t, (conn) =>
    conn.withResponseHeader('X-Two', ['a', 'b']).json({ path: conn.path }),
  )
  const viaFetch = await fetch(`${server.url}/fetch`)
  assert.deepEqual(await viaFetch.json(), { path: '/fetch' })
  assert.equal(viaFetch.headers.get('x-two'), 'a, b')
  const viaNode = await new Promise<string>((resolve, reject) => {
    httpGet(`${server.url}/node`, { agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
  assert.deepEqual(JSON.parse(viaNode), { path: '/node' })
})

test('a status without a body sends nothing after its head', async (t) => {
  const server = await start(t, (conn) => void conn.withStatus(Number(conn.path.slice(1))))
  const client: RawClient = await server.connect()
  await client.get('/304').received('\r\n\r\n')
  await turns()
  assert.equal(withoutDate(client.text), `HTTP/1.1 304 Not Modified\r\n${plainEnd}`)
})

test('a stream that fails before anything of it is out is a 500, and reported', async (t) => {
  const locked = new ReadableStream<string>()
  locked.getReader()
  const error = new Error('boom')
  const bodies: Record<string, () => Body> = {
    '/locked': () => locked,
    '/start': () => ({
      start() {
        throw error
      },
      drained() {},
      stop() {},
      closed() {},
    }),
    '/trailer': () => new ReadableStream<string>(),
  }
  const server = await start(t, (conn) => {
    if (conn.path === '/') return conn.ok('fine')
    if (conn.path === '/events') {
      return conn.withSseStream(() => {
        throw error
      })
    }
    if (conn.path === '/trailer') {
      conn.withResponseHeader('Trailer', 'X').withResponseHeader('Content-Length', 3)
    }
    return conn.ok(bodies[conn.path]!())
  })
  const client = await server.connect()
  for (const path of ['/locked', '/start', '/events', '/trailer']) {
    const response = await client.get(path).response()
    assert.match(response.head, /^HTTP\/1\.1 500 Internal Server Error\r\n/, path)
    assert.equal(response.body, '')
    assert.equal(server.errors.pop()?.context.place, 'the response body', path)
  }
  assert.equal((await client.get('/').response()).body, 'fine')
})

test('CONNECT is a 501, since nobody makes a tunnel', async (t) => {
  const server = await start(t, 'hello')
  const client = await server.connect()
  client.socket.write('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n')
  assert.equal((await client.response()).status, 501)
  await client.ended()
})

test('afterSend is told false when the client left while a large body was on its way', async (t) => {
  const told: boolean[] = []
  let isReached = false
  const server = await start(t, async (conn) => {
    conn.afterSend((isSent) => told.push(isSent))
    isReached = true
    await new Promise((resolve) => conn.signal.addEventListener('abort', resolve))
    return conn.ok(Buffer.alloc(20 * 1024 * 1024))
  })
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  client.socket.destroy()
  await until('it is over', () => told.length === 1)
  assert.deepEqual(told, [false])
})

test('an afterSend that is registered while the body flows is called', async (t) => {
  const told: boolean[] = []
  const server = await start(t, (conn) =>
    conn.ok(
      (async function* () {
        yield 'x'
        conn.afterSend((isSent) => told.push(isSent))
      })(),
    ),
  )
  const client = await server.connect()
  await client.get('/').response()
  await until('it is told', () => told.length === 1)
  assert.deepEqual(told, [true])
})
