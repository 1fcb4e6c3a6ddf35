/** The server that is attacked: it reads every body and says what it has understood. */

import type { TestContext } from 'node:test'

import type { Handler } from '@wakerobin/core'

import { start } from '../fixtures/harness.ts'
import type { TestServer } from '../fixtures/harness.ts'
import type { ServeOptions } from '../src/serve.ts'

/** A server, and what its handlers were given. */
export interface Target extends TestServer {
  /** `POST /path 5`: method, path and length of the body, or `cut` for one that broke off; since the last `take`. */
  take(): string[]
}

export async function startTarget(t: TestContext, options: ServeOptions = {}): Promise<Target> {
  let handled: string[] = []
  const app: Handler = async (conn) => {
    const at = handled.push(`${conn.method} ${conn.pathAndQuery} cut`) - 1
    const list = handled
    const { length } = await conn.requestBody.bytes()
    list[at] = `${conn.method} ${conn.pathAndQuery} ${length}`
    return conn.ok(list[at])
  }
  const server = await start(t, app, options)
  const take = (): string[] => {
    const taken = handled
    handled = []
    return taken
  }
  return { ...server, take }
}
