// Writes docs/api.md: every public name, its declaration and file, and the first sentence of its docstring.
//   node scripts/generate-api.mjs           writes it
//   node scripts/generate-api.mjs --check   fails when it is not current, or when a name has no docstring
import { readFileSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'

import { selfTest } from './lib/declarations-self-test.mjs'
import { connExtensionsOf, declarationsOf } from './lib/declarations.mjs'
import { filesBelow, root } from './lib/workspace.mjs'

process.chdir(root)

const entries = [
  ['@wakerobin/core', 'packages/core/src/index.ts'],
  ['@wakerobin/core/fetch', 'packages/core/src/fetch.ts'],
  ['@wakerobin/core/testing', 'packages/core/src/testing.ts'],
  ['@wakerobin/core/adapter', 'packages/core/src/adapter.ts'],
  ['@wakerobin/sse', 'packages/sse/src/index.ts'],
  ['@wakerobin/sse/testing', 'packages/sse/src/testing.ts'],
  ['@wakerobin/sse-file', 'packages/sse-file/src/index.ts'],
  ['@wakerobin/server-node', 'packages/server-node/src/index.ts'],
  ['@wakerobin/server-node/testing', 'packages/server-node/src/testing.ts'],
  ['@wakerobin/logger', 'packages/logger/src/index.ts'],
  ['@wakerobin/router', 'packages/router/src/index.ts'],
  ['@wakerobin/forwarded', 'packages/forwarded/src/index.ts'],
  ['@wakerobin/sse-nats', 'packages/sse-nats/src/index.ts'],
  ['@wakerobin/websocket', 'packages/websocket/src/index.ts'],
  ['@wakerobin/sse-redis', 'packages/sse-redis/src/index.ts'],
]

/** A longer type is cut. */
const mostLines = 20

const undocumented = []
const slugs = new Map()
const sections = entries.map(([entry, path]) => {
  const items = exportsOf(path)
    .map((item) => ({ ...item, ...declarationOf(item) }))
    .sort((a, b) => a.name.localeCompare(b.name, 'en'))
  for (const { path, local, summary } of items)
    if (summary === '') undocumented.push(`${path}: ${local} has no docstring`)
  const anchor = anchorOf(entry)
  const links = items.map(({ name }) => `[\`${name}\`](#${anchorOf(name)})`)
  const text = [`## ${entry}`, links.join(' · '), ...conn(path), ...items.map(shownItem)].join(
    '\n\n',
  )
  return { link: `[${entry}](#${anchor})`, text }
})
const page = `# API

Every public name: its declaration, without what is private, and the first sentence of its docstring; the link leads to the file with
the rest. Written by \`node scripts/generate-api.mjs\`.

${sections.map(({ link }) => `- ${link}`).join('\n')}

${sections.map(({ text }) => text).join('\n\n')}
`

const target = join('docs', 'api.md')
if (process.argv.includes('--check')) {
  selfTest()
  for (const problem of undocumented) console.error(problem)
  const isCurrent = readFileSync(target, 'utf8') === page
  if (!isCurrent) console.error('docs/api.md is not current: run node scripts/generate-api.mjs')
  process.exitCode = isCurrent && undocumented.length === 0 ? 0 : 1
} else {
  writeFileSync(target, page)
}

function shownItem({ name, path, declaration, summary }) {
  return `### ${name}\n\n${fenced(folded(declaration))}\n\n${summary} [${posix.basename(path)}](../${path})`
}

/** What a package adds to every conn. */
function conn(path) {
  if (posix.basename(path) !== 'index.ts') return []
  const added = filesBelow(posix.dirname(path), '.ts')
    .filter((file) => !/\.test(-d)?\.ts$/.test(file))
    .flatMap((file) => connExtensionsOf(file, readFileSync(file, 'utf8')))
  if (added.length === 0) return []
  return ['Every conn has, besides:', fenced(`interface Conn {\n  ${added.join('\n  ')}\n}`)]
}

/** In types for tuples each of the sixteen positions is like the one before, and whole types may be long. */
function folded(declaration) {
  const text = declaration
    .replace(/R2(, R\d+)+, R16/g, '…, R16')
    .replace(
      /^( *(?:\| )?)(?:Out<)?R2\b.*\n(?:.*\bR\d+\b.*\n)*?(?= *(?:\| )?(?:Out<)?R16\b)/gm,
      '$1…\n',
    )
  const lines = text.split('\n')
  if (!text.startsWith('type ') || lines.length <= mostLines) return text
  return [...lines.slice(0, 6), '    …', lines.at(-1)].join('\n')
}

function fenced(code) {
  return `\`\`\`ts\n${code}\n\`\`\``
}

/** As GitHub makes them: the second of one name ends with -1. */
function anchorOf(heading) {
  const slug = heading
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-')
  const count = slugs.get(slug) ?? 0
  slugs.set(slug, count + 1)
  return count === 0 ? slug : `${slug}-${count}`
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

/** How a name is declared, and the first sentence above it. */
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
  const first = declarations.find(([, kind]) => kind === 'class') ?? declarations[0]
  if (first === undefined) throw new Error(`${path} declares no ${local}`)
  const before = text.slice(0, first.index)
  const docstring = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(before)?.[1] ?? ''
  const paragraph = docstring
    .replace(/^[ \t]*\*? ?/gm, '')
    .trim()
    .split(/\n\s*\n|\n(?=@)/)[0]
    .replaceAll('\n', ' ')
  const summary = /^.*?[.:](?=\s|$)/.exec(paragraph)?.[0].replace(/:$/, '.') ?? paragraph
  return { declaration: declarationsOf(path, text).get(local), summary }
}
