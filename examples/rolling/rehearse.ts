/** A rolling deploy, rehearsed: processes are restarted one after the other, behind nginx, under a steady stream of events
 * and in front of many EventSource clients, and what each of these has heard is compared with the log.
 *
 *     npm run example rolling/rehearse          two processes, Redis, nginx
 *     npm run example rolling/rehearse file     one process, `fileLog`
 *
 * Options: `clients=500`, `restarts=3` of each process, `rate=50` events a second. It takes half a minute, needs `nginx`
 * and `redis-server` (the form with a file needs neither), and ends with exit code 1 where anything was lost. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

import type { EventLog } from '@wakerobin/sse'
import { fileLog } from '@wakerobin/sse-file'
import { redisLog } from '@wakerobin/sse-redis'
import { createClient } from 'redis'

import type { CrowdAnswer, CrowdQuestion, Heard } from './crowd.ts'

export interface Rehearsal {
  /** `'redis'`: two processes behind nginx, which share a Redis. `'file'`: one process and its folder. */
  readonly kind: 'redis' | 'file'
  readonly clients: number
  /** How often each process is restarted. */
  readonly restarts: number
  /** Events a second. */
  readonly rate: number
}

/** What has come of it. Counts of events are over all clients. */
export interface Outcome {
  readonly published: number
  readonly restarts: number
  readonly kills: number
  readonly brokerRestarts: number
  /** Published events that are not in the log, though the publisher was told that they are. */
  readonly notKept: number
  /** Events that are in the log, and were not heard by a client that was there. */
  readonly lost: number
  readonly doubled: number
  /** Clients that have heard events in another order than the log's. */
  readonly disordered: number
  readonly gaps: number
  /** Clients that have given up for ever. */
  readonly givenUp: number
  /** Requests of the publisher that were not answered with a 200 while processes were restarted in good order. */
  readonly refused: number
  /** The same, in all: a process that is killed takes with it what it had been asked. */
  readonly refusedInAll: number
  /** Connections that clients have opened. */
  readonly connections: number
}

/** Runs a rehearsal. @param say Is told what is going on. */
export async function rehearse(plan: Rehearsal, say: (line: string) => void): Promise<Outcome> {
  await using stage = await Stage.build(plan)
  await using crowd = await Crowd.gather(stage.url, plan.clients)
  say(`${plan.clients} clients have come`)
  const publisher = new Publisher(stage.url, plan.rate)

  let restarts = 0
  let kills = 0
  let brokerRestarts = 0
  for (let round = 1; round <= plan.restarts; round++)
    for (const server of stage.servers) {
      await sleep(500)
      await server.restart()
      restarts++
      say(
        `restart ${round} of process ${server.name}: ${publisher.published} events, ${publisher.refused} refused`,
      )
    }
  await sleep(500)
  await publisher.settled()
  const { refused } = publisher
  for (const server of stage.servers) {
    await server.kill()
    kills++
    say(`process ${server.name} was killed: ${publisher.published} events`)
    await sleep(500)
    await server.start()
    await sleep(500)
  }
  if (stage.broker !== undefined) {
    await stage.broker.restart()
    brokerRestarts++
    say(`the broker was restarted: ${publisher.published} events`)
    await sleep(1000)
  }
  await publisher.stop()

  const log = await stage.read()
  await crowd.has(log.at(-1)!)
  return {
    ...judge(log, publisher.ids, await crowd.report()),
    published: publisher.published,
    restarts,
    kills,
    brokerRestarts,
    refused,
    refusedInAll: publisher.refused,
  }
}

/** Compares what was heard with the log.
 * @param log All ids, in order. @param acknowledged Those that the publisher was told. */
function judge(
  log: readonly string[],
  acknowledged: readonly string[],
  crowd: readonly Heard[],
): Pick<
  Outcome,
  'notKept' | 'lost' | 'doubled' | 'disordered' | 'gaps' | 'givenUp' | 'connections'
> {
  const placeOf = new Map(log.map((id, place) => [id, place]))
  let [lost, doubled, disordered] = [0, 0, 0]
  for (const { ids } of crowd) {
    const once = new Set(ids)
    doubled += ids.length - once.size
    // A client that is there before the first event has to hear all.
    lost += log.filter((id) => !once.has(id)).length
    const places = ids.map((id) => placeOf.get(id) ?? -1)
    if (places.some((place, at) => at > 0 && place < places[at - 1]!)) disordered++
  }
  const sum = (of: (heard: Heard) => number): number =>
    crowd.reduce((total, heard) => total + of(heard), 0)
  return {
    notKept: acknowledged.filter((id) => !placeOf.has(id)).length,
    lost,
    doubled,
    disordered,
    gaps: sum(({ gaps }) => gaps),
    givenUp: crowd.filter(({ hasGivenUp }) => hasGivenUp).length,
    connections: sum(({ connections }) => connections),
  }
}

// ------------------------------------------------------------------------------------ the stage

/** The processes, what is before them, and what is behind. */
class Stage implements AsyncDisposable {
  readonly servers: readonly Server[]
  readonly broker: Redis | undefined
  /** Where clients and publishers go. */
  readonly url: string
  readonly #folder: string
  readonly #nginx: ChildProcess | undefined

  private constructor(
    folder: string,
    servers: readonly Server[],
    broker: Redis | undefined,
    url: string,
    nginx: ChildProcess | undefined,
  ) {
    this.#folder = folder
    this.servers = servers
    this.broker = broker
    this.url = url
    this.#nginx = nginx
  }

  static async build({ kind }: Rehearsal): Promise<Stage> {
    const folder = mkdtempSync(join(tmpdir(), 'wakerobin-rolling-'))
    if (kind === 'file') {
      const port = await freePort()
      const server = new Server('a', { LOG_FOLDER: join(folder, 'log') }, new KeptSocket(port))
      await server.start()
      return new Stage(folder, [server], undefined, `http://127.0.0.1:${port}`, undefined)
    }
    const broker = new Redis(await freePort(), folder)
    await broker.start()
    const servers: Server[] = []
    for (const name of ['a', 'b'])
      servers.push(new Server(name, { REDIS_URL: broker.url, DRAIN_MS: '1500' }, await freePort()))
    await Promise.all(servers.map((server) => server.start()))
    const port = await freePort()
    const nginx = await startNginx(folder, port, servers)
    return new Stage(folder, servers, broker, `http://127.0.0.1:${port}`, nginx)
  }

  /** The ids of all events in the log. */
  async read(): Promise<string[]> {
    // A folder is its writer's alone.
    if (this.broker === undefined) await this.servers[0]!.stop()
    const log =
      this.broker === undefined
        ? fileLog(join(this.#folder, 'log'))
        : redisLog(createClient({ url: this.broker.url }), { key: 'ticks' })
    try {
      return await idsOf(log)
    } finally {
      await log.close()
      if (this.broker === undefined) await this.servers[0]!.start()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server.end()
    if (this.#nginx !== undefined) await end(this.#nginx)
    await this.broker?.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

async function idsOf(log: EventLog): Promise<string[]> {
  const ids: string[] = []
  for (let at = ''; ;) {
    const { records, next } = await log.read(at, 1000)
    if (records.length === 0) return ids
    ids.push(...records.map(({ id }) => id))
    at = next
  }
}

interface BoundHandle {
  readonly fd: number
  close(): void
}

/** A socket that stays when a process ends, as systemd keeps it: who connects meanwhile waits for the next one. */
class KeptSocket {
  readonly #handle: BoundHandle

  constructor(port: number) {
    // Node has no public way to bind without accepting too.
    const { _createServerHandle: bind } = net as unknown as {
      _createServerHandle(address: string, port: number, addressType: 4): BoundHandle
    }
    this.#handle = bind('127.0.0.1', port, 4)
  }

  get fd(): number {
    return this.#handle.fd
  }

  close(): void {
    this.#handle.close()
  }
}

/** A process of server.ts. */
class Server {
  readonly name: string
  readonly #env: NodeJS.ProcessEnv
  readonly #at: number | KeptSocket
  #child: ChildProcess | undefined

  /** @param at Its port, or the socket that it is given. */
  constructor(name: string, env: NodeJS.ProcessEnv, at: number | KeptSocket) {
    this.name = name
    this.#env = env
    this.#at = at
  }

  get port(): number {
    return this.#at as number
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    const at = this.#at
    const program = join(import.meta.dirname, 'server.ts')
    const address =
      typeof at === 'number' ? { HOST: '127.0.0.1', PORT: String(at) } : { LISTEN_FD: '3' }
    const child = spawn(
      process.execPath,
      ['--conditions=@wakerobin/source', '--import', 'tsx', program],
      {
        env: {
          ...process.env,
          NODE_TEST_CONTEXT: undefined,
          NODE_V8_COVERAGE: undefined,
          ...this.#env,
          ...address,
        },
        stdio: ['ignore', 'pipe', 'inherit', ...(typeof at === 'number' ? [] : [at.fd])],
      },
    )
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stdout!).on('line', (line) => {
        if (line.startsWith('Listening at')) resolve()
      })
      child.once('exit', (code, signal) =>
        reject(new Error(`Process ${this.name} has ended with ${code ?? signal}`)),
      )
    })
  }

  /** A stop in good order. */
  async stop(): Promise<void> {
    const code = await end(this.#child!)
    if (code !== 0) throw new Error(`Process ${this.name} has ended with ${code}`)
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** What a power cut does. */
  async kill(): Promise<void> {
    await end(this.#child!, 'SIGKILL')
  }

  async end(): Promise<void> {
    await this.kill()
    if (typeof this.#at === 'object') this.#at.close()
  }
}

/** A Redis that keeps what it has acknowledged. */
class Redis {
  readonly url: string
  readonly #port: number
  readonly #folder: string
  #child: ChildProcess | undefined

  constructor(port: number, folder: string) {
    this.url = `redis://127.0.0.1:${port}`
    this.#port = port
    this.#folder = folder
  }

  async start(): Promise<void> {
    const options = {
      port: this.#port,
      bind: '127.0.0.1',
      dir: this.#folder,
      save: '',
      appendonly: 'yes',
      appendfsync: 'always',
    }
    const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
    this.#child = spawn('redis-server', args, { stdio: 'ignore' })
    await isOpen(this.#port, this.#child)
  }

  async restart(): Promise<void> {
    await this.end()
    await sleep(500)
    await this.start()
  }

  async end(): Promise<void> {
    await end(this.#child!)
  }
}

async function startNginx(
  folder: string,
  port: number,
  servers: readonly Server[],
): Promise<ChildProcess> {
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const upstream = servers.map((server) => `server 127.0.0.1:${server.port} max_fails=0;`)
  writeFileSync(
    join(folder, 'nginx.conf'),
    `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off; pid nginx.pid; worker_processes 1; error_log stderr crit;
events { worker_connections 8192; }
http {
  access_log off;
  ${temp.map((each) => `${each}_temp_path ${each};`).join(' ')}
  upstream app { ${upstream.join(' ')} keepalive 64; keepalive_timeout 1s; }
  server {
    listen 127.0.0.1:${port};
    proxy_http_version 1.1;
    # What has not been sent to one process is sent to the next; a GET also where it had been.
    proxy_next_upstream error timeout http_503;
    location / {
      proxy_pass http://app;
      proxy_set_header Connection "";
    }
    location /events {
      proxy_pass http://app;
      # A stream ends with its connection: one that is kept would get the next request when the stop closes it.
      proxy_set_header Connection close;
    }
  }
}
`,
  )
  const nginx = spawn('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await isOpen(port, nginx)
  return nginx
}

// --------------------------------------------------------------------- the crowd and the publisher

class Crowd implements AsyncDisposable {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Resolves when all are connected. */
  static async gather(url: string, count: number): Promise<Crowd> {
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', join(import.meta.dirname, 'crowd.ts'), `${url}/events`, String(count)],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    )
    const crowd = new Crowd(child)
    await crowd.#answer()
    return crowd
  }

  /** Resolves when everyone has heard an event. */
  async has(upTo: string): Promise<void> {
    await this.#ask({ upTo })
  }

  async report(): Promise<readonly Heard[]> {
    return (await this.#ask('report')) as readonly Heard[]
  }

  #ask(question: CrowdQuestion): Promise<CrowdAnswer> {
    this.#child.send(question)
    return this.#answer()
  }

  async #answer(): Promise<CrowdAnswer> {
    const late = AbortSignal.timeout(patienceMs)
    try {
      const [answer] = (await once(this.#child, 'message', { signal: late })) as [CrowdAnswer]
      return answer
    } catch (error) {
      throw new Error(`The crowd has not answered within ${patienceMs} ms`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#child, 'SIGKILL')
  }
}

/** Sends events at a steady rate, whether or not those before are answered. */
class Publisher {
  /** How many the log has, as far as was said. */
  readonly ids: string[] = []
  refused = 0
  #next = 1
  readonly #url: string
  readonly #timer: NodeJS.Timeout
  readonly #open = new Set<Promise<void>>()
  readonly #agent = new Agent({ keepAlive: true })

  constructor(url: string, rate: number) {
    this.#url = url
    this.#timer = setInterval(() => {
      const sending = this.#send(this.#next++).finally(() => this.#open.delete(sending))
      this.#open.add(sending)
    }, 1000 / rate)
  }

  get published(): number {
    return this.ids.length
  }

  /** Resolves when what was sent so far is answered. */
  async settled(): Promise<void> {
    await Promise.all(this.#open)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.settled()
    this.#agent.destroy()
  }

  async #send(n: number): Promise<void> {
    try {
      const { status, text } = await this.#post(JSON.stringify({ n }))
      if (status !== 200) throw new Error(`status ${status}`)
      this.ids.push((JSON.parse(text) as { id: string }).id)
    } catch {
      this.refused++
    }
  }

  #post(body: string): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(
        `${this.#url}/publish`,
        { method: 'POST', agent: this.#agent },
        (response) => {
          let text = ''
          response.setEncoding('utf8').on('data', (part: string) => (text += part))
          response.once('end', () => resolve({ status: response.statusCode!, text }))
          response.once('error', reject)
        },
      )
      sent.once('error', reject)
      sent.end(body)
    })
  }
}

// --------------------------------------------------------------------------------------- processes

const patienceMs = 60_000

/** Ends a process, and resolves with its exit code, or the signal that has ended it. */
async function end(
  child: ChildProcess,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<number | string> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
  return child.exitCode ?? child.signalCode!
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  return port
}

/** Resolves when somebody listens on a port. */
async function isOpen(port: number, child: ChildProcess): Promise<void> {
  let failure: unknown
  child.once('error', (error) => (failure = error))
  for (;;) {
    const socket = net.connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      if (failure !== undefined) throw failure
      if (child.exitCode !== null)
        throw new Error(
          `A process has ended with ${child.exitCode} instead of listening on port ${port}`,
        )
      await sleep(20)
    } finally {
      socket.destroy()
    }
  }
}

// Not a server, as the other programs are.
if (import.meta.filename === process.argv[1]) {
  const plan = { kind: 'redis' as Rehearsal['kind'], clients: 500, restarts: 3, rate: 50 }
  for (const arg of process.argv.slice(2)) {
    const [, option, value] = /^(clients|restarts|rate)=([1-9]\d*)$/.exec(arg) ?? []
    if (option !== undefined) plan[option as 'clients'] = Number(value)
    else if (arg === 'redis' || arg === 'file') plan.kind = arg
    else {
      console.error(
        `Cannot rehearse ${arg}: expected redis, file, clients=500, restarts=3 or rate=50`,
      )
      process.exit(1)
    }
  }
  const outcome = await rehearse(plan, console.log)
  console.table(outcome)
  const { notKept, lost, doubled, disordered, gaps, givenUp, refused } = outcome
  process.exitCode = [notKept, lost, doubled, disordered, gaps, givenUp, refused].some(
    (count) => count > 0,
  )
    ? 1
    : 0
}
