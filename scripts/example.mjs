// `npm run example examples/rooms.ts`: runs a program of the workspace, and says what to try with it when it listens.
//
// It runs in this process, so that signals reach it and its exit code is that of the command.
import { realpathSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

import { examples, readExample } from './lib/examples.mjs'
import { root, shown } from './lib/workspace.mjs'

const [given] = process.argv.slice(2)
const file = given && fileOf(given)

if (file) {
  introduce(shown(file))
  process.argv.splice(1, 2, file) // a program that is imported by another one listens nowhere
  await import(pathToFileURL(file).href)
} else if (given === undefined) {
  console.log(usage())
} else {
  console.error(`Cannot run ${JSON.stringify(given)}: there is no such program\n\n${usage()}`)
  process.exitCode = 1
}

/** `rooms` is enough for `examples/rooms.ts`, and so is `examples/rooms`. */
function fileOf(name) {
  const paths = [name, join('examples', name)].flatMap((path) => [path, `${path}.ts`])
  const isFile = (path) => statSync(path, { throwIfNoEntry: false })?.isFile() === true
  const path = paths.map((path) => resolve(root, path)).find(isFile)
  return path && realpathSync(path)
}

/** Prints what to try, below the lines with which `run` says that it listens: only then is the port known. */
function introduce(path) {
  const { commands } = readExample(path)
  if (commands.length === 0) return
  const { log } = console
  let port
  console.log = (...args) => {
    log(...args)
    port ??= /^Listening at https?:\/\/[^/]+:(\d+)\//.exec(args[0])?.[1]
    if (port === undefined || args[0] !== 'Ctrl-C to stop') return
    console.log = log
    const here = commands.map(
      (command) => `  ${command.replace(/localhost:\d+/, `localhost:${port}`)}`,
    )
    log(`\nTry, in another terminal:\n${here.join('\n')}\n`)
  }
}

function usage() {
  const rows = examples().map(({ path, summary }) => `  ${path.padEnd(32)}${summary}`.trimEnd())
  return `Usage: npm run example examples/strings.ts\n\n${rows.join('\n')}`
}
