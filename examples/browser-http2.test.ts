import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { handlers } from '@wakerobin/core'
import { serve } from '@wakerobin/server-node'
import { Broadcaster } from '@wakerobin/sse'

import { launchChromium, skipReason } from './testing/chromium.ts'
import { start } from './testing/start.ts'

declare global {
  var eventsOf: Record<string, string[]>
  var sources: EventSource[]
}

const count = 12
const pem = (part: string): string =>
  readFileSync(
    new URL(`../packages/server-node/fixtures/tls/first-${part}.pem`, import.meta.url),
    'utf8',
  )

test(
  'twelve event streams on one page are all live over HTTP/2, where HTTP/1.1 has six',
  { skip: skipReason },
  async (t) => {
    const broadcaster = new Broadcaster()
    const versions = new Set<string>()
    const app = handlers((conn) => {
      versions.add(conn.httpVersion)
      if (conn.path === '/page')
        return conn.withResponseHeader('content-type', 'text/html').ok('<!doctype html>')
      if (conn.path === '/ask') return conn.ok('answered')
      return conn.path === '/events' ? conn.withSseStream(broadcaster) : undefined
    })
    const tls = { cert: pem('cert'), key: pem('key') }
    const { port } = await start(t, (options) => serve(app, { ...options, tls }))
    const browser = await launchChromium(t)
    // The certificate is that of the tests: this context alone takes it.
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    const page = await context.newPage()
    await page.goto(`https://127.0.0.1:${port}/page`)
    await page.evaluate(async (count) => {
      globalThis.eventsOf = {}
      globalThis.sources = Array.from(
        { length: count },
        (_, at) => new EventSource(`/events?${at}`),
      )
      const opened = sources.map((source, at) => {
        const events: string[] = []
        eventsOf[at] = events
        source.addEventListener('message', (event) => events.push(event.data as string))
        return new Promise((resolve) => source.addEventListener('open', resolve, { once: true }))
      })
      await Promise.all(opened)
    }, count)
    assert.equal(broadcaster.subscriberCount, count)
    broadcaster.publish('one')
    broadcaster.publish('two')
    await page.waitForFunction(() => Object.values(eventsOf).every(({ length }) => length === 2))
    const received = await page.evaluate(() => eventsOf)
    for (let at = 0; at < count; at++) assert.deepEqual(received[at], ['one', 'two'])
    // And there is room for what the page asks for besides.
    assert.equal(await page.evaluate(async () => (await fetch('/ask')).text()), 'answered')
    assert.deepEqual([...versions], ['2.0'])
    await page.evaluate(() => {
      for (const source of sources) source.close()
    })
    await context.close()
  },
)
