/** Headless Chromium for tests, driven by playwright-core. */

import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'

import { chromium, type Browser } from 'playwright-core'

const args = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-quic',
  '--no-first-run',
  '--disable-component-update',
  '--disable-sync',
]

/** Why tests in a browser cannot run here; false where they can. With CI=true they never skip: they
 * fail, by `launchChromium`. */
export const skipReason: string | false =
  findChromium() === undefined && process.env.CI !== 'true'
    ? 'no Chromium here: install it (apt-get install chromium), or set CHROMIUM to its path'
    : false

/** Launches a browser, and closes it when the test is over. */
export async function launchChromium(t: TestContext): Promise<Browser> {
  const executablePath = findChromium()
  if (executablePath === undefined) {
    throw new Error(
      'Cannot find Chromium, and CI=true: install it (apt-get install chromium), or set CHROMIUM to its path',
    )
  }
  const browser = await chromium.launch({ executablePath, args })
  t.after(() => browser.close())
  return browser
}

function findChromium(): string | undefined {
  const { CHROMIUM, PATH = '' } = process.env
  if (CHROMIUM) return CHROMIUM // also one that is not there: a wrong path must not be a skip
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  const dirs = ['/usr/bin', ...PATH.split(delimiter)]
  return names.flatMap((name) => dirs.map((dir) => join(dir, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
