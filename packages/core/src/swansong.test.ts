import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mock, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { collect, items, settled, stuck, watch } from '../fixtures/promises.ts'
import { ShuttingDown, Swansong } from './swansong.ts'
import type { StopReason } from './swansong.ts'
import type { Guard } from './swansong/guard.ts'
import { testApp } from './testing.ts'

// ------------------------------------------------------------------------------------ the flag

test('[swansong 1.1] a new swansong is running and holds no guard', () => {
  const swansong = new Swansong()
  assert.equal(swansong.state, 'running')
  assert.equal(swansong.guardCount, 0)
  assert.equal(swansong.reason, undefined)
  assert.equal(swansong.signal.aborted, false)
})

test('[swansong 1.1] once stopped it stays stopped, whatever is taken and released', () => {
  const swansong = new Swansong()
  void swansong.shutDown()
  swansong.guard().release()
  swansong.child().guard().release()
  swansong.onStop(() => {})[Symbol.dispose]()
  assert.equal(swansong.state, 'complete')
})

test('[swansong 1.2] only the first of several calls changes anything', async () => {
  const swansong = new Swansong()
  const callback = mock.fn()
  swansong.onStop(callback)
  const guard = swansong.guard()
  const stops = [swansong.shutDown({ kind: 'init' }), swansong.shutDown({ kind: 'call' })]
  assert.equal(stops[0], stops[1])
  guard.release()
  await Promise.all([...stops, swansong.shutDown({ kind: 'error' })])
  assert.deepEqual(swansong.reason, { kind: 'init' })
  assert.equal(callback.mock.callCount(), 1)
})

test('[swansong 1.2] shutDown() and onStop() may be called from a callback', async () => {
  const swansong = new Swansong()
  const calls: string[] = []
  swansong.onStop(() => {
    calls.push('first')
    void swansong.shutDown({ kind: 'error' })
    swansong.onStop(() => calls.push('inner'))
  })
  swansong.onStop(() => calls.push('second'))
  await swansong.shutDown()
  assert.deepEqual(calls, ['first', 'inner', 'second'])
  assert.deepEqual(swansong.reason, { kind: 'call' })
})

test('[swansong 1.2] a shutDown() from a callback resolves when the stop is complete', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  const inner: { readonly isDone: boolean }[] = []
  swansong.onStop(() => void inner.push(watch(swansong.shutDown())))
  void swansong.shutDown()
  await settled()
  assert.deepEqual(inner, [{ isDone: false }])
  guard.release()
  await settled()
  assert.deepEqual(inner, [{ isDone: true }])
})

test('[swansong 1.3] shutDown() completes at once when there is no guard', async () => {
  const swansong = new Swansong()
  const stopped = swansong.shutDown()
  assert.equal(swansong.state, 'complete')
  assert.equal(await stopped, undefined)
})

test('[swansong 1.3] with guards it is shutting down, and complete when the last is released', async () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  const second = first.clone()
  const completion = watch(swansong.completion)
  assert.equal(swansong.guardCount, 2)
  assert.equal(swansong.state, 'running')
  const stopped = watch(swansong.shutDown())
  assert.equal(swansong.state, 'shutting-down')
  first.release()
  await settled()
  assert.deepEqual(
    [swansong.state, swansong.guardCount, completion.isDone, stopped.isDone],
    ['shutting-down', 1, false, false],
  )
  second.release()
  assert.equal(swansong.state, 'complete')
  await settled()
  assert.deepEqual([completion.isDone, stopped.isDone], [true, true])
})

test('[swansong 1.3] a guard that is handed on within one turn does not let completion slip through', async () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  const stopped = watch(swansong.shutDown())
  const second = swansong.guard()
  first.release()
  await settled()
  assert.equal(stopped.isDone, false)
  second.release()
  await settled()
  assert.equal(stopped.isDone, true)
})

test('[swansong 1.4] a guard taken after completion delays those who ask afterwards, and nobody else', async () => {
  const swansong = new Swansong()
  const before = watch(swansong.shutDown())
  const guard = swansong.guard()
  assert.equal(swansong.state, 'shutting-down')
  const after = watch(swansong.completion)
  const again = watch(swansong.shutDown())
  await settled()
  assert.deepEqual([before.isDone, after.isDone, again.isDone], [true, false, false])
  guard.release()
  await settled()
  assert.deepEqual([swansong.state, after.isDone, again.isDone], ['complete', true, true])
})

test('[swansong 1.4] a completion that has resolved is not given to those who ask when there is a new guard', async () => {
  const swansong = new Swansong()
  const first = swansong.guard()
  const stopped = swansong.shutDown()
  first.release()
  await stopped
  const second = swansong.guard()
  const after = watch(swansong.completion)
  await settled()
  assert.equal(after.isDone, false)
  second.release()
  await settled()
  assert.equal(after.isDone, true)
})

test('[swansong 1.5] the reason is what the first shutDown() was given', () => {
  const swansong = new Swansong()
  const reason: StopReason = { kind: 'signal', signal: 'SIGTERM' }
  void swansong.shutDown(reason)
  assert.equal(swansong.reason, reason)
})

test('[swansong 1.5] without a reason somebody called', () => {
  const swansong = new Swansong()
  void swansong.shutDown()
  assert.deepEqual(swansong.reason, { kind: 'call' })
})

test('[swansong 1.5] a child has the reason of its parent, of the kind parent', () => {
  const error = new Error('boom')
  const swansong = new Swansong()
  // One that its parent knows, and one that it does not.
  const [known, unknown, own] = [swansong.child(), swansong.child(), swansong.child()]
  const below = unknown.child()
  using guard = known.guard()
  void own.shutDown({ kind: 'init' })
  void swansong.shutDown({ kind: 'error', error })
  assert.deepEqual(swansong.reason, { kind: 'error', error })
  for (const child of [known, below, unknown])
    assert.deepEqual(child.reason, { kind: 'parent', error })
  assert.deepEqual(own.reason, { kind: 'init' })
})

// ----------------------------------------------------------------------------------- callbacks

test('[swansong 2.1] onStop() calls back once, with the reason', () => {
  const swansong = new Swansong()
  const callback = mock.fn<(reason: StopReason) => void>()
  swansong.onStop(callback)
  assert.equal(callback.mock.callCount(), 0)
  void swansong.shutDown({ kind: 'signal', signal: 'SIGINT' })
  void swansong.shutDown()
  assert.deepEqual(
    callback.mock.calls.map((call) => call.arguments),
    [[{ kind: 'signal', signal: 'SIGINT' }]],
  )
})

test('[swansong 2.1] onStop() does not wait for guards, and calls at once after the stop', () => {
  const swansong = new Swansong()
  using guard = swansong.guard()
  const before = mock.fn()
  const after = mock.fn<(reason: StopReason) => void>()
  swansong.onStop(before)
  void swansong.shutDown()
  assert.equal(before.mock.callCount(), 1)
  const registration = swansong.onStop(after)
  assert.deepEqual(after.mock.calls[0]?.arguments, [{ kind: 'call' }])
  registration[Symbol.dispose]()
  assert.equal(after.mock.callCount(), 1)
})

test('[swansong 2.2] callbacks run in order of registration, before shutDown() returns', () => {
  const swansong = new Swansong()
  const calls: string[] = []
  const { signal } = swansong
  signal.addEventListener('abort', () => calls.push('signal'))
  swansong.onStop(() => calls.push('first'))
  swansong.onStop(() => calls.push('second'))
  void swansong.shutDown()
  assert.deepEqual(calls, ['first', 'second', 'signal'])
})

test('[swansong 2.2] parents are called before their children', () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const grandchild = child.child()
  const calls: string[] = []
  grandchild.onStop(() => calls.push('grandchild'))
  child.onStop(() => calls.push('child'))
  child.signal.addEventListener('abort', () => calls.push('signal of the child'))
  swansong.onStop(() => calls.push('root'))
  void swansong.shutDown()
  assert.deepEqual(calls, ['root', 'child', 'signal of the child', 'grandchild'])
})

test('[swansong 2.3] the whole tree is stopped before the first callback runs', () => {
  const swansong = new Swansong()
  const children = [swansong.child(), swansong.child(), swansong.child().child()]
  using guard = children[0]!.guard()
  children[1]!.onStop(() => {})
  const states: string[] = []
  swansong.onStop(() => {
    for (const { state, reason } of children) states.push(`${state} ${reason?.kind}`)
  })
  void swansong.shutDown()
  // The last one is not known to its parent, and has no callback to wait for: see 5.7.
  assert.deepEqual(states, ['shutting-down parent', 'shutting-down parent', 'complete parent'])
})

test('[swansong 2.4] a callback that throws is uncaught and stops neither the others nor the stop', (t) => {
  const uncaught: (() => void)[] = []
  t.mock.method(globalThis, 'queueMicrotask', (task: () => void) => uncaught.push(task))
  const swansong = new Swansong()
  const [second, below] = [mock.fn(), mock.fn()]
  const error = new Error('boom')
  const fail = (): void => {
    throw error
  }
  swansong.onStop(fail)
  swansong.onStop(second)
  swansong.child().onStop(below)
  void swansong.shutDown()
  assert.deepEqual([second.mock.callCount(), below.mock.callCount()], [1, 1])
  assert.equal(swansong.state, 'complete')
  swansong.onStop(fail)
  assert.equal(uncaught.length, 2)
  for (const task of uncaught) assert.throws(task, error)
})

test('[swansong 2.5] a disposed registration is not called', () => {
  const swansong = new Swansong()
  const callback = mock.fn()
  const registration = swansong.onStop(callback)
  registration[Symbol.dispose]()
  registration[Symbol.dispose]()
  void swansong.shutDown()
  assert.equal(callback.mock.callCount(), 0)
})

test('[swansong 2.5] one callback may be registered twice, and each registration stands for itself', () => {
  const swansong = new Swansong()
  const callback = mock.fn()
  const first = swansong.onStop(callback)
  swansong.onStop(callback)
  swansong.onStop(callback)
  first[Symbol.dispose]()
  void swansong.shutDown()
  assert.equal(callback.mock.callCount(), 2)
})

test('[swansong 2.5] a callback may dispose of a later one, also of a child, which is then not called', () => {
  const swansong = new Swansong()
  const later = mock.fn()
  swansong.onStop(() => {
    for (const registration of registrations) registration[Symbol.dispose]()
  })
  const registrations = [
    swansong.onStop(later),
    swansong.child().onStop(later),
    swansong.onStop(() => registrations[2]![Symbol.dispose]()),
  ]
  void swansong.shutDown()
  assert.equal(later.mock.callCount(), 0)
  assert.equal(swansong.state, 'complete')
})

test('[swansong 2.6] stopping resolves when the stop begins, with the reason, and waits for no guard', async () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const [stopping, below] = [watch(swansong.stopping), watch(child.stopping)]
  using guard = swansong.guard()
  await settled()
  assert.equal(swansong.state, 'running')
  assert.deepEqual([stopping.isDone, below.isDone], [false, false])
  void swansong.shutDown({ kind: 'init' })
  assert.deepEqual(await swansong.stopping, { kind: 'init' })
  assert.deepEqual(await child.stopping, { kind: 'parent' })
  assert.deepEqual([stopping.isDone, below.isDone], [true, true])
  assert.equal(swansong.state, 'shutting-down')
})

test('[swansong 2.6] stopping is one promise, and resolves at once after the stop', async () => {
  const swansong = new Swansong()
  assert.equal(swansong.stopping, swansong.stopping)
  const late = new Swansong()
  void late.shutDown()
  assert.deepEqual(await late.stopping, { kind: 'call' })
})

test('[swansong 2.6] each of 2000 who wait for a stop at random hears of it', async () => {
  const stops = Array.from({ length: 2000 }, async (_, at) => {
    const swansong = new Swansong()
    const waiting =
      at % 2 === 0 ? swansong.stopping : Promise.resolve().then(() => swansong.stopping)
    for (let turns = at % 5; turns > 0; turns--) await undefined
    void swansong.shutDown()
    return waiting
  })
  assert.ok((await Promise.all(stops)).every(({ kind }) => kind === 'call'))
})

test('[swansong 2.7] the signal aborts when the stop begins, with a ShuttingDown that has the reason', () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const [signal, below] = [swansong.signal, child.signal]
  assert.equal(swansong.signal, signal)
  using guard = swansong.guard()
  const reason: StopReason = { kind: 'signal', signal: 'SIGTERM' }
  void swansong.shutDown(reason)
  assert.equal(signal.aborted, true)
  assert.ok(signal.reason instanceof ShuttingDown)
  assert.equal(signal.reason.name, 'ShuttingDown')
  assert.equal(signal.reason.reason, reason)
  assert.deepEqual((below.reason as ShuttingDown).reason, { ...reason, kind: 'parent' })
})

test('[swansong 2.7] the signal is made when first read, also after the stop', (t) => {
  const Original = globalThis.AbortController
  let made = 0
  class Counted extends Original {
    constructor() {
      super()
      made++
    }
  }
  globalThis.AbortController = Counted
  t.after(() => (globalThis.AbortController = Original))
  const swansong = new Swansong()
  swansong.onStop(() => {})
  swansong.child().guard().release()
  void swansong.shutDown()
  assert.equal(made, 0)
  assert.equal(swansong.signal.aborted, true)
  assert.deepEqual((swansong.signal.reason as ShuttingDown).reason, { kind: 'call' })
  assert.equal(made, 1)
})

test('[swansong 2.7] the signal is aborted when a callback reads it first', () => {
  const swansong = new Swansong()
  const aborted: boolean[] = []
  swansong.onStop(() => aborted.push(swansong.signal.aborted))
  void swansong.shutDown()
  assert.deepEqual(aborted, [true])
})

test('[swansong 2.8] a guard that is released in a callback lets the stop complete after it', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  const states: string[] = []
  swansong.onStop(() => {
    guard.release()
    states.push(swansong.state)
  })
  await swansong.shutDown()
  assert.deepEqual([...states, swansong.state], ['shutting-down', 'complete'])
})

test('[swansong 2.8] the stop does not complete before every callback had its chance to take a guard', async () => {
  const swansong = new Swansong()
  const completion = watch(swansong.completion)
  const first = swansong.guard()
  const guards: Guard[] = []
  swansong.onStop(() => first.release())
  swansong.onStop(() => {
    assert.equal(swansong.state, 'shutting-down')
    guards.push(swansong.guard('last words'))
  })
  const stopped = watch(swansong.shutDown())
  await settled()
  assert.deepEqual(
    [swansong.state, completion.isDone, stopped.isDone],
    ['shutting-down', false, false],
  )
  guards[0]?.release()
  await settled()
  assert.deepEqual([swansong.state, completion.isDone, stopped.isDone], ['complete', true, true])
})

test('[swansong 2.8] an abort listener may take a guard, too, and so may a callback of a child', async () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const guards: Guard[] = []
  swansong.signal.addEventListener('abort', () => guards.push(swansong.guard()))
  child.onStop(() => guards.push(swansong.guard(), child.guard(), swansong.child().guard()))
  const stopped = watch(swansong.shutDown())
  assert.equal(swansong.guardCount, 4)
  for (const guard of guards) {
    await settled()
    assert.deepEqual([swansong.state, stopped.isDone], ['shutting-down', false])
    guard.release()
  }
  await settled()
  assert.deepEqual([swansong.state, stopped.isDone], ['complete', true])
})

// ---------------------------------------------------------------------------------- completion

test('[swansong 6.1] completion waits for the stop, and does not begin it', async () => {
  const swansong = new Swansong()
  const completion = watch(swansong.completion)
  swansong.guard().release()
  await settled()
  assert.equal(swansong.state, 'running')
  assert.equal(completion.isDone, false)
  void swansong.shutDown()
  await settled()
  assert.equal(completion.isDone, true)
})

test('[swansong 6.1] completion waits for tasks that end in any order, some after the stop', async () => {
  const swansong = new Swansong()
  let finished = 0
  const task = async (turns: number): Promise<void> => {
    using guard = swansong.guard()
    for (let at = 0; at < turns; at++) await settled()
    finished++
  }
  const tasks = [5, 1, 9, 3, 7].map(task)
  const stop = task(4).then(() => swansong.shutDown())
  await swansong.completion
  assert.equal(finished, 6)
  await Promise.all([...tasks, stop])
})

test('[swansong 6.2] completion is one promise until it resolves', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  const { completion } = swansong
  assert.equal(swansong.completion, completion)
  assert.equal(swansong.shutDown(), completion)
  guard.release()
  await completion
  assert.notEqual(swansong.completion, completion)
})

test('[swansong 6.3] an async function may return a swansong that is running', async () => {
  const swansong = new Swansong()
  assert.equal('then' in swansong, false)
  assert.equal(await (async () => swansong)(), swansong)
})

test('[swansong 6.4] await using stops, and waits for the guards', async () => {
  const swansong = new Swansong()
  const guard = swansong.guard()
  const block = watch(
    (async () => {
      await using inner = swansong
      assert.equal(inner.state, 'running')
    })(),
  )
  await settled()
  assert.deepEqual([swansong.state, block.isDone], ['shutting-down', false])
  guard.release()
  await settled()
  assert.equal(block.isDone, true)
})

// --------------------------------------------------------------------------------------- costs

test('[swansong 8.1] 10,000 guards come and go', () => {
  const swansong = new Swansong()
  const guards = Array.from({ length: 10_000 }, () => swansong.guard())
  assert.equal(swansong.guardCount, 10_000)
  for (const guard of guards) guard.release()
  assert.equal(swansong.guardCount, 0)
  assert.equal(swansong.report().isEmpty, true)
})

test('[swansong 8.1] 10,000 interrupted streams come and go and leave no registration', async () => {
  const swansong = new CountingSwansong()
  const streams = Array.from({ length: 10_000 }, () => swansong.interrupt(items(2)))
  await Promise.all(streams.map((stream) => stream.next()))
  assert.equal(swansong.registered, 10_000)
  await Promise.all(
    streams.map((stream, at) => (at % 2 === 0 ? collect(stream) : stream.return?.())),
  )
  assert.equal(swansong.registered, 0)
})

test('[swansong 8.1] the stop ends 10,000 waiting streams', async () => {
  const swansong = new Swansong()
  const close = mock.fn(async () => ({ done: true as const, value: undefined }))
  const waiting = Array.from({ length: 10_000 }, () => swansong.interrupt(stuck(close)).next())
  await swansong.shutDown()
  const results = await Promise.all(waiting)
  assert.ok(results.every(({ done }) => done === true))
  assert.equal(close.mock.callCount(), 10_000)
})

test('[swansong 8.2] a million items through one interrupted stream leave the heap flat', async () => {
  const program = fileURLToPath(new URL('../fixtures/million-items.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, program])
  const bytes = Number.parseInt(stdout, 10)
  // One reaction per item, as of Promise.race with one long-lived promise, would be 300 MB.
  assert.ok(bytes < 10 * 1024 * 1024, `it grew by ${stdout}`)
})

test('[swansong 8.3] a request that reads neither conn.swansong nor conn.signal registers nothing', async (t) => {
  const app = testApp((conn) => conn.ok(conn.query.get('reads') === null ? 'hi' : readBoth(conn)))
  await app.init()
  const Original = globalThis.AbortController
  const made = mock.fn()
  globalThis.AbortController = class extends Original {
    constructor() {
      super()
      made()
    }
  }
  t.after(() => (globalThis.AbortController = Original))
  const onStop = t.mock.method(Swansong.prototype, 'onStop')
  const child = t.mock.method(Swansong.prototype, 'child')
  const guard = t.mock.method(Swansong.prototype, 'guard')
  const calls = (): number =>
    [made, onStop, child, guard].reduce((count, { mock }) => count + mock.callCount(), 0)

  for (let at = 0; at < 10; at++) assert.equal((await app.get('/')).body, 'hi')
  assert.equal(calls(), 0)
  // The spies see one that does.
  assert.equal((await app.get('/?reads=both')).body, 'running')
  assert.ok(calls() > 0)
})

function readBoth(conn: { readonly swansong: Swansong; readonly signal: AbortSignal }): string {
  const { swansong, signal } = conn
  return signal.aborted ? 'gone' : swansong.state
}

class CountingSwansong extends Swansong {
  registered = 0

  override onStop(callback: (reason: StopReason) => void): Disposable {
    const registration = super.onStop(callback)
    let isRegistered = true
    this.registered++
    return {
      [Symbol.dispose]: () => {
        if (isRegistered) this.registered--
        isRegistered = false
        registration[Symbol.dispose]()
      },
    }
  }
}
