/** Deploying on Bun: `bun bun.ts`, on HOST and PORT. */

import { toFetch } from '@wakerobin/core/fetch'

import { makeApp } from './app.ts'

const fetch = toFetch(makeApp())
await fetch.init() // an init that fails ends the program here, and not with the first request

const server = Bun.serve({
  fetch,
  hostname: process.env.HOST || 'localhost',
  port: Number(process.env.PORT || 8080),
  // Bun's default of 10 s is less than the 15 s after which a silent event stream says something.
  idleTimeout: 60,
})
console.log(`Listening at ${server.url}`)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, stop)

async function stop(): Promise<void> {
  const closed = server.stop() // no new connections
  await fetch.shutDown() // event streams end whole, requests in progress are answered
  setTimeout(() => process.exit(), 1000) // whoever has not read the last of it by then is not waited for
  await closed
  process.exit()
}
