/** What the compiler promises about WebSockets, checked by tsc alone: nothing here runs. */

import {
  handlers,
  State,
  type Conn,
  type Handler,
  type HandlerObject,
  type Has,
} from '@wakerobin/core'
import { testApp } from '@wakerobin/core/testing'

import { websocket } from './index.ts'
import type { WebSocketClose, WebSocketConn, WebSocketHandler } from './index.ts'

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

class User {
  readonly #name: string
  constructor(name: string) {
    this.#name = name
  }
  get name(): string {
    return this.#name
  }
}

declare const socket: WebSocketConn
declare const withUser: WebSocketConn<Has<User>>

// Messages are text or bytes; values from JSON are unknown.
async function messages(): Promise<void> {
  for await (const message of socket) {
    const given: Equal<typeof message, string | Uint8Array> = true
    await socket.send(String(given))
  }
  for await (const value of socket.json()) {
    const given: Equal<typeof value, unknown> = true
    await socket.sendJson(given)
  }
}
const closed: Equal<typeof socket.closed, Promise<WebSocketClose>> = true
const sent: Equal<ReturnType<typeof socket.send>, Promise<boolean>> = true
// @ts-expect-error a value is sent by sendJson
void socket.send({ a: 1 })

// What its conn holds is known, and needed.
const name: string = withUser.conn.state(User).name
const maybe: User | undefined = socket.conn.state(User)
const greet: HandlerObject<Has<User>> = websocket((it) => void it.send(it.conn.state(User).name))
const greets = (it: WebSocketConn<Has<User>>): void => void it.send(it.conn.state(User).name)
const app: Handler = handlers(State.new(new User('Fern')), websocket(greets))
testApp([State.new(new User('Fern')), websocket(greets)])
// @ts-expect-error nobody provides a User
testApp([websocket(greets)])
// @ts-expect-error nobody provides a User
const bare: Handler = websocket(greets)

// One that holds more stands where one that holds less is asked for, and not the other way round.
const less: WebSocketConn = withUser
// @ts-expect-error it holds no User
const more: WebSocketConn<Has<User>> = socket

// A handler may be async or not, and returns nothing.
const sync: WebSocketHandler<never> = () => {}
const later: WebSocketHandler<never> = async () => {}
// @ts-expect-error it does not return the conn
const wrong: WebSocketHandler<never> = async (it): Promise<Conn> => it.conn

// @ts-expect-error a list of origins, or a function
websocket(sync, { origins: 'https://example.com' })
websocket(sync, { origins: (origin, conn) => origin === `https://${conn.host}` })

export { app, bare, closed, greet, later, less, maybe, messages, more, name, sent, wrong }
