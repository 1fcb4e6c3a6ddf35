import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import type { AnyHandler, Conn, HandlerObject, Upgrade } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

import { Gate, ownTime, RawClient, start, turns, until } from '../fixtures/harness.ts'
import { upgradeOptionsFor } from './upgrade.ts'

const asksForEcho = ['Connection: keep-alive, Upgrade', 'Upgrade: echo']
const asksForH2c = [
  'Connection: Upgrade, HTTP2-Settings',
  'Upgrade: h2c',
  'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
]

/** Sends back what it is sent, to those who ask for it. */
class Echo implements HandlerObject {
  readonly name = 'echo'

  run(conn: Conn): Conn | void {
    if (conn.requestHeaders.get('upgrade') !== 'echo') return
    conn.withResponseHeader('Connection', 'Upgrade').withResponseHeader('Upgrade', 'echo')
    return conn.withStatus(101).halt()
  }

  hasUpgrade({ conn }: Upgrade): boolean {
    return conn.responseHeaders.get('upgrade') === 'echo'
  }

  upgrade(upgrade: Upgrade): void {
    const { socket, head } = upgrade.takeTransport()
    socket.write(head)
    socket.pipe(socket)
  }
}

/** Claims every switch. */
function claims(upgrade: HandlerObject['upgrade']): AnyHandler {
  return {
    name: 'claims',
    run: (conn: Conn) => conn.withStatus(conn.method === 'CONNECT' ? 200 : 101).halt(),
    hasUpgrade: () => true,
    upgrade: upgrade!,
  }
}

const showPath = (conn: Conn): Conn => conn.ok(`hello from ${conn.pathAndQuery}`)

test('a handler takes a connection over after a 101 with its headers and no others', async (t) => {
  const told: boolean[] = []
  const server = await start(t, [
    (conn: Conn) => void conn.afterSend((isSent) => told.push(isSent)),
    { beforeSend: (conn: Conn) => conn.withResponseHeader('X-Late', 'é') },
    new Echo(),
    showPath,
  ])
  const client = await server.connect()
  client.get('/echo', ...asksForEcho)
  const { head } = await client.response()
  assert.equal(
    head,
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Late: Ã©',
    'UTF-8, read as latin1',
  )
  client.send('GET / HTTP/1.1\r\n\r\n')
  await client.received('GET / HTTP/1.1\r\n\r\n')
  assert.deepEqual(told, [true])
  client.socket.end()
  await client.closed()
  assert.deepEqual(server.errors, [])
})

for (const isAsync of [false, true]) {
  test(`what has come behind the request is the head of the transport (handlers that are ${isAsync ? 'async' : 'not'})`, async (t) => {
    const gate = new Gate()
    const server = await start(t, [() => (isAsync ? gate.pass() : undefined), new Echo()])
    const client = await server.connect()
    const request = ['GET / HTTP/1.1', 'Host: test', ...asksForEcho].join('\r\n')
    client.send(`${request}\r\n\r\none `)
    if (isAsync) {
      await gate.reached()
      client.send('two ')
      await turns()
      gate.open()
    }
    assert.equal((await client.response()).status, 101)
    client.send('three')
    await client.received(isAsync ? 'one two three' : 'one three')
  })
}

test('more than 64 KiB are not read before it is known what becomes of the connection', async (t) => {
  const gate = new Gate()
  let length = 0
  const echo = new Echo()
  const server = await start(t, [
    () => gate.pass(),
    {
      name: 'count',
      run: (conn: Conn) => echo.run(conn),
      hasUpgrade: (it: Upgrade) => echo.hasUpgrade(it),
      upgrade(it: Upgrade) {
        const { head, socket } = it.takeTransport()
        assert.ok(head.length >= 64 * 1024 && head.length < 1024 * 1024, `${head.length}`)
        length = head.length
        socket.on('data', (chunk) => (length += chunk.length))
      },
    },
  ])
  const client = await server.connect()
  client.get('/', ...asksForEcho)
  await gate.reached()
  client.send(Buffer.alloc(8 * 1024 * 1024))
  await turns(200)
  gate.open()
  assert.equal((await client.response()).status, 101)
  await until('all has come', () => length === 8 * 1024 * 1024)
})

// ------------------------------------------------------------------- an upgrade that nobody wants

for (const [what, app] of [
  ['no handler takes connections over', showPath],
  ['no handler takes this one over', [new Echo(), showPath]],
] as const) {
  test(`an Upgrade that is not wanted is answered like any request, where ${what}`, async (t) => {
    const server = await start(t, app)
    const client = await server.connect()
    for (let round = 0; round < 12; round++) {
      client.get(`/${round}?a=b`, ...asksForH2c)
      const response = await client.response()
      assert.equal(response.status, 200)
      assert.equal(response.body, `hello from /${round}?a=b`)
      assert.equal(response.field('connection'), 'keep-alive')
      // Another one on the same connection, and one behind an Upgrade in the same packet.
      assert.equal((await client.get('/next').response()).body, 'hello from /next')
      client.send(
        ['GET /upgrade HTTP/1.1', 'Host: test', ...asksForH2c, '', ''].join('\r\n') +
          'GET /behind HTTP/1.1\r\nHost: test\r\n\r\nGET /last HTTP/1.1\r\nHost: test\r\n\r\n',
      )
      for (const path of ['/upgrade', '/behind', '/last'])
        assert.equal((await client.response()).body, `hello from ${path}`)
    }
    assert.deepEqual(server.errors, [])
  })
}

test('an Upgrade with a body is answered like any request, as the last of its connection, and its body is read', async (t) => {
  const server = await start(t, [
    new Echo(),
    async (conn: Conn) => conn.ok(`${conn.path} ${await conn.requestBody.text()}`),
  ])
  const bodies: [field: string, body: string, heard: string][] = [
    ['Content-Length: 3', 'abc', 'abc'],
    ['Transfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n', 'abc'],
    ['Content-Length: 0', '', ''],
  ]
  for (const [field, body, heard] of bodies) {
    const client = await server.connect()
    client.get('/before').request('POST', '/asks', ...asksForH2c, field)
    // Of what comes behind it in one packet node's parser says nothing.
    client.send(`${body}GET /behind HTTP/1.1\r\nHost: test\r\n\r\n`)
    assert.equal((await client.response()).body, '/before ')
    const response = await client.response()
    assert.equal(response.body, `/asks ${heard}`)
    assert.equal(response.field('connection'), 'close')
    await client.ended()
  }
  const client = await server.connect()
  client.get('/no-body', ...asksForH2c)
  assert.equal((await client.response()).body, '/no-body ')
  client.get('/after')
  assert.equal((await client.response()).body, '/after ')
})

test('an Upgrade of a client that has ended its side is answered as the last of its connection', async (t) => {
  const server = await start(t, async (conn: Conn) => {
    await turns()
    return conn.ok(conn.path)
  })
  const client = await server.connect()
  client.get('/a', 'Connection: Upgrade', 'Upgrade: x').get('/b')
  client.socket.end()
  const response = await client.response()
  assert.equal(response.body, '/a')
  assert.equal(response.field('connection'), 'close')
  await client.ended()
})

test('an Upgrade in HTTP/1.0, with Connection: close, or that expects a 100 is none', async (t) => {
  const server = await start(t, [new Echo(), showPath])
  const old = await server.connect()
  old.send('GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
  const closing = await server.connect()
  closing.get('/', 'Connection: close, upgrade', 'Upgrade: echo')
  const expecting = await server.connect()
  expecting.get('/', ...asksForEcho, 'Expect: 100-continue')
  for (const client of [old, closing]) {
    assert.equal((await client.response()).status, 500, 'a 101 that nobody makes good')
    await client.ended()
  }
  assert.equal((await expecting.response()).status, 500, 'nobody has asked for the body')
  assert.equal(server.errors.length, 3)
  assert.match(String(server.errors[0]?.error), /^TypeError: Cannot answer with a 101: /)
})

test('a request without a Host that asks for an Upgrade is a 400', async (t) => {
  const server = await start(t, new Echo())
  const client = await server.connect()
  client.send(['GET / HTTP/1.1', ...asksForEcho, '', ''].join('\r\n'))
  assert.equal((await client.response()).status, 400)
  await client.ended()
})

test('an event stream answers a request with an Upgrade, and ends when its client leaves', async (t) => {
  const broadcaster = new Broadcaster()
  const server = await start(t, (conn: Conn) => conn.withSseStream(broadcaster))
  const client = await server.connect()
  client.get('/', ...asksForH2c)
  await client.received('\r\n\r\n')
  broadcaster.publish('one')
  await client.received('data: one')
  assert.equal(broadcaster.subscriberCount, 1)
  client.socket.end()
  await until('it is noticed', () => broadcaster.subscriberCount === 0)
  assert.deepEqual(server.errors, [])
})

test('a large answer to a request with an Upgrade comes whole, also where it waits for others to be read', async (t) => {
  const big = 'x'.repeat(8 * 1024 * 1024)
  const server = await start(t, [
    (conn: Conn) => (conn.path === '/big' ? conn.ok(big) : conn),
    (conn: Conn) =>
      conn.ok(
        (async function* () {
          for (let part = 0; part < 64; part++) yield big.slice(0, 128 * 1024)
        })(),
      ),
  ])
  const client = await server.connect()
  client.get('/big')
  client.get('/parts', ...asksForH2c)
  client.get('/big', ...asksForH2c)
  for (const round of ['first', 'second', 'third'])
    assert.equal((await client.response()).body.length, big.length, round)
})

test('a connection that was given back is closed when it is idle', async (t) => {
  const pass = ownTime(t)
  const server = await start(t, showPath)
  const client = await server.connect()
  assert.equal((await client.get('/', ...asksForH2c).response()).status, 200)
  await turns()
  await pass(4_999)
  assert.equal(client.isEnded, false)
  await pass(1)
  await client.ended()
  const active = await server.connect()
  await active.get('/', ...asksForH2c).response()
  await active.get('/').response()
  await pass(5_000)
  assert.equal((await active.get('/').response()).status, 200)
})

for (const version of ['20.19.0', process.versions.node]) {
  test(`node lets go of connections that may switch, and of no others (as by Node ${version})`, async (t) => {
    const server = createServer(upgradeOptionsFor(version))
    server.on('request', (request, response) => response.end(`served ${request.url}`))
    server.on('upgrade', (request, socket) => socket.end(`let go of ${request.url}`))
    server.on('connect', (request, socket) => socket.end(`let go of ${request.url}`))
    await once(server.listen(0, '127.0.0.1'), 'listening')
    t.after(() => server.close())
    const { port } = server.address() as { port: number }
    for (const [line, fields, expected] of [
      ['GET /switch HTTP/1.1', asksForEcho, 'let go of /switch'],
      ['CONNECT a.test:443 HTTP/1.1', [], 'let go of a.test:443'],
      ['GET /plain HTTP/1.1', [], 'served /plain'],
      ['POST /body HTTP/1.1', [...asksForEcho, 'Content-Length: 0'], 'served /body'],
      ['GET /close HTTP/1.1', ['Connection: upgrade, close', 'Upgrade: echo'], 'served /close'],
    ] as const) {
      const client = await RawClient.connect(t, { host: '127.0.0.1', port })
      client.send([line, 'Host: a.test', ...fields, '', ''].join('\r\n'))
      await client.received(expected)
      client.socket.destroy()
    }
  })
}

// ------------------------------------------------------------------------ order on the connection

test('a switch waits for the responses before it', async (t) => {
  const gate = new Gate()
  const server = await start(t, [
    new Echo(),
    async (conn: Conn) => {
      await gate.pass()
      return showPath(conn)
    },
  ])
  const client = await server.connect()
  client
    .get('/one')
    .get('/two')
    .get('/', ...asksForEcho)
    .send('hello')
  await gate.reached(2)
  await turns()
  assert.equal(client.text, '')
  gate.open()
  assert.equal((await client.response()).body, 'hello from /one')
  assert.equal((await client.response()).body, 'hello from /two')
  assert.equal((await client.response()).status, 101)
  await client.received('hello')
})

test('requests with and without an Upgrade are answered in their order, in whatever pieces they come', async (t) => {
  const server = await start(t, [
    new Echo(),
    async (conn: Conn) => {
      if (conn.querystring !== '') await turns(Number(conn.querystring))
      return conn.ok(`${conn.path} ${await conn.requestBody.text()}`)
    },
  ])
  const seed = Math.floor(Math.random() * 2 ** 31)
  let state = seed
  const random = (below: number): number => {
    state = (state * 48_271 + 11) % (2 ** 31 - 1)
    return state % below
  }
  for (let round = 0; round < 60; round++) {
    const client = await server.connect()
    const kinds = Array.from({ length: 1 + random(8) }, () => random(3))
    const texts = kinds.map((kind, at) => {
      const target = `/${at}${random(2) === 0 ? '' : `?${random(4)}`}`
      if (kind === 0) return `GET ${target} HTTP/1.1\r\nHost: test\r\n\r\n`
      if (kind === 1) return `POST ${target} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi`
      return [`GET ${target} HTTP/1.1`, 'Host: test', ...asksForH2c, '', ''].join('\r\n')
    })
    const echo = ['GET /echo HTTP/1.1', 'Host: test', ...asksForEcho, '', 'over'].join('\r\n')
    let wire = texts.join('') + echo
    while (wire !== '') {
      const length = 1 + random(random(2) === 0 ? 20 : 2000)
      client.send(wire.slice(0, length))
      wire = wire.slice(length)
      await turns(random(3))
    }
    for (const [at, kind] of kinds.entries()) {
      const { body } = await client.response()
      assert.equal(body, `/${at} ${kind === 1 ? 'hi' : ''}`, `seed ${seed}, round ${round}`)
    }
    assert.equal((await client.response()).status, 101, `seed ${seed}, round ${round}`)
    await client.received('over')
    client.socket.destroy()
  }
  assert.deepEqual(server.errors, [])
})

test('a switch comes behind an answer in the same packet', async (t) => {
  const server = await start(t, [new Echo(), showPath])
  const client = await server.connect()
  const echo = ['GET /echo HTTP/1.1', 'Host: test', ...asksForEcho].join('\r\n')
  client.send(`GET /one HTTP/1.1\r\nHost: test\r\n\r\n${echo}\r\n\r\nhello`)
  assert.equal((await client.response()).body, 'hello from /one')
  assert.equal((await client.response()).status, 101)
  await client.received('hello')
})

test('a switch behind an answer that says close is dropped', async (t) => {
  const gate = new Gate()
  const told: boolean[] = []
  const server = await start(t, [
    (conn: Conn) => void conn.afterSend((isSent) => told.push(isSent)),
    new Echo(),
    async (conn: Conn) => {
      await gate.pass()
      return conn.withResponseHeader('Connection', 'close').ok('bye')
    },
  ])
  const client = await server.connect()
  client.get('/one').get('/', ...asksForEcho)
  await gate.reached()
  await turns()
  gate.open()
  assert.equal((await client.response()).body, 'bye')
  await client.closed()
  await until('both are told', () => told.length === 2)
  assert.deepEqual(told, [true, false])
  assert.equal(client.text, '')
})

for (const [what, late] of [
  ['a request with an Upgrade', ['GET / HTTP/1.1', 'Host: test', ...asksForEcho]],
  ['a CONNECT', ['CONNECT a:80 HTTP/1.1', 'Host: a:80']],
] as const) {
  test(`${what} behind another one that came too late does not end the process`, async (t) => {
    const server = await start(t, [new Echo(), showPath])
    const client = await server.connect()
    client.send('GET / HTTP/1.1\r\n\r\n') // without a Host
    assert.equal((await client.response()).status, 400)
    await client.ended()
    client.get('/too-late')
    await turns()
    client.send(`${late.join('\r\n')}\r\n\r\n`)
    await client.closed()
    assert.equal(client.text, '')
    assert.equal((await (await server.connect()).get('/').response()).status, 200)
  })
}

test('a connection on which an Upgrade was answered is kept for as long as any other that is idle', async (t) => {
  const limits = { headMs: 100, keepAliveMs: 5000 }
  const shutdown = { lingerMs: 0, headTimeoutMs: 5000 }
  const server = await start(t, showPath, { limits, shutdown })
  const clients = [await server.connect(), await server.connect()]
  for (const client of clients) {
    assert.equal((await client.get('/', ...asksForEcho).response()).status, 200)
    client.send(client === clients[1] ? 'GET /half HTTP/1.1\r\n' : '')
  }
  await clients[1]!.ended()
  assert.match(clients[1]!.text, /^HTTP\/1.1 408 /, 'half a head is late all the same')
  await sleep(200)
  assert.equal((await clients[0]!.get('/next').response()).body, 'hello from /next')
  assert.equal((await clients[0]!.get('/', ...asksForEcho).response()).status, 200)
  void server.handle.shutDown()
  await clients[0]!.closed()
  assert.equal(clients[0]!.text, '', 'nor is it late when the server stops')
})

test('an answer that says close ends the connection of a request with an Upgrade', async (t) => {
  const server = await start(t, (conn: Conn) =>
    conn.withResponseHeader('Connection', 'close').ok('bye'),
  )
  const client = await server.connect()
  client.get('/', ...asksForH2c).get('/behind')
  assert.equal((await client.response()).body, 'bye')
  await client.closed()
  assert.equal(client.error, undefined)
})

// ------------------------------------------------------------------------------- what goes wrong

test('a 101 that no handler takes over is a 500, and reported', async (t) => {
  const server = await start(t, (conn: Conn) => conn.withStatus(101).halt())
  const client = await server.connect()
  for (const fields of [asksForEcho, []]) {
    assert.equal((await client.get('/', ...fields).response()).status, 500)
    const { error, context } = server.errors.pop()!
    assert.match(String(error), /^TypeError: Cannot answer with a 101: .* no handler takes/)
    assert.equal(context.place, 'the response')
  }
})

test('a 101 that has a Content-Length is a 500, and reported', async (t) => {
  const server = await start(t, [
    { beforeSend: (conn: Conn) => conn.withResponseHeader('Content-Length', 5) },
    claims(() => assert.fail('it is not called')),
  ])
  const client = await server.connect()
  assert.equal((await client.get('/', ...asksForEcho).response()).status, 500)
  assert.match(String(server.errors[0]?.error), /Cannot send a 101 with the Content-Length 5/)
})

test('a hasUpgrade that throws is a 500, and reported', async (t) => {
  const server = await start(t, [
    (conn: Conn) => conn.withStatus(101).halt(),
    {
      hasUpgrade(upgrade: Upgrade): boolean {
        return upgrade.takeTransport() !== undefined
      },
      upgrade() {},
    },
  ])
  const client = await server.connect()
  assert.equal((await client.get('/', ...asksForEcho).response()).status, 500)
  assert.match(
    String(server.errors[0]?.error),
    /^TypeError: Cannot take the connection over in hasUpgrade/,
  )
  assert.equal(server.errors[0]?.context.place, 'hasUpgrade of app[1]')
})

const failures: Record<string, [HandlerObject['upgrade'], RegExp]> = {
  throws: [
    () => {
      throw new Error('boom')
    },
    /^Error: boom/,
  ],
  'rejects when it has taken the connection': [
    async (upgrade) => {
      upgrade.takeTransport()
      await turns(3)
      throw new Error('boom')
    },
    /^Error: boom/,
  ],
  'does not take the connection': [
    async () => turns(3),
    /^TypeError: Expected upgrade of app\[1\] "claims" to take the connection/,
  ],
  'takes it twice': [
    (upgrade) => {
      upgrade.takeTransport()
      upgrade.takeTransport()
    },
    /^TypeError: Cannot take the connection over: it was taken before/,
  ],
}

for (const [what, [upgrade, expected]] of Object.entries(failures)) {
  test(`where upgrade ${what}, the connection is closed, and the error reported with its place`, async (t) => {
    const server = await start(t, [showNothing, claims(upgrade)])
    const client = await server.connect()
    assert.equal((await client.get('/', ...asksForEcho).response()).status, 101)
    await client.closed()
    await until('it is reported', () => server.errors.length > 0)
    assert.match(String(server.errors[0]?.error), expected)
    assert.equal(server.errors[0]?.context.place, 'upgrade of app[1] "claims"')
    assert.equal(server.errors.length, 1)
  })
}

function showNothing(): void {}

test('a client that resets an upgraded connection, which nobody watches, does not end the process', async (t) => {
  const server = await start(
    t,
    claims((upgrade) => void upgrade.takeTransport()),
  )
  const client = await server.connect()
  assert.equal((await client.get('/', ...asksForEcho).response()).status, 101)
  assert.equal(server.handle.report().upgradeCount, 1)
  client.socket.resetAndDestroy()
  await until('it is noticed', () => server.handle.report().upgradeCount === 0)
  assert.deepEqual(server.errors, [])
})

for (const how of ['leaves', 'ends its side'] as const) {
  test(`where the client ${how} before the switch, nothing is handed over`, async (t) => {
    const gate = new Gate()
    const told: boolean[] = []
    const server = await start(t, [
      async (conn: Conn) => {
        conn.afterSend((isSent) => told.push(isSent))
        await gate.pass()
      },
      claims(() => assert.fail('it is not called')),
    ])
    const client = await server.connect()
    client.get('/', ...asksForEcho)
    await gate.reached()
    if (how === 'leaves') client.socket.resetAndDestroy()
    else client.socket.end()
    await turns()
    gate.open()
    await client.closed()
    await until('it is over', () => told.length > 0)
    assert.deepEqual(told, [false])
    assert.deepEqual(server.errors, [])
    assert.equal(server.handle.report().upgradeCount, 0)
  })
}

test('a client that has ended its side is answered, where the answer is no switch', async (t) => {
  const gate = new Gate()
  const server = await start(t, async (conn: Conn) => {
    await gate.pass()
    return showPath(conn)
  })
  const client = await server.connect()
  client.get('/', ...asksForH2c)
  await gate.reached()
  client.socket.end()
  await turns()
  gate.open()
  assert.equal((await client.response()).body, 'hello from /')
  await client.ended()
})

test('conn.signal of an upgraded connection aborts when it closes, and not when the client ends its side', async (t) => {
  let signal: AbortSignal | undefined
  let end = (): void => {}
  const server = await start(
    t,
    claims((upgrade) => {
      signal = upgrade.conn.signal
      const { socket } = upgrade.takeTransport()
      socket.resume().on('end', () => socket.write('bye'))
      end = () => void socket.end()
    }),
    { limits: { halfClosedMs: 0 } },
  )
  const client = await server.connect()
  assert.equal((await client.get('/', ...asksForEcho).response()).status, 101)
  client.socket.end()
  await client.received('bye')
  await turns()
  assert.equal(signal?.aborted, false)
  end()
  await until('it aborts', () => signal?.aborted === true)
})

// ------------------------------------------------------------------------------------- the stop

test('[stopping 8.1] the stop waits for an upgraded connection and its handler, and reports name it', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    claims(async (upgrade) => {
      const { socket } = upgrade.takeTransport()
      upgrade.conn.swansong.onStop(() => socket.write('stop'))
      socket.resume().on('end', () => socket.end('bye'))
      await gate.pass()
    }),
    { shutdown: { deadlineMs: 20_000 } },
  )
  const client = await server.connect()
  await client.get('/room?token=secret', ...asksForEcho).response()
  const report = server.handle.report()
  assert.deepEqual([report.connections, report.requestCount], [0, 0])
  assert.match(report.toString(), /1 upgrade:\n {2}1 × upgrade of GET \/room \(oldest [\d.]+ms\)$/)
  let isStopped = false
  const stopped = server.handle.shutDown().finally(() => (isStopped = true))
  await client.received('stop')
  await turns()
  client.socket.end()
  await client.received('bye')
  await client.closed()
  await turns()
  assert.equal(isStopped, false, 'the handler is still at work')
  gate.open()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 8.2] the deadline cuts upgraded connections, and the report names them', async (t) => {
  const server = await start(t, new Echo(), { shutdown: { lingerMs: 0, deadlineMs: 30 } })
  const client = await server.connect()
  await client.get('/room', ...asksForEcho).response()
  const { outcome, code, cut } = await server.handle.shutDown()
  assert.deepEqual([outcome, code], ['deadline', 1])
  assert.match(String(cut), /1 × upgrade of GET \/room \(/)
  await client.closed()
  assert.equal(server.handle.report().isEmpty, true)
})

test('[stopping 8.3] a request with an Upgrade that is read when the stop begins is answered, with Connection: close', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    async (conn: Conn) => {
      await gate.pass()
      return showPath(conn)
    },
    { shutdown: { lingerMs: 5_000, deadlineMs: 20_000 } },
  )
  const client = await server.connect()
  client.get('/', ...asksForH2c)
  await gate.reached()
  const stopped = server.handle.shutDown()
  await until('the listeners are closed', () => server.handle.swansong.state !== 'running')
  client.get('/behind')
  await turns()
  gate.open()
  const response = await client.response()
  assert.deepEqual([response.body, response.field('connection')], ['hello from /', 'close'])
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
  assert.equal(client.text, '')
})

test('[stopping 8.3] a request with an Upgrade that comes while idle connections are kept is answered, with Connection: close', async (t) => {
  const server = await start(t, showPath, { shutdown: { lingerMs: 5_000, deadlineMs: 20_000 } })
  const client = await server.connect()
  await client.get('/', ...asksForH2c).response()
  const stopped = server.handle.shutDown()
  await until('the listeners are closed', () => server.handle.swansong.state !== 'running')
  const response = await client.get('/', ...asksForH2c).response()
  assert.deepEqual([response.body, response.field('connection')], ['hello from /', 'close'])
  await client.ended()
  client.socket.end()
  const { outcome, answered } = await stopped
  assert.deepEqual([outcome, answered], ['clean', 1])
})

test('[stopping 8.3] a switch is made during the stop, too', async (t) => {
  const server = await start(
    t,
    claims((upgrade) => {
      const { socket } = upgrade.takeTransport()
      upgrade.conn.swansong.onStop(() => socket.end('stopping'))
    }),
    { shutdown: { lingerMs: 5_000, deadlineMs: 20_000 } },
  )
  const client = await server.connect()
  const stopped = server.handle.shutDown()
  await until('the listeners are closed', () => server.handle.swansong.state !== 'running')
  assert.equal((await client.get('/', ...asksForEcho).response()).status, 101)
  await client.received('stopping')
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 8.3] a request with an Upgrade behind an answer that says close is refused', async (t) => {
  const gate = new Gate()
  const server = await start(
    t,
    (conn: Conn) =>
      conn.ok(
        (async function* () {
          yield 'begun'
          await gate.pass()
        })(),
      ),
    { shutdown: { lingerMs: 0, drainDelayMs: 20_000 } },
  )
  const stopped = server.handle.shutDown()
  const client = await server.connect()
  client.get('/')
  await gate.reached()
  client.get('/', ...asksForEcho)
  client.send('x'.repeat(200_000))
  await turns()
  gate.open()
  const response = await client.response()
  assert.deepEqual([response.body, response.field('connection')], ['begun', 'close'])
  await client.ended()
  client.socket.end()
  await until('it is closed', () => client.isClosed)
  assert.equal(client.error, undefined)
  void server.handle.swansong.shutDown()
  assert.equal((await stopped).refused, 1)
})

// ------------------------------------------------------------------------------------- tunnels

test('a handler makes a tunnel of CONNECT with a 200', async (t) => {
  const server = await start(
    t,
    claims((upgrade) => {
      const { socket, head } = upgrade.takeTransport()
      socket.write(`to ${upgrade.conn.path}: ${head}`)
      socket.pipe(socket)
    }),
  )
  const client = await server.connect()
  client.send('CONNECT example.test:443 HTTP/1.1\r\nHost: example.test\r\n\r\nhello')
  const { head } = await client.response({ isHead: true })
  assert.match(head, /^HTTP\/1\.1 200 OK\r\nDate: [^\r]+$/)
  await client.received('to example.test:443: hello')
  client.send(' again')
  await client.received('hello again')
})

test('a CONNECT that nobody makes a tunnel of is a 501, or what the handlers refuse it with', async (t) => {
  const server = await start(t, [
    (conn: Conn) => (conn.host === 'forbidden.test' ? conn.withStatus(403).halt() : conn),
    new Echo(),
    showPath,
  ])
  for (const [host, status] of [
    ['example.test', 501],
    ['forbidden.test', 403],
  ] as const) {
    const client = await server.connect()
    client.send(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}\r\n\r\nGET / HTTP/1.1\r\n\r\n`)
    const response = await client.response()
    assert.deepEqual([response.status, response.field('connection')], [status, 'close'])
    await client.ended()
    assert.equal(client.text, '')
  }
  assert.deepEqual(server.errors, [])
})

test('a CONNECT with a body is refused, and the server goes on', async (t) => {
  const server = await start(t, [new Echo(), showPath])
  const client = await server.connect()
  client.send(
    'CONNECT example.test:443 HTTP/1.1\r\nHost: example.test\r\nContent-Length: 5\r\n\r\nhe',
  )
  assert.ok((await client.response()).status >= 400)
  await client.ended()
  const other = await server.connect()
  assert.equal((await other.get('/').response()).status, 200)
})

test('an answer that was given is not lost when the upgrade behind it, in the same packet, fails', async (t) => {
  const server = await start(t, [
    (conn: Conn) => (conn.path === '/fast' ? conn.ok('fast') : conn.withStatus(101).halt()),
    {
      hasUpgrade: () => true,
      upgrade() {
        throw new Error('broken')
      },
    },
  ])
  const client = await server.connect()
  client.send(
    `GET /fast HTTP/1.1\r\nHost: a\r\n\r\nGET /up HTTP/1.1\r\nHost: a\r\n${asksForEcho.join('\r\n')}\r\n\r\n`,
  )
  assert.equal((await client.response()).body, 'fast')
  await client.closed()
})

test('a request with an Upgrade that is refused is answered behind the responses before it', async (t) => {
  const gate = new Gate()
  const server = await start(t, async (conn) => {
    if (conn.path === '/late') await gate.pass()
    return conn.ok(conn.path)
  })
  for (const path of ['/now', '/late']) {
    const client = await server.connect()
    const refused = `GET /no HTTP/1.1\r\nHost: a,b\r\n${asksForEcho.join('\r\n')}\r\n\r\n`
    client.send(
      `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n${refused}GET /3 HTTP/1.1\r\nHost: a\r\n\r\n`,
    )
    await turns()
    gate.open()
    assert.equal((await client.response()).body, path)
    assert.equal((await client.response()).status, 400)
    await client.ended()
    assert.equal(client.text, '')
  }
  assert.deepEqual(server.errors, [])
})
