import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'
import { testStream } from '@wakerobin/sse/testing'

import { app } from './listeners.ts'
import { openFetch } from './testing/event-client.ts'

const admin = { kind: 'unix', path: 'admin.sock', isSecure: false } as const

test('what is posted to the socket of the administrator reaches those who listen on the port', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'admin.sock')
  const server = await serve(app(), {
    listen: [
      { host: '127.0.0.1', port: 0 },
      { path, mode: 0o600 },
    ],
    shutdown: { lingerMs: 0 },
  })
  t.after(() => server.shutDown())
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const { events, ended } = await openFetch(t, server.url!)
  assert.equal(await post(path, 'Closed for repairs at nine'), 204)
  assert.deepEqual(await events.take(1), [{ type: 'message', data: 'Closed for repairs at nine' }])
  assert.equal((await server.shutDown()).outcome, 'clean')
  await ended
})

test('on the port everybody listens, and on the socket the administrator sees how many', async () => {
  const test = testApp(app())
  assert.equal((await test.get('/', { listener: admin })).body, '0 listen\n')
  const stream = await testStream(test, '/')
  assert.equal((await test.get('/', { listener: admin })).body, '1 listen\n')
  await test.post('/', { listener: admin, body: 'hello' })
  assert.equal((await stream.next()).data, 'hello')
  await stream.leave()
})

function post(socketPath: string, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    request({ socketPath, method: 'POST', path: '/' }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode!))
    })
      .on('error', reject)
      .end(body)
  })
}
