/** Random lives of a broadcaster, against a plain list of what was published.
 *
 *     WAKEROBIN_PROPERTY_RUNS=10000 npm test -- replay-property     as CI does; default 500
 *     WAKEROBIN_PROPERTY_SEED=4711 npm test -- replay-property      one run again
 *
 * Clients come, stall, read a part of it, leave and come back with the id that they have really got; events leave the
 * history, rights change, subscribers are disconnected, and apps publish from within the end of a stream. What a client
 * is written is judged as it is written, by `Connection`, which knows the list and what is left of it, and nothing of
 * how the broadcaster goes about it. A failure says the seed, and the fewest steps that were found to lead to it. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Conn, Swansong } from '@wakerobin/core'
import { Chunk, settleConn, StateMap } from '@wakerobin/core/adapter'
import type { BodySink, Incoming } from '@wakerobin/core/adapter'

import { EventStream } from './event-stream.ts'
import { EventParser } from './event-parser.ts'
import type { ReceivedEvent } from './event-parser.ts'
import { Broadcaster, SseEvent } from './index.ts'
import type { BroadcasterOptions, EndReason, StreamEnd, SubscribeOptions } from './index.ts'
import { ticker } from './ticker.ts'

const runs = setting('WAKEROBIN_PROPERTY_RUNS', 500, 1)
const firstSeed = setting('WAKEROBIN_PROPERTY_SEED', Math.floor(Math.random() * 2 ** 32), 0)
const isOne = (process.env.WAKEROBIN_PROPERTY_SEED ?? '') !== ''

test(
  'random clients of a random broadcaster get what the list of its events promises them',
  { timeout: 60_000 + runs * 20 },
  async (t) => {
    // Not t.mock.method: it keeps a stack of each call, which takes 20 µs (Node 20.20).
    const clock: Clock = { now: 0 }
    Object.defineProperty(performance, 'now', { value: () => clock.now, configurable: true })
    // What is thrown where nobody catches it is a failure of the run that is on.
    const onUncaught = (error: unknown): void => void (clock.uncaught ??= { error })
    process.on('uncaughtException', onUncaught)
    t.after(() => {
      delete (performance as Partial<Performance>).now
      process.off('uncaughtException', onUncaught)
    })

    t.diagnostic(`WAKEROBIN_PROPERTY_SEED=${firstSeed}`)
    const told = new Map<string, number>()
    for (let run = 0; run < (isOne ? 1 : runs); run++) {
      const seed = (firstSeed + run) % 2 ** 32
      const plan = randomPlan(mulberry32(seed))
      const failure = await play(plan, clock, told)
      if (failure !== undefined) await explain(seed, plan, failure, clock)
    }
    t.diagnostic(Array.from(told, ([what, count]) => `${what} ${count}`).join(', '))
    // A property that is never put to the test proves nothing.
    for (const what of isOne || runs < 1_000 ? [] : happenings)
      assert(told.has(what), `No run in ${runs} has: ${what}`)
  },
)

/** What the runs have to have among them. */
const happenings = [
  'sent',
  'replayed',
  'coalesced',
  'missed',
  'gap of a number',
  'gap of null',
  'not allowed',
  'partly read',
  'lost room within a catch-up',
  'published more in a turn than is kept',
  'published from within an end',
  'connected from within an end',
  'broken',
  'waits for room to end',
  ...['client', 'done', 'slow', 'revoked', 'shutdown', 'error'].map((reason) => `ended: ${reason}`),
]

/** Throws the failure of a run, with the fewest steps that have it. */
async function explain(seed: number, plan: Plan, failure: Error, clock: Clock): Promise<never> {
  let { steps } = plan
  let last = failure
  for (let size = Math.ceil(steps.length / 2), tries = 0; size > 0 && tries < 2_000;) {
    const before = steps.length
    for (let at = 0; at < steps.length && tries < 2_000; tries++) {
      const fewer = steps.toSpliced(at, size)
      const found = await play({ ...plan, steps: fewer }, clock, new Map())
      if (found === undefined) at += size
      else [steps, last] = [fewer, found]
    }
    if (size > 1) size = Math.floor(size / 2)
    else if (steps.length === before) break
  }
  const { options, clients } = plan
  const shown = [
    `With WAKEROBIN_PROPERTY_SEED=${seed}: ${last.message}`,
    `options ${JSON.stringify(options)}`,
    ...clients.map((traits, at) => `client ${at} ${JSON.stringify(traits)}`),
    ...steps.map((step) => JSON.stringify(step)),
  ]
  throw new Error(shown.join('\n  '), { cause: last })
}

// ------------------------------------------------------------------------------------- the plan

/** A run, as data: so that it can be shown, and made shorter. */
interface Plan {
  readonly options: PlanOptions
  readonly clients: readonly Traits[]
  readonly steps: readonly Step[]
}

interface PlanOptions {
  readonly historyEvents: number
  readonly historyBytes: number
  readonly historyMs?: number
  readonly whenBehind: 'disconnect' | 'drop-oldest' | 'coalesce'
  readonly replay: boolean
}

interface Traits {
  readonly topics?: readonly string[]
  readonly hasAllow: boolean
}

/** Steps of one turn stand before its `turn`. `who` is a client. */
type Step =
  | { readonly do: 'turn' }
  | ({ readonly do: 'publish' } & PublishStep)
  | ({ readonly do: 'connect'; readonly who: number } & ConnectStep)
  | { readonly do: 'leave'; readonly who: number }
  /** From now on the network takes `credit` bytes, and then has no room. */
  | { readonly do: 'stall'; readonly who: number; readonly credit: number }
  /** The client reads so many bytes, and where that is all, there is room for `credit` more. */
  | { readonly do: 'trickle'; readonly who: number; readonly read: number; readonly credit: number }
  | { readonly do: 'drain'; readonly who: number }
  | { readonly do: 'rights'; readonly who: number; readonly rights: readonly string[] | 'failing' }
  | { readonly do: 'disconnect'; readonly chosen: readonly number[]; readonly reason?: EndReason }
  | { readonly do: 'clock'; readonly ms: number }
  | { readonly do: 'stop'; readonly who: number }
  | { readonly do: 'close' }

interface PublishStep {
  /** `comment`: an event without data. */
  readonly type: string
  readonly symbol: string
  readonly topics?: readonly string[]
  readonly pad: number
  readonly ownId: boolean
}

interface ConnectStep {
  /** The id that it says: its own, or another. */
  readonly id: 'honest' | 'none' | 'old' | 'malformed' | 'future'
  readonly pick: number
  /** Whether it is an option of `subscribe`, and not of the request. */
  readonly asOption: boolean
  /** How many events are published between `subscribe()` and the handler, and until the stream starts. */
  readonly between: readonly [number, number]
  /** How long that takes. */
  readonly pause: number
  readonly credit?: number
  /** What the app does when the stream has ended, at once. */
  readonly onEnd?: 'publish' | 'burst' | 'disconnect' | 'reconnect' | 'close'
  /** What it then publishes to, where it does. */
  readonly endTopics: readonly string[]
  /** At how many writes of events from now it cannot be written to any more. */
  readonly breaksAt?: number
  /** How much of what is on its way the client still gets when it is cut, or leaves. */
  readonly inFlight: number
}

const topics = ['a', 'b', 'c']

function randomPlan(random: () => number): Plan {
  const below = (end: number): number => Math.floor(random() * end)
  const chance = (part: number): boolean => random() < part
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!
  const some = (part: number): string[] => topics.filter(() => chance(part))
  const hasLarge = chance(0.03)
  const options: PlanOptions = {
    historyEvents: pick(hasLarge ? [8, 17] : [1, 2, 3, 5, 8, 17, 40]),
    historyBytes: hasLarge ? 400_000 : pick([60, 300, 1_000, 100_000, 100_000]),
    ...(chance(0.3) ? { historyMs: 100 } : {}),
    whenBehind: pick(['disconnect', 'drop-oldest', 'coalesce'] as const),
    replay: chance(0.85),
  }
  const clients = Array.from({ length: 1 + below(4) }, () => ({
    // Often the same: those are written to together.
    ...(chance(0.5) ? { topics: chance(0.5) ? ['a'] : some(0.5) } : {}),
    hasAllow: chance(0.3),
  }))
  const hasTopics = chance(0.6)
  const steps: Step[] = []
  const publish = (): void => {
    steps.push({
      do: 'publish',
      type: pick(['message', 'note', 'price', 'price', 'price', 'state', 'comment']),
      symbol: pick(['x', 'y']),
      ...(hasTopics && chance(0.7)
        ? { topics: [pick(topics), ...(chance(0.2) ? some(0.6) : [])] }
        : {}),
      pad: hasLarge && chance(0.5) ? 5_000 + below(66_000) : chance(0.2) ? below(200) : 0,
      ownId: chance(0.1),
    })
  }
  const one = (): void => {
    const who = below(clients.length)
    const dice = below(100)
    if (hasLarge && chance(0.1)) {
      // More than one write holds, to a client that has no room after the first.
      steps.push({ do: 'stall', who, credit: 0 })
      for (let left = 6; left > 0; left--) publish()
      steps.push({ do: 'turn' }, { do: 'trickle', who, read: 1e6, credit: 1 })
    } else if (dice < 36) publish()
    else if (dice < 40)
      for (let left = 1 + below(2 * Math.min(options.historyEvents, 17) + 3); left > 0; left--)
        publish()
    else if (dice < 58)
      steps.push({
        do: 'connect',
        who,
        id: chance(0.85) ? 'honest' : pick(['none', 'old', 'old', 'malformed', 'future'] as const),
        pick: below(1_000),
        asOption: chance(0.3),
        between: chance(0.1) ? [below(4), below(4)] : [0, 0],
        pause: chance(0.03) ? 120 : 0,
        ...(chance(0.3) ? { credit: chance(0.4) ? 1 : below(80) } : {}),
        ...(chance(0.3)
          ? {
              onEnd: chance(0.05)
                ? 'close'
                : pick(['publish', 'burst', 'disconnect', 'reconnect'] as const),
            }
          : {}),
        endTopics: pick([['a', 'b'], ['c']]),
        ...(chance(0.15) ? { breaksAt: 1 + below(5) } : {}),
        inFlight: pick([0, 0.3, 1]),
      })
    else if (dice < 63) steps.push({ do: 'leave', who })
    else if (dice < 74) steps.push({ do: 'stall', who, credit: chance(0.5) ? 0 : below(150) })
    else if (dice < 80)
      steps.push({
        do: 'trickle',
        who,
        read: chance(0.5) ? 1 + below(150) : 1e6,
        credit: 1 + below(100),
      })
    else if (dice < 88) steps.push({ do: 'drain', who })
    else if (dice < 93)
      steps.push({ do: 'rights', who, rights: chance(0.2) ? 'failing' : some(0.5) })
    else if (dice < 95)
      steps.push({
        do: 'disconnect',
        chosen: clients.flatMap((_, at) => (chance(0.4) ? [at] : [])),
        ...(chance(0.2) ? { reason: 'slow' } : {}),
      })
    else if (dice < 98) steps.push({ do: 'clock', ms: 1 + below(120) })
    else if (chance(0.6)) steps.push({ do: 'stop', who })
    else if (chance(0.1)) steps.push({ do: 'close' })
    if (chance(0.6)) steps.push({ do: 'turn' })
  }
  for (let left = 20 + below(41); left > 0; left--) one()
  // The end: those who read on come first, or the broadcaster is closed before.
  steps.push({ do: 'turn' })
  const ending: Step[] = clients.map((_, who) => ({ do: chance(0.7) ? 'drain' : 'leave', who }))
  if (chance(0.6)) ending.splice(below(ending.length + 1), 0, { do: 'close' })
  steps.push(...ending)
  return { options, clients, steps }
}

// --------------------------------------------------------------------------------------- the run

interface Clock {
  now: number
  uncaught?: { error: unknown } | undefined
}

/** @returns Why the run has failed, where it has. */
async function play(
  plan: Plan,
  clock: Clock,
  told: Map<string, number>,
): Promise<Error | undefined> {
  const world = new World(plan, clock, told)
  try {
    await world.begin()
    for (const step of plan.steps) {
      if (step.do === 'turn') await world.turn()
      else world.step(step)
      world.check()
    }
    await world.finish()
    return undefined
  } catch (error) {
    await world.abandon()
    return world.failure ?? (error instanceof Error ? error : new Error(String(error)))
  }
}

/** An event of the list. */
interface Listed {
  /** Its place in the list. */
  readonly at: number
  readonly type: string
  readonly topics: readonly string[] | undefined
  readonly ownId: boolean
  readonly text: string
  readonly id: string
  /** Its id on the wire; undefined for none. */
  readonly wireId: string | undefined
  readonly key: string | undefined
  readonly bytes: number
  readonly time: number
  /** The step within which an end published it; undefined where a step did itself. */
  readonly within: number | undefined
}

function keyOf(type: string, symbol: string, topics: readonly string[] = []): string | undefined {
  if (type !== 'price' && type !== 'state') return undefined
  // Whoever gets the one gets the other: their topics are the same.
  return [type, type === 'price' ? symbol : '', ...new Set(topics)].sort().join()
}

/** A broadcaster, its clients, and all that was ever published. */
class World {
  readonly options: PlanOptions
  readonly broadcaster: Broadcaster
  readonly clients: readonly Client[]
  readonly list: Listed[] = []
  /** The place of the oldest event that is kept. */
  start = 0
  bytes = 0
  epoch = ''
  isClosed = false
  /** Of all times. */
  readonly connections: Connection[] = []
  failure: Error | undefined
  /** The end of the list when the turn began. */
  turnStart = 0
  /** How many ends the app is within. */
  depth = 0
  /** How many steps, and ends of turns, there have been. */
  steps = 0
  readonly #clock: Clock
  readonly #told: Map<string, number>
  readonly #newestOfKey = new Map<string, number>()
  readonly #promises: Promise<string>[] = []
  /** Whether something was published that has not yet reached anybody. */
  #isStirred = false

  constructor({ options, clients }: Plan, clock: Clock, told: Map<string, number>) {
    this.options = options
    this.#clock = clock
    this.#told = told
    this.#clock.now = 0
    this.#clock.uncaught = undefined
    this.clients = clients.map((traits) => new Client(this, traits))
    const coalesce: BroadcasterOptions['coalesce'] = {
      price: (data) => data.split(' ')[1]!,
      state: true,
    }
    this.broadcaster = new Broadcaster({
      ...options,
      ...(options.whenBehind === 'coalesce' ? { coalesce } : {}),
    })
  }

  async begin(): Promise<void> {
    const first = this.broadcaster.publish('message', '0 x')
    this.#promises.push(first)
    const id = await first
    this.epoch = id.slice(0, id.lastIndexOf('-'))
    this.#list({ type: 'message', symbol: 'x', pad: 0, ownId: false })
    this.turnStart = 1
  }

  /** Counts what has happened, for the test of the test. */
  note(what: string): void {
    this.#told.set(what, (this.#told.get(what) ?? 0) + 1)
  }

  fail(what: string): never {
    this.failure ??= new Error(what)
    throw this.failure
  }

  /** What fails within a call of the broadcaster's may be caught there. */
  check(): void {
    if (this.#clock.uncaught !== undefined)
      this.fail(`thrown, and caught by nobody: ${String(this.#clock.uncaught.error)}`)
    if (this.failure !== undefined) throw this.failure
  }

  step(step: Exclude<Step, { do: 'turn' }>): void {
    this.steps++
    switch (step.do) {
      case 'publish':
        return this.publish(step)
      case 'connect':
        return this.clients[step.who]!.connect(step)
      case 'leave':
        return this.clients[step.who]!.connection?.leave()
      case 'stall':
        return this.clients[step.who]!.connection?.stall(step.credit)
      case 'trickle':
        return this.clients[step.who]!.connection?.read(step.read, step.credit)
      case 'drain':
        return this.clients[step.who]!.connection?.read(Infinity, Infinity)
      case 'rights':
        return this.clients[step.who]!.setRights(step.rights)
      case 'disconnect':
        return this.disconnect(step.chosen, step.reason)
      case 'clock':
        return this.wait(step.ms)
      case 'stop':
        return this.clients[step.who]!.connection?.stop()
      case 'close':
        return this.close()
    }
  }

  publish(step: PublishStep): void {
    const { broadcaster } = this
    if (this.isClosed) {
      assert.throws(() => broadcaster.publish('late'), TypeError)
      return
    }
    const { at, type, topics, ownId, text, id } = this.#list(step)
    let promise: Promise<string>
    if (type === 'comment')
      promise = broadcaster.publish(ownId ? { comment: text, id } : SseEvent.comment(text))
    else if (topics !== undefined || text.length % 2 === 1)
      promise = broadcaster.publish(type, text, {
        ...(topics === undefined ? {} : { topic: topics }),
        ...(ownId ? { id } : {}),
      })
    else
      promise = broadcaster.publish({
        data: text,
        ...(type === 'message' ? {} : { type }),
        ...(ownId ? { id } : {}),
      })
    this.#promises[at] = promise
    this.#isStirred = true
    this.forget()
    if (this.start > this.turnStart) this.note('published more in a turn than is kept')
  }

  #list(step: PublishStep): Listed {
    const { list, options } = this
    const { type, symbol, pad, ownId } = step
    const at = list.length
    const text = `${at} ${symbol}${pad === 0 ? '' : ` ${'.'.repeat(pad)}`}`
    const id = ownId ? `own:${at}` : `${this.epoch}-${at + 1}`
    const hasData = type !== 'comment'
    const wireId = ownId || (hasData && options.replay) ? id : undefined
    let bytes = hasData ? `data: \n\n`.length : ': \n'.length
    bytes += text.length
    if (hasData && type !== 'message') bytes += `event: ${type}\n`.length
    if (wireId !== undefined) bytes += `id: ${wireId}\n`.length + (hasData ? 0 : 1)
    // Topics can be given only with a type and data.
    const topics = hasData ? step.topics : undefined
    const key = options.whenBehind === 'coalesce' ? keyOf(type, symbol, topics) : undefined
    const time = this.#clock.now
    const within = this.depth > 0 ? this.steps : undefined
    const listed: Listed = { type, ownId, topics, at, text, id, wireId, key, bytes, time, within }
    list.push(listed)
    this.bytes += bytes
    if (key !== undefined) this.#newestOfKey.set(key, at)
    return listed
  }

  /** Drops what is more, or older, than is kept: the clock is looked at when something is published, when a stream opens,
   * when who is behind has room, and for `stats()`.
   * @param isAhead Whether the broadcaster is about to do so, and has not done it. */
  forget(isAhead = false): void {
    while (this.isOver) {
      const oldest = this.list[this.start++]!
      this.bytes -= oldest.bytes
      for (const connection of this.connections) connection.loses(oldest, isAhead)
    }
    if (isAhead) return
    for (const connection of this.connections) {
      connection.checkCut()
      connection.checkLost()
    }
  }

  /** Whether the oldest event has to go. */
  get isOver(): boolean {
    const { historyEvents, historyBytes, historyMs = Infinity } = this.options
    const count = this.list.length - this.start
    const oldest = this.list[this.start]
    if (oldest === undefined) return false
    return (
      count > historyEvents ||
      (this.bytes > historyBytes && count > 1) ||
      this.#clock.now - oldest.time > historyMs
    )
  }

  isReplaced({ key, at }: Listed): boolean {
    return key !== undefined && this.#newestOfKey.get(key)! > at
  }

  /** Whether an event that has gone may have gone before it was replaced: by an end that came of that. */
  isReplacedLate({ key, at }: Listed): boolean {
    return this.list.find((other) => other.key === key && other.at > at)!.within === this.steps
  }

  disconnect(chosen: readonly number[], reason: EndReason | undefined): void {
    const conns = new Set<Conn | undefined>()
    for (const who of chosen) {
      const { connection } = this.clients[who] ?? {}
      if (connection?.state !== 'open' || connection.isRevoked) continue
      connection.revoke(reason ?? 'revoked')
      conns.add(connection.conn)
    }
    const count = this.broadcaster.disconnect(({ conn }) => conns.has(conn), reason)
    if (count !== conns.size) this.fail(`disconnect() says ${count}, of ${conns.size}`)
    for (const { connection } of this.clients)
      if (connection !== undefined && conns.has(connection.conn) && connection.state === 'open')
        this.fail('who is disconnected goes on')
  }

  wait(ms: number): void {
    this.#clock.now += ms
  }

  close(): void {
    this.isClosed = true
    const others = this.connections.filter(({ isEnding }) => !isEnding)
    for (const connection of others) connection.isEnding = true
    this.broadcaster.close()
    // Who is disconnected ends when all of those have let go.
    for (const connection of this.connections) if (!connection.isRevoked) connection.settle()
    for (const connection of others) if (!connection.isRevoked) connection.checkEnd()
  }

  /** Lets the turn be over: what was published in it has reached whoever has room. */
  async turn(): Promise<void> {
    this.steps++
    // As often as something is published in what follows from it. A promise is dear under node:test, which follows each.
    for (; this.#isStirred; await undefined) this.#isStirred = false
    this.check()
    for (const connection of this.connections) connection.turnOver()
    this.turnStart = this.list.length
    this.#checkStats()
  }

  #checkStats(): void {
    this.forget(true)
    const stats = this.broadcaster.stats()
    this.forget()
    this.check()
    if (this.#isStirred) return // by an end that came of it
    const { list, connections } = this
    const open = connections.filter(({ state }) => state === 'open')
    const expected = {
      subscribers: open.length,
      historyEvents: list.length - this.start,
      historyBytes: this.bytes,
      published: list.length,
      opened: connections.length,
      sent: 0,
      dropped: 0,
      replayed: 0,
      gaps: 0,
    }
    const ended: Partial<Record<EndReason, number>> = {}
    for (const { state, reason, sent, dropped, replayed, gaps } of connections) {
      expected.sent += sent
      expected.dropped += dropped
      expected.replayed += replayed
      expected.gaps += gaps
      if (state !== 'open') ended[reason!] = (ended[reason!] ?? 0) + 1
    }
    for (const name of Object.keys(expected) as (keyof typeof expected)[])
      if (stats[name] !== expected[name])
        this.fail(`stats().${name} is ${stats[name]}, not ${expected[name]}`)
    for (const reason of Object.keys(stats.ended) as EndReason[])
      if (stats.ended[reason] !== (ended[reason] ?? 0))
        this.fail(`stats().ended.${reason} is ${stats.ended[reason]}, not ${ended[reason]}`)
    const subscribers = new Map(this.broadcaster.subscribers().map((one) => [one.conn, one]))
    for (const connection of open) {
      const { conn, sent, dropped, client } = connection
      const found = subscribers.get(conn)
      if (found === undefined) this.fail('who is open is no subscriber')
      const [least, most] = connection.behind()
      if (found.sent !== sent) this.fail(`a subscriber has sent ${found.sent}, not ${sent}`)
      if (found.dropped !== dropped)
        this.fail(`a subscriber has dropped ${found.dropped}, not ${dropped}`)
      if (found.behind < least || found.behind > most)
        this.fail(`a subscriber is behind by ${found.behind}, not by ${least} to ${most}`)
      if (String(found.topics) !== String(client.traits.topics))
        this.fail(`a subscriber has the topics ${found.topics}`)
    }
  }

  /** Everybody goes: nothing is left. */
  async finish(): Promise<void> {
    await this.turn()
    this.depth = Infinity // nobody comes back from within the last end
    for (const { connection } of this.clients) {
      connection?.leave()
      this.check()
    }
    await this.turn()
    const ids = await Promise.all(this.#promises)
    const wrong = ids.findIndex((id, at) => id !== this.list[at]!.id)
    if (wrong !== -1)
      this.fail(`publish() resolves to ${ids[wrong]}, not to ${this.list[wrong]!.id}`)
    for (const connection of this.connections) {
      if (connection.state === 'open') this.fail('a stream is open in the end')
      if (!connection.isTold) this.fail('onEnd was not called')
    }
    const { subscribers, behind } = this.broadcaster.stats()
    assert.deepEqual([subscribers, behind, ticker.size], [0, 0, 0])
  }

  /** Leaves nothing to later runs. */
  async abandon(): Promise<void> {
    this.depth = Infinity
    for (const connection of this.connections) connection.abandon()
    for (let count = 0; count < 5; count++) await undefined
  }

  get mayRights(): boolean {
    // What a burst has pushed out in this turn was read by the rights of that moment.
    return this.start <= this.turnStart
  }
}

// ------------------------------------------------------------------------------------ the clients

/** A client, over all of its connections: what its user sees. */
class Client {
  readonly traits: Traits
  connection: Connection | undefined
  rights: ReadonlySet<string> = new Set(['a', 'b'])
  areRightsFailing = false
  parser = new EventParser()
  readonly world: World
  /** The last event it has got, in the list; undefined where nothing can be said of what was before. */
  #last: number | undefined
  /** What it was told that it has missed since. */
  #missed: number | null = null
  readonly #comments = new Set<number>()

  constructor(world: World, traits: Traits) {
    this.world = world
    this.traits = traits
  }

  get isFiltered(): boolean {
    return this.traits.topics !== undefined || this.traits.hasAllow
  }

  setRights(rights: readonly string[] | 'failing'): void {
    if (!this.world.mayRights) return
    this.areRightsFailing = rights === 'failing'
    if (rights !== 'failing') this.rights = new Set(rights)
    this.connection?.rightsChanged()
  }

  allow(topic: string): boolean {
    if (this.areRightsFailing) throw rightsError
    if (!this.rights.has(topic)) this.world.note('not allowed')
    return this.rights.has(topic)
  }

  connect(step: ConnectStep): void {
    if (this.connection !== undefined) {
      if (step.id === 'honest' && step.pick % 2 === 0) return
      this.connection.leave()
      if (this.connection !== undefined) return // it is back already
    }
    const { world, traits } = this
    const id = this.#idFor(step)
    // What it comes back to is another place than that where it was.
    if (!world.options.replay || id === '' || ['old', 'future'].includes(step.id))
      this.#last = undefined
    this.parser = new EventParser(id)
    const options: { -readonly [K in keyof SubscribeOptions]: SubscribeOptions[K] } = {}
    if (traits.topics !== undefined) options.topics = traits.topics
    if (traits.hasAllow) options.allow = (topic) => this.allow(topic)
    if (step.asOption) options.lastEventId = id
    const subscription = world.broadcaster.subscribe(options)
    const from = world.list.length
    const more: PublishStep = { type: 'note', symbol: 'x', pad: 0, ownId: false }
    for (let left = step.between[0]; left > 0 && !world.isClosed; left--) world.publish(more)
    if (this.connection !== undefined) return // from within an end
    const header = step.asOption ? 'not-this-one' : id
    const connection = new Connection(this, step, header)
    this.connection = connection
    connection.open(subscription, from, id)
    for (let left = step.between[1]; left > 0 && !world.isClosed; left--) world.publish(more)
    world.wait(step.pause)
    connection.begin()
  }

  #idFor({ id, pick }: ConnectStep): string {
    const { list, epoch } = this.world
    if (id === 'none') return ''
    if (id === 'old') return pick % 3 === 0 ? `${epoch}-0` : list[pick % list.length]!.id
    if (id === 'future') return `${epoch}-${list.length + 1 + (pick % 5)}`
    if (id === 'honest') return this.parser.lastEventId
    const wrong = ['x', '-', '0', epoch, `${epoch}-`, `${epoch}-01`, `${epoch}--1`, `${epoch}-1e0`]
    wrong.push(`${epoch}-0x1`, `${epoch}-1.0`, `${epoch}-${'9'.repeat(20)}`, 'own:', `z${epoch}-1`)
    return wrong[pick % wrong.length]!
  }

  /** Reads bytes that have really come. */
  receive(bytes: Uint8Array): void {
    const { parser, world } = this
    const [events, comments] = [parser.events.length, parser.comments.length]
    parser.feed(bytes)
    for (const comment of parser.comments.slice(comments))
      if (comment !== '') this.#comments.add(Number.parseInt(comment, 10))
    for (const event of parser.events.slice(events)) {
      if (event.type === 'gap') {
        const { missed } = event.json<{ missed: number | null }>()
        this.#missed = missed === null || this.#missed === null ? null : this.#missed + missed
      } else {
        this.#sees(Number.parseInt(event.data, 10), world)
      }
    }
  }

  #sees(at: number, world: World): void {
    const last = this.#last
    if (last !== undefined) {
      if (at <= last) world.fail(`a client sees ${at} after ${last}`)
      const isCounted = !this.isFiltered && world.options.whenBehind !== 'coalesce'
      if (isCounted && this.#missed !== null) {
        const between = world.list.slice(last + 1, at)
        const isComment = ({ at }: Listed): boolean => this.#comments.has(at)
        const most = between.length
        const least = most - between.filter(isComment).length
        if (this.#missed < least || this.#missed > most)
          world.fail(`a client sees ${at} after ${last}, and was told of ${this.#missed} between`)
      }
    }
    this.#last = at
    this.#missed = 0
  }
}

const rightsError = new Error('no rights')
const brokenError = new Error('broken')

/** One stream to a client. As its sink it judges what is written, at the moment in which it is. */
class Connection implements BodySink {
  readonly client: Client
  readonly world: World
  readonly conn: Conn
  /** `ended`: whole, as far as the server can tell. */
  state: 'new' | 'open' | 'ended' | 'cut' | 'failed' | 'left' = 'new'
  /** Why it ends. */
  reason: EndReason | undefined
  sent = 0
  dropped = 0
  replayed = 0
  gaps = 0
  /** Whether it is to end when all is read. */
  isEnding = false
  /** Whether `onEnd` was called. */
  isTold = false
  readonly #step: ConnectStep
  #stream!: EventStream
  readonly #written: EventParser
  /** What the network has, and the client has not. */
  readonly #queue: Uint8Array[] = []
  /** How much more the network takes. */
  #credit = Infinity
  #hasRoom = true
  /** The place of the first event that it has not read. */
  #next = 0
  #missed: number | null = 0
  /** How many more it may have to be told of: they were replaced in the moment in which they went. */
  #orMore = 0
  /** Whether newer events may take the place of older ones: not while it keeps up, always when it is behind since an
   * earlier turn, and either way in the turn in which it falls behind. */
  #isBehind: boolean | 'maybe' = false
  #revokedAs: EndReason | undefined
  #isStarting = true
  /** The place where it stands at the beginning, where it is to be told so. */
  #opening: number | undefined
  /** The end of the list when it started. */
  #endAtStart = 0
  #isToBeCut = false
  /** Whether an event that it had not read has gone. */
  #hasLost = false
  /** How many writes had events, but for the first. */
  #writes = 0

  constructor(client: Client, step: ConnectStep, lastEventId: string) {
    this.client = client
    this.world = client.world
    this.#step = step
    this.conn = new Conn(incoming(lastEventId))
    this.#written = new EventParser(client.parser.lastEventId)
    if (step.credit !== undefined) this.#credit = step.credit
  }

  // -------------------------------------------------------------------------------- its beginning

  /** @param from The end of the list when it was subscribed. @param id What the client says. */
  open(subscription: ReturnType<Broadcaster['subscribe']>, from: number, id: string): void {
    const { world, conn } = this
    conn.withSseStream(subscription, { onEnd: (_conn, end) => this.#onEnd(end) })
    const { responseBody } = conn
    assert(responseBody instanceof EventStream)
    this.#stream = responseBody
    world.forget()
    const place = id === '' || !world.options.replay ? from : this.#placeAfter(id)
    this.#missed = place === undefined ? null : 0
    this.#next = place ?? from
    if (world.options.replay && id === '') this.#opening = from
  }

  /** Where a client of an id goes on; undefined where nobody knows. */
  #placeAfter(id: string): number | undefined {
    const { list, start, epoch } = this.world
    const own = list.findLast(({ ownId, id: its }) => ownId && its === id)
    if (own !== undefined) return own.at >= start - 1 ? own.at + 1 : undefined
    const count = Number(id.slice(epoch.length + 1))
    return id === `${epoch}-${count}` && count >= 0 && count <= list.length ? count : undefined
  }

  begin(): void {
    const { world } = this
    world.forget(true)
    this.#stream.start(this)
    this.#isStarting = false
    world.forget()
    world.check()
    if (this.state === 'new') world.fail('a stream does not begin')
    if (this.#opening !== undefined && this.state !== 'failed')
      world.fail('a client is not told where it stands')
    this.settle()
  }

  /** With its first write it is a subscriber. */
  #opens(): void {
    const { world, client } = this
    const gone = world.start - this.#next
    if (gone > 0) {
      this.#next = world.start
      if (client.isFiltered || world.options.whenBehind === 'coalesce') this.#missed = null
      else if (this.#missed !== null) this.#missed += gone
      this.#opening = undefined
    }
    this.#endAtStart = world.list.length
    this.#isBehind = this.#next < this.#endAtStart // of what is replayed, the newest alone
    this.state = 'open'
    this.isEnding = world.isClosed
    world.connections.push(this)
  }

  // ---------------------------------------------------------------------------------- as the sink

  write(chunk: Chunk | Uint8Array): boolean {
    const bytes = chunk instanceof Chunk ? chunk.bytes : chunk
    const { world } = this
    if (this.state === 'new') this.#opens()
    if (this.state !== 'open') world.fail(`written to a stream that was ${this.state}`)
    // But for the last words of a stop.
    if (this.#revokedAs !== undefined && this.reason !== 'shutdown')
      world.fail('written to a client that is disconnected')
    const hasEvents = this.#judge(bytes)
    // What breaks at the beginning is for the server to see to.
    if (hasEvents && !this.#isStarting && ++this.#writes === this.#step.breaksAt) throw brokenError
    if (this.#credit === Infinity) {
      this.client.receive(bytes)
      return true
    }
    this.#queue.push(bytes)
    this.#credit -= bytes.length
    if (this.#credit > 0) return true
    this.#hasRoom = false
    // What follows in the list was read with it, where it is short enough, and was not for the client then.
    if (hasEvents && bytes.length < 64 * 1024)
      while (this.#next < world.list.length && !this.#isFor(world.list[this.#next]!)) this.#next++
    if (this.#isBehind === false || this.#unread().length === 0) this.#isBehind = 'maybe'
    return false
  }

  end(): void {
    const { world } = this
    if (this.state !== 'open') world.fail(`ended a stream that was ${this.state}`)
    if (
      this.#revokedAs === undefined &&
      (!this.isEnding || this.#unread().length > 0 || this.#missed !== 0)
    )
      world.fail(
        `ended a stream that has not got ${this.#unread().length} events, and a gap of ${this.#missed}`,
      )
    this.state = 'ended'
    this.reason ??= this.#revokedAs ?? 'done'
    if (this.#revokedAs === undefined) this.dropped += this.#unread().length
    if (this.#queue.length === 0) this.#over(true)
  }

  cut(): void {
    const { world } = this
    if (this.state !== 'open') world.fail(`cut a stream that was ${this.state}`)
    this.state = 'cut'
    this.reason ??= 'slow'
    // Whether that was right is said by what is forgotten: `checkCut`.
    this.dropped += this.#unread().length
    this.#over(false)
  }

  abort(error: unknown): void {
    const { world } = this
    if (world.failure !== undefined) return // that is what comes back
    if (error === brokenError) {
      if (this.#writes !== this.#step.breaksAt) world.fail('a stream fails that was not broken')
      world.note('broken')
      this.state = 'failed'
      this.reason ??= 'error'
      this.dropped += this.#unread().length
      this.#over(false)
      return
    }
    if (error !== rightsError) world.fail(`a stream fails: ${String(error)}`)
    if (!this.#asks().some(Boolean)) world.fail('a stream fails for rights that nobody asks for')
    this.state = 'failed'
    this.reason ??= 'error'
    this.dropped = this.#stream.dropped // who it was for, nobody can say
    this.#over(false)
  }

  /** Looks at what was written, event by event.
   * @returns Whether there were events of the list. */
  #judge(bytes: Uint8Array): boolean {
    const parser = this.#written
    const { world } = this
    const [events, comments, id] = [
      parser.events.length,
      parser.comments.length,
      parser.lastEventId,
    ]
    parser.feed(bytes)
    const found: (ReceivedEvent | { comment: string; at: number })[] = []
    for (const event of parser.events.slice(events)) found.push(event)
    for (const comment of parser.comments.slice(comments)) {
      if (comment === '') continue
      const at = Number.parseInt(comment, 10)
      const before = found.findIndex((one) => placeOf(one) > at)
      found.splice(before === -1 ? found.length : before, 0, { comment, at })
    }
    if (found.length === 0 && parser.lastEventId !== id) this.#judgeOpening(parser.lastEventId)
    if (found.length > 0 && !this.#hasRoom) world.fail('written to a client that has no room')
    for (const one of found) {
      if ('type' in one && one.type === 'gap') this.#judgeGap(one, id)
      else this.#judgeEvent(one)
    }
    return found.some((one) => placeOf(one) >= 0)
  }

  #judgeOpening(id: string): void {
    const { world } = this
    if (this.#opening === undefined) return this.#judgeStanding(id)
    if (!this.#isStarting) world.fail(`a client is told only now that it stands at ${id}`)
    if (this.#placeAfter(id) !== this.#opening)
      world.fail(`a client is told that it stands at ${id}, but does at ${this.#opening}`)
    this.#opening = undefined
  }

  /** What a client of topics is told when it has heard nothing for some time, or ends. */
  #judgeStanding(id: string): void {
    const world: World = this.world
    const position = this.#placeAfter(id)
    if (position === undefined) world.fail(`a client is told the id ${id}, which nobody has`)
    if (position < this.#next) world.fail(`a client is told ${id}, but has had more`)
    if (this.#for(this.#next, position).length > 0)
      world.fail(`a client is told ${id}, and has not read all that is for it before that`)
    world.note('standing')
    this.#next = position
  }

  #judgeGap({ data, id }: ReceivedEvent, before: string): void {
    const world: World = this.world
    const [least, more] = [this.#missed, this.#orMore]
    if (least === 0 && more === 0) world.fail('told of a gap where there is none')
    const { missed } = JSON.parse(data) as { missed: number | null }
    const isRight =
      least === null || missed === null
        ? missed === least
        : missed >= Math.max(least, 1) && missed <= least + more
    if (!isRight) world.fail(`told ${data}, but it is ${least}, or up to ${more} more`)
    world.note(missed === null ? 'gap of null' : 'gap of a number')
    this.gaps++
    this.#missed = this.#orMore = 0
    if (!world.options.replay) {
      if (id !== before) world.fail(`a gap has the id ${id}`)
      return
    }
    // Who comes back with it gets what it has not read, and nothing else.
    const place = this.#placeAfter(id)
    if (place === undefined || place < world.start)
      world.fail(`the id of a gap is ${id}, which nobody knows`)
    const [from, to] = [Math.min(place, this.#next), Math.max(place, this.#next)]
    if (this.#for(from, to).length > 0)
      world.fail(`the id of a gap is ${id}, but the client stands at ${this.#next}`)
  }

  #judgeEvent(found: ReceivedEvent | { comment: string; at: number }): void {
    const world: World = this.world
    const at = placeOf(found)
    const event = world.list[at]
    if (event === undefined) world.fail(`sent what was never published: ${JSON.stringify(found)}`)
    if (this.#missed !== 0) world.fail(`event ${at} comes before the gap of ${this.#missed}`)
    if (at < this.#next) world.fail(`event ${at} is sent again, or late: ${this.#next} is next`)
    if ('type' in found) {
      if (event.text !== found.data || event.type !== found.type)
        world.fail(`event ${at} is sent as ${JSON.stringify(found)}`)
      if (event.wireId !== undefined && event.wireId !== found.id)
        world.fail(`event ${at} has the id ${found.id}, not ${event.id}`)
    } else if (event.text !== found.comment) {
      world.fail(`event ${at} is sent as ${JSON.stringify(found)}`)
    }
    this.#skipTo(at)
    if (!this.#isFor(event)) world.fail(`event ${at} is sent to whom it is not for`)
    if (this.#isBehind === true && world.isReplaced(event))
      world.fail(`event ${at} is sent to who is behind, though a newer one takes its place`)
    this.#next = at + 1
    this.sent++
    world.note('sent')
    if (at < this.#endAtStart) {
      this.replayed++
      world.note('replayed')
    }
  }

  /** What it has gone past is not for it, or has a newer one in its place. */
  #skipTo(end: number): void {
    const { world } = this
    for (; this.#next < end; this.#next++) {
      const event = world.list[this.#next]!
      if (!this.#isFor(event)) continue
      if (this.#isBehind === false || !world.isReplaced(event))
        world.fail(`event ${event.at} is left out`)
      if (!this.#hasNewer(event))
        world.fail(`event ${event.at} is left out for one that is not for the client`)
      this.dropped++
      world.note('coalesced')
    }
  }

  /** Whether a newer event of its key is among what the client has got, or is to get. */
  #hasNewer({ key, at }: Listed): boolean {
    const { list } = this.world
    return list.some((other) => other.at > at && other.key === key && this.#isFor(other))
  }

  // --------------------------------------------------------------------------------- what is due

  #isFor({ topics: its }: Listed): boolean {
    if (its === undefined) return true
    const { topics: ours, hasAllow } = this.client.traits
    return its.some(
      (topic) =>
        (ours === undefined || ours.includes(topic)) &&
        (!hasAllow || (!this.client.areRightsFailing && this.client.rights.has(topic))),
    )
  }

  /** Those of its unread events for which failing rights are asked. */
  #asks(): boolean[] {
    const { traits, areRightsFailing } = this.client
    if (!traits.hasAllow || !areRightsFailing) return []
    return this.world.list
      .slice(this.#next)
      .map(
        ({ topics: its }) =>
          its?.some((topic) => traits.topics?.includes(topic) !== false) === true,
      )
  }

  #for(from: number, to: number): Listed[] {
    return this.world.list.slice(from, to).filter((event) => this.#isFor(event))
  }

  #unread(): Listed[] {
    return this.#for(this.#next, this.world.list.length)
  }

  /** An event leaves the history, or is about to. */
  loses(event: Listed, isAhead: boolean): void {
    const { world } = this
    // Of one that was just cut it is yet to be seen why.
    const isOpen = this.state === 'open' || (this.state === 'cut' && !this.#isToBeCut)
    if (this.#revokedAs !== undefined) return
    if (this.#next > event.at || !isOpen) return
    if (isAhead && this.#hasRoom) return // it is to read that first
    if (this.state === 'open' && this.#asks()[0] === true) {
      if (!isAhead) world.fail('a stream goes on though its allow throws')
      return
    }
    this.#next = event.at + 1
    this.#hasLost = true
    if (!this.#isFor(event)) return
    if (this.#hasRoom) world.fail(`event ${event.at} is lost to a client that keeps up`)
    if (world.options.whenBehind === 'disconnect') {
      if (this.state === 'open') this.dropped++
      this.#isToBeCut = true
      return
    }
    this.dropped++
    world.note('missed')
    if (this.#missed === null) return
    if (!world.isReplaced(event)) this.#missed++
    else if (world.isReplacedLate(event)) this.#orMore++
  }

  checkCut(): void {
    if (this.state === 'cut' && !this.#isToBeCut)
      this.world.fail('a client is cut that has lost nothing')
    if (this.state === 'open' && this.#isToBeCut)
      this.world.fail('a client goes on without what it has lost')
  }

  /** Who has room has read everything. */
  settle(): void {
    const { world } = this
    world.check()
    if (this.state !== 'open') return
    if (!this.#hasRoom) {
      if (this.#isToBeCut) return // when the others have been told of what is lost
      if (this.isEnding && this.#hasToldAll && this.#next === world.list.length)
        world.fail('a stream goes on after its end')
      return
    }
    if (this.#missed !== 0) world.fail(`a client is not told that it has missed ${this.#missed}`)
    this.#orMore = 0
    if (this.#asks().includes(true)) world.fail('a stream goes on though its allow throws')
    this.#skipTo(world.list.length)
    this.#isBehind = false
    if (this.isEnding) world.fail('a stream goes on after its end')
  }

  /** What an ending stream has waited for may have gone. */
  checkLost(): void {
    if (this.#hasLost && this.isEnding && !this.#hasRoom) this.checkEnd()
    this.#hasLost = false
  }

  /** Who has just been ended, and has no room, goes on only for what is for it. */
  checkEnd(): void {
    if (this.state !== 'open' || this.#isToBeCut) return
    const asks = this.#asks()
    const unread = this.world.list.slice(this.#next)
    const first = unread.findIndex((event, at) => asks[at] === true || this.#isFor(event))
    if (this.#hasToldAll) {
      if (asks[first] === true) this.world.fail('a stream waits though its allow throws')
      if (first === -1) this.world.fail('a stream waits for room, for nothing')
    }
    this.world.note('waits for room to end')
  }

  get #hasToldAll(): boolean {
    return this.#missed === 0 && this.#orMore === 0
  }

  turnOver(): void {
    this.settle()
    if (this.state === 'open' && !this.#hasRoom)
      this.#isBehind = this.#unread().length > 0 ? true : 'maybe'
  }

  rightsChanged(): void {
    if (!this.#hasRoom) this.#isBehind = 'maybe'
  }

  /** The least and the most that it may be said to be behind. */
  behind(): [number, number] {
    const { world } = this
    if (this.#hasRoom) return [0, 0]
    const kept = Math.max(this.#next, world.start)
    return [this.#unread().length, world.list.length - kept]
  }

  // ------------------------------------------------------------------------- what befalls it

  stall(credit: number): void {
    if (this.state === 'open' && this.#credit === Infinity) this.#credit = credit
  }

  /** The client reads. */
  read(count: number, credit: number): void {
    // Whether it is behind, and the clock is looked at, is not for the spec to say.
    if (this.#isBehind === 'maybe' && this.world.isOver) return undefined
    if (count !== Infinity && this.#queue.length > 0) this.world.note('partly read')
    this.#deliver(count)
    if (this.#queue.length > 0) return
    if (this.state === 'ended') return this.#over(true)
    if (this.state !== 'open') return undefined
    this.#credit = credit
    if (this.#hasRoom) return undefined
    if (this.#isBehind === true) this.world.forget(true)
    this.#hasRoom = true
    const { sent } = this
    this.#stream.drained()
    this.world.forget()
    if (!this.#hasRoom && this.sent > sent && this.#unread().length > 0)
      this.world.note('lost room within a catch-up')
    this.settle()
  }

  #deliver(count: number): void {
    for (let left = count; left > 0 && this.#queue.length > 0;) {
      const first = this.#queue.shift()!
      if (first.length > left) this.#queue.unshift(first.subarray(left))
      this.client.receive(first.subarray(0, Math.min(first.length, left)))
      left -= first.length
    }
  }

  /** The client goes. */
  leave(): void {
    if (this.state === 'open') {
      this.state = 'left'
      this.reason ??= 'client'
      this.dropped += this.#unread().length
      this.#stream.closed('client')
    }
    if (!this.isTold) this.#over(false)
  }

  get isRevoked(): boolean {
    return this.#revokedAs !== undefined
  }

  /** What it has not read by now it does not get, whatever the ends of others make the app publish. */
  revoke(reason: EndReason): void {
    this.#revokedAs = reason
    this.dropped += this.#unread().length
  }

  stop(): void {
    if (this.state !== 'open') return
    this.reason ??= 'shutdown'
    const { isEnding } = this
    this.isEnding = true
    this.#stream.stop()
    this.settle()
    if (!isEnding) this.checkEnd()
  }

  #over(isSent: boolean): void {
    const inFlight = this.#queue.reduce((sum, bytes) => sum + bytes.length, 0)
    this.#deliver(Math.floor(inFlight * this.#step.inFlight))
    this.client.connection = undefined
    settleConn(this.conn, isSent, (error) => this.world.fail(String(error)))
  }

  #onEnd({ reason, sent, dropped }: StreamEnd): void {
    const { world } = this
    if (this.isTold) world.fail('onEnd is called twice')
    this.isTold = true
    world.note(`ended: ${reason}`)
    if (reason !== this.reason) world.fail(`onEnd says ${reason}, not ${this.reason}`)
    if (sent !== this.sent) world.fail(`onEnd says ${sent} sent, not ${this.sent}`)
    if (dropped !== this.dropped) world.fail(`onEnd says ${dropped} dropped, not ${this.dropped}`)
    this.#appDoes()
  }

  /** What the app does from within the end. */
  #appDoes(): void {
    const { world, client } = this
    const { onEnd, endTopics } = this.#step
    if (onEnd === undefined || world.depth > 2) return
    world.depth++
    const event: PublishStep = { type: 'price', symbol: 'x', pad: 0, ownId: false }
    const kept = world.options.historyEvents
    const count = onEnd === 'publish' ? 1 : onEnd === 'burst' ? 2 * kept + 2 : 0
    if (count > 0) world.note('published from within an end')
    for (let left = count; left > 0; left--) world.publish({ ...event, topics: endTopics })
    if (onEnd === 'disconnect') world.disconnect([0, 2], undefined)
    if (onEnd === 'close') world.close()
    if (onEnd === 'reconnect') {
      world.note('connected from within an end')
      client.connect({ ...this.#step, id: 'honest', between: [0, 1], pause: 0 })
    }
    world.depth--
  }

  abandon(): void {
    if (this.state === 'open') {
      this.state = 'left'
      this.isTold = true
      this.#stream.closed('client')
    }
  }
}

/** The place in the list that what was written says; -1 for a gap. */
function placeOf(found: ReceivedEvent | { comment: string; at: number }): number {
  if ('at' in found) return found.at
  return found.type === 'gap' ? -1 : Number.parseInt(found.data, 10)
}

// ----------------------------------------------------------------------------------------- tools

function incoming(lastEventId: string): Incoming {
  return {
    method: 'GET',
    target: '/',
    rawHeaders: lastEventId === '' ? [] : ['Last-Event-ID', lastEventId],
    httpVersion: '1.1',
    peerIp: undefined,
    isSecure: false,
    startTime: 0,
    server,
    isDisconnected: false,
    onDisconnect: () => {},
    openBody: () => assert.fail('nobody reads the request'),
  }
}

const server = {
  swansong: new Swansong(),
  sharedState: new StateMap(),
  maxBodyBytes: 0,
  onError() {},
}

/** A whole number from the environment.
 * @throws {RangeError} When it is none. */
function setting(name: string, otherwise: number, least: number): number {
  const text = process.env[name]
  if (text === undefined || text === '') return otherwise
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (value >= least && value < 2 ** 32) return value
  throw new RangeError(`Cannot test with ${name}=${text}: it must be an integer from ${least}`)
}

function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
