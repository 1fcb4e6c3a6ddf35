/** Serves an app on a free port of 127.0.0.1 until the test is over. */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'

import type { ServeOptions, ServerHandle } from '@wakerobin/server-node'

export interface Started {
  /** As `http://127.0.0.1:40123`, without a slash at the end. */
  readonly origin: string
  readonly port: number
  readonly server: ServerHandle
}

/** Errors that the app does not catch, and a stop that has to cut something, fail the test.
 * @param serveApp `(options) => serve(app, options)`: there the compiler sees the tuple.
 * @param port Default: any that is free. */
export async function start(
  t: TestContext,
  serveApp: (options: ServeOptions) => Promise<ServerHandle>,
  port = 0,
): Promise<Started> {
  const errors: unknown[] = []
  const server = await serveApp({
    host: '127.0.0.1',
    port,
    shutdown: { lingerMs: 0 },
    onError: (error) => errors.push(error),
  })
  t.after(async () => {
    assert.equal((await server.shutDown()).outcome, 'clean')
    assert.deepEqual(errors, [])
  })
  const [listener] = server.listeners
  assert(listener?.kind === 'tcp')
  return { origin: `http://127.0.0.1:${listener.port}`, port: listener.port, server }
}
