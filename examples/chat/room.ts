/** The chat room: who is here, what was said, and a broadcaster that tells everyone. */

import { randomUUID } from 'node:crypto'

import { Broadcaster } from '@wakerobin/sse'

export interface Message {
  readonly id: number
  readonly name: string
  readonly text: string
  readonly at: Date
}

export interface Person {
  readonly id: number
  readonly name: string
  readonly since: Date
}

/** What the room tells everyone, by type. */
export interface RoomEvents {
  message: Message
  people: readonly Person[]
  stopping: { readonly message: string }
}

/** What a page begins with, and begins anew with where it was told of a `gap`. */
export interface Snapshot {
  /** Differs after a restart, when message ids begin at 1 again. */
  readonly epoch: string
  readonly messages: readonly Message[]
  readonly people: readonly Person[]
}

/** Why a message was not taken, in words for the person who wrote it. */
export class MessageRefusedError extends Error {
  override readonly name = 'MessageRefusedError'
}

const keptMessages = 50
const maxTextLength = 500
const maxNameLength = 32

export class Room {
  /** Who comes back gets the messages that it has missed, and of the lists of people the newest alone. */
  readonly broadcaster: Broadcaster<RoomEvents> = new Broadcaster<RoomEvents>({
    whenBehind: 'coalesce',
    coalesce: { people: true },
  })
  readonly #epoch = randomUUID()
  readonly #people = new Map<number, Person>()
  #messages: readonly Message[] = []
  #lastMessage = 0
  #lastPerson = 0

  /** Lets somebody in. Returns the way out. */
  enter(name: string): () => void {
    const checked = checkName(name) // before an id is taken
    const person = { id: ++this.#lastPerson, name: checked, since: new Date() }
    this.#people.set(person.id, person)
    this.#tellPeople()
    return () => {
      this.#people.delete(person.id)
      this.#tellPeople()
    }
  }

  /** Tells everyone.
   * @throws {MessageRefusedError} When the name or the text is empty or too long. */
  say(name: string, text: string): Message {
    const checked = { name: checkName(name), text: checkText(text) } // before an id is taken
    const message = { id: ++this.#lastMessage, ...checked, at: new Date() }
    this.#messages = [...this.#messages, message].slice(-keptMessages)
    this.broadcaster.publish('message', message)
    return message
  }

  /** Tells everyone that the server stops. */
  sayGoodbye(): void {
    this.broadcaster.publish('stopping', { message: 'The server is stopping' })
  }

  snapshot(): Snapshot {
    return { epoch: this.#epoch, messages: this.#messages, people: [...this.#people.values()] }
  }

  #tellPeople(): void {
    this.broadcaster.publish('people', [...this.#people.values()])
  }
}

function checkName(name: string): string {
  return checkLength('name', name, maxNameLength)
}

function checkText(text: string): string {
  return checkLength('message', text, maxTextLength)
}

function checkLength(what: string, value: string, most: number): string {
  const trimmed = value.trim()
  if (trimmed === '') throw new MessageRefusedError(`A ${what} cannot be empty`)
  if (trimmed.length > most) {
    throw new MessageRefusedError(
      `A ${what} can have ${most} characters, this one has ${trimmed.length}`,
    )
  }
  return trimmed
}
