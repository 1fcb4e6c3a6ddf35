import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import type { Handler } from '@wakerobin/core'
import { forwarded } from '@wakerobin/forwarded'
import { logger, logLine, parts } from '@wakerobin/logger'

import { RawClient, start, until } from '../fixtures/harness.ts'

const client: Handler = (conn) => conn.json([conn.peerIp ?? null, conn.isSecure, conn.host])

test('behind a proxy on this machine the conn is of the client, over TCP', async (t) => {
  const server = await start(t, [forwarded({ trust: ['loopback'] }), client])
  const raw = await server.connect()
  raw.get('/', 'X-Forwarded-For: 127.0.0.9, 203.0.113.7', 'X-Forwarded-Proto: https')
  assert.equal((await raw.response()).body, '["203.0.113.7",true,"test"]')
  raw.get('/', 'Forwarded: for="[2001:db8::1]:4711";host=example.com')
  assert.equal((await raw.response()).body, '["2001:db8::1",false,"example.com"]')
  raw.get('/', 'Forwarded: for="')
  assert.equal((await raw.response()).status, 400)
  raw.get('/')
  assert.equal((await raw.response()).body, '["127.0.0.1",false,"test"]')
})

test('a proxy on a Unix socket is believed where `unix` is trusted, and only there', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const [trust, expected] of [
    [['unix'], '["203.0.113.7",false,"test"]'],
    [['unix', '203.0.113.0/24'], '["198.51.100.1",false,"test"]'],
    [['loopback', '0.0.0.0/0'], '[null,false,"test"]'],
  ] as const) {
    const path = join(folder, `${trust.length}${trust[0]}`)
    const server = await start(t, [forwarded({ trust }), client], { host: path })
    assert.deepEqual(server.handle.listeners[0], { kind: 'unix', path, isSecure: false })
    const raw = await RawClient.connect(t, { path })
    raw.get('/', 'X-Forwarded-For: 198.51.100.1, 203.0.113.7')
    assert.equal((await raw.response()).body, expected)
  }
})

test('a log line has the address of the client, wherever the logger stands', async (t) => {
  const lines: string[] = []
  const format = logLine`${parts.ip} ${parts.status}`
  const server = await start(t, [
    logger({ format, log: (line) => lines.push(line) }),
    forwarded({ trust: ['loopback'] }),
    client,
  ])
  const raw = await server.connect()
  await raw.get('/', 'X-Forwarded-For: 203.0.113.7').response()
  await raw.get('/', 'X-Forwarded-For: nobody').response()
  await until('both lines are written', () => lines.length > 1)
  assert.deepEqual(lines, ['203.0.113.7 200', '127.0.0.1 400'])
})
