import assert from 'node:assert/strict'
import { test } from 'node:test'

import { State } from '@wakerobin/core'
import { serve } from '@wakerobin/server-node'
import { Broadcaster } from '@wakerobin/sse'
import type { Page } from 'playwright-core'

import { events } from './separate-handler.ts'
import { app as sharedBroadcaster } from './shared-broadcaster.ts'
import { app as strings } from './strings.ts'
import { launchChromium, skipReason } from './testing/chromium.ts'
import type { Received } from './testing/event-queue.ts'
import { start } from './testing/start.ts'
import { app as typedEvents } from './typed-events.ts'

declare global {
  var received: Received[]
  var source: EventSource
}

test("the browser's own EventSource reads the seed programs", { skip: skipReason }, async (t) => {
  const browser = await launchChromium(t)

  await t.test('strings', async (t) => {
    const { origin } = await start(t, (options) => serve(strings, options))
    const page = await browser.newPage()
    await open(page, origin, [])
    assert.deepEqual(await take(page, 3), [
      { type: 'message', data: 'one' },
      { type: 'message', data: 'two' },
      { type: 'message', data: 'three' },
    ])
    await page.close()
  })

  await t.test('typed events', async (t) => {
    const { origin } = await start(t, (options) => serve(typedEvents, options))
    const page = await browser.newPage()
    await open(page, origin, ['status'])
    assert.deepEqual(await take(page, 2), [
      { type: 'status', data: 'connection established' },
      { type: 'message', data: '{"user":"alice","action":"joined"}' },
    ])
    await page.close()
  })

  await t.test('a shared broadcaster, in two tabs', async (t) => {
    const broadcaster = new Broadcaster()
    const { origin } = await start(t, (options) => serve(sharedBroadcaster(broadcaster), options))
    const pages = [await browser.newPage(), await browser.newPage()]
    for (const page of pages) await open(page, origin, ['note'])
    broadcaster.publish('one')
    broadcaster.publish('note', 'two\nlines')
    broadcaster.publish({ data: ' three', comment: 'unseen' })
    for (const page of pages) {
      assert.deepEqual(await take(page, 3), [
        { type: 'message', data: 'one' },
        { type: 'note', data: 'two\nlines' },
        { type: 'message', data: ' three' },
      ])
    }
    for (const page of pages) await page.close()
  })

  await t.test('a separate handler', async (t) => {
    const broadcaster = new Broadcaster()
    const { origin } = await start(t, (options) => serve([State.new(broadcaster), events], options))
    const page = await browser.newPage()
    await open(page, origin, ['tick'])
    broadcaster.publish('tick', '1')
    broadcaster.publish('tick', '2')
    assert.deepEqual(await take(page, 2), [
      { type: 'tick', data: '1' },
      { type: 'tick', data: '2' },
    ])
    await page.close()
  })
})

/** Opens an EventSource in a page of the same origin, and waits until it is open. */
async function open(page: Page, origin: string, types: readonly string[]): Promise<void> {
  // The programs answer every path with events, so the page around the EventSource is ours.
  await page.route('**/blank', (route) =>
    route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }),
  )
  await page.goto(`${origin}/blank`)
  await page.evaluate(
    ([url, types]) =>
      new Promise<void>((resolve) => {
        globalThis.received = []
        globalThis.source = new EventSource(url)
        for (const type of types) {
          source.addEventListener(type, (event) =>
            received.push({ type: event.type, data: (event as MessageEvent<string>).data }),
          )
        }
        source.addEventListener('open', () => resolve(), { once: true })
        // Once is enough: the end of a finished stream would begin it anew.
        source.addEventListener('error', () => source.close())
      }),
    [origin, ['message', ...types]] as const,
  )
}

/** Waits for so many events, and returns all that there are. */
async function take(page: Page, count: number): Promise<Received[]> {
  await page.waitForFunction((count) => received.length >= count, count)
  return page.evaluate(() => received)
}
