/** Random lives of runs in several processes that share their logs, against a plain list of what was said.
 *
 *     WAKEROBIN_PROPERTY_RUNS=100 npm test -- runs-property       as CI does; default 20
 *     WAKEROBIN_PROPERTY_SEED=4711 npm test -- runs-property      one life again
 *
 * Clients come to any process, stall, read on, leave, and come back to another with the id that they have really got;
 * tails fail; the work is fast and slow, and ends, fails, is stopped from anywhere, or dies with its process. Every client
 * has to get all of it, once and in order, and the one end, and then a 204. */

import assert from 'node:assert/strict'
import { mock, test } from 'node:test'

import { isBodySource } from '@wakerobin/core/adapter'

import { FakeClient, newConn, turn } from '../fixtures/fake-client.ts'
import { Feeder, SharedLogs } from '../fixtures/shared-logs.ts'
import { Runs } from './index.ts'
import { advance } from './testing.ts'

const lives = Number(process.env.WAKEROBIN_PROPERTY_RUNS || 20)
const given = process.env.WAKEROBIN_PROPERTY_SEED ?? ''
const firstSeed = given === '' ? Math.floor(Math.random() * 2 ** 32) : Number(given)

test('random clients of a random run get all of it, once, in order, and its one end', async (t) => {
  t.diagnostic(`WAKEROBIN_PROPERTY_SEED=${firstSeed}`)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => mock.timers.reset())
  for (let life = 0; life < (given === '' ? lives : 1); life++) {
    const seed = (firstSeed + life) % 2 ** 32
    try {
      await live(mulberry32(seed))
    } catch (error) {
      throw new Error(`With WAKEROBIN_PROPERTY_SEED=${seed}: ${String(error)}`, { cause: error })
    }
  }
})

type Below = (count: number) => number

async function live(random: () => number): Promise<void> {
  const below: Below = (count) => Math.floor(random() * count)
  const logs = new SharedLogs()
  const open = (): Runs => new Runs({ open: (id) => logs.open(id), onError: () => {} })
  const owner = open()
  const feeder = new Feeder()
  await owner.start('run', feeder.work)
  const others = [open(), open()]
  const isMortal = below(4) === 0 // its own clients would die with it
  const all = isMortal ? others : [owner, ...others]

  const said: string[] = []
  const clients = Array.from({ length: 1 + below(4) }, () => new Client(all, below))
  for (let step = 0; step < 60; step++) {
    const what = below(10)
    if (what < 3) {
      for (let count = below(what === 0 ? 700 : 5); count >= 0; count--) {
        said.push(String(said.length))
        feeder.say(said.at(-1)!)
      }
    } else if (what === 3 && below(3) === 0) {
      logs.cutTails()
    } else {
      await clients[below(clients.length)]!.act()
    }
    if (below(2) === 0) await turn()
    mock.timers.tick(below(300))
  }
  await settled()

  const how = isMortal ? 'lost' : ['done', 'failed', 'stopped'][below(3)]!
  if (how === 'done') feeder.end()
  if (how === 'failed') feeder.say({ data: 'bad', id: 'of its own' })
  if (how === 'stopped') assert.equal(await all[below(all.length)]!.stop('run'), true)
  if (how === 'lost') logs.kill(1)
  const expected = [...said, `end {"reason":"${how}"}`]
  for (const client of clients) {
    await client.readAll(how === 'lost')
    assert.deepEqual(client.heard, expected)
    await client.expectNothingMore()
  }
  await Promise.all(all.map((runs) => runs.close()))
}

/** Everything that is under way gets done, and what is tried again later, too. */
async function settled(): Promise<void> {
  for (let count = 0; count < 12; count++) {
    await turn()
    mock.timers.tick(5_000)
  }
}

/** Somebody who reads a run over several connections. */
class Client {
  readonly heard: string[] = []
  readonly #all: readonly Runs[]
  readonly #below: Below
  #connection: FakeClient | undefined
  #lastEventId: string | undefined

  constructor(all: readonly Runs[], below: Below) {
    this.#all = all
    this.#below = below
  }

  async act(): Promise<void> {
    const connection = this.#connection
    if (connection === undefined) return this.#come()
    const what = this.#below(4)
    if (what === 0) this.#leave()
    else if (what === 1) connection.hasRoom = false
    else connection.drain(this.#below(2) === 0)
  }

  /** Reads to the end. */
  async readAll(isLost: boolean): Promise<void> {
    for (let tries = 0; this.#heardNow().at(-1)?.startsWith('end') !== true; tries++) {
      assert(tries < 300, `it gets no further than ${this.#heardNow().length} events`)
      if (this.#connection !== undefined && this.#connection.state !== 'open') this.#leave()
      if (this.#connection === undefined) await this.#come()
      if (this.#connection!.state === 'open') this.#connection!.drain()
      await settled()
      if (isLost) await advance(1_000)
    }
    assert.equal(this.#connection!.state, 'ended')
    this.#leave()
  }

  /** The next request is answered by a 204. */
  async expectNothingMore(): Promise<void> {
    for (const runs of this.#all) {
      const conn = newConn(this.#lastEventId)
      await runs.attach(conn, 'run')
      assert.equal(conn.status, 204)
    }
  }

  #heardNow(): readonly string[] {
    return this.#connection === undefined ? this.heard : this.#connection.heard
  }

  async #come(): Promise<void> {
    const conn = newConn(this.#lastEventId)
    await this.#all[this.#below(this.#all.length)]!.attach(conn, 'run')
    assert.equal(conn.status, 200)
    const body = conn.takeResponseBody()
    assert(isBodySource(body))
    this.#connection = new FakeClient(body, {}, conn)
    this.#connection.hasRoom = this.#below(2) === 0
    this.#connection.start()
  }

  #leave(): void {
    const connection = this.#connection!
    this.#connection = undefined
    this.heard.push(...connection.heard)
    if (connection.events.length > 0) this.#lastEventId = connection.lastEventId
    if (connection.state === 'open') connection.leave()
  }
}

/** Random numbers from 0 to 1, the same for the same seed. */
function mulberry32(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
