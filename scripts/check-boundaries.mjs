// Dependencies point one way: which package may import what. A newcomer reads this table, and so does CI.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { selfTest } from './lib/boundaries-self-test.mjs'
import { boundaryProblems } from './lib/boundaries.mjs'
import { filesBelow, publishedPackages, root } from './lib/workspace.mjs'

/** Tests beside the source are freer: Node, and whatever the package's package.json lists. */
const mayImport = {
  core: [],
  sse: ['core'],
  logger: ['core'],
  router: ['core', 'rou3'],
  forwarded: ['core'],
  'server-node': ['core', 'node:'],
  'sse-nats': ['core', 'sse', 'node:', '@nats-io/jetstream', '@nats-io/transport-node'],
  websocket: ['core', 'node:', 'ws'],
  'sse-file': ['core', 'sse', 'node:'],
  'sse-redis': ['core', 'sse'],
}

selfTest()

/** The bench of the stop times the program of the scenarios. */
const shares = { bench: ['packages/server-node/scenarios'] }

const programs = ['examples', 'bench'].map((dir) => ({
  dir,
  shares: shares[dir],
  manifest: JSON.parse(readFileSync(join(root, dir, 'package.json'), 'utf8')),
}))
const paths = ['packages', 'examples', 'bench'].flatMap((dir) => filesBelow(dir, '.ts'))
const files = new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]))
const problems = boundaryProblems({ mayImport, packages: publishedPackages(), programs, files })

for (const problem of problems) console.error(problem)
console.log(
  `boundaries: ${files.size} files, ${problems.length === 0 ? 'no import crosses one' : `${problems.length} problems`}`,
)
process.exitCode = problems.length === 0 ? 0 : 1
