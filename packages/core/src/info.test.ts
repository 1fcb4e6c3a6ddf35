import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Info, Init } from './info.ts'
import type { Listener } from './info.ts'
import { State } from './state.ts'
import { Swansong } from './swansong.ts'
import { testApp } from './testing.ts'

class Pool {
  readonly #brand = true
  readonly size: number
  constructor(size: number) {
    this.size = this.#brand ? size : 0
  }
}
const Title = State.key<string>()('title')

test('what an init shares is there for every later init and for every conn', async () => {
  const app = testApp([
    Init.new((info) => info.withSharedState(new Pool(3)).withSharedState(Title, 'Wakerobin')),
    {
      init: (info) =>
        info.withSharedState(Title, `${info.sharedState(Title)} ${info.sharedState(Pool)?.size}`),
    },
    (conn) => conn.ok(`${conn.sharedState(Title)}!`),
  ])
  assert.equal((await app.get('/')).body, 'Wakerobin 3!')
  assert.equal((await app.get('/')).body, 'Wakerobin 3!')
})

test('shared state that nobody has put there is undefined, and is not the state of the conn', async () => {
  const app = testApp([
    Init.new((info) => {
      assert.equal(info.sharedState(Pool), undefined)
      info.withSharedState(Title, 'shared')
    }),
    State.new(new Pool(1)),
    (conn) =>
      conn.json([
        conn.sharedState(Pool) === undefined,
        conn.state(Title) === undefined,
        conn.sharedState(Title),
      ]),
  ])
  assert.deepEqual((await app.get('/')).json(), [true, true, 'shared'])
})

test('insertSharedState() returns the value it replaces', async () => {
  const [one, two] = [new Pool(1), new Pool(2)]
  const seen: unknown[] = []
  await testApp(
    Init.new(
      (info) =>
        void seen.push(
          info.insertSharedState(one),
          info.insertSharedState(two),
          info.insertSharedState(Pool, one),
          info.insertSharedState(Title, 'x'),
        ),
    ),
  ).init()
  assert.deepEqual(seen, [undefined, one, two, undefined])
})

test('shared state is read-only when every init is done', async () => {
  let kept: Info | undefined
  const app = testApp([
    Init.new((info) => (kept = info.withSharedState(Title, 'before'))),
    (conn) => conn.ok(`${conn.sharedState(Title)}`),
  ])
  await app.init()
  const message = 'Cannot share "after": shared state is set by init, and every init is done'
  assert.throws(() => kept?.withSharedState(Title, 'after'), { name: 'TypeError', message })
  assert.throws(() => kept?.insertSharedState(Title, 'after'), { name: 'TypeError', message })
  assert.throws(
    () => kept?.withSharedState(new Pool(1)),
    /^TypeError: Cannot share an instance of Pool: /,
  )
  assert.equal(kept?.sharedState(Title), 'before')
  assert.equal((await app.get('/')).body, 'before')
})

test('an async init may share until it resolves', async () => {
  const app = testApp([
    Init.new(async (info) => {
      await Promise.resolve()
      return info.withSharedState(Title, 'late')
    }),
    (conn) => conn.ok(`${conn.sharedState(Title)}`),
  ])
  assert.equal((await app.get('/')).body, 'late')
})

test('shared values need a class of their own, or a key', async () => {
  await assert.rejects(testApp(Init.new((info) => info.withSharedState({ size: 1 }))).init(), {
    message:
      /^Cannot start: init of app "Init\(\)" failed: Cannot store a plain object under its class: use a class of your own, or make a key/,
  })
})

test('an info tells where the server listens, and has its swansong', async () => {
  const listeners: readonly Listener[] = [
    { kind: 'tcp', host: '127.0.0.1', port: 8080, isSecure: false },
    { kind: 'unix', path: '/run/x.sock', isSecure: false },
  ]
  const swansong = new Swansong()
  let seen: Info | undefined
  await testApp(
    Init.new((info) => void (seen = info)),
    { listeners, url: 'http://localhost:8080/', swansong },
  ).init()
  assert.ok(seen instanceof Info)
  assert.equal(seen.listeners, listeners)
  assert.equal(seen.url, 'http://localhost:8080/')
  assert.equal(seen.swansong, swansong)
})

test('Init lets every conn pass, and is named after its function', async () => {
  const app = testApp([Init.new(function database() {}), 'reached'])
  assert.equal((await app.get('/')).body, 'reached')
  assert.equal(Init.new(function database() {}).name, 'Init(database)')
})

test('Init.new() refuses what is no function', () => {
  for (const value of [undefined, null, {}, 'x']) {
    assert.throws(() => Init.new(value as unknown as () => void), {
      name: 'TypeError',
      message: /^Cannot make an Init of .*: expected a function of the info$/,
    })
  }
})
