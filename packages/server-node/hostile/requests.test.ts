/** Requests that are wrong, each on a connection of its own: see request-table.ts. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'

import { Init } from '@wakerobin/core'

import { Gate, start, turns, until } from '../fixtures/harness.ts'
import { ask, responsesOf } from './raw.ts'
import { table } from './request-table.ts'
import type { Case } from './request-table.ts'
import { startTarget } from './target.ts'
import type { Target } from './target.ts'

const probe = 'GET /probe HTTP/1.1\r\nHost: a.test\r\n\r\n'

async function check(target: Target, { text, statuses, handled }: Case): Promise<void> {
  // What is right leaves the connection as it was: the next request on it is answered.
  const isRight = statuses.every((status) => status < 400) && !/^Connection: close/im.test(text)
  const bytes = Buffer.from(isRight ? text + probe : text, 'latin1')
  const reply = await ask(
    target.port,
    bytes,
    isRight ? { until: (got: string) => got.endsWith('GET /probe 0') } : {},
  )
  const responses = responsesOf(reply.text)
  const probed = isRight ? ['GET /probe 0'] : []
  assert.deepEqual(
    responses.map(({ status }) => status),
    [...statuses, ...probed.map(() => 200)],
  )
  assert.deepEqual(target.take(), [...handled, ...probed])
  if (isRight) return
  assert.notEqual(reply.end, 'open', 'the server has ended the connection')
  const last = responses.at(-1)!
  assert.match(last.head, /\r\nConnection: close\r\n/)
  if (last.status >= 400) assert.equal(last.body, '')
}

/** Does all checks of a kind, each on a connection of its own. */
function checks(kind: string): (t: TestContext) => Promise<void> {
  return async (t) => {
    const target = await startTarget(t)
    const failures: string[] = []
    for (const each of table[kind]!) {
      try {
        await check(target, each)
      } catch (error) {
        failures.push(`${each.name}: ${(error as Error).message}`)
        target.take()
      }
    }
    assert.equal(failures.join('\n'), '')
    assert.deepEqual(target.errors, [])
    assert.equal(await (await fetch(`${target.url}/after`)).text(), 'GET /after 0')
  }
}

describe('requests that are wrong, and some that only look so', () => {
  test('[requests 1.2] are told apart by their version', checks('versions'))
  test('[requests 1.3] are told apart by their first line', checks('requestLines'))
  test('[requests 1.4] are told apart by their method', checks('methods'))
  test('[requests 1.5] are told apart by their host', checks('hosts'))
  test('[requests 1.6] are told apart by their target', checks('targets'))
  test('[requests 1.7] are told apart by their header lines', checks('fields'))
  test('[requests 1.8] are told apart by the framing of their body', checks('framings'))
  test('[requests 1.9] are told apart by the chunks of their body', checks('chunks'))
  test('[requests 1.10] are told apart by what they expect', checks('expectations'))
  test('[requests 1.11] are told apart behind and before others', checks('pipelines'))

  test('there are at least 150 checks, each with a name of its own in its kind', (t) => {
    const names = Object.entries(table).flatMap(([kind, cases]) =>
      cases.map(({ name }) => `${kind}: ${name}`),
    )
    t.diagnostic(`${names.length} checks`)
    assert.ok(names.length >= 150)
    assert.equal(new Set(names).size, names.length)
  })
})

describe('a request that is refused', () => {
  const bad = 'GET /bad# HTTP/1.1\r\nHost: a.test\r\n\r\n'

  test('[requests 1.1] leaves the server as it was: nothing of the app runs, and nothing is open', async (t) => {
    const ran: string[] = []
    const server = await start(t, [
      {
        name: 'all',
        run: () => void ran.push('run'),
        beforeSend: () => void ran.push('beforeSend'),
      },
      (conn) => void conn.afterSend(() => ran.push('afterSend')),
    ])
    const before = String(server.handle.report())
    const texts = [bad, 'x\r\n\r\n', bad.replace('GET', 'PURGE'), bad.replace('1.1', '2.0')]
    for (let round = 0; round < 50; round++) {
      for (const text of texts) {
        const client = await server.connect()
        await client.send(text).ended()
        client.socket.destroy()
      }
    }
    await until('nothing is open', () => server.handle.report().isEmpty)
    assert.equal(String(server.handle.report()), before)
    assert.deepEqual(ran, [])
    assert.deepEqual(server.errors, [])
    const { answered, refused } = await server.handle.shutDown()
    assert.deepEqual({ answered, refused }, { answered: 0, refused: 0 })
  })

  test('[requests 1.11] waits for those before it, and nothing behind it is handled meanwhile', async (t) => {
    const gate = new Gate()
    const handled: string[] = []
    const server = await start(t, async (conn) => {
      handled.push(conn.path)
      await gate.pass()
      return conn.ok(conn.path)
    })
    const client = await server.connect()
    client.get('/first').send(bad).get('/behind')
    await gate.reached()
    await turns()
    assert.equal(client.text, '')
    gate.open()
    assert.equal((await client.response()).body, '/first')
    assert.equal((await client.response()).status, 400)
    await client.ended()
    assert.equal(client.text, '')
    assert.deepEqual(handled, ['/first'])
  })

  test('[requests 1.1] is refused as well while the server waits for an init', async (t) => {
    const gate = new Gate()
    const inits: number[] = []
    const starting = start(t, [
      Init.new(async ({ listeners }) => {
        inits.push((listeners[0] as { port: number }).port)
        await gate.pass()
      }),
      (conn) => conn.ok('ok'),
    ])
    await gate.reached()
    const reply = await ask(inits[0]!, Buffer.from(bad))
    assert.deepEqual(
      responsesOf(reply.text).map(({ status }) => status),
      [400],
    )
    gate.open()
    const server = await starting
    assert.equal(await (await fetch(server.url)).text(), 'ok')
  })
})
