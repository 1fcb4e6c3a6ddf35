import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test, type TestContext } from 'node:test'

import { testApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'
import { testStream } from '@wakerobin/sse/testing'

import { clients, openFetch, type OpenClient } from '../testing/event-client.ts'
import { start, type Started } from '../testing/start.ts'
import { app } from './app.ts'
import { Room, type Message, type Person, type Snapshot } from './room.ts'

const types = ['people', 'stopping']

test('the page is served at /, as HTML', async (t) => {
  const { origin } = await startChat(t)
  const response = await fetch(origin)
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
  assert.match(await response.text(), /^<!doctype html>/i)
})

test('every other path and method is a 404', async (t) => {
  const { origin } = await startChat(t)
  for (const [method, path] of [
    ['GET', '/nowhere'],
    ['POST', '/'],
    ['POST', '/events'],
    ['GET', '/messages'],
    ['DELETE', '/snapshot'],
  ] as const) {
    const response = await fetch(origin + path, { method })
    assert.equal(response.status, 404, `${method} ${path}`)
    await response.arrayBuffer()
  }
})

test('a message that one posts reaches everyone, as npm eventsource and as fetch read it', async (t) => {
  const { origin } = await startChat(t)
  const opened = await Promise.all(
    Object.values(clients).map((open) => enter(t, open, origin, 'Fern')),
  )
  const response = await post(origin, { name: '  Fern ', text: ' hello\nworld\r\n  again ' })
  assert.equal(response.status, 201)
  assert.equal(response.headers.get('content-type'), 'application/json')
  const message = (await response.json()) as Message
  assert.deepEqual(message, {
    id: 1,
    name: 'Fern',
    text: 'hello\nworld\r\n  again',
    at: message.at,
  })
  assert(!Number.isNaN(Date.parse(String(message.at))))
  for (const { events } of opened) {
    const { data } = await events.takeUntil('message', () => true)
    assert.deepEqual(JSON.parse(data), message)
  }
})

test('messages arrive in the order in which they were taken, and none twice', async (t) => {
  const { origin } = await startChat(t)
  const { events, ended } = await enter(t, openFetch, origin, 'Fern')
  for (let count = 1; count <= 20; count++) await post(origin, { name: 'Fern', text: `${count}` })
  const messages = (await events.take(20)).map(({ data }) => JSON.parse(data) as Message)
  assert.deepEqual(
    messages.map(({ id, text }) => `${id} ${text}`),
    Array.from({ length: 20 }, (_, at) => `${at + 1} ${at + 1}`),
  )
  assert.deepEqual(events.rest, [])
  void ended
})

test('everyone is told who is here when somebody joins and when somebody leaves', async (t) => {
  const { origin } = await startChat(t)
  const watcher = await enter(t, openFetch, origin, 'Fern')
  const names = async (): Promise<string[]> =>
    (JSON.parse((await watcher.events.takeUntil('people', () => true)).data) as Person[]).map(
      ({ name }) => name,
    )

  const controller = new AbortController()
  await fetch(`${origin}/events?name=Moss`, { signal: controller.signal })
  assert.deepEqual(await names(), ['Fern', 'Moss'])
  assert.deepEqual(
    (await snapshot(origin)).people.map(({ name }) => name),
    ['Fern', 'Moss'],
  )
  controller.abort()
  assert.deepEqual(await names(), ['Fern'])
  assert.deepEqual(
    (await snapshot(origin)).people.map(({ name }) => name),
    ['Fern'],
  )
})

test('two people of one name are two, and who gives no name is Somebody', async (t) => {
  const { origin } = await startChat(t)
  await enter(t, openFetch, origin, 'Fern')
  await enter(t, openFetch, origin, 'Fern')
  await openFetch(t, `${origin}/events`)
  const { people } = await snapshot(origin)
  assert.deepEqual(
    people.map(({ id, name }) => `${id} ${name}`),
    ['1 Fern', '2 Fern', '3 Somebody'],
  )
})

test('who comes back gets what was said meanwhile, once, and who is here now', async () => {
  const room = new Room()
  const chat = testApp(app(room))
  const first = await testStream(chat, '/events?name=Fern')
  room.say('Moss', 'before')
  assert.equal((await first.next('message')).json<Message>().text, 'before')
  first.leave()
  await first.ended

  room.say('Moss', 'one')
  ;(await testStream(chat, '/events?name=Moss')).leave()
  room.say('Moss', 'two')
  const { lastEventId } = first
  const second = await testStream(chat, '/events?name=Fern', { lastEventId })
  room.say('Moss', 'three')
  for (const text of ['one', 'two', 'three'])
    assert.equal((await second.next('message')).json<Message>().text, text)
  const lists = second.events.filter(({ type }) => type === 'people')
  assert.deepEqual(
    lists.map((list) => list.json<Person[]>().map(({ id, name }) => `${id} ${name}`)),
    [['3 Fern']],
  )
  await chat.shutDown()
})

test('who comes back before anything has happened misses nothing', async () => {
  const room = new Room()
  const chat = testApp(app(room))
  const first = await testStream(chat, '/events?name=Fern')
  first.leave()
  await first.ended
  room.say('Moss', 'one')
  const { lastEventId } = first
  const second = await testStream(chat, '/events?name=Fern', { lastEventId })
  assert.equal((await second.next('message')).json<Message>().text, 'one')
  assert(second.events.every(({ type }) => type !== 'gap'))
  await chat.shutDown()
})

test('who comes back to another room is told first that it has missed nobody knows what', async () => {
  const first = await testStream(testApp(app(new Room())), '/events?name=Fern')
  const { lastEventId } = first
  first.leave()
  const room = new Room()
  room.say('Moss', 'said in the new room')
  const chat = testApp(app(room))
  const second = await testStream(chat, '/events?name=Fern', { lastEventId })
  room.say('Moss', 'and after')
  assert.deepEqual((await second.next()).json(), { missed: null })
  assert.equal(second.events[0]?.type, 'gap')
  assert.equal((await second.next('message')).json<Message>().text, 'and after')
  await chat.shutDown()
})

test('the snapshot has the last 50 messages, the people, and an epoch of its room', async (t) => {
  const room = new Room()
  const { origin } = await startChat(t, room)
  assert.deepEqual(await snapshot(origin), {
    epoch: room.snapshot().epoch,
    messages: [],
    people: [],
  })
  for (let count = 1; count <= 60; count++) room.say('Fern', String(count))
  const { epoch, messages } = await snapshot(origin)
  assert.deepEqual(
    messages.map(({ text }) => text),
    Array.from({ length: 50 }, (_, at) => String(at + 11)),
  )
  assert.equal(epoch, room.snapshot().epoch)
  assert.notEqual(epoch, new Room().snapshot().epoch)
})

test('a message that the room does not take is a 400 with words for its writer', async (t) => {
  const room = new Room()
  const { origin } = await startChat(t, room)
  const cases: [unknown, string][] = [
    [{ name: 'Fern', text: '' }, 'A message cannot be empty'],
    [{ name: 'Fern', text: ' \n\t ' }, 'A message cannot be empty'],
    [{ name: 'Fern' }, 'A message cannot be empty'],
    [{ name: 'Fern', text: null }, 'A message cannot be empty'],
    [{ name: 'Fern', text: { toString: 1 } }, 'A message cannot be empty'],
    [{ name: 'Fern', text: ['x'] }, 'A message cannot be empty'],
    [{ name: '', text: 'x' }, 'A name cannot be empty'],
    [{ name: { toString: 1 }, text: 'x' }, 'A name cannot be empty'],
    [{ text: 'x' }, 'A name cannot be empty'],
    [null, 'A name cannot be empty'],
    [5, 'A name cannot be empty'],
    [[], 'A name cannot be empty'],
    ['text', 'A name cannot be empty'],
    [{ name: 'n'.repeat(33), text: 'x' }, 'A name can have 32 characters, this one has 33'],
    [
      { name: 'Fern', text: 'x'.repeat(501) },
      'A message can have 500 characters, this one has 501',
    ],
  ]
  for (const [body, error] of cases) {
    const response = await post(origin, body)
    assert.equal(response.status, 400, JSON.stringify(body))
    assert.deepEqual(await response.json(), { error })
  }
  assert.deepEqual(room.snapshot().messages, [])
  const longest = await post(origin, { name: 'n'.repeat(32), text: 'x'.repeat(500) })
  assert.equal(longest.status, 201)
  assert.equal(((await longest.json()) as Message).id, 1)
})

test('a name that the room does not take is a 400, and nobody has entered', async (t) => {
  const room = new Room()
  const { origin } = await startChat(t, room)
  for (const name of ['', ' ', 'n'.repeat(33)]) {
    const response = await fetch(`${origin}/events?name=${name}`)
    assert.equal(response.status, 400)
    assert.match(((await response.json()) as { error: string }).error, /^A name can/)
  }
  assert.deepEqual(room.snapshot().people, [])
  await enter(t, openFetch, origin, 'Fern')
  assert.equal(room.snapshot().people[0]?.id, 1)
})

test('broken JSON is a 400 without a body', async (t) => {
  const { origin } = await startChat(t)
  for (const body of ['', '{', '{"name":"Fern"', 'name=Fern', '{"__proto__":{"name":"Fern"}}']) {
    const response = await fetch(`${origin}/messages`, { method: 'POST', body })
    assert.equal(response.status, 400)
    assert.equal(await response.text(), '')
  }
})

test('a body beyond 10,000 bytes is a 413, declared or not', async (t) => {
  const room = new Room()
  const { origin } = await startChat(t, room)
  const body = JSON.stringify({ name: 'Fern', text: 'x', more: 'x'.repeat(10_000) })
  const declared = await fetch(`${origin}/messages`, { method: 'POST', body })
  assert.equal(declared.status, 413)
  await declared.arrayBuffer()
  const chunked = await fetch(`${origin}/messages`, {
    method: 'POST',
    body: new Blob([body]).stream(),
    duplex: 'half',
  } as RequestInit)
  assert.equal(chunked.status, 413)
  await chunked.arrayBuffer()
  assert.deepEqual(room.snapshot().messages, [])
})

test('what people write cannot break out of its event', async (t) => {
  const { origin } = await startChat(t)
  const { events } = await enter(t, openFetch, origin, 'Fern')
  const attack = 'x\r\revent: stopping\rdata: {}\n\nid: 9\n\n:'
  await post(origin, { name: `a\u2028\0b`, text: attack })
  const [event] = await events.take(1)
  assert.equal(event?.type, 'message')
  assert.equal((JSON.parse(event.data) as Message).text, attack)
  await enter(t, openFetch, origin, encodeURIComponent('M\n\nevent: stopping'))
  const [people] = await events.take(1)
  assert.equal(people?.type, 'people')
  assert.equal((JSON.parse(people.data) as Person[])[1]?.name, 'M\n\nevent: stopping')
})

test('at the stop everyone is told, and then the stream ends whole', async (t) => {
  const room = new Room()
  const { origin, server } = await startChat(t, room)
  const opened = await Promise.all(
    Object.values(clients).map((open, at) => enter(t, open, origin, `Fern ${at}`)),
  )
  room.say('Fern', 'said before the stop')
  assert.equal((await server.shutDown()).outcome, 'clean')
  for (const { events, ended } of opened) {
    await events.takeUntil('message', (data) => data.includes('said before the stop'))
    const [event] = await events.take(1)
    assert.equal(event?.type, 'stopping')
    assert.deepEqual(JSON.parse(event.data), { message: 'The server is stopping' })
    await ended
    assert.deepEqual(events.rest, [])
  }
  assert.deepEqual(room.snapshot().people, [])
})

test('on the wire, the stop is an event, then a retry, then the last chunk, then the end of the connection', async (t) => {
  const { port, server } = await startChat(t)
  const socket = connect(port, '127.0.0.1').setEncoding('utf8')
  t.after(() => socket.destroy())
  let received = ''
  const opened = new Promise<void>((resolve) => {
    socket.on('data', (text) => {
      received += String(text)
      if (/\r\n\r\n[\da-f]+\r\n:\n/.test(received)) resolve() // the opening
    })
  })
  const ended = new Promise<void>((resolve) => {
    socket.on('end', () => resolve())
  })
  socket.write('GET /events?name=Fern HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await opened
  await server.shutDown()
  await ended
  const [head, body] = splitOnce(received, '\r\n\r\n')
  assert.match(head, /^HTTP\/1\.1 200 OK\r\n/)
  assert.match(head, /\r\nTransfer-Encoding: chunked(\r\n|$)/i)
  assert.match(
    body,
    /event: stopping\nid: [\w-]+\ndata: \{[^\n]*\}\n\n\r\nc\r\nretry: [1-5]\d{3}\n\r\n0\r\n\r\n$/,
  )
})

// --------------------------------------------------------------------------------------- tools

function startChat(t: TestContext, room = new Room()): Promise<Started> {
  return start(t, (options) => serve(app(room), options))
}

/** Enters, and waits for nothing: who enters is not told of itself. */
function enter(
  t: TestContext,
  open: OpenClient,
  origin: string,
  name: string,
): ReturnType<OpenClient> {
  return open(t, `${origin}/events?name=${name}`, types)
}

function post(origin: string, body: unknown): Promise<Response> {
  return fetch(`${origin}/messages`, { method: 'POST', body: JSON.stringify(body) })
}

async function snapshot(origin: string): Promise<Snapshot> {
  return (await (await fetch(`${origin}/snapshot`)).json()) as Snapshot
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return [text.slice(0, at), text.slice(at + separator.length)]
}
