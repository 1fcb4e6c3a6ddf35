import assert from 'node:assert/strict'
import { test } from 'node:test'

import { testApp, type TestApp } from '@wakerobin/core/testing'
import { serve } from '@wakerobin/server-node'

import { app, Lists } from './router.ts'
import { start } from './testing/start.ts'

async function withList(): Promise<TestApp> {
  const api = testApp(app(new Lists()))
  ;(await api.put('/lists/to%20buy')).assertStatus(201)
  return api
}

test('a list is made once, and then shown with what is to do', async () => {
  const api = await withList()
  ;(await api.put('/lists/to%20buy')).assertStatus(204)
  ;(await api.get('/lists')).assertJson(['to buy'])
  const created = await api.post('/lists/to%20buy/', { body: 'oats' })
  created.assertStatus(201).assertHeader('Location', '/lists/to%20buy/1')
  ;(await api.get('/lists/to%20buy')).assertJson({ list: 'to buy', todos: ['oats'] })
  ;(await api.get('/lists/to%20buy/1')).assertOk().assertBody('oats')
})

test('what is not there is a 404', async () => {
  const api = await withList()
  for (const path of [
    '/',
    '/lists/none',
    '/lists/none/1',
    '/lists/to%20buy/1',
    '/lists/to%20buy/1/2',
    '/lists/%zz',
  ])
    (await api.get(path)).assertStatus(404)
})

test('a method that a path does not have is a 405 with those that it has, and so is OPTIONS a 204', async () => {
  const api = await withList()
  for (const [method, path, allow] of [
    ['DELETE', '/lists', 'GET, HEAD'],
    ['DELETE', '/lists/to%20buy', 'GET, HEAD, POST, PUT'],
    ['POST', '/lists/to%20buy/1', 'GET, HEAD'],
  ] as const) {
    ;(await api.request(method, path)).assertStatus(405).assertHeader('Allow', allow)
  }
  const options = await api.request('OPTIONS', '/lists/to%20buy')
  options.assertStatus(204).assertHeader('Allow', 'GET, HEAD, POST, PUT')
})

test('over a socket, routes answer GET, HEAD and slashes that are too many', async (t) => {
  const { origin } = await start(t, (options) => serve(app(new Lists()), options))
  assert.equal((await fetch(`${origin}/lists/caf%C3%A9`, { method: 'PUT' })).status, 201)
  const list = await fetch(`${origin}//lists//café/`)
  assert.deepEqual(await list.json(), { list: 'café', todos: [] })
  const head = await fetch(`${origin}/lists/café`, { method: 'HEAD' })
  assert.equal(head.headers.get('content-length'), list.headers.get('content-length'))
})
