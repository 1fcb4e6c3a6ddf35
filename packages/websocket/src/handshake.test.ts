import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { constants, deflateRawSync } from 'node:zlib'

import type { AnyHandler, Conn } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'
import * as ws from 'ws'
import { WebSocket } from 'ws'

import { ask, handshake, open, start, turns, until } from '../fixtures/harness.ts'
import { websocket } from './websocket.ts'
import type { WebSocketConn } from './websocket-conn.ts'

async function echo(socket: WebSocketConn): Promise<void> {
  for await (const message of socket) void socket.send(message)
}

const passed: AnyHandler = (conn: Conn) => conn.withStatus(299).halt()

test('the handshake of RFC 6455 §1.3 is answered as it says there', async (t) => {
  const server = await start(t, websocket(echo))
  const { head } = await ask(t, server.port, handshake())
  assert.deepEqual(head.split('\r\n'), [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
  ])
})

test('the words of the handshake are found in lists, and in whatever case', async (t) => {
  const server = await start(t, [websocket(echo), passed])
  for (const fields of [
    { Connection: 'keep-alive, Upgrade', Upgrade: 'WebSocket' },
    { Connection: 'upgrade', Upgrade: 'h2c, websocket' },
    { Connection: 'keep-alive', connection: 'UPGRADE', 'Sec-WebSocket-Version': ' 13 ' },
  ])
    assert.equal((await ask(t, server.port, handshake(fields))).status, 101, JSON.stringify(fields))
})

const passing: [fields: Record<string, string | undefined>, request?: object][] = [
  [{ Upgrade: undefined }],
  [{ Upgrade: 'h2c' }],
  [{ Upgrade: 'websockets' }],
  [{ Connection: undefined }],
  [{ Connection: 'keep-alive' }],
  [{}, { method: 'HEAD' }],
  [{}, { method: 'POST' }],
  [{}, { version: '1.0' }],
]

for (const [fields, request = {}] of passing) {
  const what = JSON.stringify({ ...fields, ...request }).slice(1, -1) || 'nothing'
  test(`what asks for no WebSocket passes, and is a 426 where one is required: ${what}`, async (t) => {
    const server = await start(t, [websocket(echo, { path: '/' }), passed])
    assert.equal((await ask(t, server.port, handshake(fields), request)).status, 299)
    const strict = await start(t, [websocket(echo, { required: true, path: '/' }), passed])
    const { status, head } = await ask(t, strict.port, handshake(fields), request)
    assert.equal(status, 426)
    assert.match(head, /\r\nUpgrade: websocket\r\n/)
  })
}

test('on HTTP/2 a 426 has none of the fields that are not allowed there', async () => {
  const app = testApp(websocket(echo, { required: true }))
  const { status, headers } = await app.get('/', { httpVersion: '2.0' })
  assert.equal(status, 426)
  assert.deepEqual([headers.has('connection'), headers.has('upgrade')], [false, false])
})

test('requests for other paths pass, required or not', async (t) => {
  const server = await start(t, [websocket(echo, { required: true, path: '/echo' }), passed])
  assert.equal((await ask(t, server.port, handshake(), { target: '/' })).status, 299)
  assert.equal((await ask(t, server.port, handshake(), { target: '/echo?a=b' })).status, 101)
})

for (const version of [undefined, '8', '13, 8', '013']) {
  test(`the version ${version} is a 426 that says which there is`, async (t) => {
    const server = await start(t, [websocket(echo), passed])
    const fields = handshake({ 'Sec-WebSocket-Version': version })
    const { status, head } = await ask(t, server.port, fields)
    assert.equal(status, 426)
    assert.match(head, /\r\nSec-WebSocket-Version: 13\r\n/)
  })
}

for (const key of [
  undefined,
  '',
  'short',
  'dGhlIHNhbXBsZSBub25jZQ=',
  'dGhlIHNhbXBsZSBub25jZQ====',
]) {
  test(`the key ${key} is a 400`, async (t) => {
    const server = await start(t, [websocket(echo), passed])
    const fields = handshake({ 'Sec-WebSocket-Key': key })
    assert.equal((await ask(t, server.port, fields)).status, 400)
  })
}

test('two keys are a 400', async (t) => {
  const server = await start(t, [websocket(echo), passed])
  const fields = [...handshake(), 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
  assert.equal((await ask(t, server.port, fields)).status, 400)
})

// --------------------------------------------------------------------------------- subprotocols

test("the first of the client's protocols that the app speaks is chosen", async (t) => {
  const chosen: (string | undefined)[] = []
  const server = await start(
    t,
    websocket((socket) => void chosen.push(socket.protocol), { protocols: ['chat.v1', 'chat.v2'] }),
  )
  const client = await open(t, server.url, { protocols: ['other', 'chat.v2', 'chat.v1'] })
  assert.equal(client.socket.protocol, 'chat.v2')
  for (const asked of ['other', undefined]) {
    const fields = handshake({ 'Sec-WebSocket-Protocol': asked })
    const { status, head } = await ask(t, server.port, fields)
    assert.equal(status, 101)
    assert.doesNotMatch(head, /protocol:/i)
  }
  assert.deepEqual(chosen, ['chat.v2', undefined, undefined])
})

for (const asked of ['', 'a,,b', 'a, a', 'a b', '(a)']) {
  test(`the protocols ${JSON.stringify(asked)}, which are none, are a 400`, async (t) => {
    const server = await start(t, websocket(echo, { protocols: ['a'] }))
    const fields = handshake({ 'Sec-WebSocket-Protocol': asked })
    assert.equal((await ask(t, server.port, fields)).status, 400)
  })
}

// ---------------------------------------------------------------------------------- compression

test('messages are not compressed, unless the app says so and the client can', async (t) => {
  const text = 'a'.repeat(100_000)
  for (const [compress, client, expected] of [
    [false, true, ''],
    [true, false, ''],
    [true, true, 'permessage-deflate'],
  ] as const) {
    const server = await start(t, websocket(echo, { compress }))
    const { socket, ...others } = await open(t, server.url, { perMessageDeflate: client })
    assert.equal(socket.extensions, expected)
    const received = new Promise((resolve) => socket.once('message', (data) => resolve(`${data}`)))
    socket.send(text)
    assert.equal(await received, text)
    assert.equal(others.close, undefined)
  }
})

test('an offer of compression that cannot be read, or accepted, is a 400', async (t) => {
  const server = await start(t, websocket(echo, { compress: true }))
  for (const offer of ['permessage-deflate; server_max_window_bits=7', 'permessage-deflate;;']) {
    const fields = handshake({ 'Sec-WebSocket-Extensions': offer })
    assert.equal((await ask(t, server.port, fields)).status, 400, offer)
  }
  const fields = handshake({ 'Sec-WebSocket-Extensions': 'x-other' })
  assert.doesNotMatch((await ask(t, server.port, fields)).head, /extensions/i)
})

test('a compressed message that is too long when it is not is refused', async (t) => {
  const server = await start(t, websocket(echo, { compress: true, messageBytes: 1000 }))
  const client = await open(t, server.url, { perMessageDeflate: { threshold: 0 } })
  client.socket.send('a'.repeat(1001))
  assert.equal((await client.closed()).code, 1009)
})

/** A MiB of zeros, in a frame of about a KiB. */
function bomb(): Buffer {
  const { length } = bombPayload
  return Buffer.concat([
    Buffer.from([0xc2, 0xfe, length >> 8, length & 255, 0, 0, 0, 0]),
    bombPayload,
  ])
}

const bombBytes = 1024 * 1024
const bombPayload = deflateRawSync(Buffer.alloc(bombBytes), {
  finishFlush: constants.Z_SYNC_FLUSH,
}).subarray(0, -4)

const deflating = handshake({ 'Sec-WebSocket-Extensions': 'permessage-deflate' })

/** The frames that were inflated, by their connection. */
function inflatedOf(t: TestContext): Map<unknown, number> {
  const counts = new Map<unknown, number>()
  const { prototype } = (ws as unknown as { PerMessageDeflate: { prototype: WithDecompress } })
    .PerMessageDeflate
  const { decompress } = prototype
  t.mock.method(prototype, 'decompress', function (this: unknown, ...args: unknown[]) {
    counts.set(this, (counts.get(this) ?? 0) + 1)
    return decompress.apply(this, args)
  })
  return counts
}

interface WithDecompress {
  decompress(...args: unknown[]): void
}

test('while messages are not read, no more than one of them is inflated', async (t) => {
  const inflated = inflatedOf(t)
  const read = { slow: 0, fast: 0 }
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  const handler = async (socket: WebSocketConn): Promise<void> => {
    const name = socket.conn.path === '/slow' ? 'slow' : 'fast'
    if (name === 'slow') await gate
    for await (const message of socket) {
      assert.equal(message.length, bombBytes)
      read[name]++
    }
  }
  const server = await start(t, websocket(handler, { compress: true }))
  const bombs = Buffer.concat(Array<Buffer>(32).fill(bomb()))
  const slow = await ask(t, server.port, deflating, { target: '/slow' })
  slow.socket.write(bombs)
  await until('the first is inflated', () => inflated.size === 1)
  const fast = await ask(t, server.port, deflating)
  fast.socket.write(bombs)
  await until('all that are wanted are read', () => read.fast === 32)
  assert.deepEqual([...inflated.values()], [1, 32])
  go()
  await until('all are read', () => read.slow === 32)
  assert.deepEqual([...inflated.values()], [32, 32])
  assert.deepEqual(server.errors, [])
})

for (const [how, end] of [
  ['is dismissed at the stop', (_client: Socket, stop: () => void) => stop()],
  ['leaves', (client: Socket) => client.resetAndDestroy()],
] as const) {
  test(`a client that ${how} while its messages wait to be inflated is gone`, async (t) => {
    const inflated = inflatedOf(t)
    let opened: WebSocketConn | undefined
    let code: number | undefined
    const handler = async (socket: WebSocketConn): Promise<void> => {
      opened = socket
      code = (await socket.closed).code
    }
    const options = { compress: true, closeTimeoutMs: 0 }
    const server = await start(t, websocket(handler, options))
    const { socket } = await ask(t, server.port, deflating)
    socket.write(Buffer.concat(Array<Buffer>(8).fill(bomb())))
    await until('one is inflated', () => inflated.size === 1)
    await turns()
    end(socket, () => void server.handle.shutDown())
    // Who does not read hears of it when it writes.
    await until('it is closed', () => {
      void opened!.send('hello')
      return code !== undefined
    })
    assert.equal(code, 1006)
  })
}

// -------------------------------------------------------------------------- among other handlers

test('of several in a tuple each serves its own path', async (t) => {
  const greet = (name: string) => (socket: WebSocketConn) => void socket.send(name)
  const server = await start(t, [
    websocket(greet('a'), { path: '/a' }),
    [websocket(greet('b'), { path: '/b' })],
  ])
  for (const name of ['a', 'b'])
    assert.deepEqual(await (await open(t, server.url + name)).got(1), [name])
})

test('headers that other handlers set are in the answer', async (t) => {
  const server = await start(t, [
    (conn: Conn) => conn.withResponseHeader('Set-Cookie', 'a=b'),
    websocket(echo),
    { beforeSend: (conn: Conn) => conn.withResponseHeader('X-Late', 'yes') },
  ])
  const { head } = await ask(t, server.port, handshake())
  assert.match(head, /\r\nSet-Cookie: a=b\r\n/)
  assert.match(head, /\r\nX-Late: yes$/)
})

test('a handler before it refuses, with whatever status', async (t) => {
  const server = await start(t, [(conn: Conn) => conn.withStatus(401).halt(), websocket(echo)])
  assert.equal((await ask(t, server.port, handshake())).status, 401)
  const socket = new WebSocket(server.url)
  socket.on('error', () => {})
  const response = await new Promise<{ statusCode?: number | undefined }>((resolve) =>
    socket.on('unexpected-response', (_request, response) => resolve(response)),
  )
  assert.equal(response.statusCode, 401)
  socket.terminate()
})

test('a handshake is tested without sockets', async () => {
  const app = testApp([websocket(echo), passed])
  const fields = handshake().map((field) => field.split(': ') as [string, string])
  const response = await app.get('/', { headers: fields })
  assert.equal(response.status, 101)
  assert.equal(response.headers.get('sec-websocket-accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')
})
