/** A client that sends bytes, and says what came back and how the connection ended. */

import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long an answer may take before it counts as none. Never a proof: only the end of a failure. */
const patienceMs = 8_000

/** What came back. */
export interface Reply {
  /** Everything, one char a byte. */
  readonly text: string
  /** `fin` in good order, `reset`, or `open` where the server has not ended the connection. */
  readonly end: 'fin' | 'reset' | 'open'
}

/** How to send. */
export interface Sending {
  /** The lengths of the pieces in which the bytes go out; what is left goes out as one. Default: all at once. */
  readonly pieces?: readonly number[]
  /** Whether the client ends its side behind the bytes. Default false. */
  readonly halfClose?: boolean
  /** Is enough, where the server is not to end the connection. Default: nothing is. */
  readonly until?: (text: string) => boolean
}

/** Sends bytes on a connection of their own, and waits for its end, or until there is enough. */
export async function ask(port: number, bytes: Buffer, sending: Sending = {}): Promise<Reply> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true })
  let text = ''
  let wasReset = false
  const replied = new Promise<Reply>((resolve) => {
    const done = (end: Reply['end']): void => {
      clearTimeout(timeout)
      resolve({ text, end })
      socket.destroy()
    }
    const timeout = setTimeout(() => done('open'), patienceMs)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      if (sending.until?.(text) === true) done('open')
    })
    socket.on('error', () => (wasReset = true))
    socket.on('end', () => done('fin'))
    socket.on('close', () => done(wasReset ? 'reset' : 'fin'))
  })
  await send(socket, bytes, sending.pieces ?? [])
  if (sending.halfClose === true) socket.end()
  return replied
}

async function send(socket: Socket, bytes: Buffer, pieces: readonly number[]): Promise<void> {
  let at = 0
  for (const length of pieces) {
    socket.write(bytes.subarray(at, (at += length)))
    // The server is in this process: it reads the piece before the next one is sent.
    for (let turn = 0; turn < 3; turn++) await nextTurn()
    if (socket.destroyed) return
  }
  if (at < bytes.length) socket.write(bytes.subarray(at))
}

/** One response of a reply. */
export interface Response {
  readonly status: number
  readonly head: string
  readonly body: string
}

/** Reads a reply as responses that are framed by Content-Length, as all that this suite asks for are.
 * @throws {Error} When something is left that is no whole response. */
export function responsesOf(text: string): Response[] {
  const responses: Response[] = []
  for (let rest = text; rest !== '';) {
    const head = /^HTTP\/1\.1 (\d{3}) [^\r\n]*\r\n(?:[\w-]+: [^\r\n]*\r\n)*\r\n/.exec(rest)
    if (head === null) throw new Error(`This is no response: ${JSON.stringify(rest.slice(0, 200))}`)
    const status = Number(head[1])
    const length = Number(/\r\nContent-Length: (\d+)\r\n/i.exec(head[0])?.[1] ?? 0)
    const end = head[0].length + length
    if (rest.length < end) throw new Error(`Cut off: ${JSON.stringify(rest.slice(0, 200))}`)
    if (status !== 100)
      responses.push({ status, head: head[0], body: rest.slice(head[0].length, end) })
    rest = rest.slice(end)
  }
  return responses
}
