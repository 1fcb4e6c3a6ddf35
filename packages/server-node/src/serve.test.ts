import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Init, Swansong } from '@wakerobin/core'
import type { Info } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

import { RawClient, start, turns, until } from '../fixtures/harness.ts'
import { serve } from './serve.ts'
import type { ServeOptions } from './serve.ts'

const local = { host: '127.0.0.1', port: 0 } as const
const atOnce = { lingerMs: 0, deadlineMs: 0 }
const patient = { lingerMs: 0, deadlineMs: 20_000 }

/** A port on which something else listens. */
async function takenPort(t: TestContext): Promise<number> {
  const other = createServer().listen(0, '127.0.0.1')
  t.after(() => other.close())
  await until('it listens', () => other.listening)
  return (other.address() as AddressInfo).port
}

/** Whether something listens on a port. */
async function isTaken(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server
      .once('error', () => resolve(true))
      .listen(port, host, () => server.close(() => resolve(false)))
  })
}

// -------------------------------------------------------------------------------------- where

test('localhost is both loopback addresses, on one port', async (t) => {
  const server = await serve('hello', { host: 'localhost', port: 0, shutdown: atOnce })
  t.after(() => server.shutDown())
  const hosts = server.listeners.map((listener) => listener.kind === 'tcp' && listener.host)
  const ports = server.listeners.map((listener) => listener.kind === 'tcp' && listener.port)
  assert.equal(hosts[0], '127.0.0.1')
  assert.equal(new Set(ports).size, 1)
  assert.equal(server.url, `http://localhost:${String(ports[0])}/`)
  assert.equal(await (await fetch(`http://127.0.0.1:${String(ports[0])}`)).text(), 'hello')
  if (hosts.length === 1) return t.diagnostic('this machine has no IPv6')
  assert.equal(hosts[1], '::1')
  assert.equal(await (await fetch(`http://[::1]:${String(ports[0])}`)).text(), 'hello')
})

test('a port in use is a StartError that says so', async (t) => {
  const port = await takenPort(t)
  await assert.rejects(serve('hello', { host: '127.0.0.1', port }), {
    name: 'StartError',
    message: `Cannot listen on 127.0.0.1:${port}: it is in use; stop the other process, or choose another port`,
  })
})

test('an address that fails leaves none of the others bound', async (t) => {
  const other = createServer()
  t.after(() => other.close())
  const hasIpv6 = await new Promise((resolve) => {
    other.once('error', () => resolve(false)).listen(0, '::1', () => resolve(true))
  })
  if (hasIpv6 === false) return t.skip('this machine has no IPv6')
  const { port } = other.address() as AddressInfo
  await assert.rejects(serve('hello', { host: 'localhost', port }), { name: 'StartError' })
  assert.equal(await isTaken(port), false)
})

test('a port that needs a permission is a StartError that says so', async (t) => {
  const firstFree = '/proc/sys/net/ipv4/ip_unprivileged_port_start'
  if (!existsSync(firstFree) || Number(readFileSync(firstFree, 'utf8')) <= 1)
    return t.skip('everybody may listen on every port of this machine')
  if (process.getuid!() === 0) {
    t.after(() => process.seteuid!(0))
    process.seteuid!(65_534)
  }
  await assert.rejects(serve('hello', { host: '127.0.0.1', port: 1 }), {
    name: 'StartError',
    message: /^Cannot listen on 127\.0\.0\.1:1: there is no permission for it/,
  })
})

test('an unknown host, an address of another machine and a bad port are StartErrors', async () => {
  const cases: [ServeOptions, RegExp][] = [
    [{ host: 'no-such-host.invalid', port: 0 }, /^Cannot listen on no-such-host\.invalid.*: /],
    [{ host: '192.0.2.1', port: 0 }, /^Cannot listen on 192\.0\.2\.1.*: this machine has no such/],
    [{ host: '127.0.0.1', port: -1 }, /^Cannot listen on port -1: it must be/],
  ]
  for (const [options, message] of cases)
    await assert.rejects(serve('hello', options), { name: 'StartError', message })
})

test('HOST and PORT say where, and a bad PORT is refused', async (t) => {
  const { HOST, PORT } = process.env
  t.after(() => {
    for (const [name, value] of Object.entries({ HOST, PORT })) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
  Object.assign(process.env, { HOST: '127.0.0.1', PORT: '0' })
  const server = await serve('hello', { shutdown: atOnce })
  t.after(() => server.shutDown())
  assert.deepEqual(server.listeners, [
    { kind: 'tcp', host: '127.0.0.1', port: Number(new URL(server.url!).port), isSecure: false },
  ])
  process.env.PORT = 'http'
  await assert.rejects(serve('hello'), {
    name: 'StartError',
    message: /^Cannot listen on PORT "http"/,
  })
})

test('a Unix socket is served, listed with its path, and removed by the stop', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'app.sock')
  const server = await serve((conn) => conn.ok(String(conn.peerIp)), {
    host: path,
    shutdown: atOnce,
  })
  t.after(() => server.shutDown())
  assert.equal(server.url, undefined)
  assert.deepEqual(server.listeners, [{ kind: 'unix', path, isSecure: false }])
  const client = await RawClient.connect(t, { path })
  assert.equal((await client.get('/').response()).body, 'undefined')
  await assert.rejects(serve('second', { host: path }), {
    name: 'StartError',
    message: `Cannot listen on ${path}: a server listens on it; stop that one, or choose another path`,
  })
  client.socket.destroy()
  await server.shutDown()
  assert.equal(existsSync(path), false)
  await assert.rejects(serve('hello', { host: join(folder, 'none', 'app.sock') }), {
    name: 'StartError',
  })
})

test('[stopping 3.14] an option that cannot be used is refused, with its name, the value and what would be right', async () => {
  const refused = async (options: ServeOptions, message: string): Promise<void> =>
    assert.rejects(serve('x', { ...local, ...options }), { name: 'RangeError', message })
  const fromZero = [
    'drainDelayMs',
    'deadlineMs',
    'lingerMs',
    'headTimeoutMs',
    'hookTimeoutMs',
    'batchIntervalMs',
  ] as const
  const bad: [unknown, string][] = [
    [-1, '-1'],
    [NaN, 'NaN'],
    ['5', '"5"'],
    [true, 'true'],
    [null, 'null'],
    [{}, 'a plain object'],
  ]
  for (const [value, shown] of bad) {
    for (const name of fromZero) {
      await refused(
        { shutdown: { [name]: value } },
        `Cannot serve with shutdown.${name} ${shown}: it must be a number from 0`,
      )
    }
    for (const name of ['bodyBytes', 'halfClosedMs']) {
      await refused(
        { limits: { [name]: value } },
        `Cannot serve with limits.${name} ${shown}: it must be a number from 0`,
      )
    }
  }
  for (const [value, shown] of [...bad, [0, '0'], [0.5, '0.5']] as const) {
    await refused(
      { shutdown: { streamsPerBatch: value as number } },
      `Cannot serve with shutdown.streamsPerBatch ${shown}: it must be a number from 1`,
    )
  }
})

test('[stopping 3.14] an option that there is not, or of the wrong kind, is refused', async (t) => {
  const wrong: [options: object, message: string | RegExp][] = [
    [{ onError: 5 }, 'onError 5: it must be a function'],
    [{ swansong: {} }, 'swansong a plain object: it must be a Swansong'],
    [{ http2: 1 }, 'http2 1: it must be true or false'],
    [{ limits: null }, 'limits null: it must be an object of options'],
    [{ shutdown: null }, 'shutdown null: it must be an object of options'],
    [{ http2: null }, 'http2 null: it must be true or false'],
    [{ limits: 5 }, 'limits 5: it must be an object of options'],
    [{ limits: [] }, 'limits an array of 0: it must be an object of options'],
    [{ shutdown: 'now' }, 'shutdown "now": it must be an object of options'],
    [{ limits: { bodyByte: 5 } }, /limits\.bodyByte: there is no such option; .*\bbodyBytes\b/],
    [
      { prot: 8080 },
      /^Cannot serve with prot: there is no such option; there are host, port, .* and shutdown$/,
    ],
    [{ signals: ['SIGINT'] }, /^Cannot serve with signals: there is no such option; /],
    [{ shutdown: { deadline: 5 } }, /shutdown\.deadline: there is .*; .*\bdeadlineMs, hook/],
  ]
  for (const [options, message] of wrong)
    await assert.rejects(serve('x', { ...local, ...options }), {
      name: 'TypeError',
      message: typeof message === 'string' ? `Cannot serve with ${message}` : message,
    })
  for (const [options, shown] of [
    [null, 'null'],
    [8080, '8080'],
    [[], 'an array of 0'],
  ])
    await assert.rejects(serve('x', options as never), {
      name: 'TypeError',
      message: `Cannot serve with options ${shown}: it must be an object of options`,
    })
  const none = {
    prot: undefined,
    limits: { connections: undefined, bodyByte: undefined },
    shutdown: undefined,
  }
  const server = await serve('x', { ...local, ...(none as object) })
  t.after(() => server.shutDown())
})

test('what is no handler is refused before anything is bound', async () => {
  await assert.rejects(serve([42 as never], local), { name: 'TypeError', message: /app\[0\]/ })
})

// --------------------------------------------------------------------------------------- init

test('every init runs in order, with the bound address, before anything is served', async (t) => {
  const steps: string[] = []
  let info: Info | undefined
  const server = await start(t, [
    Init.new(async (given) => {
      info = given
      await turns(5)
      steps.push('first')
    }),
    [{ init: () => void steps.push('second') }],
    (conn) => {
      steps.push('request')
      conn.ok('served')
    },
  ])
  assert.deepEqual(steps, ['first', 'second'])
  assert.deepEqual(info!.listeners, server.handle.listeners)
  assert.equal(info!.url, server.handle.url)
  assert.equal(info!.swansong, server.handle.swansong)
  await fetch(server.url)
  assert.deepEqual(steps, ['first', 'second', 'request'])
})

test('requests that come during init are held, and served when it is done', async (t) => {
  let finish = (): void => {}
  let port: number | undefined
  let served = 0
  const starting = start(t, [
    Init.new(async (info) => {
      port = (info.listeners[0] as { port: number }).port
      await new Promise<void>((resolve) => (finish = resolve))
    }),
    (conn) => {
      served++
      conn.ok(conn.path)
    },
  ])
  await until('init runs', () => port !== undefined)
  const client = await RawClient.connect(t, { host: '127.0.0.1', port: port! })
  client.get('/one').get('/two')
  await turns()
  assert.equal(served, 0)
  finish()
  await starting
  assert.equal((await client.response()).body, '/one')
  assert.equal((await client.response()).body, '/two')
})

test('an init that fails rejects, names its place, and leaves nothing open or served', async (t) => {
  const failure = new Error('no database')
  let fail = (): void => {}
  let port: number | undefined
  let served = 0
  const starting = serve(
    [
      Init.new(async function database(info) {
        port = (info.listeners[0] as { port: number }).port
        await new Promise<void>((resolve) => (fail = resolve))
        throw failure
      }),
      (conn) => {
        served++
        conn.ok('x')
      },
    ],
    local,
  )
  await until('init runs', () => port !== undefined)
  const client = await RawClient.connect(t, { host: '127.0.0.1', port: port! })
  client.get('/')
  await turns()
  fail()
  client.get('/after')
  await assert.rejects(starting, (error: Error) => {
    assert.match(error.message, /^Cannot start: init of app\[0\].*no database$/)
    assert.equal(error.cause, failure)
    return true
  })
  await client.closed()
  assert.equal(served, 0)
  assert.equal(client.text, '')
  assert.equal(await isTaken(port!), false)
})

test('an init that fails does not wait for guards that others hold', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard('a job')
  const failing = Init.new(() => {
    throw new Error('no')
  })
  await assert.rejects(serve([failing], { ...local, swansong }), /init of app\[0\]/)
  assert.equal(guard.isReleased, false)
})

test('a start that is refused leaves no guard in the swansong', async (t) => {
  const swansong = new Swansong()
  const port = await takenPort(t)
  await assert.rejects(serve('x', { host: '127.0.0.1', port: -1, swansong }))
  await assert.rejects(serve([42 as never], { ...local, swansong }))
  assert.equal(swansong.state, 'running')
  assert.equal(swansong.guardCount, 0)
  await assert.rejects(serve('x', { host: '127.0.0.1', port, swansong }))
  assert.equal(swansong.guardCount, 0)
})

test('[stopping 3.12] a stop during init closes what is held unserved, and start rejects', async (t) => {
  const swansong = new Swansong()
  let finish = (): void => {}
  let port: number | undefined
  let served = 0
  const starting = serve(
    [
      Init.new(async (info) => {
        port = (info.listeners[0] as { port: number }).port
        await new Promise<void>((resolve) => (finish = resolve))
      }),
      () => void served++,
    ],
    { ...local, swansong, shutdown: { lingerMs: 20_000, deadlineMs: 20_000 } },
  )
  const rejected = assert.rejects(starting, {
    name: 'StartError',
    message: 'The server was stopped before it had started',
  })
  await until('init runs', () => port !== undefined)
  const client = await RawClient.connect(t, { host: '127.0.0.1', port: port! })
  client.get('/')
  await turns()
  const completed = swansong.shutDown()
  await client.closed()
  assert.equal(client.text, '')
  assert.equal(swansong.state, 'shutting-down', 'init may finish')
  finish()
  await rejected
  await completed
  assert.equal(served, 0)
  assert.equal(await isTaken(port!), false)
})

test('[stopping 3.13] a stop waits for init no longer than the deadline', async () => {
  const swansong = new Swansong()
  let isReached = false
  const starting = serve(
    Init.new(() => {
      isReached = true
      return new Promise<never>(() => {})
    }),
    { ...local, swansong, shutdown: { lingerMs: 0, deadlineMs: 20 } },
  )
  const rejected = assert.rejects(starting, { name: 'StartError' })
  await until('init runs', () => isReached)
  void swansong.shutDown()
  await rejected
  assert.match(swansong.report().toString(), /1 × init of app "Init\(\)"/)
})

test('[stopping 3.11] a server on a swansong that has stopped does not start, and leaves nothing bound', async () => {
  const swansong = new Swansong()
  await swansong.shutDown()
  let hasRun = false
  const init = Init.new(() => void (hasRun = true))
  const other = createServer().listen(0, '127.0.0.1')
  await until('it listens', () => other.listening)
  const { port } = other.address() as AddressInfo
  await new Promise((resolve) => other.close(resolve))
  await assert.rejects(serve([init], { host: '127.0.0.1', port, swansong }), { name: 'StartError' })
  assert.equal(hasRun, false)
  assert.equal(await isTaken(port), false)
  assert.equal(swansong.state, 'complete')
})

// --------------------------------------------------------------------------------------- stop

test('[stopping 3.9] shutDown twice is one stop, and stopped is the same for everyone', async (t) => {
  const server = await start(t, 'x', { shutdown: patient })
  const first = server.handle.shutDown()
  assert.equal(server.handle.shutDown(), first)
  assert.equal(server.handle.stopped, first)
  assert.equal((await first).outcome, 'clean')
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
  assert.equal(server.handle.swansong.state, 'complete')
})

test('[stopping 1.12] a stopped server accepts no connection', async (t) => {
  const server = await start(t, 'x', { shutdown: patient })
  await server.handle.shutDown()
  await assert.rejects(server.connect(), { code: 'ECONNREFUSED' })
  assert.equal(await isTaken(server.port), false)
})

test('[stopping 1.1] a request in progress at the stop is answered, with Connection: close', async (t) => {
  let go = (): void => {}
  let isReached = false
  const server = await start(
    t,
    async (conn) => {
      isReached = true
      await new Promise<void>((resolve) => (go = resolve))
      conn.ok(`${conn.signal.aborted}`)
    },
    { shutdown: patient },
  )
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  const stopped = server.handle.shutDown()
  await turns()
  go()
  const response = await client.response()
  assert.equal(response.field('connection'), 'close')
  assert.equal(response.body, 'false', 'the stop does not abort what was read')
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.3] a request that comes in the linger time is answered, with Connection: close', async (t) => {
  const server = await start(t, 'hello', { shutdown: { lingerMs: 5_000, deadlineMs: 20_000 } })
  const client = await server.connect()
  await client.get('/').response()
  const stopped = server.handle.shutDown()
  await turns()
  const response = await client.get('/').response()
  assert.equal(response.field('connection'), 'close')
  assert.equal(response.body, 'hello')
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.1] a connection ends with its last response though a handler says otherwise', async (t) => {
  let go = (): void => {}
  let isReached = false
  const server = await start(
    t,
    async (conn) => {
      isReached = true
      await new Promise<void>((resolve) => (go = resolve))
      conn.withResponseHeader('Connection', 'keep-alive').ok('hello')
    },
    { shutdown: { lingerMs: 0, deadlineMs: 3_000 } },
  )
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  const stopped = server.handle.shutDown()
  await turns()
  go()
  assert.equal((await client.response()).body, 'hello')
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.7] a body that is on its way at the stop arrives whole, and ends the connection', async (t) => {
  const size = 32 * 1024 * 1024
  const server = await start(t, (conn) => conn.ok(Buffer.alloc(size, 'x')), {
    // Less than the keep-alive time.
    shutdown: { lingerMs: 0, deadlineMs: 4_000 },
  })
  const client = await server.connect()
  await client.get('/').received('\r\n\r\n')
  client.socket.pause()
  await turns()
  const stopped = server.handle.shutDown()
  await turns()
  let received = client.take().toString('latin1').split('\r\n\r\n')[1]!.length
  client.socket.removeAllListeners('data').on('data', (chunk: Buffer) => (received += chunk.length))
  client.socket.resume()
  await client.ended()
  assert.equal(received, size)
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.10] a request that comes behind a body on its way at the stop is answered', async (t) => {
  const size = 16 * 1024 * 1024
  let go = (): void => {}
  let isReached = false
  const server = await start(
    t,
    async (conn) => {
      if (conn.path === '/big') return conn.ok(Buffer.alloc(size, 'x'))
      isReached = true
      await new Promise<void>((resolve) => (go = resolve))
      return conn.ok('second')
    },
    { shutdown: { lingerMs: 0, deadlineMs: 20_000 } },
  )
  const client = await server.connect()
  await client.get('/big').received('\r\n\r\n')
  client.socket.pause()
  await turns()
  const stopped = server.handle.shutDown()
  await turns()
  client.get('/second')
  await until('the second handler runs', () => isReached)
  client.socket.resume()
  assert.equal((await client.response()).body.length, size)
  await turns()
  go()
  assert.equal((await client.response()).body, 'second')
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.4] idle connections are ended after the linger time, also those that never sent a byte', async (t) => {
  const server = await start(t, 'hello', { shutdown: { lingerMs: 10, deadlineMs: 20_000 } })
  const [silent, used] = await Promise.all([server.connect(), server.connect()])
  await used.get('/').response()
  await turns()
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
  for (const client of [silent, used]) {
    await client.ended()
    assert.equal(client.text, '')
    assert.equal(client.error, undefined)
  }
})

test('[stopping 1.5] half a head is a 408 when the linger time and the time for the other half are over', async (t) => {
  const server = await start(t, 'hello', {
    shutdown: { lingerMs: 10, headTimeoutMs: 10, deadlineMs: 20_000 },
  })
  const [first, second, next] = await Promise.all([
    server.connect(),
    server.connect(),
    server.connect(),
  ])
  first.send('GET / HT')
  await second.get('/').response()
  second.send('GET / HTTP/1.1\r\nHost: te')
  await next.request('POST', '/', 'Content-Length: 4').send('body').response()
  await turns()
  assert.equal((await server.handle.shutDown()).outcome, 'clean')
  for (const client of [first, second]) {
    const response = await client.response()
    assert.equal(response.status, 408)
    assert.equal(response.field('connection'), 'close')
    await client.ended()
    assert.equal(client.error, undefined)
  }
  await next.ended()
  assert.equal(next.text, '')
})

test('[stopping 1.6] a request whose head is completed after the linger time is served', async (t) => {
  const server = await start(t, 'hello', {
    shutdown: { lingerMs: 10, headTimeoutMs: 20_000, deadlineMs: 30_000 },
  })
  const [late, idle] = await Promise.all([server.connect(), server.connect()])
  late.send('GET / HTTP/1.1\r\nHost: test\r\n')
  await turns()
  const stopped = server.handle.shutDown()
  await idle.ended() // so the linger time is over
  late.send('\r\n')
  const response = await late.response()
  assert.equal(response.body, 'hello')
  assert.equal(response.field('connection'), 'close')
  await late.ended()
  for (const client of [late, idle]) client.socket.end()
  const { outcome, answered } = await stopped
  assert.deepEqual({ outcome, answered }, { outcome: 'clean', answered: 1 })
})

test('[stopping 3.6] what has not ended by the deadline is cut, and the outcome says so', async (t) => {
  let isReached = false
  const server = await start(
    t,
    () => {
      isReached = true
      return new Promise<never>(() => {})
    },
    { shutdown: { lingerMs: 0, deadlineMs: 10 } },
  )
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  assert.equal((await server.handle.shutDown()).outcome, 'deadline')
  await client.closed()
  assert.equal(client.text, '')
})

test('[stopping 3.6] a deadline of Infinity is none', async (t) => {
  let go = (): void => {}
  let isReached = false
  const server = await start(
    t,
    async (conn) => {
      isReached = true
      await new Promise<void>((resolve) => (go = resolve))
      conn.ok('late')
    },
    { shutdown: { lingerMs: 0, deadlineMs: Infinity } },
  )
  const client = await server.connect()
  client.get('/')
  await until('the handler runs', () => isReached)
  const stopped = server.handle.shutDown()
  await sleep(20) // node turns too long a time into 1 ms
  go()
  assert.equal((await client.response()).body, 'late')
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 3.7] a stop waits for guards, and no longer than the deadline', async (t) => {
  const swansong = new Swansong()
  const patientServer = await start(t, 'hello', { swansong, shutdown: patient })
  const guard = swansong.guard('a job')
  let outcome: string | undefined
  const stopped = patientServer.handle.shutDown().then((how) => (outcome = how.outcome))
  await turns()
  assert.equal(outcome, undefined)
  await assert.rejects(patientServer.connect(), { code: 'ECONNREFUSED' })
  guard.release()
  assert.equal(await stopped, 'clean')

  const other = new Swansong()
  const server = await start(t, 'hello', { swansong: other, shutdown: atOnce })
  const held = other.guard('a job that never ends') // held: one that is lost is released
  assert.equal((await server.handle.shutDown()).outcome, 'deadline')
  held.release()
})

test('[stopping 1.7] an answer arrives whole at the stop, also while its client is still sending', async (t) => {
  const body = 'x'.repeat(300_000)
  let go = (): void => {}
  let isReached = false
  const server = await start(
    t,
    async (conn) => {
      isReached = true
      await new Promise<void>((resolve) => (go = resolve))
      return conn.withStatus(401).withBody(body).halt()
    },
    { shutdown: patient },
  )
  const client = await server.connect()
  const half = Buffer.alloc(1_000_000)
  client.socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${2 * half.length}\r\n\r\n`)
  client.socket.write(half)
  await until('the handler runs', () => isReached)
  const stopped = server.handle.shutDown()
  go()
  const response = await client.response()
  client.socket.write(half)
  assert.equal(response.status, 401)
  assert.equal(response.body, body)
  assert.equal(client.error, undefined)
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 2.2] what an onStop publishes still reaches the streams', async (t) => {
  const swansong = new Swansong()
  const broadcaster = new Broadcaster()
  const server = await start(t, (conn) => conn.withSseStream(broadcaster), {
    swansong,
    shutdown: patient,
  })
  // Registered after the server's own.
  swansong.onStop(() => broadcaster.publish('goodbye'))
  const client = await server.connect()
  await client.get('/').received(':\n')
  const stopped = server.handle.shutDown()
  await client.ended()
  assert.match(client.text, /data: goodbye\n\n\r\nc\r\nretry: [1-5]\d{3}\n\r\n0\r\n\r\n$/)
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 7.1] several servers on one swansong stop together', async (t) => {
  const swansong = new Swansong()
  const options = { swansong, shutdown: patient }
  const one = await start(t, 'one', options)
  const two = await start(t, 'two', options)
  assert.equal(await (await fetch(one.url)).text(), 'one')
  assert.equal(await (await fetch(two.url)).text(), 'two')
  assert.equal(swansong.guardCount, 2)
  void one.handle.shutDown()
  assert.equal((await two.handle.stopped).outcome, 'clean')
  assert.equal((await one.handle.stopped).outcome, 'clean')
  await swansong.completion
  assert.equal(swansong.state, 'complete')
  for (const server of [one, two]) await assert.rejects(server.connect(), { code: 'ECONNREFUSED' })
})

test('[stopping 3.10] `await using` stops the server at the end of the block', async () => {
  let stopped
  {
    await using server = await serve('x', { ...local, shutdown: patient })
    stopped = server.stopped
    assert.equal(server.swansong.state, 'running')
  }
  assert.equal((await stopped).outcome, 'clean')
})

test('without onError, an error is reported on stderr, with its place and the request', async (t) => {
  const lines: string[] = []
  t.mock.method(console, 'error', (line: string) => lines.push(line))
  const server = await serve(
    function broken() {
      throw new Error('out of ideas')
    },
    { ...local, shutdown: atOnce },
  )
  t.after(() => server.shutDown())
  const response = await fetch(`${server.url!}path?a=b`)
  assert.equal(response.status, 500)
  assert.equal(await response.text(), '')
  assert.equal(lines.length, 1)
  assert.match(
    lines[0]!,
    /^Wakerobin: error in app "broken", on GET \/path\?a=b\nError: out of ideas\n {4}at /,
  )
})
