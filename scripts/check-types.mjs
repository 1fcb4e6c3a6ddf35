// `npm run types`: the types of the whole tree, on TypeScript 7; those that users meet, on older compilers too.
//
//   node scripts/check-types.mjs           from source
//   node scripts/check-types.mjs --dist    the type tests against the declarations in dist/ (build first)
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

import { capture } from './lib/processes.mjs'
import { compilers, filesBelow, publishedPackages, root } from './lib/workspace.mjs'

process.chdir(root)
const packages = publishedPackages()
const [newest, ...older] = compilers
const isFailed = process.argv.includes('--dist') ? await checkDist() : await checkSource()
process.exitCode = isFailed ? 1 : 0

async function checkSource() {
  const sources = packages.map(({ dir }) => `${dir}/tsconfig.json`)
  const tests = packages.map(({ dir }) => `${dir}/tsconfig.test.json`)
  const programs = ['examples', 'bench', 'tools/clients', 'tools/fetch', 'tools/middleware'].map(
    (dir) => `${dir}/tsconfig.json`,
  )
  const others = ['tsconfig.json', ...programs]
  const runs = [
    ...[...sources, ...tests, ...others].map((project) => [newest, project]),
    ...older.flatMap((compiler) => sources.map((project) => [compiler, project])),
  ]
  return checkAll(runs.filter(([, project]) => hasInputs(project)))
}

/** Type tests read as a user's code would: every import of a source file leads to its declaration. */
async function checkDist() {
  const projects = packages.filter(({ dir }) => filesBelow(`${dir}/src`, '.test-d.ts').length > 0)
  for (const { dir } of projects) writeDistProject(dir)
  try {
    return await checkAll(
      compilers.flatMap((compiler) => projects.map(({ dir }) => [compiler, `${dir}/.scratch`])),
    )
  } finally {
    for (const { dir } of projects) rmSync(join(dir, '.scratch'), { recursive: true })
  }
}

function writeDistProject(dir) {
  if (!existsSync(`${dir}/dist/index.d.ts`))
    throw new Error(`${dir}/dist is not there: npm run build`)
  const files = filesBelow(`${dir}/src`, '.test-d.ts')
  for (const file of files) {
    const inside = posix.relative(`${dir}/src`, file)
    const target = `${dir}/.scratch/${inside}`
    const toDist = (specifier) => {
      const declaration = posix.join(`${dir}/dist`, posix.dirname(inside), specifier)
      return posix.relative(posix.dirname(target), declaration)
    }
    mkdirSync(dirname(target), { recursive: true })
    const text = readFileSync(file, 'utf8')
    writeFileSync(
      target,
      text.replace(
        /(?<=(?:from|import|declare module)\s*\(?\s*(['"]))\.\.?\/[^'"]*(?=\1)/g,
        toDist,
      ),
    )
  }
  const config = {
    extends: '../tsconfig.json',
    compilerOptions: {
      customConditions: [],
      isolatedDeclarations: false,
      declaration: false,
      declarationMap: false,
    },
    files: files.map((file) => posix.relative(`${dir}/src`, file)),
    include: [],
  }
  writeFileSync(`${dir}/.scratch/tsconfig.json`, JSON.stringify(config))
}

/** Whether there is anything to compile: an empty package is no error. */
function hasInputs(project) {
  const dir = posix.dirname(project)
  return (
    dir === '.' || filesBelow(dir.startsWith('packages/') ? `${dir}/src` : dir, '.ts').length > 0
  )
}

async function checkAll(runs) {
  let isFailed = false
  for (const [compiler, project] of runs) {
    const start = performance.now()
    const { code, output } = await capture(process.execPath, [
      compiler.tsc,
      '--noEmit',
      '--pretty',
      'false',
      '-p',
      project,
    ])
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    console.log(`${code === 0 ? 'ok    ' : 'failed'} ${compiler.name} -p ${project} (${seconds} s)`)
    if (code !== 0) {
      isFailed = true
      console.log(output.trimEnd())
    }
  }
  return isFailed
}
