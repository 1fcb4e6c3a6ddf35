/** A fixed number of mutants, in each run of the tests. For as long as one likes: request-fuzz.test.ts. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { sendMutants } from './mutants.ts'
import { seedSetting } from './settings.ts'

const count = 1_500

test(`[requests 1.1] of ${count} mutants of requests none is unanswered and none is a 500, and the server answers as before`, async (t) => {
  const seed = seedSetting()
  t.diagnostic(`WAKEROBIN_FUZZ_SEED=${seed}`)
  const tally = await sendMutants(t, seed, (sent) => sent < count)
  t.diagnostic(String(tally))
  assert.equal(tally.sent, count)
  // Mutants that are all refused, or all right, prove nothing.
  assert.ok(tally.statuses.get(200)! > count * 0.1, 'enough are handled')
  assert.ok(tally.statuses.get(400)! > count * 0.1, 'enough are refused')
})
