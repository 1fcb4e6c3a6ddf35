/** The app on Deno. */

import process from 'node:process'

import { fetch } from './app.ts'

const onListen = ({ hostname, port }: { hostname: string; port: number }): void =>
  console.log(`Listening at http://${hostname}:${port}/`)
const server = Deno.serve({ hostname: '127.0.0.1', port: 0, onListen }, fetch)
process.once('SIGTERM', async () => {
  const closed = server.shutdown()
  await fetch.shutDown()
  await closed
  process.exit()
})
