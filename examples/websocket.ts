/** A room with two doors: a WebSocket for who talks, an event stream for who only listens. Both hear the same.
 *
 *     npm run example examples/websocket.ts
 *     curl -N localhost:8080/events */

import { handlers, type Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'
import { Broadcaster, sse } from '@wakerobin/sse'
import { websocket, type WebSocketConn } from '@wakerobin/websocket'

/** What is said, as both doors have it. */
export interface Said {
  readonly name: string
  readonly text: string
}

export const app = (): Handler => {
  // Who is too slow misses something, and is told: the next event is of type `gap`.
  const room = new Broadcaster<{ said: Said }>({ whenBehind: 'drop-oldest' })

  // The handler's life is that of the connection: both loops end when it closes.
  async function talk(socket: WebSocketConn): Promise<void> {
    const name = socket.conn.query.get('name') ?? 'somebody'
    for await (const message of socket) {
      if (typeof message === 'string') await room.publish('said', { name, text: message })
    }
  }

  // Each is awaited: who does not read is waited for, and not buffered for.
  async function listen(socket: WebSocketConn): Promise<void> {
    for await (const { type, data } of room.subscribe({ signal: socket.signal }))
      await socket.send(`${type}: ${data}`)
  }

  return handlers(
    // new WebSocket('/socket?name=Fern')
    websocket(
      async (socket) => {
        await Promise.all([talk(socket), listen(socket)])
      },
      { path: '/socket', messageBytes: 1000 },
    ),
    // new EventSource('/events')
    sse((conn) => (conn.path === '/events' ? room : undefined)),
    (conn) => conn.withResponseHeader('Content-Type', 'text/html').ok(page),
  )
}

const page = `<!doctype html>
<title>A room with two doors</title>
<form><input name="text" placeholder="Say something" autofocus /></form>
<ul></ul>
<script>
  const name = 'guest' + Math.floor(Math.random() * 1000)
  const socket = new WebSocket('/socket?name=' + name)
  const form = document.querySelector('form')
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    socket.send(form.elements.text.value)
    form.reset()
  })
  new EventSource('/events').addEventListener('said', ({ data }) => {
    const { name, text } = JSON.parse(data)
    const item = document.createElement('li')
    item.textContent = name + ': ' + text
    document.querySelector('ul').append(item)
  })
</script>
`

if (process.argv[1] === import.meta.filename) run(app())
