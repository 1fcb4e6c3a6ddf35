/** Why the tests with middleware of others cannot run here; false where they can. With CI=true they never skip: they
 * fail. */

import { existsSync } from 'node:fs'

const isInstalled = existsSync(new URL('node_modules/helmet', import.meta.url))

export const skipReason: string | false =
  !isInstalled && process.env.CI !== 'true'
    ? 'the middleware of others is not installed: node scripts/bootstrap.mjs --all'
    : false
