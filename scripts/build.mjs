// `npm run build`: dist/ of every published package: one bundle per entry with shared chunks (esbuild),
// declarations file by file (tsc), source maps that lead into the package's own src/.
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

import { build } from 'esbuild'

import { run } from './lib/processes.mjs'
import { compilers, publishedPackages, root } from './lib/workspace.mjs'

process.chdir(root)
const packages = publishedPackages()

for (const { dir, entries } of packages) {
  rmSync(join(dir, 'dist'), { recursive: true, force: true })
  const { warnings } = await build({
    absWorkingDir: join(root, dir),
    entryPoints: entries.map(({ source }) => source),
    outdir: 'dist',
    bundle: true, // of the package's own files: their imports end in .ts
    splitting: true,
    packages: 'external',
    external: ['node:*'],
    format: 'esm',
    platform: 'neutral',
    target: 'node20.19',
    sourcemap: true,
    sourcesContent: false, // the tarball holds src/
  })
  if (warnings.length) process.exit(1) // esbuild has printed them
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(name, join(dir, name))
}

const projects = packages.map(({ dir }) => `${dir}/tsconfig.build.json`)
process.exitCode = await run(process.execPath, [compilers[0].tsc, '--build', ...projects])
