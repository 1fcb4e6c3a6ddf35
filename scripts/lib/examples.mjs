// The programs in examples/, as their docstrings tell of them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { filesBelow, root } from './workspace.mjs'

/**
 * @typedef {object} Example
 * @property {string} path 'examples/strings.ts'.
 * @property {string} summary The first sentence of its docstring.
 * @property {string[]} commands What to try once it runs: the indented lines of its docstring, but the one that starts it.
 */

/**
 * Every program in examples/ that runs on Node, sorted.
 *
 * @returns {Example[]}
 */
export function examples() {
  return filesBelow('examples', '.ts')
    .filter((path) => !path.endsWith('.test.ts') && startsServer.test(readText(path)))
    .map(readExample)
}

/** What a program has, and files that are imported by others do not. */
const startsServer = /^if \(process\.argv\[1\] === import\.meta\.filename\)|^run\(/m

/** @param {string} path Relative to the root. */
export function readExample(path) {
  const docstring = /^\/\*\*([\s\S]*?)\*\//.exec(readText(path))?.[1] ?? ''
  const lines = docstring.split('\n').map((line) => line.replace(/^ \* ?/, '').trimEnd())
  const [paragraph] = lines.join('\n').trim().split('\n\n')
  const commands = lines.filter((line) => line.startsWith('    ')).map((line) => line.trim())
  return {
    path,
    summary: /^.*?\.(?=\s|$)/.exec(paragraph.replaceAll('\n', ' '))?.[0] ?? '',
    commands: commands.filter((command) => !command.includes('npm run example')),
  }
}

function readText(path) {
  return readFileSync(join(root, path), 'utf8')
}
