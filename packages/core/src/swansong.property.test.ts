/** Random programs, run by a `Swansong` and by a small model of it: both must tell the same story.
 *
 * `SEED=123 npm test -- swansong.property` repeats the run that failed. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Swansong } from './swansong.ts'
import type { StopReason } from './swansong.ts'
import type { Guard } from './swansong/guard.ts'

const runs = 2000
const stepsPerRun = 24

test('[swansong 1.2] random trees do what the model says', async (t) => {
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', onUnhandled)
  t.after(() => process.off('unhandledRejection', onUnhandled))

  const given = process.env.SEED
  const first = Number(given ?? Math.floor(Math.random() * 2 ** 31))
  for (let seed = first; seed < first + (given === undefined ? runs : 1); seed++) {
    const program = randomProgram(mulberry32(seed))
    const real = new RealWorld()
    const model = new Model()
    try {
      for (const step of [...program, ...ending]) {
        // A turn after each step: everything that was to happen has happened.
        runStep(step, real)
        await turn()
        runStep(step, model)
        assert.deepEqual([...real.log, ...real.outcomes()], [...model.log, ...model.outcomes()])
      }
      assertIsOver(real)
      assert.deepEqual(unhandled, [])
    } catch (error) {
      throw new Error(`With SEED=${seed}, after ${JSON.stringify(program)}`, { cause: error })
    }
  }
})

/** After the ending nothing is left, whatever came before. */
function assertIsOver(real: RealWorld): void {
  for (const node of real.nodes) {
    assert.deepEqual([node.state, node.guardCount, node.report().total], ['complete', 0, 0])
  }
  assert.equal(real.registered, 0)
  assert.ok(real.requests.every((isResolved) => isResolved))
  assert.ok(real.reads.every((result) => result !== 'waits'))
}

// -------------------------------------------------------------------------------- the programs

type Verb =
  | 'child'
  | 'guard'
  | 'clone'
  | 'release'
  | 'using'
  | 'onStop'
  | 'dispose'
  | 'signal'
  | 'stop'
  | 'completion'
  | 'stopping'
  | 'interruptPromise'
  | 'guardPromise'
  | 'interruptStream'
  | 'guardedStream'
  | 'read'
  | 'close'
  | 'look'

/** `at` chooses among what there is when the step is run; `inner` is run within it. */
interface Step {
  readonly verb: Verb | 'settle' | 'answer' | 'stopEverything' | 'letGo'
  readonly at: number
  readonly how: number
  readonly inner: readonly Step[]
  /** Of `settle` and `answer`: a node that is stopped in the same moment. */
  readonly stop?: number | undefined
}

const often: readonly Verb[] = ['child', 'guard', 'release', 'onStop', 'completion']
const seldom: readonly Verb[] = [
  'clone',
  'using',
  'dispose',
  'signal',
  'stop',
  'stopping',
  'interruptPromise',
  'guardPromise',
  'interruptStream',
  'guardedStream',
  'read',
  'close',
]
const verbs = [...often, ...often, ...often, 'look' as const, 'look' as const, ...seldom]

function randomProgram(random: () => number): Step[] {
  const whole = (below: number): number => Math.floor(random() * below)
  const step = (depth: number): Step => {
    const verb = verbs[whole(verbs.length)]!
    const hasInner = verb === 'using' || verb === 'onStop' || verb === 'signal'
    const count = hasInner && depth < 3 ? whole(4) : 0
    const inner = Array.from({ length: count }, () => step(depth + 1))
    return { verb, at: whole(1000), how: whole(1000), inner }
  }
  return Array.from({ length: stepsPerRun }, () => {
    if (random() > 0.2) return step(0)
    const stop = random() < 0.3 ? whole(1000) : undefined
    const verb = random() < 0.5 ? 'settle' : 'answer'
    return { verb, at: whole(1000), how: whole(1000), inner: [], stop }
  })
}

const ending: readonly Step[] = (['stopEverything', 'letGo', 'look'] as const).map((verb) => ({
  verb,
  at: 0,
  how: 0,
  inner: [],
}))

type Answer = 'item' | 'end' | 'error'

/** What a program can do: to a `Swansong`, or to the model. Things are known by their number. */
interface World {
  readonly counts: Readonly<
    Record<'nodes' | 'guards' | 'registrations' | 'promises' | 'streams', number>
  >
  readonly log: string[]
  child(node: number): void
  guard(node: number): number
  clone(guard: number): void
  release(guard: number): void
  onStop(node: number, callback: (why: string) => void): void
  dispose(registration: number): void
  onAbort(node: number, callback: (why: string) => void): void
  stop(node: number, why: string): void
  completion(node: number): void
  stopping(node: number): void
  interruptPromise(node: number): void
  guardPromise(node: number): void
  stream(node: number, isGuarded: boolean): void
  read(stream: number): void
  close(stream: number): void
  /** These two are for the top level alone: their effects come a little later. */
  settle(promise: number, isFine: boolean, stop: (() => void) | undefined): void
  answer(stream: number, answer: Answer, stop: (() => void) | undefined): void
  look(): string
  /** How promises, completions and reads stand. */
  outcomes(): unknown[]
}

function runStep({ verb, at, how, inner, stop }: Step, world: World): void {
  const { counts, log } = world
  const name = `${verb} ${at}.${how}`
  const choose = (kind: keyof World['counts'], use: (index: number) => void): void => {
    if (counts[kind] > 0) use(at % counts[kind])
  }
  const runInner = (why: string): void => {
    log.push(`${name}: ${why}`)
    for (const step of inner) runStep(step, world)
  }
  const stopNow =
    stop === undefined ? undefined : () => world.stop(stop % world.counts.nodes, `with ${name}`)
  const all = (kind: keyof World['counts']): number[] => [...Array(counts[kind]).keys()]

  if (verb === 'clone') choose('guards', (guard) => world.clone(guard))
  else if (verb === 'release') choose('guards', (guard) => world.release(guard))
  else if (verb === 'dispose') choose('registrations', (index) => world.dispose(index))
  else if (verb === 'read') choose('streams', (stream) => world.read(stream))
  else if (verb === 'close') choose('streams', (stream) => world.close(stream))
  else if (verb === 'settle') choose('promises', (index) => world.settle(index, how > 300, stopNow))
  else if (verb === 'answer') {
    const answer = how < 600 ? 'item' : how < 800 ? 'end' : 'error'
    choose('streams', (stream) => world.answer(stream, answer, stopNow))
  } else if (verb === 'look') log.push(world.look())
  else if (verb === 'stopEverything') world.stop(0, 'the end')
  else if (verb === 'letGo') {
    for (const guard of all('guards')) world.release(guard)
    for (const promise of all('promises')) world.settle(promise, true, undefined)
    for (const stream of all('streams')) world.close(stream)
  } else {
    const node = at % counts.nodes
    if (verb === 'child') world.child(node)
    else if (verb === 'guard') world.guard(node)
    else if (verb === 'onStop') world.onStop(node, runInner)
    else if (verb === 'signal') world.onAbort(node, runInner)
    // A tree that is stopped soon is a dull one.
    else if (verb === 'stop' && (node !== 0 || how < 300)) world.stop(node, name)
    else if (verb === 'completion') world.completion(node)
    else if (verb === 'stopping') world.stopping(node)
    else if (verb === 'interruptPromise') world.interruptPromise(node)
    else if (verb === 'guardPromise') world.guardPromise(node)
    else if (verb === 'interruptStream') world.stream(node, false)
    else if (verb === 'guardedStream') world.stream(node, true)
    else if (verb === 'using') {
      const guard = world.guard(node)
      runInner('inside')
      world.release(guard)
    }
  }
}

// ------------------------------------------------------------------------------- the real world

/** Steps by a `Swansong`. */
class RealWorld implements World {
  readonly log: string[] = []
  /** How many registrations of `onStop` are neither called nor disposed of. */
  registered = 0
  readonly requests: boolean[] = []
  readonly reads: string[] = []
  readonly #stops: string[] = []
  #lateReleases = 0
  readonly #promises: { settle: (isFine: boolean) => void; outcome: string }[] = []
  readonly #streams: { items: AsyncIterableIterator<string>; source: ControlledSource }[] = []
  readonly #guards: Guard[] = []
  readonly #registrations: Disposable[] = []
  readonly nodes: Swansong[] = [
    new Swansong({ sites: false, onLateRelease: () => this.#lateReleases++ }),
  ]

  get counts(): World['counts'] {
    return {
      nodes: this.nodes.length,
      guards: this.#guards.length,
      registrations: this.#registrations.length,
      promises: this.#promises.length,
      streams: this.#streams.length,
    }
  }

  child(node: number): void {
    this.nodes.push(this.nodes[node]!.child())
  }

  guard(node: number): number {
    return this.#guards.push(this.nodes[node]!.guard()) - 1
  }

  clone(guard: number): void {
    this.#guards.push(this.#guards[guard]!.clone())
  }

  release(guard: number): void {
    this.#guards[guard]!.release()
  }

  onStop(node: number, callback: (why: string) => void): void {
    let isRegistered = true
    this.registered++
    const forget = (): void => {
      if (isRegistered) this.registered--
      isRegistered = false
    }
    const registration = this.nodes[node]!.onStop((reason) => {
      forget()
      callback(told(reason))
    })
    this.#registrations.push({
      [Symbol.dispose]() {
        forget()
        registration[Symbol.dispose]()
      },
    })
  }

  dispose(registration: number): void {
    this.#registrations[registration]![Symbol.dispose]()
  }

  onAbort(node: number, callback: (why: string) => void): void {
    const { signal } = this.nodes[node]!
    const call = (): void => callback(told(signal.reason.reason))
    if (signal.aborted) call()
    else signal.addEventListener('abort', call)
  }

  stop(node: number, why: string): void {
    this.#watch(this.nodes[node]!.shutDown({ kind: 'call', error: why }))
  }

  completion(node: number): void {
    this.#watch(this.nodes[node]!.completion)
  }

  stopping(node: number): void {
    const index = this.#stops.push('waits') - 1
    void this.nodes[node]!.stopping.then((reason) => (this.#stops[index] = told(reason)))
  }

  interruptPromise(node: number): void {
    this.#promise((work) => this.nodes[node]!.interrupt(work))
  }

  guardPromise(node: number): void {
    this.#promise((work) => this.nodes[node]!.guarded(work))
  }

  stream(node: number, isGuarded: boolean): void {
    const number = this.#streams.length
    const source = new ControlledSource(() => this.log.push(`source ${number} is closed`))
    const items = this.nodes[node]!.interrupt<string>(source, { guard: isGuarded })
    this.#streams.push({ items, source })
  }

  read(stream: number): void {
    const index = this.reads.push('waits') - 1
    this.#streams[stream]!.items.next().then(
      ({ done, value }) => (this.reads[index] = done === true ? 'end' : value),
      () => (this.reads[index] = 'error'),
    )
  }

  close(stream: number): void {
    void this.#streams[stream]!.items.return!()
  }

  settle(promise: number, isFine: boolean, stop: (() => void) | undefined): void {
    this.#promises[promise]!.settle(isFine)
    stop?.()
  }

  answer(stream: number, answer: Answer, stop: (() => void) | undefined): void {
    this.#streams[stream]!.source.answer(answer)
    stop?.()
  }

  look(): string {
    return this.nodes
      .map((node) => {
        const report = node.report()
        return `${node.state} ${node.guardCount} ${report.total} ${told(node.reason)}`
      })
      .join(', ')
  }

  outcomes(): unknown[] {
    const promises = this.#promises.map(({ outcome }) => outcome)
    return [this.requests, this.reads, this.#stops, promises, this.#lateReleases]
  }

  #watch(completion: Promise<void>): void {
    const index = this.requests.push(false) - 1
    void completion.then(() => (this.requests[index] = true))
  }

  #promise(wrap: (work: Promise<string>) => Promise<string | undefined>): void {
    let settle!: (isFine: boolean) => void
    const work = new Promise<string>((resolve, reject) => {
      settle = (isFine) => (isFine ? resolve('value') : reject(new Error('boom')))
    })
    const entry = { settle, outcome: 'waits' }
    this.#promises.push(entry)
    wrap(work).then(
      (value) => (entry.outcome = String(value)),
      () => (entry.outcome = 'error'),
    )
  }
}

/** A source that answers when it is told to. */
class ControlledSource implements AsyncIterableIterator<string> {
  readonly #onClose: () => void
  readonly #pending: ((answer: Answer) => void)[] = []

  constructor(onClose: () => void) {
    this.#onClose = onClose
  }

  next(): Promise<IteratorResult<string, undefined>> {
    return new Promise((resolve, reject) => {
      this.#pending.push((answer) => {
        if (answer === 'error') reject(new Error('boom'))
        else if (answer === 'end') resolve({ done: true, value: undefined })
        else resolve({ done: false, value: answer })
      })
    })
  }

  answer(answer: Answer): void {
    this.#pending.shift()?.(answer)
  }

  return(): Promise<IteratorResult<string, undefined>> {
    this.#onClose()
    return new Promise(() => {}) // as of a generator that is stuck
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

function told(reason: StopReason | undefined): string {
  return reason === undefined ? 'none' : `${reason.kind} ${String(reason.error)}`
}

// ------------------------------------------------------------------------------------ the model

interface ModelNode {
  readonly parent: ModelNode | undefined
  readonly children: ModelNode[]
  /** Those of the children that must be told, in the order in which they came to be so. */
  known: ModelNode[]
  reason: string | undefined
  isCallingBack: boolean
  guards: number
  callbacks: { call: (why: string) => void }[]
  /** Undefined until the signal was read. */
  abortListeners: ((why: string) => void)[] | undefined
  isAborted: boolean
  requests: number[]
  stops: ModelStops | undefined
}

/** Those who asked for `stopping`, and what they were told. */
interface ModelStops {
  readonly asked: number[]
  why: string | undefined
}

interface ModelStream {
  readonly node: ModelNode
  readonly guard: number | undefined
  readonly number: number
  registration: ModelNode['callbacks'][number] | undefined
  isOpen: boolean
  isDone: boolean
  waiting: number[]
}

/** What should happen, worked out anew for the whole tree after each change. */
class Model implements World {
  readonly log: string[] = []
  readonly #nodes: ModelNode[] = [modelNode(undefined)]
  readonly #guards: { node: ModelNode; isReleased: boolean }[] = []
  readonly #registrations: { node: ModelNode; entry: ModelNode['callbacks'][number] }[] = []
  readonly #promises: { settle: (isFine: boolean) => void; outcome: string }[] = []
  readonly #streams: ModelStream[] = []
  readonly #requests: boolean[] = []
  readonly #reads: string[] = []
  readonly #stops: string[] = []
  #lateReleases = 0
  /** Guards that promises and streams hold are not among those that a program can release. */
  readonly #heldInside: { node: ModelNode; isReleased: boolean }[] = []
  /** What comes a little later, when the step is over. */
  #later: (() => void)[] = []

  get counts(): World['counts'] {
    return {
      nodes: this.#nodes.length,
      guards: this.#guards.length,
      registrations: this.#registrations.length,
      promises: this.#promises.length,
      streams: this.#streams.length,
    }
  }

  child(node: number): void {
    const parent = this.#nodes[node]!
    const child = modelNode(parent)
    parent.children.push(child)
    this.#nodes.push(child)
  }

  guard(node: number): number {
    return this.#guards.push(this.#hold(this.#nodes[node]!)) - 1
  }

  clone(guard: number): void {
    this.#guards.push(this.#hold(this.#guards[guard]!.node))
  }

  release(guard: number): void {
    this.#letGo(this.#guards[guard]!)
  }

  onStop(node: number, callback: (why: string) => void): void {
    const entry = this.#register(this.#nodes[node]!, callback)
    this.#registrations.push({ node: this.#nodes[node]!, entry })
  }

  dispose(registration: number): void {
    const { node, entry } = this.#registrations[registration]!
    this.#forget(node, entry)
  }

  onAbort(index: number, callback: (why: string) => void): void {
    const node = this.#nodes[index]!
    const reason = reasonOf(node)
    if (node.abortListeners === undefined && reason !== undefined) node.isAborted = true
    node.abortListeners ??= []
    if (node.isAborted) callback(reason!)
    else node.abortListeners.push(callback)
    this.#recompute()
  }

  stop(index: number, why: string): void {
    const node = this.#nodes[index]!
    if (reasonOf(node) === undefined) {
      const stopped = subtree(node)
      for (const each of stopped) {
        each.reason = `${each === node ? 'call' : 'parent'} ${why}`
        each.isCallingBack = true
      }
      this.#recompute()
      for (const each of stopped) {
        while (each.callbacks.length > 0) each.callbacks.shift()!.call(each.reason!)
        if (each.isAborted) continue
        each.isAborted = each.abortListeners !== undefined
        for (const call of each.abortListeners ?? []) call(each.reason!)
      }
      for (const each of stopped) each.isCallingBack = false
      this.#recompute()
    }
    this.completion(index)
  }

  completion(index: number): void {
    this.#nodes[index]!.requests.push(this.#requests.push(false) - 1)
    this.#recompute()
  }

  stopping(index: number): void {
    const node = this.#nodes[index]!
    const stop = this.#stops.push('waits') - 1
    if (node.stops === undefined) {
      const stops: ModelStops = (node.stops = { asked: [], why: undefined })
      this.#register(node, (why) => {
        stops.why = why
        for (const at of stops.asked) this.#stops[at] = why
      })
    }
    if (node.stops.why === undefined) node.stops.asked.push(stop)
    else this.#stops[stop] = node.stops.why
  }

  interruptPromise(index: number): void {
    const node = this.#nodes[index]!
    const promise = { settle: noSettle, outcome: 'waits' }
    this.#promises.push(promise)
    const entry = this.#register(node, () => (promise.outcome = 'undefined'))
    promise.settle = (isFine) => {
      this.#forget(node, entry)
      if (promise.outcome === 'waits') promise.outcome = isFine ? 'value' : 'error'
    }
  }

  guardPromise(index: number): void {
    const held = this.#hold(this.#nodes[index]!)
    const promise = { settle: noSettle, outcome: 'waits' }
    promise.settle = (isFine) => {
      this.#letGo(held)
      if (promise.outcome === 'waits') promise.outcome = isFine ? 'value' : 'error'
    }
    this.#promises.push(promise)
  }

  stream(index: number, isGuarded: boolean): void {
    const node = this.#nodes[index]!
    const guard = isGuarded ? this.#heldInside.push(this.#hold(node)) - 1 : undefined
    const state = { registration: undefined, isOpen: false, isDone: false, waiting: [] }
    this.#streams.push({ node, guard, number: this.#streams.length, ...state })
  }

  read(index: number): void {
    const stream = this.#streams[index]!
    const read = this.#reads.push('waits') - 1
    if (!stream.isOpen && !stream.isDone) {
      if (reasonOf(stream.node) === undefined) {
        stream.isOpen = true
        stream.registration = this.#register(stream.node, () => this.#cancel(stream))
      } else {
        this.#cancel(stream)
      }
    }
    if (!stream.isDone) stream.waiting.push(read)
    else {
      this.#reads[read] = 'end'
      this.#releaseLater(stream)
    }
  }

  close(index: number): void {
    const stream = this.#streams[index]!
    this.#cancel(stream)
    if (stream.guard !== undefined) this.#letGo(this.#heldInside[stream.guard]!)
  }

  settle(promise: number, isFine: boolean, stop: (() => void) | undefined): void {
    stop?.()
    this.#promises[promise]!.settle(isFine)
  }

  answer(index: number, answer: Answer, stop: (() => void) | undefined): void {
    const stream = this.#streams[index]!
    const read = stream.waiting[0]
    stop?.()
    if (read === undefined || read !== stream.waiting[0]) return
    stream.waiting.shift()
    this.#reads[read] = answer
    if (answer === 'item') return
    this.#end(stream)
    this.#releaseLater(stream)
  }

  look(): string {
    return this.#nodes
      .map((node) => {
        const count = guardsBelow(node)
        return `${stateOf(node)} ${count} ${count} ${reasonOf(node) ?? 'none'}`
      })
      .join(', ')
  }

  outcomes(): unknown[] {
    for (const task of this.#later.splice(0)) task()
    const promises = this.#promises.map(({ outcome }) => outcome)
    return [this.#requests, this.#reads, this.#stops, promises, this.#lateReleases]
  }

  #hold(node: ModelNode): { node: ModelNode; isReleased: boolean } {
    node.guards++
    this.#recompute()
    return { node, isReleased: false }
  }

  #letGo(guard: { node: ModelNode; isReleased: boolean }): void {
    if (guard.isReleased) return
    guard.isReleased = true
    guard.node.guards--
    if (reasonOf(guard.node) !== undefined) this.#lateReleases++
    this.#recompute()
  }

  #register(node: ModelNode, call: (why: string) => void): ModelNode['callbacks'][number] {
    const entry = { call }
    const reason = reasonOf(node)
    if (reason === undefined) node.callbacks.push(entry)
    else call(reason)
    this.#recompute()
    return entry
  }

  #forget(node: ModelNode, entry: ModelNode['callbacks'][number]): void {
    node.callbacks = node.callbacks.filter((other) => other !== entry)
    this.#recompute()
  }

  #cancel(stream: ModelStream): void {
    if (stream.isDone) return
    this.#end(stream)
    this.log.push(`source ${stream.number} is closed`)
  }

  #end(stream: ModelStream): void {
    stream.isDone = true
    if (stream.registration !== undefined) this.#forget(stream.node, stream.registration)
    if (stream.waiting.length > 0) this.#releaseLater(stream)
    for (const read of stream.waiting.splice(0)) this.#reads[read] = 'end'
  }

  #releaseLater({ guard }: ModelStream): void {
    if (guard !== undefined) this.#later.push(() => this.#letGo(this.#heldInside[guard]!))
  }

  #recompute(): void {
    // Children were made after their parents.
    for (const node of this.#nodes.toReversed()) {
      if (stateOf(node) === 'complete')
        for (const request of node.requests.splice(0)) this.#requests[request] = true
      const known = node.children.filter(isKnown)
      node.known = node.known.filter((child) => known.includes(child))
      node.known.push(...known.filter((child) => !node.known.includes(child)))
    }
  }
}

/** Until the promise is wrapped. */
function noSettle(isFine: boolean): void {
  throw new Error(`Not wrapped yet: ${isFine}`)
}

function modelNode(parent: ModelNode | undefined): ModelNode {
  return {
    parent,
    children: [],
    known: [],
    reason: undefined,
    isCallingBack: false,
    guards: 0,
    callbacks: [],
    abortListeners: undefined,
    isAborted: false,
    requests: [],
    stops: undefined,
  }
}

function reasonOf(node: ModelNode): string | undefined {
  const { reason, parent } = node
  return reason ?? (parent && reasonOf(parent)?.replace(/^call/, 'parent'))
}

function guardsBelow(node: ModelNode): number {
  return node.children.reduce((count, child) => count + guardsBelow(child), node.guards)
}

function isBusy(node: ModelNode): boolean {
  return node.guards > 0 || node.isCallingBack || node.children.some(isBusy)
}

function stateOf(node: ModelNode): string {
  if (reasonOf(node) === undefined) return 'running'
  return isBusy(node) ? 'shutting-down' : 'complete'
}

function isKnown(node: ModelNode): boolean {
  return (
    isBusy(node) ||
    node.callbacks.length > 0 ||
    node.requests.length > 0 ||
    (node.abortListeners !== undefined && !node.isAborted) ||
    node.children.some(isKnown)
  )
}

/** What a stop stops, parents first: not those that have been stopped before. */
function subtree(node: ModelNode): ModelNode[] {
  const running = node.known.filter(({ reason }) => reason === undefined)
  return [node, ...running.flatMap(subtree)]
}

// ---------------------------------------------------------------------------------- randomness

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
