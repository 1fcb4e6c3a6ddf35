/** What becomes of WebSockets, and of the process, when the server stops: see the scenarios of server-node. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

import { WebSocket as UndiciWebSocket } from 'undici'

import { ask, handshake, open, until } from '../fixtures/harness.ts'

/** As this process itself runs: coverage cannot join what tsx makes with what Node makes by itself. */
const [loader = '--no-warnings=ExperimentalWarning'] =
  /--import=[^=]+/.exec(process.execArgv.join('=')) ?? []

interface Target {
  readonly child: ChildProcess
  readonly port: number
  /** All that it has printed. */
  readonly printed: { out: string; err: string }
  readonly exited: Promise<number | string>
}

async function startTarget(t: TestContext, ...args: string[]): Promise<Target> {
  const path = fileURLToPath(new URL('target.ts', import.meta.url))
  const child = spawn(
    process.execPath,
    ['--conditions=@wakerobin/source', '--enable-source-maps', loader, path, ...args],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...process.env, NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  t.after(() => child.kill('SIGKILL'))
  const printed = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed.out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed.err += text))
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal)
  await until('it listens', () => {
    assert.equal(child.exitCode, null, printed.err)
    return printed.out.includes('Listening at http')
  })
  return { child, port: Number(/127\.0\.0\.1:(\d+)/.exec(printed.out)![1]), printed, exited }
}

test('[stopping 8.4] S15 open WebSockets are closed with 1001, and the process ends before the deadline with exit code 0', async (t) => {
  const { child, port, printed, exited } = await startTarget(t)
  const url = `ws://127.0.0.1:${port}/socket`
  const clients = await Promise.all(Array.from({ length: 50 }, () => open(t, url)))
  const other = new UndiciWebSocket(url)
  await once(other, 'open')
  const otherClosed = once(other, 'close')
  for (const client of clients) client.socket.send('hello')
  for (const client of clients) assert.deepEqual(await client.got(2), ['welcome', 'you said hello'])

  child.kill('SIGTERM')
  for (const client of clients) assert.deepEqual(await client.closed(), { code: 1001, reason: '' })
  const [{ code, wasClean }] = (await otherClosed) as [{ code: number; wasClean: boolean }]
  assert.deepEqual([code, wasClean], [1001, true])
  assert.equal(await exited, 0)
  assert.match(printed.out, /^SIGTERM: stopping, waiting for 51 upgrades; once more to force$/m)
  assert.equal(printed.out.split('closed with 1001\n').length, 52, 'each handler came to its end')
  assert.match(printed.out, /^Stopped$/m)
  assert.equal(printed.err, '')
})

test('[stopping 8.6] S15 a client that does not close its side does not hold the process until the deadline', async (t) => {
  const { child, port, printed, exited } = await startTarget(t)
  const { status, socket } = await ask(t, port, handshake(), { target: '/socket' })
  assert.equal(status, 101)
  socket.pause()
  child.kill('SIGTERM')
  assert.equal(await exited, 0)
  assert.match(printed.out, /^closed with 1006$/m)
  assert.equal(printed.err, '')
})

test('[stopping 8.2] S15 a handler that does not come to its end is named at the deadline, with exit code 1', async (t) => {
  const { child, port, printed, exited } = await startTarget(t, '300')
  const client = await open(t, `ws://127.0.0.1:${port}/stuck?token=secret`)
  child.kill('SIGTERM')
  assert.equal((await client.closed()).code, 1001)
  assert.equal(await exited, 1)
  assert.match(printed.err, /^The deadline has passed\. Cut while stopping: 1 upgrade$/m)
  assert.match(printed.err, /^ {2}1 × upgrade of GET \/stuck \(oldest [\d.]+m?s\)$/m)
  assert.equal(printed.err.split('\n').length, 4, 'and nothing else')
})
