/** The file of a Unix socket, which outlives a server that dies. */

import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, linkSync, lstatSync, renameSync, rmSync, unlinkSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join, resolve } from 'node:path'

import { shown } from './report.ts'

/** The file of a socket that is listened on. */
export class SocketFile {
  readonly #path: string
  readonly #stats: BigIntStats

  private constructor(path: string) {
    this.#path = resolve(path) // the program may go elsewhere
    this.#stats = statOf(path)!
  }

  /** Binds a socket to a path, and takes the place of one that a dead server has left.
   *
   * It is made under another name, and linked to its own when it listens: nobody ever finds a file there that
   * refuses, or has a mode that is not yet the right one, and of two servers that start at once one gets it.
   * @param mode The mode of the file; undefined for what the umask leaves.
   * @param listen Binds the socket to a path, and resolves when it listens.
   * @throws {Error} When something else is there. */
  static async bind(
    path: string,
    mode: number | undefined,
    listen: (path: string) => Promise<void>,
  ): Promise<SocketFile> {
    const folder = dirname(path)
    const hidden = hiddenNameIn(folder)
    checkLength(path)
    checkLength(hidden, `, and at first it is made as ${hidden}`)
    // libuv says EACCES for it, as Windows does.
    if (!existsSync(folder)) throw new Error('there is no such folder')
    await listen(hidden)
    try {
      if (mode !== undefined) chmodSync(hidden, mode)
      while (!isDone(() => linkSync(hidden, path), 'EEXIST')) await removeDead(path)
      return new SocketFile(path)
    } finally {
      rmSync(hidden, { force: true }) // it may be gone: the folder is anybody's who may write there
    }
  }

  /** Removes the file, unless another is there meanwhile. */
  remove(): void {
    try {
      if (isSame(statOf(this.#path), this.#stats)) unlinkSync(this.#path)
    } catch (error) {
      console.error(`Wakerobin: cannot remove the socket ${this.#path}: ${shown(error)}`)
    }
  }
}

/** What fits into `sun_path`, with a zero byte behind it: unix(7); 104 bytes where the system is BSD's. */
const longest = process.platform === 'linux' ? 107 : 103

/** @param why Why this is the path. */
function checkLength(path: string, why = ''): void {
  if (Buffer.byteLength(path) > longest)
    throw new Error(`a path of a socket has ${longest} bytes at most${why}`)
}

function hiddenNameIn(folder: string): string {
  return join(folder, `.${randomBytes(5).toString('hex')}`)
}

/** Does something that may fail in one way.
 * @returns Whether it has not. */
function isDone(act: () => void, mayFailWith: string): boolean {
  try {
    act()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === mayFailWith) return false
    throw error
  }
}

/** Removes the socket of a dead server, if that is what is there. */
async function removeDead(path: string): Promise<void> {
  const found = statOf(path)
  if (found === undefined) return
  if (!found.isSocket()) throw new Error(noSocket)
  if (await isAlive(path)) throw new Error(inUse)
  const moved = hiddenNameIn(dirname(path))
  if (!isDone(() => renameSync(path, moved), 'ENOENT')) return
  // Another server may have come first, and what is moved be its socket: that goes back, as if nothing had been.
  const isAnother = !isSame(statOf(moved), found)
  if (isAnother) linkSync(moved, path)
  unlinkSync(moved)
  if (isAnother) throw new Error(inUse)
}

const noSocket = 'something is there that is no socket'
const inUse = 'a server listens on it; stop that one, or choose another path'

/** Whether somebody listens.
 * @throws The error of the socket, where that cannot be told. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((settle, fail) => {
    const socket = connect({ path })
    socket.on('connect', () => {
      socket.destroy()
      settle(true)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') settle(false)
      else fail(error)
    })
  })
}

function statOf(path: string): BigIntStats | undefined {
  return lstatSync(path, { bigint: true, throwIfNoEntry: false })
}

/** Its number alone does not tell a file from the next one, which often gets the same. */
function isSame(one: BigIntStats | undefined, other: BigIntStats): boolean {
  return one?.ino === other.ino && one.dev === other.dev && one.mtimeNs === other.mtimeNs
}
