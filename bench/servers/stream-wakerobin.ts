/** An event stream that stays silent, on Wakerobin. */

import { serve } from '@wakerobin/server-node'
import { Broadcaster, sse } from '@wakerobin/sse'

import { report } from '../lib/server-process.ts'

const broadcaster = new Broadcaster()
const server = await serve(
  sse(() => broadcaster),
  { port: 0, host: '127.0.0.1' },
)
report(Number(new URL(server.url!).port))
