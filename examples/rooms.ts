/** Rooms: one broadcaster with a topic for each, members alone may listen, who is there, and figures for Prometheus.
 *
 *     npm run example examples/rooms.ts
 *     curl -N 'localhost:8080/events?name=Fern&room=garden'
 *     curl -d 'hello' 'localhost:8080/?name=Moss&room=garden'
 *     curl 'localhost:8080/?name=Moss&room=garden'
 *     curl localhost:8080/metrics */

import { handlers, State, type Conn, type Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'
import { Broadcaster, metrics, sse } from '@wakerobin/sse'

/** What is sent, by type. */
export interface RoomEvents {
  said: { room: string; name: string; text: string }
}

const Name = State.key<string>()('examples/name')

/** @param members The names of those who may listen to each room, and talk in it: as they are at any moment. */
export const app = (members: Map<string, Set<string>>): Handler => {
  const rooms = new Broadcaster<RoomEvents>()
  const isMember = (room: string, name: string): boolean => members.get(room)?.has(name) === true
  return handlers(
    metrics({ rooms }),
    // In earnest: the name that is in a session.
    (conn: Conn) => {
      const name = conn.query.get('name')
      return name === null ? conn.withStatus(401).halt() : conn.withState(Name, name)
    },
    // new EventSource('/events?name=Fern&room=garden&room=pond')
    sse((conn) => {
      if (conn.path !== '/events') return
      const name = conn.state(Name)
      return rooms.subscribe({
        topics: conn.query.getAll('room'),
        allow: (room) => isMember(room, name),
      })
    }),
    async (conn) => {
      const [room, name] = [conn.query.get('room') ?? '', conn.state(Name)]
      if (!isMember(room, name)) return conn.withStatus(403).halt()
      if (conn.method === 'POST') {
        const text = await conn.requestBody.withLimit(500).text()
        const id = await rooms.publish('said', { room, name, text }, { topic: room })
        return conn.withStatus(201).json({ id })
      }
      const here = rooms.subscribers().filter(({ topics }) => topics?.includes(room))
      return conn.json(here.map((subscriber) => subscriber.conn?.state(Name)))
    },
  )
}

if (process.argv[1] === import.meta.filename)
  run(app(new Map([['garden', new Set(['Fern', 'Moss'])]])))
