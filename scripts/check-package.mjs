// What users get: packs every published package and looks at the tarballs as a user would. Build first.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

import { build } from 'esbuild'

import { capture } from './lib/processes.mjs'
import {
  compilers,
  filesBelow,
  publishedPackages,
  root,
  sourceCondition,
} from './lib/workspace.mjs'

process.chdir(root)
const packages = publishedPackages()
const { packageManager } = JSON.parse(readFileSync('package.json', 'utf8'))
const scratch = mkdtempSync(join(tmpdir(), 'wakerobin-pack-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))
const consumer = join(scratch, 'consumer')
let isFailed = false

for (const pkg of packages) {
  await step(`${pkg.name}: publishConfig.exports is exports without the source`, () =>
    comparePublished(pkg),
  )
  await step(`${pkg.name}: pnpm pack`, () => pack(pkg))
}
if (!isFailed) {
  for (const pkg of packages) {
    await step(`${pkg.name}: publint`, () => tool('publint', ['run', pkg.tarball, '--strict']))
    await step(`${pkg.name}: arethetypeswrong`, () =>
      tool('attw', [pkg.tarball, '--profile', 'esm-only', '--no-emoji']),
    )
  }
  await step('the tarballs install into a new project', installConsumer)
}
if (!isFailed) {
  for (const pkg of packages)
    await step(`${pkg.name}: holds what it should, source maps lead to its src`, () =>
      lookInside(pkg),
    )
  await step('every entry can be imported', importEntries)
  await step('every entry can be required', requireEntries)
  await step('a bundler keeps conn.withSseStream', bundle)
  for (const compiler of compilers)
    await step(`a user's program type-checks: ${compiler.name}`, () => typeCheck(compiler))
}
process.exitCode = isFailed ? 1 : 0

/** Runs one check and prints its outcome; a check fails by throwing. */
async function step(name, check) {
  try {
    await check()
    console.log(`ok     ${name}`)
  } catch (error) {
    isFailed = true
    console.log(`failed ${name}\n${error.message}`)
  }
}

function comparePublished({ manifest }) {
  const withoutSource = structuredClone(manifest.exports)
  for (const target of Object.values(withoutSource)) delete target[sourceCondition]
  expect(
    isDeepStrictEqual(withoutSource, manifest.publishConfig.exports),
    'they differ in package.json',
  )
}

async function pack(pkg) {
  const folder = join(scratch, 'tarballs', pkg.dir)
  mkdirSync(folder, { recursive: true })
  await succeed(
    'npx',
    ['--yes', '--prefer-offline', packageManager, 'pack', '--pack-destination', folder],
    { cwd: pkg.dir },
  )
  const tarballs = readdirSync(folder)
  expect(tarballs.length === 1, `${tarballs.length} tarballs`)
  pkg.tarball = join(folder, tarballs[0])
}

function tool(name, args) {
  return succeed(join(root, 'tools/checks/node_modules/.bin', name), args)
}

async function installConsumer() {
  const dependencies = Object.fromEntries(
    packages.map(({ name, tarball }) => [name, `file:${tarball}`]),
  )
  mkdirSync(consumer)
  write(
    'package.json',
    JSON.stringify({ private: true, type: 'module', dependencies, overrides: dependencies }),
  )
  await succeed(
    'npm',
    ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts'],
    { cwd: consumer },
  )
}

function lookInside({ name, manifest }) {
  const dir = join(consumer, 'node_modules', name)
  const packed = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'))
  const text = JSON.stringify([packed.exports, packed.dependencies ?? {}])
  expect(
    !text.includes(sourceCondition) && !text.includes('workspace:'),
    `package.json was packed as it stands: ${text}`,
  )
  for (const file of ['README.md', 'CHANGELOG.md', 'LICENSE-MIT', 'LICENSE-APACHE']) {
    expect(existsSync(join(dir, file)), `${file} is missing`)
  }
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  const stray = files.filter((file) =>
    /\.test(-d)?\.ts$|\.tsbuildinfo$|[\\/](testdata|\.scratch)[\\/]/.test(file),
  )
  expect(stray.length === 0, `these should stay at home: ${stray.join(', ')}`)
  const maps = files.filter((file) => file.endsWith('.map'))
  expect(
    maps.some((file) => file.endsWith('.js.map')) &&
      maps.some((file) => file.endsWith('.d.ts.map')),
    'source maps are missing',
  )
  for (const map of maps) {
    const { sources, sourceRoot = '' } = JSON.parse(readFileSync(map, 'utf8'))
    for (const source of sources) {
      expect(
        existsSync(resolve(dirname(map), sourceRoot, source)),
        `${map} names ${source}, which is not packed`,
      )
    }
  }
  const listed = Array.isArray(manifest.sideEffects)
    ? manifest.sideEffects.filter((path) => path.startsWith('./src/'))
    : []
  for (const path of listed)
    expect(existsSync(join(dir, path)), `sideEffects lists ${path}, which is not there`)
}

async function importEntries() {
  write(
    'import.js',
    specifiers()
      .map((specifier) => `await import('${specifier}')\n`)
      .join(''),
  )
  await succeed(process.execPath, ['import.js'], { cwd: consumer })
}

/** CommonJS users: `require` of a module works as long as no entry awaits at its top level. */
async function requireEntries() {
  write(
    'require.cjs',
    specifiers()
      .map((specifier) => `require('${specifier}')\n`)
      .join(''),
  )
  await succeed(process.execPath, ['--no-warnings', 'require.cjs'], { cwd: consumer })
}

async function bundle() {
  write(
    'bundle.js',
    `import { Conn } from '@wakerobin/core'
    import '@wakerobin/sse'
    if (typeof Conn.prototype.withSseStream !== 'function') throw new Error('the method is gone')`,
  )
  await build({
    absWorkingDir: consumer,
    entryPoints: ['bundle.js'],
    outfile: 'bundled.js',
    bundle: true,
    format: 'esm',
    platform: 'node',
  })
  await succeed(process.execPath, ['bundled.js'], { cwd: consumer })
}

/** Without skipLibCheck: the declarations themselves must hold, with Node's types and with a browser's. */
async function typeCheck({ tsc }) {
  write(
    'consumer.ts',
    `${specifiers()
      .map((specifier, index) => `import * as entry${index} from '${specifier}'`)
      .join('\n')}
    import type { Conn, Upgrade } from '@wakerobin/core'
    import '@wakerobin/sse'
    export const entries: object[] = [${specifiers().map((_, index) => `entry${index}`)}]
    export const streams = (conn: Conn) => conn.withSseStream(['one', 'two'])
    // @ts-expect-error a number is no stream: the method is there and has a type
    export const wrong = (conn: Conn) => conn.withSseStream(7)
    export const taken = (upgrade: Upgrade) => upgrade.takeTransport().socket.write('by server-node')\n`,
  )
  write(
    'portable.ts',
    `${portable()
      .map((specifier) => `import '${specifier}'\n`)
      .join('')}export {}\n`,
  )
  const options = { target: 'es2022', strict: true, noEmit: true, skipLibCheck: false }
  const nodeTypes = { types: ['node'], typeRoots: [join(root, 'node_modules/@types')] }
  const projects = {
    nodenext: {
      compilerOptions: { ...options, ...nodeTypes, lib: ['ES2023'], module: 'nodenext' },
      files: ['consumer.ts'],
    },
    bundler: {
      compilerOptions: {
        ...options,
        ...nodeTypes,
        lib: ['ES2023', 'DOM'],
        module: 'esnext',
        moduleResolution: 'bundler',
      },
      files: ['consumer.ts'],
    },
    browser: {
      compilerOptions: {
        ...options,
        types: [],
        lib: ['ES2023', 'ESNext.Disposable', 'DOM', 'DOM.Iterable'],
        module: 'esnext',
        moduleResolution: 'bundler',
      },
      files: ['portable.ts'],
    },
  }
  for (const [name, config] of Object.entries(projects)) {
    write(`tsconfig.${name}.json`, JSON.stringify(config))
    await succeed(
      process.execPath,
      [join(root, tsc), '--pretty', 'false', '-p', `tsconfig.${name}.json`],
      { cwd: consumer },
    )
  }
}

function specifiers() {
  return packages.flatMap(({ entries }) => entries.map(({ specifier }) => specifier))
}

/** The entries of packages whose source does not know Node. */
function portable() {
  const usesNode = ({ dir }) =>
    filesBelow(`${dir}/src`, /(?<!\.test)\.ts$/).some((file) =>
      /from 'node:/.test(readFileSync(file, 'utf8')),
    )
  return packages
    .filter((pkg) => !usesNode(pkg))
    .flatMap(({ entries }) => entries.map(({ specifier }) => specifier))
}

function write(file, text) {
  writeFileSync(join(consumer, file), text)
}

async function succeed(command, args, options) {
  const { code, output } = await capture(command, args, { timeoutMs: 120_000, ...options })
  expect(code === 0, `${command} ${args.join(' ')} ended with ${code}\n${output.trimEnd()}`)
}

function expect(isTrue, message) {
  if (!isTrue) throw new Error(message)
}
