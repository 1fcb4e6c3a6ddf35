import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { NatsServer, skip } from '../fixtures/nats-server.ts'
import { natsLog } from './nats-log.ts'

/** Runs a program of the fixtures to its end. Returns what it has printed. */
async function run(name: string, ...args: string[]): Promise<string> {
  const program = fileURLToPath(new URL(`../fixtures/${name}.ts`, import.meta.url))
  const flags = process.execArgv.filter((flag) => !flag.startsWith('--test'))
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, ...args], {
    timeout: 30_000,
  })
  return stdout
}

test(
  'broadcasters of two processes send the same events in the same order, and end when they are closed',
  { skip },
  async () => {
    await using server = await NatsServer.start()
    const log = natsLog('shared', { connection: { servers: server.url } })
    const { last } = await log.bounds()
    await log.close()
    const [here, there] = await Promise.all(
      ['a', 'b'].map(async (name) => {
        const printed = await run('broadcaster', server.url, 'shared', name, last, '200', '400')
        return JSON.parse(printed) as string[]
      }),
    )
    assert.deepEqual(here, there)
    assert.equal(new Set(here).size, 400)
    const data = here!.map((line) => line.split(' ')[1]!)
    for (const name of ['a', 'b'])
      assert.deepEqual(
        data.filter((text) => text.startsWith(name)),
        Array.from({ length: 200 }, (_, n) => `${name}${n}`),
      )
  },
)

test('a client that is not installed is named', async () => {
  const why = 'expected the packages @nats-io/transport-node and @nats-io/jetstream to be installed'
  assert.deepEqual((await run('no-client')).trim().split('\n'), [
    `Cannot read the log in the stream "orders": ${why}`,
    `Cannot add to the log in the stream "orders": ${why}`,
  ])
})
