import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp, type TestApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'
import { testStream, type TestStream } from '@wakerobin/sse/testing'

import { app, type RoomEvents } from './rooms.ts'
import { clients } from './testing/event-client.ts'
import { start } from './testing/start.ts'

for (const [name, open] of Object.entries(clients)) {
  test(`who is in a room hears what is said there, and nothing of other rooms (${name})`, async (t) => {
    const { origin, server } = await start(t, (options) => serve(app(members()), options))
    const { events, ended } = await open(t, `${origin}/events?name=Fern&room=garden`, ['said'])
    for (const room of ['pond', 'garden']) {
      const response = await fetch(`${origin}/?name=Moss&room=${room}`, {
        method: 'POST',
        body: 'hello',
      })
      assert.equal(response.status, 201)
    }
    assert.deepEqual(await events.take(1), [
      { type: 'said', data: '{"room":"garden","name":"Moss","text":"hello"}' },
    ])
    await server.shutDown()
    await ended
    assert.deepEqual(events.rest, [])
  })
}

test('who is no member of a room hears nothing of it, from the moment on in which that ends', async () => {
  const rooms = members()
  const test = testApp(app(rooms))
  const fern = await testStream(test, '/events?name=Fern&room=garden&room=pond')
  await say(test, 'pond', 'secret')
  await say(test, 'garden', 'one')
  assert.equal(await heard(fern), 'one')
  rooms.get('garden')?.delete('Fern')
  rooms.get('pond')?.add('Fern')
  await say(test, 'garden', 'two')
  await say(test, 'pond', 'three')
  assert.equal(await heard(fern), 'three')
  await test.shutDown()
})

test('who comes back hears what was said in the meantime, as far as it is for them', async () => {
  const test = testApp(app(members()))
  const target = '/events?name=Fern&room=garden&room=pond'
  const first = await testStream(test, target)
  first.leave()
  await first.ended
  for (const [room, text] of Object.entries({ pond: 'secret', garden: 'one' }))
    await say(test, room, text)
  const second = await testStream(test, target, { lastEventId: first.lastEventId })
  assert.equal(await heard(second), 'one')
  await test.shutDown()
})

test('members of a room see who is there, and others see nothing', async () => {
  const test = testApp(app(members()))
  const fern = await testStream(test, '/events?name=Fern&room=garden')
  await testStream(test, '/events?name=Moss&room=garden')
  await testStream(test, '/events?name=Moss&room=pond')
  ;(await test.get('/?name=Fern&room=garden')).assertJson(['Fern', 'Moss'])
  fern.leave()
  await fern.ended
  ;(await test.get('/?name=Moss&room=garden')).assertJson(['Moss'])
  ;(await test.get('/?name=Fern&room=pond')).assertStatus(403)
  ;(await test.get('/?name=Fern')).assertStatus(403)
  ;(await test.post('/?name=Fern&room=pond', { body: 'hello' })).assertStatus(403)
  ;(await test.get('/?room=garden')).assertStatus(401)
  await test.shutDown()
})

test('the figures are there for Prometheus', async () => {
  const test = testApp(app(members()))
  await testStream(test, '/events?name=Fern&room=garden')
  await say(test, 'garden', 'one')
  const response = await test.get('/metrics')
  response.assertOk().assertBodyIncludes('wakerobin_broadcaster_subscribers{broadcaster="rooms"} 1')
  response.assertBodyIncludes('wakerobin_broadcaster_published_total{broadcaster="rooms"} 1')
  await test.shutDown()
})

function members(): Map<string, Set<string>> {
  return new Map([
    ['garden', new Set(['Fern', 'Moss'])],
    ['pond', new Set(['Moss'])],
  ])
}

async function say(test: TestApp, room: string, text: string): Promise<void> {
  ;(await test.post(`/?name=Moss&room=${room}`, { body: text })).assertStatus(201)
}

async function heard(stream: TestStream): Promise<string> {
  return (await stream.next('said')).json<RoomEvents['said']>().text
}
