/** Mutants of requests for as long as one likes.
 *
 *     WAKEROBIN_FUZZ_SECONDS=60 npm test -- request-fuzz        as CI does; default 1
 *     WAKEROBIN_FUZZ_SEED=4711 npm test -- request-fuzz         the same mutants again
 *
 * A failure says the seed of the mutant, and its bytes: add them to `finds` when it is mended. */

import { test } from 'node:test'

import { attackedLimits, judge, sendMutants } from './mutants.ts'
import { ask } from './raw.ts'
import { seedSetting, setting } from './settings.ts'
import { startTarget } from './target.ts'

const seconds = setting('WAKEROBIN_FUZZ_SECONDS', 1, 1, 86_400)

test(
  'mutants of requests are answered, or cut off, and nothing else',
  { timeout: (seconds + 60) * 1000 },
  async (t) => {
    const seed = seedSetting()
    t.diagnostic(`WAKEROBIN_FUZZ_SEED=${seed}`)
    const end = performance.now() + seconds * 1000
    t.diagnostic(String(await sendMutants(t, seed, () => performance.now() < end)))
  },
)

/** What the fuzz has found, and was mended. */
const finds: readonly string[] = [
  // Refused, and what came behind it was then no request either: there were two answers.
  'GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  // Node's parser does not say that the body is broken: unanswered until requestMs is over.
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nZ\r\n',
]

test('what the fuzz has found stays mended', async (t) => {
  const target = await startTarget(t, { limits: attackedLimits })
  for (const text of finds) {
    const bytes = Buffer.from(text, 'latin1')
    target.take()
    judge(await ask(target.port, bytes, { halfClose: true }), bytes, target.take())
  }
})
