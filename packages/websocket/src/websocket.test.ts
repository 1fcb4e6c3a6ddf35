import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { handlers, State } from '@wakerobin/core'
import type { AnyHandler, Handler, HandlerParts, Upgrade } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'
import { WebSocket as UndiciWebSocket } from 'undici'

import { ask, handshake, open, start, turns, until } from '../fixtures/harness.ts'
import { websocket } from './websocket.ts'
import type { WebSocketClose, WebSocketConn } from './websocket-conn.ts'

async function echo(socket: WebSocketConn): Promise<void> {
  for await (const message of socket) void socket.send(message)
}

class User {
  readonly #name: string
  constructor(name: string) {
    this.#name = name
  }
  get name(): string {
    return this.#name
  }
}

// -------------------------------------------------------------------------------------- messages

test('text and bytes go both ways, in their order, as what they are', async (t) => {
  const server = await start(t, websocket(echo))
  const client = await open(t, server.url)
  const bytes = Buffer.from([0, 255, 128])
  for (const message of ['', 'größer 🦜', bytes, 'x'.repeat(100_000), Buffer.alloc(0)])
    client.socket.send(message)
  assert.deepEqual(await client.got(5), [
    '',
    'größer 🦜',
    bytes,
    'x'.repeat(100_000),
    Buffer.alloc(0),
  ])
  client.socket.close(1000)
  assert.deepEqual(await client.closed(), { code: 1000, reason: '' })
  await until('it is over', () => server.handle.report().isEmpty)
  assert.deepEqual(server.errors, [])
})

test('what a client sends together with its handshake is heard', async (t) => {
  const server = await start(t, [() => turns(5), websocket(echo)])
  const { socket } = await ask(t, server.port, [...handshake()])
  socket.removeAllListeners('data')
  // "hi", masked with zeros: RFC 6455 §5.2.
  socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  assert.deepEqual([...bytes], [0x81, 2, 0x68, 0x69])
})

test("undici's WebSocket, which is that of Node, is served", async (t) => {
  const server = await start(t, websocket(echo, { protocols: ['chat'] }))
  const socket = new UndiciWebSocket(server.url, ['chat'])
  socket.binaryType = 'arraybuffer'
  const messages: unknown[] = []
  socket.addEventListener('message', ({ data }) => messages.push(data))
  await once(socket, 'open')
  assert.equal(socket.protocol, 'chat')
  socket.send('hello')
  socket.send(new Uint8Array([1, 2]))
  await until('it has got both', () => messages.length === 2)
  assert.equal(messages[0], 'hello')
  assert.deepEqual([...new Uint8Array(messages[1] as ArrayBuffer)], [1, 2])
  const closed = once(socket, 'close')
  void server.handle.shutDown()
  const [{ code, wasClean }] = (await closed) as [{ code: number; wasClean: boolean }]
  assert.deepEqual([code, wasClean], [1001, true])
})

test('values go both ways as JSON', async (t) => {
  const values: unknown[] = []
  const server = await start(
    t,
    websocket(async (socket) => {
      for await (const value of socket.json()) {
        values.push(value)
        await socket.sendJson({ got: value })
      }
    }),
  )
  const client = await open(t, server.url)
  for (const text of ['{"a":1}', 'null', '"text"']) client.socket.send(text)
  assert.deepEqual(await client.got(3), ['{"got":{"a":1}}', '{"got":null}', '{"got":"text"}'])
  assert.deepEqual(values, [{ a: 1 }, null, 'text'])
})

for (const message of ['{', '{"a":{"__proto__":1}}', Buffer.from('{}')]) {
  test(`${typeof message === 'string' ? message : 'bytes'} where JSON is expected: the client is told with 1007, and nobody else`, async (t) => {
    const server = await start(
      t,
      websocket(async (socket) => {
        for await (const value of socket.json()) assert.fail(`${value}`)
      }),
    )
    const client = await open(t, server.url)
    client.socket.send(message)
    assert.deepEqual(await client.closed(), { code: 1007, reason: 'Expected JSON' })
    await until('it is over', () => server.handle.report().isEmpty)
    assert.deepEqual(server.errors, [])
  })
}

test('what cannot be sent is refused, with what would be right', async (t) => {
  const errors: unknown[] = []
  const attempt = (part: () => unknown): void => {
    try {
      part()
    } catch (error) {
      errors.push(String(error))
    }
  }
  const server = await start(
    t,
    websocket((socket) => {
      attempt(() => socket.send({} as string))
      attempt(() => socket.sendJson(undefined))
      attempt(() => socket.close(1005))
      attempt(() => socket.close(200))
      attempt(() => socket.close(1000.5))
      attempt(() => socket.close(5000))
      attempt(() => socket.close(1000, 'é'.repeat(62)))
      void socket.close(4000, 'é'.repeat(61))
    }),
  )
  const client = await open(t, server.url)
  assert.deepEqual(await client.closed(), { code: 4000, reason: 'é'.repeat(61) })
  assert.deepEqual(
    errors.map((error) => `${error}`.slice(0, 48)),
    [
      'TypeError: Cannot send a plain object over a WebSocket: ',
      'TypeError: Cannot send undefined as JSON: it has',
      'RangeError: Cannot close a WebSocket with the co',
      'RangeError: Cannot close a WebSocket with the co',
      'RangeError: Cannot close a WebSocket with the co',
      'RangeError: Cannot close a WebSocket with the co',
      'RangeError: Cannot close a WebSocket with the re',
    ].map((message) => message.slice(0, 48)),
  )
})

// ------------------------------------------------------------------------------------- its life

test('when the handler is done the WebSocket is closed, with 1000, after what it has sent', async (t) => {
  const server = await start(t, [
    websocket((socket) => void socket.send('once'), { path: '/sync' }),
    websocket(async (socket) => {
      await turns()
      void socket.send('later')
    }),
  ])
  for (const [path, message] of [
    ['sync', 'once'],
    ['async', 'later'],
  ] as const) {
    const client = await open(t, server.url + path)
    assert.deepEqual(await client.closed(), { code: 1000, reason: '' })
    assert.deepEqual(client.messages, [message])
  }
})

test('the conn is that of the handshake, with its state, and the compiler knows it', async (t) => {
  const app: Handler = handlers(
    State.new(new User('Fern')),
    websocket((socket) => {
      const { conn } = socket
      void socket.send(
        `${conn.state(User).name} ${conn.pathAndQuery} ${conn.requestHeaders.get('x-a')}`,
      )
    }),
  )
  const server = await start(t, app)
  const client = await open(t, `${server.url}room?a=b`, { headers: { 'x-a': 'c' } })
  assert.deepEqual(await client.got(1), ['Fern /room?a=b c'])
})

for (const isAsync of [false, true]) {
  test(`a handler that ${isAsync ? 'rejects' : 'throws'} closes with 1011 and is reported; the client learns no more`, async (t) => {
    const server = await start(t, [
      undefined,
      websocket(function room(socket) {
        void socket.send('hello')
        if (isAsync) return Promise.reject(new Error('boom'))
        throw new Error('boom')
      }),
    ])
    const client = await open(t, server.url)
    assert.deepEqual(await client.closed(), { code: 1011, reason: '' })
    assert.deepEqual(client.messages, ['hello'])
    await until('it is reported', () => server.errors.length > 0)
    const [{ error, context }] = server.errors as [(typeof server.errors)[0]]
    assert.equal(String(error), 'Error: boom')
    assert.equal(context.place, 'upgrade of app[1] "websocket(room)"')
    assert.equal(context.conn.path, '/')
  })
}

test('a handler that fails while its client does not close is reported after closeTimeoutMs', async (t) => {
  const server = await start(
    t,
    websocket(() => Promise.reject(new Error('boom')), { closeTimeoutMs: 20 }),
  )
  await ask(t, server.port, handshake())
  await until('it is reported', () => server.errors.length > 0)
  await until('it is cut', () => server.handle.report().isEmpty)
})

test('a loop ends when the client closes; the signal aborts, and closed has the code and the reason', async (t) => {
  const ends: unknown[] = []
  const server = await start(
    t,
    websocket(async (socket) => {
      const { signal } = socket
      assert.equal(signal.aborted, false)
      for await (const message of socket) ends.push(message)
      ends.push(signal.aborted, await socket.closed)
      ends.push(await socket.send('too late'), socket.signal === signal)
    }),
  )
  const client = await open(t, server.url)
  client.socket.send('one')
  client.socket.close(4001, 'enough')
  assert.equal((await client.closed()).code, 4001)
  await until('the handler is done', () => ends.length === 5)
  assert.deepEqual(ends, ['one', true, { code: 4001, reason: 'enough' }, false, true])
  assert.deepEqual(server.errors, [])
})

test('a client that is cut off ends the loop, with 1006', async (t) => {
  const ends: WebSocketClose[] = []
  const server = await start(
    t,
    websocket(async (socket) => void ends.push(await socket.discard())),
  )
  const client = await open(t, server.url)
  client.socket.send('dropped')
  client.socket.terminate()
  await until('the handler is done', () => ends.length === 1)
  assert.deepEqual(ends, [{ code: 1006, reason: '' }])
  assert.deepEqual(server.errors, [])
})

test('a handler that fails because the signal has aborted is not reported, and any other is', async (t) => {
  const server = await start(t, [
    websocket((socket) => sleep(60_000, undefined, { signal: socket.signal }), { path: '/abort' }),
    websocket(async (socket) => {
      await socket.closed
      throw new Error('boom')
    }),
  ])
  for (const path of ['abort', 'boom']) {
    const client = await open(t, server.url + path)
    client.socket.close()
    await client.closed()
    await until('it is over', () => server.handle.report().isEmpty)
  }
  await until('it is reported', () => server.errors.length > 0)
  assert.deepEqual(
    server.errors.map(({ error }) => String(error)),
    ['Error: boom'],
  )
})

test('close() ends the loop, drops what was not read, and has an end', async (t) => {
  const seen: unknown[] = []
  const server = await start(
    t,
    websocket(async (socket) => {
      await turns()
      for await (const message of socket) {
        seen.push(message)
        assert.equal(await socket.close(4000), await socket.close(4001))
      }
    }),
  )
  const client = await open(t, server.url)
  for (const message of ['one', 'two', 'three']) client.socket.send(message)
  assert.equal((await client.closed()).code, 4000)
  await until('it is over', () => server.handle.report().isEmpty)
  assert.deepEqual(seen, ['one'])
  assert.deepEqual(server.errors, [])
})

test('messages that have come before the client closes are read to the last', async (t) => {
  const seen: unknown[] = []
  const server = await start(
    t,
    websocket(async (socket) => {
      for await (const message of socket) {
        await turns(3)
        seen.push(message)
      }
    }),
  )
  const client = await open(t, server.url)
  for (const message of ['one', 'two', 'three']) client.socket.send(message)
  client.socket.close()
  await until('all are read', () => seen.length === 3)
})

test('two loops share the messages', async (t) => {
  const seen: unknown[] = []
  const server = await start(
    t,
    websocket(async (socket) => {
      const loop = async (name: string): Promise<void> => {
        for await (const message of socket) seen.push(`${name} ${message}`)
      }
      await Promise.all([loop('a'), loop('b')])
    }),
  )
  const client = await open(t, server.url)
  client.socket.send('one')
  client.socket.send('two')
  await until('both are read', () => seen.length === 2)
  assert.deepEqual(seen, ['a one', 'b two'])
})

// --------------------------------------------------------------------------------------- limits

test('a message longer than messageBytes ends the connection with 1009, and is not reported', async (t) => {
  const server = await start(t, websocket(echo, { messageBytes: 100 }))
  const client = await open(t, server.url)
  client.socket.send('a'.repeat(100))
  await client.got(1)
  client.socket.send('a'.repeat(101))
  assert.equal((await client.closed()).code, 1009)
  await until('it is over', () => server.handle.report().isEmpty)
  assert.deepEqual(server.errors, [])
})

test('the longest message is 1 MiB unless the app says otherwise', async (t) => {
  const server = await start(t, websocket(echo))
  const client = await open(t, server.url)
  client.socket.send(Buffer.alloc(1024 * 1024))
  await client.got(1)
  client.socket.send(Buffer.alloc(1024 * 1024 + 1))
  assert.equal((await client.closed()).code, 1009)
})

const broken: Record<string, readonly number[]> = {
  'a frame without a mask': [0x81, 0x02, 0x68, 0x69],
  'text that is not UTF-8': [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xff],
  'a frame of no known kind': [0x83, 0x80, 0, 0, 0, 0],
}

for (const [what, bytes] of Object.entries(broken)) {
  test(`${what} ends the connection, is not reported, and nobody else is disturbed`, async (t) => {
    const server = await start(t, websocket(echo))
    const other = await open(t, server.url)
    const { socket } = await ask(t, server.port, handshake())
    socket.write(Buffer.from(bytes))
    await once(socket, 'end')
    socket.destroy()
    other.socket.send('still here')
    await other.got(1)
    await until('it is over', () => server.handle.report().upgradeCount === 1)
    assert.deepEqual(server.errors, [])
  })
}

test('a handler that takes its time makes the client wait, and hears it close all the same', async (t) => {
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  let read = 0
  const server = await start(
    t,
    websocket(async (socket) => {
      await gate
      for await (const message of socket) read += message.length
    }),
  )
  const client = await open(t, server.url)
  const message = 'x'.repeat(64 * 1024)
  for (let count = 0; count < 512; count++) client.socket.send(message)
  client.socket.close()
  await turns(300)
  assert.ok(client.socket.bufferedAmount > 16 * 1024 * 1024, `${client.socket.bufferedAmount}`)
  go()
  await until('all is read', () => read === 512 * message.length)
  assert.equal((await client.closed()).code, 1005)
})

test('send() resolves when the client has room, and bufferedBytes says how much waits', async (t) => {
  const sizes: number[] = []
  let socketThere: WebSocketConn | undefined
  const server = await start(
    t,
    websocket(async (socket) => {
      socketThere = socket
      const message = new Uint8Array(512 * 1024)
      for (let count = 0; count < 100; count++) {
        assert.equal(await socket.send(message), true)
        sizes.push(socket.bufferedBytes)
      }
    }),
  )
  const client = await open(t, server.url)
  client.socket.pause()
  await until('the client is full', () => (socketThere?.bufferedBytes ?? 0) > 0)
  await turns()
  assert.ok(sizes.length < 100)
  client.socket.resume()
  await client.got(100)
  assert.equal((await client.closed()).code, 1000)
  assert.ok(Math.max(...sizes) < 1024 * 1024)
})

test('a client that does not read is cut when more than bufferBytes wait for it', async (t) => {
  const sent: Promise<boolean>[] = []
  const ends: WebSocketClose[] = []
  const server = await start(
    t,
    websocket(
      async (socket) => {
        const message = 'x'.repeat(64 * 1024)
        while (!socket.signal.aborted && sent.length < 10_000) {
          sent.push(socket.send(message))
          await new Promise((resolve) => setImmediate(resolve))
        }
        ends.push(await socket.closed)
      },
      { bufferBytes: 1024 * 1024 },
    ),
  )
  const { socket } = await ask(t, server.port, handshake())
  socket.pause()
  await until('it is cut', () => ends.length === 1)
  assert.deepEqual(ends, [{ code: 1006, reason: '' }])
  assert.ok(sent.length < 10_000)
  assert.equal((await Promise.all(sent)).at(-1), false)
  assert.deepEqual(server.errors, [])
})

// ---------------------------------------------------------------------------------------- pings

test('clients are pinged every 30 seconds, by one timer; one that is gone without a word is cut', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const ends: WebSocketClose[] = []
  const handler = async (socket: WebSocketConn): Promise<void> => {
    ends.push(await socket.discard())
  }
  const server = await start(t, websocket(handler))
  const client = await open(t, server.url)
  const second = await open(t, server.url)
  const { socket: silent } = await ask(t, server.port, handshake())
  let isOver = false
  silent.on('close', () => (isOver = true))
  t.mock.timers.tick(29_999)
  await turns()
  assert.equal(client.pings, 0)
  for (let round = 1; round <= 2; round++) {
    t.mock.timers.tick(round === 1 ? 1 : 30_000)
    await until('both are pinged', () => client.pings === round && second.pings === round)
    await turns()
  }
  await until('the silent one is cut', () => isOver && ends.length === 1)
  assert.deepEqual(ends, [{ code: 1006, reason: '' }])
  assert.equal(client.close, undefined)
})

test('a client that sends something need not answer a ping', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let count = 0
  const handler = async (socket: WebSocketConn): Promise<void> => {
    for await (const message of socket) count += message.length
  }
  const server = await start(t, websocket(handler, { pingMs: 1000 }))
  const { socket } = await ask(t, server.port, handshake())
  for (let round = 1; round <= 5; round++) {
    t.mock.timers.tick(1000)
    socket.write(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x68]))
    await until('it is heard', () => count === round)
  }
  // A ping of its own is something, too.
  t.mock.timers.tick(1000)
  let answered = false
  socket.on('data', (bytes: Buffer) => (answered ||= bytes.includes(0x8a)))
  socket.write(Buffer.from([0x89, 0x80, 0, 0, 0, 0]))
  await until('it has a pong', () => answered)
  t.mock.timers.tick(1000)
  await turns()
  assert.equal(socket.destroyed, false)
})

test('a client that is not read is not cut for that', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  let read = 0
  const server = await start(
    t,
    websocket(async (socket) => {
      await gate
      for await (const message of socket) read += message.length
    }),
  )
  const client = await open(t, server.url)
  for (let count = 0; count < 10; count++) client.socket.send('x'.repeat(100_000))
  await turns()
  for (let round = 0; round < 5; round++) {
    t.mock.timers.tick(30_000)
    await turns()
  }
  assert.equal(client.close, undefined)
  go()
  await until('all is read', () => read === 1_000_000)
})

test('with pingMs: 0 nobody is pinged', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const server = await start(t, websocket(echo, { pingMs: 0 }))
  const client = await open(t, server.url)
  t.mock.timers.tick(1e9)
  client.socket.send('hello')
  await client.got(1)
  assert.equal(client.pings, 0)
})

// -------------------------------------------------------------------------------------- the stop

test('[stopping 8.4] a WebSocket is closed with 1001 at the stop, after what was sent before', async (t) => {
  const server = await start(
    t,
    websocket(async (socket) => {
      socket.conn.swansong.onStop(() => void socket.send('not any more'))
      await socket.send('welcome')
      await socket.discard()
    }),
    { shutdown: { deadlineMs: 60_000 } },
  )
  const client = await open(t, server.url)
  await client.got(1)
  const { outcome, code } = await server.handle.shutDown()
  assert.deepEqual(await client.closed(), { code: 1001, reason: '' })
  assert.deepEqual([outcome, code], ['clean', 0])
  assert.deepEqual(client.messages, ['welcome'])
})

test('[stopping 8.5] the stop waits for the handler of a WebSocket, which still reads what has come', async (t) => {
  const seen: unknown[] = []
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  const server = await start(
    t,
    websocket(async (socket) => {
      await gate
      for await (const message of socket) {
        await turns(3)
        seen.push(message)
      }
      seen.push(await socket.send('too late'), 'done')
    }),
    { shutdown: { deadlineMs: 60_000 } },
  )
  const client = await open(t, server.url)
  client.socket.send('one')
  client.socket.send('two')
  await turns()
  const stopped = server.handle.shutDown()
  assert.equal((await client.closed()).code, 1001)
  await turns()
  assert.deepEqual(seen, [])
  go()
  assert.equal((await stopped).outcome, 'clean')
  assert.deepEqual(seen, ['one', 'two', false, 'done'])
})

test('[stopping 8.6] a client that does not close its side is cut after closeTimeoutMs', async (t) => {
  const server = await start(t, websocket(echo, { closeTimeoutMs: 30 }), {
    shutdown: { deadlineMs: 60_000 },
  })
  const { socket } = await ask(t, server.port, handshake())
  const { outcome } = await server.handle.shutDown()
  assert.equal(outcome, 'clean')
  await until('it is cut', () => socket.destroyed)
})

test('[stopping 8.6] a client that the handler has closed before, and that does not close its side, is cut as well', async (t) => {
  const server = await start(
    t,
    websocket(() => {}, { closeTimeoutMs: 30 }),
    {
      shutdown: { deadlineMs: 60_000 },
    },
  )
  const { socket } = await ask(t, server.port, handshake())
  await turns()
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
  await until('it is cut', () => socket.destroyed)
})

test('[stopping 8.7] a WebSocket that is opened during the stop is closed with 1001 at once', async (t) => {
  const ends: unknown[] = []
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  let isReached = false
  const server = await start(
    t,
    [
      async () => {
        isReached = true
        await gate
      },
      websocket(async (socket) => void ends.push(socket.signal.aborted, await socket.discard())),
    ],
    { shutdown: { deadlineMs: 60_000 } },
  )
  const client = open(t, server.url)
  await until('the request is there', () => isReached)
  const stopped = server.handle.shutDown()
  await until('the stop has begun', () => server.handle.swansong.state !== 'running')
  go()
  assert.deepEqual(await (await client).closed(), { code: 1001, reason: '' })
  assert.equal((await stopped).outcome, 'clean')
  assert.deepEqual(ends, [true, { code: 1001, reason: '' }])
})

// ----------------------------------------------------------------------------------- other servers

test('a server that hands over no socket is told what is missing', async () => {
  const handler = websocket(() => assert.fail('there is no socket')) as HandlerParts
  const app = testApp(handler as AnyHandler)
  const headers = handshake().map((field) => field.split(': ') as [string, string])
  const { conn } = await app.get('/', { headers })
  const upgrade = { conn, takeTransport: () => ({}) } as Upgrade
  assert.equal(handler.hasUpgrade?.(upgrade), true)
  await assert.rejects(async () => handler.upgrade?.(upgrade), {
    name: 'TypeError',
    message: /^Cannot open a WebSocket: expected the server to hand over \{ socket, head \}/,
  })
})
