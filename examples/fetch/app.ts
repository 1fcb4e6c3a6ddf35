/** News for whoever listens: an app for any runtime that speaks fetch. `bun.ts` and `deno.ts` serve it. */

import type { Handler } from '@wakerobin/core'
import { Broadcaster } from '@wakerobin/sse'

export function makeApp(): Handler {
  const news = new Broadcaster()
  return async (conn) => {
    if (conn.path !== '/news') return conn
    if (conn.method !== 'POST') return conn.withSseStream(news)
    await news.publish(await conn.requestBody.text())
    return conn.withStatus(202).halt()
  }
}
