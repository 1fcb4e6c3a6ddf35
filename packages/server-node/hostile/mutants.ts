/** Sends mutants to a server, and judges what comes back. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

import { mutant, piecesOf, randomOf } from './mutate.ts'
import { ask, responsesOf } from './raw.ts'
import type { Reply } from './raw.ts'
import { startTarget } from './target.ts'
import type { Target } from './target.ts'

/** What came of mutants. */
export class Tally {
  sent = 0
  /** How many responses there were of each status; `none` counts mutants without any. */
  readonly statuses = new Map<number | 'none', number>()

  add(statuses: readonly number[]): void {
    this.sent++
    for (const status of statuses.length === 0 ? ['none' as const] : statuses)
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1)
  }

  toString(): string {
    const parts = [...this.statuses].sort().map(([status, count]) => `${status}: ${count}`)
    return `${this.sent} mutants: ${parts.join(', ')}`
  }
}

/** Node's parser is silent about a broken body where the request has an `Upgrade` field: what ends it is `requestMs`. */
export const attackedLimits = { headMs: 1_000, requestMs: 1_000 } as const

/** How many servers are attacked at once, each by one client: what its handlers were given is then that client's. */
const clients = 8

/** Sends mutants until `goesOn` says so no more, each from a seed of its own.
 * @throws {AssertionError} At the first that is not dealt with as it should be, with its seed and bytes. */
export async function sendMutants(
  t: TestContext,
  firstSeed: number,
  goesOn: (sent: number) => boolean,
): Promise<Tally> {
  const tally = new Tally()
  let next = 0
  const client = async (): Promise<void> => {
    const target = await startTarget(t, { limits: attackedLimits })
    while (goesOn(next)) await sendMutant(target, (firstSeed + next++) % 2 ** 32, tally)
    assert.deepEqual(target.errors, [], 'nothing is reported: all of it is the doing of the client')
    const response = await fetch(`${target.url}/after`)
    assert.equal(await response.text(), 'GET /after 0', 'the server answers as before')
    assert.equal(response.status, 200)
  }
  await Promise.all(Array.from({ length: clients }, client))
  return tally
}

async function sendMutant(target: Target, seed: number, tally: Tally): Promise<void> {
  const random = randomOf(seed)
  const bytes = mutant(random)
  const pieces = piecesOf(bytes, random)
  target.take()
  const reply = await ask(target.port, bytes, { pieces, halfClose: true })
  try {
    tally.add(judge(reply, bytes, target.take()))
  } catch (error) {
    assert.fail(
      `WAKEROBIN_FUZZ_SEED=${seed}: ${(error as Error).message}\nsent ${JSON.stringify(bytes.toString('latin1'))}\ngot  ${JSON.stringify(reply.text)} and ${reply.end}`,
    )
  }
}

/** Whether a reply is one that a server may give: every mutant is answered or cut off, nothing is a 500, what was
 * handled was answered in its order, and what was refused is the last.
 * @param handled What handlers were given.
 * @returns The statuses. */
export function judge(reply: Reply, bytes: Buffer, handled: readonly string[]): number[] {
  assert.notEqual(reply.end, 'open', 'it is unanswered')
  const isHead = /HEAD/.test(bytes.toString('latin1'))
  const text = isHead ? withoutHeadLengths(reply.text, handled) : reply.text
  const responses = responsesOf(text)
  const statuses = responses.map(({ status }) => status)
  for (const [at, { status, head, body }] of responses.entries()) {
    assert.ok([200, 400, 408, 413, 414, 417, 431, 501].includes(status), `a ${status}`)
    if (status === 200) {
      assert.ok(handled[at] !== undefined, 'an answer of nobody')
      if (!handled[at].startsWith('HEAD')) assert.equal(body, handled[at], 'in its order')
    } else {
      assert.equal(at, responses.length - 1, `a ${status} is the last`)
      assert.equal(body, '')
      assert.match(head, /\r\nConnection: close\r\n/)
    }
  }
  return statuses
}

/** A HEAD is answered with the length of what a GET would get. */
function withoutHeadLengths(text: string, handled: readonly string[]): string {
  let at = 0
  return text.replace(/HTTP\/1\.1 200 [^]*?\r\n\r\n/g, (head) =>
    handled[at++]?.startsWith('HEAD') === true
      ? head.replace(/Content-Length: \d+/, 'Content-Length: 0')
      : head,
  )
}
