// The rules of check-boundaries.mjs, over file texts in memory.
import { posix } from 'node:path'

import { importsOf } from './parse.mjs'

/**
 * @typedef {object} Tree
 * @property {Record<string, string[]>} mayImport Folder of packages/ to what its source may import:
 *   folders of packages/, outside packages, or 'node:'.
 * @property {{ dir: string, name: string, manifest: any, entries: { specifier: string }[] }[]} packages
 * @property {{ dir: string, manifest: any, shares?: string[] }[]} programs Folders that use the packages as a user
 *   would; `shares` are folders whose files they may import besides their own.
 * @property {Map<string, string>} files Path to text: all TypeScript files of packages and programs.
 */

/**
 * Every import that crosses a boundary, as `file:line imports … ; allowed: …`.
 *
 * @param {Tree} tree
 * @returns {string[]}
 */
export function boundaryProblems(tree) {
  const problems = []
  const doors = new Set(
    tree.packages.flatMap(({ entries }) => entries.map(({ specifier }) => specifier)),
  )
  for (const pkg of tree.packages) {
    const row = tree.mayImport[posix.basename(pkg.dir)]
    if (!row) {
      problems.push(`${pkg.dir}: has no row in the table mayImport of scripts/check-boundaries.mjs`)
      continue
    }
    const { sources, tests } = filesOf(tree, `${pkg.dir}/src`)
    for (const dir of ['fixtures', 'scenarios']) {
      const helpers = filesOf(tree, `${pkg.dir}/${dir}`)
      tests.push(...helpers.sources, ...helpers.tests)
    }
    for (const file of sources)
      problems.push(...hiddenImports(file.path, tree.files.get(file.path)))
    for (const file of sources)
      problems.push(
        ...file.imports.flatMap((found) => sourceProblem(tree, pkg, row, doors, file, found)),
      )
    for (const file of tests)
      problems.push(...file.imports.flatMap((found) => freeProblem(tree, pkg, doors, file, found)))
    problems.push(...cycles(sources))
  }
  for (const program of tree.programs) {
    const { sources, tests } = filesOf(tree, program.dir)
    for (const file of [...sources, ...tests]) {
      problems.push(
        ...file.imports.flatMap((found) => freeProblem(tree, program, doors, file, found)),
      )
    }
  }
  return problems
}

function filesOf(tree, dir) {
  const files = [...tree.files]
    .filter(([path]) => path.startsWith(`${dir}/`))
    .map(([path, text]) => ({ path, imports: importsOf(path, text) }))
  const isTest = ({ path }) => /\.test(-d)?\.ts$/.test(path)
  return { sources: files.filter((file) => !isTest(file)), tests: files.filter(isTest) }
}

/** Ways past the table: types by a reference, and imports whose name is worked out at run time. */
function hiddenImports(path, text) {
  const ways = [
    [/^\s*\/\/\/\s*<reference\b/, 'refers to types; allowed: what tsconfig.json names'],
    [
      /\bimport\((?!\s*['"][^'"]*['"]\s*\))/,
      'imports what is worked out; allowed: names in quotes',
    ],
  ]
  return text
    .split('\n')
    .flatMap((line, index) =>
      ways
        .filter(([way]) => way.test(line) && !/^\s*(\*|\/\/(?!\/))/.test(line))
        .map(([, problem]) => `${path}:${index + 1} ${problem}`),
    )
}

/** What the source of a package may import: the files beside it, and its row of the table. */
function sourceProblem(tree, pkg, row, doors, file, { specifier, line }) {
  const problem = (allowed) => [`${file.path}:${line} imports '${specifier}'; allowed: ${allowed}`]
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file.path), specifier)
    if (!target.startsWith(`${pkg.dir}/src/`)) return problem(`files below ${pkg.dir}/src`)
    if (!tree.files.has(target)) return problem('a file that exists, with its ending .ts')
    if (target === `${pkg.dir}/src/index.ts`)
      return problem("the file that defines the name, not the package's own door")
    if (/\.test(-d)?\.ts$/.test(target)) return problem('files that are packed; this is a test')
    return []
  }
  if (isWithin(specifier, pkg.name))
    return problem("the file that defines the name, not the package's own door")
  if (specifier.startsWith('node:')) return row.includes('node:') ? [] : problem(shownRow(row))
  const other = tree.packages.find(({ name }) => isWithin(specifier, name))
  if (!row.includes(other ? posix.basename(other.dir) : packageName(specifier)))
    return problem(shownRow(row))
  if (other && !doors.has(specifier))
    return problem(`the entries of ${other.name}: ${entriesOf(other)}`)
  if (!isListed(specifier, pkg.manifest.dependencies, pkg.manifest.peerDependencies)) {
    return problem(`what dependencies or peerDependencies of ${pkg.dir}/package.json list`)
  }
  return []
}

/** What tests and programs may import: the files of their folder, Node, and any package they depend on, by its doors. */
function freeProblem(tree, { dir, name, manifest, shares = [] }, doors, file, { specifier, line }) {
  const problem = (allowed) => [`${file.path}:${line} imports '${specifier}'; allowed: ${allowed}`]
  if (specifier.startsWith('node:')) return []
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file.path), specifier)
    const allowed = [dir, ...shares]
    if (allowed.some((folder) => target.startsWith(`${folder}/`))) return []
    return problem(`files below ${allowed.join(' and ')}`)
  }
  const other = tree.packages.find((pkg) => isWithin(specifier, pkg.name))
  if (other && !doors.has(specifier))
    return problem(`the entries of ${other.name}: ${entriesOf(other)}`)
  if (other?.name === name) return []
  if (
    !isListed(specifier, manifest.dependencies, manifest.peerDependencies, manifest.devDependencies)
  ) {
    return problem(`what ${dir}/package.json lists`)
  }
  return []
}

/** Cycles between source files; those of types alone are erased and do no harm. */
function cycles(sources) {
  const edges = new Map(
    sources.map(({ path, imports }) => [
      path,
      imports
        .filter(({ specifier, isType }) => !isType && specifier.startsWith('.'))
        .map(({ specifier }) => posix.join(posix.dirname(path), specifier)),
    ]),
  )
  const problems = []
  const done = new Set()
  const walk = (path, trail) => {
    if (trail.includes(path)) {
      const cycle = [...trail.slice(trail.indexOf(path)), path]
      problems.push(
        `${path} imports itself: ${cycle.map((file) => posix.basename(file)).join(' -> ')}; allowed: cycles of \`import type\``,
      )
    } else if (!done.has(path)) {
      for (const next of edges.get(path) ?? []) walk(next, [...trail, path])
      done.add(path)
    }
  }
  for (const path of edges.keys()) walk(path, [])
  return problems
}

function isWithin(specifier, name) {
  return specifier === name || specifier.startsWith(`${name}/`)
}

function packageName(specifier) {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

function isListed(specifier, ...groups) {
  const name = packageName(specifier)
  return groups.some((group) => group && (name in group || `@types/${name}` in group))
}

function entriesOf({ entries }) {
  return entries.map(({ specifier }) => specifier).join(', ')
}

function shownRow(row) {
  return row.length ? `${row.join(', ')}, and files of the package` : 'only files of the package'
}
