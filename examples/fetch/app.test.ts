import assert from 'node:assert/strict'
import { test } from 'node:test'

import { toFetch } from '@wakerobin/core/fetch'
import { EventSourceParserStream } from 'eventsource-parser/stream'

import { makeApp } from './app.ts'

const url = 'http://localhost/news'

test('what one client posts, all get, and the stop ends their streams whole', async () => {
  const fetch = toFetch(makeApp())
  const streams = await Promise.all([fetch(new Request(url)), fetch(new Request(url))])
  const post = new Request(url, { method: 'POST', body: 'the first fern' })
  assert.equal((await fetch(post)).status, 202)
  for (const { body } of streams) {
    const events = body!
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
    for await (const { data } of events) {
      assert.equal(data, 'the first fern')
      break // which the app sees as a client that leaves
    }
  }
  const last = await fetch(new Request(url))
  const stopped = fetch.shutDown()
  assert.match(await last.text(), /\nretry: \d+\n+$/)
  await stopped
})

test('there is nothing elsewhere', async () => {
  assert.equal((await toFetch(makeApp())(new Request('http://localhost/'))).status, 404)
})
