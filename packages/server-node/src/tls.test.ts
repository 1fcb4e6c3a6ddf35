import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { createSecureContext } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { pathToFileURL } from 'node:url'

import { Swansong } from '@wakerobin/core'
import type { Handler } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

import { first, second } from '../fixtures/certificates.ts'
import { Gate, ownTime, RawClient, start, turns, until } from '../fixtures/harness.ts'
import type { TestServer } from '../fixtures/harness.ts'
import { serve } from './serve.ts'
import type { TlsOptions, TlsSource } from './tls.ts'

const patient = { lingerMs: 0, deadlineMs: 20_000 }
const inMemory = { cert: first.cert, key: first.key }
const checked = { ca: [first.cert, second.cert] }

function dial(
  t: TestContext,
  { port }: TestServer,
  tls: ConnectionOptions = checked,
): Promise<RawClient> {
  return RawClient.connect(t, { host: '127.0.0.1', port }, tls)
}

/** The certificate that a server shows to a new client. */
async function shownBy(t: TestContext, server: TestServer, servername?: string): Promise<string> {
  const client = await dial(t, server, { ...checked, ...(servername && { servername }) })
  const { certificate } = client
  client.socket.destroy()
  return certificate
}

/** A client that says hello, and keeps the rest of its handshake and what follows until it is released. */
async function heldBack(
  t: TestContext,
  { port }: TestServer,
): Promise<{ client: RawClient; raw: Socket; release(): void }> {
  const raw = connect({ host: '127.0.0.1', port, noDelay: true })
  t.after(() => raw.destroy())
  await once(raw, 'connect')
  let isHeld = false
  const kept: Buffer[] = []
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      if (isHeld) kept.push(chunk)
      else raw.write(chunk)
      if (raw.bytesWritten === chunk.length) isHeld = true // that was the hello
      done()
    },
  })
  raw.on('data', (chunk) => stream.push(chunk)).on('end', () => stream.push(null))
  const client = await RawClient.connect(
    t,
    { host: '127.0.0.1', port },
    { ...checked, socket: stream },
  )
  const release = (): void => {
    isHeld = false
    raw.write(Buffer.concat(kept.splice(0)))
  }
  return { client, raw, release }
}

/** Waits until a server has read what its clients have sent. */
async function sees(server: TestServer, connections: number): Promise<void> {
  await until(
    `there are ${connections} connections`,
    () => server.handle.report().connections === connections,
  )
  await turns()
}

interface Folder {
  readonly certFile: string
  readonly keyFile: string
  use(certificate: typeof first): void
}

/** A folder with a certificate and its key, as an administrator has it. */
function folderOf(t: TestContext): Folder {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const files = { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') }
  const use = ({ certFile, keyFile }: typeof first): void => {
    copyFileSync(certFile, files.certFile)
    copyFileSync(keyFile, files.keyFile)
  }
  use(first)
  return { ...files, use }
}

/** What is printed on stderr from here on. */
function stderrOf(t: TestContext): string[] {
  const lines: string[] = []
  t.mock.method(console, 'error', (line: string) => void lines.push(line))
  return lines
}

// -------------------------------------------------------------------------------- a certificate

test('with tls the server speaks HTTPS: the url, the listener and the conn say so', async (t) => {
  const app: Handler = (conn) => conn.json([conn.isSecure, conn.listener, conn.peerIp])
  const server = await start(t, app, { tls: inMemory })
  const { url, listeners } = server.handle
  assert.equal(url, `https://127.0.0.1:${server.port}/`)
  assert.deepEqual(listeners, [
    { kind: 'tcp', host: '127.0.0.1', port: server.port, isSecure: true },
  ])
  const client = await dial(t, server)
  for (let round = 0; round < 2; round++) {
    const { status, body } = await client.get('/').response()
    assert.equal(status, 200)
    assert.deepEqual(JSON.parse(body), [true, listeners[0], '127.0.0.1'])
  }
})

test('a certificate is given as text, as bytes, in files, or by a function', async (t) => {
  const sources: TlsSource[] = [
    inMemory,
    { cert: Buffer.from(first.cert), key: Buffer.from(first.key) },
    { certFile: first.certFile, keyFile: first.keyFile },
    { certFile: pathToFileURL(first.certFile), keyFile: pathToFileURL(first.keyFile) },
    () => inMemory,
    async () => inMemory,
  ]
  for (const tls of sources) {
    const server = await start(t, 'hello', { tls })
    assert.equal(await shownBy(t, server), 'first')
  }
})

test("node's own options hold: an SNICallback chooses the certificate", async (t) => {
  const contexts = new Map([
    ['first.test', createSecureContext(inMemory)],
    ['second.test', createSecureContext({ cert: second.cert, key: second.key })],
  ])
  const tls: TlsOptions = { SNICallback: (name, done) => done(null, contexts.get(name)) }
  const server = await start(t, 'hello', { tls })
  assert.equal(await shownBy(t, server, 'first.test'), 'first')
  assert.equal(await shownBy(t, server, 'second.test'), 'second')
})

test("node's own options hold: a client may be asked for a certificate", async (t) => {
  const tls = { ...inMemory, requestCert: true, ca: second.cert }
  const server = await start(t, 'hello', { tls })
  const client = await dial(t, server, { ...checked, cert: second.cert, key: second.key })
  assert.equal((await client.get('/').response()).body, 'hello')
  const stranger = await dial(t, server)
  await stranger.closed()
  assert.equal(stranger.text, '')
})

test('TLS 1.2 is the oldest that is spoken, unless the options say otherwise', async (t) => {
  const old: ConnectionOptions = {
    ...checked,
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT:@SECLEVEL=0',
  }
  const server = await start(t, 'hello', { tls: inMemory })
  await assert.rejects(dial(t, server, old))
  await dial(t, server, { ...checked, maxVersion: 'TLSv1.2' })
  await sees(server, 1)

  const tls: TlsOptions = { ...inMemory, minVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' }
  const lenient = await start(t, 'hello', { tls })
  assert.equal((await (await dial(t, lenient, old)).get('/').response()).body, 'hello')
  const method: TlsOptions = { ...inMemory, secureProtocol: 'TLSv1_2_method' }
  await dial(t, await start(t, 'hello', { tls: method }))
})

test('tls options that cannot be used are a StartError that says why', async (t) => {
  const { certFile, keyFile } = folderOf(t)
  const broken = `${certFile}.broken`
  writeFileSync(broken, 'no PEM')
  const missing = `${certFile}.missing`
  const no = 'Cannot listen on 127.0.0.1:0: Cannot'
  const cases: [unknown, string | RegExp][] = [
    [42, `${no} use 42 as tls: expected an object of options`],
    [() => null, `${no} use null as tls: expected an object of options`],
    [() => Promise.reject(new Error('no vault')), 'Cannot listen on 127.0.0.1:0: no vault'],
    [() => Promise.reject(null), 'Cannot listen on 127.0.0.1:0: null'],
    [
      () => Promise.reject(Object.assign(new Error('locked'), { code: 'EACCES' })),
      'Cannot listen on 127.0.0.1:0: locked',
    ],
    ...[
      {},
      // Node's server looks at none of these.
      { cert: '', key: '' },
      { pfx: undefined },
      { SNICallback: undefined },
      { secureContext: createSecureContext(inMemory) },
    ].map((none): [unknown, string] => [
      none,
      `${no} use tls without a certificate: give cert and key, certFile and keyFile, pfx, or an SNICallback`,
    ]),
    [
      { certFile },
      `${no} use tls with a certificate alone: it needs both, as cert and key or as certFile and keyFile`,
    ],
    [
      { key: first.key },
      `${no} use tls with a key alone: it needs both, as cert and key or as certFile and keyFile`,
    ],
    [{ ...inMemory, certFile }, `${no} use both cert and certFile of tls: give one of them`],
    [{ certFile: missing, keyFile }, new RegExp(`${no} read tls.certFile ${missing}: ENOENT`)],
    [
      { certFile: broken, keyFile },
      new RegExp(`${no} use the certificate ${broken} of tls: error:`),
    ],
    [{ certFile, keyFile: broken }, new RegExp(`${no} use the key ${broken} of tls: error:`)],
    [{ ...inMemory, cert: 'no PEM' }, new RegExp(`${no} use the certificate of tls: error:`)],
    [{ ...inMemory, key: 'no PEM' }, new RegExp(`${no} use the key of tls: error:`)],
    [{ pfx: 'no PFX' }, new RegExp(`${no} use the certificate of tls: `)],
    [{ ...inMemory, minVersion: '1.2' }, new RegExp(`${no} use the options of tls: "1.2" is not`)],
    [{ certFile, keyFile, ciphers: 'none' }, new RegExp(`${no} use the options of tls: .*cipher`)],
    [{ ...inMemory, key: second.key }, /use the certificate of tls: .*key values mismatch$/],
    [
      { ...inMemory, checkFilesMs: -1 },
      `${no} serve with tls.checkFilesMs -1: it must be a number from 0`,
    ],
    [
      { ...inMemory, handshakeTimeoutMs: 0 },
      `${no} serve with tls.handshakeTimeoutMs 0: it must be a number from 1`,
    ],
  ]
  for (const [tls, message] of cases) {
    const options = { host: '127.0.0.1', port: 0, tls: tls as TlsOptions }
    await assert.rejects(serve('hello', options), { name: 'StartError', message })
  }
})

// ---------------------------------------------------------------------------------------- reload

test('reloadTls reads the files anew: new connections get the new certificate, open ones go on', async (t) => {
  const { use, ...tls } = folderOf(t)
  const server = await start(t, 'hello', { host: 'localhost', tls })
  const old = await dial(t, server)
  assert.equal(old.certificate, 'first')
  use(second)
  assert.equal(await shownBy(t, server), 'first', 'not before it is told')
  await server.handle.reloadTls()
  assert.equal(await shownBy(t, server), 'second')
  for (const listener of server.handle.listeners) {
    assert(listener.kind === 'tcp')
    const client = await RawClient.connect(t, listener, checked)
    assert.equal(client.certificate, 'second', listener.host)
  }
  assert.equal((await old.get('/').response()).body, 'hello')
})

test('reloadTls keeps the former certificate where the new one cannot be used, and says why', async (t) => {
  const { use, ...tls } = folderOf(t)
  const server = await start(t, 'hello', { tls })
  writeFileSync(tls.certFile, second.cert) // and not its key
  await assert.rejects(server.handle.reloadTls(), /key values mismatch$/)
  assert.equal(await shownBy(t, server), 'first')
  rmSync(tls.keyFile)
  await assert.rejects(server.handle.reloadTls(), /^Error: Cannot read tls\.keyFile .*: ENOENT/)
  assert.equal(await shownBy(t, server), 'first')
  use(second)
  await server.handle.reloadTls()
  assert.equal(await shownBy(t, server), 'second')
})

test('reloadTls asks the function again, one call after the other', async (t) => {
  const gate = new Gate()
  const given = [first, first, second]
  const tls = async (): Promise<TlsOptions> => {
    const { cert, key } = given.shift()!
    if (given.length === 1) await gate.pass()
    return { cert, key }
  }
  const server = await start(t, 'hello', { tls })
  const both = [server.handle.reloadTls(), server.handle.reloadTls()]
  await gate.reached()
  assert.equal(given.length, 1, 'the second waits for the first')
  gate.open()
  await Promise.all(both)
  assert.equal(await shownBy(t, server), 'second')
})

test('reloadTls takes the callbacks of the function, too, and how often its files are looked at', async (t) => {
  const timers = timersOf(t)
  const choosing = ({ cert, key }: typeof first): TlsOptions => ({
    SNICallback: (_name, done) => done(null, createSecureContext({ cert, key })),
  })
  const { certFile, keyFile } = folderOf(t)
  const files = { certFile, keyFile }
  const given: TlsOptions[] = [
    choosing(first),
    choosing(second),
    inMemory,
    { ...files, checkFilesMs: 500 },
    { ...files, ...choosing(second), checkFilesMs: 700 },
  ]
  const server = await start(t, 'hello', { tls: () => given.shift()! })
  assert.equal(await shownBy(t, server), 'first')
  await server.handle.reloadTls()
  assert.equal(await shownBy(t, server), 'second')
  await server.handle.reloadTls()
  assert.equal(await shownBy(t, server), 'first', 'without a callback')
  assert.deepEqual([...timers.keys()], [])
  await server.handle.reloadTls()
  assert.deepEqual([...timers.keys()], [500])
  await server.handle.reloadTls()
  assert.equal(await shownBy(t, server), 'second')
  assert.deepEqual([...timers.keys()], [500, 700])
})

test('reloadTls takes the pre-shared keys of the function', async (t) => {
  const psk = { ciphers: 'PSK', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
  const keys = [Buffer.from('first key'), Buffer.from('second key')]
  const tls = (): TlsOptions => {
    const key = keys.shift()!
    return { ...psk, pskCallback: () => key }
  }
  const server = await start(t, 'hello', { tls })
  const isKnown = async (key: string): Promise<boolean> => {
    const pskCallback = () => ({ psk: Buffer.from(key), identity: 'me' })
    const options = { ...psk, pskCallback, checkServerIdentity: () => undefined }
    const client = await dial(t, server, options).catch(() => undefined)
    return (await client?.get('/').response())?.body === 'hello'
  }
  assert.deepEqual([await isKnown('first key'), await isKnown('second key')], [true, false])
  await server.handle.reloadTls()
  assert.deepEqual([await isKnown('first key'), await isKnown('second key')], [false, true])
})

test('reloadTls refuses what a running server does not take, and keeps the former certificate', async (t) => {
  const changes: [TlsOptions, string][] = [
    [{ requestCert: true }, 'requestCert of tls from false to true'],
    [{ rejectUnauthorized: false }, 'rejectUnauthorized of tls from true to false'],
    [{ pskIdentityHint: 'me' }, 'pskIdentityHint of tls from undefined to me'],
    [{ pskCallback: () => null }, 'pskCallback of tls from undefined to a function'],
  ]
  let change: TlsOptions = {}
  const server = await start(t, 'hello', { tls: () => ({ ...inMemory, ...change }) })
  for (const [changed, what] of changes) {
    change = { ...changed, cert: second.cert, key: second.key }
    await assert.rejects(server.handle.reloadTls(), {
      name: 'TypeError',
      message: `Cannot change ${what} without a restart`,
    })
    assert.equal(await shownBy(t, server), 'first')
  }
  change = { requestCert: false, rejectUnauthorized: true, cert: second.cert, key: second.key }
  await server.handle.reloadTls()
  assert.equal(await shownBy(t, server), 'second')
})

test('of several listeners each reads its own, and one that fails does not keep the others', async (t) => {
  const bad = folderOf(t)
  const good = folderOf(t)
  const files = ({ certFile, keyFile }: Folder): TlsOptions => ({ certFile, keyFile })
  const server = await serve('hello', {
    listen: [
      { host: '127.0.0.1', port: 0, tls: files(bad) },
      { host: '127.0.0.1', port: 0, tls: files(good) },
      { host: '127.0.0.1', port: 0 },
    ],
    shutdown: { lingerMs: 0, deadlineMs: 0 },
  })
  t.after(() => server.shutDown())
  rmSync(bad.certFile)
  good.use(second)
  await assert.rejects(server.reloadTls(), /Cannot read tls\.certFile/)
  const names: string[] = []
  for (const listener of server.listeners.slice(0, 2)) {
    const client = await RawClient.connect(t, listener as { host: string; port: number }, checked)
    names.push(client.certificate)
  }
  assert.deepEqual(names, ['first', 'second'])
})

/** What is called every so many milliseconds: call it in place of waiting. */
function timersOf(t: TestContext): Map<number, () => Promise<void>> {
  const timers = new Map<number, () => Promise<void>>()
  const real = setInterval
  t.mock.method(globalThis, 'setInterval', (callback: () => Promise<void>, ms: number) => {
    timers.set(ms, callback)
    return real(() => {}, 1e6)
  })
  return timers
}

test('files that have changed are read by themselves, at the next look of each minute', async (t) => {
  const timers = timersOf(t)
  const { use, ...tls } = folderOf(t)
  const server = await start(t, 'hello', { tls })
  const look = timers.get(60_000)!
  await look()
  assert.equal(await shownBy(t, server), 'first')
  use(second)
  assert.equal(await shownBy(t, server), 'first')
  await look()
  assert.equal(await shownBy(t, server), 'second')
})

test('files that cannot be used are reported when they stay so, once, and the former ones are kept', async (t) => {
  const timers = timersOf(t)
  const printed = stderrOf(t)
  const { use, ...tls } = folderOf(t)
  const server = await start(t, 'hello', { tls: { ...tls, checkFilesMs: 1_234 } })
  const looks = async (times: number): Promise<void> => {
    for (let time = 0; time < times; time++) await timers.get(1_234)!()
  }
  writeFileSync(tls.certFile, second.cert) // the key comes later
  await looks(1)
  assert.deepEqual(printed, [])
  await looks(3)
  assert.equal(printed.length, 1)
  assert.match(
    printed[0]!,
    /^Wakerobin: the new certificate cannot be used, and the former one is kept: Error: Cannot use .*mismatch/,
  )
  rmSync(tls.keyFile)
  await looks(1)
  assert.equal(printed.length, 1)
  await looks(3)
  assert.equal(printed.length, 2)
  assert.match(printed[1]!, /Cannot read tls\.keyFile/)
  assert.equal(await shownBy(t, server), 'first')
  use(second)
  await looks(1)
  assert.equal(await shownBy(t, server), 'second')
  assert.equal(printed.length, 2)
})

test('with checkFilesMs 0, or a certificate in memory, nothing is looked at', async (t) => {
  const timers = timersOf(t)
  const { certFile, keyFile } = folderOf(t)
  await start(t, 'hello', { tls: inMemory })
  assert.equal(timers.has(60_000), false)
  await start(t, 'hello', { tls: { certFile, keyFile, checkFilesMs: 0 } })
  assert.equal(timers.has(0), false)
})

// ------------------------------------------------------------------------------------ handshakes

test('a handshake that takes too long is ended, however often the client sends a byte', async (t) => {
  const server = await start(t, 'hello', { tls: { ...inMemory, handshakeTimeoutMs: 60 } })
  const client = await RawClient.connect(t, { host: '127.0.0.1', port: server.port })
  client.send('\x16\x03\x01\x02\x00')
  const sending = setInterval(() => client.send('\x01'), 5)
  t.after(() => clearInterval(sending))
  await client.closed()
  await sees(server, 0)
})

test('the time of a handshake ends with it', async (t) => {
  const pass = ownTime(t)
  const server = await start(t, 'hello', { tls: inMemory })
  const client = await dial(t, server)
  assert.equal((await client.get('/').response()).body, 'hello')
  const { client: late, release } = await heldBack(t, server)
  await sees(server, 2)
  await pass(9_999)
  assert.equal(late.isClosed, false)
  release()
  assert.equal((await late.get('/').response()).body, 'hello')
  await pass(10_000)
  for (const each of [client, late]) assert.equal((await each.get('/').response()).body, 'hello')
})

test('HTTP on a port of HTTPS is answered with a 400 in plain text', async (t) => {
  const server = await start(t, 'hello', { tls: inMemory })
  const client = await RawClient.connect(t, { host: '127.0.0.1', port: server.port })
  const { status, body } = await client.get('/').response()
  assert.deepEqual([status, body], [400, 'This port speaks HTTPS.\n'])
  await client.ended()
  assert.equal(client.error, undefined)
  await sees(server, 0)
})

test('bytes that are no TLS, and a client that breaks off, harm nobody', async (t) => {
  const server = await start(t, 'hello', { tls: inMemory })
  const where = { host: '127.0.0.1', port: server.port }
  const garbage = await RawClient.connect(t, where)
  garbage.send(Buffer.alloc(600, 0xee))
  await garbage.closed()
  const reset = await heldBack(t, server)
  reset.raw.resetAndDestroy()
  const left = await heldBack(t, server)
  left.raw.end()
  const silent = await RawClient.connect(t, where)
  silent.socket.end()
  await sees(server, 0)
  assert.equal((await (await dial(t, server)).get('/').response()).body, 'hello')
  assert.deepEqual(server.errors, [])
})

test('a client that does not trust the certificate leaves nothing behind', async (t) => {
  const server = await start(t, 'hello', { tls: inMemory })
  for (let round = 0; round < 20; round++)
    await assert.rejects(dial(t, server, { ca: second.cert }), /self-signed certificate/)
  await sees(server, 0)
})

// -------------------------------------------------------------------------------------- the stop

test('[stopping 1.1] over TLS a request in progress is answered at the stop, with Connection: close', async (t) => {
  const gate = new Gate()
  const app: Handler = async (conn) => {
    await gate.pass()
    return conn.ok('hello')
  }
  const server = await start(t, app, { tls: inMemory, shutdown: patient })
  const client = await dial(t, server)
  client.get('/')
  await gate.reached()
  const stopped = server.handle.shutDown()
  await turns()
  gate.open()
  const { body, field } = await client.response()
  assert.deepEqual([body, field('connection')], ['hello', 'close'])
  await client.ended()
  assert.equal(client.error, undefined)
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 2.1] over TLS event streams end whole', async (t) => {
  const broadcaster = new Broadcaster()
  const app: Handler = (conn) => conn.withSseStream(broadcaster)
  const server = await start(t, app, { tls: inMemory, shutdown: patient })
  const clients = await Promise.all([dial(t, server), dial(t, server)])
  for (const client of clients) await client.get('/').received(':\n')
  broadcaster.publish('x'.repeat(100_000))
  broadcaster.publish('the last')
  const stopped = server.handle.shutDown()
  for (const client of clients) {
    await client.ended()
    assert.match(
      client.text,
      /x\n\n(?:.|\r\n)*data: the last\n\n(?:.|\r\n)*retry: \d+\n\n?\r\n0\r\n\r\n$/s,
    )
    client.socket.end()
  }
  const { outcome, streamsEnded } = await stopped
  assert.deepEqual([outcome, streamsEnded], ['clean', 2])
})

test('[stopping 1.4] over TLS idle connections end in order', async (t) => {
  const server = await start(t, 'hello', { tls: inMemory, shutdown: patient })
  const [used, unused] = [await dial(t, server), await dial(t, server)]
  await used.get('/').response()
  await sees(server, 2)
  const stopped = server.handle.shutDown()
  for (const client of [used, unused]) {
    await client.ended()
    assert.deepEqual([client.error, client.text], [undefined, ''])
    client.socket.end()
  }
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 1.5] over TLS half of a head is waited for, and then answered with a 408', async (t) => {
  const shutdown = { lingerMs: 0, headTimeoutMs: 0, deadlineMs: 20_000 }
  const server = await start(t, 'hello', { tls: inMemory, shutdown })
  const client = await dial(t, server)
  client.send('GET / HTTP/1.1\r\nHost')
  await sees(server, 1)
  const stopped = server.handle.shutDown()
  assert.equal((await client.response()).status, 408)
  await client.ended()
  client.socket.end()
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 10.2] a handshake that does not go on does not hold the stop: not longer than a head', async (t) => {
  const pass = ownTime(t)
  const shutdown = { lingerMs: 100, headTimeoutMs: 200, deadlineMs: 20_000 }
  const server = await start(t, 'hello', { tls: inMemory, shutdown })
  const silent = await RawClient.connect(t, { host: '127.0.0.1', port: server.port })
  const half = await heldBack(t, server)
  await sees(server, 2)
  assert.equal(server.handle.report().idleConnections, 2)
  const stopped = server.handle.shutDown()
  await turns()
  await pass(99)
  assert.deepEqual([silent.isEnded, half.client.isEnded], [false, false])
  await pass(1)
  await silent.closed()
  await pass(199)
  assert.equal(half.raw.closed, false)
  await pass(1)
  await until('it is closed', () => half.raw.closed)
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 10.2] a handshake that is done after the listener was closed is served, and its connection ends', async (t) => {
  const pass = ownTime(t)
  const shutdown = { lingerMs: 100, headTimeoutMs: 200, deadlineMs: 20_000 }
  const server = await start(t, 'hello', { tls: inMemory, shutdown })
  const [asking, idle] = [await heldBack(t, server), await heldBack(t, server)]
  await sees(server, 2)
  const stopped = server.handle.shutDown()
  await turns()
  await assert.rejects(server.connect(), { code: 'ECONNREFUSED' })
  asking.client.get('/')
  asking.release()
  idle.release()
  const { body, field } = await asking.client.response()
  assert.deepEqual([body, field('connection')], ['hello', 'close'])
  await asking.client.ended()
  await pass(100)
  await pass(100)
  await idle.client.ended()
  assert.equal(idle.client.text, '')
  for (const { client, raw } of [asking, idle]) {
    client.socket.end()
    raw.end()
  }
  await pass(300)
  assert.equal((await stopped).outcome, 'clean')
})

test('[stopping 5.3] what is in the middle of a handshake is cut at the deadline', async (t) => {
  const shutdown = { lingerMs: 1e9, headTimeoutMs: 1e9, deadlineMs: 0 }
  const server = await start(t, 'hello', { tls: inMemory, shutdown })
  const { client, raw } = await heldBack(t, server)
  await sees(server, 1)
  const closed = once(raw, 'close')
  assert.equal((await server.handle.shutDown()).outcome, 'deadline')
  await closed
  assert.equal(client.text, '')
})

test('a stop during init ends handshakes too', async (t) => {
  const gate = new Gate()
  let port = 0
  const init = {
    init: async ({ listeners }: { listeners: readonly unknown[] }) => {
      port = (listeners[0] as { port: number }).port
      await gate.pass()
    },
  }
  const swansong = new Swansong()
  const starting = serve([init, 'hello'], {
    host: '127.0.0.1',
    port: 0,
    tls: inMemory,
    swansong,
    shutdown: { lingerMs: 1e9, deadlineMs: 1e9 },
  })
  const rejected = assert.rejects(starting, { name: 'StartError' })
  await gate.reached()
  const client = await RawClient.connect(t, { host: '127.0.0.1', port })
  await turns()
  void swansong.shutDown()
  await client.closed()
  gate.open()
  await rejected
})
