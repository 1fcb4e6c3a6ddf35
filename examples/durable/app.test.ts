import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { EventSource } from 'eventsource'

import { startProgram, type ChildProgram } from '../testing/child-program.ts'

test('clients go through restarts and kill -9 of the program without missing or doubling a note', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'wakerobin-notes-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const start = (port: number): Promise<ChildProgram> =>
    startProgram(t, 'durable/app.ts', { PORT: String(port), NOTES: folder })

  let program = await start(0)
  const { port } = program
  const clients = Array.from({ length: 5 }, () => listen(t, port))
  await Promise.all(clients.map(({ opened }) => opened))
  const publisher = publish(`http://127.0.0.1:${port}/notes`)
  t.after(() => publisher.stop())

  for (const signal of ['SIGTERM', 'SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
    const before = publisher.acknowledged.length
    await until(() => publisher.acknowledged.length >= before + 20)
    program.process.kill(signal)
    assert.equal(await program.exited, signal === 'SIGTERM' ? 0 : signal)
    program = await start(port)
  }
  const before = publisher.acknowledged.length
  await until(() => publisher.acknowledged.length >= before + 20)
  await publisher.stop()

  const last = publisher.acknowledged.at(-1)!
  for (const { notes, gaps } of clients) {
    await until(() => notes.includes(last))
    assert.deepEqual(gaps, [])
    assert.equal(new Set(notes).size, notes.length, 'Nothing comes twice')
    // What was sent when the program was killed may have come to the log, though nobody was told.
    const known = notes.filter((note) => !publisher.unknown.has(note))
    assert.deepEqual(known, publisher.acknowledged)
    assert.deepEqual(notes, clients[0]!.notes)
  }
  program.process.kill('SIGTERM')
  assert.equal(await program.exited, 0)
  assert.deepEqual(program.errors, [])
})

interface Listener {
  readonly opened: Promise<void>
  readonly notes: string[]
  readonly gaps: string[]
}

function listen(t: TestContext, port: number): Listener {
  const source = new EventSource(`http://127.0.0.1:${port}/notes`)
  t.after(() => source.close())
  const [notes, gaps]: [string[], string[]] = [[], []]
  source.addEventListener('message', ({ data }) => notes.push(data as string))
  source.addEventListener('gap', ({ data }) => gaps.push(data as string))
  const opened = new Promise<void>((resolve) => source.addEventListener('open', () => resolve()))
  return { opened, notes, gaps }
}

interface Publisher {
  /** The notes that the program has said it has. */
  readonly acknowledged: string[]
  /** Those of which it has said nothing, because it was killed. */
  readonly unknown: Set<string>
  stop(): Promise<void>
}

/** Sends a note every few milliseconds, each as often as it takes until the program answers at all. */
function publish(url: string): Publisher {
  const acknowledged: string[] = []
  const unknown = new Set<string>()
  const ending = new AbortController()
  const running = (async () => {
    for (let number = 1; !ending.signal.aborted; number++) {
      const note = `note ${number}`
      try {
        const { status } = await fetch(url, { method: 'POST', body: note })
        assert.equal(status, 201)
        acknowledged.push(note)
      } catch (error) {
        if (!(error instanceof TypeError)) throw error // no answer
        unknown.add(note)
      }
      await sleep(5)
    }
  })()
  const stop = (): Promise<void> => {
    ending.abort()
    return running
  }
  return { acknowledged, unknown, stop }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await sleep(5)
}
