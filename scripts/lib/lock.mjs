// A lock between processes: a file that holds its owner's process id.
// A lock whose owner is gone, or has not touched it for a minute, is taken over.
import { randomUUID } from 'node:crypto'
import {
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 100
const touchMs = 5_000
const staleMs = 60_000

/**
 * Runs `work` while this process alone holds the lock at `path`.
 *
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @param {(owner: string) => void} onWait Called once, with the owner's process id, when another process holds the lock.
 * @returns {Promise<T>}
 */
export async function withLock(path, work, onWait) {
  const mine = `${process.pid} ${randomUUID()}\n`
  let waiting = false
  while (!acquire(path, mine)) {
    const held = read(path)
    if (held === undefined) continue
    if (isStale(path, held)) {
      breakLock(path, held)
      continue
    }
    if (!waiting) onWait(ownerOf(held))
    waiting = true
    await sleep(pollMs)
  }
  const release = () => {
    if (read(path) === mine) rmSync(path, { force: true })
  }
  const touching = setInterval(() => touch(path), touchMs)
  process.on('exit', release)
  try {
    return await work()
  } finally {
    clearInterval(touching)
    process.off('exit', release)
    release()
  }
}

/** Creates the file with its text in one step (a link), so that nobody reads a half-written lock. */
function acquire(path, text) {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, text)
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(draft, { force: true })
  }
}

function isStale(path, held) {
  if (!isAlive(Number(ownerOf(held)))) return true
  const touched = statSync(path, { throwIfNoEntry: false })?.mtimeMs
  return touched !== undefined && Date.now() - touched > staleMs
}

/** Removes the lock `held`; a lock that another process made in the meantime is put back. */
function breakLock(path, held) {
  const aside = `${path}.${process.pid}.stale`
  try {
    renameSync(path, aside)
    if (read(aside) !== held) linkSync(aside, path)
  } catch (error) {
    // ENOENT: somebody else broke it first. EEXIST: a third process has the lock already.
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

function touch(path) {
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

function ownerOf(held) {
  return held.split(' ')[0]
}
