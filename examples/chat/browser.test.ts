import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'

import { serve, type ServerHandle } from '@wakerobin/server-node'
import type { Page } from 'playwright-core'

import { launchChromium, skipReason } from '../testing/chromium.ts'
import { start } from '../testing/start.ts'
import { app } from './app.ts'
import { Room } from './room.ts'

const screenshot = fileURLToPath(new URL('../../test-results/chat.png', import.meta.url))

test(
  'two tabs see each other and each message once, across a restart of the server',
  {
    skip: skipReason,
  },
  async (t) => {
    const room = new Room()
    const { origin, port, server } = await start(t, (options) => serve(app(room), options))
    const browser = await launchChromium(t)
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
    const errors: unknown[] = []
    const open = async (): Promise<Page> => {
      const page = await context.newPage()
      page.setDefaultTimeout(15_000)
      page.on('pageerror', (error) => errors.push(error))
      await page.goto(origin)
      await hasState(page, 'live')
      return page
    }

    // Both are here, and each sees the other.
    const tabs = [await open(), await open()] as const
    for (const tab of tabs) await hasCount(tab, 'person', 2)
    const names = room.snapshot().people.map(({ name }) => name)
    assert.equal(new Set(names).size, 2)
    for (const tab of tabs) for (const name of names) await hasText(tab, 'people', name)

    // What one posts, both see; also what would be HTML.
    await post(tabs[0], 'Hello from the first tab')
    await post(tabs[1], '<b>And</b> hello back & welcome')
    for (const tab of tabs) {
      await hasMessages(tab, ['Hello from the first tab', '<b>And</b> hello back & welcome'])
      await hasText(tab, 'wire', 'message')
    }
    mkdirSync(fileURLToPath(new URL('../../test-results', import.meta.url)), { recursive: true })
    await tabs[0].bringToFront()
    await tabs[0].screenshot({ path: screenshot })

    // The room's refusal is told to its writer, and to nobody else.
    await tabs[0].getByTestId('text').fill('x'.repeat(501))
    await tabs[0].getByTestId('send').click()
    await tabs[0].getByTestId('error').waitFor()
    assert.match(await tabs[0].getByTestId('error').innerText(), /500 characters/)
    assert(await tabs[1].getByTestId('error').isHidden())
    await tabs[0].getByTestId('text').fill('')

    // Back on the same port: live again, nothing lost that was said meanwhile, nothing twice.
    await stop(t, server, tabs)
    room.say('Moss', 'Said while you were away')
    const second = await start(t, (options) => serve(app(room), options), port)
    for (const tab of tabs) await hasState(tab, 'live')
    await post(tabs[1], 'And on it goes')
    room.say('Moss', 'So it does') // after this, whatever came twice has come
    for (const tab of tabs) {
      await hasMessages(tab, [
        'Hello from the first tab',
        '<b>And</b> hello back & welcome',
        'Said while you were away',
        'And on it goes',
        'So it does',
      ])
      await hasCount(tab, 'person', 2)
    }
    assert.equal(room.snapshot().people.length, 2)

    // Back with an empty room, as after a restart of the process: ids begin anew, and so does the board.
    await stop(t, second.server, tabs)
    const newRoom = new Room()
    await start(t, (options) => serve(app(newRoom), options), port)
    for (const tab of tabs) await hasState(tab, 'live')
    await post(tabs[0], 'A new beginning')
    newRoom.say('Moss', 'Indeed')
    for (const tab of tabs) {
      await hasMessages(tab, ['A new beginning', 'Indeed'])
      await hasCount(tab, 'person', 2)
    }
    assert.deepEqual(errors, [])
    await context.close()
  },
)

/** Stops the server, which every tab shows: first as what it is, then as the absence that it becomes. */
async function stop(t: TestContext, server: ServerHandle, tabs: readonly Page[]): Promise<void> {
  // Of the 1 to 5 s after which a tab may come back, 1.4: longer than it shows that the server stops.
  const { mock } = t.mock.method(Math, 'random', () => 0.1)
  const shown = tabs.map(async (tab) => {
    await hasState(tab, 'stopping')
    await hasState(tab, 'reconnecting')
  })
  assert.equal((await server.shutDown()).outcome, 'clean')
  mock.restore()
  await Promise.all(shown)
}

async function post(tab: Page, text: string): Promise<void> {
  await tab.getByTestId('text').fill(text)
  await tab.getByTestId('send').click()
  // Emptied when the answer has come.
  await tab.waitForFunction(
    () => document.querySelector<HTMLTextAreaElement>('[data-testid=text]')?.value === '',
  )
}

async function hasState(tab: Page, state: string): Promise<void> {
  await tab.locator(`[data-testid=status][data-state=${state}]`).waitFor()
}

async function hasText(tab: Page, id: string, text: string): Promise<void> {
  await tab.getByTestId(id).filter({ hasText: text }).waitFor()
}

async function hasCount(tab: Page, id: string, count: number): Promise<void> {
  await tab.waitForFunction(
    ([id, count]) => document.querySelectorAll(`[data-testid=${id}]`).length === count,
    [id, count] as const,
  )
}

/** Waits until just these messages are shown, in this order and under as many different ids. */
async function hasMessages(tab: Page, texts: readonly string[]): Promise<void> {
  await hasText(tab, 'messages', texts.at(-1)!)
  const shown = await tab.getByTestId('message').evaluateAll((items) =>
    items.map((item) => ({
      id: (item as HTMLElement).dataset.id,
      text: item.querySelector('.said')?.textContent,
    })),
  )
  assert.deepEqual(
    shown.map(({ text }) => text),
    texts,
  )
  assert.equal(new Set(shown.map(({ id }) => id)).size, texts.length)
}
