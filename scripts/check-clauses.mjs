// A clause has a test, a test has a clause: `- 3.7 …` in docs/spec/swansong.md is proven by the tests
// whose names begin with `[swansong 3.7]`.
import { readFileSync } from 'node:fs'
import { posix } from 'node:path'

import { filesBelow, root } from './lib/workspace.mjs'

process.chdir(root)
const specs = filesBelow('docs/spec', '.md')
const tests = ['packages', 'examples', 'scripts'].flatMap((dir) =>
  filesBelow(dir, /\.test\.(ts|mjs)$/),
)

const clauses = new Map(specs.flatMap((path) => found(path, /^- (\d+\.\d+) /gm)))
const proofs = tests.flatMap((path) => found(path, /\btest\(\s*[`'"]\[([a-z][a-z-]* \d+\.\d+)\]/g))
const proven = new Set(proofs.map(([clause]) => clause))
const problems = [
  ...[...clauses]
    .filter(([clause]) => !proven.has(clause))
    .map(([clause, place]) => `${place}: no test is named [${clause}]`),
  ...proofs
    .filter(([clause]) => !clauses.has(clause))
    .map(([clause, place]) => `${place}: no clause has the number of [${clause}]`),
]

for (const problem of problems) console.error(problem)
console.log(
  `clauses: ${clauses.size} in ${specs.length} files, ${proofs.length} tests of them, ` +
    (problems.length === 0 ? 'all well' : `${problems.length} problems`),
)
process.exitCode = problems.length === 0 ? 0 : 1

/** The clauses that a file names, as `swansong 3.7`, each with its place. */
function found(path, pattern) {
  const text = readFileSync(path, 'utf8')
  const spec = path.endsWith('.md') ? `${posix.basename(path, '.md')} ` : ''
  return [...text.matchAll(pattern)].map(({ 1: clause, index }) => {
    const line = text.slice(0, index).split('\n').length
    return [spec + clause, `${path}:${line}`]
  })
}
