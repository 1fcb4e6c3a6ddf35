/** Requests that are wrong, each on a connection of its own: see request-table.ts. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

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
  const reply = await ask(target.port, bytes, {
    ...(isRight ? { until: (got: string) => got.endsWith('GET /probe 0') } : {}),
  })
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

const clauses: Readonly<Record<string, string>> = {
  versions: '1.2',
  requestLines: '1.3',
  methods: '1.4',
  hosts: '1.5',
  targets: '1.6',
  fields: '1.7',
  framings: '1.8',
  chunks: '1.9',
  expectations: '1.10',
  pipelines: '1.11',
}

describe('requests that are wrong, and some that only look so', () => {
  for (const [kind, cases] of Object.entries(table)) {
    test(`[requests ${clauses[kind]}] ${kind}: ${cases.length} checks`, async (t) => {
      const target = await startTarget(t)
      const failures: string[] = []
      for (const each of cases) {
        try {
          await check(target, each)
        } catch (error) {
          failures.push(`${each.name}: ${(error as Error).message}`)
          target.take()
        }
      }
      assert.equal(failures.join('\n'), '')
      assert.deepEqual(target.errors, [])
      assert.equal((await (await fetch(`${target.url}/after`)).text()), 'GET /after 0')
    })
  }

  test('there are at least 150 checks, each with a name of its own in its kind', () => {
    const names = Object.entries(table).flatMap(([kind, cases]) =>
      cases.map(({ name }) => `${kind}: ${name}`),
    )
    assert.ok(names.length >= 150, `${names.length}`)
    assert.equal(new Set(names).size, names.length)
  })
})
