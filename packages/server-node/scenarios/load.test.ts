/** The stop under traffic: what a client loses that sends requests while the server goes away.
 *
 * A request is lost when its bytes were written before its client had seen the server's FIN, or an answer
 * with `Connection: close`, on that connection, and no complete answer comes. The losses are races of
 * microseconds, so each scenario is repeated: see `rounds`. What was counted is printed in any case. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'

import { burstLoad, churnLoad, keepAliveLoad, lineOf, stockLoad } from './load.ts'
import type { Load, Tally } from './load.ts'
import { rounds } from './rounds.ts'
import { startTarget, success } from './server-process.ts'

/** Stops a target under a load, as often as is asked for. */
async function stops(
  t: TestContext,
  load: (port: number) => Load,
  check: (tally: Tally) => void,
): Promise<void> {
  for (let round = 1; round <= rounds(); round++) check(await stop(t, load, `round ${round}`))
}

/** Stops a target under a load. Everything but what was lost has to be right. */
async function stop(t: TestContext, load: (port: number) => Load, name: string): Promise<Tally> {
  const server = await startTarget(t)
  const { tally, warm, over } = load(server.port)
  await warm
  server.kill('SIGTERM')
  await over
  t.diagnostic(`${name}: ${lineOf(tally)}`)
  await server.ends(success)
  assert.equal(server.err, '')
  return tally
}

describe('the stop under traffic', { concurrency: 2 }, () => {
  test('[stopping 1.3] S7 no request of a keep-alive client that sends without a pause is lost', async (t) => {
    await stops(
      t,
      (port) => keepAliveLoad(port, 50),
      ({ sent, answered, told, lost }) => {
        assert.deepEqual({ answered, lost }, { answered: sent, lost: 0 })
        assert.equal(told, 50, 'every client is told by header')
      },
    )
  })

  test('[stopping 1.3] S7b no request of a keep-alive client that sends now and then is lost', async (t) => {
    await stops(
      t,
      (port) => keepAliveLoad(port, 60, () => 100 + Math.random() * 300),
      ({ sent, answered, lost }) => {
        assert.deepEqual({ answered, lost }, { answered: sent, lost: 0 })
      },
    )
  })

  test('[stopping 1.12] S7c of clients that connect anew for each request, at most one in two stops is connected and reset', async (t) => {
    // A rate: where a few rounds have shown a higher one, more decide.
    let lost = 0
    let round = 0
    const isTooMany = (): boolean => lost * 2 > round
    while (round < rounds() || (isTooMany() && round < 20)) {
      round++
      lost += (await stop(t, (port) => churnLoad(port, 8), `round ${round}`)).lost
    }
    assert.ok(!isTooMany(), `${lost} in ${round} stops`)
  })

  test('[stopping 1.12] S7c connections that wait to be accepted when the signal comes are answered', async (t) => {
    await stops(
      t,
      (port) => burstLoad(port, 40),
      ({ answered, lost }) => {
        assert.deepEqual({ answered, lost }, { answered: 40, lost: 0 })
      },
    )
  })

  test('[stopping 1.13] S7d no POST of a stock client that reconnects at once is lost', async (t) => {
    await stops(
      t,
      (port) => stockLoad(port, 50),
      ({ sent, answered, lost, refused, returned }) => {
        assert.deepEqual({ answered, lost, refused }, { answered: sent, lost: 0, refused: 50 })
        assert.equal(returned, 0, 'nobody is told before the listener is closed')
      },
    )
  })
})
