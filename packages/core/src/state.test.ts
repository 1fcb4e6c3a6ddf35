import assert from 'node:assert/strict'
import { test } from 'node:test'

import { State, StateMap } from './state.ts'
import { testApp } from './testing.ts'

class User {
  readonly #brand = true
  readonly name: string
  constructor(name = 'Fern') {
    this.name = this.#brand ? name : ''
  }
}

class Admin extends User {
  readonly isAdmin = true
}

interface Config {
  title: string
}
const Config = State.key<Config>()('config')
const Count = State.key<number>()('count')

test('state is found by the class of the value', async () => {
  const app = testApp([State.new(new User('Fern')), (conn) => conn.ok(conn.state(User).name)])
  assert.equal((await app.get('/')).body, 'Fern')
})

test('state that nobody provides is undefined', async () => {
  const seen: unknown[] = []
  await testApp([
    (conn) => void seen.push(conn.state(User), conn.takeState(User), conn.state(Count)),
    State.new(new User()),
    (conn) => void seen.push(conn.state(Count)),
  ]).get('/')
  assert.deepEqual(seen, [undefined, undefined, undefined, undefined])
})

test('a subclass and its base class are two keys', async () => {
  const user = new User()
  const admin = new Admin()
  const response = await testApp([State.new(user), State.new(admin)]).get('/')
  assert.equal(response.state(User), user)
  assert.equal(response.state(Admin), admin)
  const onlyAdmin = await testApp([State.new(admin)]).get('/')
  assert.equal(onlyAdmin.state(User), undefined)
})

test('a value may be stored under another class than its own', async () => {
  const admin = new Admin()
  const response = await testApp([State.new(User, admin)]).get('/')
  assert.equal(response.state(User), admin)
  assert.equal(response.state(Admin), undefined)
})

test('a key stores what has no class of its own, also undefined, null and falsy values', async () => {
  const Anything = State.key<unknown>()('anything')
  for (const value of [{ title: 'x' }, ['x'], () => {}, 'text', 0, '', false, null, undefined]) {
    const response = await testApp([State.new(Anything, value)]).get('/')
    assert.equal(response.state(Anything), value)
  }
  const app = testApp([
    State.new(Config, { title: 'Wakerobin' }),
    (conn) => conn.ok(conn.state(Config).title),
  ])
  assert.equal((await app.get('/')).body, 'Wakerobin')
})

test('two keys of one name are two keys', async () => {
  const one = State.key<number>()('n')
  const two = State.key<number>()('n')
  const response = await testApp([(conn) => conn.withState(one, 1).withState(two, 2)]).get('/')
  assert.equal(response.state(one), 1)
  assert.equal(response.state(two), 2)
})

test('a key has its name and cannot be changed', () => {
  assert.equal(Config.name, 'config')
  assert.ok(Object.isFrozen(Config))
})

test('State shares one value between all requests', async () => {
  class Hits {
    #count = 0
    add(): number {
      return ++this.#count
    }
  }
  const app = testApp([State.new(new Hits()), (conn) => conn.ok(`hit ${conn.state(Hits).add()}`)])
  assert.equal((await app.get('/')).body, 'hit 1')
  assert.equal((await app.get('/')).body, 'hit 2')
})

test('state that a handler sets ends with its request', async () => {
  const app = testApp((conn) => {
    const before = conn.insertState(new User())
    conn.ok(String(before))
  })
  assert.equal((await app.get('/')).body, 'undefined')
  assert.equal((await app.get('/')).body, 'undefined')
})

test('withState() replaces and returns the conn, insertState() returns the former value', async () => {
  const [first, second, third] = [new User('1'), new User('2'), new User('3')]
  await testApp((conn) => {
    const bare: unknown = conn
    assert.equal(conn.withState(first), bare)
    assert.equal(conn.insertState(second), first)
    assert.equal(conn.insertState(User, third), second)
    assert.equal(conn.state(User), third)
    assert.equal(conn.insertState(Count, 1), undefined)
    assert.equal(conn.insertState(Count, 2), 1)
    return conn.ok('')
  })
    .get('/')
    .then(({ status }) => assert.equal(status, 200))
})

test('takeState() removes and returns', async () => {
  const user = new User()
  const seen: unknown[] = []
  await testApp([
    State.new(user),
    (conn) => void seen.push(conn.takeState(User), conn.takeState(User), conn.state(User)),
  ]).get('/')
  assert.deepEqual(seen, [user, undefined, undefined])
})

test('a value without a class of its own is refused, with a message that says to use a key', () => {
  const hint =
    "use a class of your own, or make a key: const Config = State.key<Config>()('config'), then State.new(Config, value) and conn.state(Config)"
  for (const [value, what] of [
    [{ title: 'x' }, 'a plain object'],
    [Object.create(null), 'a plain object'],
    [{ constructor: User }, 'a plain object'],
    [['x'], 'an array of 1'],
    [function named() {}, 'the function named'],
    [User, 'the function User'],
    [(() => () => {})(), 'a function'],
    ['text', '"text"'],
    [1, '1'],
    [1n, '1n'],
    [true, 'true'],
    [Symbol('x'), 'Symbol(x)'],
    [null, 'null'],
    [undefined, 'undefined'],
    [Object.assign(Object.create({ constructor: undefined }), {}), 'an object'],
    [new String('x'), 'an instance of String'],
  ] as const) {
    const expected = { name: 'TypeError', message: `Cannot store ${what} under its class: ${hint}` }
    assert.throws(() => State.new(value as object), expected)
    assert.throws(() => new StateMap().insert([value]), expected)
  }
})

test('instances of builtin classes are refused, as they are nobody’s in particular', () => {
  for (const value of [new Map(), new Set(), new Date(0), /x/, new Error('x'), new WeakMap()]) {
    assert.throws(() => new StateMap().insert([value]), /make a key/)
    assert.throws(() => new StateMap().insert([value.constructor, value]), /make a key/)
  }
  assert.throws(
    () => new StateMap().insert([Promise.resolve(1)]),
    /^TypeError: Cannot store an instance of Promise under its class: await it first$/,
  )
})

test('instances of anonymous classes can be stored', () => {
  const map = new StateMap()
  const Anonymous = (() => class {})()
  const anonymous = new Anonymous()
  map.insert([anonymous])
  assert.equal(map.get(Anonymous), anonymous)
})

test('what is neither a class nor a key is refused as a key', () => {
  for (const key of [
    {},
    'config',
    undefined,
    null,
    Symbol('x'),
    () => {},
    Object,
    Array,
    Function,
    String,
    Number,
    { name: 'config' },
    { prototype: {} },
  ]) {
    assert.throws(() => State.new(key as unknown as typeof User, new User()), {
      name: 'TypeError',
      message: /^Cannot store state under .*: use a class of your own, or make a key: /,
    })
  }
})

test('a refused value changes nothing', async () => {
  const app = testApp([
    State.new(new User('kept')),
    (conn) => {
      assert.throws(() => conn.withState({ title: 'x' }), TypeError)
      assert.throws(() => conn.insertState('x' as unknown as object), TypeError)
      return conn.ok(conn.state(User).name)
    },
  ])
  assert.equal((await app.get('/')).body, 'kept')
})

test('State is named after its key', () => {
  assert.equal(State.new(new User()).name, 'State(User)')
  assert.equal(State.new(User, new Admin()).name, 'State(User)')
  assert.equal(State.new(Config, { title: 'x' }).name, 'State(config)')
})
