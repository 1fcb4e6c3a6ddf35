import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'

import { app } from './sessions.ts'
import { startProgram } from './testing/child-program.ts'
import { start } from './testing/start.ts'

/** The cookies of a response, as a browser sends them back. */
function cookiesOf(headers: { getSetCookie(): string[] }): { Cookie: string } {
  return {
    Cookie: headers
      .getSetCookie()
      .map((cookie) => cookie.split(';', 1)[0])
      .join('; '),
  }
}

test('who has signed in is known until he signs out', async (t) => {
  const { origin } = await start(t, (options) => serve(app('secret'), options))
  const before = await fetch(origin)
  assert.equal(before.status, 401)
  assert.deepEqual(before.headers.getSetCookie(), []) // nothing to keep, no cookie

  const signedIn = await fetch(`${origin}/sign-in`, { method: 'POST', body: 'Fern' })
  assert.equal(signedIn.status, 204)
  assert.match(signedIn.headers.getSetCookie()[0]!, /; HttpOnly; SameSite=Lax$/)
  const headers = cookiesOf(signedIn.headers)
  assert.equal(await (await fetch(origin, { headers })).text(), 'Hello, Fern: visit 1\n')
  assert.equal(await (await fetch(origin, { headers })).text(), 'Hello, Fern: visit 2\n')

  await fetch(`${origin}/sign-out`, { method: 'POST', headers })
  assert.equal((await fetch(origin, { headers })).status, 401)
})

test('signing in gives the session another id, so that one known before is worth nothing', async () => {
  const test = testApp(app('secret'))
  const first = cookiesOf((await test.post('/sign-in', { body: 'Fern' })).headers)
  const second = await test.post('/sign-in', { body: 'Moss', headers: first })
  assert.notDeepEqual(cookiesOf(second.headers), first)
  ;(await test.get('/', { headers: first })).assertStatus(401)
  ;(await test.get('/', { headers: cookiesOf(second.headers) })).assertBody(
    'Hello, Moss: visit 1\n',
  )
  assert.deepEqual(test.errors, [])
})

test('a cookie that is made up is nobody', async () => {
  const test = testApp(app('secret'))
  ;(await test.get('/', { headers: { Cookie: 'connect.sid=s%3Amade.up' } })).assertStatus(401)
})

test('the program keeps sessions, and ends at SIGTERM', async (t) => {
  const program = await startProgram(t, 'sessions.ts')
  const origin = `http://127.0.0.1:${program.port}`
  const signedIn = await fetch(`${origin}/sign-in`, { method: 'POST', body: 'Fern' })
  const page = await fetch(origin, { headers: cookiesOf(signedIn.headers) })
  assert.equal(await page.text(), 'Hello, Fern: visit 1\n')
  program.process.kill('SIGTERM')
  assert.equal(await program.exited, 0)
  assert.deepEqual(program.errors, [])
})
