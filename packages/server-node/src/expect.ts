/** What a client expects of the server before it goes on: RFC 9110 §10.1.1. */

import type { IncomingMessage } from 'node:http'

/** Nothing; to be asked for the body; or something that nobody here knows. */
export type Expectation = 'none' | 'continue' | 'other'

/** The expectation of a request that has one, as node has found it. */
export function expectationOf({ headers }: IncomingMessage): Expectation {
  return expectationFrom(headers.expect!)
}

/** The expectation that a field has. */
export function expectationFrom(value: string): Expectation {
  return value.toLowerCase() === '100-continue' ? 'continue' : 'other'
}
