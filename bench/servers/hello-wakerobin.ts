/** Hello world on Wakerobin. */

import { serve } from '@wakerobin/server-node'

import { report } from '../lib/server-process.ts'

const server = await serve(
  (conn) => conn.withResponseHeader('Content-Type', 'text/plain').ok('hello, world'),
  {
    port: 0,
    host: '127.0.0.1',
  },
)
report(Number(new URL(server.url!).port))
