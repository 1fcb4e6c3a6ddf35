/** The app on Bun. */

import { fetch } from './app.ts'

const server = Bun.serve({ fetch, hostname: '127.0.0.1', port: 0 })
console.log(`Listening at ${server.url}`)
process.once('SIGTERM', async () => {
  const closed = server.stop()
  await fetch.shutDown()
  await closed
  process.exit()
})
