/** nginx in front of an app, with the configuration that the guide prints. */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

/** Why tests skip: for `test(name, { skip: noNginx }, …)`. False where there is nginx, and in CI, where they fail without. */
export const noNginx: string | false =
  spawnSync('nginx', ['-v']).status !== 0 && process.env.CI !== 'true'
    ? 'no nginx here: install it (apt-get install nginx-light)'
    : false

export interface Nginx {
  /** Ports of 127.0.0.1. */
  readonly httpPort: number
  readonly httpsPort: number
}

/** Runs nginx until the test is over.
 * @param config What stands within `http`, as printed.
 * @param changes What is written in place of something in it: paths of this machine, shorter times. */
export async function startNginx(
  t: TestContext,
  config: string,
  changes: Readonly<Record<string, string>>,
): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  const [httpPort, httpsPort] = [await freePort(), await freePort()]
  const ports = {
    'listen 80;': `listen 127.0.0.1:${httpPort};`,
    'listen 443 ': `listen 127.0.0.1:${httpsPort} `,
  }
  let changed = config
  for (const [from, to] of Object.entries({ ...ports, ...changes })) {
    assert.ok(changed.includes(from), `The configuration has ${from}`)
    changed = changed.replaceAll(from, to)
  }
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(folder, 'nginx.conf'),
    [
      process.getuid?.() === 0 ? 'user root;' : '',
      'daemon off; pid nginx.pid; worker_processes 1; error_log stderr warn; events {}',
      `http { access_log off; ${folders.map((each) => `${each}_temp_path ${each};`).join(' ')}`,
      changed,
      '}',
    ].join('\n'),
  )
  const nginx = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let printed = ''
  nginx.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text))
  const closed = new Promise<void>((resolve) => nginx.once('close', () => resolve()))
  t.after(async () => {
    nginx.kill('SIGTERM')
    await closed
    rmSync(folder, { recursive: true })
  })
  while (!(await isOpen(httpsPort))) {
    assert.equal(nginx.exitCode, null, `nginx has ended: ${printed}`)
    await sleep(10)
  }
  return { httpPort, httpsPort }
}

/** The text of the blocks of a language in a page of the guide. */
export function fencesOf(page: string, language: string): string[] {
  const text = readFileSync(new URL(`../../docs/guide/${page}`, import.meta.url), 'utf8')
  const fences = text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))
  return [...fences].map(([, fence]) => fence!)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}
