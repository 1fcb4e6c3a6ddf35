import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'

import type { Conn } from '@wakerobin/core'

import { reportOnStderr } from './report.ts'

test('an error that throws when it is shown is reported as such, with its place and the request', (t) => {
  const lines: unknown[] = []
  t.mock.method(console, 'error', (line: unknown) => void lines.push(line))
  const hostile = {
    [inspect.custom]() {
      throw new Error('not to be shown')
    },
  }
  const conn = { method: 'GET', pathAndQuery: '/a?b' } as Conn
  reportOnStderr(hostile, { conn, place: 'app[1] "auth"' })
  assert.deepEqual(lines, [
    'Wakerobin: error in app[1] "auth", on GET /a?b\nan error that cannot be shown',
  ])
})
