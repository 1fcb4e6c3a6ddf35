/** A server for the tests with middleware of others. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

import type { AnyHandler, Handler } from '../../packages/core/src/index.ts'
import { serve, type ServeOptions } from '../../packages/server-node/src/index.ts'

/** Serves an app until the test ends, at the latest; it fails where an error was reported.
 * @returns The base of its URLs, without a slash at the end. */
export async function start(
  t: TestContext,
  app: AnyHandler,
  options: ServeOptions = {},
): Promise<string> {
  const errors: unknown[] = []
  const handle = await serve(app as Handler, {
    host: '127.0.0.1',
    port: 0,
    shutdown: { lingerMs: 0, deadlineMs: 5000 },
    onError: (error) => void errors.push(error),
    ...options,
  })
  t.after(async () => {
    await handle.shutDown()
    assert.deepEqual(errors, [])
  })
  return handle.url!.replace(/\/$/, '')
}
