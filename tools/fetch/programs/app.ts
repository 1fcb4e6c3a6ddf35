/** The app that is tried on Bun and Deno. It says on stdout what it sees of its clients. */

import type { Conn } from '@wakerobin/core'
import { toFetch } from '@wakerobin/core/fetch'
import { Broadcaster } from '@wakerobin/sse'

const news = new Broadcaster()
let made = 0

const routes: Readonly<Record<string, (conn: Conn) => unknown>> = {
  '/hello': (conn) => conn.ok('hello'),
  '/head'(conn) {
    conn.responseHeaders.append('Set-Cookie', ['a=1', 'b=2']).set('X-Name', 'Fårö')
    const { peerIp, isSecure, host, pathAndQuery, requestHeaders } = conn
    conn.json([peerIp, isSecure, host, pathAndQuery, requestHeaders.get('x-name')])
  },
  '/empty': (conn) => conn.withStatus(204).halt(),
  '/echo': async (conn) => conn.ok(await conn.requestBody.text()),
  '/form': async (conn) => conn.json([...(await conn.requestBody.formData())]),
  async '/parts'(conn) {
    for await (const part of conn.requestBody) say('part', new TextDecoder().decode(part))
    conn.ok('all')
  },
  '/throws'() {
    throw new Error('secret')
  },
  '/breaks': (conn) =>
    conn.ok(
      (async function* () {
        yield 'half'
        await new Promise((resolve) => setTimeout(resolve, 20)) // so that it is out
        throw new Error('secret')
      })(),
    ),
  async '/waits'(conn) {
    say('waits')
    await conn.cancelOnDisconnect(() => new Promise(() => {}))
    say('left', conn.isDisconnected)
  },
  '/much': (conn) =>
    conn.ok(
      (async function* () {
        try {
          for (;;) {
            made++
            yield new Uint8Array(100_000)
          }
        } finally {
          say('closed')
        }
      })(),
    ),
  '/made': (conn) => conn.json(made),
  async '/publish'(conn) {
    await news.publish(conn.querystring)
    conn.ok('published')
  },
  '/events': (conn) =>
    conn.withSseStream(news, { onEnd: (_conn, { reason, sent }) => say('end', reason, sent) }),
}

export const fetch = toFetch(
  [
    (conn: Conn) => {
      if (conn.path !== '/made') conn.afterSend((isSent) => say('sent', conn.path, isSent))
    },
    (conn: Conn) => routes[conn.path]?.(conn) as Promise<void>,
  ],
  { onError: (error, { place }) => say('error', place, String(error)) },
)

function say(...words: unknown[]): void {
  console.log(JSON.stringify(words))
}
