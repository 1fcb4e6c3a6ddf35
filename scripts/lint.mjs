// `npm run lint`: oxlint and oxfmt look at the whole tree and change nothing.
// `npm run format` mends what they can mend; `npm run format -- packages/sse` only there.
import { join } from 'node:path'

import { run } from './lib/processes.mjs'
import { root } from './lib/workspace.mjs'

const args = process.argv.slice(2)
const isFixing = args.includes('--fix')
const paths = args.filter((arg) => !arg.startsWith('-'))
const bin = (name) => join(root, 'tools/checks/node_modules/.bin', name)

const format = await run(bin('oxfmt'), [isFixing ? '--write' : '--check', ...paths])
const lint = await run(bin('oxlint'), ['--deny-warnings', ...(isFixing ? ['--fix'] : []), ...paths])
process.exitCode = format || lint
