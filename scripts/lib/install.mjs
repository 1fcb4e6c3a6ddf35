// The work of bootstrap.mjs: compare a stamp, take the lock, let pnpm install, write the stamp.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import { withLock } from './lock.mjs'
import { forwardSignals, groupOptions } from './processes.mjs'
import { manifestPaths, root } from './workspace.mjs'

const stampPath = join(root, 'node_modules', '.bootstrap.json')
const lockPath = join(root, '.bootstrap.lock')

/** Left out unless everything is asked for. */
const optional = ['!./bench', '!./tools/*']

/**
 * Installs what the lockfile says, unless that is what node_modules holds already.
 *
 * @param {{ all: boolean }} options
 */
export async function install({ all }) {
  if (isInstalled(all)) return
  await withLock(
    lockPath,
    async () => {
      if (isInstalled(all)) return
      const hash = wantedHash()
      await pnpmInstall(all)
      // By a rename: half a stamp would be worse than none.
      writeFileSync(`${stampPath}.new`, JSON.stringify({ hash, all }) + '\n')
      renameSync(`${stampPath}.new`, stampPath)
    },
    (owner) => console.error(`bootstrap: waiting for the install that process ${owner} is running`),
  )
}

function isInstalled(all) {
  const stamp = readStamp()
  return stamp?.hash === wantedHash() && (stamp.all || !all) && foldersStand(all)
}

/** What was installed; undefined where that is not known, and so must be done again. */
function readStamp() {
  try {
    return JSON.parse(readFileSync(stampPath, 'utf8'))
  } catch {
    return undefined
  }
}

/** Whether every package that depends on something still has its node_modules: people delete folders. */
function foldersStand(all) {
  return manifestPaths()
    .map((path) => dirname(path))
    .filter((dir) => all || !(dir === 'bench' || dir.startsWith('tools/')))
    .filter((dir) => hasDependencies(dir))
    .every((dir) => existsSync(join(root, dir, 'node_modules')))
}

function hasDependencies(dir) {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(join(root, dir, 'package.json'), 'utf8'),
  )
  return Object.keys({ ...dependencies, ...devDependencies }).length > 0
}

/** Changes with everything that an install depends on. */
function wantedHash() {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`)
  for (const path of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc', ...manifestPaths()]) {
    hash.update(path + '\n').update(readFileSync(join(root, path)))
  }
  return hash.digest('hex')
}

async function pnpmInstall(all) {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const filters = all ? [] : optional.flatMap((pattern) => ['--filter', pattern])
  const args = [
    '--yes',
    '--prefer-offline',
    packageManager,
    'install',
    '--frozen-lockfile',
    '--prefer-offline',
    ...filters,
  ]
  const { code, error } = await npx(args)
  if (code === 0) return
  const told = `\`npx ${args.join(' ')}\` ${error ?? `ended with status ${code}`}`
  throw explained(`${told}; ${reason(packageManager)}`)
}

/** Runs npx; its output goes to stderr, so that stdout stays the command's own. */
function npx(args) {
  return new Promise((resolve, reject) => {
    const child = spawn('npx', args, {
      cwd: root,
      stdio: ['ignore', 2, 2],
      ...groupOptions,
      env: { ...impatience, ...process.env, CI: '1', npm_config_update_notifier: 'false' },
    })
    const stopForwarding = forwardSignals(child)
    child.on('error', (error) => {
      stopForwarding()
      resolve({ code: 1, error: `did not start (${error.code})` })
    })
    child.on('exit', (code, signal) => {
      stopForwarding()
      if (signal) reject(explained(`the install was ended by ${signal}`))
      else resolve({ code })
    })
  })
}

/** npm's own patience without a network is 71 seconds of silence. The environment may say otherwise. */
const impatience = {
  npm_config_fetch_retry_mintimeout: '1000',
  npm_config_fetch_retry_maxtimeout: '5000',
}

/** Says which of the usual causes it was. */
function reason(packageManager) {
  const shell = process.platform === 'win32'
  if (spawnSync('npm', ['--version'], { shell, stdio: 'ignore' }).status !== 0) {
    return 'npm is not on the PATH: install it, it comes with Node'
  }
  const look = spawnSync(
    'npm',
    [
      'view',
      packageManager,
      'version',
      '--prefer-online',
      '--fetch-retries=0',
      '--fetch-timeout=10000',
    ],
    { cwd: root, shell, stdio: 'ignore', timeout: 20_000 },
  )
  return look.status === 0
    ? 'the npm registry answers, so the lines above name the cause'
    : 'the npm registry cannot be reached: check the network, a proxy, and `npm config get registry`'
}

function explained(message) {
  return Object.assign(new Error(message), { isExplained: true })
}
