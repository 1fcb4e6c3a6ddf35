// `npm test`: every test of the workspace in one `node --test`, and one closing line of totals.
//
//   npm test                        all
//   npm test -- sse broadcaster     files whose path contains one of the words
//   npm test -- --watch core        again whenever a file changes
//   npm test -- --native            without tsx: Node's own type stripping (24 and later)
//   npm test -- --test-name-pattern=halt    any other flag goes to Node
//
// The files are listed here because Node 20 has no glob patterns.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'

import { compileAll } from './lib/compile.mjs'
import { run } from './lib/processes.mjs'
import { filesBelow, sourceCondition } from './lib/workspace.mjs'

const timeoutMs = 90_000

const args = process.argv.slice(2)
const ours = ['--native']
const nodeFlags = args.filter((arg) => arg.startsWith('-') && !ours.includes(arg))
const words = args.filter((arg) => !arg.startsWith('-'))
const folders = ['packages', 'examples', 'scripts', 'tools']
const files = folders
  .flatMap((dir) => filesBelow(dir, /\.test\.(ts|mjs)$/))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))

if (files.length === 0) {
  console.error(
    words.length ? `No test file has ${words.join(' or ')} in its path` : 'There are no test files',
  )
  process.exit(1) // `node --test` without files would succeed
}

const scratch = mkdtempSync(join(tmpdir(), 'wakerobin-test-'))
const totals = join(scratch, 'totals')
const code = await run(process.execPath, [
  `--conditions=${sourceCondition}`,
  await loader(),
  '--enable-source-maps', // without it a failure is at file:1:182
  '--test',
  `--test-concurrency=${availableParallelism() + 1}`, // the default is one less than there are; a browser's test waits
  `--test-timeout=${timeoutMs}`, // the default is none
  '--test-reporter=spec', // the default differs between versions of Node
  '--test-reporter-destination=stdout',
  '--test-reporter=./scripts/lib/totals-reporter.mjs',
  `--test-reporter-destination=${totals}`, // printed below: after failures, `spec` goes on past its totals
  ...nodeFlags,
  ...files,
])
if (!nodeFlags.includes('--watch')) console.log(closingLine())
rmSync(scratch, { recursive: true })
process.exitCode = code

/** The flag that makes Node read TypeScript. */
async function loader() {
  if (args.includes('--native')) return '--no-warnings=ExperimentalWarning'
  if (nodeFlags.includes('--watch')) return '--import=tsx' // which sees what changes
  try {
    return `--import=${await compileAll(folders, join(scratch, 'compiled'))}`
  } catch {
    return '--import=tsx' // so that only those files fail which import what cannot be compiled
  }
}

function closingLine() {
  try {
    return readFileSync(totals, 'utf8') || 'tests: ended before the totals were known'
  } catch (error) {
    return `tests: ended before the totals were known (${error.code})`
  }
}
