import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'

import { serve } from '@wakerobin/server-node'
import { WebSocket } from 'undici'

import { startProgram } from './testing/child-program.ts'
import { launchChromium, skipReason } from './testing/chromium.ts'
import { clients, openFetch } from './testing/event-client.ts'
import { start } from './testing/start.ts'
import { app } from './websocket.ts'

/** A client that others wrote, and what it has heard. */
async function join(t: TestContext, origin: string, name: string) {
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/socket?name=${name}`)
  t.after(() => socket.close())
  const heard: string[] = []
  let tell = (): void => {}
  socket.addEventListener('message', ({ data }) => {
    heard.push(data as string)
    tell()
  })
  const closed = once(socket, 'close').then(([event]) => (event as { code: number }).code)
  await once(socket, 'open')
  const hears = async (count: number): Promise<readonly string[]> => {
    while (heard.length < count) await new Promise<void>((resolve) => (tell = resolve))
    return heard
  }
  return { socket, hears, closed }
}

for (const [name, open] of Object.entries(clients)) {
  test(`what is said through the one door is heard at both (${name})`, async (t) => {
    const { origin } = await start(t, (options) => serve(app(), options))
    const fern = await join(t, origin, 'Fern')
    const moss = await join(t, origin, 'Moss')
    const { events } = await open(t, `${origin}/events`, ['said'])
    fern.socket.send('hello')
    moss.socket.send('good day')
    const hello = '{"name":"Fern","text":"hello"}'
    const goodDay = '{"name":"Moss","text":"good day"}'
    const expected = [hello, goodDay].map((data) => `said: ${data}`)
    for (const each of [fern, moss])
      assert.deepEqual([...(await each.hears(2))].sort(), [...expected].sort())
    const received = (await events.take(2)).map(({ type, data }) => `${type}: ${data}`)
    assert.deepEqual(received.sort(), [...expected].sort())
  })
}

test('what is too long is refused to who says it, and heard by nobody', async (t) => {
  const { origin } = await start(t, (options) => serve(app(), options))
  const fern = await join(t, origin, 'Fern')
  const moss = await join(t, origin, 'Moss')
  fern.socket.send('x'.repeat(1001))
  assert.equal(await fern.closed, 1009)
  moss.socket.send('still here')
  assert.deepEqual(await moss.hears(1), ['said: {"name":"Moss","text":"still here"}'])
})

test('at SIGTERM both doors close in good order, and the program ends with 0', async (t) => {
  const program = await startProgram(t, 'websocket.ts')
  const origin = `http://127.0.0.1:${program.port}`
  const fern = await join(t, origin, 'Fern')
  const { events, ended } = await openFetch(t, `${origin}/events`)
  fern.socket.send('hello')
  await events.take(1)
  program.process.kill('SIGTERM')
  assert.equal(await fern.closed, 1001)
  await ended
  assert.equal(await program.exited, 0)
  assert.equal(program.lines.at(-1), 'Stopped')
  assert.deepEqual(program.errors, [])
})

test(
  'two tabs of a browser talk; a page of another host is refused',
  { skip: skipReason },
  async (t) => {
    const { origin, port, server } = await start(t, (options) => serve(app(), options))
    const browser = await launchChromium(t)
    const pages = [await browser.newPage(), await browser.newPage()]
    for (const page of pages) await page.goto(origin)
    for (const [at, page] of pages.entries()) {
      await page.getByPlaceholder('Say something').fill(`hello from ${at} <b>&`)
      await page.keyboard.press('Enter')
      for (const other of pages) await other.getByText(`: hello from ${at} <b>&`).waitFor()
    }

    // localhost is another origin than 127.0.0.1, on the same server.
    const foreign = await browser.newPage()
    await foreign.route('**/foreign', (route) =>
      route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
    )
    await foreign.goto(`http://localhost:${port}/foreign`)
    const connect = (url: string): Promise<string | number> =>
      foreign.evaluate(
        (url) =>
          new Promise<string | number>((resolve) => {
            const socket = new WebSocket(url)
            socket.addEventListener('open', () => resolve('open'))
            socket.addEventListener('close', ({ code }) => resolve(code))
          }),
        url,
      )
    assert.equal(await connect(`ws://127.0.0.1:${port}/socket`), 1006)

    const closed = pages[0]!.evaluate(
      () =>
        new Promise<[number, boolean]>((resolve) => {
          const socket = new WebSocket('/socket')
          socket.addEventListener('open', () => console.log('open'))
          socket.addEventListener('close', ({ code, wasClean }) => resolve([code, wasClean]))
        }),
    )
    await pages[0]!.waitForEvent('console', (message) => message.text() === 'open')
    const stopped = server.shutDown()
    assert.deepEqual(await closed, [1001, true])
    assert.equal((await stopped).outcome, 'clean')
  },
)
