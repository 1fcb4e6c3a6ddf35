/** Traffic that goes on while a server stops, and the account of what became of it. */

import { Agent, request } from 'node:http'
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'

import type { Where } from './dial.ts'
import { HttpConnection } from './http-connection.ts'
import { until } from './patience.ts'

/** What became of the requests of one stop. */
export interface Tally {
  sent: number
  answered: number
  /** Clients that an answer has told `Connection: close`. */
  told: number
  /** Answers to clients that had been told before, and found the door still open when they came back. */
  returned: number
  /** Clients whose attempt to connect was refused in the end. */
  refused: number
  /** Requests without a complete answer, whose client had seen neither FIN nor `Connection: close` on their
   * connection when it wrote them. */
  lost: number
}

/** Traffic that has begun. */
export interface Load {
  readonly tally: Tally
  /** Resolves when every client has been answered several times. */
  readonly warm: Promise<void>
  /** Resolves when every client has stopped, because the server has. */
  readonly over: Promise<void>
}

/** Clients with one connection each, that never reconnect: each sends its next request when it is answered,
 * after a pause where there is one, until the server ends the connection or says that it will.
 * @param pauseMs Returns how long to wait before the next request. Default: not at all. */
export function keepAliveLoad(where: Where, clients: number, pauseMs?: () => number): Load {
  const tally = emptyTally()
  const answers = new Array<number>(clients).fill(0)
  const ask = (connection: HttpConnection): void => {
    if (connection.isOver) return
    connection.get('/hello')
    tally.sent++
  }
  const askLater = async (connection: HttpConnection, ms: number): Promise<void> => {
    await sleep(ms)
    // The turn that a late timer runs in may not have read yet what has come before: FIN, perhaps.
    await turn()
    await turn()
    ask(connection)
  }
  const client = async (index: number): Promise<void> => {
    const connection = await HttpConnection.open(where)
    connection.onAnswer = ({ saysClose }) => {
      tally.answered++
      answers[index]!++
      if (saysClose) tally.told++
      else if (pauseMs === undefined) ask(connection)
      else void askLater(connection, pauseMs())
    }
    ask(connection)
    await connection.closed
    tally.lost += connection.unanswered
  }
  return {
    tally,
    over: all(clients, client),
    warm: until(
      () => `every client has been answered: ${answers.join(' ')}`,
      () => answers.every((count) => count >= (pauseMs === undefined ? 10 : 2)),
    ),
  }
}

/** Stock clients, as one service has of another: node's own Agent with one kept connection, which POST one
 * request after the other, and reconnect at once until they are refused. */
export function stockLoad(port: number, clients: number): Load {
  const tally = emptyTally()
  const answers = new Array<number>(clients).fill(0)
  const client = async (index: number): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    let isTold = false
    for (;;) {
      const outcome = await post(port, agent)
      if (outcome === 'ECONNREFUSED') break
      tally.sent++
      if (outcome === 'answered' || outcome === 'answered, told') {
        tally.answered++
        answers[index]!++
        if (isTold) tally.returned++
        isTold ||= outcome === 'answered, told'
      } else tally.lost++
    }
    agent.destroy()
    tally.refused++
    if (isTold) tally.told++
  }
  return {
    tally,
    over: all(clients, client),
    warm: until(
      () => `every client has been answered: ${answers.join(' ')}`,
      () => answers.every((count) => count >= 5),
    ),
  }
}

/** Clients that connect anew for every request, until they are refused. One that was connected and got no
 * answer is lost. */
export function churnLoad(port: number, clients: number): Load {
  const tally = emptyTally()
  const client = async (): Promise<void> => {
    for (;;) {
      const outcome = await visit(port)
      if (outcome === 'ECONNREFUSED') break
      tally.sent++
      if (outcome === 'answered') tally.answered++
      else tally.lost++
    }
    tally.refused++
  }
  return {
    tally,
    over: all(clients, client),
    warm: until(
      () => `there were 200 answers: ${tally.answered}`,
      () => tally.answered >= 200,
    ),
  }
}

/** Clients that connect all at once, and for one request only. Warm as soon as they have: the system has taken
 * them in, the server hardly any of them yet. */
export function burstLoad(port: number, clients: number): Load {
  const tally = emptyTally()
  const over = all(clients, async () => {
    tally.sent++
    if ((await visit(port)) === 'answered') tally.answered++
    else tally.lost++
  })
  // Node connects in the next tick.
  const warm = new Promise<void>((resolve) => process.nextTick(resolve))
  return { tally, over, warm }
}

/** The tally as one line. */
export function lineOf({ sent, answered, told, returned, refused, lost }: Tally): string {
  return `${sent} sent, ${answered} answered, ${told} clients told by header, ${returned} returned, ${refused} refused, ${lost} lost`
}

function emptyTally(): Tally {
  return { sent: 0, answered: 0, told: 0, returned: 0, refused: 0, lost: 0 }
}

async function all(count: number, client: (index: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, index) => client(index)))
}

/** Returns `answered`, `answered, told`, or what went wrong. */
function post(port: number, agent: Agent): Promise<string> {
  return new Promise((resolve) => {
    const sending = request({ host: '127.0.0.1', port, agent, method: 'POST', path: '/echo' })
    sending.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    sending.on('response', (response) => {
      let body = ''
      response.setEncoding('latin1').on('data', (text: string) => (body += text))
      response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      response.on('end', () => {
        if (!response.complete || body !== '100 bytes') resolve(`another answer: ${body}`)
        else resolve(response.headers.connection === 'close' ? 'answered, told' : 'answered')
      })
    })
    sending.end('x'.repeat(100))
  })
}

/** Returns `answered`, or what went wrong. */
export async function visit(port: number): Promise<string> {
  try {
    const connection = await HttpConnection.open(port)
    connection.get('/hello', 'Connection: close')
    await connection.closed
    return connection.unanswered === 0 ? 'answered' : 'no answer'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}
