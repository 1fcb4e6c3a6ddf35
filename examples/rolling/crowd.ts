/** Many EventSource clients, in a process of their own, which keep all that they hear. */

import { EventSource } from 'eventsource'

/** What a client has heard. */
export interface Heard {
  /** The ids of the events, in the order in which they came. */
  readonly ids: readonly string[]
  /** How many gap events there were. */
  readonly gaps: number
  /** How many connections it had. */
  readonly connections: number
  /** Whether it has given up for ever, as an EventSource does on a status other than 200. */
  readonly hasGivenUp: boolean
}

/** What the crowd is asked. */
export type CrowdQuestion = { readonly upTo: string } | 'report'
/** What it says: it is there; everyone has the event that was asked for; or what all have heard. */
export type CrowdAnswer = 'here' | 'have it' | readonly Heard[]

class Client {
  readonly ids: string[] = []
  readonly #source: EventSource
  #gaps = 0
  #connections = 0
  /** Resolves when it is connected for the first time. */
  readonly connected: Promise<void>

  constructor(url: string) {
    this.#source = new EventSource(url)
    this.#source.addEventListener('tick', ({ lastEventId }) => this.ids.push(lastEventId))
    this.#source.addEventListener('gap', () => this.#gaps++)
    this.connected = new Promise((resolve) => {
      this.#source.addEventListener('open', () => {
        this.#connections++
        resolve()
      })
    })
  }

  get heard(): Heard {
    const hasGivenUp = this.#source.readyState === EventSource.CLOSED
    return { ids: this.ids, gaps: this.#gaps, connections: this.#connections, hasGivenUp }
  }
}

const [url, count] = process.argv.slice(2)
const clients: Client[] = []
// Not all in one moment: the backlog of a socket is not what is rehearsed.
while (clients.length < Number(count)) {
  const some = Array.from(
    { length: Math.min(50, Number(count) - clients.length) },
    () => new Client(url!),
  )
  clients.push(...some)
  await Promise.all(some.map(({ connected }) => connected))
}
say('here')

process.on('message', (question: CrowdQuestion) => {
  if (question === 'report') return say(clients.map(({ heard }) => heard))
  const timer = setInterval(() => {
    if (!clients.every(({ ids }) => ids.includes(question.upTo))) return
    clearInterval(timer)
    say('have it')
  }, 100)
})
process.once('disconnect', () => process.exit())

function say(answer: CrowdAnswer): void {
  process.send!(answer)
}
