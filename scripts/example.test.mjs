import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { examples } from './lib/examples.mjs'
import { capture } from './lib/processes.mjs'
import { root, sourceCondition } from './lib/workspace.mjs'

const env = {
  ...process.env,
  HOST: '127.0.0.1',
  PORT: '0',
  NODE_OPTIONS: undefined,
  NODE_TEST_CONTEXT: undefined,
  NODE_V8_COVERAGE: undefined,
}

/** `npm run example`, without npm; ended when it listens. */
function runExample(...args) {
  const loader = [`--conditions=${sourceCondition}`, `--import=${import.meta.resolve('tsx')}`]
  return capture(process.execPath, [...loader, 'scripts/example.mjs', ...args], {
    env,
    timeoutMs: 60_000,
    onOutput(output, child) {
      if (output.includes('Listening')) child.kill('SIGTERM')
    },
  })
}

test('without a name, npm run example says how it is used, lists the examples, and fails', async () => {
  const { code, output } = await runExample()
  assert.equal(code, 1)
  assert.match(output, /^Usage: npm run example examples\/strings\.ts\n/)
  for (const { path, summary } of examples()) {
    assert.notEqual(summary, '', path)
    assert(output.includes(`  ${path} `) && output.includes(summary), path)
  }
})

test('with a name that is no program, it says so, and the same', async () => {
  for (const name of ['examples/nothing.ts', 'examples', '']) {
    const { code, output } = await runExample(name)
    assert.equal(code, 1)
    const [first, empty, usage] = output.split('\n')
    assert.equal(first, `Cannot run ${JSON.stringify(name)}: there is no such program`)
    assert.equal(empty, '')
    assert.match(usage, /^Usage: /)
  }
})

test('a program is run by its path or its name, behind what to try, and its exit code is that of the command', async () => {
  for (const name of ['examples/strings.ts', 'strings', join(root, 'examples/strings.ts')]) {
    const { code, output } = await runExample(name)
    assert.equal(code, 0, output)
    const [first, command, empty, listening] = output.split('\n')
    assert.equal(first, 'Try, in another terminal:')
    assert.equal(command, '  curl -N localhost:0')
    assert.equal(empty, '')
    assert.match(listening, /^Listening at http:/)
  }
})

test('every program that does not show itself at its URL says what to try', () => {
  const pages = ['examples/chat/main.ts']
  for (const { path, commands } of examples())
    assert(pages.includes(path) || commands.length > 0, path)
})

test('every program is in the index', () => {
  const index = readFileSync(join(root, 'examples/README.md'), 'utf8')
  for (const { path } of examples()) {
    const name = path.slice('examples/'.length)
    assert(index.includes(`| [${name}](${name}) | \`npm `), path)
  }
})
