// Starting other programs, and ending them together with everything they started.
import { spawn } from 'node:child_process'

import { root } from './workspace.mjs'

const isWindows = process.platform === 'win32'

/** Options of spawn() that give a child a process group of its own, where there are such groups. */
export const groupOptions = isWindows ? { shell: true } : { detached: true }

/**
 * Passes SIGINT, SIGTERM and SIGHUP on to a child's whole group, and kills what is left of the group
 * when this process ends.
 *
 * @param {import('node:child_process').ChildProcess} child Started with `groupOptions`.
 * @returns {() => void} Stops it.
 */
export function forwardSignals(child) {
  const forward = (signal) => signalGroup(child, signal)
  const kill = () => signalGroup(child, 'SIGKILL')
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, forward)
  process.on('exit', kill)
  return () => {
    for (const signal of signals) process.off(signal, forward)
    process.off('exit', kill)
  }
}

/**
 * Sends a signal to a child and to all that it started.
 *
 * @param {import('node:child_process').ChildProcess} child
 * @param {NodeJS.Signals} signal
 */
export function signalGroup(child, signal) {
  if (child.pid === undefined) return
  try {
    if (isWindows) child.kill(signal)
    else process.kill(-child.pid, signal)
  } catch (error) {
    if (error.code !== 'ESRCH') throw error
  }
}

/**
 * Runs a program to its end, its output passing through.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 * @returns {Promise<number>} Its exit status; 128 or more when a signal ended it.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      ...groupOptions,
      shell: false,
      ...options,
    })
    const stopForwarding = forwardSignals(child)
    child.on('error', (error) => {
      stopForwarding()
      reject(error)
    })
    child.on('exit', (code, signal) => {
      stopForwarding()
      signalGroup(child, 'SIGKILL')
      resolve(code ?? 128 + (signalNumbers[signal] ?? 0))
    })
  })
}

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }

/**
 * Runs a program and gathers what it prints.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions & { timeoutMs?: number, onOutput?: (text: string, child: import('node:child_process').ChildProcess) => void }} [options]
 *   `onOutput` sees all that was printed so far, each time something is added.
 * @returns {Promise<{ code: number | null, signal: string | null, output: string, stdout: string, stderr: string, timedOut: boolean }>}
 *   `output` is what was printed on both, as it came.
 */
export function capture(command, args, { timeoutMs, onOutput, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...groupOptions,
      shell: false,
      ...options,
    })
    const stopForwarding = forwardSignals(child)
    let output = ''
    let timedOut = false
    const printed = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr']) {
      child[name]?.setEncoding('utf8').on('data', (chunk) => {
        output += chunk
        printed[name] += chunk
        onOutput?.(output, child)
      })
    }
    const timer =
      timeoutMs &&
      setTimeout(() => {
        timedOut = true
        signalGroup(child, 'SIGKILL')
      }, timeoutMs)
    const settle = () => {
      clearTimeout(timer)
      stopForwarding()
    }
    child.on('error', (error) => {
      settle()
      reject(error)
    })
    child.on('exit', () => signalGroup(child, 'SIGKILL')) // a grandchild would keep the pipes open
    child.on('close', (code, signal) => {
      settle()
      resolve({ code, signal, output, ...printed, timedOut })
    })
  })
}

/**
 * Does `work` for every item, at most `limit` at a time, and returns the results in order.
 *
 * @template T, R
 * @param {T[]} items
 * @param {number} limit
 * @param {(item: T) => Promise<R>} work
 * @returns {Promise<R[]>}
 */
export async function mapLimited(items, limit, work) {
  const results = new Array(items.length)
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const index = next++
      results[index] = await work(items[index])
    }
  }
  await Promise.all(Array.from({ length: limit }, worker))
  return results
}
