/** Why the tests with frameworks of others cannot run here; false where they can. With CI=true they never skip: they
 * fail. */

import { existsSync } from 'node:fs'

const isInstalled = existsSync(new URL('node_modules/h3', import.meta.url))

export const skipReason: string | false =
  !isInstalled && process.env.CI !== 'true'
    ? 'the frameworks of others are not installed: node scripts/bootstrap.mjs --all'
    : false
