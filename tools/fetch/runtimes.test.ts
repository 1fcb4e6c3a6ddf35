import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'

import { openFetch } from '../../examples/testing/event-client.ts'
import { runtimes, startOn, type RuntimeProgram } from './runtimes.ts'

for (const runtime of Object.values(runtimes)) {
  const { name, skipReason: skip } = runtime
  const open = (t: TestContext): Promise<Program> => start(t, runtime)

  test(
    `${name}: a response has its status, headers and body, and no content type of its own`,
    { skip },
    async (t) => {
      const { get, sees } = await open(t)
      const hello = await get('/hello')
      assert.deepEqual([hello.status, await hello.text()], [200, 'hello'])
      assert.equal(hello.headers.get('content-type'), null)
      assert.equal(hello.headers.get('content-length'), '5')
      await sees('sent', '/hello', true)
      const empty = await get('/empty')
      assert.deepEqual([empty.status, await empty.text()], [204, ''])
      await sees('sent', '/empty', true)
      const head = await get('/hello', { method: 'HEAD' })
      assert.deepEqual([head.status, head.headers.get('content-length')], [200, '5'])
      await sees('sent', '/hello', true)
      assert.equal((await get('/nowhere')).status, 404)
    },
  )

  test(
    `${name}: the conn knows the client, the host, the target and the headers, in UTF-8`,
    { skip },
    async (t) => {
      const { get, origin } = await open(t)
      const utf8 = Buffer.from('Fårö').toString('latin1')
      const response = await get('/head?a=b%20c', { headers: { 'X-Name': utf8 } })
      assert.deepEqual(await response.json(), [
        '127.0.0.1',
        false,
        origin.replace('http://', ''),
        '/head?a=b%20c',
        'Fårö',
      ])
      assert.deepEqual(response.headers.getSetCookie(), ['a=1', 'b=2'])
      assert.equal(Buffer.from(response.headers.get('x-name')!, 'latin1').toString(), 'Fårö')
    },
  )

  test(
    `${name}: a request body is read whole, as a form, and as it arrives`,
    { skip },
    async (t) => {
      const { get, sees, socket } = await open(t)
      const echo = await get('/echo', { method: 'POST', body: 'größer' })
      assert.equal(await echo.text(), 'größer')
      await sees('sent', '/echo', true)
      const form = new FormData()
      form.set('name', 'Fårö')
      assert.deepEqual(await (await get('/form', { method: 'POST', body: form })).json(), [
        ['name', 'Fårö'],
      ])
      await sees('sent', '/form', true)

      const client = await socket()
      client.write('POST /parts HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n')
      for (const part of ['one', 'two']) {
        client.write(`3\r\n${part}\r\n`)
        await sees('part', part)
      }
      client.write('0\r\n\r\n')
      await sees('sent', '/parts', true)
    },
  )

  test(`${name}: a request body over the limit is a 413`, { skip }, async (t) => {
    const { get, sees } = await open(t)
    const body = new Uint8Array(1024 * 1024 + 1)
    assert.equal((await get('/echo', { method: 'POST', body })).status, 413)
    await sees('sent', '/echo', true)
  })

  test(`${name}: what a handler throws is a 500 without a word of it`, { skip }, async (t) => {
    const { get, sees } = await open(t)
    const response = await get('/throws')
    assert.deepEqual([response.status, await response.text()], [500, ''])
    await sees('error', 'app[1]', 'Error: secret')
  })

  test(`${name}: a body that fails half-way is cut`, { skip }, async (t) => {
    const { get, sees, errors } = await open(t)
    const response = await get('/breaks')
    await assert.rejects(response.text())
    await sees('error', 'the response body', 'Error: secret')
    await sees('sent', '/breaks', false)
    // The runtime says that a stream has failed; why is not its business.
    assert.doesNotMatch(errors.join('\n'), /secret/)
  })

  test(
    `${name}: a client that leaves while a handler is at work is noticed`,
    { skip },
    async (t) => {
      const { sees, socket } = await open(t)
      const client = await socket()
      client.write('GET /waits HTTP/1.1\r\nHost: a.test\r\n\r\n')
      await sees('waits')
      client.destroy()
      await sees('left', true)
      await sees('sent', '/waits', false)
    },
  )

  test(
    `${name}: a slow client slows the source, and one that leaves ends it`,
    { skip },
    async (t) => {
      const { get, sees, socket } = await open(t)
      const client = await socket()
      client.write('GET /much HTTP/1.1\r\nHost: a.test\r\n\r\n')
      await once(client, 'readable')
      const made = async (): Promise<number> => (await get('/made')).json()
      // What the kernel and the runtime take is bounded; all the rest is not made.
      let before = -1
      for (let same = 0; same < 50;) {
        const now = await made()
        assert(now < 1000, `${now} chunks of 100 kB`)
        same = now === before ? same + 1 : 0
        before = now
      }
      client.destroy()
      await sees('sent', '/much', false)
      await sees('closed')
    },
  )

  test(
    `${name}: an event stream begins at once, and each event comes when it is published`,
    { skip },
    async (t) => {
      const { get, sees, origin } = await open(t)
      const { events } = await openFetch(t, `${origin}/events`)
      for (const data of ['one', 'two']) {
        await get(`/publish?${data}`)
        assert.deepEqual(await events.take(1), [{ type: 'message', data }])
        await sees('sent', '/publish', true)
      }
    },
  )

  test(`${name}: the client of an event stream that leaves is noticed`, { skip }, async (t) => {
    const { sees, socket, errors } = await open(t)
    const client = await socket()
    client.write('GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n')
    await once(client, 'data')
    client.destroy()
    await sees('sent', '/events', false)
    await sees('end', 'client', 0)
    assert.deepEqual(errors, [])
  })

  test(`${name}: a stop ends event streams whole, and the program ends`, { skip }, async (t) => {
    const { get, sees, origin, process, exited, errors } = await open(t)
    const streams = await Promise.all([1, 2, 3].map(() => openFetch(t, `${origin}/events`)))
    await get('/publish?last')
    await sees('sent', '/publish', true)
    process.kill('SIGTERM')
    for (const { events, ended } of streams) {
      assert.deepEqual(await events.take(1), [{ type: 'message', data: 'last' }])
      await ended
    }
    assert.equal(await exited, 0)
    assert.deepEqual(errors, [])
  })

  test(`${name}: the program of the guide serves news, and stops`, { skip }, async (t) => {
    const { origin, process, exited, errors } = await startOn(
      t,
      runtime,
      `examples/fetch/${name}.ts`,
    )
    const { events, ended } = await openFetch(t, `${origin}/news`)
    const posted = await fetch(`${origin}/news`, { method: 'POST', body: 'the first fern' })
    assert.equal(posted.status, 202)
    assert.deepEqual(await events.take(1), [{ type: 'message', data: 'the first fern' }])
    process.kill('SIGTERM')
    await ended
    assert.equal(await exited, 0)
    assert.deepEqual(errors, [])
  })
}

interface Program extends RuntimeProgram {
  get(target: string, init?: RequestInit): Promise<Response>
  /** Resolves when the app says this next. */
  sees(...words: unknown[]): Promise<void>
  socket(): Promise<Socket>
}

async function start(t: TestContext, runtime: (typeof runtimes)['bun']): Promise<Program> {
  const program = await startOn(t, runtime, `tools/fetch/programs/${runtime.name}.ts`)
  const { origin } = program
  return {
    ...program,
    get: (target, init) => fetch(origin + target, init),
    async sees(...words) {
      assert.deepEqual(JSON.parse(await program.line()), words)
    },
    async socket() {
      const socket = connect(Number(new URL(origin).port), '127.0.0.1')
      t.after(() => socket.destroy())
      await once(socket, 'connect')
      return socket
    },
  }
}
