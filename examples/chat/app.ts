/** The demo: a chat whose messages reach every open page as server-sent events. */

import { readFile } from 'node:fs/promises'

import { handlers, Init, State, type Conn, type Handler, type Has } from '@wakerobin/core'
import '@wakerobin/sse'

import { MessageRefusedError, Room } from './room.ts'

/** The app of a room. */
export const app = (room: Room): Handler =>
  handlers(
    Init.new((info) => void info.swansong.onStop(() => room.sayGoodbye())),
    State.new(room),
    page,
    events,
    snapshot,
    postMessage,
  )

async function page(conn: Conn): Promise<Conn> {
  if (conn.method !== 'GET' || conn.path !== '/') return conn
  return conn.withResponseHeader('Content-Type', 'text/html; charset=utf-8').ok(await pageHtml)
}

const pageHtml = readFile(new URL('page/index.html', import.meta.url), 'utf8')

const events: Handler<Has<Room>> = (conn) => {
  if (conn.method !== 'GET' || conn.path !== '/events') return conn
  const room = conn.state(Room)
  try {
    const leave = room.enter(conn.query.get('name') ?? 'Somebody')
    return conn.afterSend(leave).withSseStream(room.broadcaster)
  } catch (error) {
    return answerRefusal(conn, error)
  }
}

const snapshot: Handler<Has<Room>> = (conn) => {
  if (conn.method !== 'GET' || conn.path !== '/snapshot') return conn
  return conn.json(conn.state(Room).snapshot())
}

const postMessage: Handler<Has<Room>> = async (conn) => {
  if (conn.method !== 'POST' || conn.path !== '/messages') return conn
  const { name, text } = Object(await conn.requestBody.withLimit(10_000).json())
  try {
    return conn.withStatus(201).json(conn.state(Room).say(textOf(name), textOf(text)))
  } catch (error) {
    return answerRefusal(conn, error)
  }
}

/** Strangers send anything: what is no text is as good as none. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function answerRefusal(conn: Conn, error: unknown): Conn {
  if (!(error instanceof MessageRefusedError)) throw error
  return conn.withStatus(400).json({ error: error.message })
}
