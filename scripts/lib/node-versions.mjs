// Other versions of Node, from the npm packages that carry the bare binary, kept in .ci/cache.
import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { run } from './processes.mjs'
import { root } from './workspace.mjs'

/**
 * The path of a Node binary of this major version; installs it when it is not there.
 *
 * @param {number} major
 * @returns {Promise<string>}
 */
export async function nodeBinary(major) {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  const dir = join(root, '.ci/cache', `node-${major}`)
  const binary = join(
    dir,
    'node_modules',
    name,
    'bin',
    process.platform === 'win32' ? 'node.exe' : 'node',
  )
  if (!existsSync(binary)) {
    const args = [
      'install',
      '--prefix',
      dir,
      '--no-save',
      '--no-package-lock',
      '--ignore-scripts',
      '--silent',
      `${name}@${major}`,
    ]
    const code = await run('npm', args)
    if (code !== 0 || !existsSync(binary))
      throw new Error(`npm ${args.join(' ')} ended with ${code}`)
  }
  return binary
}
