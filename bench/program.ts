/** What do handlers cost beyond what they do? A tuple compiled to a program, against a loop that
 * awaits every handler and against koa-compose.
 *
 *   npm run bench program
 *
 * Six handlers that each add to a number. Nanoseconds of CPU time for one request through all of
 * them; the contestants take turns. */

import { Conn, handlers, Swansong, type AnyHandler } from '@wakerobin/core'
import { compile, StateMap, type Incoming } from '@wakerobin/core/adapter'
import compose from 'koa-compose'

import { median, printTable, withRange } from './lib/stats.ts'

type Run = () => unknown

const rounds = 15
const requests = 200_000

let sum = 0
const add = (conn: Conn): Conn => {
  sum += conn.isHalted ? 0 : 1
  return conn
}
const addLater = async (conn: Conn): Promise<Conn> => add(conn)

const server = {
  swansong: new Swansong(),
  sharedState: new StateMap(),
  maxBodyBytes: 0,
  onError() {},
}
const incoming: Incoming = {
  method: 'GET',
  target: '/',
  rawHeaders: [],
  httpVersion: '1.1',
  peerIp: undefined,
  isSecure: false,
  startTime: 0,
  server,
  isDisconnected: false,
  onDisconnect() {},
  async *openBody() {},
}

type Fn = (conn: Conn) => Conn | Promise<Conn>
const allSync: Fn[] = [add, add, add, add, add, add]
const oneAsync: Fn[] = [add, add, add, add, add, addLater]

/** A tuple as it stands, compiled. */
function wakerobin(app: AnyHandler): Run {
  const program = compile(app)
  return () => program.handle(new Conn(incoming))
}

/** The shape of the Rust original: every handler awaited. */
function naive(functions: readonly Fn[]): Run {
  return async () => {
    let conn = new Conn(incoming)
    for (const run of functions) {
      conn = await run(conn)
      if (conn.isHalted) break
    }
    return conn
  }
}

function naiveNested(groups: readonly (readonly Fn[])[]): Run {
  const runGroup = async (conn: Conn, group: readonly Fn[]): Promise<Conn> => {
    for (const run of group) {
      conn = await run(conn)
      if (conn.isHalted) break
    }
    return conn
  }
  return async () => {
    let conn = new Conn(incoming)
    for (const group of groups) conn = await runGroup(conn, group)
    return conn
  }
}

/** Koa's middleware: each calls the next. */
function koa(functions: readonly Fn[]): Run {
  const middleware = compose<Conn>(
    functions.map((run) => (conn: Conn, next: () => Promise<unknown>) => {
      const result = run(conn)
      return result instanceof Promise ? result.then(next) : next()
    }),
  )
  return () => middleware(new Conn(incoming))
}

const thirds = (functions: readonly Fn[]): [Fn[], Fn[], Fn[]] => [
  functions.slice(0, 2),
  functions.slice(2, 4),
  functions.slice(4),
]

const cases: Record<string, Record<string, Run>> = {
  '5 synchronous, 1 asynchronous': {
    wakerobin: wakerobin(oneAsync),
    naive: naive(oneAsync),
    'koa-compose': koa(oneAsync),
  },
  '6 synchronous': {
    wakerobin: wakerobin(allSync),
    naive: naive(allSync),
    'koa-compose': koa(allSync),
  },
  '6 synchronous, in 3 nested tuples': {
    wakerobin: wakerobin(thirds(allSync)),
    naive: naiveNested(thirds(allSync)),
  },
  '6 synchronous, in 3 handlers(…)': {
    wakerobin: wakerobin(thirds(allSync).map((group) => handlers(...group)) as AnyHandler),
    naive: naiveNested(thirds(allSync)),
  },
}

export async function program(): Promise<void> {
  const rows = [
    ['handlers', 'contestant', 'CPU ns per request, median (range)', 'ratio to wakerobin, median'],
  ]
  for (const [title, contestants] of Object.entries(cases)) {
    const nanos = new Map(Object.keys(contestants).map((name) => [name, [] as number[]]))
    for (const run of Object.values(contestants)) await measure(run) // warm up
    const turns = Object.entries(contestants)
    for (let round = 0; round < rounds; round++) {
      // Another one goes first each time.
      for (let turn = 0; turn < turns.length; turn++) {
        const [name, run] = turns[(round + turn) % turns.length]!
        nanos.get(name)!.push(await measure(run))
      }
    }
    const own = nanos.get('wakerobin')!
    for (const [name, values] of nanos) {
      rows.push([
        title,
        name,
        withRange(values, 0),
        median(values.map((value, round) => value / own[round]!)).toFixed(2),
      ])
    }
  }
  if (sum === 0) throw new Error('No handler ran')
  console.log(`program: ${rounds} rounds of ${requests} requests, Node ${process.version}\n`)
  printTable(rows)
}

/** The CPU time of one request, in nanoseconds. */
async function measure(run: Run): Promise<number> {
  const before = process.cpuUsage()
  for (let request = 0; request < requests; request++) {
    const result = run()
    if (result instanceof Promise) await result
  }
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1000) / requests
}
