/** A program of this repository as a process of its own, on a free port. */

import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface ChildProgram {
  readonly process: ChildProcess
  readonly port: number
  /** The lines of its output, those to come too. */
  readonly lines: readonly string[]
  /** What it has written to stderr. */
  readonly errors: readonly string[]
  /** Resolves to its exit code, or to the name of the signal that ended it. */
  readonly exited: Promise<number | string>
}

/** Starts a program in `examples/` as `npm start` does, and resolves when it listens. Killed when the test is over.
 * @param variables Of its environment, beside what it has in any case. */
export async function startProgram(
  t: TestContext,
  path: string,
  variables: Readonly<Record<string, string>> = {},
): Promise<ChildProgram> {
  const child = spawn(
    process.execPath,
    ['--conditions=@wakerobin/source', '--import', 'tsx', `examples/${path}`],
    { cwd: root, env: { ...env, ...variables }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  t.after(() => child.kill('SIGKILL'))
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  const errors: string[] = []
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text))
  const lines: string[] = []
  const port = await new Promise<number>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      lines.push(line)
      const found = /^Listening at http:\/\/localhost:(\d+)\/ \(127\.0\.0\.1:\1[,)]/.exec(line)
      if (found !== null) resolve(Number(found[1]))
    })
    void exited.then((how) => reject(new Error(`${path} ended with ${how}: ${errors.join('')}`)))
  })
  assert(port > 0)
  return { process: child, port, lines, errors, exited }
}

/** Ours, without what would change the program: undefined takes a variable out. */
const env: NodeJS.ProcessEnv = {
  ...process.env,
  HOST: undefined,
  PORT: '0',
  NODE_OPTIONS: undefined,
  NODE_TEST_CONTEXT: undefined,
  FORCE_COLOR: undefined, // node sets it where the tests are on a terminal
  NODE_V8_COVERAGE: undefined, // tsx adds branches that no test can reach
}
