import assert from 'node:assert/strict'
import { test } from 'node:test'

import { handlers, State, type Conn, type Halted, type Handler, type Method } from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { param, router } from './index.ts'
import type { Param } from './index.ts'

class User {
  readonly #brand = true
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
  get isReal(): boolean {
    return this.#brand
  }
}

// ------------------------------------------------------------------------------------- matching

test('a router takes each request to the route of its method and path', async () => {
  const answer = (conn: Conn) => conn.ok(`${conn.method} ${conn.route}`)
  const app = testApp(
    router()
      .get('/a', answer)
      .post('/a', answer)
      .put('/a', answer)
      .delete('/a', answer)
      .patch('/a', answer)
      .any(['QUERY', 'REPORT'], '/a', answer)
      .get('/users/:id', answer)
      .get('/', answer),
  )
  for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'QUERY', 'REPORT'] as const)
    assert.equal((await app.request(method, '/a')).body, `${method} /a`)
  assert.equal((await app.get('/users/7?x=/a')).body, 'GET /users/:id')
  assert.equal((await app.get('/?a')).body, 'GET /')
  for (const path of ['/b', '/A', '/a/b', '/users', '/users/7/8', '/users//', '/users/'])
    assert.equal((await app.get(path)).status, 404, path)
  assert.equal((await app.request('MERGE', '/a')).status, 404)
})

test('slashes at the end of a path, and runs of slashes, count for nothing', async () => {
  const app = testApp(router().get('/a/:b', (conn) => conn.ok(conn.param('b'))))
  for (const path of ['/a/x', '/a/x/', '//a///x//']) assert.equal((await app.get(path)).body, 'x')
})

test('names of object members are names like any other', async () => {
  const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype']
  const empty = testApp(router().get('/a', 'a').get('/b/:c', 'c'))
  for (const name of names) {
    for (const path of [`/${name}`, `/a/${name}`, `/${name}/a`, `/b/c/${name}`])
      assert.equal((await empty.get(path)).status, 404, path)
  }
  const made = router().get('/__proto__/:constructor', (conn) => conn.ok(conn.param('constructor')))
  for (const name of names) made.get(`/text/${name}`, name)
  made.get('/param/:__proto__', (conn) =>
    conn.ok(`${conn.param('__proto__')} ${param(conn, 'toString')}`),
  )
  const app = testApp(made)
  assert.equal((await app.get('/__proto__/toString')).body, 'toString')
  for (const name of names) {
    assert.equal((await app.get(`/text/${name}`)).body, name)
    assert.equal((await app.get(`/param/${name}`)).body, `${name} undefined`)
  }
})

test('a less specific route is taken where the more specific ones have other methods', async () => {
  const app = testApp(
    router()
      .post('/users/me', 'post me')
      .put('/users/:id', 'put id')
      .get('/:kind/me', 'get kind')
      .delete('/users/*', 'delete rest')
      .all('/*', 'all rest'),
  )
  assert.equal((await app.post('/users/me')).body, 'post me')
  assert.equal((await app.put('/users/me')).body, 'put id')
  assert.equal((await app.get('/users/me')).body, 'get kind')
  assert.equal((await app.delete('/users/me')).body, 'delete rest')
  assert.equal((await app.patch('/users/me')).body, 'all rest')
})

test('text is more specific than text with a parameter, that than a parameter, and that than a wildcard', async () => {
  const routes = [
    ['/f/a.json', '/f/a.json'],
    ['/f/a:x', '/f/abc'],
    ['/f/:x.json', '/f/b.json'],
    ['/f/:x.:y', '/f/b.txt'],
    ['/f/:x', '/f/b'],
    ['/f/*', '/f/b/c'],
    ['/:x.json/:y', '/q.json/foo'],
    ['/:x/foo', '/q/foo'],
  ] as const
  for (const order of [routes, routes.toReversed()]) {
    const made = router()
    for (const [route] of order) made.get(route, route)
    const app = testApp(made)
    for (const [route, path] of routes) assert.equal((await app.get(path)).body, route)
  }
})

test('every name is a name for a parameter', async () => {
  for (const name of ['_', '__proto__', 'constructor', 'p0_1', 'A9'])
    assert.equal(
      (await testApp(router().get(`/:${name}/*`, (conn) => conn.ok(conn.param(name)!))).get('/x/y'))
        .body,
      'x',
    )
})

test('a parameter within text takes as little as it can', async () => {
  const app = testApp(
    router()
      .get('/files/:name.:type', (conn) => conn.ok(`${conn.param('name')} ${conn.param('type')}`))
      .get('/v:major.:minor/x-:rest', (conn) =>
        conn.ok(`${conn.param('major')} ${conn.param('minor')} ${conn.param('rest')}`),
      )
      .get('/:user-id', (conn) => conn.ok(conn.param('user'))),
  )
  assert.equal((await app.get('/files/a.tar.gz')).body, 'a tar.gz')
  assert.equal((await app.get('/v1.2.3/x-y-z')).body, '1 2.3 y-z')
  assert.equal((await app.get('/a-id')).body, 'a')
  for (const path of ['/files/a', '/files/.a', '/files/a.', '/v1/x-y', '/-id'])
    assert.equal((await app.get(path)).status, 404, path)
})

test('of one path, the route for all methods is the last choice', async () => {
  const app = testApp(
    router()
      .all('/a', (conn) => conn.ok(`all ${conn.method}`))
      .get('/a', 'get')
      .any(['OPTIONS'], '/a', 'options'),
  )
  assert.equal((await app.get('/a')).body, 'get')
  assert.equal((await app.request('OPTIONS', '/a')).body, 'options')
  for (const method of ['POST', 'TRACE', 'QUERY'] as const)
    assert.equal((await app.request(method, '/a')).body, `all ${method}`)
})

test('one route is taken: a conn that it does not halt goes on behind the router', async () => {
  const app = testApp([
    router()
      .get('/a', (conn) => conn.withStatus(201))
      .all('/*', 'never'),
    (conn) => conn.withBody(`then ${conn.param('id')}`).halt(),
  ])
  const response = await app.get('/a')
  assert.equal(response.status, 201)
  assert.equal(response.body, 'then undefined')
})

test('a conn that no route fits goes on as it is', async () => {
  const app = testApp([
    router().post('/a', 'no'),
    (conn) => conn.ok(`${conn.status} ${conn.path} ${conn.route}`),
  ])
  assert.equal((await app.get('/a')).body, 'undefined /a undefined')
})

// ----------------------------------------------------------------------------- parameters and escapes

test('parameters are percent-decoded; a malformed escape stays as it is and throws nothing', async () => {
  const app = testApp(router().get('/users/:id', (conn) => conn.json(conn.param('id'))))
  for (const [path, id] of [
    ['/users/a%20b', 'a b'],
    ['/users/caf%C3%A9', 'café'],
    ['/users/a%2Fb', 'a/b'],
    ['/users/%2e%2e', '..'],
    ['/users/%00', '\0'],
    ['/users/%', '%'],
    ['/users/%zz', '%zz'],
    ['/users/%FF', '%FF'],
    ['/users/%25', '%'],
    ['/users/a+b', 'a+b'],
  ] as const) {
    const response = await app.get(path)
    assert.equal(response.status, 200, path)
    assert.equal(JSON.parse(response.body), id)
  }
  assert.deepEqual(app.errors, [])
})

test('an escaped slash neither makes a segment nor joins two', async () => {
  const app = testApp(
    router()
      .get('/a/b', 'two')
      .get('/:one', (conn) => conn.ok(`one ${conn.param('one')}`))
      .get('/a%2Fb/:c', 'escaped'),
  )
  assert.equal((await app.get('/a/b')).body, 'two')
  assert.equal((await app.get('/a%2Fb')).body, 'one a/b')
  assert.equal((await app.get('/a%2fb')).body, 'one a/b')
  assert.equal((await app.get('/a%2fb/c')).body, 'escaped')
  assert.equal((await app.get('/a/b/c')).status, 404)
})

test('text is the same escaped or not, in a route and in a request', async () => {
  const app = testApp(
    router()
      .get('/café', 'café')
      .get('/%7Euser/a%3Ab', 'user')
      .get('/c++(x)'.replace(/[()]/g, escape), 'c++'),
  )
  for (const path of ['/caf%C3%A9', '/caf%c3%a9', '/%63af%C3%A9', '/café'])
    assert.equal((await app.get(path)).body, 'café')
  for (const path of ['/~user/a:b', '/%7euser/a%3ab'])
    assert.equal((await app.get(path)).body, 'user')
  for (const path of ['/c++(x)', '/c%2B+%28x)']) assert.equal((await app.get(path)).body, 'c++')
  function escape(character: string): string {
    return `%${character.charCodeAt(0).toString(16)}`
  }
})

test('conn.param() of a name that no route has is undefined', async () => {
  const ask: Handler = (conn) => conn.ok(`${conn.param('id')} ${conn.param('*')} ${conn.route}`)
  assert.equal((await testApp(ask).get('/')).body, 'undefined undefined undefined')
  assert.equal((await testApp(router().get('/:x', ask)).get('/1')).body, 'undefined undefined /:x')
})

// ------------------------------------------------------------------------------------- wildcards

test('a wildcard is all the rest, and the path of its handlers', async () => {
  const app = testApp([
    router().get('/static/*', (conn) => conn.json([conn.path, conn.param('*'), conn.pathAndQuery])),
    router().get('/*', (conn) => conn.json([conn.path, conn.param('*')])),
  ])
  for (const [path, pushed, rest] of [
    ['/static', '/', ''],
    ['/static/', '/', ''],
    ['/static/a', '/a', 'a'],
    ['/static/a/b/', '/a/b/', 'a/b/'],
    ['/static//a//b', '/a/b', 'a/b'],
    ['/static/a%2Fb%20c', '/a%2Fb%20c', 'a/b c'],
    ['/static/%2e%2e/%zz', '/%2e%2e/%zz', '%2e%2e/%zz'],
  ] as const) {
    assert.deepEqual(JSON.parse((await app.get(path)).body), [pushed, rest, path])
  }
  assert.deepEqual(JSON.parse((await app.get('/x/y')).body), ['/x/y', 'x/y'])
  assert.deepEqual(JSON.parse((await app.get('/')).body), ['/', ''])
})

test('the path is what it was when the handlers are done, have halted, thrown or rejected', async () => {
  const outcomes: Record<string, (conn: Conn) => Conn | Promise<Conn>> = {
    passes: (conn) => conn,
    halts: (conn) => conn.ok(''),
    throws: () => {
      throw new Error('boom')
    },
    passesLater: async (conn) => conn,
    rejects: () => Promise.reject(new Error('boom')),
  }
  for (const [name, outcome] of Object.entries(outcomes)) {
    const paths: string[] = []
    const app = testApp([
      { beforeSend: (conn) => void paths.push(conn.path) },
      router().all(
        '/a/*',
        router().all('/b/*', (conn) => void paths.push(conn.path), outcome),
      ),
      (conn) => void paths.push(conn.path),
    ])
    await app.get('/a/b/c')
    const isOver = !name.startsWith('passes')
    assert.deepEqual(paths, isOver ? ['/c', '/a/b/c'] : ['/c', '/a/b/c', '/a/b/c'], name)
  }
})

// ----------------------------------------------------------------------------------------- nesting

test('in nested routers the parameters of all are read, the inner ones first', async () => {
  const inner = router<Param<'org'>>().get('/:id/:same', (conn) =>
    conn.json([conn.param('org'), conn.param('id'), conn.param('same'), conn.path, conn.route]),
  )
  const app = testApp(router().all('/orgs/:org/:same/*', inner))
  assert.deepEqual(JSON.parse((await app.get('/orgs/a/b/c/d')).body), [
    'a',
    'c',
    'd',
    '/c/d',
    '/orgs/:org/:same/:id/:same',
  ])
})

test('conn.route and the parameters stay when the router is done, for logs', async () => {
  const seen: unknown[] = []
  const app = testApp([
    { beforeSend: (conn) => void seen.push(conn.route, conn.param('id'), conn.param('org')) },
    router().all('/orgs/:org/*', router().get('/:id', 'hello').get('/', 'root')),
  ])
  await app.get('/orgs/a/1')
  await app.get('/orgs/a')
  await app.get('/orgs/a/1/2')
  assert.deepEqual(seen, [
    '/orgs/:org/:id',
    '1',
    'a',
    '/orgs/:org',
    undefined,
    'a',
    '/orgs/:org/*',
    undefined,
    'a',
  ])
})

test('a router within a route that has no wildcard sees the whole path, and its route is the whole', async () => {
  const inner = router().get('/a/:b', (conn) =>
    conn.ok(`${conn.path} ${conn.route} ${conn.param('b')}`),
  )
  assert.equal((await testApp(router().all('/:a/:c', inner)).get('/a/x')).body, '/a/x /a/:b x')
})

test('a second router knows the parameters of its own route, and not those of the first', async () => {
  const ask: Handler = (conn) =>
    void conn.responseHeaders.append('Seen', `${conn.param('a')} ${conn.param('b')}`)
  const app = testApp([
    router().get('/:a', ask),
    router().get('/:b', ask),
    router().get('/c', 'never'),
    ask,
  ])
  const response = await app.get('/x')
  assert.deepEqual(response.headers.getAll('seen'), ['x undefined', 'undefined x', 'x x'])
})

test('a router may be built by a function, and mounted where it is written', async () => {
  const app = testApp(
    handlers(
      State.new(new User('Fern')),
      router((routes) =>
        routes.all(
          '/orgs/:org/*',
          router((inner) =>
            inner.get('/users/:id', (conn) =>
              conn.ok(`${conn.state(User).name} ${conn.param('org')} ${conn.param('id')}`),
            ),
          ),
        ),
      ),
    ),
  )
  assert.equal((await app.get('/orgs/a/users/1')).body, 'Fern a 1')
})

// ---------------------------------------------------------------------------------- HEAD, OPTIONS, 405

test('GET routes answer HEAD, without the body', async () => {
  const app = testApp(router().get('/a', 'hello').post('/b', 'no').get('/c/:id', 'hello'))
  for (const path of ['/a', '/c/1']) {
    const response = await app.head(path)
    assert.equal(response.status, 200)
    assert.equal(response.body, '')
    assert.equal(response.headers.get('content-length'), '5')
  }
  assert.equal((await app.head('/b')).status, 404)
})

test('HEAD takes the route that GET would, unless the path has one for HEAD', async () => {
  const answer = (name: string) => (conn: Conn) => conn.withResponseHeader('By', name).ok('')
  const app = testApp(
    router()
      .get('/a', answer('get'))
      .any(['HEAD'], '/a', answer('head'))
      .any(['HEAD', 'GET'], '/both', answer('both'))
      .get('/b', answer('get'))
      .all('/b', answer('all'))
      .any(['HEAD'], '/*', answer('rest'))
      .get('/f/:name.json', answer('get mixed'))
      .any(['HEAD'], '/f/:name', answer('head plain')),
  )
  for (const [path, by] of [
    ['/a', 'head'],
    ['/both', 'both'],
    ['/b', 'get'],
    ['/c', 'rest'],
    ['/f/x.json', 'get mixed'],
    ['/f/x', 'head plain'],
  ] as const) {
    assert.equal((await app.head(path)).headers.get('by'), by)
  }
})

test('OPTIONS is answered with the methods of the path, and the conn is halted', async () => {
  const app = testApp([
    router()
      .post('/users/:id', 'post')
      .get('/users/me', 'get')
      .any(['QUERY', 'OPTIONS'], '/search', 'query')
      .all('/all/*', 'all')
      .delete('/:a/:b.:c', 'delete'),
    'behind',
  ])
  for (const [path, allow] of [
    ['/users/me', 'GET, HEAD, POST'],
    ['/users/1', 'POST'],
    ['/users/1.txt', 'DELETE, POST'],
    ['*', 'DELETE, GET, HEAD, PATCH, POST, PUT, QUERY'],
  ] as const) {
    const response = await app.request('OPTIONS', path)
    assert.equal(response.status, 204)
    assert.equal(response.headers.get('allow'), allow)
    assert.equal(response.body, '')
  }
  // Routes for it come first.
  assert.equal((await app.request('OPTIONS', '/search')).body, 'query')
  assert.equal((await app.request('OPTIONS', '/all/x')).body, 'all')
  // Those who stand behind may know the path.
  assert.equal((await app.request('OPTIONS', '/none')).body, 'behind')
})

test('OPTIONS in nested routers is answered by the inner one', async () => {
  const app = testApp(
    router().get('/api/a', 'outer').all('/api/*', router().post('/a', 'a').put('/b', 'b')),
  )
  assert.equal((await app.request('OPTIONS', '/api/a')).headers.get('allow'), 'POST')
  assert.equal((await app.request('OPTIONS', '/api/b')).headers.get('allow'), 'PUT')
  assert.equal((await app.request('OPTIONS', '/api/c')).status, 404)
})

test('with options: false, OPTIONS is a method like any other', async () => {
  const app = testApp([
    router({ options: false }).get('/a', 'a'),
    (conn) => conn.ok(`passed ${conn.method}`),
  ])
  for (const path of ['/a', '*'])
    assert.equal((await app.request('OPTIONS', path)).body, 'passed OPTIONS')
})

test('with methodNotAllowed, a path that has routes for other methods is a 405, which later handlers may replace', async () => {
  const made = router({ methodNotAllowed: true }, (routes) =>
    routes.get('/a/:b', 'a').post('/a/b', 'b').any(['OPTIONS'], '/o', 'o'),
  )
  const app = testApp(made)
  for (const [method, path, allow] of [
    ['PUT', '/a/b', 'GET, HEAD, POST'],
    ['POST', '/a/c', 'GET, HEAD'],
    ['GET', '/o', ''],
  ] as const) {
    const response = await app.request(method, path)
    assert.equal(response.status, 405)
    assert.equal(response.headers.get('allow'), allow)
  }
  assert.equal((await app.post('/b')).status, 404)
  assert.equal((await app.request('OPTIONS', '/a/c')).status, 204)
  assert.equal((await testApp([made, 'instead']).put('/a/b')).body, 'instead')
})

test('with methodNotAllowed, a later handler that answers keeps nothing of the 405', async () => {
  const made = router({ methodNotAllowed: true }).get('/a', 'a')
  const seen: unknown[] = []
  const app = testApp([
    made,
    (conn) => {
      seen.push(conn.status, conn.responseHeaders.get('allow'))
      return conn.path === '/a' && conn.query.has('json') ? conn.json({ a: 1 }) : conn
    },
  ])
  const response = await app.post('/a?json')
  assert.deepEqual([response.status, response.headers.get('allow')], [200, undefined])
  const other = await app.post('/a')
  assert.deepEqual([other.status, other.headers.get('allow')], [405, 'GET, HEAD'])
  assert.deepEqual(seen, [undefined, undefined, undefined, undefined])
  for (const answer of [
    (conn: Conn) => conn.withStatus(202),
    (conn: Conn) => conn.withBody('accepted'),
    (conn: Conn) => conn.halt(),
  ]) {
    const { status, headers } = await testApp([made, answer]).post('/a')
    assert.notEqual(status, 405)
    assert.equal(headers.get('allow'), undefined)
  }
  const inner = testApp(router().all('/x/*', made))
  assert.equal((await inner.post('/x/a')).status, 405)
})

test("with methodNotAllowed 'halt' a 405 comes before the page of a handler that answers all the rest", async () => {
  const made = router({ methodNotAllowed: 'halt' }).get('/a', 'a')
  const seen: string[] = []
  const notFound = (conn: Conn) => {
    seen.push(`${conn.method} ${conn.path}`)
    return conn.withStatus(404).withBody('no such page').halt()
  }
  const app = testApp([made, notFound])
  const wrong = await app.post('/a')
  assert.deepEqual([wrong.status, wrong.headers.get('allow'), wrong.body], [405, 'GET, HEAD', ''])
  const none = await app.post('/b')
  assert.deepEqual([none.status, none.headers.get('allow')], [404, undefined])
  assert.equal(none.body, 'no such page')
  assert.equal((await app.request('OPTIONS', '/a')).status, 204)
  assert.equal((await app.get('/a')).body, 'a')
  assert.deepEqual(seen, ['POST /b'])
  const outer = testApp([router().all('/x/*', made), notFound])
  assert.equal((await outer.post('/x/a')).status, 405)
  assert.equal((await outer.post('/x/b')).status, 404)
})

test('with methodNotAllowed and without options, OPTIONS is not allowed either', async () => {
  const app = testApp(router({ options: false, methodNotAllowed: true }).get('/a', 'a'))
  const response = await app.request('OPTIONS', '/a')
  assert.equal(response.status, 405)
  assert.equal(response.headers.get('allow'), 'GET, HEAD')
  assert.equal((await app.request('OPTIONS', '*')).status, 404)
})

// -------------------------------------------------------------------------------------- mistakes

test('a route whose requests another one has is refused', () => {
  for (const [add, message] of [
    [
      () => router().get('/a/:b', 'x').get('/a/:c/', 'y'),
      'Cannot add the route GET /a/:c: GET /a/:b has its requests',
    ],
    [
      () => router().any(['GET', 'PUT'], '/', 'x').any(['POST', 'PUT'], '', 'y'),
      'Cannot add the route POST|PUT /: GET|PUT / has its requests',
    ],
    [
      () => router().all('/*', 'x').all('*', 'y'),
      'Cannot add the route all /*: all /* has its requests',
    ],
    [
      () => router().get('/a:b', 'x').get('/%61:c', 'y'),
      'Cannot add the route GET /%61:c: GET /a:b has its requests',
    ],
  ] as const) {
    assert.throws(add, { name: 'TypeError', message })
  }
  router().get('/a', 'x').post('/a', 'y').all('/a', 'z')
})

test('a mistake in a route is refused when it is added, with its place', () => {
  const wrong: any = router()
  for (const [add, name, message] of [
    [
      () => wrong.get('/:id(\\d+)', 'x'),
      'SyntaxError',
      /^Cannot add the route GET "\/:id\(\\\\d\+\)": "\(" means nothing here/,
    ],
    [
      () => wrong.all(7, 'x'),
      'TypeError',
      /^Cannot add the route all 7: a path is text, as "\/users\/:id"$/,
    ],
    [() => wrong.get('/a'), 'TypeError', /^Cannot add the route GET \/a: it has no handlers$/],
    [
      () => wrong.any([], '/a', 'x'),
      'TypeError',
      /^Cannot add a route for an array of 0: expected methods, as \['GET', 'QUERY'\]$/,
    ],
    [
      () => wrong.any('GET', '/a', 'x'),
      'TypeError',
      /^Cannot add a route for "GET": expected methods/,
    ],
    [
      () => wrong.any(['get'], '/a', 'x'),
      'TypeError',
      /^Cannot add a route for the method "get": it is none, they are written as "GET"$/,
    ],
    [
      () => wrong.get('/users/:id', 'x', [7]),
      'TypeError',
      /^Cannot use 7 as a handler at router GET \/users\/:id\[1\]\[0\]: /,
    ],
  ] as const) {
    assert.throws(add, { name, message })
  }
  // What was refused is not there: the path is free.
  wrong.get('/users/:id', 'x')
})

test('an option that cannot be used is refused', () => {
  const make: any = router
  for (const [options, message] of [
    [
      7,
      'Cannot make a router with 7 as options: expected an object such as { methodNotAllowed: true }',
    ],
    [
      null,
      'Cannot make a router with null as options: expected an object such as { methodNotAllowed: true }',
    ],
    [{ options: 'no' }, 'Cannot make a router with options "no": it must be true or false'],
    [
      { methodNotAllowed: 1 },
      'Cannot make a router with methodNotAllowed 1: it must be true, false or "halt"',
    ],
  ] as const) {
    assert.throws(() => make(options), { name: 'TypeError', message })
  }
  assert.throws(() => make({}, 7), {
    name: 'TypeError',
    message: 'Cannot build a router with 7: expected a function of the router',
  })
  assert.throws(() => make(async () => {}), {
    name: 'TypeError',
    message:
      'Cannot build a router with an async function: its routes must be there when it returns',
  })
})

test('routes cannot be added to a router that is in use', async () => {
  const made = router().get('/a', 'a')
  await testApp(made).get('/a')
  assert.throws(() => made.get('/b', 'b'), {
    message: 'Cannot add the route GET /b: the router is in use; add all routes before',
  })
})

test('the function param() is the method conn.param()', async () => {
  const read = (conn: Conn<Param<'id'>>): Halted =>
    conn.ok(`${param(conn, 'id') === conn.param('id')}`)
  assert.equal((await testApp(router().get('/:id', read)).get('/1')).body, 'true')
})

test('a method of each router is for that router alone', async () => {
  const { get } = router()
  const other = get('/a', 'a')
  const methods: readonly Method[] = ['GET']
  assert.equal((await testApp(router().any(methods, '/a', 'b')).get('/a')).body, 'b')
  assert.equal((await testApp(other).get('/a')).body, 'a')
})
