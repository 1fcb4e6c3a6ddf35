/** Bun and Deno, as their npm packages bring them, and programs that run on them. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const condition = '--conditions=@wakerobin/source'

export interface Runtime {
  readonly name: string
  /** Why its tests cannot run here; false where they can. With CI=true they never skip: they fail. */
  readonly skipReason: string | false
  readonly binary: string | undefined
  readonly args: readonly string[]
  /** What it may say on stderr without anything being wrong. */
  readonly remarks: RegExp
}

export const runtimes: Readonly<Record<'bun' | 'deno', Runtime>> = {
  bun: runtime('bun', 'bin/bun', [condition], /^$/),
  deno: runtime(
    'deno',
    'deno',
    ['run', '--allow-net', '--allow-env', '--allow-read', '--no-check', condition],
    /^Deno\.serve: request\.signal aborts on successful responses \(legacy behavior\)/,
  ),
}

function runtime(name: string, program: string, args: readonly string[], remarks: RegExp): Runtime {
  const binary = binaryOf(name, program)
  const mayBeMissing = process.env.CI !== 'true'
  const skipReason =
    binary === undefined && mayBeMissing
      ? `${name} is not installed: node scripts/bootstrap.mjs --all`
      : false
  return { name, skipReason, binary, args, remarks }
}

/** The program in the package for this platform: the launcher of `bun` and of `deno` needs an install script. */
function binaryOf(name: string, program: string): string | undefined {
  const manifest = resolved(import.meta.url, name)
  if (manifest === undefined) return undefined
  const { optionalDependencies } = JSON.parse(readFileSync(manifest, 'utf8'))
  const ending = process.platform === 'win32' ? '.exe' : ''
  return Object.keys(optionalDependencies)
    .map((dependency) => resolved(manifest, dependency))
    .filter((path) => path !== undefined)
    .map((path) => join(dirname(path), program + ending))
    .find((binary) => existsSync(binary))
}

/** The package.json of a package; undefined where it is not installed, as those for other platforms are not. */
function resolved(from: string, name: string): string | undefined {
  try {
    return createRequire(from).resolve(`${name}/package.json`)
  } catch {
    return undefined
  }
}

export interface RuntimeProgram {
  readonly process: ChildProcess
  readonly origin: string
  /** The next line of its output that has not been taken. */
  line(): Promise<string>
  /** The lines that it has written to stderr, those to come too. */
  readonly errors: readonly string[]
  /** Resolves to its exit code, or to the name of the signal that ended it. */
  readonly exited: Promise<number | string>
}

/** Starts a program of this repository, and resolves when it listens. Killed when the test is over. */
export async function startOn(
  t: TestContext,
  { name, binary, args, remarks }: Runtime,
  path: string,
): Promise<RuntimeProgram> {
  if (binary === undefined) throw new Error(`${name} is not installed`)
  const child = spawn(binary, [...args, path], {
    cwd: root,
    env: { ...process.env, HOST: '127.0.0.1', PORT: '0', NO_COLOR: '1', NODE_OPTIONS: undefined },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.after(() => child.kill('SIGKILL'))
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  const errors: string[] = []
  createInterface(child.stderr).on('line', (line) => {
    if (!remarks.test(line)) errors.push(line)
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const line = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done !== true) return value
    throw new Error(`${path} on ${name} ended with ${await exited}: ${errors.join('\n')}`)
  }
  const first = await line()
  const origin = /^Listening at (http:\/\/127\.0\.0\.1:\d+)\/$/.exec(first)?.[1]
  if (origin === undefined) throw new Error(`${path} on ${name} said: ${first}`)
  return { process: child, origin, line, errors, exited }
}
