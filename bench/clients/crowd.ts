/** The process of a `Crowd`: many clients on node:net, which check what they get. */

import { connect } from 'node:net'

import { head } from '../lib/browser.ts'
import type { Answer, CrowdOptions, Order } from '../lib/crowd.ts'
import { StreamReader } from '../lib/stream-reader.ts'

const connectAtOnce = 50
const patienceMs = 60_000

const readers: StreamReader[] = []
/** Events that the clients have got, all together: when none may be ahead, it tells that none is behind. */
let total = 0
let goal = Infinity
let problem: string | undefined
/** Runs while an answer is due. */
let patience: ReturnType<typeof setTimeout> | undefined

process.on('message', (order: Order) => {
  patience = setTimeout(() => fail(`after ${patienceMs / 1000} s, ${missing()}`), patienceMs)
  if ('open' in order) {
    openAll(order.open).then(answer, fail)
  } else {
    goal = order.goal
    if (problem !== undefined || isDone()) answer()
  }
})

function missing(): string {
  const { length } = readers
  if (goal === Infinity) {
    const closed = readers.filter(({ isOpen }) => !isOpen).length
    return `${closed} of ${length} clients had no stream`
  }
  const behind = readers.filter(({ got }) => got < goal).length
  return `${behind} of ${length} clients had not got event ${goal}`
}

// The bench is gone.
process.once('disconnect', () => process.exit())

async function openAll({ port, clients, stalled = 0, eventBytes }: CrowdOptions): Promise<void> {
  let left = clients
  const worker = async (): Promise<void> => {
    while (left-- > 0) await open(port, eventBytes, left < stalled)
  }
  await Promise.all(Array.from({ length: connectAtOnce }, worker))
}

function open(port: number, eventBytes: number, isToStall: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true })
    const reader = new StreamReader(eventBytes)
    if (!isToStall) readers.push(reader)
    socket.write(head)
    socket.on('data', (bytes) => {
      const { got, isOpen } = reader
      try {
        reader.read(bytes)
      } catch (error) {
        fail(error)
        return
      }
      if (!isOpen && reader.isOpen) {
        if (isToStall) socket.pause()
        resolve()
      }
      if (reader.got === got) return
      total += reader.got - got
      if (isDone()) answer()
    })
    socket.on('error', reject)
    socket.on('close', () => {
      if (!isToStall) fail('the server has closed a stream')
      reject(new Error('the server has closed a stream'))
    })
  })
}

function isDone(): boolean {
  return total >= readers.length * goal
}

/** The first problem counts: those that follow may come of it. */
function fail(error: unknown): void {
  problem ??= error instanceof Error ? error.message : String(error)
  answer()
}

function answer(): void {
  if (patience === undefined) return
  clearTimeout(patience)
  patience = undefined
  process.send!((problem === undefined ? {} : { problem }) satisfies Answer)
}
