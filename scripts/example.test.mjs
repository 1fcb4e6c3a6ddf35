import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { examples } from './lib/examples.mjs'
import { capture } from './lib/processes.mjs'
import { root, shown, sourceCondition } from './lib/workspace.mjs'

const env = {
  ...process.env,
  HOST: '127.0.0.1',
  PORT: '0',
  NODE_OPTIONS: undefined,
  NODE_TEST_CONTEXT: undefined,
  NODE_V8_COVERAGE: undefined,
}

/** `npm run example`, without npm; ended when it has said what there is to say. */
function runExample(args, { PORT } = env) {
  const loader = [`--conditions=${sourceCondition}`, `--import=${import.meta.resolve('tsx')}`]
  let isEnded = false
  return capture(process.execPath, [...loader, 'scripts/example.mjs', ...args], {
    env: { ...env, PORT },
    timeoutMs: 60_000,
    onOutput(output, child) {
      if (isEnded || !/^Ctrl-C to stop\n\nTry, .*\n\n$/ms.test(output)) return
      isEnded = true // a second signal would end it at once
      child.kill('SIGTERM')
    },
  })
}

/** The programs that are in the index, and have a docstring: those that git knows. Whoever tries something out writes
 * others beside them. */
function ownExamples(t) {
  const { status, stdout } = spawnSync('git', ['ls-files', 'examples'], {
    cwd: root,
    encoding: 'utf8',
  })
  if (status !== 0) return t.skip('this is no clone')
  const known = new Set(stdout.split('\n'))
  return examples().filter(({ path }) => known.has(path))
}

test('without a name, npm run example says how it is used, and lists the examples', async (t) => {
  const { code, stdout, stderr } = await runExample([])
  assert.deepEqual([code, stderr], [0, ''])
  assert.match(stdout, /^Usage: npm run example examples\/strings\.ts\n/)
  for (const { path, summary } of ownExamples(t) ?? []) {
    assert.notEqual(summary, '', path)
    assert(stdout.includes(`  ${path} `) && stdout.includes(summary), path)
  }
})

test('with a name that is no program, it says so on stderr, lists them, and fails', async () => {
  for (const name of ['examples/nothing.ts', 'examples', '']) {
    const { code, stdout, stderr } = await runExample([name])
    assert.deepEqual([code, stdout], [1, ''])
    const [first, empty, usage] = stderr.split('\n')
    assert.equal(first, `Cannot run ${JSON.stringify(name)}: there is no such program`)
    assert.equal(empty, '')
    assert.match(usage, /^Usage: /)
  }
})

test('a program is run by its path or its name, says what to try where it listens, and its exit code is that of the command', async () => {
  const names = ['examples/strings.ts', 'examples/strings', 'strings', 'strings.ts']
  for (const name of [...names, join(root, 'examples/strings.ts')]) {
    const { code, stdout, stderr } = await runExample([name])
    assert.deepEqual([code, stderr], [0, ''], stdout)
    const [listening, stop, empty, first, command, last] = stdout.split('\n')
    const { port } = /^Listening at http:\/\/127\.0\.0\.1:(?<port>\d+)\//.exec(listening).groups
    assert.equal(stop, 'Ctrl-C to stop')
    assert.equal(first, 'Try, in another terminal:')
    assert.equal(command, `  curl -N localhost:${port}`)
    assert.deepEqual([empty, last], ['', ''])
  }
})

test('a program that cannot start says only why', async () => {
  const { code, stdout, stderr } = await runExample(['strings'], { PORT: 'abc' })
  assert.deepEqual([code, stdout], [1, ''])
  assert.match(stderr, /^Cannot listen .*abc.*\n$/)
})

test("a program of somebody's own, without a docstring, is listed by its path, and run", async (t) => {
  const folder = mkdtempSync(join(root, 'examples/own-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = shown(join(folder, 'news.ts'))
  writeFileSync(
    join(root, path),
    "import { run } from '@wakerobin/server-node'\n\nrun('news', { port: 0 })\nprocess.exit(7)\n",
  )
  assert((await runExample([])).stdout.split('\n').includes(`  ${path}`))
  assert.equal((await runExample([path])).code, 7)
})

test('every program that does not show itself at its URL says what to try', (t) => {
  const pages = ['examples/chat/main.ts']
  for (const { path, commands } of ownExamples(t) ?? [])
    assert(pages.includes(path) || commands.length > 0, path)
})

test('every program is in the index', (t) => {
  const index = readFileSync(join(root, 'examples/README.md'), 'utf8')
  for (const { path } of ownExamples(t) ?? []) {
    const name = path.slice('examples/'.length)
    assert(index.includes(`| [${name}](${name}) | \`npm `), path)
  }
})
