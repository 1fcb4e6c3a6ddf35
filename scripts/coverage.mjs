// `npm run coverage`: the tests once more, counted by c8; its thresholds are in .c8rc.json, a stricter one is below.
// On Node 24 without tsx, because tsx adds branches that no test can reach (evanw/esbuild#4239).
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { transform } from 'esbuild'

import { nodeBinary } from './lib/node-versions.mjs'
import { run } from './lib/processes.mjs'
import { filesBelow, root } from './lib/workspace.mjs'

process.chdir(root)
const { exclude } = JSON.parse(readFileSync('.c8rc.json', 'utf8'))
const excluded = [...exclude, ...(await typeOnlyFiles())].flatMap((pattern) => [
  '--exclude',
  pattern,
])
const c8 = join(root, 'tools/checks/node_modules/c8/bin/c8.js')
const node = await nodeBinary(24)
const test = [node, 'scripts/test.mjs', '--native', ...process.argv.slice(2)]
const code = await run(process.execPath, [c8, ...excluded, ...test])
process.exitCode = code || checkEncoder()

/** The encoder is held to every branch: one that is not tested is an event that may break its stream.
 * @returns {number} The exit status. */
function checkEncoder() {
  const summary = JSON.parse(readFileSync('coverage/coverage-summary.json', 'utf8'))
  const missed = ['check-fields', 'encode', 'event']
    .map((name) => `packages/sse/src/${name}.ts`)
    .filter((file) => summary[join(root, file)]?.branches.pct !== 100)
  for (const file of missed)
    console.error(`ERROR: Coverage for branches of ${file} does not meet threshold (100%)`)
  return missed.length === 0 ? 0 : 1
}

/** Files of types alone: nothing in them can be run, and c8 would count every line as missed. */
async function typeOnlyFiles() {
  const files = filesBelow('packages', '.ts')
  const code = await Promise.all(
    files.map((file) =>
      transform(readFileSync(file, 'utf8'), { loader: 'ts', minifyWhitespace: true }),
    ),
  )
  return files.filter((_, index) => /^(export\{\};)?\s*$/.test(code[index].code))
}
