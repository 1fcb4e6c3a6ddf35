/** The program that is stopped: WebSockets, and one handler that has something to do afterwards. */

import { setTimeout as sleep } from 'node:timers/promises'

import { handlers } from '@wakerobin/core'
import type { Handler } from '@wakerobin/core'
import { run } from '@wakerobin/server-node'

import { websocket } from '../src/websocket.ts'

const app: Handler = handlers(
  websocket(
    async (socket) => {
      void socket.send('welcome')
      for await (const message of socket) void socket.send(`you said ${message}`)
      const { code } = await socket.closed
      await sleep(20) // as long as it takes to store something
      console.log(`closed with ${code}`)
    },
    { path: '/socket' },
  ),
  websocket(() => new Promise(() => {}), { path: '/stuck' }),
  'hello',
)

// Unless it is said, a deadline that is longer than a test waits: what only it ends is a failure.
const deadlineMs = Number(process.argv[2] ?? 60_000)
await run(app, { host: '127.0.0.1', port: 0, shutdown: { deadlineMs } })
