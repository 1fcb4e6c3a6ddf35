import assert from 'node:assert/strict'
import { mock, test } from 'node:test'

import { collectUntil, heapUsed, settled, stuck, watch } from '../../fixtures/promises.ts'
import { Swansong } from '../swansong.ts'
import type { Guard } from './guard.ts'

test('[swansong 5.1] the stop of a parent stops its children, and theirs', () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const tree = [swansong, child, child.child(), swansong.child().child().child()]
  assert.deepEqual(
    tree.map(({ state, guardCount }) => `${state} ${guardCount}`),
    Array(4).fill('running 0'),
  )
  void swansong.shutDown()
  assert.deepEqual(
    tree.map(({ state }) => state),
    Array(4).fill('complete'),
  )
})

test('[swansong 5.1] children stop in the order in which they were made known', () => {
  const swansong = new Swansong()
  const calls: string[] = []
  const [first, second, third] = ['first', 'second', 'third'].map((name) => swansong.child(name))
  for (const child of [third!, first!, second!]) child.onStop(() => calls.push(child.name))
  first!.child('below').onStop(() => calls.push('below'))
  void swansong.shutDown()
  assert.deepEqual(calls, ['third', 'first', 'below', 'second'])
})

test('[swansong 5.1] an interrupt of a child ends when the parent stops', async () => {
  const swansong = new Swansong()
  const child = swansong.child().child()
  const promise = child.interrupt(new Promise(() => {}))
  const close = mock.fn()
  const next = child.interrupt(stuck(close)).next()
  void swansong.shutDown()
  assert.equal(await promise, undefined)
  assert.deepEqual(await next, { done: true, value: undefined })
  assert.equal(close.mock.callCount(), 1)
})

test('[swansong 5.1] a signal of a child aborts when the parent stops', () => {
  const swansong = new Swansong()
  const { signal } = swansong.child().child()
  assert.equal(signal.aborted, false)
  void swansong.shutDown()
  assert.equal(signal.aborted, true)
})

test('[swansong 5.2] the stop of a child leaves its parent and its siblings running', async () => {
  const swansong = new Swansong()
  const [child, sibling] = [swansong.child(), swansong.child()]
  const [above, beside] = [mock.fn(), mock.fn()]
  swansong.onStop(above)
  sibling.onStop(beside)
  await child.shutDown()
  assert.deepEqual(
    [swansong, child, sibling].map(({ state }) => state),
    ['running', 'complete', 'running'],
  )
  assert.deepEqual([above.mock.callCount(), beside.mock.callCount()], [0, 0])
  assert.equal(swansong.signal.aborted, false)
})

test('[swansong 5.2] a child that was stopped before its parent is not called again', () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const guard = child.guard()
  const callback = mock.fn()
  child.onStop(callback)
  void child.shutDown()
  void swansong.shutDown()
  assert.equal(callback.mock.callCount(), 1)
  assert.equal(swansong.state, 'shutting-down')
  guard.release()
  assert.equal(swansong.state, 'complete')
})

test('[swansong 5.2] a callback of a child may stop the parent, and one of the parent the child', async () => {
  const swansong = new Swansong()
  const [child, sibling] = [swansong.child(), swansong.child()]
  const calls: string[] = []
  swansong.onStop(() => {
    calls.push('root')
    void child.shutDown({ kind: 'error' })
    void sibling.shutDown({ kind: 'error' })
  })
  child.onStop(() => {
    calls.push('child')
    void swansong.shutDown()
    assert.deepEqual([swansong.state, child.state], ['shutting-down', 'shutting-down'])
  })
  child.onStop(() => calls.push('child, again'))
  sibling.onStop(() => calls.push('sibling'))
  await child.shutDown({ kind: 'init' })
  assert.deepEqual(calls, ['child', 'root', 'sibling', 'child, again'])
  assert.deepEqual(
    [swansong, child, sibling].map(({ state, reason }) => `${state} ${reason?.kind}`),
    ['complete call', 'complete init', 'complete parent'],
  )
})

test('[swansong 5.3] a child of a stopped parent is stopped from the beginning', async () => {
  const swansong = new Swansong()
  void swansong.shutDown({ kind: 'init' })
  const child = swansong.child()
  assert.deepEqual([child.state, swansong.state], ['complete', 'complete'])
  assert.deepEqual(child.reason, { kind: 'parent' })
  const callback = mock.fn()
  child.onStop(callback)
  assert.equal(callback.mock.callCount(), 1)
  assert.equal(child.signal.aborted, true)
  assert.equal(await child.interrupt(Promise.resolve(1)), undefined)
  const guard = child.guard()
  assert.deepEqual([child.state, swansong.state], ['shutting-down', 'shutting-down'])
  guard.release()
  await Promise.all([child.completion, child.shutDown(), swansong.completion])
})

test('[swansong 5.3] a child that a callback makes is stopped, and its guard delays the parent', async () => {
  const swansong = new Swansong()
  const guards: Guard[] = []
  swansong.onStop(() => {
    const child = swansong.child().child()
    guards.push(child.guard())
    assert.equal(child.state, 'shutting-down')
  })
  const stopped = watch(swansong.shutDown())
  await settled()
  assert.deepEqual([swansong.state, stopped.isDone], ['shutting-down', false])
  guards[0]!.release()
  await settled()
  assert.deepEqual([swansong.state, stopped.isDone], ['complete', true])
})

test('[swansong 5.3] children that are made around the stop are none of them left running', async () => {
  const swansong = new Swansong()
  const children: Swansong[] = []
  const tasks = Array.from({ length: 50 }, async (_, at) => {
    for (let turns = at % 7; turns > 0; turns--) await undefined
    if (at === 25) void swansong.shutDown()
    const child = swansong.child()
    children.push(child)
    using guard = child.guard()
    await child.stopping
  })
  await Promise.all(tasks)
  assert.equal(children.length, 50)
  assert.ok(children.every(({ state }) => state === 'complete'))
  assert.equal(swansong.state, 'complete')
})

test('[swansong 5.4] a parent waits for the guards of its children', async () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const [own, below, sideways] = [child.guard(), child.child().guard(), swansong.child().guard()]
  const stopped = watch(swansong.shutDown())
  const ofChild = watch(child.completion)
  own.release()
  await settled()
  assert.deepEqual([ofChild.isDone, child.state], [false, 'shutting-down'])
  below.release()
  await settled()
  assert.deepEqual([ofChild.isDone, child.state], [true, 'complete'])
  assert.deepEqual([stopped.isDone, swansong.state], [false, 'shutting-down'])
  sideways.release()
  await settled()
  assert.deepEqual([stopped.isDone, swansong.state], [true, 'complete'])
})

test('[swansong 5.4] a parent that is held by a child is shutting down, not the other way round', async () => {
  const swansong = new Swansong()
  const child = swansong.child()
  const guard = swansong.guard()
  const order: string[] = []
  void swansong.completion.then(() => order.push('parent'))
  void child.completion.then(() => order.push('child'))
  void swansong.shutDown()
  await settled()
  assert.deepEqual(order, ['child'])
  guard.release()
  await settled()
  assert.deepEqual(order, ['child', 'parent'])
})

test('[swansong 5.4] a child without guards delays nobody, whatever it waits for', async () => {
  const swansong = new Swansong()
  const child = swansong.child()
  child.onStop(() => {})
  void child.stopping
  assert.equal(child.signal.aborted, false)
  void child.interrupt(new Promise(() => {}))
  await swansong.shutDown()
  assert.equal(swansong.state, 'complete')
})

test('[swansong 5.4] tasks of several children, some of which stop by themselves, all finish', async () => {
  const swansong = new Swansong()
  let finished = 0
  for (let at = 0; at < 12; at++) {
    const child = swansong.child()
    const guard = child.guard()
    void (async () => {
      for (let turns = 0; turns < at; turns++) await settled()
      if (at % 2 === 0) void child.shutDown()
      finished++
      guard.release()
    })()
  }
  await settled()
  await swansong.shutDown()
  assert.equal(finished, 12)
})

test('[swansong 5.5] guardCount and report() cover the children', () => {
  const swansong = new Swansong({ name: 'app', onLeak: () => {} })
  const [left, right] = [swansong.child('left'), swansong.child('right')]
  const below = left.child('below')
  assert.equal(swansong.guardCount, 0)
  swansong.guard('root')
  left.guard('left')
  below.guard('below')
  below.guard('below')
  right.guard('right')
  assert.deepEqual(
    [swansong, left, below, right].map(({ guardCount }) => guardCount),
    [5, 3, 2, 1],
  )
  assert.deepEqual(
    [swansong, left, below, right].map((part) => part.report().total),
    [5, 3, 2, 1],
  )
  assert.deepEqual(pathsOf(swansong), ['app', 'app/left', 'app/left/below', 'app/right'])
  assert.deepEqual(pathsOf(left), ['app/left', 'app/left/below'])
  assert.deepEqual(pathsOf(below), ['app/left/below'])
})

test('[swansong 5.5] parts without a name do not show in the path', () => {
  const swansong = new Swansong()
  const below = swansong.child().child('jobs').child().child('nightly').child()
  using guard = below.guard()
  for (const part of [swansong, below]) assert.deepEqual(pathsOf(part), ['jobs/nightly'])
})

test('[swansong 5.5] several levels of guards come and go and the counts return to 0', () => {
  const swansong = new Swansong()
  const middle = swansong.child()
  const leaves = [middle.child(), middle.child(), swansong.child()]
  const held: Guard[] = []
  for (let at = 0; at < 500; at++) for (const leaf of leaves) held.push(leaf.guard())
  assert.deepEqual([swansong.guardCount, middle.guardCount], [1500, 1000])
  for (const guard of held) guard.release()
  assert.deepEqual([swansong.guardCount, middle.guardCount], [0, 0])
  assert.deepEqual([swansong.state, middle.state], ['running', 'running'])
})

test('[swansong 5.6] a guard of a child that nobody keeps delays the parent', async () => {
  const swansong = new Swansong()
  const guard = swansong.child('gone').child().guard('work')
  let isCollected = false
  const registry = new FinalizationRegistry(() => (isCollected = true))
  registry.register({}, undefined)
  await collectUntil(() => isCollected) // so a collection has been
  assert.equal(isCollected, true)
  assert.equal(swansong.guardCount, 1)
  assert.deepEqual(pathsOf(swansong), ['gone'])
  const stopped = watch(swansong.shutDown())
  await settled()
  assert.equal(stopped.isDone, false)
  guard.release()
  await settled()
  assert.equal(stopped.isDone, true)
})

test('[swansong 5.6] guarded work of a child that nobody keeps is as that of the parent', async () => {
  const swansong = new Swansong()
  let finish!: () => void
  void swansong.child().guarded(new Promise<void>((resolve) => (finish = resolve)))
  assert.equal(swansong.guardCount, 1)
  const stopped = watch(swansong.shutDown())
  await settled()
  assert.equal(stopped.isDone, false)
  finish()
  await settled()
  assert.equal(stopped.isDone, true)
})

test('[swansong 5.6] a guard that is taken on a child after the parent is complete shows in the parent', () => {
  const swansong = new Swansong()
  const child = swansong.child()
  child.guard().release()
  void swansong.shutDown()
  assert.equal(swansong.state, 'complete')
  const guard = child.guard('late')
  assert.deepEqual([swansong.state, swansong.guardCount], ['shutting-down', 1])
  assert.equal(swansong.report().entries[0]?.label, 'late')
  guard.release()
  assert.equal(swansong.state, 'complete')
})

test('[swansong 5.7] a child that holds nothing is not known to its parent, and can be collected', async () => {
  const swansong = new Swansong()
  let collected = 0
  const registry = new FinalizationRegistry(() => collected++)
  const uses: ((child: Swansong) => void)[] = [
    () => {},
    (child) => child.guard().release(),
    (child) => child.child().guard().release(),
    (child) => child.onStop(() => {})[Symbol.dispose](),
    (child) => void child.report(),
    (child) => void child.shutDown(),
    (child) => {
      assert.equal(child.signal.aborted, false)
      void child.shutDown()
    },
    (child) => {
      child.onStop(() => {})
      void child.shutDown()
    },
    (child) => void child.interrupt(stuck(() => {})),
  ]
  const use = (): void => {
    for (const each of uses) {
      const child = swansong.child()
      each(child)
      registry.register(child, undefined)
    }
  }
  use()
  await collectUntil(() => collected === uses.length)
  assert.equal(collected, uses.length)
})

test('[swansong 5.7] a child that waits for something is kept until it has it', () => {
  const swansong = new Swansong()
  const calls: string[] = []
  const wait = (): void => {
    swansong.child().onStop(() => calls.push('onStop'))
    swansong.child().signal.addEventListener('abort', () => calls.push('signal'))
  }
  wait()
  heapUsed()
  void swansong.shutDown()
  assert.deepEqual(calls, ['onStop', 'signal'])
})

test('[swansong 5.7] a child that its parent does not know stops with it all the same', () => {
  const swansong = new Swansong()
  const child = swansong.child().child()
  assert.equal(child.state, 'running')
  void swansong.shutDown()
  assert.equal(child.state, 'complete')
})

test('[swansong 5.7] 200,000 children come and go and leave the heap flat', async () => {
  const swansong = new Swansong({ sites: false })
  const use = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) {
      const child = swansong.child('request')
      using guard = child.guard()
      const registration = child.onStop(() => {})
      if (at % 32 === 0) await child.interrupt(Promise.resolve())
      registration[Symbol.dispose]()
      if (at % 2 === 0) void child.shutDown()
    }
  }
  await use(10_000)
  const before = heapUsed()
  await use(200_000)
  // A child that stays is 300 bytes at least: together they would be 60 MB.
  assert.ok(heapUsed() - before < 10 * 1024 * 1024)
  assert.equal(swansong.guardCount, 0)
  await swansong.shutDown()
})

function pathsOf(swansong: Swansong): string[] {
  return [...new Set(swansong.report().entries.map(({ path }) => path))].toSorted()
}
