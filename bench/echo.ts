/** What does a request body cost? A POST of 1 KB of JSON, which is parsed and answered as JSON.
 *
 *   npm run bench echo
 */

import { frameworks } from './lib/contestants.ts'
import { holdRequestContest } from './lib/request-contest.ts'
import { expectedAnswer } from './lib/state.ts'

export async function echo(): Promise<void> {
  await holdRequestContest({
    name: 'echo',
    contestants: frameworks,
    length: { starts: 4, rounds: 5 },
    loads: {
      'one at a time': {
        connections: 20,
        requestsPerConnection: 200,
        pipelined: 1,
        path: '/echo',
        requestBody: expectedAnswer,
        body: expectedAnswer,
      },
    },
  })
}
