// Shows that the boundary check refuses what it should: a small tree with one mistake per line.
import assert from 'node:assert/strict'

import { boundaryProblems } from './boundaries.mjs'

export function selfTest() {
  assert.deepEqual(boundaryProblems(faulty()), [
    "packages/core/src/a.ts:1 imports 'node:http'; allowed: only files of the package",
    "packages/core/src/a.ts:2 imports '@x/sse'; allowed: only files of the package",
    "packages/core/src/a.ts:3 imports './index.ts'; allowed: the file that defines the name, not the package's own door",
    "packages/core/src/a.ts:4 imports '@x/core'; allowed: the file that defines the name, not the package's own door",
    "packages/core/src/a.ts:5 imports './gone.ts'; allowed: a file that exists, with its ending .ts",
    "packages/core/src/a.ts:6 imports '../../sse/src/a.ts'; allowed: files below packages/core/src",
    "packages/core/src/a.ts:7 imports './a.test.ts'; allowed: files that are packed; this is a test",
    "packages/core/src/a.ts:8 imports 'node:net'; allowed: only files of the package",
    "packages/core/src/a.ts:9 imports 'node:tls'; allowed: only files of the package",
    "packages/core/src/a.test.ts:3 imports 'left-pad'; allowed: what packages/core/package.json lists",
    'packages/core/src/b.ts imports itself: b.ts -> c.ts -> b.ts; allowed: cycles of `import type`',
    "packages/sse/src/a.ts:2 imports '@x/core/src/b.ts'; allowed: the entries of @x/core: @x/core, @x/core/testing",
    "packages/sse/src/a.ts:3 imports 'rou3'; allowed: what dependencies or peerDependencies of packages/sse/package.json list",
    'packages/new: has no row in the table mayImport of scripts/check-boundaries.mjs',
    "examples/a.ts:2 imports '../packages/core/src/b.ts'; allowed: files below examples",
  ])
}

function faulty() {
  const pkg = (folder, dependencies, ...subpaths) => ({
    dir: `packages/${folder}`,
    name: `@x/${folder}`,
    manifest: { dependencies },
    entries: ['', ...subpaths].map((subpath) => ({ specifier: `@x/${folder}${subpath}` })),
  })
  const lines = (...text) => text.join('\n')
  return {
    mayImport: { core: [], sse: ['core', 'rou3'] },
    packages: [pkg('core', {}, '/testing'), pkg('sse', { '@x/core': '' }), pkg('new', {})],
    programs: [{ dir: 'examples', manifest: { dependencies: { '@x/sse': '' } } }],
    files: new Map([
      [
        'packages/core/src/a.ts',
        lines(
          "import { createServer } from 'node:http'",
          "import type { Sse } from '@x/sse'",
          "export { b } from './index.ts'",
          "export * from '@x/core'",
          "import './gone.ts'",
          "import '../../sse/src/a.ts'",
          "import './a.test.ts'",
          "export const lazy = () => import('node:net')",
          "export type Socket = import('node:tls').TLSSocket",
          "/** import 'node:fs' */ export const text = `import 'node:fs'` // import 'node:fs'",
        ),
      ],
      [
        'packages/core/src/a.test.ts',
        lines(
          "import '@x/core/testing'",
          "import 'node:test'",
          "import 'left-pad'",
          "import './index.ts'",
        ),
      ],
      ['packages/core/src/b.ts', lines("import './c.ts'", "import type {} from './d.ts'")],
      ['packages/core/src/c.ts', "import './b.ts'"],
      ['packages/core/src/d.ts', "import './b.ts'"],
      ['packages/core/src/index.ts', "export { b } from './b.ts'"],
      [
        'packages/sse/src/a.ts',
        lines("import { b } from '@x/core'", "import '@x/core/src/b.ts'", "import 'rou3'"),
      ],
      ['examples/a.ts', lines("import '@x/sse'", "import '../packages/core/src/b.ts'")],
    ]),
  }
}
