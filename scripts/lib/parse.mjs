// What the checks read out of a TypeScript file: its imports and its docstrings.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

import { root } from './workspace.mjs'

// TypeScript 7 has no parser for others to use; this one belongs to the optional part of the install.
const { parseSync } = await importTool('oxc-parser')

/**
 * Loads a package of tools/checks.
 *
 * @param {string} name
 */
export async function importTool(name) {
  const path = createRequire(join(root, 'tools/checks/package.json')).resolve(name)
  return import(pathToFileURL(path).href)
}

/**
 * @typedef {object} Import
 * @property {string} specifier
 * @property {number} line
 * @property {boolean} isType Erased when the file is run: `import type`, `export type`, `import('…').Name`.
 */

/**
 * Every import and re-export of a file, `import()` and the types `import('…')` included.
 *
 * @param {string} path Names the file in errors.
 * @param {string} text
 * @returns {Import[]}
 */
export function importsOf(path, text) {
  const { program } = parse(path, text)
  const found = []
  visit(program, (node) => {
    const kind = importingNodes[node.type]
    const source = kind && node[kind.property]
    if (typeof source?.value !== 'string') return
    const isType = kind.isType ?? (node.importKind ?? node.exportKind) === 'type'
    found.push({ specifier: source.value, line: lineAt(text, source.start), isType })
  })
  return found
}

const importingNodes = {
  ImportDeclaration: { property: 'source' },
  ExportNamedDeclaration: { property: 'source' },
  ExportAllDeclaration: { property: 'source' },
  ImportExpression: { property: 'source', isType: false },
  TSImportType: { property: 'source', isType: true },
  TSExternalModuleReference: { property: 'expression', isType: false },
}

/**
 * The text of every docstring, with spaces in place of the stars, so that lines and columns stay.
 *
 * @param {string} path
 * @param {string} text
 * @returns {{ line: number, text: string }[]} `line` is where the text begins.
 */
export function docstringsOf(path, text) {
  return parse(path, text)
    .comments.filter(({ type, value }) => type === 'Block' && value.startsWith('*'))
    .map(({ start, value }) => ({
      line: lineAt(text, start),
      text: value.replace(/^[ \t]*\*( |$)?/gm, (stars) => ' '.repeat(stars.length)),
    }))
}

export function parse(path, text) {
  const result = parseSync(path, text)
  if (result.errors.length) throw new SyntaxError(`${path}: ${result.errors[0].message}`)
  return result
}

function visit(node, callback) {
  if (Array.isArray(node)) {
    for (const item of node) visit(item, callback)
  } else if (node && typeof node === 'object') {
    if (node.type) callback(node)
    for (const child of Object.values(node)) visit(child, callback)
  }
}

function lineAt(text, offset) {
  return text.slice(0, offset).split('\n').length
}
