/** Many connections at once, to a server in a process of its own.
 *
 *     WAKEROBIN_CONNECTIONS=10000 npm test -- hostile/crowd        default 300 */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Crowd } from '../scenarios/crowd.ts'
import { startTarget, success } from '../scenarios/server-process.ts'
import { checkLimits } from '../src/limits.ts'
import { setting } from './settings.ts'

const count = setting('WAKEROBIN_CONNECTIONS', 300, 1, 60_000)

test(
  `${count} connections wait for their answers at once, and each gets its own`,
  { timeout: 80_000 + count * 10 },
  async (t) => {
    // Each end is a process with as many files.
    if (checkLimits({}).connections < count)
      return t.skip(`this process may not open ${count} files`)
    const server = await startTarget(t)
    using crowd = await Crowd.open(server.port, { streams: 0, idle: 0, slow: count })
    await server.prints('/slow has begun', count)
    const other = await fetch(`http://127.0.0.1:${server.port}/hello`)
    assert.equal(await other.text(), 'hello')
    server.open('/slow')
    server.kill('SIGTERM')
    await crowd.over()
    const answers = crowd.slow.map((connection) => {
      assert.equal(connection.error, undefined)
      return connection.answers.map(({ status, body }) => `${status} ${body}`).join()
    })
    assert.deepEqual([...new Set(answers)], ['200 slow'])
    await server.ends(success)
    assert.equal(server.err, '')
  },
)
