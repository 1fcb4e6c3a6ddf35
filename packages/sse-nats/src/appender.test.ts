import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'

import { JetStreamError, type PubAck } from '@nats-io/jetstream'
import { ClosedConnectionError, headers, TimeoutError } from '@nats-io/transport-node'

import { until } from '../fixtures/nats-server.ts'
import { Appender } from './appender.ts'
import { NatsAppendError } from './errors.ts'
import type { Link } from './link.ts'
import { checkOptions } from './options.ts'
import type { Session } from './session.ts'

/** What was sent, to be answered by the test. */
interface Sent {
  readonly text: string
  readonly id: string
  readonly session: number
  taken(sequence: number, duplicate?: boolean): void
  failed(error: unknown): void
}

/** Sessions whose server is the test. */
class Wire {
  readonly sent: Sent[] = []
  /** How often the stream was asked for. */
  asked = 0
  epoch = 'e'
  stateError: Error | undefined
  #count = 0
  #current: { isOver: boolean } | undefined

  get link(): Link {
    return { session: async () => this.#session() } as unknown as Link
  }

  /** Waits until so many were sent in all. */
  async has(count: number): Promise<Sent[]> {
    await until(`${count} are sent`, () => this.sent.length >= count)
    await nextTurn()
    assert.equal(this.sent.length, count)
    return this.sent
  }

  #session(): Session {
    if (this.#current?.isOver === false) return this.#current as Session
    const number = this.#count++
    const publish = (_: string, text: string, { msgID }: { msgID: string }): Promise<PubAck> =>
      new Promise((resolve, reject) =>
        this.sent.push({
          text,
          id: msgID,
          session: number,
          taken: (seq, duplicate = false) =>
            resolve({ seq, duplicate, stream: 'wire', domain: '' }),
          failed: reject,
        }),
      )
    const session = {
      epoch: this.epoch,
      isOver: false,
      newHeaders: headers,
      js: { publish },
      end: () => (session.isOver = true),
      state: async () => {
        this.asked++
        if (this.stateError !== undefined) throw this.stateError
        return { epoch: this.epoch, first: 1, last: 1 }
      },
    }
    this.#current = session
    return session as unknown as Session
  }
}

const away = Object.assign(new Error('jetstream is not enabled'), { name: 'JetStreamNotEnabled' })
const settings = checkOptions('wire', {})

function add(appender: Appender, ...texts: string[]): Promise<PromiseSettledResult<string>[]> {
  return Promise.allSettled(texts.map((text) => appender.add({ text })))
}

/** Of those that were rejected, whether the log may have them. */
function doubts(results: readonly PromiseSettledResult<string>[]): boolean[] {
  return results
    .filter((result) => result.status === 'rejected')
    .map(({ reason }) => {
      assert.ok(reason instanceof NatsAppendError)
      return reason.mayBeInLog
    })
}

function outcomes(results: readonly PromiseSettledResult<string>[]): string[] {
  return results.map((result) =>
    result.status === 'fulfilled' ? result.value : (result.reason as Error).message,
  )
}

test('what failed with its connection is sent again in its order, under its ids, before what is new', async () => {
  const wire = new Wire()
  const appender = new Appender(settings, wire.link)
  const adding = add(appender, 'a', 'b', 'c')
  const first = await wire.has(3)
  const ids = first.map(({ id }) => id)
  assert.equal(new Set(ids).size, 3)
  first[0]!.taken(1)
  first[2]!.failed(new ClosedConnectionError())
  await nextTurn()
  const later = add(appender, 'd')
  first[1]!.failed(new ClosedConnectionError())
  const all = await wire.has(6)
  assert.deepEqual(all.slice(3).map(({ text }) => text), ['b', 'c', 'd']) // prettier-ignore
  assert.deepEqual(all.slice(3, 5).map(({ id }) => id), ids.slice(1)) // prettier-ignore
  assert.ok(all.slice(3).every(({ session }) => session === 1))
  all[3]!.taken(2, true)
  all[4]!.taken(3)
  all[5]!.taken(4)
  assert.deepEqual(outcomes(await adding), ['e-1', 'e-2', 'e-3'])
  assert.deepEqual(outcomes(await later), ['e-4'])
})

test('what nobody was there to take is sent again, when the stream was looked for', async () => {
  const wire = new Wire()
  const appender = new Appender(settings, wire.link)
  const adding = add(appender, 'a', 'b')
  for (const { failed } of await wire.has(2)) failed(away)
  const all = await wire.has(4)
  assert.equal(wire.asked, 1)
  assert.deepEqual(all.slice(2).map(({ text }) => text), ['a', 'b']) // prettier-ignore
  all[2]!.taken(1)
  all[3]!.taken(2)
  assert.deepEqual(outcomes(await adding), ['e-1', 'e-2'])
})

test('what was not taken is not put behind a later one that was', async () => {
  const wire = new Wire()
  const appender = new Appender(settings, wire.link)
  const adding = add(appender, 'a', 'b', 'c')
  const [a, b, c] = await wire.has(3)
  a!.failed(away)
  c!.failed(away)
  await nextTurn()
  b!.taken(1)
  const all = await wire.has(4)
  assert.equal(all[3]!.text, 'c')
  all[3]!.taken(2)
  assert.deepEqual(doubts(await adding), [false])
  assert.deepEqual(outcomes(await adding), [
    'Cannot add to the log in the stream "wire": it was not taken, and a later one was',
    'e-1',
    'e-2',
  ])
})

test('what is refused is told, and holds up nothing', async () => {
  const wire = new Wire()
  const appender = new Appender(settings, wire.link)
  const adding = add(appender, 'a', 'b', 'c')
  const [a, b, c] = await wire.has(3)
  a!.failed(new JetStreamError('invalid ack response'))
  b!.failed('odd')
  c!.taken(1)
  assert.deepEqual(doubts(await adding), [false, false])
  assert.deepEqual(outcomes(await adding), [
    'Cannot add to the log in the stream "wire": invalid ack response',
    'Cannot add to the log in the stream "wire": odd',
    'e-1',
  ])
})

test('only so many are on their way', async () => {
  const wire = new Wire()
  const appender = new Appender(settings, wire.link)
  const adding = add(appender, ...Array.from({ length: 1_002 }, (_, n) => `${n}`))
  const first = await wire.has(1_000)
  first[0]!.taken(1)
  first[1]!.taken(2)
  const all = await wire.has(1_002)
  for (const [index, { text, taken }] of all.entries()) {
    assert.equal(text, `${index}`)
    taken(index + 1)
  }
  assert.equal((await adding).filter(({ status }) => status === 'fulfilled').length, 1_002)
})

test('an answer that comes too late changes nothing, and what was out of time is not sent again', async () => {
  const wire = new Wire()
  const appender = new Appender(checkOptions('wire', { appendTimeoutMs: 100 }), wire.link)
  const adding = add(appender, 'a', 'b')
  const [a, b] = await wire.has(2)
  assert.deepEqual(doubts(await adding), [true, true])
  assert.deepEqual(outcomes(await adding), Array(2).fill('Cannot add to the log in the stream "wire": NATS has not answered within 100 ms')) // prettier-ignore
  await appender.drain()
  a!.taken(1)
  b!.failed(new TimeoutError())
  const later = add(appender, 'c')
  const all = await wire.has(3)
  assert.equal(all[2]!.text, 'c')
  all[2]!.taken(3)
  assert.deepEqual(outcomes(await later), ['e-3'])
})

test('a stream that counts anew is another', async () => {
  const wire = new Wire()
  const appender = new Appender(settings, wire.link)
  const adding = add(appender, 'a', 'b', 'c')
  const [a, b, c] = await wire.has(3)
  a!.taken(7)
  await nextTurn()
  wire.epoch = 'f'
  b!.taken(1)
  await nextTurn()
  wire.stateError = new Error('connection closed')
  c!.taken(1)
  assert.deepEqual(doubts(await adding), [true])
  assert.deepEqual(outcomes(await adding), [
    'e-7',
    'f-1',
    'Cannot add to the log in the stream "wire": its stream was made anew, and its id is not known',
  ])
})
