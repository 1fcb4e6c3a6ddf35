import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import type { Mode } from '../fixtures/program.ts'
import { RawClient, until } from '../fixtures/harness.ts'

/** Signals closer together than this are one: npm passes on a Ctrl-C that the terminal has sent too. */
const togetherMs = 200

/** As the tests themselves run: coverage cannot join what tsx makes with what Node makes by itself. */
const loader = process.execArgv.includes('--import=tsx')
  ? '--import=tsx'
  : '--no-warnings=ExperimentalWarning'

class Program {
  out = ''
  err = ''
  /** Exit code and signal, when it has ended. */
  end: { code: number | null; signal: NodeJS.Signals | null } | undefined
  readonly #child: ChildProcess

  constructor(t: TestContext, mode: Mode, env: Record<string, string> = {}) {
    const child = spawn(
      process.execPath,
      [
        '--conditions=@wakerobin/source',
        loader,
        fileURLToPath(new URL('../fixtures/program.ts', import.meta.url)),
        mode,
      ],
      {
        cwd: fileURLToPath(new URL('..', import.meta.url)),
        env: { ...process.env, HOST: '127.0.0.1', PORT: '0', NODE_OPTIONS: '', ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    child.stdout.setEncoding('utf8').on('data', (text: string) => (this.out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.err += text))
    child.once('close', (code, signal) => (this.end = { code, signal }))
    t.after(() => child.kill('SIGKILL'))
    this.#child = child
  }

  async prints(text: string): Promise<void> {
    await until(`it prints ${JSON.stringify(text)}`, () => {
      if (this.out.includes(text)) return true
      assert.equal(this.end, undefined, `ended before ${text}: ${this.out}${this.err}`)
      return false
    })
  }

  async connect(t: TestContext): Promise<RawClient> {
    await this.prints('Ctrl-C to stop')
    const port = Number(/Listening at http:\/\/127.0.0.1:(\d+)\//.exec(this.out)![1])
    return RawClient.connect(t, { host: '127.0.0.1', port })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    await until('it has ended', () => this.end !== undefined)
    return this.end!
  }
}

const success = { code: 0, signal: null }
const failure = { code: 1, signal: null }

// Most of the time is node starting: side by side.
describe('run', { concurrency: 3 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} ends event streams whole, and the process by itself with exit code 0`, async (t) => {
      const program = new Program(t, 'serve')
      const clients = [await program.connect(t), await program.connect(t)]
      await clients[0]!.get('/broadcast').received(':\n')
      await clients[1]!.get('/pulled').received('data: first\n\n')
      program.kill(signal)
      for (const client of clients) {
        await client.ended()
        assert.equal(client.error, undefined)
        assert.ok(client.text.endsWith('\r\n0\r\n\r\n'), client.text)
        client.socket.end()
      }
      assert.deepEqual(await program.ended(), success)
      assert.equal(program.err, '')
      assert.match(
        program.out,
        new RegExp(
          `^Listening at http://127\\.0\\.0\\.1:(\\d+)/ \\(127\\.0\\.0\\.1:\\1\\)\nCtrl-C to stop\n${signal}: stopping, waiting for 2 event streams; once more to force\nStopped\nrun has resolved\n$`,
        ),
      )
    })
  }

  test('a request in progress at SIGTERM is answered, with Connection: close', async (t) => {
    const program = new Program(t, 'serve')
    const client = await program.connect(t)
    client.get('/slow')
    await program.prints('slow request')
    program.kill('SIGTERM')
    const response = await client.response()
    assert.equal(response.status, 200)
    assert.equal(response.field('connection'), 'close')
    assert.equal(response.body, 'hello')
    client.socket.end()
    assert.deepEqual(await program.ended(), success)
  })

  test('a second signal ends the process at once, with 128 and its number', async (t) => {
    const program = new Program(t, 'serve')
    const client = await program.connect(t)
    client.get('/never').get('/slow')
    await program.prints('slow request')
    program.kill('SIGTERM')
    await program.prints('SIGTERM: stopping')
    await sleep(togetherMs + 100)
    assert.equal(program.end, undefined, 'the request that is never answered holds it')
    program.kill('SIGINT')
    assert.deepEqual(await program.ended(), { code: 130, signal: null })
  })

  test('signals that come together are one', async (t) => {
    const program = new Program(t, 'serve')
    const client = await program.connect(t)
    await client.get('/').response()
    program.kill('SIGINT')
    program.kill('SIGTERM')
    program.kill('SIGINT')
    assert.deepEqual(await program.ended(), success)
    assert.match(program.out, /\nStopped\n/)
  })

  test('a signal that comes when an idle server has just stopped changes nothing', async (t) => {
    // As npm passes on a Ctrl-C: with nothing open the stop is over before the second one.
    const program = new Program(t, 'hold-on')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGINT')
    await program.prints('run has resolved')
    program.kill('SIGINT')
    assert.deepEqual(await program.ended(), success)
  })

  test('a program that has more to do after run() is left to end by itself, if it says so', async (t) => {
    const program = new Program(t, 'more-to-do')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
    assert.match(program.out, /\nStopped\nclosed the database\nrun has resolved\n$/)
    assert.equal(program.err, '')
  })

  test('a deadline that passes is exit code 1', async (t) => {
    const program = new Program(t, 'short-deadline')
    const client = await program.connect(t)
    client.get('/slow').get('/never')
    await program.prints('slow request')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.out, /\nStopped at the deadline: not everything had ended\n/)
    assert.doesNotMatch(program.out, /\nStopped\n/)
    await client.closed()
  })

  test('a process that something of the app holds is ended nevertheless, and told what it was', async (t) => {
    const program = new Program(t, 'hold-on')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
    assert.match(program.out, /\nStopped\nrun has resolved\n$/)
    assert.match(program.err, /^Ending the process: still open are .*\bTimeout\b.*\n$/)
  })

  test('a Unix socket and an IPv6 address are said as they are', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'app.sock')
    const program = new Program(t, 'serve', { HOST: path })
    await program.prints(`Listening at ${path} (${path})\n`)
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)

    const six = new Program(t, 'serve', { HOST: '::' })
    await six.prints('Ctrl-C to stop')
    assert.match(six.out, /^Listening at http:\/\/localhost:(\d+)\/ \(\[::\]:\1\)\n/)
    six.kill('SIGTERM')
    assert.deepEqual(await six.ended(), success)
  })

  test('a bad PORT is one line on stderr and exit code 1', async (t) => {
    const program = new Program(t, 'serve', { PORT: 'http' })
    assert.deepEqual(await program.ended(), failure)
    assert.equal(
      program.err,
      'Cannot listen on PORT "http": it must be an integer from 0 to 65535\n',
    )
    assert.equal(program.out, 'run has resolved\n')
  })

  test('a port in use is one line on stderr and exit code 1', async (t) => {
    const other = createServer().listen(0, '127.0.0.1')
    t.after(() => other.close())
    await until('it listens', () => other.listening)
    const { port } = other.address() as AddressInfo
    const program = new Program(t, 'serve', { PORT: String(port) })
    assert.deepEqual(await program.ended(), failure)
    assert.equal(
      program.err,
      `Cannot listen on 127.0.0.1:${port}: it is in use; stop the other process, or choose another with PORT\n`,
    )
    assert.equal(program.out, 'run has resolved\n')
  })

  test('an init that fails is exit code 1, whatever it has left open', async (t) => {
    const program = new Program(t, 'failing-init')
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.err, /^Error: Cannot start: init of app\[0\].*no database\n/)
    assert.equal(program.out, 'run has resolved\n')
  })

  test('what is no handler is exit code 1, whatever the program has open', async (t) => {
    const program = new Program(t, 'no-handler')
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.err, /^TypeError: Cannot use 42 as a handler at app\[0\]/)
  })

  test('SIGTERM during an init that hangs ends the process after the deadline', async (t) => {
    const program = new Program(t, 'slow-init')
    await program.prints('init')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.out, /SIGTERM: stopping, waiting for 1 guard; once more to force\n/)
    assert.match(program.err, /1 guard:\n  1 × init: app\[0\] .*database.* \(oldest /)
    assert.doesNotMatch(program.err, /before it had started/)
  })
})
