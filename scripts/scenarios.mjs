// `npm run scenarios`: the scenarios of the stop, those that count what is lost 20 times each.
// `npm test` runs them too, once each, and CI twice.
//
//   npm run scenarios
//   WAKEROBIN_ROUNDS=100 npm run scenarios -- --test-name-pattern=S7d
import { run } from './lib/processes.mjs'

process.env.WAKEROBIN_ROUNDS ??= '20'
process.exitCode = await run(process.execPath, [
  'scripts/test.mjs',
  `--test-timeout=${30 * 60_000}`, // what is given last counts
  '/scenarios/',
  ...process.argv.slice(2),
])
