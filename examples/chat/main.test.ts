import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'

import { startProgram } from '../testing/child-program.ts'

test('npm start says where it listens, and at SIGTERM ends every stream whole and then itself', async (t) => {
  const program = await startProgram(t, 'chat/main.ts')
  const first = new RawClient(t, program.port, '/events?name=Fern')
  await first.received(':\nid: ')
  const second = new RawClient(t, program.port, '/events?name=Moss')
  await second.received(':\nid: ')
  await first.received('"name":"Moss"')

  program.process.kill('SIGTERM')
  for (const client of [first, second]) {
    await client.ended
    assert.match(client.text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.match(
      client.text,
      /event: stopping\nid: [\w-]+\ndata: \{"message":"[^"]+"\}\n\n\r\nc\r\nretry: [1-5]\d{3}\n\r\n0\r\n\r\n$/,
    )
    assert.equal(client.text.match(/event: stopping/g)?.length, 1)
  }
  assert.equal(await program.exited, 0)
  assert.equal(program.lines[1], 'Ctrl-C to stop')
  assert.match(
    program.lines.find((line) => line.startsWith('SIGTERM')) ?? '',
    /^SIGTERM: stopping, waiting for 2 event streams; once more to force/,
  )
  for (const note of ['stream opened', 'stream ended: server stop']) {
    const line = new RegExp(`^HTTP/1\\.1 GET /events.* 200 .*\\(${note}\\)$`)
    assert.equal(program.lines.filter((text) => line.test(text)).length, 2, note)
  }
  assert.equal(program.lines.at(-1), 'Stopped')
  assert.deepEqual(program.errors, [])
})

/** A client that keeps every byte that it receives. */
class RawClient {
  readonly #socket: Socket
  text = ''
  /** Resolves when the server has ended the connection; rejects when it was reset. */
  readonly ended: Promise<void>

  constructor(t: TestContext, port: number, target: string) {
    this.#socket = connect(port, '127.0.0.1').setEncoding('utf8')
    t.after(() => this.#socket.destroy())
    this.#socket.on('data', (text) => {
      this.text += String(text)
    })
    this.ended = new Promise((resolve, reject) => {
      this.#socket.on('end', resolve)
      this.#socket.on('error', reject)
    })
    this.#socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  }

  async received(text: string): Promise<void> {
    while (!this.text.includes(text))
      await new Promise((resolve) => {
        this.#socket.once('data', resolve)
      })
  }
}
