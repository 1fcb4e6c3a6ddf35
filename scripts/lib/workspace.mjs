// Where things stand in this workspace.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The workspace's folder, without a slash at its end. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/[\\/]$/, '')

/** The export condition under which a package resolves to its source. */
export const sourceCondition = '@wakerobin/source'

/** The compiler of the workspace, and the older ones that the types must suit too. */
export const compilers = [
  { name: 'TypeScript 7', tsc: 'node_modules/typescript/bin/tsc' },
  { name: 'TypeScript 6.0', tsc: 'tools/compilers/node_modules/typescript-6.0/bin/tsc' },
  { name: 'TypeScript 5.9', tsc: 'tools/compilers/node_modules/typescript-5.9/bin/tsc' },
]

/**
 * @typedef {object} Entry
 * @property {string} subpath As in `exports`: '.', './testing'.
 * @property {string} specifier What a user imports: '@wakerobin/core/testing'.
 * @property {string} source Relative to the package: './src/testing.ts'.
 *
 * @typedef {object} Package
 * @property {string} dir Relative to the root: 'packages/core'.
 * @property {string} name '@wakerobin/core'.
 * @property {Record<string, any>} manifest Its package.json.
 * @property {Entry[]} entries
 */

/**
 * The packages that are published, in the order in which they depend on each other.
 *
 * @returns {Package[]}
 */
export function publishedPackages() {
  const found = readdirSync(join(root, 'packages'))
    .map((folder) => `packages/${folder}`)
    .filter((dir) => existsSync(join(root, dir, 'package.json')))
    .map(readPackage)
    .filter(({ manifest }) => !manifest.private)
  const names = new Set(found.map(({ name }) => name))
  const sorted = []
  const visit = (pkg) => {
    if (sorted.includes(pkg)) return
    for (const name of Object.keys({
      ...pkg.manifest.dependencies,
      ...pkg.manifest.peerDependencies,
    })) {
      if (names.has(name)) visit(found.find((other) => other.name === name))
    }
    sorted.push(pkg)
  }
  found.forEach(visit)
  return sorted
}

function readPackage(dir) {
  const manifest = JSON.parse(readFileSync(join(root, dir, 'package.json'), 'utf8'))
  const entries = Object.entries(manifest.exports)
    .filter(([, target]) => typeof target === 'object')
    .map(([subpath, target]) => ({
      subpath,
      specifier: manifest.name + subpath.slice(1),
      source: target[sourceCondition],
    }))
  return { dir, name: manifest.name, manifest, entries }
}

/** Every package.json of the workspace, relative to the root. */
export function manifestPaths() {
  const inside = (folder) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder)).map((name) => `${folder}/${name}`)
      : []
  return ['.', 'examples', 'bench', ...inside('packages'), ...inside('tools')]
    .map((dir) => posix.join(dir, 'package.json'))
    .filter((path) => existsSync(join(root, path)))
    .sort()
}

/**
 * The files below `dir` whose name ends so, relative to the root, sorted; generated folders are left out.
 *
 * @param {string} dir Relative to the root.
 * @param {string | RegExp} ending
 * @returns {string[]}
 */
export function filesBelow(dir, ending) {
  if (!existsSync(join(root, dir))) return []
  return readdirSync(join(root, dir), { withFileTypes: true })
    .flatMap((entry) => {
      const path = `${dir}/${entry.name}`
      if (entry.isDirectory()) return skipped.has(entry.name) ? [] : filesBelow(path, ending)
      const matches =
        typeof ending === 'string' ? entry.name.endsWith(ending) : ending.test(entry.name)
      return matches ? [path] : []
    })
    .sort()
}

const skipped = new Set(['node_modules', 'dist', 'coverage', '.scratch', '.git'])

/** A path as people read it here: relative to the root, with slashes. */
export function shown(path) {
  return relative(root, path).split(sep).join('/')
}
