import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'

import type { Listener } from '@wakerobin/core'

import { bindAll, urlOf } from './listen.ts'

const tcp = (host: string, port: number): Listener => ({ kind: 'tcp', host, port, isSecure: false })

test('the url is localhost only where that leads to the server', () => {
  assert.equal(urlOf([tcp('127.0.0.1', 8080), tcp('::1', 8080)]), 'http://localhost:8080/')
  assert.equal(urlOf([tcp('0.0.0.0', 80)]), 'http://localhost/')
  assert.equal(urlOf([tcp('::', 8080)]), 'http://localhost:8080/')
  assert.equal(urlOf([tcp('127.0.0.1', 8080)]), 'http://127.0.0.1:8080/')
  assert.equal(urlOf([tcp('::1', 8080)]), 'http://[::1]:8080/')
  assert.equal(urlOf([{ kind: 'unix', path: '/run/app', isSecure: false }]), undefined)
  assert.equal(urlOf([]), undefined)
})

test('an optional address that the machine has not is left out, any other is a StartError', async () => {
  const first = { host: '127.0.0.1', port: 0, isOptional: false }
  const missing = { host: '192.0.2.1', port: 0 } // RFC 5737: nobody's
  const bound = await bindAll([first, { ...missing, isOptional: true }], () => createServer())
  for (const { server } of bound) server.close()
  assert.equal(bound.length, 1)
  await assert.rejects(
    bindAll([first, { ...missing, isOptional: false }], () => createServer()),
    { name: 'StartError', message: /^Cannot listen on 192\.0\.2\.1:\d+: this machine has no such/ },
  )
})

test('what cannot be bound for another reason has that of the system in its message', async () => {
  const path = '/dev/null/app.sock' // below what is no folder
  await assert.rejects(
    bindAll([{ path }], () => createServer()),
    { name: 'StartError', message: /^Cannot listen on \/dev\/null\/app\.sock: listen ENOTDIR/ },
  )
})
