/** One writer: a file `lock` in the folder of a log, which says which process has it.
 *
 * The file comes whole into being, by a hard link to one that was written before, so it is never read half. What a dead process
 * has left is replaced by whoever first makes a file `claim-…` that is named for it: of several that come together one
 * does, and one that comes too late finds another lock than that for which it has made its claim. */

import { randomBytes } from 'node:crypto'
import {
  linkSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimes,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** Another process has the log open, or this one has already. */
export class LogInUseError extends Error {
  override readonly name = 'LogInUseError'
  /** The folder of the log. */
  readonly path: string
  /** The id of the process that has it. */
  readonly pid: number

  constructor(path: string, pid: number, hint: string) {
    super(
      `Cannot open the event log ${path}: process ${pid}${hint} has it open, and a log has one writer`,
    )
    this.path = path
    this.pid = pid
  }
}

/** Who has a lock. What the system does not tell is null. */
interface Owner {
  readonly token: string
  readonly pid: number
  /** When the process was started, in ticks since the boot. */
  readonly started: string | null
  /** The boot, and the namespace within which the process has its id. */
  readonly boot: string | null
  readonly space: string | null
}

export class Lock {
  readonly #folder: string
  readonly #owner: Owner
  readonly #path: string
  readonly #beat: NodeJS.Timeout
  readonly #onLost: (error: Error) => void
  #checkedAt = Date.now()
  #lost: Error | undefined

  /** @param onLost Called once, when the lock is not this one's any more.
   * @throws {LogInUseError} When a process that lives has it. */
  constructor(folder: string, onLost: (error: Error) => void) {
    this.#folder = folder
    this.#onLost = onLost
    this.#path = join(folder, 'lock')
    this.#owner = { token: randomBytes(8).toString('hex'), pid: process.pid, ...origin() }
    const mine = join(folder, `lock-${this.#owner.token}`)
    writeFileSync(mine, `${JSON.stringify(this.#owner)}\n`, { flag: 'wx' })
    try {
      this.#acquire(mine)
    } finally {
      rmSync(mine, { force: true })
    }
    this.#beat = setInterval(() => this.#live(), beatMs).unref()
  }

  /** To be called before anything is written: a process that was held up for long may have lost its lock meanwhile.
   * @throws {Error} When it has. */
  check(): void {
    if (Math.abs(Date.now() - this.#checkedAt) > checkMs) this.#live()
    if (this.#lost !== undefined) throw this.#lost
  }

  release(): void {
    clearInterval(this.#beat)
    if (read(this.#path)?.token === this.#owner.token) rmSync(this.#path, { force: true })
  }

  #acquire(mine: string): void {
    while (!link(mine, this.#path)) {
      const holder = read(this.#path)
      if (holder === undefined) continue // let go of meanwhile
      // Whoever has claimed it may have died before it was done: then that claim is to be taken over.
      const claims: string[] = []
      const dead: string[] = []
      for (let owner: Owner | undefined = holder, path = this.#path; owner !== undefined;) {
        this.#refuseIfAlive(owner, path)
        dead.push(owner.token)
        path = join(this.#folder, `claim-${owner.token}`)
        claims.push(path)
        if (link(mine, path)) {
          // Nobody else may replace one of these locks; it can have been done before.
          if (dead.includes(read(this.#path)?.token ?? '')) renameSync(mine, this.#path)
          break
        }
        owner = read(path)
      }
      if (read(this.#path)?.token === this.#owner.token) {
        for (const claim of claims) rmSync(claim, { force: true })
        this.#clean()
        return
      }
      const last = claims.at(-1)!
      if (read(last)?.token === this.#owner.token) rmSync(last)
    }
  }

  #refuseIfAlive(owner: Owner, path: string): void {
    if (!isAlive(owner, path)) return
    const isHere = owner.pid === process.pid && owner.space === this.#owner.space
    throw new LogInUseError(
      this.#folder,
      owner.pid,
      isHere ? ', this one,' : isElsewhere(owner) ? ' of another machine or container' : '',
    )
  }

  /** Removes what processes have left that died while they tried to get the lock. */
  #clean(): void {
    for (const name of readdirSync(this.#folder)) {
      const path = join(this.#folder, name)
      const owner = /^(lock|claim)-/.test(name) ? read(path) : undefined
      if (owner !== undefined && !isAlive(owner, path)) rmSync(path, { force: true })
    }
  }

  /** Shows those who cannot look for the process that it lives, and sees whether it still has the lock. */
  #live(): void {
    if (this.#lost !== undefined) return
    const now = new Date()
    this.#checkedAt = now.getTime()
    let other: Owner | undefined
    try {
      other = read(this.#path)
    } catch {
      return // as where too many files are open: seen the next time
    }
    if (other?.token === this.#owner.token) return utimes(this.#path, now, now, () => {}) // so is this
    clearInterval(this.#beat)
    const how = other === undefined ? 'was removed' : `was taken by process ${other.pid}`
    this.#lost = new Error(`its lock ${how}`)
    this.#onLost(this.#lost)
  }
}

/** Whether a file was made, as a second name of another. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function read(path: string): Owner | undefined {
  try {
    const text = readFileSync(path, 'utf8')
    try {
      return JSON.parse(text) as Owner
    } catch {
      // It was whole when it was made: a loss of power has taken that.
      const { ino, mtimeMs } = statSync(path)
      return { token: `damaged-${ino}-${mtimeMs}`, pid: 0, started: null, boot: null, space: null }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Whether the process of a lock lives. */
function isAlive(owner: Owner, path: string): boolean {
  if (owner.pid === 0) return false
  if (isElsewhere(owner)) {
    // Its id says nothing here.
    const touched = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -Infinity
    return Math.abs(Date.now() - touched) < silenceMs
  }
  if (owner.started !== null) return startOf(owner.pid) === owner.started
  try {
    process.kill(owner.pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function isElsewhere({ boot, space }: Owner): boolean {
  const here = origin()
  return boot !== here.boot || space !== here.space
}

function origin(): Pick<Owner, 'started' | 'boot' | 'space'> {
  return {
    started: startOf(process.pid),
    boot: orNull(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    space: orNull(() => readlinkSync('/proc/self/ns/pid')),
  }
}

/** When a process was started: the same id at another time is another process. Null where there is none, or one that is dead
 * and only waits for its parent; and on systems other than Linux. */
function startOf(pid: number): string | null {
  // proc(5): what follows the name, which may have anything in it, is the state; the start is the 20th from there.
  const stat = orNull(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields === undefined || fields[0] === 'Z' || fields[0] === 'X' ? null : fields[19]!
}

function orNull(get: () => string): string | null {
  try {
    return get()
  } catch {
    return null
  }
}

const beatMs = 3_000
/** After how long it is looked for the lock before something is written. */
const checkMs = 1_000
/** A lock of another machine or container that was not touched for so long is that of a dead process. */
const silenceMs = 15_000
