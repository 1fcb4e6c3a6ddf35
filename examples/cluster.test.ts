import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { startProgram } from './testing/child-program.ts'
import { clients } from './testing/event-client.ts'

const skip =
  spawnSync('redis-server', ['-v']).error !== undefined && process.env.CI !== 'true'
    ? 'no redis-server here: install it (apt-get install redis-server)'
    : false

test(
  'the clients of all processes of a cluster hear what is said in any of them, and a stop ends all',
  { skip },
  async (t) => {
    const redisPort = await freePort()
    const redis = spawn(
      'redis-server',
      ['--port', `${redisPort}`, '--bind', '127.0.0.1', '--save', ''],
      {
        stdio: 'ignore',
      },
    )
    t.after(() => redis.kill())
    while (!(await isOpen(redisPort))) await sleep(20)
    const program = await startProgram(t, 'cluster.ts', {
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      PORT: String(await freePort()),
    })
    const origin = `http://127.0.0.1:${program.port}`
    const open = clients['fetch with eventsource-parser']!
    const listeners = await Promise.all(
      Array.from({ length: 8 }, () => open(t, `${origin}/events`, ['message'])),
    )
    const pids = new Set<string>()
    for (let said = 0; said < 20; said++) {
      const response = await fetch(origin, { method: 'POST', body: String(said) })
      pids.add(await response.text())
    }
    for (const { events } of listeners)
      assert.deepEqual(
        (await events.take(20)).map(({ data }) => data),
        Array.from({ length: 20 }, (_, said) => String(said)),
      )
    t.diagnostic(`${pids.size} processes have answered`)
    program.process.kill('SIGTERM')
    await Promise.all(listeners.map(({ ended }) => ended))
    assert.equal(await program.exited, 0)
    assert.deepEqual(program.errors, [])
  },
)

test('a cluster that finds its port in use ends, and says so', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.after(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  const program = spawn(
    process.execPath,
    ['--conditions=@wakerobin/source', '--import', 'tsx', join(import.meta.dirname, 'cluster.ts')],
    {
      env: {
        ...process.env,
        NODE_TEST_CONTEXT: undefined,
        NODE_V8_COVERAGE: undefined, // tsx adds branches that no test can reach
        HOST: '127.0.0.1',
        PORT: String(port),
        REDIS_URL: 'redis://127.0.0.1:1',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  t.after(() => program.kill('SIGKILL'))
  let said = ''
  program.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [code] = await once(program, 'exit', { signal: AbortSignal.timeout(30_000) })
  assert.equal(code, 1)
  assert.match(said, /it is in use/)
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
