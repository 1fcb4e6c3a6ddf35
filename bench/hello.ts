/** What does a request cost beyond node:http itself? Hello world, server CPU time per request.
 *
 *   npm run bench hello
 *
 * With one request at a time on a connection, much of the time goes into waking up for it; ten at a time show the
 * server alone. */

import { everyone } from './lib/contestants.ts'
import { holdRequestContest } from './lib/request-contest.ts'

const load = { connections: 20, requestsPerConnection: 300, path: '/', body: 'hello, world' }

export async function hello(): Promise<void> {
  await holdRequestContest({
    name: 'hello',
    contestants: everyone,
    length: { starts: 4, rounds: 5 },
    loads: {
      'one at a time': { ...load, pipelined: 1 },
      'ten at a time': { ...load, pipelined: 10 },
    },
  })
}
