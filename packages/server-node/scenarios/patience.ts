/** Waiting for what a process that is not ours does. */

import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

/** How long anything may take before a test gives up. Never a proof: only the end of a failure.
 *
 * Less than the deadline of the target, so that what only the deadline ends is a failure. */
const patienceMs = 30_000

/** Waits for a condition.
 * @param what Says what was waited for in vain; asked only then. */
export async function until(what: () => string, check: () => boolean): Promise<void> {
  const start = performance.now()
  while (!check()) {
    if (performance.now() - start > patienceMs) assert.fail(`Waited in vain until ${what()}`)
    await sleep(3)
  }
}
