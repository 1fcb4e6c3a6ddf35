/** The parts of routed handlers beside their run: init, beforeSend, upgrade, and their errors. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { handlers, Init, State, type Conn, type StateKey, type Upgrade } from '@wakerobin/core'
import { askedPlaceOf, compile, type Program } from '@wakerobin/core/adapter'
import { testApp } from '@wakerobin/core/testing'

import { router } from './index.ts'

/** A handler that notes when each of its parts is called, and with which parameters. */
function spy(events: string[], name: string, run?: (conn: Conn) => Conn | Promise<Conn>) {
  const note = (part: string, conn: Conn) =>
    events.push(`${part} ${name} at ${conn.path} with ${conn.param('id')}`)
  return {
    name,
    run(conn: Conn) {
      note('run', conn)
      return run === undefined ? conn : run(conn)
    },
    beforeSend: (conn: Conn) => void note('beforeSend', conn),
  }
}

// ------------------------------------------------------------------------------------------ init

test('every init of every route runs once, in the order in which routes were added', async () => {
  const inits: string[] = []
  const init = (name: string) => Init.new(() => void inits.push(name))
  const app = testApp([
    init('before'),
    router()
      .get('/z', init('z1'), [init('z2')])
      .any(['GET', 'POST'], '/a', init('a'))
      .all('/nested/*', router().get('/', init('nested')))
      .post('/z', handlers(init('z post'))),
    init('behind'),
  ])
  await app.init()
  assert.deepEqual(inits, ['before', 'z1', 'z2', 'a', 'nested', 'z post', 'behind'])
})

test('an init of a route that fails says where it stands', async () => {
  const app = testApp([
    router().get('/users/:id', 'hello', {
      name: 'database',
      init: () => Promise.reject(new Error('no database')),
    }),
  ])
  await assert.rejects(app.init(), {
    message: 'Cannot start: init of router GET /users/:id[1] "database" failed: no database',
  })
})

test('a router that stands at two places runs its inits once', async () => {
  let inits = 0
  const inner = router().get(
    '/a',
    Init.new(() => void inits++),
    'a',
  )
  const app = testApp(router().all('/x/*', inner).all('/y/*', inner))
  assert.equal((await app.get('/x/a')).body, 'a')
  assert.equal((await app.get('/y/a')).body, 'a')
  assert.equal(inits, 1)
})

test('what an init of a route shares, its handlers find', async () => {
  const Greeting: StateKey<'greeting', string> = State.key<string>()('greeting')
  const app = testApp(
    router().get(
      '/',
      Init.new((info) => void info.withSharedState(Greeting, 'hello')),
      (conn) => conn.ok(conn.sharedState(Greeting)!),
    ),
  )
  assert.equal((await app.get('/')).body, 'hello')
})

// ------------------------------------------------------------------------------------ beforeSend

test('every beforeSend of the route that was taken runs, in reverse order, with its path and parameters; others do not', async () => {
  const events: string[] = []
  const app = testApp([
    spy(events, 'outer'),
    router()
      .get(
        '/:id/*',
        spy(events, 'a'),
        spy(events, 'b', async (conn) => conn.ok('')),
        spy(events, 'c'),
      )
      .get('/other', spy(events, 'other')),
    spy(events, 'behind'),
  ])
  await app.get('/1/x')
  assert.deepEqual(events, [
    'run outer at /1/x with undefined',
    'run a at /x with 1',
    'run b at /x with 1',
    'beforeSend behind at /1/x with 1',
    'beforeSend c at /x with 1',
    'beforeSend b at /x with 1',
    'beforeSend a at /x with 1',
    'beforeSend outer at /1/x with 1',
  ])
})

test('no beforeSend of a router runs that was not reached, or that no route fitted', async () => {
  const events: string[] = []
  const routes = () => router().get('/a', spy(events, 'a'))
  await testApp([routes(), (conn) => conn.ok('')]).get('/b')
  await testApp(['halted', routes()]).get('/a')
  assert.deepEqual(events, [])
})

test('every beforeSend of nested routers runs', async () => {
  const events: string[] = []
  const inner = router().get('/:id', spy(events, 'inner'))
  const app = testApp(router().all('/a/*', spy(events, 'middle'), inner))
  await app.get('/a/1')
  assert.deepEqual(events, [
    'run middle at /1 with undefined',
    'run inner at /1 with 1',
    'beforeSend inner at /1 with 1',
    'beforeSend middle at /1 with undefined',
  ])
})

test('a beforeSend of a route may be async, and changes the response', async () => {
  const app = testApp(
    router().all('/a/*', {
      async beforeSend(conn) {
        await Promise.resolve()
        conn.withResponseHeader('Late', conn.path)
      },
    }),
  )
  assert.equal((await app.get('/a/b')).headers.get('late'), '/b')
})

test('one router that stands several times is told of each route that it has taken, once', async () => {
  const events: string[] = []
  const shared = router().get('/:id', spy(events, 'shared')).get('/x/:id', spy(events, 'deep'))
  const app = testApp([
    router().all('/x/*', spy(events, 'around'), shared),
    shared,
    spy(events, 'between'),
    shared,
  ])
  await app.get('/x/1')
  assert.deepEqual(events, [
    'run around at /1 with undefined',
    'run shared at /1 with 1',
    'run deep at /x/1 with 1',
    'run between at /x/1 with 1',
    'run deep at /x/1 with 1',
    'beforeSend deep at /x/1 with 1',
    'beforeSend between at /x/1 with 1',
    'beforeSend deep at /x/1 with 1',
    'beforeSend shared at /1 with 1',
    'beforeSend around at /1 with undefined',
  ])
})

test('a router that stands in its route and behind it, where it is not reached, is told in the right place', async () => {
  const events: string[] = []
  const shared = router().get(
    '/:id',
    spy(events, 'shared', (conn) => conn.ok('')),
  )
  const app = testApp([
    router().all('/x/*', shared, spy(events, 'last')),
    spy(events, 'behind'),
    shared,
  ])
  await app.get('/x/1')
  assert.deepEqual(events, [
    'run shared at /1 with 1',
    'beforeSend behind at /x/1 with 1',
    'beforeSend last at /1 with undefined',
    'beforeSend shared at /1 with 1',
  ])
})

test('conns that pass one router at the same time do not know of each other', async () => {
  const app = testApp(
    router().get('/:id/*', {
      async run(conn) {
        await new Promise(setImmediate)
        conn.withBody(`${conn.param('id')} ${conn.path}`)
      },
      beforeSend: (conn) => void conn.withResponseHeader('Id', conn.param('id')!).withStatus(200),
    }),
  )
  const ids = Array.from({ length: 20 }, (_, id) => `${id}`)
  const responses = await Promise.all(ids.map((id) => app.get(`/${id}/of`)))
  assert.deepEqual(
    responses.map(({ body, headers }) => [headers.get('id'), body]),
    ids.map((id) => [id, `${id} /of`]),
  )
})

// ---------------------------------------------------------------------------------------- errors

test('an error in a route is a 500, and is reported with its route and its place there', async () => {
  const failure = new Error('boom')
  for (const isAsync of [false, true]) {
    const auth = () => {
      if (isAsync) return Promise.reject(failure)
      throw failure
    }
    const late = { name: 'late', beforeSend: auth }
    const app = testApp([
      router()
        .get('/users/:id', auth, 'never')
        .any(['POST', 'PUT'], '/users', 'hello', [late])
        .all('/nested/*', router().get('/a', 'a').all('/*', { name: 'auth', run: auth })),
      'never',
    ])
    assert.equal((await app.get('/users/1')).status, 500)
    assert.equal((await app.put('/users')).status, 500)
    assert.equal((await app.get('/nested/b')).status, 500)
    assert.deepEqual(
      app.errors.map(({ error, place }) => [error, place]),
      [
        [failure, 'router GET /users/:id[0] "auth"'],
        [failure, 'beforeSend of router POST|PUT /users[1][0] "late"'],
        [failure, 'router all /*[0] "auth"'],
      ],
    )
  }
})

// -------------------------------------------------------------------------------------- upgrades

class Protocol {
  readonly name: string
  readonly #events: string[]
  readonly #claims: boolean
  readonly #take: (conn: Conn) => void | Promise<void>
  constructor(
    name: string,
    events: string[],
    claims = true,
    take: (conn: Conn) => void | Promise<void> = () => {},
  ) {
    this.name = name
    this.#events = events
    this.#claims = claims
    this.#take = take
  }
  hasUpgrade({ conn }: Upgrade): boolean {
    this.#events.push(`${this.name} asked at ${conn.path} with ${conn.param('id')}`)
    return this.#claims
  }
  upgrade({ conn }: Upgrade): void | Promise<void> {
    this.#events.push(`${this.name} takes ${conn.path} with ${conn.param('id')}`)
    return this.#take(conn)
  }
}

/** Takes a request through an app, up to where its connection would be taken over. */
async function handled(
  app: unknown,
  target: string,
): Promise<{ program: Program; upgrade: Upgrade }> {
  const program = compile(app)
  let conn: Conn | undefined
  await testApp((it) => {
    conn = it
    return program.handle(it)
  }).get(target)
  return { program, upgrade: { conn: conn!, takeTransport: () => assert.fail('nobody takes it') } }
}

test('a handler of the route that was taken takes the connection over, with its path and parameters', async () => {
  const events: string[] = []
  const app = [
    router()
      .get('/other', new Protocol('other', events))
      .get(
        '/:id/*',
        new Protocol('no', events, false),
        [new Protocol('yes', events)],
        new Protocol('late', events),
      ),
    new Protocol('behind', events),
  ]
  const { program, upgrade } = await handled(app, '/1/x')
  const upgrader = program.upgraderOf(upgrade)
  assert.equal(upgrader?.place, 'router GET /:id/*[1][0] "yes"')
  await upgrader.upgrade(upgrade)
  assert.deepEqual(events, [
    'no asked at /x with 1',
    'yes asked at /x with 1',
    'yes takes /x with 1',
  ])
  assert.equal(upgrade.conn.path, '/1/x')
})

test('a handler of a nested route takes the connection over', async () => {
  const events: string[] = []
  const shared = router().get('/:id', new Protocol('socket', events))
  const app = router()
    .all('/a/*', new Protocol('no', events, false), shared)
    .all('/b/*', shared)
  const { program, upgrade } = await handled([shared, app, shared], '/a/1')
  await program.upgraderOf(upgrade)?.upgrade(upgrade)
  assert.deepEqual(events, [
    'no asked at /1 with undefined',
    'socket asked at /1 with 1',
    'socket takes /1 with 1',
  ])
})

test('the path of an upgrade lasts until it is over', async () => {
  const events: string[] = []
  const gate = withResolvers()
  const app = router().get(
    '/a/*',
    new Protocol('socket', events, true, async () => void (await gate.promise)),
  )
  const { program, upgrade } = await handled(app, '/a/1')
  const ended = program.upgraderOf(upgrade)!.upgrade(upgrade)
  assert.equal(upgrade.conn.path, '/1')
  gate.resolve(undefined)
  await ended
  assert.equal(upgrade.conn.path, '/a/1')
})

test('where no route was taken, or none of its handlers wants it, the connection is for others', async () => {
  const events: string[] = []
  const behind = new Protocol('behind', events)
  const routes = () =>
    router()
      .get('/a', new Protocol('no', events, false))
      .get('/b', 'hello')
  for (const path of ['/a', '/b', '/c']) {
    const { program, upgrade } = await handled([routes(), behind], path)
    assert.equal(program.upgraderOf(upgrade)?.place, 'app[1] "behind"')
  }
  assert.deepEqual(events, [
    'no asked at /a with undefined',
    'behind asked at /a with undefined',
    'behind asked at /b with undefined',
    'behind asked at /c with undefined',
  ])
})

test('what a hasUpgrade or an upgrade throws is thrown on, and the path is what it was', async () => {
  const failure = new Error('boom')
  const fails = () => {
    throw failure
  }
  const asked = await handled(router().get('/a/*', { hasUpgrade: fails, upgrade: fails }), '/a/b')
  assert.throws(() => asked.program.upgraderOf(asked.upgrade), failure)
  assert.match(askedPlaceOf(asked.upgrade), /^hasUpgrade of router GET \/a\/\*\[0\]$/)
  assert.equal(asked.upgrade.conn.path, '/a/b')
  for (const upgrade of [fails, async () => fails()]) {
    const taken = await handled(router().get('/a/*', { hasUpgrade: () => true, upgrade }), '/a/b')
    const upgrader = taken.program.upgraderOf(taken.upgrade)!
    assert.match(upgrader.place, /^router GET \/a\/\*\[0\]/)
    await assert.rejects(async () => upgrader.upgrade(taken.upgrade), failure)
    assert.equal(taken.upgrade.conn.path, '/a/b')
  }
})

function withResolvers(): { promise: Promise<unknown>; resolve: (value: unknown) => void } {
  let resolve!: (value: unknown) => void
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
