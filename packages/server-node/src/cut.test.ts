import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'

import type { BodySink, BodySource, Conn } from '@wakerobin/core'

import { first } from '../fixtures/certificates.ts'
import { until } from '../fixtures/harness.ts'
import { serve } from './serve.ts'

// HTTP/1.0 knows no chunks: the end of the connection is the end of such a body.
const request = 'GET /PATH HTTP/1.0\r\nHost: localhost\r\n\r\n'

/** How a body may be ended that has begun. */
const ways: Record<string, (sink: BodySink) => void> = {
  abort: (sink) => sink.abort(new Error('broken')),
  cut: (sink) => sink.cut(),
}

const { cert, key } = first

for (const kind of ['tcp', 'tls', 'unix']) {
  for (const [way, end] of Object.entries(ways)) {
    test(`over ${kind}, ${way} in a body without a length cuts the connection, and harms nobody else`, async (t) => {
      const folder = mkdtempSync(join(tmpdir(), 'wakerobin-'))
      t.after(() => rmSync(folder, { recursive: true }))
      const errors: string[] = []
      let sink: BodySink | undefined
      const body: BodySource = {
        start(given) {
          sink = given
          sink.write(Buffer.from('begun'))
        },
        drained() {},
        stop() {},
        closed() {},
      }
      const server = await serve(
        (conn: Conn) => (conn.path === '/PATH' ? conn.ok(body) : conn.ok('well')),
        {
          ...(kind === 'unix'
            ? { host: join(folder, 's') }
            : { host: '127.0.0.1', port: 0, ...(kind === 'tls' && { tls: { cert, key } }) }),
          shutdown: { lingerMs: 0 },
          onError: (error) => void errors.push(String(error)),
        },
      )
      t.after(() => server.shutDown())
      const [listener] = server.listeners
      const open = (): Socket => {
        if (listener!.kind === 'unix') return connect(listener!.path)
        const { port } = listener as { port: number }
        if (kind === 'tls') return connectTls({ port, host: 'localhost', ca: cert })
        return connect(port, '127.0.0.1')
      }
      const socket = open()
      let text = ''
      let isClosed = false
      let error: NodeJS.ErrnoException | undefined
      socket.on('data', (data) => (text += String(data)))
      socket.on('close', () => (isClosed = true)).on('error', (each) => (error = each))
      socket.write(request)
      // Else node's client may take the reset for an end in order, as it comes with data.
      await until('it has begun', () => text.endsWith('begun'))
      end(sink!)
      await until('it is closed', () => isClosed)
      // A Unix socket has no reset: its client has only the missing rest to tell it by.
      if (kind !== 'unix') assert.equal(error?.code, 'ECONNRESET')
      assert.deepEqual(errors, way === 'cut' ? [] : ['Error: broken'])
      await until('nothing is left', () => server.report().isEmpty)
      const other = open()
      let answer = ''
      other.on('data', (data) => (answer += String(data))).write(request.replace('PATH', 'other'))
      await until('others are served', () => answer.endsWith('well'))
      other.destroy()
    })
  }
}
