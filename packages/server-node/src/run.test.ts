import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import type { Mode } from '../fixtures/program.ts'
import { BoundSocket } from '../fixtures/bound-socket.ts'
import { RawClient, until } from '../fixtures/harness.ts'

/** Signals closer together than this are one: npm passes on a Ctrl-C that the terminal has sent too. */
const togetherMs = 200

/** As the tests themselves run: coverage cannot join what tsx makes with what Node makes by itself. */
const loader =
  process.execArgv.find((flag) => flag.startsWith('--import=')) ??
  '--no-warnings=ExperimentalWarning'

class Program {
  out = ''
  err = ''
  /** Exit code and signal, when it has ended. */
  end: { code: number | null; signal: NodeJS.Signals | null } | undefined
  readonly #child: ChildProcess

  /** @param parent The command that starts it, before its own. @param sockets Those that it gets, from 3 on. */
  constructor(
    t: TestContext,
    mode: Mode,
    env: Record<string, string> = {},
    { parent = [], sockets = [] }: { parent?: readonly string[]; sockets?: readonly number[] } = {},
  ) {
    const [command, ...args] = [
      ...parent,
      process.execPath,
      '--conditions=@wakerobin/source',
      '--enable-source-maps',
      loader,
      fileURLToPath(new URL('../fixtures/program.ts', import.meta.url)),
      mode,
    ]
    const child = spawn(command!, args, {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...process.env, HOST: '127.0.0.1', PORT: '0', NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe', ...sockets],
    })
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.out += text))
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.err += text))
    child.once('close', (code, signal) => (this.end = { code, signal }))
    t.after(() => child.kill('SIGKILL'))
    this.#child = child
  }

  async warns(text: string): Promise<void> {
    await until(`it prints on stderr ${JSON.stringify(text)}`, () => this.err.includes(text))
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await until('it listens', () => server.listening)
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const success = { code: 0, signal: null }
const failure = { code: 1, signal: null }

// Most of the time is node starting: side by side.
describe('run', { concurrency: 3 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) {
    test(`[stopping 5.1] ${signal} ends event streams whole, and the process by itself with exit code 0`, async (t) => {
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

  test('[stopping 5.2] a request in progress at SIGTERM is answered, with Connection: close', async (t) => {
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

  test('[stopping 5.6] a second signal ends the process at once, with 128 and its number', async (t) => {
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
    assert.match(
      program.err,
      /^SIGINT: ending at once, stopping: 2 requests\n2 requests:\n  1 × GET \/never \(oldest [\d.]+m?s\)\n  1 × GET \/slow .*\n$/,
    )
  })

  test('[stopping 5.7] signals that come together are one', async (t) => {
    const program = new Program(t, 'serve')
    const client = await program.connect(t)
    await client.get('/').response()
    program.kill('SIGINT')
    program.kill('SIGTERM')
    program.kill('SIGINT')
    assert.deepEqual(await program.ended(), success)
    assert.match(program.out, /\nStopped\n/)
  })

  test('[stopping 5.7] a signal that comes when an idle server has just stopped changes nothing', async (t) => {
    // As npm passes on a Ctrl-C: with nothing open the stop is over before the second one.
    const program = new Program(t, 'hold-on')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGINT')
    await program.prints('run has resolved')
    program.kill('SIGINT')
    assert.deepEqual(await program.ended(), success)
  })

  test('[stopping 5.7] signals that come while the process ends change nothing', async (t) => {
    for (let round = 0; round < 5; round++) {
      const program = new Program(t, 'listens-to-exit')
      await program.prints('Ctrl-C to stop')
      const firstAt = performance.now()
      while (program.end === undefined) {
        // Those later than `togetherMs` would be a second one, where the machine is slow.
        if (performance.now() - firstAt < togetherMs / 4)
          program.kill(round % 2 === 0 ? 'SIGTERM' : 'SIGINT')
        await sleep(1)
      }
      assert.deepEqual(program.end, success)
      assert.match(program.out, /\nStopped\nrun has resolved\nexit 0\n$/)
      assert.equal(program.err, '')
    }
  })

  test('whoever listens for the exit, however late, is told of it', async (t) => {
    for (const mode of ['listens-to-exit', 'listens-to-exit-at-last'] as const) {
      const program = new Program(t, mode)
      await program.prints('Ctrl-C to stop')
      program.kill('SIGTERM')
      assert.deepEqual(await program.ended(), success)
      assert.match(program.out, /\nrun has resolved\nexit 0\n$/)
    }
  })

  test('[stopping 5.14] a program that has more to do after run() is left to end by itself, if it says so', async (t) => {
    const program = new Program(t, 'more-to-do')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
    assert.match(program.out, /\nStopped\nclosed the database\nrun has resolved\n$/)
    assert.equal(program.err, '')
  })

  test('[stopping 5.3] a deadline that passes is exit code 1', async (t) => {
    const program = new Program(t, 'short-deadline')
    const client = await program.connect(t)
    await client.get('/job').response()
    client.get('/slow').get('/never')
    await program.prints('slow request')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(
      program.err,
      /^The deadline has passed\. Cut while stopping: \d requests? and 1 guard\n/,
    )
    assert.match(program.err, /\n  1 × GET \/never \(oldest /)
    assert.match(program.err, /\n  1 × the nightly export .*\bprogram\.ts:\d+:\d+ \(oldest /)
    assert.match(program.out, /\nStopped at the deadline: not everything had ended\n/)
    assert.doesNotMatch(program.out, /\nStopped\n/)
    await client.closed()
  })

  test('[stopping 5.13] a process that something of the app holds is ended nevertheless, and told what it was', async (t) => {
    const program = new Program(t, 'hold-on')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
    assert.match(program.out, /\nStopped\nrun has resolved\n$/)
    assert.match(program.err, /^Ending the process, which is still kept by: .*\bTimeout\b.*\n$/)
  })

  test('where it listens is said once: by a handler of the app, or else by run', async (t) => {
    const program = new Program(t, 'announced')
    await program.prints('Ctrl-C to stop')
    const [first, ...rest] = program.out.trim().split('\n')
    assert.match(first!, /^log: Listening at http:\/\/127\.0\.0\.1:(\d+)\/ \(127\.0\.0\.1:\1\)$/)
    assert.deepEqual(rest, ['Ctrl-C to stop'])
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
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

  test('sockets that the parent hands over are served, whatever HOST and PORT say, and stay with the parent', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const path = join(folder, 'app.sock')
    const sockets = [new BoundSocket('127.0.0.1', 0), new BoundSocket(path)]
    t.after(() => sockets.forEach((socket) => socket.close()))
    const fds = { sockets: sockets.map(({ fd }) => fd) }
    // LISTEN_PID is that of the process, which the shell becomes.
    const parent = ['sh', '-c', 'LISTEN_PID=$$ exec "$@"', 'sh']
    for (let round = 0; round < 2; round++) {
      const program = new Program(t, 'serve', { LISTEN_FDS: '2', PORT: '1' }, { ...fds, parent })
      const client = await program.connect(t)
      assert.equal((await client.get('/').response()).body, 'hello')
      const unix = await RawClient.connect(t, { path })
      assert.equal((await unix.get('/').response()).body, 'hello')
      const name = process.platform === 'linux' ? path : 'the socket of file descriptor 4'
      assert.match(
        program.out,
        new RegExp(
          `^Listening at http://127\\.0\\.0\\.1:(\\d+)/ \\(127\\.0\\.0\\.1:\\1, ${name}\\)\n`,
        ),
      )
      program.kill('SIGTERM')
      for (const each of [client, unix]) {
        await each.ended()
        each.socket.end()
      }
      assert.deepEqual(await program.ended(), success)
      assert.ok(existsSync(path), 'the file is not ours to remove')
    }
  })

  test('[stopping 10.4] a connection that comes while no server runs on a handed-over socket waits for the next one', async (t) => {
    const socket = new BoundSocket('127.0.0.1', 0)
    t.after(() => socket.close())
    const start = (): Program =>
      new Program(t, 'serve', { LISTEN_FD: '3' }, { sockets: [socket.fd] })
    const former = start()
    const first = await former.connect(t)
    first.socket.destroy()
    former.kill('SIGTERM')
    assert.deepEqual(await former.ended(), success)
    const { port } = /127\.0\.0\.1:(?<port>\d+)/.exec(former.out)!.groups!
    const client = await RawClient.connect(t, { host: '127.0.0.1', port: Number(port) })
    client.get('/')
    const next = start()
    assert.equal((await client.response()).body, 'hello')
    client.socket.destroy()
    next.kill('SIGTERM')
    assert.deepEqual(await next.ended(), success)
  })

  test('systemd hands its sockets over', async (t) => {
    const command = 'systemd-socket-activate'
    if (spawnSync(command, ['--version']).status !== 0) return t.skip(`there is no ${command}`)
    const port = await freePort()
    const keep = ['-E', 'PATH', '-E', 'NODE_OPTIONS', '-E', 'NODE_V8_COVERAGE']
    const parent = [command, '-l', `127.0.0.1:${port}`, ...keep]
    const program = new Program(t, 'serve', {}, { parent })
    await program.warns(`Listening on 127.0.0.1:${port}`)
    const client = await RawClient.connect(t, { host: '127.0.0.1', port })
    assert.equal((await client.get('/').response()).body, 'hello')
    assert.match(program.out, new RegExp(`^Listening at http://127\\.0\\.0\\.1:${port}/`))
    client.socket.destroy()
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
  })

  test('a socket that is said to be handed over and is not is one line on stderr and exit code 1', async (t) => {
    const program = new Program(t, 'serve', { LISTEN_FDS: '1', LISTEN_FD: '3' })
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.err, /^Cannot listen on file descriptor 3: .+\n$/)
  })

  test('with several listeners the first line names each, and which of them speak TLS', async (t) => {
    const program = new Program(t, 'listeners')
    await program.prints('Ctrl-C to stop')
    const port = '127\\.0\\.0\\.1:\\d+'
    assert.match(
      program.out,
      new RegExp(`^Listening at https://(${port})/ \\(\\1 with TLS, ${port}\\)\n`),
    )
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
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

  test('[stopping 5.15] a port in use is one line on stderr and exit code 1', async (t) => {
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

  test('[stopping 5.16] an init that fails is exit code 1, whatever it has left open', async (t) => {
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

  test('[stopping 5.12] SIGTERM during an init that hangs ends the process after the deadline', async (t) => {
    const program = new Program(t, 'slow-init')
    await program.prints('init')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.out, /SIGTERM: stopping, waiting for 1 init; once more to force\n/)
    assert.match(program.err, /1 init:\n  1 × init of app\[0\] .*database.* \(oldest /)
    assert.doesNotMatch(program.err, /before it had started/)
  })

  test('[stopping 5.1] other signals begin the stop if the program says so', async (t) => {
    const program = new Program(t, 'other-signals')
    const client = await program.connect(t)
    client.get('/slow')
    await program.prints('slow request')
    program.kill('SIGTERM') // which is here for the report
    await program.warns('running: 1 request\n')
    program.kill('SIGHUP')
    assert.equal((await client.response()).field('connection'), 'close')
    client.socket.end()
    assert.deepEqual(await program.ended(), success)
    assert.match(
      program.out,
      /\nSIGHUP: stopping, waiting for 1 request; once more to force\nStopped\n/,
    )
  })

  test('[stopping 5.4] a client that had to be cut because it did not read is exit code 1', async (t) => {
    const program = new Program(t, 'serve')
    const [stalled, other] = [await program.connect(t), await program.connect(t)]
    await stalled.get('/broadcast').received(':\n')
    stalled.socket.pause()
    await other.get('/publish').response()
    other.socket.destroy()
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(
      program.out,
      /\nStopped; 1 event stream had to be cut, as the client did not read\n/,
    )
    assert.equal(program.err, '')
  })

  test('[stopping 5.5] a hook that fails is printed, and is exit code 1', async (t) => {
    const program = new Program(t, 'failing-hook')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(
      program.err,
      /^The hook database \(closing\) failed: Error: no connection\n    at /,
    )
    assert.match(program.out, /\nStopped; a hook has failed\nrun has resolved\n$/)
  })

  for (const [path, message] of [
    ['/throws', 'nobody catches this'],
    ['/rejects', 'nobody handles this'],
  ] as const) {
    test(`[stopping 5.8] an error that ${message.replace(' this', ' it')} begins the stop, with exit code 1`, async (t) => {
      const program = new Program(t, 'serve')
      const [slow, faulty] = [await program.connect(t), await program.connect(t)]
      slow.get('/slow')
      await program.prints('slow request')
      await faulty.get(path).response()
      const response = await slow.response()
      assert.deepEqual([response.body, response.field('connection')], ['hello', 'close'])
      for (const client of [slow, faulty]) {
        await client.ended()
        client.socket.end()
      }
      assert.deepEqual(await program.ended(), failure)
      assert.ok(program.err.startsWith(`Uncaught: Error: ${message}\n    at `), program.err)
      assert.match(
        program.out,
        /\nAn uncaught error: stopping, waiting for 1 request .*; once more to force\nStopped, after an error\nrun has resolved\n$/,
      )
    })
  }

  test('[stopping 5.8] an error that nobody catches during a stop is exit code 1 too', async (t) => {
    const program = new Program(t, 'serve')
    const [slow, faulty] = [await program.connect(t), await program.connect(t)]
    await faulty.get('/').response()
    program.kill('SIGTERM')
    await program.prints('SIGTERM: stopping')
    faulty.get('/throws')
    await faulty.ended()
    for (const client of [slow, faulty]) client.socket.end()
    assert.deepEqual(await program.ended(), failure)
    assert.match(program.err, /^Uncaught: Error: nobody catches this\n/)
    assert.match(program.out, /\nStopped, after an error\n/)
  })

  test('[stopping 5.9] with stopOnUncaught: false such an error ends the process at once', async (t) => {
    const program = new Program(t, 'node-on-uncaught')
    const [slow, faulty] = [await program.connect(t), await program.connect(t)]
    slow.get('/slow')
    await program.prints('slow request')
    faulty.get('/throws')
    assert.deepEqual(await program.ended(), failure)
    await slow.closed()
    assert.equal(slow.text, '')
    assert.match(program.err, /Error: nobody catches this/)
    assert.doesNotMatch(program.err, /Uncaught:/)
    assert.doesNotMatch(program.out, /Stopped|resolved/)
  })

  test('[stopping 5.10] SIGUSR2 prints what is open, and the program goes on', async (t) => {
    const program = new Program(t, 'serve')
    const [held, other] = [await program.connect(t), await program.connect(t)]
    await held.get('/').response()
    program.kill('SIGUSR2')
    await program.warns('running: 2 idle connections\n')
    held.get('/never').get('/slow')
    await program.prints('slow request')
    program.kill('SIGUSR2')
    await program.warns('  1 × GET /never (oldest ')
    const { body, field } = await other.get('/').response()
    assert.deepEqual([body, field('connection')], ['hello', 'keep-alive'])
  })

  test('[stopping 5.10] without a reportSignal, SIGUSR2 means what it always does', async (t) => {
    const program = new Program(t, 'no-report')
    await program.prints('Ctrl-C to stop')
    program.kill('SIGUSR2')
    assert.deepEqual(await program.ended(), { code: null, signal: 'SIGUSR2' })
    assert.equal(program.err, '')
  })

  test('[stopping 5.11] SIGTERM during an init that heeds it ends the process with exit code 0, and nothing is served', async (t) => {
    const program = new Program(t, 'willing-init')
    await program.prints('init of port')
    const port = Number(/init of port (\d+)/.exec(program.out)![1])
    const client = await RawClient.connect(t, { host: '127.0.0.1', port })
    client.get('/')
    program.kill('SIGTERM')
    await client.closed()
    assert.equal(client.text, '')
    assert.deepEqual(await program.ended(), success)
    assert.match(
      program.out,
      /^init of port \d+\nSIGTERM: stopping, waiting for .*1 init; once more to force\nStopped\nrun has resolved\n$/,
    )
    assert.equal(program.err, '')
  })

  test('[stopping 5.17] a guard that was lost is named with its place, and does not hold the stop', async (t) => {
    const program = new Program(t, 'serve')
    const client = await program.connect(t)
    await client.get('/forget').response()
    for (let round = 0; round < 100 && !program.err.includes('lost'); round++)
      await client.get('/collect').response()
    await program.warns('A guard was lost before it was released: 1 × a forgotten job ')
    assert.match(program.err, /program\.ts:\d+:\d+ \(oldest [\d.]+m?s\)\n$/)
    client.socket.destroy()
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), success)
    assert.match(
      program.out,
      /\nSIGTERM: stopping, (nothing is open|waiting for 1 idle connection; .*)\nStopped\n/,
    )
  })

  test('[stopping 5.18] a guard that is released after the deadline is printed with its place', async (t) => {
    const program = new Program(t, 'late-release')
    const client = await program.connect(t)
    await client.get('/job').response()
    client.socket.destroy()
    program.kill('SIGTERM')
    assert.deepEqual(await program.ended(), failure)
    assert.match(
      program.err,
      /\nReleased after the deadline: 1 × the nightly export .*\bprogram\.ts:\d+:\d+ \(oldest /,
    )
  })

  for (const [mode, message] of [
    ['bad-signals', /^RangeError: Cannot run with the signal "SIGFOO": this system has none\n/],
    [
      'bad-report-signal',
      /^RangeError: Cannot run with the signal "SIGFOO": this system has none\n/,
    ],
    [
      'signal-nobody-hears',
      /^RangeError: Cannot run with the signal "SIGKILL": no process gets to hear of it\n/,
    ],
    [
      'report-signal-nobody-hears',
      /^RangeError: Cannot run with the signal "SIGSTOP": no process gets to hear of it\n/,
    ],
    [
      'no-word-for-no-report',
      /^TypeError: Cannot run with reportSignal false: it must be the name of a signal, or null for none\n/,
    ],
    [
      'report-signal-that-stops',
      /^RangeError: Cannot run with reportSignal "SIGUSR2": it is one of signals, which stop the server; choose another, or null for none\n/,
    ],
    [
      'no-such-option',
      /^TypeError: Cannot run with prot: there is no such option; there are host, .*, exitGraceMs and log\n/,
    ],
    ['no-options', /^TypeError: Cannot serve with options null: it must be an object of options\n/],
    ['bad-log', /^TypeError: Cannot run with log 5: it must be a function\n/],
    ['bad-stop', /^TypeError: Cannot run with stopOnUncaught "no": it must be true or false\n/],
    ['bad-grace', /^RangeError: Cannot run with exitGraceMs "x": it must be a number from 0\n/],
  ] as const) {
    test(`an option that cannot be used is exit code 1, with the option and the value (${mode})`, async (t) => {
      const program = new Program(t, mode)
      assert.deepEqual(await program.ended(), failure)
      assert.match(program.err, message)
    })
  }
})
