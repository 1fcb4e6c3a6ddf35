/** The stop of a server that speaks HTTP/2: see requests.test.ts. Frame by frame: ../src/http2-stop.test.ts. */

import assert from 'node:assert/strict'
import { constants } from 'node:http2'
import type { ClientHttp2Session } from 'node:http2'
import { describe, test } from 'node:test'

import { first } from '../fixtures/certificates.ts'
import { ask, open, openSession } from '../fixtures/http2-client.ts'
import { until } from './patience.ts'
import { rounds } from './rounds.ts'
import { startTarget, success } from './server-process.ts'

/** What became of the requests of a client that sends without a pause until it is told to stop. */
interface Load {
  sent: number
  answered: number
  /** Refused in a way that says that they were not handled: another server gets them. RFC 9113 §8.7. */
  returned: number
  lost: number
}

async function sendUntilTold(session: ClientHttp2Session, load: Load): Promise<void> {
  const told = new AbortController()
  session.once('goaway', () => told.abort())
  while (!told.signal.aborted && !session.closed) {
    const stream = open(session, '/hello')
    load.sent++
    await new Promise<void>((resolve) => {
      let status: number | undefined
      stream.once('response', (fields) => (status = fields[':status']))
      stream.on('error', () => {})
      stream.resume().once('close', () => {
        if (status === 200 && stream.rstCode === 0) load.answered++
        else if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) load.returned++
        else load.lost++
        resolve()
      })
    })
  }
}

describe('the stop on HTTP/2', { concurrency: 2 }, () => {
  for (const isSecure of [false, true]) {
    const over = isSecure ? 'over TLS' : 'in the clear'
    const options = isSecure ? { ca: first.cert } : undefined

    test(`[stopping 9.7] S16 no request of 20 clients that send without a pause is lost, ${over}`, async (t) => {
      for (let round = 1; round <= rounds(); round++) {
        const server = await startTarget(t, { isSecure })
        const load: Load = { sent: 0, answered: 0, returned: 0, lost: 0 }
        const sessions = await Promise.all(
          Array.from({ length: 20 }, () => openSession(t, server, options)),
        )
        // Two at a time on each.
        const loops = sessions.flatMap((session) => [
          sendUntilTold(session, load),
          sendUntilTold(session, load),
        ])
        await until(
          () => 'all have had answers',
          () => load.answered > 500,
        )
        server.kill('SIGTERM')
        await Promise.all(loops)
        await server.ends(success)
        t.diagnostic(`round ${round}: ${JSON.stringify(load)}`)
        assert.equal(server.err, '')
        assert.deepEqual([load.lost, load.answered + load.returned], [0, load.sent])
      }
    })

    test(`[stopping 9.3] S16 streams finish, idle sessions close, event streams end whole, ${over}`, async (t) => {
      const server = await startTarget(t, { isSecure })
      const [busy, idle, unused] = (await Promise.all(
        Array.from({ length: 3 }, () => openSession(t, server, options)),
      )) as [ClientHttp2Session, ClientHttp2Session, ClientHttp2Session]
      await ask(idle, '/hello')
      const slow = ask(busy, '/slow')
      const download = ask(busy, '/download')
      const upload = open(busy, { ':method': 'POST', ':path': '/upload' }, true)
      upload.write('first half, ')
      const streams = Array.from({ length: 10 }, () =>
        ask(busy, { ':path': '/events', accept: 'text/event-stream' }),
      )
      for (const line of [
        'GET /slow has begun',
        'GET /download has begun',
        'POST /upload has begun',
      ])
        await server.prints(line)
      server.kill('SIGTERM')
      await server.refuses()
      await until(
        () => 'the idle ones are closed',
        () => idle.destroyed && unused.destroyed,
      )
      for (const { status, body } of await Promise.all(streams)) {
        assert.equal(status, 200)
        assert.match(body, /(^|\n)retry: \d{4}\n\n?$/)
      }
      server.open('/slow')
      server.open('/download')
      assert.equal((await slow).body, 'slow')
      assert.equal((await download).body, 'part 1\npart 2\npart 3\n')
      const uploaded = new Promise<string>((resolve) => {
        let text = ''
        upload.on('data', (chunk) => (text += String(chunk))).once('close', () => resolve(text))
      })
      upload.end('second half')
      assert.match(await uploaded, /^23 bytes /)
      await server.ends(success)
      assert.equal(server.err, '')
    })
  }
})
