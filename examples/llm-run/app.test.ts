import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test, type TestContext } from 'node:test'

import { serve } from '@wakerobin/server-node'
import { Runs } from '@wakerobin/sse'
import { EventSource } from 'eventsource'

import { Speech } from '../llm/start-relay.ts'
import { startProgram } from '../testing/child-program.ts'
import { launchChromium, skipReason } from '../testing/chromium.ts'
import { start, type Started } from '../testing/start.ts'
import { app } from './app.ts'
import { ponder } from './model.ts'

async function startAnswers(t: TestContext): Promise<Started & { speech: Speech; runs: Runs }> {
  const speech = new Speech()
  const runs = new Runs()
  t.after(() => runs.close())
  const answer = async function* (question: string, signal: AbortSignal): AsyncGenerator<string> {
    yield* await speech.answer(question, signal)
  }
  const started = await start(t, (options) => serve(app(runs, answer), options))
  return { ...started, speech, runs }
}

/** Asks, and returns where the answer is. */
async function ask(origin: string, question = 'why?'): Promise<string> {
  const response = await fetch(`${origin}/answers`, { method: 'POST', body: question })
  assert.equal(response.status, 201)
  return origin + response.headers.get('location')!
}

/** Reads an answer as curl would, as far as a text. */
async function readTo(url: string, text: string, lastEventId?: string): Promise<string> {
  const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
  const controller = new AbortController()
  const { body } = await fetch(url, { headers, signal: controller.signal })
  let read = ''
  try {
    for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
      read += piece
      if (read.includes(text)) break
    }
  } finally {
    controller.abort()
  }
  return read
}

test('an answer goes on while nobody reads it, and who comes back misses no word', async (t) => {
  const { origin, speech } = await startAnswers(t)
  const url = await ask(origin)
  assert.equal(await speech.asked, 'why?')
  speech.say('one')
  const first = await readTo(url, 'data: one')
  speech.say('two')
  speech.say('three')
  speech.end()
  const ids = first.match(/(?<=^id: ).*$/gm)!
  const rest = await readTo(url, 'event: end', ids.at(-1)!)
  assert.deepEqual(rest.match(/(?<=^data: ).*$/gm), ['two', 'three', '{"reason":"done"}'])
  const all = await readTo(url, 'event: end')
  assert.deepEqual(all.match(/(?<=^data: ).*$/gm), ['one', 'two', 'three', '{"reason":"done"}'])
})

test('an EventSource reads an answer to its end, and stays away then', async (t) => {
  const { origin, speech } = await startAnswers(t)
  const source = new EventSource(await ask(origin))
  t.after(() => source.close())
  const words: string[] = []
  source.addEventListener('message', ({ data }) => words.push(data))
  const ended = once(source as never, 'end') as Promise<[MessageEvent]>
  speech.say('one')
  speech.say('two')
  speech.end()
  assert.equal((await ended)[0].data, '{"reason":"done"}')
  assert.deepEqual(words, ['one', 'two'])
  const closed = new Promise<void>((resolve) => {
    source.addEventListener('error', () => {
      if (source.readyState === EventSource.CLOSED) resolve()
    })
  })
  await closed // by a 204, when it has come back
  assert.deepEqual(words, ['one', 'two'])
})

test('an answer can be stopped, once, and what nobody has asked is not there', async (t) => {
  const { origin, speech } = await startAnswers(t)
  const url = await ask(origin)
  speech.say('one')
  await readTo(url, 'data: one')
  assert.equal((await fetch(url, { method: 'DELETE' })).status, 204)
  await speech.cancelled
  assert.match(await readTo(url, 'event: end'), /"stopped"/)
  assert.equal((await fetch(url, { method: 'DELETE' })).status, 404)
  assert.equal((await fetch(`${origin}/answers/none`)).status, 404)
  assert.equal((await fetch(url, { method: 'PUT' })).status, 405)
})

test('a server that stops ends the streams, and waits for the answer', async (t) => {
  const { origin, speech, server, runs } = await startAnswers(t)
  const url = await ask(origin)
  speech.say('one')
  await speech.asked
  const stream = (await fetch(url)).text()
  while (server.swansong.guardCount < 2) await new Promise((resolve) => setImmediate(resolve))
  const stopped = server.shutDown()
  assert.match(await stream, /data: one\n\n(.*\n)*retry: \d+\n$/)
  const run = (await runs.get(new URL(url).pathname.split('/').at(-1)!))!
  assert.equal(run.endReason, undefined)
  speech.end()
  assert.equal((await stopped).outcome, 'clean')
  assert.equal(run.endReason, 'done')
})

test('the page shows an answer across a reload, and stops one', { skip: skipReason }, async (t) => {
  const { origin, speech } = await startAnswers(t)
  const page = await (await launchChromium(t)).newPage()
  page.setDefaultTimeout(15_000)
  const errors: unknown[] = []
  page.on('pageerror', (error) => errors.push(error))
  await page.goto(origin)
  await page.getByLabel('Question').fill('why?')
  await page.getByText('Ask', { exact: true }).click()
  assert.equal(await speech.asked, 'why?')
  speech.say('one ')
  await page.getByText('one').waitFor()
  await page.reload()
  await page.getByText('one').waitFor()
  speech.say('two ')
  await page.getByText('one two').waitFor()
  await page.getByText('Stop', { exact: true }).click()
  await page.getByText('Stopped').waitFor()
  assert.equal(await page.locator('#answer').innerText(), 'one two ')
  await page.reload()
  await page.getByText('Stopped').waitFor()
  assert.equal(await page.locator('#answer').innerText(), 'one two ')
  assert.deepEqual(errors, [])
})

test('the stand-in for a model says what it is asked, and falls silent when it is told to', async () => {
  const controller = new AbortController()
  const words = ponder('why?', controller.signal)
  let said = ''
  for (let count = 0; count < 5; count++) said += (await words.next()).value as string
  assert.equal(said, 'You ask: “why?” Let me ')
  controller.abort()
  await assert.rejects(words.next(), { name: 'AbortError' })
})

test('the program can be run', async (t) => {
  const program = await startProgram(t, 'llm-run/app.ts')
  const origin = `http://127.0.0.1:${program.port}`
  assert.match(await (await fetch(origin)).text(), /Answers that wait for you/)
  const url = await ask(origin)
  assert.match(await readTo(url, 'data: You'), /data: You/)
  await fetch(url, { method: 'DELETE' })
  program.process.kill('SIGTERM')
  assert.equal(await program.exited, 0)
  assert.deepEqual(program.errors, [])
})
