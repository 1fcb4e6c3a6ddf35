// Writes docs/api.md: every public name, its file, and the first sentence of its docstring.
//   node scripts/generate-api.mjs           writes it
//   node scripts/generate-api.mjs --check   fails when it is not current, or when a name has no docstring
import { readFileSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'

import { root } from './lib/workspace.mjs'

process.chdir(root)

const entries = [
  ['@wakerobin/core', 'packages/core/src/index.ts'],
  ['@wakerobin/core/fetch', 'packages/core/src/fetch.ts'],
  ['@wakerobin/core/testing', 'packages/core/src/testing.ts'],
  ['@wakerobin/core/adapter', 'packages/core/src/adapter.ts'],
  ['@wakerobin/sse', 'packages/sse/src/index.ts'],
  ['@wakerobin/sse/testing', 'packages/sse/src/testing.ts'],
  ['@wakerobin/server-node', 'packages/server-node/src/index.ts'],
  ['@wakerobin/server-node/testing', 'packages/server-node/src/testing.ts'],
  ['@wakerobin/logger', 'packages/logger/src/index.ts'],
  ['@wakerobin/router', 'packages/router/src/index.ts'],
  ['@wakerobin/forwarded', 'packages/forwarded/src/index.ts'],
  ['@wakerobin/sse-nats', 'packages/sse-nats/src/index.ts'],
  ['@wakerobin/websocket', 'packages/websocket/src/index.ts'],
]

const undocumented = []
const sections = entries.map(([name, path]) => {
  const rows = exportsOf(path)
    .map((item) => ({ ...item, ...declarationOf(item) }))
    .sort((a, b) => a.name.localeCompare(b.name, 'en'))
  for (const row of rows)
    if (row.summary === '') undocumented.push(`${row.path}: ${row.local} has no docstring`)
  const table = rows.map(
    ({ name, kind, path, summary }) => `| [\`${name}\`](../${path}) | ${kind} | ${summary} |`,
  )
  return `## ${name}\n\n| name | | |\n| --- | --- | --- |\n${table.join('\n')}\n`
})
const page = `# API

Every public name, with the first sentence of its docstring; the link leads to the file with the rest. Written by
\`node scripts/generate-api.mjs\`.

${sections.join('\n')}`

const target = join('docs', 'api.md')
if (process.argv.includes('--check')) {
  for (const problem of undocumented) console.error(problem)
  const isCurrent = readFileSync(target, 'utf8') === page
  if (!isCurrent) console.error('docs/api.md is not current: run node scripts/generate-api.mjs')
  process.exitCode = isCurrent && undocumented.length === 0 ? 0 : 1
} else {
  writeFileSync(target, page)
}

/** The names that an entry exports, with the file and the name they are declared by. */
function exportsOf(path) {
  const text = readFileSync(path, 'utf8')
  const passedOn = [...text.matchAll(/export (?:type )?\{([^}]*)\} from '([^']+)'/g)].flatMap(
    ([, names, from]) =>
      names
        .split(',')
        .map((name) => name.trim().replace(/^type /, ''))
        .filter((name) => name !== '')
        .map((name) => {
          const [local, alias] = name.split(/ as /)
          return { local, name: alias ?? local, path: posix.join(posix.dirname(path), from) }
        }),
  )
  const own = [
    ...text.matchAll(
      /^export (?:abstract |async )?(?:class|function|const|let|interface|type) (\w+)/gm,
    ),
  ]
  return [...passedOn, ...own.map(([, name]) => ({ local: name, name, path }))]
}

/** Where a name is declared, as what, and the first sentence above it. */
function declarationOf({ local, path }) {
  const text = readFileSync(path, 'utf8')
  const declarations = [
    ...text.matchAll(
      new RegExp(
        `^export (?:abstract |async )?(class|function|const|let|interface|type) ${local}\\b`,
        'gm',
      ),
    ),
  ]
  // A class beside an interface of the same name is the one that is documented.
  const declaration = declarations.find(([, kind]) => kind === 'class') ?? declarations[0]
  if (declaration === undefined) throw new Error(`${path} declares no ${local}`)
  const before = text.slice(0, declaration.index)
  const docstring = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(before)?.[1] ?? ''
  const paragraph = docstring
    .replace(/^[ \t]*\*? ?/gm, '')
    .trim()
    .split(/\n\s*\n|\n(?=@)/)[0]
    .replaceAll('\n', ' ')
  const summary = /^.*?[.:](?=\s|$)/.exec(paragraph)?.[0].replace(/:$/, '.') ?? paragraph
  const kind = { const: 'function', let: 'function' }[declaration[1]] ?? declaration[1]
  return { kind, summary: summary.replaceAll('|', '\\|') }
}
