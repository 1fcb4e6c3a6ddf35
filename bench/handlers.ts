/** What do handlers cost that pass something on? Five that each put a header field on the request, then 1 KB of JSON
 * that is made of them.
 *
 *   npm run bench handlers
 */

import { frameworks } from './lib/contestants.ts'
import { holdRequestContest } from './lib/request-contest.ts'
import { expectedAnswer, requestFields } from './lib/state.ts'

export async function handlers(): Promise<void> {
  await holdRequestContest({
    name: 'handlers',
    contestants: frameworks,
    length: { starts: 4, rounds: 5 },
    loads: {
      'one at a time': {
        connections: 20,
        requestsPerConnection: 250,
        pipelined: 1,
        path: '/handlers',
        fields: requestFields,
        body: expectedAnswer,
      },
    },
  })
}
