import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { promiseHooks } from 'node:v8'

import { connOf, contextOf } from '../fixtures/conn-of.ts'
import { Conn, pendingPlaceOf } from './conn.ts'
import { handlers } from './handlers.ts'
import { HeaderMap } from './header-map.ts'
import { Info, Init } from './info.ts'
import { askedPlaceOf, compile } from './program.ts'
import type { ErrorContext } from './program.ts'
import { State, StateMap } from './state.ts'
import { status } from './status.ts'
import { Swansong } from './swansong.ts'
import { testApp } from './testing.ts'
import type { Upgrade } from './upgrade.ts'

class Trace {
  readonly #brand = true
  readonly steps: string[] = []
  add(step: string): void {
    if (this.#brand) this.steps.push(step)
  }
}

// ------------------------------------------------------------------------- forms of a handler

test('a function, an object, an instance, a string, headers, a status and a nested tuple are handlers', async () => {
  class Counter {
    #count = 0
    run(conn: Conn): Conn {
      return conn.withResponseHeader('Count', ++this.#count)
    }
  }
  const app = testApp([
    (conn) => conn.withResponseHeader('Function', 'yes'),
    { run: (conn) => conn.withResponseHeader('Object', 'yes') },
    new Counter(),
    new HeaderMap({ Map: 'yes' }),
    new Headers({ web: 'yes' }),
    status(201),
    [[(conn) => conn.withResponseHeader('Nested', 'yes')]],
    'created',
  ])
  await app.get('/')
  const response = await app.get('/')
  assert.equal(response.status, 200)
  assert.equal(response.body, 'created')
  assert.deepEqual(
    [...response.headers],
    [
      ['Function', 'yes'],
      ['Object', 'yes'],
      ['Count', '2'],
      ['Map', 'yes'],
      ['web', 'yes'],
      ['Nested', 'yes'],
      ['Content-Length', '7'],
    ],
  )
})

test('a string is conn.ok(string): status 200, and it halts', async () => {
  const response = await testApp(['', 'too late']).get('/')
  assert.equal(response.status, 200)
  assert.equal(response.body, '')
})

test('a status sets the status and does not halt', async () => {
  const response = await testApp([status(202), (conn) => conn.withBody('taken')]).get('/')
  assert.equal(response.status, 202)
  assert.equal(response.body, 'taken')
})

test('header fields are appended, and do not halt', async () => {
  const app = testApp([
    new HeaderMap({ a: '1' }),
    new HeaderMap([
      ['a', '2'],
      ['a', '3'],
    ]),
    (conn) => conn.withBody('x'),
  ])
  assert.deepEqual((await app.get('/')).headers.getAll('a'), ['1', '2', '3'])
})

test('header fields are copied when the app is compiled', async () => {
  const fields = new HeaderMap({ a: '1' })
  const app = testApp([fields])
  fields.set('a', '2')
  assert.equal((await app.get('/')).headers.get('a'), '1')
})

test('undefined, null, false, an empty tuple and a hole do nothing', async () => {
  for (const nothing of [
    undefined,
    null,
    false,
    [],
    [[]],
    [undefined, [null, false]],
    new Array(2),
  ] as const) {
    const response = await testApp([nothing as undefined, (conn) => conn.ok('reached')]).get('/')
    assert.equal(response.body, 'reached')
    assert.equal((await testApp(nothing as undefined).get('/')).status, 404)
  }
})

test('a place after a hole counts the hole', async () => {
  const list: unknown[] = new Array(2)
  list[1] = function late() {
    throw new Error('boom')
  }
  const app = testApp(list as [])
  await app.get('/')
  assert.equal(app.errors[0]?.place, 'app[1] "late"')
})

test('the methods of a handler object are called on it', async () => {
  class Handler {
    readonly name = 'own'
    readonly calls: string[] = []
    init(): void {
      this.calls.push('init')
    }
    run(conn: Conn): void {
      this.calls.push('run')
      conn.withStatus(200)
    }
    beforeSend(): void {
      this.calls.push('beforeSend')
    }
  }
  const handler = new Handler()
  await testApp([handler]).get('/')
  assert.deepEqual(handler.calls, ['init', 'run', 'beforeSend'])
})

test('a handler object needs no run', async () => {
  const app = testApp([
    { init: (info) => info.withSharedState(new Trace()) },
    { beforeSend: (conn) => conn.withBody(String(conn.sharedState(Trace) instanceof Trace)) },
  ])
  assert.equal((await app.get('/')).body, 'true')
})

test('what is no handler is refused when the app is compiled, with its place', () => {
  const expected =
    'expected a function, an object with run, init, beforeSend or upgrade, an array, a string, header fields, or undefined, null or false'
  for (const [handler, message] of [
    [1, `Cannot use 1 as a handler at app[0][1]: ${expected}`],
    [true, `Cannot use true as a handler at app[0][1]: ${expected}`],
    [2n, `Cannot use 2n as a handler at app[0][1]: ${expected}`],
    [Symbol('x'), `Cannot use Symbol(x) as a handler at app[0][1]: ${expected}`],
    [{}, `Cannot use a plain object as a handler at app[0][1]: ${expected}`],
    [new Map(), `Cannot use an instance of Map as a handler at app[0][1]: ${expected}`],
    [Promise.resolve(), `Cannot use an instance of Promise as a handler at app[0][1]: ${expected}`],
    [{ run: 1 }, 'Cannot use the handler app[0][1]: its run must be a function, not 1'],
    [
      { run() {}, name: 'x', init: 'y' },
      'Cannot use the handler app[0][1] "x": its init must be a function, not "y"',
    ],
    [
      { run() {}, beforeSend: null },
      'Cannot use the handler app[0][1]: its beforeSend must be a function, not null',
    ],
  ] as const) {
    assert.throws(() => compile([['fine', handler]]), { name: 'TypeError', message })
    assert.throws(() => testApp([['fine', handler]] as never), { name: 'TypeError', message })
  }
})

test('a class instead of an instance is refused, with its name', () => {
  class Auth {
    run(): void {}
  }
  assert.throws(() => compile([undefined, Auth]), {
    name: 'TypeError',
    message: 'Cannot use the function Auth as a handler at app[1]: make one: new Auth()',
  })
})

test('functions and methods whose names begin with "class" are no classes', async () => {
  const {
    class: reserved,
    classify,
    class$,
  } = {
    class(conn: Conn) {
      return conn.withResponseHeader('a', '1')
    },
    classify(conn: Conn) {
      return conn.withResponseHeader('b', '1')
    },
    class$(conn: Conn) {
      return conn.withResponseHeader('c', '1')
    },
  }
  const response = await testApp([reserved, classify, class$]).get('/')
  assert.deepEqual([...response.headers.keys()], ['a', 'b', 'c', 'Content-Length'])
})

test('an array that contains itself is refused', () => {
  const list: unknown[] = ['x']
  list.push([list])
  assert.throws(() => compile(list), {
    name: 'TypeError',
    message: 'Cannot use an array of 2 as a handler at app[1][0]: it contains itself',
  })
  const group: unknown[] = []
  group.push(handlers(group as never))
  assert.throws(() => compile(group), {
    name: 'TypeError',
    message: /at app\[0\]\[0\]: it contains itself$/,
  })
})

test('one array may stand in an app twice', async () => {
  const add = [(conn: Conn) => void conn.responseHeaders.append('n', '1')]
  const response = await testApp([add, [add, add]]).get('/')
  assert.deepEqual(response.headers.getAll('n'), ['1', '1', '1'])
})

// ------------------------------------------------------------------------------- order, halt

test('halt() stops later handlers, in the tuple and around it, but no beforeSend', async () => {
  const events: string[] = []
  const spy = (name: string) => ({
    run: () => void events.push(`run ${name}`),
    beforeSend: () => void events.push(`beforeSend ${name}`),
  })
  const app = testApp([spy('a'), [spy('b'), [(conn) => conn.halt(), spy('c')], spy('d')], spy('e')])
  await app.get('/')
  assert.deepEqual(events, [
    'run a',
    'run b',
    'beforeSend e',
    'beforeSend d',
    'beforeSend c',
    'beforeSend b',
    'beforeSend a',
  ])
})

test('init runs in order, one after the other, before the first request and only once', async () => {
  const events: string[] = []
  const app = testApp([
    Init.new(async () => {
      events.push('a begins')
      await Promise.resolve()
      events.push('a ends')
    }),
    [{ init: () => void events.push('b') }],
    handlers({ init: () => void events.push('c') }),
    () => void events.push('request'),
  ])
  await Promise.all([app.get('/'), app.get('/')])
  await app.init()
  assert.deepEqual(events, ['a begins', 'a ends', 'b', 'c', 'request', 'request'])
})

test('an init that fails stops the start and is named', async () => {
  const cause = new RangeError('no such table')
  for (const [thrown, message] of [
    [cause, 'no such table'],
    [null, 'null'],
    ['text', '"text"'],
  ] as const) {
    const later = mock.fn()
    const failing = Object.defineProperty(
      () => {
        throw thrown
      },
      'name',
      { value: 'tables' },
    )
    const app = testApp([undefined, Init.new(failing), { init: later }])
    await assert.rejects(app.init(), (error: Error) => {
      assert.equal(error.message, `Cannot start: init of app[1] "Init(tables)" failed: ${message}`)
      assert.equal(error.cause, thrown)
      return true
    })
    await assert.rejects(app.get('/'), /Cannot start/)
    assert.equal(later.mock.callCount(), 0)
  }
})

test('a run on an already halted conn runs no handler, but every beforeSend', async () => {
  const run = mock.fn()
  const beforeSend = mock.fn()
  const conn = connOf().halt()
  assert.equal(await compile([run, { run, beforeSend }]).handle(conn), conn)
  assert.equal(await compile([run, { run, beforeSend }]).run(conn), conn)
  assert.equal(run.mock.callCount(), 0)
  assert.equal(beforeSend.mock.callCount(), 1)
})

test('a handler may return the conn, nothing, or a promise of either', async () => {
  const app = testApp([
    (conn) => conn.withResponseHeader('a', '1'),
    (conn) => void conn.withResponseHeader('b', '1'),
    async (conn) => conn.withResponseHeader('c', '1'),
    async (conn) => void conn.withResponseHeader('d', '1'),
    { run: async (conn) => conn.withResponseHeader('e', '1') },
    'done',
  ])
  const response = await app.get('/')
  assert.equal(response.body, 'done')
  assert.deepEqual([...response.headers.keys()], ['a', 'b', 'c', 'd', 'e', 'Content-Length'])
  assert.deepEqual(app.errors, [])
})

test('a handler may return any thenable', async () => {
  const app = testApp([
    (() => ({ then: (resolve: () => void) => resolve() })) as unknown as () => Promise<void>,
    'after',
  ])
  assert.equal((await app.get('/')).body, 'after')
})

test('handlers run one after the other, each seeing what the one before has awaited', async () => {
  const steps: string[] = []
  const slow = (name: string) => async () => {
    steps.push(`${name} begins`)
    await Promise.resolve()
    steps.push(`${name} ends`)
  }
  await testApp([slow('a'), () => void steps.push('sync'), [slow('b')], slow('c')]).get('/')
  assert.deepEqual(steps, [
    'a begins',
    'a ends',
    'sync',
    'b begins',
    'b ends',
    'c begins',
    'c ends',
  ])
})

test('halt() in an async handler stops the sync and the async handlers after it', async () => {
  const later = mock.fn(async () => {})
  await testApp([async (conn) => conn.halt(), later, () => void later()]).get('/')
  assert.equal(later.mock.callCount(), 0)
})

test('a synchronous app returns its conn and no promise', () => {
  const conn = connOf()
  const program = compile([
    new HeaderMap({ a: '1' }),
    [State.new(new Trace()), { run() {}, beforeSend() {} }],
    'done',
  ])
  assert.equal(program.handle(conn), conn)
  assert.equal(conn.responseBody, 'done')
})

test('handlers before and after the one that returns a promise run synchronously', async () => {
  const steps: string[] = []
  const { promise, resolve } = deferred<void>()
  const program = compile([
    () => void steps.push('a'),
    () => promise,
    () => void steps.push('b'),
    () => void steps.push('c'),
  ])
  const pending = program.handle(connOf())
  assert.ok(pending instanceof Promise)
  assert.deepEqual(steps, ['a'])
  resolve()
  await promise
  assert.deepEqual(steps, ['a', 'b', 'c'])
  await pending
})

test('one async handler costs one promise more than those it makes itself', () => {
  // Both run the same handler on the same promise: a program whose last handler is async makes no
  // more promises than a bare async function around it.
  const settled = Promise.resolve()
  const program = compile([() => {}, () => {}, () => settled, () => {}, () => {}])
  const bare = async (): Promise<void> => {
    await settled
  }
  const byProgram = countPromises(() => void program.handle(connOf()))
  assert.equal(
    byProgram,
    countPromises(() => void bare()),
  )
})

// ------------------------------------------------------------------------------ wrong results

test('a handler that returns anything else is an error that names it', async () => {
  const other = connOf()
  for (const [result, what] of [
    [null, 'null'],
    [false, 'false'],
    [0, '0'],
    ['text', '"text"'],
    [{}, 'a plain object'],
    [new Response('x'), 'an instance of Response'],
    [() => {}, 'a function'],
    [other, 'another conn'],
  ] as const) {
    const returns = () => result
    const resolves = async () => result
    for (const [handler, name] of [
      [returns, 'returns'],
      [resolves, 'resolves'],
    ] as const) {
      const app = testApp([[handler as never], 'not reached'])
      const response = await app.get('/')
      assert.equal(response.status, 500)
      assert.equal(response.body, '')
      assert.equal(app.errors[0]?.place, `app[0][0] "${name}"`)
      const { error } = app.errors[0]!
      assert.ok(error instanceof TypeError)
      assert.equal(
        error.message,
        `Expected app[0][0] "${name}" to return its conn, nothing, or a promise of either, got ${what}`,
      )
    }
    for (const handler of [
      { name: 'late', beforeSend: returns },
      { name: 'late', beforeSend: resolves },
    ]) {
      const app = testApp([handler as never, 'replaced'])
      assert.equal((await app.get('/')).status, 500)
      assert.equal(
        String(app.errors[0]?.error),
        `TypeError: Expected beforeSend of app[0] "late" to return its conn, nothing, or a promise of either, got ${what}`,
      )
    }
  }
})

// ------------------------------------------------------------------------------------- errors

test('whatever a handler throws becomes a 500 without status, headers and body set so far', async () => {
  for (const thrown of [new Error('secret'), null, undefined, 'text', 0, { status: 200 }]) {
    for (const fail of [
      () => {
        throw thrown
      },
      async () => {
        throw thrown
      },
      async () => {
        await Promise.resolve()
        throw thrown
      },
      () => Promise.reject(thrown as Error),
    ]) {
      const later = mock.fn()
      const app = testApp([
        (conn) => conn.withStatus(201).withResponseHeader('X-Secret', '1').withBody('secret'),
        [fail, later],
        later,
      ])
      const response = await app.get('/')
      assert.equal(response.status, 500)
      assert.deepEqual([...response.headers], [['Content-Length', '0']])
      assert.equal(response.body, '')
      assert.equal(response.conn.isHalted, true)
      assert.equal(later.mock.callCount(), 0)
      assert.equal(app.errors.length, 1)
      assert.equal(app.errors[0]?.error, thrown)
    }
  }
})

test('an error keeps the state, for beforeSend and afterSend', async () => {
  const told: boolean[] = []
  const app = testApp([
    State.new(new Trace()),
    (conn) => void conn.afterSend((isSent) => told.push(isSent)),
    { beforeSend: (conn) => void conn.state(Trace)?.add('beforeSend') },
    () => {
      throw new Error('boom')
    },
  ])
  const response = await app.get('/')
  assert.deepEqual(response.state(Trace)?.steps, ['beforeSend'])
  assert.deepEqual(told, [true])
})

test('an error is reported with the conn and the place of its handler', async () => {
  const contexts: ErrorContext[] = []
  async function auth(): Promise<void> {
    throw new Error('boom')
  }
  const program = compile(['', [], [undefined, [auth]]].slice(1), 'app', (_, context) =>
    contexts.push(context),
  )
  const conn = connOf({ server: contextOf(program.onError) })
  await program.handle(conn)
  assert.equal(contexts[0]?.conn, conn)
  assert.equal(contexts[0]?.place, 'app[1][1][0] "auth"')
})

test('a place has the name of the function, of the object, or of its class', async () => {
  class Auth {
    run(): void {
      throw new Error()
    }
  }
  class Named extends Auth {
    readonly name = 'login'
  }
  const boom = (): never => {
    throw new Error()
  }
  const anonymous = (
    () => () =>
      boom()
  )()
  for (const [handler, place] of [
    [[boom], 'app[0] "boom"'],
    [boom, 'app "boom"'],
    [[anonymous], 'app[0]'],
    [[new Auth()], 'app[0] "Auth"'],
    [[new Named()], 'app[0] "login"'],
    [[{ run: () => boom() }], 'app[0]'],
    [[{ run: () => boom(), name: 'a "quoted" name' }], 'app[0] "a \\"quoted\\" name"'],
    [[handlers('x' as never, boom), 'y'], undefined],
    [[[], handlers(undefined, [boom])], 'app[1][1][0] "boom"'],
    [[Object.assign(Object.create(null) as object, { run: boom })], 'app[0]'],
  ] as const) {
    const app = testApp(handler as never)
    await app.get('/')
    assert.equal(app.errors[0]?.place, place)
  }
})

test('the stack of an error names the handler, sync or async', async () => {
  function syncHandler(): void {
    throw new Error('boom')
  }
  async function asyncHandler(): Promise<void> {
    await Promise.resolve()
    throw new Error('boom')
  }
  for (const handler of [syncHandler, asyncHandler]) {
    const app = testApp([() => {}, [handler]])
    await app.get('/')
    const { stack } = app.errors[0]?.error as Error
    assert.match(stack?.split('\n')[1] ?? '', new RegExp(`^    at (async )?${handler.name} \\(`))
  }
})

test('an error in beforeSend replaces the response and does not stop the others', async () => {
  const events: string[] = []
  const failing = (name: string, fail: () => void | Promise<void>) => ({
    name,
    beforeSend() {
      events.push(name)
      return fail()
    },
  })
  const app = testApp([
    { beforeSend: (conn) => void events.push(`outermost sees ${conn.status}`) },
    failing('rejects', async () => {
      await Promise.resolve()
      throw new Error('second')
    }),
    failing('throws', () => {
      throw new Error('first')
    }),
    failing('fine', async () => {}),
    (conn) => conn.withResponseHeader('a', '1').ok('dropped'),
  ])
  const response = await app.get('/')
  assert.deepEqual(events, ['fine', 'throws', 'rejects', 'outermost sees 500'])
  assert.equal(response.status, 500)
  assert.equal(response.body, '')
  assert.equal(response.headers.has('a'), false)
  assert.deepEqual(
    app.errors.map(({ error, place }) => [(error as Error).message, place]),
    [
      ['first', 'beforeSend of app[2] "throws"'],
      ['second', 'beforeSend of app[1] "rejects"'],
    ],
  )
})

test('beforeSend may change the response, also that of an error', async () => {
  const app = testApp([
    { beforeSend: async (conn) => conn.withBody(`status ${conn.status}`) },
    { beforeSend: (conn) => void conn.withResponseHeader('a', '1') },
    () => {
      throw new Error('boom')
    },
  ])
  const response = await app.get('/')
  assert.equal(response.status, 500)
  assert.equal(response.body, 'status 500')
  assert.equal(response.headers.get('a'), '1')
})

test('every beforeSend runs in reverse order, one after the other, sync or async', async () => {
  const events: string[] = []
  const spy = (name: string) => ({ beforeSend: () => void events.push(name) })
  const slow = (name: string) => ({
    async beforeSend() {
      events.push(`${name} begins`)
      await Promise.resolve()
      events.push(`${name} ends`)
    },
  })
  await testApp([spy('a'), slow('b'), spy('c'), slow('d'), spy('e')]).get('/')
  assert.deepEqual(events, ['e', 'd begins', 'd ends', 'c', 'b begins', 'b ends', 'a'])
})

test('an error lets go of the streaming body set so far', async () => {
  const cancel = mock.fn()
  const app = testApp([
    (conn) => void conn.withBody(new ReadableStream<string>({ cancel })),
    () => {
      throw new Error('boom')
    },
  ])
  assert.equal((await app.get('/')).status, 500)
  assert.equal(cancel.mock.callCount(), 1)
})

test('errors that are the client’s doing are answered with their status and not reported', async () => {
  const tooLong = testApp(async (conn) => conn.ok(await conn.requestBody.withLimit(3).text()))
  assert.equal((await tooLong.post('/', { body: '1234' })).status, 413)
  assert.deepEqual(tooLong.errors, [])
  const broken = testApp({
    async beforeSend(conn) {
      conn.withBody(JSON.stringify(await conn.requestBody.json()))
    },
  })
  assert.equal((await broken.post('/', { body: '{' })).status, 400)
  assert.deepEqual(broken.errors, [])
})

test('an onError that throws does not stop the request: its error is thrown as uncaught', async (t) => {
  const uncaught = captureMicrotasks(t)
  const failure = new Error('the reporter failed')
  const program = compile(
    () => {
      throw new Error('boom')
    },
    'app',
    () => {
      throw failure
    },
  )
  const conn = connOf({ server: contextOf(program.onError) })
  assert.equal(program.handle(conn), conn)
  assert.equal(conn.status, 500)
  assert.deepEqual(uncaught(), [failure])
})

test('without an onError, an error is thrown as uncaught and the request is answered', (t) => {
  const uncaught = captureMicrotasks(t)
  const program = compile(() => {
    throw 'text'
  })
  const conn = connOf({ server: contextOf(program.onError) })
  program.handle(conn)
  assert.equal(conn.status, 500)
  assert.deepEqual(uncaught(), ['text'])
})

// -------------------------------------------------------------------------------- Program.run

test('Program.run() runs no beforeSend and throws what a handler throws', async () => {
  const error = new Error('boom')
  const beforeSend = mock.fn()
  const conn = connOf()
  const fine = compile([{ beforeSend }, (it: Conn) => it.withStatus(201)])
  assert.equal(fine.run(conn), conn)
  assert.equal(beforeSend.mock.callCount(), 0)
  assert.throws(
    () =>
      compile([
        () => {
          throw error
        },
      ]).run(conn),
    error,
  )
  await assert.rejects(
    async () =>
      compile([
        async () => {
          throw error
        },
      ]).run(conn),
    error,
  )
  await assert.rejects(
    async () =>
      compile([
        async () => {},
        () => {
          throw error
        },
      ]).run(conn),
    error,
  )
  await assert.rejects(
    async () => compile([async () => 1]).run(conn),
    /^TypeError: Expected app\[0\] to return its conn/,
  )
  assert.equal(conn.status, 201)
  assert.equal(conn.isHalted, false)
})

test('Program.run() returns a promise of its conn where a handler is async', async () => {
  const conn = connOf()
  const result = compile([async () => {}, async (it: Conn) => it.withStatus(202)]).run(conn)
  assert.ok(result instanceof Promise)
  assert.equal(await result, conn)
  assert.equal(conn.status, 202)
})

test('Program.init() gives each init the info', async () => {
  const swansong = new Swansong()
  const info = new Info({ listeners: [], url: undefined, swansong, shared: new StateMap() })
  const seen: Info[] = []
  await compile([
    Init.new((it) => {
      seen.push(it)
      return it
    }),
  ]).init(info)
  assert.deepEqual(seen, [info])
})

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** How many promises V8 makes while `work` runs. */
function countPromises(work: () => void): number {
  let count = 0
  const stop = promiseHooks.onInit(() => count++)
  try {
    work()
  } finally {
    stop()
  }
  return count
}

/** Catches what is thrown from microtasks, instead of ending the process. */
function captureMicrotasks(t: { mock: typeof mock }): () => unknown[] {
  const queued: (() => void)[] = []
  t.mock.method(globalThis, 'queueMicrotask', (task: () => void) => queued.push(task))
  return () =>
    queued.map((task) => {
      try {
        task()
      } catch (error) {
        return error
      }
      return assert.fail('the task threw nothing')
    })
}

test('a body whose closed() throws does not stop the answer to an error', (t) => {
  const uncaught = captureMicrotasks(t)
  const failure = new Error('closed() threw')
  const body = {
    start() {},
    drained() {},
    stop() {},
    closed() {
      throw failure
    },
  }
  const conn = connOf({ server: contextOf(() => {}) })
  const program = compile(
    () => {
      conn.withBody(body)
      throw new Error('boom')
    },
    'app',
    () => {},
  )
  program.handle(conn)
  assert.equal(conn.status, 500)
  assert.deepEqual(uncaught(), [failure])
})

test('an error that throws when it is looked at is a 500 like any other', async () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  for (const isAsync of [false, true]) {
    const app = testApp(() => {
      if (isAsync) return Promise.reject(proxy)
      throw proxy
    })
    assert.equal((await app.get('/')).status, 500)
    assert.equal(app.errors[0]?.error, proxy)
  }
})

// ---------------------------------------------------------- programs in handlers, and upgrades

test('a part of an app answers for its errors, with places of its own and the onError of the server', async () => {
  for (const isAsync of [false, true]) {
    const errors: [unknown, string][] = []
    const failure = new Error('boom')
    const part = compile(
      [
        { beforeSend: (it: Conn) => it.withResponseHeader('Late', 'yes') },
        function auth() {
          if (isAsync) return Promise.reject(failure)
          throw failure
        },
      ],
      'GET /users',
    )
    const conn = connOf({
      server: contextOf((error, { place }) => errors.push([error, place])),
    })
    assert.equal(await part.runPart(conn), conn)
    assert.equal(conn.status, 500)
    assert.deepEqual(errors, [[failure, 'GET /users[1] "auth"']])
    assert.equal(conn.responseHeaders.has('late'), false)
    assert.equal(await part.beforeSend(conn), conn)
    assert.equal(conn.responseHeaders.get('late'), 'yes')
  }
})

test('the first handler whose hasUpgrade says so takes the connection over', () => {
  const asked: string[] = []
  const taken: string[] = []
  class Protocol {
    readonly name: string
    readonly #claims: boolean
    constructor(name: string, claims: boolean) {
      this.name = name
      this.#claims = claims
    }
    hasUpgrade(): boolean {
      asked.push(this.name)
      return this.#claims
    }
    upgrade(): void {
      taken.push(this.name)
    }
  }
  const program = compile([
    new Protocol('a', false),
    [new Protocol('b', true)],
    new Protocol('c', true),
  ])
  const upgrade = { conn: connOf(), takeTransport: () => assert.fail('nobody takes it') }
  const upgrader = program.upgraderOf(upgrade)
  assert.equal(upgrader?.place, 'app[1][0] "b"')
  assert.deepEqual(asked, ['a', 'b'])
  void upgrader.upgrade(upgrade)
  assert.deepEqual(taken, ['b'])
  assert.equal(program.mayUpgrade, true)
  const without = compile(() => {})
  assert.equal(without.upgraderOf(upgrade), undefined)
  assert.equal(without.mayUpgrade, false)
})

test('the place of an upgrade is that in the part which was asked for it', () => {
  const upgrade = { conn: connOf(), takeTransport: () => assert.fail('nobody takes it') }
  const no = { hasUpgrade: () => false, upgrade() {} }
  const yes = { name: 'yes', hasUpgrade: () => true, upgrade() {} }
  const around = (part: ReturnType<typeof compile>, answer?: boolean) => ({
    name: 'around',
    hasUpgrade: (it: Upgrade) => part.upgraderOf(it) !== undefined || answer === true,
    upgrade() {},
  })
  const placeIn = (app: unknown) => compile(app).upgraderOf(upgrade)?.place
  assert.equal(placeIn([around(compile(no, 'part')), yes]), 'app[1] "yes"')
  assert.equal(placeIn([no, around(compile([no, yes], 'part'))]), 'part[1] "yes"')
  assert.equal(placeIn([no, around(compile(no, 'part'), true)]), 'app[1] "around"')
})

test('where a hasUpgrade fails is known, and one that is async is refused', () => {
  const upgrade = { conn: connOf(), takeTransport: () => assert.fail('nobody takes it') }
  const throws = {
    name: 'throws',
    hasUpgrade: (): boolean => assert.fail('boom'),
    upgrade() {},
  }
  const part = compile(throws, 'part')
  const around = { hasUpgrade: (it: Upgrade) => !!part.upgraderOf(it), upgrade() {} }
  for (const [app, place] of [
    [throws, 'app "throws"'],
    [[around], 'part "throws"'],
  ] as const) {
    assert.throws(() => compile(app).upgraderOf(upgrade), /boom/)
    assert.equal(askedPlaceOf(upgrade), `hasUpgrade of ${place}`)
  }
  const late = { name: 'late', hasUpgrade: async () => false, upgrade() {} }
  assert.throws(() => compile(late).upgraderOf(upgrade), {
    name: 'TypeError',
    message:
      'Expected hasUpgrade of app "late" to return true or false, got an instance of Promise',
  })
})

test('the init of a handler that stands at several places runs once for an app', async () => {
  const init = mock.fn()
  const handler = { init, run() {} }
  const part = compile([handler], 'part')
  const app = compile([
    handler,
    [handler],
    { init: (info: Info) => part.init(info).then(() => {}) },
  ])
  const infoOf = (): Info => {
    const server = { listeners: [], url: undefined, swansong: new Swansong() }
    return new Info({ ...server, shared: new StateMap() })
  }
  await app.init(infoOf())
  assert.equal(init.mock.callCount(), 1)
  await app.init(infoOf())
  assert.equal(init.mock.callCount(), 2)
})

test('a handler with one of hasUpgrade and upgrade is refused', () => {
  for (const half of [{ hasUpgrade: () => true }, { upgrade: () => {} }]) {
    assert.throws(() => compile([half]), {
      name: 'TypeError',
      message:
        'Cannot use the handler app[0]: it must have both hasUpgrade and upgrade, or neither',
    })
  }
  assert.throws(() => compile([{ hasUpgrade: true, upgrade() {} }]), {
    message: 'Cannot use the handler app[0]: its hasUpgrade must be a function, not true',
  })
})

test('the place of the handler that is waited for is known, of a beforeSend and of a part, too', async () => {
  const gates: (() => void)[] = []
  const wait = (): Promise<void> => new Promise((resolve) => void gates.push(resolve))
  const part = compile(wait, 'part')
  const program = compile([
    () => {},
    { name: 'late', beforeSend: wait },
    function first() {
      return wait()
    },
    (conn: Conn) => part.runPart(conn) as Promise<Conn>,
  ])
  const conn = connOf()
  assert.equal(pendingPlaceOf(conn), undefined)
  const handled = program.handle(conn)
  const places: unknown[] = []
  for (let step = 0; step < 3; step++) {
    places.push(pendingPlaceOf(conn))
    gates.shift()!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.deepEqual(places, ['app[2] "first"', 'part "wait"', 'beforeSend of app[1] "late"'])
  assert.equal(await handled, conn)
})
