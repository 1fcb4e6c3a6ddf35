// `npm run docs:check`: every ```ts block of the markdown files and docstrings is type-checked and run,
// and every relative link leads to a file.
//
//   npm run docs:check                 all
//   npm run docs:check -- README sse   files whose path contains one of the words
//
// Each block is a module of its own, run in its own process. On the opening fence:
//   ```ts no-run: needs a database     type-checked only
//   ```ts no-check: an outline         neither
// A block that starts a server gets SIGTERM when it has printed where it listens, and must exit 0.
// A fence ```text prints after a block holds all lines that the block prints; a line … stands for others, or none.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'

import { fencesOf, linksOf } from './lib/markdown.mjs'
import { docstringsOf } from './lib/parse.mjs'
import { capture, mapLimited } from './lib/processes.mjs'
import { compilers, filesBelow, root, sourceCondition } from './lib/workspace.mjs'

const timeoutMs = 20_000
const concurrency = 2
/** A server that the block stops by itself gets this long to do so. */
const graceMs = 300

process.chdir(root)
const words = process.argv.slice(2)
const isWanted = (path) => words.length === 0 || words.some((word) => path.includes(word))
const markdown = [
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].filter((path) => existsSync(path)),
  ...['packages', 'docs', 'examples', 'bench'].flatMap((dir) => filesBelow(dir, '.md')),
].filter(isWanted)
const sources = filesBelow('packages', '.ts')
  .filter((path) => !/\.test(-d)?\.ts$/.test(path))
  .filter(isWanted)

const problems = markdown.flatMap(deadLinks)
const blocks = [
  ...markdown.filter(isProgrammatic).flatMap(markdownBlocks),
  ...sources.flatMap(sourceBlocks),
]
problems.push(
  ...blocks.filter(({ mistake }) => mistake).map(({ place, mistake }) => `${place}: ${mistake}`),
)

mkdirSync('examples/.scratch', { recursive: true })
const scratch = mkdtempSync('examples/.scratch/docs-')
process.on('exit', () => rmSync(join(root, scratch), { recursive: true, force: true }))
blocks.forEach((block, index) => {
  // Blank lines above keep the line numbers; the name of the module stands for the file's in errors.
  block.module = `${scratch}/${index}.ts`
  writeFileSync(block.module, '\n'.repeat(block.line - 1) + block.text)
})

const checked = blocks.filter(({ mode }) => mode !== 'no-check')
const started = checked.filter(({ mode }) => mode === 'run')
problems.push(...(await typeErrors()))
if (problems.length === 0)
  problems.push(...(await mapLimited(started, concurrency, failureOf)).filter(Boolean))

for (const problem of problems) console.error(problem)
for (const { place, mode, reason } of blocks.filter(({ reason }) => reason))
  console.log(`${place}: ${mode}: ${reason}`)
console.log(
  `docs: ${markdown.length} markdown files, ${blocks.length} blocks: ${checked.length} type-checked, ${started.length} run, ` +
    (problems.length === 0 ? 'all well' : `${problems.length} problems`),
)
process.exitCode = problems.length === 0 ? 0 : 1

/** Whether its blocks are programs: a changelog's are of their time, and those of the API page declarations. */
function isProgrammatic(path) {
  return !path.endsWith('CHANGELOG.md') && path !== 'docs/api.md'
}

function deadLinks(path) {
  return linksOf(readFileSync(path, 'utf8'))
    .filter(({ target }) => !/^([a-z][a-z+.-]*:|#|\/\/)/i.test(target))
    .filter(
      ({ target }) =>
        !existsSync(
          posix.join(posix.dirname(path), decodeURIComponent(target.replace(/[#?].*$/, ''))),
        ),
    )
    .map(({ target, line }) => `${path}:${line}: the link leads nowhere: ${target}`)
}

function markdownBlocks(path) {
  return blocksOf(path, readFileSync(path, 'utf8'), 1)
}

function sourceBlocks(path) {
  return docstringsOf(path, readFileSync(path, 'utf8')).flatMap(({ line, text }) =>
    blocksOf(path, text, line),
  )
}

/** The ```ts fences of a text which begins at line `first` of its file. */
function blocksOf(path, text, first) {
  const fences = fencesOf(text)
  return fences.flatMap((fence, index) => {
    const [language, ...rest] = fence.info.split(/\s+/)
    const at = `${path}:${first + fence.line - 1}`
    const refused = (mistake) => [
      { path, line: first, place: at, text: '', mode: 'no-check', mistake },
    ]
    if (/^(typescript|TS|tsx|js|jsx|javascript|mjs|mts)$/.test(language))
      return refused(`the fence says "${language}"; code that is checked says "ts"`)
    if (fence.info === 'text prints' && !(fence.isNext && /^ts\b/.test(fences[index - 1].info)))
      return refused('the fence says what a block prints, but none stands before it')
    if (language !== 'ts') return []
    const line = first + fence.line // the line below the ticks
    const place = `${path}:${line - 1}`
    const next = fences[index + 1]
    const prints = next?.isNext && next.info === 'text prints' ? next.text : ''
    return [{ path, line, place, text: fence.text, prints, ...modeOf(rest.join(' ')) }]
  })
}

function modeOf(info) {
  if (info === '') return { mode: 'run' }
  const [, mode, reason] = /^(no-run|no-check): (\S.*)$/.exec(info) ?? []
  return mode
    ? { mode, reason }
    : {
        mode: 'no-check',
        mistake: `the fence says "ts ${info}"; known are "ts no-run: reason" and "ts no-check: reason"`,
      }
}

async function typeErrors() {
  if (checked.length === 0) return []
  const config = {
    extends: '../../tsconfig.json',
    files: checked.map(({ module }) => posix.basename(module)),
    include: [],
  }
  writeFileSync(`${scratch}/tsconfig.json`, JSON.stringify(config))
  const { code, output } = await capture(process.execPath, [
    compilers[0].tsc,
    '--noEmit',
    '--pretty',
    'false',
    '-p',
    scratch,
  ])
  return code === 0 ? [] : [inOriginal(output.trimEnd())]
}

/** Runs a block; says what went wrong, or returns undefined. */
async function failureOf(block) {
  let isListening = false
  const stopWhenListening = (output, child) => {
    if (isListening || !/http:\/\/|Listening/.test(output)) return
    isListening = true
    setTimeout(() => child.kill('SIGTERM'), graceMs)
  }
  const nodeArgs = [
    `--conditions=${sourceCondition}`,
    '--enable-source-maps',
    `--import=${import.meta.resolve('tsx')}`,
  ]
  const { code, signal, output, timedOut } = await capture(
    process.execPath,
    [...nodeArgs, join(root, block.module)],
    {
      cwd: scratch,
      env: { ...process.env, PORT: '0', HOST: '127.0.0.1' },
      timeoutMs,
      onOutput: stopWhenListening,
    },
  )
  const told = `\n${inOriginal(output.trimEnd())}`.replaceAll('\n', '\n    ')
  if (timedOut) return `${block.place}: did not end within ${timeoutMs / 1000} s${told}`
  if (code !== 0)
    return `${block.place}: ended with ${signal ?? `status ${code}`}${isListening ? ' after SIGTERM' : ''}${told}`
  if (block.prints === '' || isPrinted(block.prints, output)) return undefined
  return `${block.place}: did not print what the document says; a line … stands for what is left out${told}`
}

/** Whether `output` is what is expected. Ports and empty lines may differ. */
function isPrinted(expected, output) {
  const lines = (text) =>
    text
      .replace(/(https?:\/\/[^\s/:]+):\d+/g, '$1')
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean)
  const pattern = lines(expected).map((line) =>
    line === '…' ? '(?:.*\n)*?' : `${escaped(line)}\n`,
  )
  return new RegExp(`^${pattern.join('')}$`).test(
    lines(output)
      .map((line) => `${line}\n`)
      .join(''),
  )
}

function escaped(text) {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`)
}

/** Puts the documents' names in place of the modules'. */
function inOriginal(text) {
  return text.replace(
    /(?:file:\/\/)?[^\s(]*\.scratch\/docs-\w+\/(\d+)\.ts/g,
    (_, index) => blocks[index].path,
  )
}
