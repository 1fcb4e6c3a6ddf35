import assert from 'node:assert/strict'
import { mock, test } from 'node:test'

import type { Conn } from './conn.ts'
import type { Handler } from './handler.ts'
import { handlers } from './handlers.ts'
import { State } from './state.ts'
import type { Has } from './state.ts'
import { testApp } from './testing.ts'

class User {
  readonly #brand = true
  readonly name: string
  constructor(name: string) {
    this.name = this.#brand ? name : ''
  }
}

test('handlers(…) stands where one handler stands, and shares the state of its tuple', async () => {
  const login = handlers(State.new(new User('Fern')))
  const app = testApp(
    handlers(
      login,
      handlers((conn) => conn.withResponseHeader('User', conn.state(User).name)),
      'hello',
    ),
  )
  const response = await app.get('/')
  assert.equal(response.body, 'hello')
  assert.equal(response.headers.get('user'), 'Fern')
})

test('handlers(…) runs its parts in order, every init and every beforeSend included', async () => {
  const events: string[] = []
  const spy = (name: string) => ({
    init: () => void events.push(`init ${name}`),
    run: () => void events.push(`run ${name}`),
    beforeSend: () => void events.push(`beforeSend ${name}`),
  })
  await testApp([spy('a'), handlers(spy('b'), [spy('c')]), spy('d')]).get('/')
  assert.deepEqual(events, [
    'init a',
    'init b',
    'init c',
    'init d',
    'run a',
    'run b',
    'run c',
    'run d',
    'beforeSend d',
    'beforeSend c',
    'beforeSend b',
    'beforeSend a',
  ])
})

test('halt() in a group ends the tuple around it', async () => {
  const later = mock.fn()
  await testApp([handlers((conn) => conn.halt(), later), later]).get('/')
  assert.equal(later.mock.callCount(), 0)
})

test('handlers() of nothing does nothing', async () => {
  assert.equal(
    (await testApp([handlers(), handlers(undefined, null, false, []), 'reached']).get('/')).body,
    'reached',
  )
})

test('a group can be run by a handler that calls others', async () => {
  const beforeSend = mock.fn()
  const sync = handlers((conn) => conn.withStatus(201), { beforeSend })
  const slow = handlers(async (conn) => conn.withStatus(202))
  const choose: Handler = (conn): Conn | Promise<Conn> =>
    (conn.path === '/slow' ? slow : sync).run(conn)
  const app = testApp([choose, (conn) => conn.withBody('after')])
  const responses = [await app.get('/'), await app.get('/slow'), await app.get('/')]
  assert.deepEqual(
    responses.map(({ status, body }) => [status, body]),
    [
      [201, 'after'],
      [202, 'after'],
      [201, 'after'],
    ],
  )
  assert.equal(beforeSend.mock.callCount(), 0)
})

test('a group that is run by a handler throws to it what a part throws', async () => {
  const failing = handlers(() => {
    throw new RangeError('boom')
  })
  const app = testApp(async function caller(conn) {
    try {
      return await failing.run(conn)
    } catch (error) {
      return conn.ok(`caught ${error}`)
    }
  })
  assert.equal((await app.get('/')).body, 'caught RangeError: boom')
  assert.deepEqual(app.errors, [])
})

test('a group with something that is no handler is refused where it is used, with its place', () => {
  const group = handlers('x', [1 as never])
  assert.throws(() => testApp([undefined, group]), {
    name: 'TypeError',
    message: /^Cannot use 1 as a handler at app\[1\]\[1\]\[0\]: /,
  })
  assert.throws(() => group.run(undefined as never), {
    name: 'TypeError',
    message: /^Cannot use 1 as a handler at handlers\[1\]\[0\]: /,
  })
})

test('one group may stand in several apps', async () => {
  const group: Handler<Has<User>> = handlers((conn) => conn.ok(conn.state(User).name))
  assert.equal((await testApp([State.new(new User('Ann')), group]).get('/')).body, 'Ann')
  assert.equal((await testApp([State.new(new User('Bob')), group]).get('/')).body, 'Bob')
})
