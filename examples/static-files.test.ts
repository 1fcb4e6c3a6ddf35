import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'

import { app } from './static-files.ts'
import { startProgram } from './testing/child-program.ts'
import { start } from './testing/start.ts'

test('files have their types, and are asked for again only when they are old', async (t) => {
  const { origin } = await start(t, (options) => serve(app, options))
  const page = await fetch(origin)
  assert.equal(page.status, 200)
  assert.equal(page.headers.get('content-type'), 'text/html;charset=utf-8')
  assert.equal(page.headers.get('cache-control'), 'public,max-age=60')
  assert.match(await page.text(), /<h1>Static files<\/h1>/)
  const style = await fetch(`${origin}/page.css`)
  assert.equal(style.headers.get('content-type'), 'text/css')
  const headers = { 'If-None-Match': style.headers.get('etag')!, 'Cache-Control': 'max-age=0' }
  assert.equal((await fetch(`${origin}/page.css`, { headers })).status, 304)
})

test('what is no file is answered by other handlers', async () => {
  const test = testApp(app)
  ;(await test.get('/api/time')).assertStatus(200)
  ;(await test.get('/nothing')).assertStatus(404).assertBody('There is no such page\n')
  ;(await test.get('/../package.json')).assertStatus(404)
  assert.deepEqual(test.errors, [])
})

test('the program serves the page, and ends at SIGTERM', async (t) => {
  const program = await startProgram(t, 'static-files.ts')
  const page = await fetch(`http://127.0.0.1:${program.port}/`)
  assert.match(await page.text(), /<h1>Static files<\/h1>/)
  program.process.kill('SIGTERM')
  assert.equal(await program.exited, 0)
  assert.deepEqual(program.errors, [])
})
