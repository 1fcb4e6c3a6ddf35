import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

import { rehearse, type Rehearsal } from './rehearse.ts'

// WAKEROBIN_CLIENTS=500 WAKEROBIN_RESTARTS=3 npm test -- rolling       CI does
const clients = Number(process.env.WAKEROBIN_CLIENTS ?? 50)
const restarts = Number(process.env.WAKEROBIN_RESTARTS ?? 1)

const missing = ['redis-server', 'nginx'].filter(
  (program) => spawnSync(program, ['-v']).error !== undefined,
)
const skips: Record<Rehearsal['kind'], string | false> = {
  file: false,
  redis:
    missing.length > 0 && process.env.CI !== 'true'
      ? `no ${missing.join(' and no ')} here: install it (apt-get install redis-server nginx-light)`
      : false,
}
const titles: Record<Rehearsal['kind'], string> = {
  redis: 'two processes behind nginx that share a Redis',
  file: 'one process with a log in a folder',
}

for (const kind of ['redis', 'file'] as const)
  test(
    `${clients} clients of ${titles[kind]} lose nothing by restarts, kills and a broker that is restarted`,
    { skip: skips[kind], timeout: 180_000 },
    async (t) => {
      const outcome = await rehearse({ kind, clients, restarts, rate: 50 }, (line) =>
        t.diagnostic(line),
      )
      const processes = kind === 'redis' ? 2 : 1
      t.diagnostic(JSON.stringify(outcome))
      assert.equal(outcome.restarts, processes * restarts)
      assert.equal(outcome.kills, processes)
      assert.equal(outcome.brokerRestarts, kind === 'redis' ? 1 : 0)
      assert(outcome.published > 50 * restarts, `${outcome.published} events are no load`)
      assert(outcome.connections > clients, 'nobody has had to come back')
      const { notKept, lost, doubled, disordered, gaps, givenUp } = outcome
      assert.deepEqual(
        { notKept, lost, doubled, disordered, gaps, givenUp },
        { notKept: 0, lost: 0, doubled: 0, disordered: 0, gaps: 0, givenUp: 0 },
      )
      assert.equal(outcome.refused, 0)
    },
  )
