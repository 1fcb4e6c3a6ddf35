/** Deploying on Deno: `deno run --allow-net --allow-env deno.ts`, on HOST and PORT. */

import process from 'node:process'

import { toFetch } from '@wakerobin/core/fetch'

import { makeApp } from './app.ts'

const fetch = toFetch(makeApp())
await fetch.init() // an init that fails ends the program here, and not with the first request

const server = Deno.serve(
  {
    hostname: process.env.HOST || 'localhost',
    port: Number(process.env.PORT || 8080),
    onListen: ({ hostname, port }) => console.log(`Listening at http://${hostname}:${port}/`),
  },
  fetch,
)

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, stop)

async function stop(): Promise<void> {
  const closed = server.shutdown() // no new connections
  await fetch.shutDown() // event streams end whole, requests in progress are answered
  setTimeout(() => process.exit(), 1000) // whoever has not read the last of it by then is not waited for
  await closed
  process.exit()
}
